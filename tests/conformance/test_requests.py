"""What surrounds the tensors: ids, parameters, the outputs that are wanted, versions in the path."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.conformance.exchange import Target

Served = Callable[[str], Target]
X = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}
A = {**X, "name": "a"}
B = {**X, "name": "b", "data": [10, 20]}


def test_the_answer_says_which_model_it_is_from(fp32: Target) -> None:
    assert fp32.infer({"inputs": [X]}).answer()["model_name"] == fp32.model


def test_the_answer_says_which_version_it_is_from(fp32: Target) -> None:
    assert fp32.infer({"inputs": [X]}).answer()["model_version"] == fp32.version


def test_a_model_without_a_version_answers_without_one(served: Served) -> None:
    target = served("scalar")
    if target.version:
        pytest.skip("this server gives every model a version")
    answer = target.infer({"inputs": [{"name": "x", "shape": [], "datatype": "FP32", "data": [1]}]}).answer()
    assert "model_version" not in answer


def test_a_version_in_the_path_is_the_one_that_answers(fp32: Target) -> None:
    path = fp32.path("infer", version=fp32.version)
    assert fp32.infer({"inputs": [X]}, path=path).answer()["model_version"] == fp32.version


def test_a_model_with_a_name_that_needs_encoding_answers(served: Served) -> None:
    target = served("odd näme (1)")
    assert target.infer({"inputs": [X]}).answer()["model_name"] == target.model


def test_the_outputs_of_the_answer_have_every_required_field(fp32: Target) -> None:
    [output] = fp32.infer({"inputs": [X]}).answer()["outputs"]
    assert {"name", "shape", "datatype", "data"} <= set(output)


@pytest.mark.parametrize(
    "name",
    [
        "1",
        "",
        " ",
        "ünïcode ✓",
        '"quoted"',
        "back\\slash",
        "line\nbreak",
        "\u0000",
        "</script>",
        "x" * 4000,
        "\U0001f600",
        *("a%20b", "{id}", "null", "\u2028", "é" * 100),
    ],
    ids=lambda one: ascii(one[:20]),
)
def test_an_id_is_echoed_as_it_is(fp32: Target, name: str) -> None:
    answer = fp32.infer({"id": name, "inputs": [X]}).answer()
    if name:
        assert answer["id"] == name
    else:
        assert answer.get("id", "") == ""


@pytest.mark.parametrize("name", [1, 1.5, True, [], {}, ["1"]], ids=str)
def test_an_id_that_is_no_text_is_refused(fp32: Target, name: Any) -> None:
    assert "id" in fp32.infer({"id": name, "inputs": [X]}).error(400)


@pytest.mark.parametrize("message", [{}, {"id": None}], ids=["absent", "null"])
def test_no_id_is_invented_under_a_clients_name(fp32: Target, message: dict[str, Any]) -> None:
    answer = fp32.infer({**message, "inputs": [X]}).answer()
    assert isinstance(answer.get("id", ""), str)


@pytest.mark.parametrize(
    "parameters",
    [{}, {"a": "text"}, {"a": 1}, {"a": -1.5}, {"a": True}, {"priority": 1}, {"sequence_id": 0}, {"ü": ""}],
    ids=str,
)
@pytest.mark.parametrize("where", ["request", "input", "output"])
def test_parameters_that_mean_nothing_here_do_no_harm(fp32: Target, where: str, parameters: dict[str, Any]) -> None:
    message: dict[str, Any] = {"inputs": [X], "outputs": [{"name": "y"}]}
    if where == "request":
        message["parameters"] = parameters
    else:
        message[f"{where}s"] = [{**message[f"{where}s"][0], "parameters": parameters}]
    assert fp32.infer(message).answer()["outputs"][0]["data"] == [1.0, 2.0]


@pytest.mark.parametrize("parameters", [[], "x", 1, {"a": None}, {"a": []}, {"a": {}}], ids=str)
@pytest.mark.parametrize("where", ["request", "input", "output"])
def test_parameters_that_are_none_are_refused(fp32: Target, where: str, parameters: Any) -> None:
    message: dict[str, Any] = {"inputs": [X], "outputs": [{"name": "y"}]}
    if where == "request":
        message["parameters"] = parameters
    else:
        message[f"{where}s"] = [{**message[f"{where}s"][0], "parameters": parameters}]
    assert "parameter" in fp32.infer(message).error(400)


@pytest.mark.parametrize("value", [30_000_000, 10_000_000_000], ids=str)
def test_a_timeout_in_microseconds_that_is_long_enough_changes_nothing(fp32: Target, value: int) -> None:
    assert fp32.infer({"inputs": [X], "parameters": {"timeout": value}}).answer()["outputs"][0]["data"] == [1.0, 2.0]


@pytest.mark.parametrize(
    "message",
    [{}, {"outputs": None}, {"outputs": []}, {"outputs": [{"name": "sum"}, {"name": "difference"}]}],
    ids=["absent", "null", "empty", "all by name"],
)
def test_without_a_choice_every_output_is_answered(served: Served, message: dict[str, Any]) -> None:
    answer = served("sum_and_difference").infer({"inputs": [A, B], **message}).answer()
    assert {one["name"]: one["data"] for one in answer["outputs"]} == {"sum": [11, 22], "difference": [-9, -18]}


@pytest.mark.parametrize("name", ["sum", "difference"])
def test_only_the_outputs_that_are_asked_for_are_answered(served: Served, name: str) -> None:
    answer = served("sum_and_difference").infer({"inputs": [A, B], "outputs": [{"name": name}]}).answer()
    assert [one["name"] for one in answer["outputs"]] == [name]


def test_outputs_come_in_the_order_in_which_they_are_asked_for(served: Served) -> None:
    wanted = [{"name": "difference"}, {"name": "sum"}]
    answer = served("sum_and_difference").infer({"inputs": [A, B], "outputs": wanted}).answer()
    assert [one["name"] for one in answer["outputs"]] == ["difference", "sum"]


def test_inputs_may_come_in_any_order(served: Served) -> None:
    answer = served("sum_and_difference").infer({"inputs": [B, A]}).answer()
    assert {one["name"]: one["data"] for one in answer["outputs"]}["difference"] == [-9, -18]


@pytest.mark.parametrize(
    "outputs",
    [
        [{"name": "z"}],
        [{"name": "sum"}, {"name": "sum"}],
        [{}],
        [{"name": 1}],
        [{"name": None}],
        ["sum"],
        [None],
        [[]],
        "sum",
        {"name": "sum"},
        1,
        True,
    ],
    ids=str,
)
def test_outputs_that_cannot_be_are_refused(served: Served, outputs: Any) -> None:
    served("sum_and_difference").infer({"inputs": [A, B], "outputs": outputs}).error(400)


@pytest.mark.parametrize(
    "inputs",
    [[], [A], [B], [A, A], [A, B, A], [A, B, X], [A, {**B, "name": "c"}], [A, {**B, "name": ""}]],
    ids=lambda inputs: "+".join(one["name"] for one in inputs) or "none",
)
def test_inputs_that_are_missing_foreign_or_twice_are_refused(served: Served, inputs: Any) -> None:
    served("sum_and_difference").infer({"inputs": inputs}).error(400)


def test_inputs_that_do_not_fit_each_other_are_refused(served: Served) -> None:
    two, three = {**A, "shape": [2, 2], "data": [1] * 4}, {**B, "shape": [3, 2], "data": [1] * 6}
    served("sum_and_difference").infer({"inputs": [two, three]}).error(400, 500)


def test_a_failure_inside_the_model_is_told_and_the_server_serves_on(served: Served) -> None:
    target = served("lookup")
    wrong = {"name": "i", "shape": [1], "datatype": "INT64", "data": [7]}
    target.infer({"inputs": [wrong]}).error(400, 500)
    assert target.infer({"inputs": [{**wrong, "data": [1]}]}).answer()["outputs"][0]["data"] == [20.0]


@pytest.mark.parametrize("value", [-1, 0], ids=["NaN", "-inf"])
def test_a_result_that_json_cannot_say_is_never_changed(served: Served, value: float) -> None:
    reply = served("logarithm").infer({"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [value]}]})
    reply.error(400, 500)


def test_a_content_type_is_not_needed(fp32: Target) -> None:
    body = b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2]}]}'
    assert fp32.ask("POST", fp32.path("infer"), body).status == 200


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "text/plain", "application/vnd.api+json"])
def test_json_is_taken_by_what_it_is(fp32: Target, kind: str) -> None:
    assert fp32.infer({"inputs": [X]}, headers={"Content-Type": kind}).status == 200


def test_fields_that_the_protocol_does_not_know_do_no_harm(fp32: Target) -> None:
    assert fp32.infer({"inputs": [{**X, "comment": {}}], "trace": [1]}).status == 200


def test_a_map_per_row_is_answered_as_a_tensor(served: Served) -> None:
    x = {"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [0.25, 0.75, 0.5, 0.5]}
    [output] = served("zipmap").infer({"inputs": [x]}).answer()["outputs"]
    assert (output["datatype"], output["shape"], output["data"]) == ("FP32", [2, 2], [0.25, 0.75, 0.5, 0.5])
