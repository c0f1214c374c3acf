"""The rules of other controllers are written down as their documentation says, and the figures add up."""

from collections.abc import Sequence

import pytest
from benchmarks.judge import rules, streams
from benchmarks.judge.results import cell
from benchmarks.judge.rules import Found, Rule
from benchmarks.judge.scenarios import planned_ticks, scenarios
from benchmarks.judge.streams import Arm, Moment


def moments(*shares: float) -> list[Moment]:
    return [
        Moment(stable=Arm(requests=1000, errors=5), candidate=Arm(requests=1000, errors=round(1000 * share)))
        for share in shares
    ]


@pytest.mark.parametrize(
    ("rule", "shares", "failed"),
    [
        (rules.argo(rules.error_share, 0.01), (0.02, 0.0, 0.02, 0.0, 0.02, 0.02), 6),
        (rules.argo(rules.error_share, 0.01), (0.02, 0.02, 0.02, 0.0), None),
        (rules.flagger(rules.error_share, 0.01), (0.02,) * 6, 6),
        (rules.flagger(rules.error_share, 0.01), (0.02,) * 5, None),
        (rules.kayenta(rules.error_share, again=False), (0.005,) * 10, None),
        (rules.kayenta(rules.error_share, again=False), tuple(0.02 + 0.001 * (at % 5) for at in range(20)), 20),
        (rules.kayenta(rules.error_share, again=True), tuple(0.02 + 0.001 * (at % 5) for at in range(20)), 5),
        (rules.naive_counts(rules.error_events), (0.005, 0.03), 2),
    ],
    ids=[
        "Argo forgives nothing",
        "Argo lets three pass",
        "Flagger is a tick late",
        "Flagger needs five",
        "Kayenta passes equals",
        "Kayenta at the end",
        "Kayenta at its first look",
        "a z-test at once",
    ],
)
def test_a_rule_decides_as_it_is_documented(rule: Rule, shares: Sequence[float], failed: int | None) -> None:
    assert rule(moments(*shares)).failed == failed


def test_what_was_served_is_counted_up_to_the_decision() -> None:
    rollouts = [moments(*(0.005,) * 10), moments(*(0.005,) * 10)]
    found = cell("x", "y", rollouts, [Found(failed=2), Found(failed=None)], healthy=False, passes=False)
    assert (found.failed, found.median, found.p90) == (0.5, 2.0, None)
    assert found.exposed == (2 * 1000 + 10 * 1000) / 2
    assert found.exposed_share == pytest.approx(0.3)


def test_the_same_seed_is_the_same_rollout() -> None:
    for stream in (streams.errors(60, 2), streams.ramp(60, 1), streams.latencies(60, 2), streams.means(1, phi=0.3)):
        assert stream(3) == stream(3)
        assert stream(3) != stream(4)


def test_every_scenario_is_judged_by_penstock_and_names_are_unique() -> None:
    found = list(scenarios())
    assert len({one.name for one in found}) == len(found)
    assert all("Penstock" in one.rules for one in found)


def test_the_planned_time_is_the_one_of_the_documentation() -> None:
    assert (round(planned_ticks(60)), round(planned_ticks(600))) == (167, 17)
