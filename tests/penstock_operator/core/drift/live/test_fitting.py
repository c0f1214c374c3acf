"""A profile that would cost the operator its memory or its time, or that nobody can have counted, is refused."""

from dataclasses import replace

import numpy as np
import pytest
from tests.fakes.counting_pods import profile_of

from penstock_contract.profile import InvalidProfile, Kind, Profile
from penstock_operator.core.drift.live.fitting import shape_of


@pytest.fixture(scope="module")
def profile() -> Profile:
    rng = np.random.default_rng(1)
    values = {"amount": rng.normal(size=500), "kind": rng.integers(0, 4, 500), "score": rng.random(500)}
    return profile_of(values)


def test_a_profile_as_it_is_made_fits(profile: Profile) -> None:
    assert shape_of(profile).profile_hash == profile.hash


def test_outputs_come_last(profile: Profile) -> None:
    columns, counts = profile.columns, profile.counts
    turned = replace(profile, columns=columns[::-1], counts=replace(counts, columns=counts.columns[::-1]))
    with pytest.raises(InvalidProfile, match="outputs come before its inputs"):
        shape_of(turned)


def test_categories_without_end_are_refused(profile: Profile) -> None:
    place = next(place for place, column in enumerate(profile.columns) if column.kind is Kind.CATEGORICAL)
    endless = replace(profile.columns[place], categories=tuple(range(1_000_000)), scores=())
    columns = tuple(endless if at == place else column for at, column in enumerate(profile.columns))
    with pytest.raises(InvalidProfile, match="3 columns of up to 1000002 bins"):
        shape_of(replace(profile, columns=columns))


def test_cross_moments_without_end_are_refused(profile: Profile) -> None:
    amount = profile.columns[0]
    many = tuple(replace(amount, name=f"inputs/a{number}") for number in range(200))
    with pytest.raises(InvalidProfile, match="cross moments of 200 columns"):
        shape_of(replace(profile, columns=many))


def test_counts_that_nobody_counted_are_refused(profile: Profile) -> None:
    first = profile.counts.columns[0]
    wrong = replace(first, bins=(first.bins[0] + 10_000, *first.bins[1:]))
    with pytest.raises(InvalidProfile, match="more values than there are test rows"):
        shape_of(replace(profile, counts=replace(profile.counts, columns=(wrong, *profile.counts.columns[1:]))))
