"""A WebSocket server as people write it with the library `websockets`: an echo, with a count on disk."""

import asyncio
import os
import signal
from pathlib import Path

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosedError

connections = Path(os.environ["DATA"]) / "connections"


async def talk(socket: ServerConnection) -> None:
    count = int(connections.read_text()) + 1 if connections.exists() else 1
    connections.write_text(str(count))
    await socket.send(f"connection {count}")
    try:
        async for message in socket:
            if message == "leave":
                return await socket.close(4001, "as you wish")
            await socket.send(message)
    except ConnectionClosedError as end:
        print(f"connection {count}: {end}", flush=True)


async def main() -> None:
    # A message of more than 2 MiB is refused with close code 1009.
    async with serve(talk, os.environ["HOST"], int(os.environ["PORT"]), max_size=2 << 20) as server:
        stop = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set_result, None)
        await stop
        server.close()


asyncio.run(main())
