"""What every client in Python begins with: where Reveille is, what its operator can ask, and steps that
print a line each. Waiting is for an event, and never longer than PATIENCE."""

import json
import os
import socket
import sys
import time
import urllib.request
from typing import NoReturn

NAMESPACE, NAME = os.environ["SANDBOX"].split("/")
ADDRESS = os.environ["REVEILLE_LISTEN"]
ADMIN = f"http://{os.environ['REVEILLE_ADMIN']}"
PORT = int(ADDRESS.rsplit(":", 1)[1])
SECONDS = float(os.environ["USE_SECONDS"])
PATIENCE = float(os.environ.get("PATIENCE_SECONDS", "180"))
HEADERS = {"X-Sandbox-ID": NAME, "X-Sandbox-Namespace": NAMESPACE}
HOST = f"{NAME}.{NAMESPACE}.sandbox.localhost"
URL = f"http://{HOST}:{PORT}"


def resolve_localhost() -> None:
    """Makes names below localhost mean this machine (RFC 6761), as curl, browsers and systemd-resolved do
    and glibc alone does not."""
    ask = socket.getaddrinfo

    def getaddrinfo(host, *rest, **named):
        if isinstance(host, str) and host.endswith(".localhost"):
            host = "127.0.0.1"
        return ask(host, *rest, **named)

    socket.getaddrinfo = getaddrinfo


def step(text: str) -> None:
    print(text, flush=True)


def fail(text: str) -> NoReturn:
    sys.exit(f"FAILED: {text}")


def expect(what: str, found: object, expected: object) -> None:
    if found != expected:
        fail(f"{what}: expected {expected!r}, found {found!r}")
    step(f"{what}: ok")


def sandbox() -> dict:
    """What Reveille's operator is told of the sandbox."""
    with urllib.request.urlopen(f"{ADMIN}/v1/sandboxes/{NAMESPACE}/{NAME}", timeout=30) as answer:
        return json.load(answer)


def asleep(what: str) -> None:
    """Waits until the sandbox sleeps."""
    since = time.monotonic()
    while True:
        seen = sandbox()
        if seen["state"] == "asleep":
            return step(f"asleep: {what}: ok")
        if time.monotonic() - since > PATIENCE:
            fail(f"the sandbox does not fall asleep: {what}: {seen}")
        time.sleep(0.05)


def stays_awake(what: str) -> None:
    """It must be up, because it was used the whole time."""
    state = sandbox()["state"]
    if state != "awake":
        fail(f"{what}: the sandbox is {state} while it is used")


def seconds_of_use():
    """Counts up, a step a second, for as long as a client is to work."""
    since = time.monotonic()
    number = 0
    while time.monotonic() - since < SECONDS:
        yield number
        number += 1
        time.sleep(1)
