"""Products and mixtures of factors."""

import itertools
import math

import pytest

from penstock_operator.core.judge import eprocess


def test_the_mass_of_starting_times_is_given_out_once() -> None:
    given = [eprocess.unstarted_mass(t) - eprocess.unstarted_mass(t + 1) for t in range(500)]
    assert min(given) > 0
    assert sum(given) + eprocess.unstarted_mass(500) == pytest.approx(1.0)


def test_the_recursion_is_the_mixture_over_starting_times() -> None:
    factors = [0.5, 3.0, 0.2, 4.0]
    logs: tuple[float, ...] = ()
    for t, factor in enumerate(factors):
        logs = eprocess.advance_with_restarts(logs, [math.log(factor)], t)
    mixture = eprocess.unstarted_mass(4) + sum(
        (eprocess.unstarted_mass(start) - eprocess.unstarted_mass(start + 1)) * math.prod(factors[start:])
        for start in range(4)
    )
    assert eprocess.restarting_evidence([logs], 4, weights=(1.0,)) == pytest.approx(mixture, rel=1e-4)


def test_fair_factors_keep_the_mean_of_the_evidence_at_1() -> None:
    total = 0.0
    for path in itertools.product((0.5, 1.5), repeat=8):
        logs: tuple[float, ...] = ()
        for t, factor in enumerate(path):
            logs = eprocess.advance_with_restarts(logs, [math.log(factor)], t)
        total += eprocess.restarting_evidence([logs], len(path), weights=(1.0,)) / 2**8
    assert total == pytest.approx(1.0, abs=1e-5)


def test_capped_evidence_never_exceeds_the_uncapped_and_falls_quickly_after_a_long_good_history() -> None:
    logs: tuple[float, ...] = ()
    for _ in range(1000):
        logs = eprocess.advance_capped(logs, [0.5, 0.1])
    assert eprocess.capped_evidence(logs) <= 1000.0 + 1e-3
    for _ in range(2):
        logs = eprocess.advance_capped(logs, [-3.0, -3.0])
    assert eprocess.capped_evidence(logs) < eprocess.ACCEPTANCE_LIMIT


def test_overwhelming_evidence_is_capped_for_display_instead_of_overflowing() -> None:
    logs = eprocess.advance_with_restarts((), [5000.0, -5000.0], 0)
    assert eprocess.restarting_evidence([logs], 1, weights=(0.5, 0.5)) == eprocess.DISPLAY_MAX


def test_without_a_tick_there_is_no_evidence_either_way() -> None:
    assert eprocess.restarting_evidence((), 0, weights=(1.0,)) == 1.0
    assert eprocess.capped_evidence(()) == 1.0


def test_each_guess_counts_with_its_weight() -> None:
    logs = (math.log(10.0), math.log(100.0))
    assert eprocess.detector_evidence([logs], weights=(0.9, 0.1)) == pytest.approx(19.0)
    assert eprocess.detector_evidence([logs, (0.0, 0.0)], weights=(0.9, 0.1)) == pytest.approx(10.0)
