"""A shop whose amounts have drifted: a policy with an alarm, pods that have counted, and names that mean harm."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet
import pytest
from tests.penstock_cli.samples import CANDIDATE, STABLE, FakeCluster, condition, deployment, split

from penstock_cli.cluster import DEPLOYMENTS, POLICIES, SPLITS, PodUnreadable
from penstock_contract.counts import ColumnCounts, Counts, Quality
from penstock_contract.profile import Profile, layout_of, parse
from penstock_operator.core.drift.counting import count
from penstock_operator.core.drift.tally import QUALITY, Frame, Tallies
from penstock_server.profile.__main__ import main as penstock_profile

Values = dict[str, npt.NDArray[Any]]
#: A column's name is whatever the data held.
EVIL = "<script>alert(1)</script>"


def rows(seed: int, size: int, *, shift: float = 0.0) -> Values:
    """Columns of a shop; the score follows amount and age."""
    rng = np.random.default_rng(seed)
    amount, age = rng.normal(size=size) + shift, rng.normal(size=size)
    return {
        "amount": amount,
        "age": age,
        EVIL: np.where(rng.random(size) < 0.02, np.nan, rng.normal(size=size)),
        "country": rng.integers(0, 5, size),
        "score": amount + 0.5 * age + 0.3 * rng.normal(size=size),
    }


def make_profile(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Profile:
    """Return the reference of rows that have not drifted."""
    table, path = folder / "reference.parquet", folder / "profile.json"
    pyarrow.parquet.write_table(pa.table(rows(0, 8000)), table)
    monkeypatch.setattr("sys.argv", ["penstock-profile", str(table), "-o", str(path), "--outputs", "score", "-q"])
    penstock_profile()
    return parse(path.read_bytes())


def counted(profile: Profile, values: Values) -> Counts:
    """Return the counts that a pod would have of these rows."""
    frame = Frame(columns=profile.columns)
    size = len(values["amount"])
    named = {column.name: values[column.name.partition("/")[2]] for column in profile.columns}
    tallies = count(frame, named, size)
    places = range(len(profile.columns))
    crossed = len(frame.crossed)
    return Counts(
        rows=size,
        test_rows=size,
        columns=tuple(_column(tallies, frame, place) for place in places),
        cross=tuple(int(value) for value in tallies.cross[0][np.triu_indices(crossed)]),
        cross_sums=tuple(int(value) for value in tallies.cross_sums[0]),
    )


def _column(tallies: Tallies, frame: Frame, place: int) -> ColumnCounts:
    bins = frame.columns[place].bins
    missing, negative, positive = (int(value) for value in tallies.special[0, :, place])
    outputs: list[list[float]] = tallies.output_sums[0, :, place, :bins].tolist() if place < frame.inputs else []
    return ColumnCounts(
        bins=tuple(int(value) for value in tallies.bins[0, place, :bins]),
        missing=missing,
        negative_infinity=negative,
        positive_infinity=positive,
        sum=int(tallies.sums[0, 0, place]),
        sum_of_squares=int(tallies.sums[0, 1, place]),
        output_sums=tuple(tuple(int(value) for value in line) for line in outputs),
        quality=Quality(**{name: int(tallies.quality[0, line, place]) for line, name in enumerate(QUALITY)}),
    )


def policy(**status: Any) -> dict[str, Any]:
    """A policy that has named the amounts, alerted and begun a training."""
    alarm: dict[str, Any] = {
        "name": "inputs/amount",
        "signal": "Inputs",
        "modelDeployment": "fraud",
        "revision": STABLE,
        "state": "Firing",
        "since": "2026-11-21T12:00:00.000Z",
        "changedAt": "2026-11-21T12:05:00.000Z",
        "window": "w7",
        "message": "amount: PSI 0.31 over 18234 rows; explains 0.42 of the output shift",
        "actions": ["Retrain", "Alert"],
    }
    evil = {**alarm, "name": f"inputs/{EVIL}", "message": '"><img src=x onerror=alert(2)>', "state": "Acknowledged"}
    done = {"action": "Retrain", "at": "2026-11-21T12:05:00.000Z", "metric": "inputs/amount", "message": "PSI 0.31"}
    training = {
        "name": "fraud-retrain-1",
        "state": "Started",
        "at": "2026-11-21T12:05:01.000Z",
        "alarm": "inputs/amount",
    }
    return {
        "metadata": {"name": "fraud-guard", "namespace": "shop", "generation": 1},
        "spec": {"target": {"kind": "TrafficSplit", "name": "fraud"}},
        "status": {
            "conditions": [
                condition("True", "Ready", "judges fraud", generation=1),
                condition("False", "InputDrift", alarm["message"], type_="Healthy", generation=1),
            ],
            "alarms": [alarm, evil],
            "history": [done],
            "trainings": [training],
            **status,
        },
    }


class Shop(FakeCluster):
    """Objects and pods in memory; ``forbidden`` is a person without the right to ask pods."""

    def __init__(self, profile: Profile, *, forbidden: bool = False, **status: Any) -> None:
        super().__init__((SPLITS, split()), (DEPLOYMENTS, deployment()), (POLICIES, policy(**status)))
        self.profile = profile
        self.forbidden = forbidden
        self.asked: list[str] = []
        self.lives = {STABLE: counted(profile, rows(1, 4000, shift=0.6)), CANDIDATE: counted(profile, rows(2, 900))}

    def pods(self, selector: str) -> list[dict[str, Any]]:
        revision = selector.rpartition("=")[2]
        return [{"metadata": {"name": f"{revision}-{n}"}, "status": {"phase": "Running"}} for n in range(2)]

    def ask_pod(self, pod: str, path: str) -> bytes:
        self.asked.append(path)
        if self.forbidden:
            raise PodUnreadable("you may not ask pods; it takes the right to get pods/proxy in shop")
        if path == "/v1/profile/reference":
            return self.profile.to_json().encode()
        message = {
            "schema": "penstock.counts/v1",
            "profileHash": self.profile.hash,
            "bootId": pod,
            "seq": 1,
            "firstTs": 1_795_000_000.0,
            "lastTs": 1_795_000_500.0,
            "counters": {"requests": 1, "droppedRows": 0, "errors": {}},
            "counts": self.lives[pod.rpartition("-")[0]].to_wire(layout_of(self.profile.columns)),
        }
        return json.dumps(message).encode()
