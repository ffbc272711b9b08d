"""A client of the library `websockets`, which pings by itself while it is idle."""

import asyncio
import os
import time

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from stage import HOST, PORT, SECONDS, asleep, expect, step, stays_awake

# By name, to this machine: glibc alone does not resolve names below localhost.
URI = f"ws://{HOST}:{PORT}/talk"
PLACE = {"host": "127.0.0.1", "port": PORT}
ENDS_OF_A_SLEEP = (1001, 1012, 1013)


def open_socket(**more):
    return connect(URI, origin=f"http://{HOST}:{PORT}", open_timeout=120, **PLACE, **more)


async def closed(socket) -> tuple[int, str]:
    """Reads to the end, and says how it came."""
    try:
        async for _ in socket:
            pass
        await socket.wait_closed()
    except ConnectionClosed:
        pass
    return socket.close_code, socket.close_reason


async def main() -> None:
    async with open_socket() as socket:
        expect("opened on a sleeping agent", await socket.recv(), "connection 1")
        big = os.urandom(1 << 19)
        await socket.send(big)
        expect("a message of 512 KiB", await socket.recv() == big, True)
        since, number = time.monotonic(), 0
        while time.monotonic() - since < SECONDS:
            await socket.send(f"hello {number}")
            assert await socket.recv() == f"hello {number}"
            number += 1
            await asyncio.sleep(1)
        stays_awake("a socket in use")
        step(f"{SECONDS:.0f} s of use: ok")
        await (await socket.ping())
        await socket.send("leave")
        expect("the server's own close", await closed(socket), (4001, "as you wish"))

    # Not by `async with`: this library cannot close what was cut off in mid-send.
    socket = await open_socket()
    await socket.recv()
    try:
        await socket.send(os.urandom(8 << 20))
    except ConnectionClosed:
        pass
    expect("too large a message is told of in mid-send", (await closed(socket))[0], 1009)

    async with open_socket(ping_interval=0.5) as socket:
        expect("an idle socket", await socket.recv(), "connection 3")
        await asyncio.to_thread(asleep, "pings keep nobody awake")
        code, reason = await asyncio.wait_for(closed(socket), 60)
        expect(f"the sleep was told: {code} {reason!r}", code in ENDS_OF_A_SLEEP, True)

    async with open_socket() as socket:
        expect("the next one wakes it, and the disk was kept", await socket.recv(), "connection 4")
        await socket.send("again")
        expect("it echoes", await socket.recv(), "again")


asyncio.run(main())
