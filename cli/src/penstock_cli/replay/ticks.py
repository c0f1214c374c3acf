"""Past metrics from files: one JSON object per line and tick."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock_cli.errors import PluginError
from penstock_operator.core.judge.counts import ArmCounts, LatencyHistogram, Reading, Tick


class _Unusable(ValueError):  # noqa: N818 - it says what the counts are
    """Counts that no requests can give, or that are no counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PastTick:
    """One line: ``at`` as the file says it, and what was counted, or why that cannot be judged."""

    at: float
    tick: Tick
    problem: str = ""


def read_ticks(path: str) -> Iterator[PastTick]:
    """Yield the ticks of a file in its order. Raises PluginError with the line that is no tick.

    A tick with counts that no requests can give is yielded with its problem: past metrics lie now and then, and one
    bad line must not hide the others.
    """
    try:
        with Path(path).open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _tick(line, f"{path}:{number}")
    except OSError as error:
        raise PluginError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise PluginError(f"{path} is not UTF-8 text: {error}") from error


def _tick(line: str, where: str) -> PastTick:
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise PluginError(f"{where}: not JSON: {error}") from error
    if not isinstance(data, dict):
        raise PluginError(f"{where}: a tick is an object with t and arms, not {type(data).__name__}")
    at = data.get("t")
    if isinstance(at, bool) or not isinstance(at, int | float) or not math.isfinite(at):
        raise PluginError(f"{where}: t must be a number of seconds, such as 60; got {json.dumps(at)}")
    arms = data.get("arms")
    if arms is None:
        arms = {}
    if not isinstance(arms, dict):
        raise PluginError(f"{where}: arms must be an object with stable and candidate, not {type(arms).__name__}")
    try:
        tick = Tick(at=at, stable=_arm(arms, "stable"), candidate=_arm(arms, "candidate"), readings=_readings(at, arms))
    except ValueError as error:
        return PastTick(at=at, tick=Tick(at=at, stable=None, candidate=None), problem=str(error))
    return PastTick(at=at, tick=tick)


def _arm(arms: Mapping[str, Any], name: str) -> ArmCounts | None:
    arm = arms.get(name)
    if arm is None:
        return None
    if not isinstance(arm, dict):
        raise _Unusable(f"{name} must be an object with requests and errors")
    try:
        return ArmCounts(
            requests=_count(arm.get("requests", 0), "requests"),
            errors=_count(arm.get("errors", 0), "errors"),
            latency=_histogram(arm.get("latencySeconds")),
        )
    except ValueError as error:
        raise _Unusable(f"{name}: {error}") from error


def _readings(at: float, arms: Mapping[str, Any]) -> dict[str, Reading]:
    """Return what ``values`` of the arms say of metrics of Prometheus or the web, by the metric's name."""
    values = {name: _values(arms.get(name)) for name in ("stable", "candidate")}
    return {
        metric: Reading(at=at, stable=values["stable"].get(metric), candidate=values["candidate"].get(metric))
        for metric in sorted({*values["stable"], *values["candidate"]})
    }


def _values(arm: object) -> dict[str, float]:
    values = arm.get("values") if isinstance(arm, dict) else None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise _Unusable("values must be an object of numbers by metric")
    return {str(metric): _number(value, "values") for metric, value in values.items()}


def _histogram(wire: object) -> LatencyHistogram | None:
    if wire is None:
        return None
    if not isinstance(wire, dict) or not isinstance(wire.get("le"), list) or not isinstance(wire.get("counts"), list):
        raise _Unusable("latencySeconds must be an object with le and counts")
    return LatencyHistogram(
        le=tuple(_number(edge, "le") for edge in wire["le"]),
        counts=tuple(_count(count, "counts") for count in wire["counts"]),
    )


def _number(value: object, field: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _Unusable(f"{field} must hold numbers, not {json.dumps(value)}")
    return float(value)


def _count(value: object, field: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value != int(value):
        raise _Unusable(f"{field} must be whole, not {json.dumps(value)}")
    return int(value)
