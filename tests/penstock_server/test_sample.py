"""The sample request fits the model."""

import json
import shlex
import subprocess

from penstock_server.protocol import RequestDecoder, TensorSpec
from penstock_server.sample import curl


def body(inputs: list[TensorSpec]) -> bytes:
    """Return what the command would send, without sending it."""
    command = curl("http://h/infer", inputs)
    if command.startswith("curl"):
        return shlex.split(command)[-1].encode()
    program = shlex.split(command.partition(" | ")[0])
    return subprocess.run(program, capture_output=True, check=True).stdout


def test_the_sample_is_a_request_that_the_model_takes() -> None:
    for size in (2, 500):
        inputs = [
            TensorSpec(name="it's x", datatype="FP32", shape=(-1, size)),
            TensorSpec(name="flag", datatype="BOOL", shape=()),
            TensorSpec(name="text", datatype="BYTES", shape=(-1,)),
        ]
        request = RequestDecoder(inputs, []).decode(body(inputs))
        assert {name: array.shape for name, array in request.inputs.items()} == {
            "it's x": (1, size),
            "flag": (),
            "text": (1,),
        }


def test_a_small_sample_is_one_curl_command() -> None:
    command = curl("http://h/infer", [TensorSpec(name="x", datatype="INT64", shape=(2,))])
    assert shlex.split(command)[:4] == ["curl", "-s", "http://h/infer", "-d"]
    assert json.loads(shlex.split(command)[4])["inputs"][0]["data"] == [0, 0]


def test_a_model_that_wants_terabytes_has_no_sample_that_fills_the_memory_of_who_copies_it() -> None:
    said = curl("http://h/infer", [TensorSpec(name="x", datatype="FP32", shape=(1 << 40, 2))])
    assert said == "no sample: a request has 2199023255552 values at least, more than JSON may have; send binary data"
