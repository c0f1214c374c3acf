"""Sampled answers that serving pods publish, so that those to a request and to its copy can be compared."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

SCHEMA: Final = "penstock.outputs/v1"
#: The request header that makes pods note an answer: the same for a request and its copies, and for nothing else.
PAIR_HEADER: Final = "x-penstock-pair"
#: Where pods publish what they have noted; ``?after=SEQ&boot=BOOT_ID`` leaves out what was read before.
PATH: Final = "/v1/outputs"
#: Of the values of all outputs together.
VALUES_MAX: Final = 64
#: Longer ones are no pairs of ours.
PAIR_LENGTH_MAX: Final = 64


class InvalidOutputs(ValueError):  # noqa: N818 - it names a state of the message, like the other errors here
    """The message holds no sampled answers; it says where and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One output for one row: ``labels`` (whole numbers, truth values, digests of texts) or ``scores``.

    A score that is no finite number is None. Of scores that are too many both are told: the place of the largest as a
    label, and the largest.
    """

    name: str
    labels: tuple[str, ...] = ()
    scores: tuple[float | None, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The answer to one request of a pair: one row of its outputs, and how long the pod took for all of it."""

    seq: int
    pair: str
    seconds: float
    outputs: tuple[Output, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """What one pod tells. ``boot_id``: one life of the pod; ``seq``: of the newest sample, rising from 0.

    ``share``: of all pairs, how many the pod notes now; it is the same ones everywhere where the share is the same.
    """

    boot_id: str
    seq: int
    share: float
    samples: tuple[Sample, ...]

    def to_wire(self) -> dict[str, Any]:
        """Return the JSON object that ``parse`` reads back as an equal value."""
        return {
            "schema": SCHEMA,
            "bootId": self.boot_id,
            "seq": self.seq,
            "share": self.share,
            "samples": [
                {
                    "seq": one.seq,
                    "pair": one.pair,
                    "seconds": one.seconds,
                    "outputs": [_output_to_wire(output) for output in one.outputs],
                }
                for one in self.samples
            ],
        }


def parse(text: str | bytes) -> Samples:
    """Return the samples of a pod; raise InvalidOutputs for anything that is none."""
    try:
        message: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidOutputs(f"it is not JSON: {error}") from None
    if not isinstance(message, dict) or message.get("schema") != SCHEMA:
        raise InvalidOutputs(f"it is not of schema {SCHEMA!r}")
    samples = message.get("samples")
    if not isinstance(samples, list):
        raise InvalidOutputs("'samples' must be a list")
    return Samples(
        boot_id=_text(message.get("bootId"), "bootId"),
        seq=_whole(message.get("seq"), "seq"),
        share=_number(message.get("share"), "share"),
        samples=tuple(_sample(one) for one in samples),
    )


def _output_to_wire(output: Output) -> dict[str, Any]:
    wire: dict[str, Any] = {"name": output.name}
    if output.labels:
        wire["labels"] = list(output.labels)
    if output.scores:
        wire["scores"] = list(output.scores)
    return wire


def _sample(wire: Any) -> Sample:
    if not isinstance(wire, dict):
        raise InvalidOutputs(f"a sample must be an object, not {_shown(wire)}")
    outputs = wire.get("outputs")
    if not isinstance(outputs, list) or not all(isinstance(one, dict) for one in outputs):
        raise InvalidOutputs("'outputs' of a sample must be a list of objects")
    return Sample(
        seq=_whole(wire.get("seq"), "seq"),
        pair=_text(wire.get("pair"), "pair"),
        seconds=_number(wire.get("seconds"), "seconds"),
        outputs=tuple(_output(one) for one in outputs),
    )


def _output(wire: Mapping[str, Any]) -> Output:
    name = _text(wire.get("name"), "name")
    labels, scores = _list(wire.get("labels", []), name), _list(wire.get("scores", []), name)
    return Output(
        name=name,
        labels=tuple(_text(label, name) for label in labels),
        scores=tuple(None if score is None else _number(score, name) for score in scores),
    )


def _list(value: Any, where: str) -> Sequence[Any]:
    if not isinstance(value, list) or len(value) > VALUES_MAX:
        raise InvalidOutputs(f"{where!r} must have a list of at most {VALUES_MAX} values")
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise InvalidOutputs(f"{where!r} must be a text, not {_shown(value)}")
    return value


def _whole(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidOutputs(f"{where!r} must be a whole number, not {_shown(value)}")
    return value


def _number(value: Any, where: str) -> float:
    # Infinities and NaN are read by json, which is no JSON.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value or abs(value) > _LARGEST:  # noqa: PLR0124 - NaN
        raise InvalidOutputs(f"{where!r} must be a finite number, not {_shown(value)}")
    return float(value)


_LARGEST = 1.7976931348623157e308


def _shown(value: Any) -> str:
    return repr(value)[:40]
