"""What is fuzzed: functions of bytes that raise nothing, unless something is wrong.

Each invariant is asserted here, so that the fuzzer and the replay of its corpus hold the same ones.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import numpy as np
import orjson
from tests.fuzz.connection import Replies, replies
from tests.fuzz.http2 import answered

from penstock_server.fetch.failure import FetchFailed
from penstock_server.fetch.guard import DOMAINS, inspect_bytes
from penstock_server.fetch.wire import Malformed, fields
from penstock_server.grpc_service.http2.frames import PREFACE
from penstock_server.grpc_service.messages import ModelInferRequest, ModelInferResponse
from penstock_server.grpc_service.parsing import parse
from penstock_server.grpc_service.request import MessageDecoder
from penstock_server.grpc_service.response import MessageEncoder
from penstock_server.grpc_service.status import Refused
from penstock_server.protocol import (
    DTYPES,
    Array,
    BadRequest,
    InferRequest,
    RequestDecoder,
    ResponseEncoder,
    TensorSpec,
    UnencodableOutput,
)
from penstock_server.protocol.binary import decode_raw, encode_raw

#: An input of a few kilobytes takes a millisecond; this is for a machine that does something else meanwhile.
SECONDS_MAX = 2.0
#: What JSON can blow up most: ``0,`` is two bytes and one FP64, an object of a string is larger.
BYTES_PER_BYTE_MAX = 64
_NAMES = tuple(DTYPES)
#: Where the bytes of a connection are cut into what arrives at once; the byte is rare in HTTP.
CUT = b"\xa6"
#: What a client sends all the time, so that its headers are known.
WARM = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: h\r\nContent-Length: 90\r\n\r\n" + b"{" * 90
_LOOP = asyncio.Runner()
#: aiohttp says 400 to all that it cannot read, we say more.
_UNREADABLE = {HTTPStatus.UNSUPPORTED_MEDIA_TYPE, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE}
_DIGITS_MAX = 6


def _tensor(name: str, datatype: str, *shape: int) -> TensorSpec:
    return TensorSpec(name=name, datatype=datatype, shape=shape)


#: The models of the request fuzzer, by the letter that a request of its corpus begins with.
MODELS: Mapping[str, tuple[TensorSpec, ...]] = {
    "n": (_tensor("x", "FP32", -1, 2),),
    "d": (_tensor("x", "FP64", -1),),
    "f": (_tensor("x", "FP32", 2, 3),),
    "h": (_tensor("x", "FP16", -1),),
    "i": (_tensor("x", "INT64", -1, 2),),
    "u": (_tensor("x", "UINT8", -1),),
    "s": (_tensor("x", "BYTES", -1),),
    "b": (_tensor("x", "BOOL", -1, 1),),
    "0": (_tensor("x", "INT32"),),
    "a": tuple(_tensor(name.lower(), name, -1) for name in _NAMES),
    "-": (),
}
_DECODERS = {letter: RequestDecoder(specs, specs) for letter, specs in MODELS.items()}
_ENCODERS = {
    letter: ResponseEncoder(model_name="m", model_version="1", outputs=specs) for letter, specs in MODELS.items()
}


def request(data: bytes) -> None:
    """Decode the body of a request: ``MODEL`` and perhaps ``FORM`` in the first line, the body in the others.

    FORM is ``mixed``, JSON in the second line and raw tensors behind it, or what the header says of the JSON's length.
    """
    line, _, body = data.partition(b"\n")
    model, form = (*line.decode("latin-1").split(), "", "")[:2]
    if model not in MODELS:
        return
    json_bytes = None
    if form == "mixed":
        json_bytes = body.find(b"\n") + 1
    elif form.isdecimal() and form.isascii() and len(form) < _DIGITS_MAX:
        json_bytes = int(form)
    started = time.monotonic()
    try:
        decoded = _DECODERS[model].decode(body, json_bytes)
    except BadRequest:
        return
    finally:
        assert time.monotonic() - started < SECONDS_MAX, "a small request takes long"
    _check_fits(decoded, MODELS[model], len(body))
    _check_comes_back(decoded, model)


def raw(data: bytes) -> None:
    """Decode a tensor of raw bytes: datatype, rank and sizes in the first bytes, the tensor in the others."""
    if len(data) < 2:
        return
    datatype, rank = _NAMES[data[0] % len(_NAMES)], data[1] % 4
    shape, buffer = tuple(data[2 : 2 + rank]), data[2 + rank :]
    if len(shape) < rank:
        return
    # Sizes from 200 on stand for huge ones, of which no buffer can hold enough.
    shape = tuple(size if size < 200 else 2 ** (size - 190) for size in shape)
    try:
        array = decode_raw(buffer, datatype, shape, "input 'x'")
    except BadRequest:
        return
    assert (array.shape, array.dtype) == (shape, DTYPES[datatype])
    assert encode_raw(array, datatype) == buffer
    again = decode_raw(memoryview(buffer), datatype, shape, "input 'x'")
    assert encode_raw(again, datatype) == buffer, "it matters where the bytes lie"


def guard(data: bytes) -> None:
    """Inspect a model: what it accepts and protobuf can read holds nothing that the guard is there to find."""
    started = time.monotonic()
    try:
        inspect_bytes(data)
    except FetchFailed:
        return
    finally:
        assert time.monotonic() - started < SECONDS_MAX, "a small file takes long"
    _check_harmless(data)


def wire(data: bytes) -> None:
    """Walk the fields of a message: none leaves it, none goes back."""
    position = 0
    with suppress(Malformed):
        for field in fields(data, 0, len(data)):
            assert position <= field.start <= field.end <= len(data)
            position = field.end


def connection(data: bytes) -> None:
    """Send bytes over a connection, cut where the mark stands: however they arrive, they are answered as by aiohttp."""
    pieces = data.split(CUT)
    ours, ours_closed = _LOOP.run(replies([WARM, WARM, *pieces], ours=True))
    theirs, theirs_closed = _LOOP.run(replies([WARM, WARM, *pieces], ours=False))
    ours, theirs = _comparable(ours), _comparable(theirs)
    if theirs_closed and theirs[-1][0] == HTTPStatus.BAD_REQUEST:
        # Whether the request before the one that cannot be read was read to its end yet is a matter of turns.
        ours, theirs = [*ours[:-2], *ours[-1:]], [*theirs[:-2], *theirs[-1:]]
    if ours_closed and not theirs_closed and ours[-1][0] == HTTPStatus.BAD_REQUEST:
        # aiohttp may wait for more of a body that is damaged; we do not.
        ours, theirs_closed = ours[: len(theirs)], True
    assert ours == theirs
    assert ours_closed == theirs_closed


def http2(data: bytes) -> None:
    """Send bytes over a connection of HTTP/2, whole and cut where the mark stands: the answers are the same."""
    pieces = data.split(CUT)
    cut, cut_closed = _LOOP.run(answered([PREFACE, *pieces]))
    whole, whole_closed = _LOOP.run(answered([PREFACE + b"".join(pieces)]))
    assert sorted(cut) == sorted(whole)
    assert cut_closed == whole_closed


def grpc(data: bytes) -> None:
    """Decode a ``ModelInferRequest``: ``MODEL`` in the first line, the message in the others."""
    letter, _, body = data.partition(b"\n")
    model = letter.decode("latin-1")
    if model not in MODELS:
        return
    try:
        message = parse(ModelInferRequest, body)
        decoded = MessageDecoder(MODELS[model], MODELS[model]).decode(message, seconds_max=None)
    except (BadRequest, Refused):
        return
    _check_fits(decoded, MODELS[model], len(body))
    encoder = MessageEncoder(model_name="m", model_version="1", outputs=MODELS[model])
    if any(output.classification for output in decoded.outputs):
        return
    for raw_contents in (True, False):
        results = [decoded.inputs[output.name] for output in decoded.outputs]
        answer = ModelInferResponse.FromString(encoder.encode(decoded, results, raw=raw_contents))
        asked = ModelInferRequest(raw_input_contents=answer.raw_output_contents)
        for output in answer.outputs:
            asked.inputs.add().MergeFromString(output.SerializeToString())
        if len(results) == len(MODELS[model]):
            again = MessageDecoder(MODELS[model], MODELS[model]).decode(asked, seconds_max=None)
            for name, array in decoded.inputs.items():
                np.testing.assert_array_equal(again.inputs[name], array)


def _comparable(answers: Replies) -> list[tuple[int, bytes]]:
    """Return the answers without the words of errors, which are ours in one way and aiohttp's in the other."""
    return [
        (HTTPStatus.BAD_REQUEST if status in _UNREADABLE else status, body if status == HTTPStatus.OK else b"")
        for status, body in answers
    ]


