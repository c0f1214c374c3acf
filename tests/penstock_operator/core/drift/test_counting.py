"""Counting windows of a file gives the very counts that serving pods give."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock_contract.profile import Profile
from penstock_operator.core.drift.counting import count
from penstock_operator.core.drift.tally import Frame, Tallies
from penstock_server.profile.binding import matrices, without_model
from penstock_server.profile.build import Choices, build
from penstock_server.profile.counting import Counter
from penstock_server.profile.rows import Block
from penstock_server.profile.table import Table

Values = Mapping[str, npt.NDArray[Any]]
OUTPUTS = ("score", "probability")


def rows(seed: int, count: int) -> dict[str, npt.NDArray[Any]]:
    rng = np.random.default_rng(seed)
    normal = rng.normal(size=count)
    gaps = np.where(rng.random(count) < 0.2, np.nan, rng.normal(size=count))
    gaps[rng.random(count) < 0.05] = np.inf
    gaps[rng.random(count) < 0.05] = -np.inf
    return {
        "normal": normal,
        "single": normal.astype(np.float32) * 3,
        "gaps": gaps,
        "constant": np.full(count, 7.5),
        "flag": rng.integers(0, 2, count),
        "many": rng.integers(0, 10_000, count),
        "word": np.array([f"w{number}" for number in rng.integers(0, 5, count)], dtype=np.object_),
        "heavy": rng.standard_cauchy(count) * 1e30,
        "score": normal + rng.normal(size=count),
        "probability": 1 / (1 + np.exp(-normal)),
    }


def profile_of(values: Values) -> Profile:
    inputs, outputs = without_model(Table(arrays=values), OUTPUTS)
    return build(inputs, outputs, labels=None, choices=Choices())


def counted_by_a_pod(profile: Profile, values: Values) -> Tallies:
    inputs, outputs = without_model(Table(arrays=values), OUTPUTS)
    counter = Counter(profile.columns)
    size = len(next(iter(values.values())))
    counter.add(Block(rows=size, inputs=matrices(inputs), outputs=matrices(outputs)))
    return Tallies.of([counter.counts()], Frame(columns=profile.columns))


def counted(profile: Profile, values: Values, window_rows: int) -> Tallies:
    named = {column.name: values[column.name.partition("/")[2]] for column in profile.columns}
    return count(Frame(columns=profile.columns), named, window_rows)


def same(one: Tallies, other: Tallies) -> None:
    for field in Tallies.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(one, field), getattr(other, field), err_msg=field)


PROFILE = profile_of(rows(0, 3000))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 400))
def test_every_number_is_the_one_that_a_pod_counts(seed: int, size: int) -> None:
    live = rows(seed, size)
    live["word"][::7] = ""
    live["word"][::11] = "never seen"
    live["flag"][::5] = 9
    same(counted(PROFILE, live, size), counted_by_a_pod(PROFILE, live))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(1, 4))
def test_windows_add_up_to_one_pass(seed: int, window_rows: int, halvings: int) -> None:
    live = rows(seed, window_rows * 2**halvings)
    windows = counted(PROFILE, live, window_rows)
    for _ in range(halvings):
        windows = windows.coarser()
    same(windows, counted(PROFILE, live, window_rows * 2**halvings))


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32))
def test_a_rows_place_in_its_window_changes_nothing(seed: int) -> None:
    live = rows(seed, 600)
    rng = np.random.default_rng(seed)
    order = np.concatenate([start + rng.permutation(200) for start in (0, 200, 400)])
    same(counted(PROFILE, live, 200), counted(PROFILE, {name: one[order] for name, one in live.items()}, 200))


def test_a_whole_number_may_be_missing_although_the_profile_has_none() -> None:
    live = rows(1, 100)
    whole = dict(live)
    whole["many"] = live["many"].astype(np.float64)
    whole["flag"] = live["flag"].astype(np.float64)
    same(counted(PROFILE, live, 50), counted(PROFILE, whole, 50))
    whole["many"][3] = np.nan
    place = [column.name for column in PROFILE.columns].index("inputs/many")
    assert counted(PROFILE, whole, 50).special[:, 0, place].tolist() == [1, 0]
