"""How often drift on a file cries wolf, and how soon it finds a drift: simulated rows, a few minutes.

    python benchmarks/drift_on_files.py [--references 20] [--runs 20] [--out benchmarks/results/drift_on_files.json]

20 features that correlate at 0.5 and one output that depends on all of them, references of 50,000 rows. The same seeds
give the same table. Rows are profiled and counted as ``penstock-profile`` and ``kubectl penstock drift`` do it.
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from penstock_contract.profile import Profile
from penstock_operator.core.drift.counting import count
from penstock_operator.core.drift.engine import Alarm, Judge
from penstock_server.profile.binding import without_model
from penstock_server.profile.build import Choices, build
from penstock_server.profile.table import Table

FEATURES = 20
REFERENCE_ROWS = 50_000
WEIGHTS = np.linspace(1, 0.1, FEATURES)
DRIFTING = 3
NAME = f"f{DRIFTING}"
ERT_ROWS = 500_000

Values = dict[str, npt.NDArray[np.float64]]
Change = Callable[[Values, np.random.Generator], Values]


@dataclass(frozen=True, slots=True, kw_only=True)
class FalseAlarms:
    window_rows: int
    false_alarm_every: int
    references: int
    windows_each: int
    expected: float
    found: int
    ratio: float
    worst_reference: float
    by_kind: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delay:
    change: str
    window_rows: int
    runs: int
    found: float
    median_rows: float | None
    p90_rows: float | None
    goal_rows: int | None
    named: str


def rows(rng: np.random.Generator, size: int) -> Values:
    shared = rng.normal(size=(size, 1))
    features = np.sqrt(0.5) * shared + np.sqrt(0.5) * rng.normal(size=(size, FEATURES))
    values = {f"f{place}": features[:, place] for place in range(FEATURES)}
    return values | {"score": features @ WEIGHTS + 0.3 * rng.normal(size=size)}


def answered(values: Values, rng: np.random.Generator) -> Values:
    """Return the rows with the output that the model gives to them as they are now."""
    features = np.stack([values[f"f{place}"] for place in range(FEATURES)], axis=1)
    return values | {"score": features @ WEIGHTS + 0.3 * rng.normal(size=len(features))}


def profile_of(values: Mapping[str, npt.NDArray[Any]], outputs: tuple[str, ...] = ("score",)) -> Profile:
    inputs, answers = without_model(Table(arrays=values), outputs)
    return build(inputs, answers, labels=None, choices=Choices())


def alarms(judge: Judge, values: Values) -> list[tuple[Alarm, ...]]:
    """Return the alarms of each window."""
    size = judge.window_rows
    windows = len(next(iter(values.values()))) // size
    together = max(judge.block, 256 // judge.block * judge.block)
    memory = judge.start()
    found: list[tuple[Alarm, ...]] = []
    for start in range(0, windows, together):
        part = slice(start * size, min(windows, start + together) * size)
        named = {column.name: values[column.name.partition("/")[2]][part] for column in judge.frame.columns}
        judged, memory = judge.judge(count(judge.frame, named, size), memory)
        found += judged.alarms
    return found


def false_alarms(window_rows: int, every: int, references: int, windows: int) -> FalseAlarms:
    counts: list[int] = []
    kinds: Counter[str] = Counter()
    for seed in range(references):
        rng = np.random.default_rng([1, seed, window_rows])
        judge = Judge(profile_of(rows(rng, REFERENCE_ROWS)), window_rows=window_rows, false_alarm_every=every)
        found = alarms(judge, rows(rng, windows * window_rows))
        counts.append(sum(map(bool, found)))
        kinds.update(alarm.kind.value for one in found for alarm in one)
    expected = windows / every
    return FalseAlarms(
        window_rows=window_rows, false_alarm_every=every, references=references, windows_each=windows,
        expected=expected * references, found=sum(counts), ratio=round(sum(counts) / expected / references, 2),
        worst_reference=round(max(counts) / expected, 2), by_kind=dict(kinds),
    )  # fmt: skip


def moved(by: float) -> Change:
    return lambda values, rng: answered(values | {NAME: values[NAME] + by}, rng)


def wider(values: Values, rng: np.random.Generator) -> Values:
    return answered(values | {NAME: values[NAME] * 1.25}, rng)


def bimodal(values: Values, rng: np.random.Generator) -> Values:
    size = len(values[NAME])
    humps = rng.choice([-0.9, 0.9], size) + rng.normal(scale=np.sqrt(1 - 0.81), size=size)
    return answered(values | {NAME: humps}, rng)


def shuffled(values: Values, rng: np.random.Generator) -> Values:
    return answered(values | {NAME: rng.permutation(values[NAME])}, rng)


def delay(change: str, alter: Change, goal: int | None, *, window_rows: int, runs: int, name: str) -> Delay:
    delays: list[int] = []
    names: Counter[str] = Counter()
    judge = None
    for seed in range(runs):
        rng = np.random.default_rng([2, seed, window_rows])
        if judge is None or seed % 10 == 0:
            judge = Judge(
                profile_of(rows(rng, REFERENCE_ROWS)),
                window_rows=window_rows,
                false_alarm_every=ERT_ROWS / window_rows,
            )
        # The change comes anywhere between the ends of longer blocks.
        good = int(rng.integers(40, 60))
        before, after = rows(rng, good * window_rows), alter(rows(rng, 8000), rng)
        found = alarms(judge, {key: np.concatenate([before[key], after[key]]) for key in before})
        for place, one in enumerate(found[good:], 1):
            names.update(alarm.name for alarm in one)
            if any(alarm.name.startswith(name) for alarm in one):
                delays.append(place * window_rows)
                break
    known = sorted(delays) + [10**9] * (runs - len(delays))
    return Delay(
        change=change, window_rows=window_rows, runs=runs, found=round(len(delays) / runs, 3),
        median_rows=_finite(float(np.median(known))), p90_rows=_finite(float(np.quantile(known, 0.9))), goal_rows=goal,
        named=", ".join(f"{key} {number}" for key, number in names.most_common(3)),
    )  # fmt: skip


def _finite(number: float) -> float | None:
    return round(number) if number < 10**8 else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--references", type=int, default=20)
    parser.add_argument("--windows", type=int, default=768)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/drift_on_files.json"))
    options = parser.parse_args()
    started = time.monotonic()
    wolves: list[FalseAlarms] = []
    for window_rows, every in ((100, 50), (100, 1000), (500, 100)):
        wolves.append(false_alarms(window_rows, every, options.references, options.windows))
        one = wolves[-1]
        print(f"windows of {window_rows}, one in {every}: {one.found} alarms for {one.expected:.1f} allowed "
              f"({one.ratio}x; worst reference {one.worst_reference}x) {one.by_kind}", flush=True)  # fmt: skip
    delays: list[Delay] = []
    for change, alter, goal, name in (
        ("mean + 0.1 sd", moved(0.1), 2000, f"inputs/{NAME}"),
        ("mean + 0.25 sd", moved(0.25), None, f"inputs/{NAME}"),
        ("mean + 0.5 sd", moved(0.5), 200, f"inputs/{NAME}"),
        ("sd x 1.25", wider, 500, f"inputs/{NAME}"),
        ("bimodal, same mean and variance", bimodal, 1000, f"inputs/{NAME}"),
        ("column shuffled, named by contribution", shuffled, None, f"contribution/{NAME}"),
        ("column shuffled, named by correlation", shuffled, None, "correlation/"),
    ):
        for window_rows in (50, 100, 500):
            delays.append(delay(change, alter, goal, window_rows=window_rows, runs=options.runs, name=name))
            last = delays[-1]
            print(f"{change:40} windows of {window_rows:3}: found {last.found:.0%}, median {last.median_rows}, "
                  f"p90 {last.p90_rows}, goal {goal}; {last.named}", flush=True)  # fmt: skip
    options.out.write_text(
        json.dumps(
            {
                "seconds": round(time.monotonic() - started, 1),
                "ertRows": ERT_ROWS,
                "falseAlarms": [asdict(one) for one in wolves],
                "delays": [asdict(one) for one in delays],
            },
            indent=1,
        )
        + "\n"
    )


if __name__ == "__main__":
    main()
