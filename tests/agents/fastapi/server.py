"""A web API as people write it with FastAPI; uvicorn runs it."""

import asyncio
import hashlib
import os
from pathlib import Path
from typing import Annotated

import uvicorn
from fastapi import Cookie, Depends, FastAPI, File, HTTPException, Request, Response, UploadFile
from fastapi.responses import RedirectResponse, StreamingResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

app = FastAPI()
visits = Path(os.environ["DATA"]) / "visits"


@app.get("/items/", name="items")
def items() -> list[str]:
    return ["one", "two"]


@app.get("/link")
def link(request: Request) -> dict:
    return {"items": str(request.url_for("items")), "client": request.client.host}


@app.get("/old")
def old(request: Request) -> RedirectResponse:
    return RedirectResponse(request.url_for("items"))


@app.post("/login")
def login(request: Request, response: Response) -> dict:
    secure = request.url.scheme == "https"
    response.set_cookie("session", "ada", httponly=True, samesite="lax", secure=secure)
    return {"secure": secure}


@app.post("/visit")
def visit(session: Annotated[str | None, Cookie()] = None) -> dict:
    if session is None:
        raise HTTPException(401, "log in first")
    count = int(visits.read_text()) + 1 if visits.exists() else 1
    visits.write_text(str(count))
    return {"session": session, "visits": count}


@app.get("/private")
def private(token: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]) -> dict:
    if token.credentials != "secret-token":
        raise HTTPException(403, "another token")
    return {"user": "ada"}


@app.post("/upload")
async def upload(file: Annotated[UploadFile, File()]) -> dict:
    digest, size = hashlib.sha256(), 0
    while piece := await file.read(1 << 16):
        digest.update(piece)
        size += len(piece)
    return {"name": file.filename, "bytes": size, "sha256": digest.hexdigest()}


def events(pieces) -> StreamingResponse:
    return StreamingResponse(pieces, media_type="text/event-stream")


@app.get("/events")
async def ticks() -> StreamingResponse:
    async def pieces():
        number = 0
        while True:
            number += 1
            yield f"id: {number}\ndata: tick {number}\n\n"
            await asyncio.sleep(0.5)

    return events(pieces())


@app.get("/quiet")
async def quiet() -> StreamingResponse:
    async def pieces():
        yield "data: welcome\n\n"
        while True:
            await asyncio.sleep(0.5)
            yield ": ping\n\n"

    return events(pieces())


uvicorn.run(
    app,
    host=os.environ["HOST"],
    port=int(os.environ["PORT"]),
    # What stands before it is trusted, as in any deployment behind a proxy.
    proxy_headers=True,
    forwarded_allow_ips="*",
    timeout_graceful_shutdown=2,
)