def _check_fits(decoded: InferRequest, specs: tuple[TensorSpec, ...], size: int) -> None:
    assert list(decoded.inputs) == [spec.name for spec in specs] or set(decoded.inputs) == {s.name for s in specs}
    for spec in specs:
        array = decoded.inputs[spec.name]
        assert array.dtype == DTYPES[spec.datatype]
        assert not spec.shape or len(array.shape) == len(spec.shape)
        assert all(wanted in (-1, got) for wanted, got in zip(spec.shape, array.shape, strict=False))
        assert array.nbytes <= BYTES_PER_BYTE_MAX * (size + 1), "a small body makes a large array"
    assert decoded.rows >= 0
    assert {output.name for output in decoded.outputs} <= {spec.name for spec in specs}


def _check_comes_back(decoded: InferRequest, model: str) -> None:
    """Answer the inputs as outputs, and ask for the same with the answer."""
    results = [decoded.inputs[output.name] for output in decoded.outputs]
    try:
        body, json_bytes = _ENCODERS[model].encode(decoded, results)
    except UnencodableOutput:
        # Raw bytes may hold what JSON cannot; JSON itself cannot.
        assert any(_is_not_json(array) for array in results)
        return
    answer: dict[str, Any] = orjson.loads(body[:json_bytes])
    assert answer.get("id") == decoded.id
    if len(results) != len(MODELS[model]) or any(output.classification for output in decoded.outputs):
        return
    asked = orjson.dumps({"inputs": answer["outputs"]})
    if json_bytes is None:
        again = _DECODERS[model].decode(asked)
    else:
        again = _DECODERS[model].decode(asked + body[json_bytes:], len(asked))
    for name, array in decoded.inputs.items():
        np.testing.assert_array_equal(again.inputs[name], array)


