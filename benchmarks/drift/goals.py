"""What drift detection is meant to reach, and whether it does."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.drift import results, streams
from benchmarks.drift.trial import COUNTABLE, ERT_ROWS

LIVE = "Penstock, live"
#: The goals are those of one and the same setting.
_SIZE = 50
_SIZES = (50, 500)
_SMALL = (50,)
_ROWS_MAX = {
    "mean + 0.1 sd": 2_000,
    "mean + 0.5 sd": 200,
    "sd x 1.25": 500,
    "two humps, same mean and variance": 1_000,
}
#: Fewer runs, and fewer alarms that the budget allows, say nothing of a goal.
_RUNS_MIN = 5
_ALARMS_MIN = 10.0
_ACCURACY_ERROR_MAX = 0.005
_MICROSECONDS_MAX = 5.0
_BYTES_MAX = 64_000
_CORES_MAX = 0.5

Document = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """One goal with what was measured. ``met``: None where that is too little to say."""

    name: str
    met: bool | None
    value: str


def judged(document: Document) -> list[Goal]:
    """Return the goals whose figures are there."""
    return [*_false_alarms(document), *_delays(document), *_nothing(document), *_costs(document)]


def _of(cell: Document, *, met: bool) -> bool | None:
    """Return whether a goal is met where there are runs enough to say so."""
    return met if cell["runs"] >= _RUNS_MIN else None


def _enough(cell: Document, alarms: float) -> bool:
    return bool(cell["references"] >= _RUNS_MIN and cell["windows"] / cell["every"] >= alarms)


def _false_alarms(document: Document) -> Iterator[Goal]:
    cells = document.get("falseAlarms", [])
    for size in _SIZES:
        if found := results.pick(cells, contender=LIVE, size=size, every=COUNTABLE):
            over = f"{found['alarms']} in {found['windows']} windows of {size}, {found['references']} references"
            yield Goal(
                name=f"false alarms at most 1.15 x the budget, windows of {size}",
                met=found["timesBudget"] <= 1.15 if _enough(found, _ALARMS_MIN) else None,
                value=f"{found['timesBudget']} x ({over})",
            )
            yield Goal(
                name=f"at most 1.6 x for any one reference, windows of {size}",
                met=found["timesBudgetWorst"] <= 1.6 if _enough(found, _ALARMS_MIN * found["references"] / 4) else None,
                value=f"{found['timesBudgetWorst']} x",
            )
    for size in _SMALL:
        if found := results.pick(cells, contender=LIVE, size=size, every=ERT_ROWS / size):
            expected = found["windows"] / found["every"]
            yield Goal(
                name=f"windows of {size} rows raise nothing",
                met=found["alarms"] <= max(1.0, 3 * expected) if found["references"] >= _RUNS_MIN else None,
                value=f"{found['alarms']} alarms in {found['windows']} windows, {expected:.2f} allowed",
            )


def _delays(document: Document) -> Iterator[Goal]:
    cells = document.get("delays", [])
    for change, most in _ROWS_MAX.items():
        if found := results.pick(cells, contender=LIVE, size=_SIZE, scenario=change):
            rows = found["medianRows"]
            yield Goal(
                name=f"{change}: median at most {most} rows",
                met=_of(found, met=rows is not None and rows <= most),
                value=f"{rows} rows, {found['found']:.0%} of {found['runs']} runs",
            )
    if found := results.pick(cells, contender=LIVE, size=_SIZE, scenario="shuffled"):
        yield Goal(
            name="a shuffled column is found and named",
            met=_of(found, met=found["found"] == 1),
            value=f"{found['found']:.0%} of {found['runs']} runs, median {found['medianRows']} rows",
        )
    hidden = next(one.name for one in streams.SCENARIOS if one.alarm and "outlier" in one.name)
    if found := results.pick(cells, contender=LIVE, size=_SIZE, scenario=hidden):
        rows = found["medianRows"]
        yield Goal(
            name="outliers hide nothing: 0.5 sd within 200 rows",
            met=_of(found, met=rows is not None and rows <= 200),
            value=f"{rows} rows, {found['found']:.0%} of {found['runs']} runs",
        )


def _nothing(document: Document) -> Iterator[Goal]:
    if found := results.pick(document.get("nothing", []), contender=LIVE, size=_SIZE):
        yield Goal(
            name="one outlier raises nothing",
            met=_of(found, met=found["said"] == 0),
            value=f"{found['said']:.0%} of {found['runs']} runs",
        )


def _costs(document: Document) -> Iterator[Goal]:
    if accuracy := document.get("accuracy"):
        yield Goal(
            name=f"estimated accuracy off by at most {_ACCURACY_ERROR_MAX}",
            met=accuracy["maePenstock"] <= _ACCURACY_ERROR_MAX,
            value=f"{accuracy['maePenstock']} (NannyML {accuracy['maeNannyml']})",
        )
    if counting := document.get("counting"):
        large = results.pick(counting, features=100, inputs=1)
        assert large is not None
        yield Goal(
            name=f"counting takes at most {_MICROSECONDS_MAX:g} µs of a request (p99)",
            met=large["microsecondsP99"] <= _MICROSECONDS_MAX,
            value=f"{large['microsecondsP99']} µs at 100 features in one tensor",
        )
        yield Goal(
            name=f"at most {_BYTES_MAX // 1000} kB of counts at 100 features",
            met=large["countsBytes"] <= _BYTES_MAX,
            value=f"{large['countsBytes'] / 1000:.1f} kB",
        )
    if scale := document.get("scale"):
        yield Goal(
            name=f"1,000 models judged on at most {_CORES_MAX} cores",
            met=scale["cores"] <= _CORES_MAX,
            value=f"{scale['cores']:.0%} of a core",
        )
