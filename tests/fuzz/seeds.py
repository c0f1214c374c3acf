"""Writes the first inputs of the corpus: requests, tensors and models as they are, and in the ways that they go wrong.

    python -m tests.fuzz.seeds

What the fuzzers find is added beside them by hand: ``cp FOUND tests/fuzz/corpus/TARGET/NAME``.
"""

import gzip
import json
import struct
from typing import Any

import numpy as np
from onnx import ModelProto, helper
from tests.fuzz.connection import LATER
from tests.fuzz.run import CORPUS
from tests.fuzz.targets import CUT, WARM
from tests.penstock_server import onnx_models

from penstock_server.grpc_service.http2 import frames
from penstock_server.grpc_service.http2.frames import Code, Kind, Setting
from penstock_server.grpc_service.http2.headers import encode
from penstock_server.grpc_service.messages import ModelInferRequest
from penstock_server.protocol import DTYPES
from penstock_server.protocol.binary import encode_raw

Tensor = dict[str, Any]


def tensor(datatype: str, shape: list[Any], data: Any, name: str = "x", **more: Any) -> Tensor:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data, **more}


def requests() -> dict[str, bytes]:
    x = tensor("FP32", [2, 2], [1, 2.5, -3e7, 0])
    y = [{"name": "x", "parameters": {"classification": 2}}]
    every = [tensor(name, [1], ["a" if name == "BYTES" else 1], name.lower()) for name in DTYPES]
    good: dict[str, tuple[str, Any]] = {
        "flat": ("n", {"inputs": [x]}),
        "nested": ("n", {"id": "ü", "inputs": [{**x, "data": [[1, 2], [3, 4]]}]}),
        "outputs": ("n", {"inputs": [x], "outputs": [{"name": "x"}]}),
        "classification": ("n", {"inputs": [x], "outputs": y}),
        "parameters": ("n", {"parameters": {"timeout": 1000, "priority": 1}, "inputs": [x]}),
        "double": ("d", {"inputs": [tensor("FP64", [3], [1e308, 5e-324, 0.1])]}),
        "fixed": ("f", {"inputs": [tensor("FP32", [2, 3], [[0, 0, 0], [1, 1, 1]])]}),
        "half": ("h", {"inputs": [tensor("FP16", [2], [65504, 6e-8])]}),
        "integers": ("i", {"inputs": [tensor("INT64", [1, 2], [2**63 - 1, -(2**63)])]}),
        "fraction": ("i", {"inputs": [tensor("INT64", [1, 2], [1.0, 9007199254740993.0])]}),
        "octets": ("u", {"inputs": [tensor("UINT8", [2], [255, 256])]}),
        "texts": ("s", {"inputs": [tensor("BYTES", [3], ["", "\0", "日本"])]}),
        "booleans": ("b", {"inputs": [tensor("BOOL", [3, 1], [True, 0, 1.0])]}),
        "scalar": ("0", {"inputs": [tensor("INT32", [], 7)]}),
        "scalar-list": ("0", {"inputs": [tensor("INT32", [], [7])]}),
        "every": ("a", {"inputs": every}),
        "twice": ("n", {"inputs": [x, x]}),
        "unknown": ("n", {"inputs": [{**x, "name": "y"}]}),
        "huge-shape": ("n", {"inputs": [{**x, "shape": [2**62, 2]}]}),
        "overflow": ("n", {"inputs": [{**x, "shape": [2**63, 0], "data": []}]}),
        "no-rows": ("n", {"inputs": [{**x, "shape": [0, 2], "data": []}]}),
        "null": ("n", {"inputs": [{**x, "data": [None, True, "1", {}]}]}),
        "nothing": ("-", {"inputs": []}),
        "binary-size": ("n", {"inputs": [{**x, "parameters": {"binary_data_size": 16}}]}),
    }
    made = {name: f"{model}\n{json.dumps(body, ensure_ascii=False)}".encode() for name, (model, body) in good.items()}
    number = b'd\n{"inputs":[{"name":"x","datatype":"FP64","shape":[1],"data":[%b]}]}'
    for name, text in {"1e400": b"1e400", "nan": b"NaN", "long": b"1" * 400, "zeros": b"-0.0"}.items():
        made[f"number-{name}"] = number % text
    made["surrogate"] = b's\n{"inputs":[{"name":"x","datatype":"BYTES","shape":[1],"data":["\\ud800"]}]}'
    made["deep"] = b"n\n" + b"[" * 900
    for form in ("mixed", "0", "3", "99999"):
        made[f"form-{form}"] = f"u {form}\n".encode() + b"abc"
    for name in DTYPES:
        data = encode_raw(np.array(["ä"] if name == "BYTES" else [1], DTYPES[name]), name)
        one = {"name": name.lower(), "datatype": name, "shape": [1], "parameters": {"binary_data_size": len(data)}}
        rest = [tensor for tensor in every if tensor["name"] != one["name"]]
        asked = {"parameters": {"binary_data_output": name < "F"}, "inputs": [one, *rest]}
        made[f"mixed-{name.lower()}"] = b"a mixed\n" + json.dumps(asked).encode() + b"\n" + data
    made["raw-fp64"] = b"d 0\n" + bytes(16)
    made["raw-text"] = b"s 0\nabc"
    made["raw-half"] = b"h 0\n\x00\x7e\x00\x7c"
    made["keys"] = b'n\n{"inputs":[],"inputs":[{"name":"x","name":"y","shape":[1,2],"data":[1,2]}]}'
    return made


