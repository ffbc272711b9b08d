"""A user of the sandbox SDK, to whom Reveille is a router: creates a sandbox, works in it, leaves it alone
until it sleeps, and goes on as if nothing had happened.

    story.py sync|async ROUTER_URL NAMESPACE WARM_POOL

Exits 0 if everything was as the SDK promises; prints one line a step. KUBECONFIG says which cluster.
"""

import asyncio
import sys
import time

from kubernetes import client as kubernetes
from kubernetes import config

from k8s_agent_sandbox.models import SandboxDirectConnectionConfig

PATIENCE = 90  # seconds; an idle sandbox sleeps within a few
GROUP, VERSION = "agents.x-k8s.io", "v1beta1"


def is_asleep(namespace: str, name: str) -> bool:
    sandbox = kubernetes.CustomObjectsApi().get_namespaced_custom_object(
        GROUP, VERSION, namespace, "sandboxes", name
    )
    return sandbox["spec"].get("operatingMode") == "Suspended"


def expect(what: str, found: object, expected: object) -> None:
    if found != expected:
        sys.exit(f"{what}: expected {expected!r}, found {found!r}")
    print(f"{what}: ok", flush=True)


def deadline_passed(since: float) -> bool:
    return time.monotonic() - since > PATIENCE


def sync_story(router: str, namespace: str, pool: str) -> None:
    from k8s_agent_sandbox import SandboxClient

    client = SandboxClient(SandboxDirectConnectionConfig(api_url=router))
    sandbox = client.create_sandbox(pool, namespace=namespace)

    def sleeps() -> None:
        since = time.monotonic()
        while not is_asleep(namespace, sandbox.sandbox_id):
            if deadline_passed(since):
                sys.exit("the sandbox does not fall asleep")
            time.sleep(0.1)

    try:
        ran = sandbox.commands.run("echo hello; exit 7")
        expect("exec", (ran.stdout, ran.exit_code), ("hello\n", 7))
        ran = sandbox.commands.run("echo written by exec > kept.txt")
        expect("exec writes a file", ran.exit_code, 0)

        sleeps()
        ran = sandbox.commands.run("cat kept.txt")
        expect("exec wakes, and the disk is kept", ran.stdout, "written by exec\n")

        sleeps()
        expect("a file read wakes", sandbox.files.read("kept.txt"), b"written by exec\n")
        sandbox.files.write("notes/uploaded.txt", b"\x00\x01 bytes")
        sleeps()
        expect("a file list wakes", [entry.name for entry in sandbox.files.list("notes")], ["uploaded.txt"])
        expect("a file exists", sandbox.files.exists("notes/uploaded.txt"), True)
        expect("no file exists", sandbox.files.exists("notes/none.txt"), False)
        expect("an uploaded file", sandbox.files.read("notes/uploaded.txt"), b"\x00\x01 bytes")

        sleeps()
        again = SandboxClient(SandboxDirectConnectionConfig(api_url=router)).get_sandbox(
            sandbox.claim_name, namespace=namespace
        )
        ran = again.commands.run("cat kept.txt")
        expect("a new client attaches to a sleeping sandbox", ran.stdout, "written by exec\n")
    finally:
        client.delete_all()


async def async_story(router: str, namespace: str, pool: str) -> None:
    from k8s_agent_sandbox import AsyncSandboxClient

    client = AsyncSandboxClient(connection_config=SandboxDirectConnectionConfig(api_url=router))
    sandbox = await client.create_sandbox(pool, namespace=namespace)

    async def sleeps() -> None:
        since = time.monotonic()
        while not await asyncio.to_thread(is_asleep, namespace, sandbox.sandbox_id):
            if deadline_passed(since):
                sys.exit("the sandbox does not fall asleep")
            await asyncio.sleep(0.1)

    try:
        ran = await sandbox.commands.run("echo written by exec > kept.txt; echo hello")
        expect("exec", (ran.stdout, ran.exit_code), ("hello\n", 0))

        await sleeps()
        several = await asyncio.gather(*(sandbox.commands.run(f"cat kept.txt; echo {n}") for n in range(8)))
        expect(
            "eight at once wake it together",
            [ran.stdout for ran in several],
            [f"written by exec\n{n}\n" for n in range(8)],
        )

        await sandbox.files.write("uploaded.txt", "text")
        await sleeps()
        expect("a file read wakes", await sandbox.files.read("uploaded.txt"), b"text")
        names = sorted(entry.name for entry in await sandbox.files.list("."))
        expect("a file list", names, ["kept.txt", "uploaded.txt"])
        expect("a file exists", await sandbox.files.exists("kept.txt"), True)
    finally:
        await client.delete_all()
        await client.close()


def main() -> None:
    kind, router, namespace, pool = sys.argv[1:]
    config.load_kube_config()
    if kind == "sync":
        sync_story(router, namespace, pool)
    else:
        asyncio.run(async_story(router, namespace, pool))


main()
