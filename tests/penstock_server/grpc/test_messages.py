"""The schema that is shipped is the one that can be read."""

from importlib.resources import as_file, files
from pathlib import Path

from google.protobuf import descriptor_pb2
from grpc_tools import protoc

import penstock_server.grpc_service as package
from penstock_server.grpc_service.messages import CALLS, COMPILED


def test_the_compiled_schema_is_that_of_the_source(tmp_path: Path) -> None:
    with as_file(files(package)) as folder:
        compiled = tmp_path / COMPILED
        code = protoc.main(["protoc", f"-I{folder}", f"--descriptor_set_out={compiled}", "inference.proto"])
        assert code == 0
        shipped = (folder / COMPILED).read_bytes()
    read = descriptor_pb2.FileDescriptorSet.FromString
    assert read(shipped) == read(compiled.read_bytes()), "inference.proto was changed: make grpc-schema"


def test_the_numbers_are_those_of_the_public_protocol() -> None:
    asked, answered = CALLS["ModelInfer"]
    numbers = {one.name: one.number for one in asked.DESCRIPTOR.fields}
    assert numbers == {
        "model_name": 1,
        "model_version": 2,
        "id": 3,
        "parameters": 4,
        "inputs": 5,
        "outputs": 6,
        "raw_input_contents": 7,
    }
    numbers = {one.name: one.number for one in answered.DESCRIPTOR.fields}
    assert numbers == {
        "model_name": 1,
        "model_version": 2,
        "id": 3,
        "parameters": 4,
        "outputs": 5,
        "raw_output_contents": 6,
    }