def raws() -> dict[str, bytes]:
    made = {}
    for number, (name, dtype) in enumerate(DTYPES.items()):
        array = np.array(["", "ä"], dtype) if name == "BYTES" else np.array([0, 1], dtype)
        made[name.lower()] = bytes([number, 1, 2]) + encode_raw(array, name)
    text = list(DTYPES).index("BYTES")
    made["length-too-long"] = bytes([text, 1, 1]) + struct.pack("<I", 2**32 - 1) + b"x"
    made["rest"] = bytes([text, 0]) + struct.pack("<I", 1) + b"xy"
    made["huge"] = bytes([text, 3, 255, 255, 255]) + struct.pack("<I", 0)
    made["no-elements"] = bytes([text, 2, 0, 255])
    return made


def models() -> dict[str, bytes]:
    small: dict[str, ModelProto] = {
        "identity": onnx_models.identity("FP32", [None]),
        "zipmap": onnx_models.zipmap(),
        "loop": onnx_models.counter(),
        "unknown": onnx_models.unknown_operator("evil"),
        "external": onnx_models.with_external_data("../../etc/passwd"),
        "branch": onnx_models.in_branch([helper.make_node("Evil", ["x"], ["z"], domain="evil")]),
        "lookup": onnx_models.lookup(),
    }
    made = {name: model.SerializeToString() for name, model in small.items()}
    made["cut"] = made["loop"][:-5]
    made["text"] = b"<html>"
    return made


