"""Compressed bodies: taken in and given out where a client asks, never a way to fill the memory."""

import gzip
import json
import struct
import zlib
from collections.abc import Callable

import pytest
from tests.conformance.exchange import HEADER_LENGTH, Reply, Target

GOOD = json.dumps({"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}).encode()
LARGE = json.dumps({"inputs": [{"name": "x", "shape": [5000, 2], "datatype": "FP32", "data": [1] * 10_000}]}).encode()
PACK: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress}
CODING = pytest.mark.parametrize("coding", PACK)


def unpacked(reply: Reply) -> bytes:
    match reply.headers.get("content-encoding", "identity"):
        case "gzip":
            return gzip.decompress(reply.body)
        case "deflate":
            return zlib.decompress(reply.body)
        case "identity":
            return reply.body
        case other:
            raise AssertionError(f"nobody asked for {other}")


@CODING
@pytest.mark.parametrize("body", [GOOD, LARGE], ids=["small", "large"])
def test_a_compressed_request_is_taken(fp32: Target, coding: str, body: bytes) -> None:
    assert fp32.infer(PACK[coding](body), headers={"Content-Encoding": coding}).status == 200


@CODING
def test_a_compressed_binary_request_is_taken(fp32: Target, coding: str) -> None:
    message = {
        "inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "parameters": {"binary_data_size": 8}}],
        "parameters": {"binary_data_output": True},
    }
    head, data = json.dumps(message).encode(), struct.pack("<2f", 1, 2)
    reply = fp32.infer(PACK[coding](head + data), headers={"Content-Encoding": coding, HEADER_LENGTH: str(len(head))})
    assert reply.tensors()[1] == {"y": data}


@CODING
@pytest.mark.parametrize("body", [GOOD, LARGE], ids=["small", "large"])
def test_an_answer_is_compressed_as_asked_or_not_at_all(fp32: Target, coding: str, body: bytes) -> None:
    reply = fp32.infer(body, headers={"Accept-Encoding": coding})
    assert reply.status == 200
    assert reply.headers.get("content-encoding", "identity") in {coding, "identity"}
    assert json.loads(unpacked(reply))["outputs"][0]["data"][0] == 1.0


@CODING
def test_a_large_answer_is_compressed_where_the_client_asks(fp32: Target, coding: str) -> None:
    assert fp32.infer(LARGE, headers={"Accept-Encoding": coding}).headers.get("content-encoding") == coding


@CODING
def test_the_json_length_of_a_compressed_answer_counts_what_is_compressed(fp32: Target, coding: str) -> None:
    message = {**json.loads(LARGE), "parameters": {"binary_data_output": True}}
    reply = fp32.infer(message, headers={"Accept-Encoding": coding})
    body, length = unpacked(reply), int(reply.headers[HEADER_LENGTH.lower()])
    assert json.loads(body[:length])["outputs"][0]["parameters"]["binary_data_size"] == len(body) - length == 40_000


@pytest.mark.parametrize("accepted", ["identity", "", "br", "gzip;q=0", "gzip;q=0, deflate;q=0", "*;q=0, identity"])
def test_nobody_gets_a_coding_that_was_not_asked_for(fp32: Target, accepted: str) -> None:
    reply = fp32.infer(LARGE, headers={"Accept-Encoding": accepted})
    assert (reply.status, reply.headers.get("content-encoding", "identity")) == (200, "identity")


@pytest.mark.parametrize("coding", ["br", "zstd", "compress", "x", "gzip, gzip"])
def test_a_coding_that_the_server_does_not_know_is_refused(fp32: Target, coding: str) -> None:
    fp32.infer(GOOD, headers={"Content-Encoding": coding}).error(400, 415)


@CODING
def test_a_body_that_is_not_compressed_as_it_says_is_refused(fp32: Target, coding: str) -> None:
    fp32.infer(GOOD, headers={"Content-Encoding": coding}).error(400)


@CODING
def test_a_compressed_body_that_is_cut_off_is_refused(fp32: Target, coding: str) -> None:
    fp32.infer(PACK[coding](LARGE)[:-20], headers={"Content-Encoding": coding}).error(400)


@CODING
@pytest.mark.parametrize("megabytes", [33, 100])
def test_a_small_body_that_unfolds_into_a_huge_one_is_refused(fp32: Target, coding: str, megabytes: int) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31 if coding == "gzip" else 15)
    bomb = b"".join(packer.compress(b" " * 1024 * 1024) for _ in range(megabytes)) + packer.flush()
    fp32.infer(bomb, headers={"Content-Encoding": coding}).error(400, 413)
