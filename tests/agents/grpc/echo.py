"""The service of both servers and both clients. Its messages are StringValue, which every gRPC library
has, so that no code needs to be generated."""

import grpc
from google.protobuf.wrappers_pb2 import StringValue

NAME = "agents.Echo"
KINDS = {
    "Unary": "unary_unary",
    "Down": "unary_stream",
    "Up": "stream_unary",
    "Both": "stream_stream",
}


def method(channel: grpc.Channel, name: str):
    """A call of the service, to be made with texts."""
    create = getattr(channel, KINDS[name])
    return create(
        f"/{NAME}/{name}",
        request_serializer=lambda text: StringValue(value=text).SerializeToString(),
        response_deserializer=lambda wire: StringValue.FromString(wire).value,
    )


def handlers(service: object) -> grpc.GenericRpcHandler:
    """The service itself, of an object with a method for each call."""
    made = {
        name: getattr(grpc, f"{kind}_rpc_method_handler")(
            getattr(service, name),
            request_deserializer=lambda wire: StringValue.FromString(wire).value,
            response_serializer=lambda text: StringValue(value=text).SerializeToString(),
        )
        for name, kind in KINDS.items()
    }
    return grpc.method_handlers_generic_handler(NAME, made)
