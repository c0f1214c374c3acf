"""The schema that is shipped is the one that can be read."""

import base64
from collections.abc import Mapping
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from grpc_tools import protoc

import penstock_server.grpc_service as package
from penstock_server.grpc_service.messages import CALLS, COMPILED, POOL


def test_the_compiled_schema_is_that_of_the_sources(tmp_path: Path) -> None:
    with as_file(files(package)) as folder:
        compiled, schema = tmp_path / COMPILED, folder / "schema"
        sources = sorted(str(one.relative_to(schema)) for one in schema.rglob("*.proto"))
        assert protoc.main(["protoc", f"-I{schema}", f"--descriptor_set_out={compiled}", *sources]) == 0
        shipped = base64.b64decode((folder / COMPILED).read_bytes())
    assert shipped == compiled.read_bytes(), "a file in schema/ was changed: make grpc-schema"


@pytest.mark.parametrize(
    ("standard", "name"),
    [
        (health_pb2.DESCRIPTOR, "grpc/health/v1/health.proto"),
        (reflection_pb2.DESCRIPTOR, "grpc/reflection/v1alpha/reflection.proto"),
        (reflection_pb2.DESCRIPTOR, "grpc/reflection/v1/reflection.proto"),
    ],
)
def test_health_and_reflection_are_the_standard_ones(standard: Any, name: str) -> None:
    ours = numbers(POOL.FindFileByName(name).message_types_by_name)
    theirs = numbers(standard.message_types_by_name)
    assert ours.items() <= theirs.items()
    assert {kind for kind, _ in theirs} - {kind for kind, _ in ours} <= {"HealthListRequest", "HealthListResponse"}


def numbers(messages: Mapping[str, Any]) -> dict[tuple[str, str], tuple[int, int]]:
    return {(name, one.name): (one.number, one.type) for name, kind in messages.items() for one in kind.fields}


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