def connections() -> dict[str, bytes]:
    path = b"/v2/models/m/infer"

    def ask(body: bytes, *headers: bytes, line: bytes = b"POST " + path + b" HTTP/1.1") -> bytes:
        given = [line, b"Host: h", *(headers or (b"Content-Length: %d" % len(body),)), b"", b""]
        return b"\r\n".join(given) + body

    plain, get = ask(b"hello"), b"GET /v2 HTTP/1.1\r\nHost: h\r\n\r\n"
    end = WARM.index(b"\r\n\r\n")
    made = {
        "plain": plain,
        "pipelined": plain + ask(LATER) + plain + get + plain,
        "known-in-pieces": CUT.join([WARM[:30], WARM[30 : end + 2], WARM[end + 2 : -5], WARM[-5:] + plain]),
        "known-and-more": WARM + WARM[:50] + CUT + WARM[50:],
        "later-and-more": ask(LATER) + CUT + plain + CUT + get,
        "later-twice": ask(LATER + b"1") + ask(LATER + b"2"),
        "get": get,
        "unknown": b"GET /nothing HTTP/1.1\r\n\r\n" + plain,
        "wrong-method": ask(b"", line=b"PUT " + path + b" HTTP/1.1") + plain,
        "old": ask(b"old", line=b"POST " + path + b" HTTP/1.0"),
        "old-kept": ask(b"old", b"Connection: keep-alive", b"Content-Length: 3", line=b"POST " + path + b" HTTP/1.0"),
        "absolute": ask(b"x", line=b"POST http://h" + path + b" HTTP/1.1"),
        "escaped": ask(b"x", line=b"POST /v2/models/%6D/infer HTTP/1.1"),
        "chunked": ask(b"3\r\nabc\r\n0\r\n\r\n", b"Transfer-Encoding: chunked") + plain,
        "chunked-in-pieces": ask(b"3\r\na" + CUT + b"bc\r\n0\r" + CUT + b"\n\r\n", b"Transfer-Encoding: chunked")
        + plain,
        "two-lengths": ask(b"abc", b"Content-Length: 3", b"Content-Length: 4"),
        "length-and-chunked": ask(b"0\r\n\r\n", b"Content-Length: 5", b"Transfer-Encoding: chunked") + plain,
        "plus": ask(b"abc", b"Content-Length: +3"),
        "long-number": ask(b"abc", b"Content-Length: 3", b"Inference-Header-Content-Length: " + b"9" * 4400),
        "header-length": ask(b"{}abc", b"Content-Length: 5", b"Inference-Header-Content-Length: 2"),
        "close": ask(b"abc", b"Content-Length: 3", b"Connection: close") + plain,
        "expect": ask(CUT + b"abc", b"Content-Length: 3", b"Expect: 100-continue") + plain,
        "upgrade": ask(b"abc", b"Content-Length: 3", b"Connection: upgrade", b"Upgrade: websocket") + plain,
        "no-length": ask(b"", b"X: y") + plain,
        "folded": ask(b"abc", b"X: a\r\n b", b"Content-Length: 3") + plain,
        "bare-newlines": plain.replace(b"\r\n", b"\n") + plain,
        "leading-newlines": b"\r\n\r\n" + CUT + plain + CUT + b"\r\n" + plain,
        "space": ask(b"abc", b"Content-Length : 3") + plain,
        "preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        "coding": ask(b"abc", b"Content-Length: 3", b"Content-Encoding: br") + plain,
        "short": ask(b"ab", b"Content-Length: 3"),
        "too-large": ask(b"ab", b"Content-Length: 99999999") + plain,
    }
    for cut in (1, 2, 3):
        made[f"cut-in-the-end-{cut}"] = WARM[: end + cut] + CUT + WARM[end + cut :]
    return made


def messages() -> dict[str, bytes]:
    raw = {"name": "x", "datatype": "FP32", "shape": [1, 2]}
    typed = {**raw, "contents": {"fp32_contents": [1, 2]}}
    asked: dict[str, tuple[str, Any]] = {
        "raw": ("n", {"inputs": [raw], "raw_input_contents": [bytes(8)]}),
        "typed": ("n", {"id": "ü", "inputs": [typed], "outputs": [{"name": "x"}]}),
        "both": ("n", {"inputs": [typed], "raw_input_contents": [bytes(8)]}),
        "parameters": ("n", {"inputs": [typed], "parameters": {"timeout": {"int64_param": 5}, "p": {}}}),
        "texts": (
            "s",
            {"inputs": [{**raw, "datatype": "BYTES", "shape": [1], "contents": {"bytes_contents": [b"x"]}}]},
        ),
        "too-wide": (
            "u",
            {"inputs": [{**raw, "datatype": "UINT8", "shape": [1], "contents": {"uint_contents": [256]}}]},
        ),
        "negative": ("n", {"inputs": [{**raw, "shape": [-1, 2]}], "raw_input_contents": [b""]}),
        "huge": ("n", {"inputs": [{**raw, "shape": [2**62, 2]}], "raw_input_contents": [b""]}),
        "no-rows": ("n", {"inputs": [{**raw, "shape": [0, 2]}], "raw_input_contents": [b""]}),
        "classification": (
            "n",
            {"inputs": [typed], "outputs": [{"name": "x", "parameters": {"classification": {"int64_param": 1}}}]},
        ),
        "nothing": ("-", {}),
    }
    return {
        name: model.encode() + b"\n" + ModelInferRequest(model_name="m", **fields).SerializeToString()
        for name, (model, fields) in asked.items()
    }


