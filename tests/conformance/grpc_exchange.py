"""One call over gRPC as a client sees it."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import grpc
from google.protobuf import json_format
from tests.conformance.exchange import TIMEOUT_SECONDS, Target

from penstock_server.grpc_service.messages import CALLS, SERVICE


class Refused(Exception):  # noqa: N818 - an outcome
    """The call ended with another code than OK."""

    def __init__(self, error: grpc.RpcError) -> None:
        super().__init__(str(error))
        self.code: grpc.StatusCode = error.code()
        self.details = error.details() or ""


@contextlib.contextmanager
def channel_to(target: Target) -> Iterator[grpc.Channel]:
    """A connection of its own, as another client would have."""
    if not target.grpc:
        raise AssertionError("the server says no address for gRPC")
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", 64 << 20)]
    with grpc.insecure_channel(target.grpc, options=options) as channel:
        yield channel


def call(target: Target, name: str, message: Any = None, *, body: bytes | None = None, timeout: float = 0) -> Any:
    """Make a call with a message given as JSON would write it, or with the bytes of one; raise Refused."""
    asked, answered = CALLS[name]
    text = body if body is not None else json_format.ParseDict(message or {}, asked()).SerializeToString()
    return send(target, name, text, answered.FromString, timeout=timeout)


def send(target: Target, name: str, body: bytes, read: Callable[[bytes], Any], *, timeout: float = 0) -> Any:
    with channel_to(target) as channel:
        method = channel.unary_unary(f"/{SERVICE}/{name}", bytes, read)
        try:
            return method(body, timeout=timeout or TIMEOUT_SECONDS)
        except grpc.RpcError as error:
            raise Refused(error) from error


def request(target: Target, **more: Any) -> Any:
    """A request for inference that lacks its inputs."""
    return CALLS["ModelInfer"][0](model_name=target.model, **more)


def raw(target: Target, *tensors: tuple[str, str, list[int], bytes], **more: Any) -> Any:
    asked = request(target, **more)
    for name, datatype, shape, data in tensors:
        asked.inputs.add(name=name, datatype=datatype, shape=shape)
        asked.raw_input_contents.append(data)
    return asked


def infer(target: Target, asked: Any, *, timeout: float = 0) -> Any:
    return call(target, "ModelInfer", body=asked.SerializeToString(), timeout=timeout)
