"""The maximum mean discrepancy: it finds what single inputs and pairs miss, and cries as seldom as it may."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats
from tests.fakes.counting_pods import CountingPod, profile_of

from penstock_contract.counts import Counts
from penstock_contract.profile import Profile, layout_of, parse
from penstock_contract.waves import WAVE_SCALE, WAVES, waves_of
from penstock_operator.core.drift import discrepancy, tails
from penstock_operator.core.drift.budget import USUAL, Signal
from penstock_operator.core.drift.counting import count
from penstock_operator.core.drift.engine import Judge
from penstock_operator.core.drift.tally import Frame, Tallies

WINDOW = 500
Matrix = npt.NDArray[np.float64]
Change = Callable[[np.random.Generator, Matrix], Matrix]


def unchanged(rng: np.random.Generator, matrix: Matrix) -> Matrix:
    return matrix


def a_cross(rng: np.random.Generator, matrix: Matrix) -> Matrix:
    """Two inputs that are equal or opposite: each normal by itself, and uncorrelated."""
    signs = rng.integers(0, 2, len(matrix)) * 2 - 1
    matrix[:, 1] = 0.8 * signs * matrix[:, 0] + 0.6 * matrix[:, 1]
    return matrix


def three_by_three(rng: np.random.Generator, matrix: Matrix) -> Matrix:
    """Three inputs of which each two are independent, and the third's sign follows from the others'."""
    matrix[:, 2] = np.abs(matrix[:, 2]) * np.sign(matrix[:, 0] * matrix[:, 1])
    return matrix


def rows(rng: np.random.Generator, size: int, change: Change = unchanged) -> dict[str, npt.NDArray[Any]]:
    matrix = change(rng, rng.normal(size=(size, 6)))
    answers = 1 / (1 + np.exp(-matrix[:, 3:].sum(axis=1) - rng.normal(size=size)))
    return {**{f"f{place}": matrix[:, place] for place in range(6)}, "score": answers}


def tallies(profile: Profile, values: dict[str, npt.NDArray[Any]], window_rows: int = WINDOW) -> Tallies:
    named = {column.name: values[column.name.partition("/")[2]] for column in profile.columns}
    return count(Frame.of(profile), named, window_rows)


@pytest.fixture(scope="module")
def profile() -> Profile:
    return profile_of(rows(np.random.default_rng(1), 20_000))


@pytest.mark.parametrize("change", [a_cross, three_by_three])
def test_a_change_that_no_input_and_no_correlation_shows_is_found(profile: Profile, change: Change) -> None:
    judge = Judge(profile, window_rows=WINDOW, false_alarm_every=10_000, kinds=frozenset(Signal))
    judged, _ = judge.judge(tallies(profile, rows(np.random.default_rng(2), 16 * WINDOW, change)), judge.start())
    found = {alarm.name for window in judged.alarms for alarm in window}
    assert found == {"inputs/mmd"}
    strongest = max((alarm for window in judged.alarms for alarm in window), key=lambda alarm: alarm.evidence)
    assert strongest.distance is not None
    assert 0.01 < strongest.distance < 0.1


def test_without_a_change_it_is_as_rarely_small_as_it_says() -> None:
    found: list[npt.NDArray[np.float64]] = []
    for seed in range(3):
        rng = np.random.default_rng([seed, 7])

        # Few values, heavy tails and dependence: waves of such rows are skewed.
        def odd(rng: np.random.Generator, matrix: Matrix) -> Matrix:
            matrix[:, 0] = np.exp(matrix[:, 0] + matrix[:, 5])
            matrix[:, 1] = np.round(matrix[:, 1])
            return matrix

        profile = profile_of(rows(rng, 20_000, odd))
        waters = Judge(profile, window_rows=WINDOW, false_alarm_every=10)._waters
        assert waters is not None
        windows = tallies(profile, rows(rng, 200 * WINDOW, odd))
        found += [discrepancy.p_values(waters, one)[:, 0] for one in (windows, windows.coarser().coarser())]
    p = np.concatenate(found)
    assert len(p) == 3 * 250
    for level in (0.2, 0.05, 0.01):
        assert (p <= level).mean() <= level + 2.5 * np.sqrt(level * (1 - level) / len(p))


def test_it_is_not_judged_unless_it_is_asked_for(profile: Profile) -> None:
    usual = Judge(profile, window_rows=WINDOW, false_alarm_every=10_000)
    assert usual.budget.kinds == USUAL
    judged, _ = usual.judge(tallies(profile, rows(np.random.default_rng(2), 16 * WINDOW, a_cross)), usual.start())
    assert not any(judged.alarms)


def test_pods_add_up_the_waves_of_a_file(profile: Profile) -> None:
    values = rows(np.random.default_rng(4), 4 * WINDOW)
    pods = [CountingPod(profile) for _ in range(3)]
    for place, pod in enumerate(pods):
        pod.serve({name: column[place::3] for name, column in values.items()})
    layout = layout_of(profile.columns)
    counted = [Counts.from_wire(pod.message()["counts"], layout) for pod in pods]
    merged = np.array((counted[0] + counted[1] + counted[2]).waves)
    whole = tallies(profile, values, 4 * WINDOW).waves[0]
    assert merged[0] == whole[0] == 4 * WINDOW
    # Single precision in another order: now and then a cosine is rounded the other way.
    assert np.abs(merged - whole).max() <= 5
    restarted = counted[0] - counted[0]
    assert set(restarted.waves) == {0}


def test_pods_that_know_no_waves_are_none_of_its_rows(profile: Profile) -> None:
    layout = layout_of(profile.columns)
    pod = CountingPod(profile)
    pod.serve(rows(np.random.default_rng(5), WINDOW))
    wire = pod.message()["counts"]
    old = {name: value for name, value in wire.items() if name != "waves"}
    both = Counts.from_wire(wire, layout) + Counts.from_wire(old, layout)
    assert (both.test_rows, both.waves[0]) == (2 * WINDOW, WINDOW)
    alone = Tallies.of([Counts.from_wire(old, layout)], Frame.of(profile))
    waters = Judge(profile, window_rows=WINDOW, false_alarm_every=10)._waters
    assert waters is not None
    assert discrepancy.p_values(waters, alone).tolist() == [[1.0]]
    assert discrepancy.distance(waters, alone) == 0


def test_a_profile_keeps_its_sea(profile: Profile) -> None:
    again = parse(profile.to_json())
    assert again.sea == profile.sea
    assert again.hash == profile.hash
    assert len(profile.counts.waves) == 1 + WAVES
    assert abs(np.array(profile.counts.waves[1:])).max() <= profile.rows * WAVE_SCALE


def test_the_waves_of_a_profile_are_the_same_for_ever() -> None:
    first = waves_of("sha256:abc", 3)
    assert first == waves_of("sha256:abc", 3)
    assert first != waves_of("sha256:abd", 3)
    assert len(first) == WAVES
    assert first[0].phase == pytest.approx(3.476425312803787, abs=1e-9)
    assert first[2].weights == pytest.approx((-0.8160923849605705, 0.0, 1.229053584705842), abs=1e-9)


def test_a_weighted_sum_of_squares_has_the_right_tail() -> None:
    x = np.array([2.0, 10.0, 30.0, 60.0])
    np.testing.assert_allclose(
        tails.weighted_chi_squared(4 * x, np.full(3, 4.0))[1:], stats.chi2.sf(x, 3)[1:], rtol=0.05
    )
    weights = np.array([3.0, 1.0, 0.5, 0.1])
    sums = (np.square(np.random.default_rng(1).normal(size=(400_000, 4))) * weights).sum(axis=1)
    for point in (12.0, 20.0, 30.0):
        exact = float((sums >= point).mean())
        assert float(tails.weighted_chi_squared(np.array([point]), weights)[0]) == pytest.approx(exact, rel=0.12)