def http2() -> dict[str, bytes]:
    def headers(
        number: int, path: bytes = b"/s/Now", flags: int = frames.END_HEADERS, *more: tuple[bytes, bytes]
    ) -> bytes:
        block = encode(
            (
                *((b":method", b"POST"), (b":scheme", b"http"), (b":path", path)),
                *((b"content-type", b"application/grpc"), (b"te", b"trailers"), *more),
            )
        )
        return frames.frame(Kind.HEADERS, flags, number, block)

    def data(number: int, message: bytes, flags: int = frames.END_STREAM, prefix: bytes | None = None) -> bytes:
        length = prefix if prefix is not None else b"\0" + struct.pack(">I", len(message))
        return frames.frame(Kind.DATA, flags, number, length + message)

    settings = frames.settings({Setting.INITIAL_WINDOW_SIZE: 0, Setting.MAX_FRAME_SIZE: 1 << 14})
    call = headers(1) + data(1, b"hello")
    more = (b"grpc-timeout", b"1S"), (b"grpc-encoding", b"gzip")
    packed = gzip.compress(bytes(1000), mtime=0)
    return {
        "call": call,
        "calls": call + headers(3) + headers(5) + data(5, b"b") + data(3, b"a"),
        "pieces": headers(1) + data(1, b"he", 0, b"\0\0\0\0\5") + CUT + data(1, b"llo", frames.END_STREAM, b""),
        "later": headers(1, b"/s/Later") + data(1, b"x") + frames.reset(1, Code.CANCEL),
        "talk": headers(1, b"/s/Talk") + data(1, b"a", 0) + data(1, b"bc"),
        "unknown": headers(1, b"/s/None") + data(1, b"x"),
        "no-window": settings + call + frames.window_update(1, 9) + frames.window_update(1, 99),
        "packed": headers(1, b"/s/Now", frames.END_HEADERS, *more)
        + data(1, packed, 1, b"\1" + struct.pack(">I", len(packed))),
        "too-large": headers(1) + data(1, b"", frames.END_STREAM, b"\0\xff\xff\xff\xff"),
        "two-messages": headers(1) + data(1, b"a", 0) + data(1, b"b"),
        "no-message": headers(1, b"/s/Now", frames.END_HEADERS | frames.END_STREAM),
        "continued": headers(1, b"/s/Now", 0)
        + frames.frame(Kind.CONTINUATION, frames.END_HEADERS, 1, encode(more))
        + data(1, b""),
        "interrupted": headers(1, b"/s/Now", 0) + data(1, b"x"),
        "padded": frames.frame(Kind.DATA, frames.PADDED, 1, b"\3abc"),
        "indexed": frames.frame(Kind.HEADERS, frames.END_HEADERS, 1, b"\x83\x86\x44\x81\x1f\x3f\xe1\x1f\xbf"),
        "even": headers(2),
        "twice": headers(1) + headers(1),
        "back": headers(5) + headers(3),
        "ping": frames.frame(Kind.PING, 0, 0, bytes(8)),
        "goaway": frames.goaway(0, Code.NO_ERROR),
        "reset": headers(1) + frames.reset(1, Code.CANCEL) + headers(3) + frames.reset(3, Code.CANCEL),
        "too-many": b"".join(headers(number) for number in range(1, 23, 2)),
        "http1": b"GET / HTTP/1.1\r\n\r\n",
    }


def main() -> None:
    """Write them; inputs of other names stay."""
    corpus = {
        "request": requests(),
        "raw": raws(),
        "guard": models(),
        "wire": models(),
        "connection": connections(),
        "grpc": messages(),
        "http2": http2(),
    }
    for target, files in corpus.items():
        folder = CORPUS / target
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            (folder / name).write_bytes(data)


if __name__ == "__main__":
    main()
