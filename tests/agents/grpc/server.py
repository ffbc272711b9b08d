"""A gRPC server of grpcio, with the health service. Starts slowly where SLOW says so, as agents do."""

import os
import signal
import threading
import time
from concurrent import futures

import grpc
from echo import NAME, handlers
from grpc_health.v1 import health, health_pb2, health_pb2_grpc


class Echo:
    def Unary(self, text, context):
        context.set_trailing_metadata((("x-said", "goodbye"),))
        if text == "refuse":
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "refused, ü")
        if text == "sleep":
            time.sleep(30)
        return text

    def Down(self, text, context):
        for number in range(int(text)):
            yield str(number)

    def Up(self, texts, context):
        return "+".join(texts)

    def Both(self, texts, context):
        yield from texts


time.sleep(float(os.environ["SLOW"]))
server = grpc.server(futures.ThreadPoolExecutor(16))
server.add_generic_rpc_handlers((handlers(Echo()),))
servicer = health.HealthServicer()
health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
for name in ("", NAME):
    servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
server.add_insecure_port(f"{os.environ['HOST']}:{os.environ['PORT']}")
server.start()
over = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: over.set())
over.wait()
server.stop(2).wait()
