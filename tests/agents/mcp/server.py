"""Tools served by the official MCP SDK, by both of its HTTP transports: /mcp and /sse."""

import os
from pathlib import Path

import uvicorn
from mcp.server.mcpserver import Context, MCPServer

server = MCPServer("notes", log_level="WARNING")
notes = Path(os.environ["DATA"]) / "notes"


@server.tool()
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


@server.tool()
def note(text: str) -> int:
    """Writes a note; returns how many there are."""
    with notes.open("a") as file:
        file.write(text + "\n")
    return len(notes.read_text().splitlines())


@server.tool()
async def count(to: int, context: Context) -> str:
    """Counts, and tells its progress."""
    for number in range(to):
        await context.report_progress(number + 1, to)
    return "counted"


app = server.streamable_http_app()
app.router.routes.extend(server.sse_app().routes)
uvicorn.run(
    app,
    host=os.environ["HOST"],
    port=int(os.environ["PORT"]),
    log_level="warning",
    timeout_graceful_shutdown=2,
)
