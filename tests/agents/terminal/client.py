"""Somebody at a shell for two minutes: types, waits in silence past the timers, has a program print for a
while; then leaves the window open until the sandbox sleeps, and comes back to the same files."""

import asyncio
import json
import time

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from stage import HOST, PATIENCE, PORT, SECONDS, asleep, expect, step, stays_awake


def window():
    # tornado refuses a socket whose Origin is not the Host it sees.
    here = f"{HOST}:{PORT}"
    return connect(f"ws://{here}/shell", origin=f"http://{here}", open_timeout=120, host="127.0.0.1", port=PORT)


class Shell:
    """What is typed, and what is seen of it."""

    def __init__(self, socket) -> None:
        self.socket = socket
        self.seen = ""

    async def type(self, text: str) -> None:
        await self.socket.send(json.dumps(["stdin", text + "\r"]))

    async def shows(self, text: str) -> None:
        """Waits for a text on the screen, and forgets the screen."""
        async with asyncio.timeout(PATIENCE):
            while text not in self.seen:
                kind, *rest = json.loads(await self.socket.recv())
                if kind == "stdout":
                    self.seen += rest[0]
        self.seen = self.seen.partition(text)[2]


async def work(shell: Shell) -> None:
    since, number = time.monotonic(), 0
    while time.monotonic() - since < SECONDS:
        number += 1
        # The sum is not in what was typed, so it is the shell that answers.
        await shell.type(f"echo sum $(({number} + 1000))")
        await shell.shows(f"sum {number + 1000}")
        await asyncio.sleep(1)
    step(f"{number} commands, one a second: ok")
    await shell.type(f"for i in $(seq 1 {int(SECONDS)}); do echo line $i; sleep 1; done; echo all of $i")
    await shell.shows(f"all of {int(SECONDS)}")
    step(f"a program that printed for {SECONDS:.0f} s: ok")
    stays_awake("a shell in use")


async def main() -> None:
    async with window() as socket:
        shell = Shell(socket)
        await shell.type("echo $((6 * 7)) lives")
        await shell.shows("42 lives")
        step("a shell on a sleeping agent: ok")
        await socket.send(json.dumps(["set_size", 40, 132]))
        await shell.type("stty size")
        await shell.shows("40 132")
        step("the size of the window arrives: ok")
        await shell.type("echo kept > file; seq 1 20000 | sha1sum; seq 1 20000")
        await shell.shows("\n20000")
        step("much output at once: ok")
        await work(shell)

        await asyncio.to_thread(asleep, "a window left open keeps nobody awake")
        try:
            async with asyncio.timeout(PATIENCE):
                async for _ in socket:
                    pass
        except ConnectionClosed:
            pass
        told = socket.close_code in (1001, 1012, 1013)
        expect(f"the window is told: {socket.close_code} {socket.close_reason!r}", told, True)

    async with window() as socket:
        shell = Shell(socket)
        await shell.type("cat file; echo $((6 * 9))")
        await shell.shows("kept")
        await shell.shows("54")
        step("a new window, the same files: ok")


asyncio.run(main())
