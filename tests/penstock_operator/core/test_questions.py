"""What is asked about a candidate, and what strange answers mean: never that the candidate is bad."""

import json
from typing import Any

import pytest

from penstock_operator.api.v1alpha1.drift_policy import DriftPolicySpec
from penstock_operator.core.questions import Answer, prometheus_answer, questions_of, reading_of, web_answer
from penstock_operator.core.trial import PolicyView


def vector(*values: str) -> dict[str, Any]:
    return {
        "status": "success",
        "data": {"resultType": "vector", "result": [{"metric": {}, "value": [1.0, value]} for value in values]},
    }


def said(document: object, status: int = 200) -> Answer:
    return prometheus_answer(status, json.dumps(document).encode())


def test_one_series_is_its_value() -> None:
    assert said(vector("0.25")) == Answer(value=0.25)


def test_a_scalar_is_its_value() -> None:
    assert said({"status": "success", "data": {"resultType": "scalar", "result": [1.0, "3"]}}) == Answer(value=3.0)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (vector(), "no series"),
        (vector("NaN"), "NaN"),
    ],
    ids=["nothing", "not a number"],
)
def test_where_nothing_happened_there_is_no_data(document: dict[str, Any], words: str) -> None:
    answer = said(document)
    assert words in answer.absent


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (vector("1", "2", "3"), "returns 3 series, not one; wrap it in sum"),
        (vector("+Inf"), "infinite"),
        (vector("many"), "many is no number"),
        ({"status": "success", "data": {"resultType": "matrix", "result": []}}, "returns a matrix"),
        ({"status": "success", "data": {"resultType": "string", "result": [1, "a"]}}, "returns a string"),
        ({"status": "error", "errorType": "bad_data", "error": "parse\nerror"}, "refuses the query: parse error"),
        ({"status": "error", "error": "x" * 9000}, "…"),
        ({"message": "hello"}, "no Prometheus (status 200)"),
        ({"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}}]}}, "no Prometheus"),
        ([], "no Prometheus"),
        (None, "no Prometheus"),
    ],
)
def test_what_cannot_be_one_number_is_a_problem_that_says_why(document: object, words: str) -> None:
    answer = said(document)
    assert words in answer.problem
    assert len(answer.problem) < 400


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff\xfe", b"[" * 100_000], ids=["empty", "html", "bytes", "deep"])
def test_what_is_no_json_is_a_problem(body: bytes) -> None:
    assert "no Prometheus (status 502)" in prometheus_answer(502, body).problem
    assert web_answer(200, body, "").problem == "the answer is no JSON"


@pytest.mark.parametrize(
    ("pointer", "value"), [("/a/0/b", 1.5), ("/x~1y", 2.0), ("/m~0n", 3.0), ("/", 4.0), ("/a/1", 5.0)]
)
def test_a_pointer_leads_to_the_number(pointer: str, value: float) -> None:
    document = {"a": [{"b": 1.5}, 5], "x/y": 2, "m~n": 3, "": 4}
    assert web_answer(200, json.dumps(document).encode(), pointer) == Answer(value=value)


def test_a_document_may_be_the_number() -> None:
    assert web_answer(200, b"0.5", "") == Answer(value=0.5)


@pytest.mark.parametrize(
    ("status", "body", "pointer", "problem"),
    [
        (404, b"{}", "", "answers with status 404"),
        (200, b'{"a": 1}', "/b", "nothing at /b"),
        (200, b'{"a": [1]}', "/a/1", "nothing at /a/1"),
        (200, b'{"a": [1]}', "/a/-1", "nothing at /a/-1"),
        (200, b'{"a": "1"}', "/a", "no number but a str"),
        (200, b"true", "", "no number but a bool"),
        (200, b"1e999", "", "infinite"),
        (200, b"9" * 4000, "", "no number"),
    ],
)
def test_what_is_no_number_there_is_a_problem(status: int, body: bytes, pointer: str, problem: str) -> None:
    assert problem in web_answer(status, body, pointer).problem


def test_null_and_nan_are_absent() -> None:
    assert web_answer(200, b'{"a": null}', "/a").absent
    assert web_answer(200, b"NaN", "").absent


def test_what_cannot_be_known_is_worse_than_what_is_not_there() -> None:
    reading = reading_of(1.0, Answer(absent="no series"), Answer(problem="timeout"))
    assert (reading.problem, reading.absent) == ("stable: timeout", "")
    assert reading_of(1.0, Answer(absent="no series"), Answer(value=1.0)).absent == "candidate: no series"


def test_two_numbers_are_a_reading() -> None:
    reading = reading_of(7.0, Answer(value=2.0), Answer(value=1.0))
    assert (reading.at, reading.stable, reading.candidate) == (7.0, 1.0, 2.0)
    assert reading_of(7.0, Answer(value=2.0), None).stable is None


@pytest.mark.parametrize("fields", [{}, {"value": 1.0, "problem": "x"}, {"value": float("nan")}], ids=str)
def test_an_answer_says_exactly_one_thing(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="answer"):
        Answer(**fields)


def test_policies_ask_about_the_candidate_and_where_they_compare_about_the_stable() -> None:
    spec = DriftPolicySpec.parse(
        {
            "target": {"name": "fraud"},
            "metrics": [
                {"name": "errors", "source": "ErrorRate", "against": "Stable"},
                {"name": "sales", "source": "Prometheus", "query": 'x{r="{{revision}}"}', "against": "Stable"},
                {
                    "name": "load",
                    "source": "Web",
                    "web": {
                        "url": "https://a/{{namespace}}/{{split}}/{{revision}}",
                        "pointer": "/n",
                        "secretName": "s",
                    },
                    "limit": "3",
                    "interval": "1m",
                },
            ],
        }
    )
    policies = [PolicyView(name="guard", spec=spec), PolicyView(name="gone", spec=None, problem="not there")]
    sales, load = questions_of(policies, namespace="shop", split="fraud", stable="fraud-a", candidate="fraud-b")

    assert (sales.key, sales.interval_seconds) == ("guard/sales", 30.0)
    assert sales.candidate.text == 'x{namespace="shop",r="fraud-b"}'
    assert sales.stable is not None
    assert sales.stable.text == 'x{namespace="shop",r="fraud-a"}'
    assert (load.key, load.interval_seconds, load.stable) == ("guard/load", 60.0, None)
    assert load.candidate.text == "https://a/shop/fraud/fraud-b"
    assert (load.candidate.pointer, load.candidate.secret_name) == ("/n", "s")