def _is_not_json(array: Array) -> bool:
    if array.dtype.kind == "f":
        return not np.isfinite(array).all()
    return array.dtype.kind == "O" and any(isinstance(item, bytes) for item in array.reshape(-1))


def _check_harmless(data: bytes) -> None:
    # Needed only where a file was accepted, and slow to import.
    import onnx  # noqa: PLC0415
    from google.protobuf.message import DecodeError  # noqa: PLC0415

    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError:
        return  # ONNX Runtime reads with the same library, and will refuse it with its own words
    functions = {(function.domain, function.name) for function in model.functions}
    for message in _messages(model):
        if isinstance(message, onnx.NodeProto):
            known = message.domain in DOMAINS or (message.domain, message.op_type) in functions
            assert known, f"domain {message.domain!r} was overlooked"
        elif isinstance(message, onnx.TensorProto):
            assert not message.external_data, "external data was overlooked"
            assert message.data_location != onnx.TensorProto.EXTERNAL, "external data was overlooked"
    assert model.graph.node, "no nodes"


def _messages(message: Any) -> list[Any]:
    found, rest = [], [message]
    while rest:
        one = rest.pop()
        found.append(one)
        for descriptor, value in one.ListFields():
            if descriptor.message_type is not None:
                rest.extend(value if descriptor.is_repeated else [value])
    return found


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "request": request,
    "raw": raw,
    "guard": guard,
    "wire": wire,
    "connection": connection,
    "grpc": grpc,
    "http2": http2,
}
