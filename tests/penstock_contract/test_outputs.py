"""Sampled answers on the wire."""

import json
from pathlib import Path
from typing import Any

import pytest

import penstock_contract
from penstock_contract.outputs import VALUES_MAX, InvalidOutputs, Output, Sample, Samples, parse

GOLDEN = Path(penstock_contract.__file__).parent / "golden" / "v1" / "outputs.json"
WIRE: dict[str, Any] = json.loads(GOLDEN.read_text(encoding="utf-8"))


def test_the_golden_message_is_read_and_written_as_it_is() -> None:
    samples = parse(GOLDEN.read_bytes())
    assert samples.to_wire() == WIRE
    assert samples.samples[1] == Sample(
        seq=12,
        pair="c7b7a7d0-6a4f-49a2-8f0a-51e9b2a40e02",
        seconds=0.002,
        outputs=(Output(name="label", labels=("0",)), Output(name="probabilities", scores=(None, 0.5))),
    )


def test_a_pod_that_has_noted_nothing_says_so() -> None:
    nothing = Samples(boot_id="b", seq=0, share=1.0, samples=())
    assert parse(json.dumps(nothing.to_wire())) == nothing


def _changed(**changes: Any) -> dict[str, Any]:
    return {**WIRE, **changes}


def _sample(**changes: Any) -> dict[str, Any]:
    return _changed(samples=[{**WIRE["samples"][0], **changes}])


@pytest.mark.parametrize(
    ("message", "words"),
    [
        pytest.param([], "not of schema", id="a list"),
        pytest.param(_changed(schema="penstock.outputs/v2"), "not of schema", id="another version"),
        pytest.param(_changed(samples={}), "'samples' must be a list", id="samples"),
        pytest.param(_changed(seq=1.5), "'seq' must be a whole number", id="seq"),
        pytest.param(_changed(bootId=None), "'bootId' must be a text", id="boot"),
        pytest.param(_changed(samples=[7]), "a sample must be an object", id="sample"),
        pytest.param(_sample(seconds="fast"), "'seconds' must be a finite number", id="seconds"),
        pytest.param(_sample(outputs=[7]), "list of objects", id="outputs"),
        pytest.param(_sample(outputs=[{"name": "p", "scores": [True]}]), "'p' must be a finite number", id="score"),
        pytest.param(_sample(outputs=[{"name": "p", "labels": [1]}]), "'p' must be a text", id="label"),
        pytest.param(
            _sample(outputs=[{"name": "p", "scores": [0.0] * (VALUES_MAX + 1)}]), "at most 64 values", id="too many"
        ),
    ],
)
def test_what_is_no_message_of_this_kind_is_refused_with_its_place(message: Any, words: str) -> None:
    with pytest.raises(InvalidOutputs, match=words):
        parse(json.dumps(message))


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"schema": NaN'])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(InvalidOutputs, match="not JSON"):
        parse(text)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_json_does_not_have_is_refused(number: str) -> None:
    text = json.dumps(WIRE).replace("0.00125", number)
    with pytest.raises(InvalidOutputs, match="finite number"):
        parse(text)
