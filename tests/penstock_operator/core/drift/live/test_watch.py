"""One revision under watch: the budget holds in time, alarms have their numbers, and who is to blame is said."""

from dataclasses import replace

import numpy as np
import pytest
from tests.fakes.counting_pods import CountingPod, Values, profile_of

from penstock_contract.profile import Profile
from penstock_operator.core.alarms import SignalClass
from penstock_operator.core.drift.budget import Signal
from penstock_operator.core.drift.engine import Judge
from penstock_operator.core.drift.live.flat import Shape
from penstock_operator.core.drift.live.limits import Limits
from penstock_operator.core.drift.live.watch import MONTH_SECONDS, Look, Reference, Watch, after, begin
from penstock_operator.core.drift_sight import Sight, alarms_of
from penstock_operator.core.watched import Role, Watched

WINDOW = 100
LOOK_SECONDS = 30.0


def rows(rng: np.random.Generator, count: int, shift: float = 0.0) -> Values:
    shared = rng.normal(size=(count, 1))
    matrix = 0.7 * shared + 0.7 * rng.normal(size=(count, 8))
    matrix[:, 2] += shift
    columns = {f"f{place}": matrix[:, place] for place in range(8)}
    return {**columns, "score": 1 / (1 + np.exp(-matrix.sum(axis=1) / 4 - rng.normal(size=count)))}


def reference_of(profile: Profile, kinds: frozenset[Signal] = frozenset(Signal)) -> Reference:
    judge = Judge(profile, window_rows=WINDOW, false_alarm_every=1e9, kinds=kinds)
    return Reference(shape=Shape(profile), judge=judge)


