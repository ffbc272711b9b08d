"""A client of grpcio: all kinds of calls, health, trailers, errors, and deadlines across a wake."""

import itertools
import threading
import time

import grpc
from echo import NAME, method
from grpc_health.v1 import health_pb2, health_pb2_grpc

from stage import ADDRESS, HOST, PORT, SECONDS, asleep, expect, fail, sandbox, stays_awake, step

LONG = 120  # seconds
OPTIONS = [
    # The name that the sandbox is asked for by; the connection goes to this machine.
    ("grpc.default_authority", f"{HOST}:{PORT}"),
    # Pings while nothing is called: no activity.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
]


def dialogue(channel: grpc.Channel) -> None:
    """A stream both ways, a message a second, for as long as there is to do."""

    def texts():
        since = time.monotonic()
        for number in itertools.count():
            if time.monotonic() - since > SECONDS:
                return
            yield f"message {number}"
            time.sleep(1)

    answers = list(method(channel, "Both")(texts(), timeout=SECONDS + LONG))
    if answers != [f"message {number}" for number in range(len(answers))] or len(answers) < SECONDS / 2:
        fail(f"a stream both ways: {answers}")
    stays_awake("a stream in use")
    step(f"a stream both ways for {SECONDS:.0f} s: ok")


def calls(channel: grpc.Channel) -> None:
    expect("a stream down", len(list(method(channel, "Down")("5000", timeout=LONG))), 5000)
    expect("a stream up", method(channel, "Up")(iter("abc"), timeout=LONG), "a+b+c")
    answer, call = method(channel, "Unary").with_call("trailers", timeout=LONG)
    expect("trailing metadata", dict(call.trailing_metadata()).get("x-said"), "goodbye")
    large = "x" * (3 << 20)
    expect("a message of 3 MiB", method(channel, "Unary")(large, timeout=LONG) == large, True)
    refusal = failure(channel, "refuse", LONG)
    expect("the agent's own error", (refusal.code().name, refusal.details()), ("INVALID_ARGUMENT", "refused, ü"))
    expect("a deadline", failure(channel, "sleep", 1).code().name, "DEADLINE_EXCEEDED")
    health = health_pb2_grpc.HealthStub(channel)
    check = health.Check(health_pb2.HealthCheckRequest(service=NAME), timeout=LONG)
    expect("health", check.status, health_pb2.HealthCheckResponse.SERVING)


def failure(channel: grpc.Channel, text: str, timeout: float) -> grpc.RpcError:
    try:
        method(channel, "Unary")(text, timeout=timeout)
    except grpc.RpcError as error:
        return error
    fail(f"{text}: no error")


def watch(channel: grpc.Channel) -> threading.Thread:
    """Stands attached: waits for news of the health that never come."""
    stub = health_pb2_grpc.HealthStub(channel)
    news = stub.Watch(health_pb2.HealthCheckRequest(service=NAME), timeout=None)
    expect("watching", next(news).status, health_pb2.HealthCheckResponse.SERVING)

    def end() -> None:
        try:
            # On its way down the server says that it does not serve any more.
            for answer in news:
                step(f"the watch says {answer.status}")
            step("the watch ended: ok")
        except grpc.RpcError as error:
            step(f"the watch ended with {error.code().name}: {error.details()}")

    thread = threading.Thread(target=end, daemon=True)
    thread.start()
    return thread


def main() -> None:
    with grpc.insecure_channel(ADDRESS, OPTIONS) as channel:
        hello = method(channel, "Unary")
        expect("a call to a sleeping agent", hello("hello", timeout=LONG), "hello")
        calls(channel)
        dialogue(channel)
        attached = watch(channel)
        asleep("an attached watch and pings keep nobody awake")
        attached.join(60)
        expect("the watch was ended by the sleep", attached.is_alive(), False)
        expect("a deadline that the wake outlasts", failure(channel, "early", 0.5).code().name, "DEADLINE_EXCEEDED")
        expect("the next call joins the wake", hello("again", timeout=LONG), "again")
        asleep("with the channel open")
        expect("a call across a wake within its deadline", hello("third", timeout=LONG), "third")
    expect("epoch", sandbox()["epoch"] >= 5, True)


main()
