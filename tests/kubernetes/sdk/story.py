"""A user of the sandbox SDK, to whom Reveille is a router: creates a sandbox, works in it, leaves it alone
until it sleeps, and goes on as if nothing had happened.

    story.py sync|async|sync-life|async-life ROUTER_URL NAMESPACE WARM_POOL

A life is one sandbox from its making to its end, and says at each step whether its claim, its Sandbox and
their names are the same still.

Exits 0 if everything was as the SDK promises; prints one line a step. KUBECONFIG says which cluster.
"""

import asyncio
import inspect
import sys
import time

from kubernetes import client as kubernetes
from kubernetes import config

from k8s_agent_sandbox.models import SandboxDirectConnectionConfig

PATIENCE = 90  # seconds; an idle sandbox sleeps within a few
SANDBOXES = ("agents.x-k8s.io", "v1beta1", "sandboxes")
CLAIMS = ("extensions.agents.x-k8s.io", "v1beta1", "sandboxclaims")


def find(kind: tuple[str, str, str], namespace: str, name: str) -> dict | None:
    group, version, plural = kind
    try:
        return kubernetes.CustomObjectsApi().get_namespaced_custom_object(group, version, namespace, plural, name)
    except kubernetes.ApiException as error:
        if error.status == 404:
            return None
        raise


def is_asleep(namespace: str, name: str) -> bool:
    sandbox = find(SANDBOXES, namespace, name)
    if sandbox is None:
        sys.exit(f"there is no Sandbox {name} any more")
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


async def life(new_client, namespace: str, pool: str) -> None:
    """The same for both kinds of client: what one of them awaits, the other has done already."""

    async def done(result):
        return await result if inspect.isawaitable(result) else result

    async def until(what: str, holds) -> None:
        since = time.monotonic()
        while not await asyncio.to_thread(holds):
            if deadline_passed(since):
                sys.exit(f"{what}: not within {PATIENCE} s")
            await asyncio.sleep(0.1)
        print(f"{what}: ok", flush=True)

    client, other = new_client(), new_client()
    sandbox = await done(client.create_sandbox(pool, namespace=namespace))
    claim, name = sandbox.claim_name, sandbox.sandbox_id

    def identity() -> list[str | None]:
        found = [find(CLAIMS, namespace, claim), find(SANDBOXES, namespace, name)]
        return [it and it["metadata"]["uid"] for it in found]

    try:
        made = identity()
        expect("a claim and its Sandbox", None in made, False)
        ran = await done(sandbox.commands.run("echo hello"))
        expect("exec", (ran.stdout, ran.exit_code), ("hello\n", 0))
        await done(sandbox.files.write("kept.txt", b"written before the sleep"))

        for turn in ("first", "second"):
            await until(f"{turn} sleep", lambda: is_asleep(namespace, name))
            expect("asleep, claim and Sandbox are the same", identity(), made)
            ran = await done(sandbox.commands.run("cat kept.txt"))
            expect("exec wakes, and the file is kept", ran.stdout, "written before the sleep")
            expect("awake, claim and Sandbox are the same", identity(), made)

        await until("third sleep", lambda: is_asleep(namespace, name))
        again = await done(other.get_sandbox(claim, namespace=namespace))
        expect("attached again, it has the same name", again.sandbox_id, name)
        read = await done(again.files.read("kept.txt"))
        expect("a new client that attached to it asleep wakes it", read, b"written before the sleep")

        await until("fourth sleep", lambda: is_asleep(namespace, name))
        expect("asleep, claim and Sandbox are the same", identity(), made)
        await done(client.delete_sandbox(claim, namespace=namespace))
        await until("deleted asleep, nothing is left", lambda: identity() == [None, None])
    finally:
        for each in (client, other):
            await done(each.delete_all())
            if hasattr(each, "close"):
                await done(each.close())


def main() -> None:
    kind, router, namespace, pool = sys.argv[1:]
    config.load_kube_config()
    if kind == "sync":
        sync_story(router, namespace, pool)
    elif kind == "async":
        asyncio.run(async_story(router, namespace, pool))
    else:
        import k8s_agent_sandbox as sdk

        client = sdk.SandboxClient if kind == "sync-life" else sdk.AsyncSandboxClient

        def new_client():
            return client(connection_config=SandboxDirectConnectionConfig(api_url=router))

        asyncio.run(life(new_client, namespace, pool))


main()
