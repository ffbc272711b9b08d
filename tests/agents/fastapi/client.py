"""A user of a web API: redirects, links, a bearer token, an upload, cookies behind TLS, and a stream of
events for as long as the day is; then leaves a stream attached and comes back."""

import hashlib
import os
import subprocess
import threading

import httpx

from stage import HOST, PORT, SECONDS, URL, asleep, expect, fail, resolve_localhost, seconds_of_use, step, stays_awake

resolve_localhost()
client = httpx.Client(base_url=URL, timeout=120)


def links_and_redirects() -> None:
    moved = client.get("/items")
    expect("a missing slash is told by the name the client used", moved.headers.get("location"), f"{URL}/items/")
    expect("and leads on", client.get("/items", follow_redirects=True).json(), ["one", "two"])
    expect("url_for gives the client's name", client.get("/link").json()["items"], f"{URL}/items/")
    expect("a redirect to url_for leads on", client.get("/old", follow_redirects=True).json(), ["one", "two"])


def token_and_upload() -> None:
    expect("no token", client.get("/private").status_code, 401)
    bearer = {"authorization": "Bearer secret-token"}
    expect("a bearer token arrives", client.get("/private", headers=bearer).json(), {"user": "ada"})
    body = os.urandom(1 << 20) * 32
    sent = client.post("/upload", files={"file": ("weights.bin", body)}).json()
    expected = {"name": "weights.bin", "bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    expect("an upload of 32 MiB arrives whole", sent, expected)


def behind_tls(visit) -> None:
    """A front that ends TLS (Go's ReverseProxy) tells what the client spoke; the agent believes it."""
    front = subprocess.Popen(
        [f"{os.environ['AGENTS_BIN']}/front", f"127.0.0.1:{PORT}"], stdout=subprocess.PIPE, text=True
    )
    try:
        port = int(front.stdout.readline())
        base = f"https://{HOST}:{port}"
        with httpx.Client(base_url=base, verify=False, timeout=120) as secure:
            expect("behind TLS a link is https and names the front", secure.get("/link").json()["items"], f"{base}/items/")
            expect("the agent knows that it is https", secure.post("/login").json(), {"secure": True})
            cookie = next(iter(secure.cookies.jar))
            expect("the cookie is secure, and of this host", (cookie.secure, cookie.domain), (True, HOST))
            visit(secure, "behind TLS")
    finally:
        front.terminate()
        front.wait(30)


def events() -> None:
    read = 0
    with client.stream("GET", "/events") as stream:
        data = (line for line in stream.iter_lines() if line.startswith("data: "))
        for read, line in enumerate(data, start=1):
            if line != f"data: tick {read}":
                fail(f"event {read} is {line!r}")
            if read >= 2 * SECONDS:
                break
    expect("every event of the stream arrived in order", read >= 2 * SECONDS, True)


def main() -> None:
    visits = 0

    def visit(by: httpx.Client, what: str) -> None:
        nonlocal visits
        visits += 1
        expect(f"the cookie comes back: {what}", by.post("/visit").json(), {"session": "ada", "visits": visits})

    links_and_redirects()
    token_and_upload()
    expect("log in", client.post("/login").json(), {"secure": False})
    visit(client, "plain")
    behind_tls(visit)

    listener = threading.Thread(target=events)
    listener.start()
    for number in seconds_of_use():
        answer = client.get("/items/")
        if answer.status_code != 200:
            fail(f"request {number}: {answer.status_code} {answer.text}")
    stays_awake("events and requests")
    listener.join(SECONDS + 60)
    step(f"{SECONDS:.0f} s of requests beside a stream of events: ok")

    with client.stream("GET", "/quiet") as attached:
        lines = attached.iter_lines()
        expect("attached to a stream that only pings", next(lines), "data: welcome")
        asleep("a stream of comments keeps nobody awake")
        try:
            for line in lines:
                if line not in ("", ": ping"):
                    fail(f"the quiet stream said {line!r}")
            step("the stream ended as a stream ends: ok")
        except httpx.RemoteProtocolError as error:
            step(f"the stream broke off: {error}")
    visit(client, "after the sleep, and the disk was kept")
    asleep("with only pooled connections left")
    expect("it wakes again", client.get("/items/").json(), ["one", "two"])


main()
