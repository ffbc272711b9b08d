"""Clients of the official MCP SDK: a session with its GET attached, one of the newest protocol, and one by
the older SSE transport. Each is used, left attached until the server sleeps, and used again."""

import asyncio
import contextlib

from mcp import Client, ClientSession, MCPError
from mcp.client.sse import sse_client
from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client

from stage import ADDRESS, HEADERS, SECONDS, asleep, expect, stays_awake, step

BASE = f"http://{ADDRESS}"
written = 0


async def add(session: ClientSession | Client, what: str, b: int) -> None:
    result = await session.call_tool("add", {"a": 2, "b": b})
    expect(what, (result.is_error, result.content[0].text), (False, str(2 + b)))


async def note(session: ClientSession | Client, what: str) -> None:
    global written
    written += 1
    result = await session.call_tool("note", {"text": what})
    expect(f"a note: {what}", result.content[0].text, str(written))


@contextlib.asynccontextmanager
async def session():
    """A session with an id, whose client stands attached by a GET for what the server may say."""
    async with create_mcp_http_client(headers=HEADERS) as http:
        async with streamable_http_client(f"{BASE}/mcp", http_client=http) as (read, write, *_):
            async with ClientSession(read, write) as mcp:
                await mcp.initialize()
                yield mcp


async def with_a_session() -> None:
    async with session() as mcp:
        names = sorted(tool.name for tool in (await mcp.list_tools()).tools)
        expect("tools of a server that slept", names, ["add", "count", "note"])
        await note(mcp, "before")
        seen = []

        async def progress(now: float, total: float | None, message: str | None) -> None:
            seen.append((now, total))

        await mcp.call_tool("count", {"to": 20}, progress_callback=progress)
        expect("progress is told as it goes", seen, [(n + 1, 20) for n in range(20)])
        for number in range(int(SECONDS)):
            result = await mcp.call_tool("add", {"a": number, "b": 1})
            assert result.content[0].text == str(number + 1), result
            await asyncio.sleep(1)
        stays_awake("calls of tools")
        step(f"{SECONDS:.0f} s of calls: ok")

        await asyncio.to_thread(asleep, "a client that is only attached keeps nobody awake")
        try:
            await add(mcp, "the same session goes on", 5)
        except MCPError as error:
            # The server kept its sessions in memory, and says that it knows this one no more.
            step(f"the server, woken, has forgotten the session, and says so: {error}")
    async with session() as mcp:
        await note(mcp, "after, in a new session, the disk was kept")


async def of_the_newest_protocol() -> None:
    async with create_mcp_http_client(headers=HEADERS) as http:
        async with Client(streamable_http_client(f"{BASE}/mcp", http_client=http)) as mcp:
            await add(mcp, f"protocol {mcp.protocol_version}", 3)
            await asyncio.to_thread(asleep, "with a client of the newest protocol")
            await note(mcp, "the same client wakes it and goes on")


async def by_sse() -> None:
    async with sse_client(f"{BASE}/sse", headers=HEADERS, timeout=120) as (read, write):
        async with ClientSession(read, write) as mcp:
            await mcp.initialize()
            for number in range(3):
                await add(mcp, f"SSE, call {number}", number)
            await asyncio.to_thread(asleep, "an attached SSE client keeps nobody awake")
    async with sse_client(f"{BASE}/sse", headers=HEADERS, timeout=120) as (read, write):
        async with ClientSession(read, write) as mcp:
            await mcp.initialize()
            await note(mcp, "SSE again, after the sleep")


async def main() -> None:
    await with_a_session()
    await of_the_newest_protocol()
    await by_sse()


asyncio.run(main())
