"""Metadata: what the server says of itself and of its model is true."""

from collections.abc import Callable

import pytest
from tests.conformance.exchange import Target
from tests.conformance.values import DATATYPES

Served = Callable[[str], Target]
#: Names that the protocol's documents and Triton's give to extensions.
EXTENSIONS = {
    *("binary_tensor_data", "classification", "model_configuration", "model_repository", "statistics"),
    *("schedule_policy", "sequence", "shared_memory", "trace", "logging", "parameters", "generate"),
    *("system_shared_memory", "cuda_shared_memory", "model_repository(unload_dependents)"),
}


@pytest.mark.parametrize("path", ["/v2", "/v2/"])
def test_the_server_says_its_name_its_version_and_its_extensions(fp32: Target, path: str) -> None:
    answer = fp32.ask("GET", path).answer()
    assert isinstance(answer["name"], str)
    assert isinstance(answer["version"], str)
    assert all(isinstance(one, str) for one in answer["extensions"])


def test_the_extensions_have_names_that_clients_know(fp32: Target) -> None:
    assert set(fp32.ask("GET", "/v2").answer()["extensions"]) <= EXTENSIONS


def test_the_binary_tensor_extension_is_advertised(fp32: Target) -> None:
    assert "binary_tensor_data" in fp32.ask("GET", "/v2").answer()["extensions"]


@pytest.mark.parametrize("field", ["name", "platform", "inputs", "outputs"])
def test_a_models_metadata_has_every_required_field(fp32: Target, field: str) -> None:
    assert fp32.ask("GET", fp32.path()).answer()[field]


def test_a_model_with_a_version_lists_it(fp32: Target) -> None:
    assert fp32.version in fp32.ask("GET", fp32.path()).answer()["versions"]


def test_metadata_of_a_version_is_that_of_the_model(fp32: Target) -> None:
    versioned = fp32.ask("GET", fp32.path(version=fp32.version)).answer()
    assert versioned == fp32.ask("GET", fp32.path()).answer()


def test_a_version_may_be_any_word(served: Served) -> None:
    target = served("sum_and_difference")
    assert target.ask("GET", target.path(version=target.version)).answer()["versions"] == [target.version]


def test_a_model_without_a_version_lists_none(served: Served) -> None:
    target = served("scalar")
    if target.version:
        pytest.skip("this server gives every model a version")
    assert not target.ask("GET", target.path()).answer().get("versions")


@pytest.mark.parametrize("datatype", DATATYPES)
def test_inputs_and_outputs_have_their_datatype_and_shape(served: Served, datatype: str) -> None:
    target = served(f"identity_{datatype.lower()}")
    answer = target.ask("GET", target.path()).answer()
    assert answer["inputs"] == [{"name": "x", "datatype": datatype, "shape": [-1, 2]}]
    assert answer["outputs"] == [{"name": "y", "datatype": datatype, "shape": [-1, 2]}]


@pytest.mark.parametrize(
    ("model", "shape"), [("fixed", [2, 3]), ("scalar", []), ("cube", [-1, 2, 2]), ("text", [-1]), ("counter", [1])]
)
def test_shapes_are_those_of_the_model_with_minus_one_for_what_requests_choose(
    served: Served, model: str, shape: list[int]
) -> None:
    target = served(model)
    assert target.ask("GET", target.path()).answer()["inputs"][0]["shape"] == shape


def test_several_inputs_and_outputs_are_listed_in_the_models_order(served: Served) -> None:
    target = served("sum_and_difference")
    answer = target.ask("GET", target.path()).answer()
    assert [one["name"] for one in answer["inputs"]] == ["a", "b"]
    assert [one["name"] for one in answer["outputs"]] == ["sum", "difference"]


def test_a_model_may_have_any_name_in_a_path_that_is_percent_encoded(served: Served) -> None:
    target = served("odd näme (1)")
    assert target.ask("GET", target.path()).answer()["name"] == target.model


def test_the_models_of_the_server_are_listed(fp32: Target) -> None:
    assert fp32.model in fp32.ask("GET", "/v2/models").answer()["models"]
