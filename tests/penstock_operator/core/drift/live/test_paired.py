"""A candidate beside the stable: what both see is no drift, what one answers is, and chance stays in its budget."""

from dataclasses import replace

import numpy as np
import pytest
from tests.fakes.counting_pods import CountingPod, profile_of
from tests.penstock_operator.core.drift.live.test_watch import LIMITS, LOOK_SECONDS, WINDOW, rows

from penstock_contract.profile import Profile
from penstock_operator.core.drift.live import paired
from penstock_operator.core.drift.live.against import Against, Source
from penstock_operator.core.drift.live.flat import Shape
from penstock_operator.core.drift.live.limits import Limits
from penstock_operator.core.drift.live.paired import Beside
from penstock_operator.core.drift.live.state import Look, Reference, Watch, begin
from penstock_operator.core.drift.live.watch import MONTH_SECONDS, after

BESIDE = replace(LIMITS, against=Against(source=Source.STABLE))


class Rollout:
    """A pod of each revision, looked at together."""

    def __init__(self, profile: Profile, limits: Limits, *, seed: int) -> None:
        self.rng = np.random.default_rng([seed, 77])
        self.limits = limits
        self.reference = Reference(shape=Shape(profile))
        self.pods = {"candidate": CountingPod(profile), "stable": CountingPod(profile)}
        self.now = 0.0
        self.watch: Watch = begin("fraud-b", 0.0)
        self.beside = Beside(watch=begin("fraud-a", 0.0))

    def step(self, candidate: int, stable: int, *, both: float = 0.0, alone: float = 0.0) -> Watch:
        self.now += LOOK_SECONDS
        for name, count, shift in (("candidate", candidate, both + alone), ("stable", stable, both)):
            self.pods[name].now = self.now
            self.pods[name].serve(rows(self.rng, count, shift))
        self.watch = after(self.watch, self._look("candidate"), self.reference, self.limits)
        self.beside = replace(
            self.beside, watch=after(self.beside.watch, self._look("stable"), self.reference, self.limits)
        )
        if paired.is_full(self.watch, self.beside, self.limits.window_rows):
            self.watch, self.beside = paired.judged(self.watch, self.beside, self.reference, self.limits)
        return self.watch

    def _look(self, name: str) -> Look:
        reads = {name: self.reference.shape.decode(self.pods[name].body())}
        return Look(now=self.now, reads=reads, ready=[name], present=[name])


@pytest.fixture(scope="module")
def profile() -> Profile:
    return profile_of(rows(np.random.default_rng(1), 20_000))


@pytest.mark.parametrize("share", [1, 9])
def test_false_alarms_beside_a_stable_of_any_share_stay_within_the_budget(profile: Profile, share: int) -> None:
    limits = replace(BESIDE, per_30_days=MONTH_SECONDS / LOOK_SECONDS / 10)
    begun = 0
    for seed in range(2):
        rollout = Rollout(profile, limits, seed=seed)
        for number in range(60):
            known = set(rollout.watch.open)
            # A day's rhythm that both follow, far beyond what a profile would bear.
            watch = rollout.step(WINDOW + 20, (WINDOW + 20) * share, both=float(np.sin(number / 9)))
            begun += any(one not in known for one in watch.open)
        assert rollout.watch.windows == 60
    assert begun <= 2 * 60 / 10


def test_weights_that_rise_while_traffic_changes_are_no_drift(profile: Profile) -> None:
    rollout = Rollout(profile, replace(BESIDE, per_30_days=100.0), seed=3)
    for number in range(32):
        candidate = 100 + number * 30
        assert not rollout.step(candidate, 2000 - candidate, both=number / 10).open


def test_a_candidate_that_sees_other_rows_is_found_by_the_longer_look_backs(profile: Profile) -> None:
    rollout = Rollout(profile, BESIDE, seed=4)
    for _ in range(8):
        assert not rollout.step(WINDOW, 3 * WINDOW).open
    looks = next(look for look in range(1, 30) if "inputs/f2" in rollout.step(WINDOW, 3 * WINDOW, alone=0.4).open)
    assert looks <= 16
    assert rollout.watch.open["inputs/f2"].evidence["rows"] >= WINDOW


def test_nothing_is_judged_until_both_have_a_window(profile: Profile) -> None:
    rollout = Rollout(profile, BESIDE, seed=5)
    rollout.step(3 * WINDOW, WINDOW // 2)
    assert (rollout.watch.windows, rollout.watch.waiting) == (0, 3 * WINDOW)
    rollout.step(WINDOW, WINDOW // 2)
    assert (rollout.watch.windows, rollout.watch.waiting, rollout.beside.watch.waiting) == (1, 0, 0)