class Stream:
    """Pods that answer rows, and a watch over them."""

    def __init__(self, profile: Profile, limits: Limits, *, seed: int, pods: int = 3) -> None:
        self.rng = np.random.default_rng(seed)
        self.reference = reference_of(profile, limits.kinds)
        self.limits = limits
        self.pods = {f"pod-{place}": CountingPod(profile) for place in range(pods)}
        self.now = 0.0
        self.watch: Watch = begin("fraud-a", 0.0)

    def step(self, count: int, shift: float = 0.0, *, silent: frozenset[str] = frozenset()) -> Watch:
        self.now += LOOK_SECONDS
        for pod in self.pods.values():
            pod.now = self.now
            pod.serve(rows(self.rng, count // len(self.pods), shift))
        reads = {name: self.reference.shape.decode(pod.body()) for name, pod in self.pods.items() if name not in silent}
        look = Look(now=self.now, reads=reads, ready=self.pods.keys(), present=self.pods.keys())
        self.watch = after(self.watch, look, self.reference, self.limits)
        return self.watch


LIMITS = Limits(kinds=frozenset(Signal), window_rows=WINDOW, per_30_days=1.0)


@pytest.fixture(scope="module")
def profile() -> Profile:
    return profile_of(rows(np.random.default_rng(1), 20_000))


def test_false_alarms_stay_within_the_budget_while_pods_restart_and_traffic_comes_in_any_amounts() -> None:
    # One alarm in 10 windows of 30 seconds: so many in 30 days.
    limits = replace(LIMITS, per_30_days=MONTH_SECONDS / LOOK_SECONDS / 10)
    begun, windows = 0, 0
    for seed in range(2):
        stream = Stream(profile_of(rows(np.random.default_rng([seed, 5]), 20_000)), limits, seed=seed)
        for number in range(80):
            known = set(stream.watch.open)
            if number % 7 == 3:
                stream.pods[f"pod-{number % 3}"].restart()
            watch = stream.step(int(stream.rng.integers(90, 700)))
            begun += any(one not in known for one in watch.open)
        windows += stream.watch.windows
    # Windows that are not full in time are longer, and may be wrong as much more often: time is what is budgeted.
    assert windows > 120
    assert begun <= 2 * 80 / 10 * 1.15


@pytest.mark.parametrize("count", [120, 3000])
def test_a_shift_is_found_within_few_windows_whatever_the_traffic(profile: Profile, count: int) -> None:
    stream = Stream(profile, LIMITS, seed=2)
    for _ in range(10):
        assert not stream.step(count).open
    looks = next(look for look in range(1, 20) if "inputs/f2" in stream.step(count, 0.5).open)
    assert looks <= 4
    one = stream.watch.open["inputs/f2"]
    assert one.message.startswith("f2: PSI 0.")
    assert one.evidence["rows"] >= WINDOW
    assert one.evidence["evidence"] > 0


def test_nothing_is_judged_and_nothing_lost_while_pods_are_missing(profile: Profile) -> None:
    stream = Stream(profile, LIMITS, seed=3)
    stream.step(300)
    for _ in range(5):
        stream.step(300, silent=frozenset({"pod-1"}))
    assert (stream.watch.windows, round(stream.watch.coverage, 2)) == (1, 0.67)
    stream.step(300)
    assert (stream.watch.windows, stream.watch.rows) == (2, 2100)


def test_a_budget_in_time_makes_windows_of_fast_traffic_stricter(profile: Profile) -> None:
    def strictest(per_30_days: float) -> float:
        stream = Stream(profile, replace(LIMITS, per_30_days=per_30_days), seed=4)
        return stream.step(300, 3.0).open["inputs/f2"].evidence["evidence"]

    assert strictest(1.0) == pytest.approx(strictest(100.0) - 2, abs=0.01)


def test_features_that_nobody_asked_for_raise_nothing(profile: Profile) -> None:
    kinds = frozenset({Signal.INPUTS})
    stream = Stream(profile, replace(LIMITS, kinds=kinds, features=("f0", "f1*")), seed=5)
    for _ in range(5):
        assert not stream.step(300, 3.0).open


def sights(stable: Watch, candidate: Watch, reference: Reference) -> list[Sight]:
    roles = {Role.STABLE: stable, Role.CANDIDATE: candidate}
    return [
        Sight(
            watched=Watched(model_deployment="fraud", revision=role.value, role=role, endpoint="fraud"),
            watch=watch,
            limits=LIMITS,
            judge=reference.judge,
        )
        for role, watch in roles.items()
    ]


def test_a_candidate_is_to_blame_for_outputs_that_the_stable_has_not(profile: Profile) -> None:
    stable, candidate = Stream(profile, LIMITS, seed=6), Stream(profile, LIMITS, seed=7)
    for _ in range(5):
        stable.step(300)
        candidate.now += LOOK_SECONDS
        for pod in candidate.pods.values():
            pod.now = candidate.now
            values = rows(candidate.rng, 100)
            pod.serve({**values, "score": values["score"] ** 3})
        reads = {name: candidate.reference.shape.decode(pod.body()) for name, pod in candidate.pods.items()}
        look = Look(now=candidate.now, reads=reads, ready=reads.keys(), present=reads.keys())
        candidate.watch = after(candidate.watch, look, candidate.reference, LIMITS)
    alarms = alarms_of(sights(stable.watch, candidate.watch, stable.reference))
    blamed = {alarm.signal: alarm.attributable for alarm in alarms}
    assert blamed[SignalClass.OUTPUTS]
    assert all(alarm.revision == "Candidate" for alarm in alarms)
    unjudged = replace(stable.watch, columns=())
    alarms = alarms_of(sights(unjudged, candidate.watch, stable.reference))
    assert not any(alarm.attributable for alarm in alarms)


def test_drift_that_hits_both_revisions_is_nobodys_fault(profile: Profile) -> None:
    stable, candidate = Stream(profile, LIMITS, seed=8), Stream(profile, LIMITS, seed=9)
    for _ in range(8):
        stable.step(300, 2.0)
        candidate.step(300, 2.0)
    alarms = alarms_of(sights(stable.watch, candidate.watch, stable.reference))
    assert {alarm.signal for alarm in alarms} >= {SignalClass.INPUTS, SignalClass.OUTPUTS}
    assert not any(alarm.attributable for alarm in alarms)
    assert len({alarm.window_id for alarm in alarms if alarm.revision == "Stable"}) == 1


def strange(rng: np.random.Generator, count: int) -> Values:
    kinds = np.array(["red", "green", "blue"], dtype=object)
    return {
        "constant": np.full(count, 2.0),
        "gaps": np.where(rng.random(count) < 0.9, np.nan, rng.normal(size=count)),
        "kind": kinds[rng.integers(0, 3, count)],
        "number": rng.normal(size=count),
        "score": rng.random(count),
    }


@pytest.mark.parametrize("outputs", [("score",), (), ("constant", "gaps", "kind", "number", "score")])
def test_no_column_however_strange_keeps_the_others_from_being_judged(outputs: tuple[str, ...]) -> None:
    rng = np.random.default_rng(10)
    profile = profile_of(strange(rng, 5000), outputs)
    reference = reference_of(profile)
    pod, watch = CountingPod(profile), begin("fraud-a", 0.0)
    side = "outputs" if "number" in outputs else "inputs"
    for number in range(1, 13):
        live = dict(strange(rng, 300))
        if number > 6:
            live["constant"] = np.full(300, np.nan)
            live["gaps"] = np.full(300, np.nan)
            live["kind"] = np.array([f"new {place}" for place in range(300)], dtype=object)
            live["number"] = live["number"] + 1.0
        pod.now = number * LOOK_SECONDS
        pod.serve(live)
        reads = {"pod": reference.shape.decode(pod.body())}
        look = Look(now=pod.now, reads=reads, ready={"pod"}, present={"pod"})
        watch = after(watch, look, reference, LIMITS)
        if number == 6:
            assert not watch.open
    assert {f"{side}/number", "dataQuality/constant/missing", "dataQuality/gaps/missing"} <= watch.open.keys()
    assert "dataQuality/kind/unseen" in watch.open
    assert len({one.window_id for one in watch.open.values()}) == 1


def test_volume_and_silence_are_judged_by_what_is_usual(profile: Profile) -> None:
    limits = replace(LIMITS, kinds=frozenset({Signal.DATA_QUALITY}), volume_ratio=3.0, silence_seconds=600.0)
    stream = Stream(profile, limits, seed=11)
    for _ in range(130):  # an hour and a bit
        assert not stream.step(60).open
    for _ in range(30):
        stream.step(600)
    assert stream.watch.open.keys() == {"dataQuality/volume"}
    assert "rows/s of late" in stream.watch.open["dataQuality/volume"].message
    for _ in range(60):
        stream.step(60)
    assert not stream.watch.open
    for _ in range(22):
        stream.step(0)
    assert "dataQuality/silence" in stream.watch.open


def test_a_gap_in_what_could_be_read_is_no_change_of_volume(profile: Profile) -> None:
    limits = replace(LIMITS, kinds=frozenset({Signal.DATA_QUALITY}), volume_ratio=2.0)
    stream = Stream(profile, limits, seed=12)
    for _ in range(130):
        stream.step(60)
    for _ in range(40):
        stream.step(60, silent=frozenset(stream.pods))
    assert not stream.step(60).open
    assert not stream.step(60).open


@pytest.mark.parametrize(("shift", "told"), [(2.5, set()), (30.0, {"dataQuality/f2/outOfRange"})])
def test_what_is_out_of_range_because_it_drifted_is_told_as_drift_until_it_is_most_of_it(
    profile: Profile, shift: float, told: set[str]
) -> None:
    limits = replace(LIMITS, kinds=frozenset({Signal.INPUTS, Signal.DATA_QUALITY}), rates={"outOfRange": 0.01})
    stream = Stream(profile, limits, seed=13)
    stream.step(300)
    stream.step(300, shift)
    assert "inputs/f2" in stream.watch.open
    assert {name for name in stream.watch.open if name.startswith("dataQuality/f2/")} == told
    alone = Stream(profile, replace(limits, kinds=frozenset({Signal.DATA_QUALITY})), seed=14)
    assert "dataQuality/f2/outOfRange" in alone.step(300, shift).open
