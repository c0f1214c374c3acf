"""What is not in the specification but in its clients: what is advertised works, what is not says so."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.conformance.exchange import Reply, Target
from tests.conformance.subjects import Running

Served = Callable[[str], Target]
Start = Callable[..., Running]
X = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}


@pytest.fixture
def advertised(fp32: Target) -> set[str]:
    return set(fp32.ask("GET", "/v2").answer()["extensions"])


def refused(advertised: set[str], name: str, reply: Reply) -> bool:
    """Whether the extension is not advertised; then the call must be refused in the protocol's form."""
    if name not in advertised:
        assert reply.error(400, 404, 405, 501)
    return name not in advertised


@pytest.mark.parametrize("body", [b"{}", b"", b'{"ready": true}'], ids=["{}", "empty", "ready only"])
def test_the_repository_index_lists_the_model(fp32: Target, advertised: set[str], body: bytes) -> None:
    reply = fp32.ask("POST", "/v2/repository/index", body)
    if refused(advertised, "model_repository", reply):
        return
    [model] = [one for one in reply.answer() if one["name"] == fp32.model]
    assert model["state"] == "READY"
    assert model.get("version", fp32.version) == fp32.version
    assert isinstance(model["reason"], str)


@pytest.mark.parametrize("call", ["load", "unload"])
def test_loading_and_unloading_what_is_unknown_is_refused(fp32: Target, call: str) -> None:
    fp32.ask("POST", f"/v2/repository/models/unknown/{call}", b"{}").error(400, 404, 405, 501)


@pytest.mark.parametrize("call", ["load", "unload"])
def test_the_served_model_is_not_the_clients_to_load_or_unload(start: Start, fp32: Target, call: str) -> None:
    # Asked of servers of ours only: one that allows it would be right, and would lose the model that others ask about.
    fp32.ask("POST", f"/v2/repository/models/{fp32.model}/{call}", b"{}").error(501)
    assert fp32.infer({"inputs": [X]}).status == 200


@pytest.mark.parametrize("field", ["name", "platform", "backend", "max_batch_size", "input", "output"])
def test_the_configuration_has_what_clients_read(fp32: Target, advertised: set[str], field: str) -> None:
    reply = fp32.ask("GET", fp32.path("config"))
    assert refused(advertised, "model_configuration", reply) or field in reply.answer()


def test_the_configuration_of_a_version_is_that_of_the_model(fp32: Target, advertised: set[str]) -> None:
    versioned = fp32.ask("GET", fp32.path("config", version=fp32.version))
    if not refused(advertised, "model_configuration", versioned):
        assert versioned.answer() == fp32.ask("GET", fp32.path("config")).answer()


def test_the_configuration_names_datatypes_as_triton_does(served: Served, advertised: set[str]) -> None:
    target = served("text")
    reply = target.ask("GET", target.path("config"))
    if refused(advertised, "model_configuration", reply):
        return
    [one] = reply.answer()["input"]
    assert (one["name"], one["data_type"]) == ("x", "TYPE_STRING")


@pytest.mark.parametrize("path", ["/v2/models/stats", "model", "version"])
def test_statistics_count_what_was_answered(fp32: Target, advertised: set[str], path: str) -> None:
    where = {"model": fp32.path("stats"), "version": fp32.path("stats", version=fp32.version)}.get(path, path)
    if refused(advertised, "statistics", fp32.ask("GET", where)):
        return

    def statistics() -> Any:
        [one] = [one for one in fp32.ask("GET", where).answer()["model_stats"] if one["name"] == fp32.model]
        return one

    before = statistics()["inference_stats"]["success"]["count"]
    three = {**X, "shape": [3, 2], "data": [1] * 6}
    assert fp32.infer({"inputs": [three]}).status == 200
    after = statistics()
    assert after["inference_stats"]["success"]["count"] == before + 1
    assert after["version"] == fp32.version
    assert after["inference_count"] >= 3


@pytest.mark.parametrize("call", ["config", "stats"])
def test_an_unknown_model_has_neither(fp32: Target, call: str) -> None:
    fp32.ask("GET", f"/v2/models/unknown/{call}").error(404)


@pytest.mark.parametrize("call", ["config", "stats"])
def test_an_unknown_version_has_neither(fp32: Target, call: str) -> None:
    fp32.ask("GET", fp32.path(call, version="99")).error(404)


@pytest.mark.parametrize("classes", [1, 2, 100])
def test_classification_answers_the_greatest_values_with_their_places(
    fp32: Target, advertised: set[str], classes: int
) -> None:
    wanted = [{"name": "y", "parameters": {"classification": classes}}]
    reply = fp32.infer({"inputs": [{**X, "data": [0.25, 0.75]}], "outputs": wanted})
    if refused(advertised, "classification", reply):
        return
    [output] = reply.answer()["outputs"]
    assert output["datatype"] == "BYTES"
    places = [(float(value), int(place)) for value, place, *_ in (one.split(":") for one in output["data"])]
    assert places == [(0.75, 1), (0.25, 0)][:classes]


@pytest.mark.parametrize("classes", [-1, "2", 1.5, True], ids=str)
def test_a_number_of_classes_that_is_none_is_refused(fp32: Target, classes: Any) -> None:
    fp32.infer({"inputs": [X], "outputs": [{"name": "y", "parameters": {"classification": classes}}]}).error(400)


@pytest.mark.parametrize(
    "parameters",
    [
        {"shared_memory_region": "input", "shared_memory_byte_size": 8},
        {"shared_memory_region": "input", "shared_memory_byte_size": 8, "shared_memory_offset": 0},
    ],
    ids=["a region", "a region and an offset"],
)
def test_a_region_of_shared_memory_that_is_not_there_is_refused(fp32: Target, parameters: dict[str, Any]) -> None:
    tensor = {name: value for name, value in X.items() if name != "data"}
    fp32.infer({"inputs": [{**tensor, "parameters": parameters}]}).error(400)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v2/systemsharedmemory/status"),
        ("POST", "/v2/systemsharedmemory/region/x/register"),
        ("GET", "/v2/cudasharedmemory/status"),
        ("GET", "/v2/trace/setting"),
        ("GET", "/v2/logging"),
        ("POST", "/v2/models/identity_fp32/generate"),
        ("POST", "/v2/models/identity_fp32/generate_stream"),
    ],
)
def test_a_call_of_an_extension_that_is_not_advertised_is_not_found(fp32: Target, method: str, path: str) -> None:
    path = path.replace("identity_fp32", fp32.model)
    fp32.ask(method, path, b"{}" if method == "POST" else None).error(404, 501)
