"""The test of realised shares: quiet for honest routers, quick for those that lie."""

from statistics import median

import numpy as np

from penstock_operator.core.sample_ratio import SampleRatio, judge_shares

STEP = {"old": 90, "new": 10}


def ticks(count: int, requests: int, share: float, *, seed: int) -> list[dict[str, int]]:
    """Return what routers count that send this share to the candidate."""
    counted = np.random.default_rng(seed).binomial(requests, share, size=count).tolist()
    return [{"new": new, "old": requests - new} for new in counted]


def settled(weights: dict[str, int]) -> SampleRatio:
    return judge_shares(None, weights, [{}])


def ticks_until_found(share: float, requests: int, *, seed: int, weights: dict[str, int] | None = None) -> int:
    state = settled(weights or STEP)
    for number, tick in enumerate(ticks(200, requests, share, seed=seed), 1):
        state = judge_shares(state, weights or STEP, [tick])
        if state.mismatch:
            return number
    raise AssertionError(f"a share of {share} instead of 0.1 was not found")


def test_honest_routers_are_never_blamed_however_often_one_looks() -> None:
    for seed in range(200):
        state = settled(STEP)
        for tick in ticks(60, 100, 0.1, seed=seed):
            state = judge_shares(state, STEP, [tick])
            assert not state.mismatch, f"seed {seed}"


def test_a_share_off_by_less_than_a_tenth_is_tolerated() -> None:
    state = judge_shares(settled(STEP), STEP, [{"old": 9050, "new": 950}] * 50)
    assert not state.mismatch


def test_weights_that_did_not_arrive_are_found_within_a_few_dozen_requests() -> None:
    state = judge_shares(settled(STEP), STEP, [{"old": 150, "new": 0}])
    assert state.mismatch == "new should have 10% and has 0.0% (0 of 150 requests)"


def test_one_router_of_two_with_the_old_weights_is_found() -> None:
    found = [ticks_until_found(0.15, 100, seed=seed, weights={"old": 75, "new": 25}) for seed in range(20)]
    assert median(found) <= 8, found


def test_a_fifth_too_much_is_found_in_some_minutes() -> None:
    found = [ticks_until_found(0.12, 6000, seed=seed) for seed in range(20)]
    assert median(found) <= 6, found


def test_traffic_where_none_is_meant_is_found() -> None:
    weights = {"old": 100, "new": 0}
    state = judge_shares(settled(weights), weights, [{"old": 97, "new": 3}] * 3)
    assert state.mismatch.startswith("new should have 0%")


def test_one_stray_request_where_none_is_meant_proves_nothing() -> None:
    weights = {"old": 100, "new": 0}
    assert not judge_shares(settled(weights), weights, [{"old": 999, "new": 1}]).mismatch


def test_the_ticks_that_come_with_a_change_of_weights_do_not_count() -> None:
    before = judge_shares(settled(STEP), STEP, [{"old": 900, "new": 100}])
    changed = judge_shares(before, {"old": 50, "new": 50}, [{"old": 900, "new": 100}] * 3)
    assert not changed.mismatch
    assert changed.realised == {}
    after = judge_shares(changed, {"old": 50, "new": 50}, [{"old": 503, "new": 497}])
    assert after.realised == {"old": 0.503, "new": 0.497}


def test_no_requests_are_no_evidence() -> None:
    state = judge_shares(settled(STEP), STEP, [{}, {"old": 0, "new": 0}])
    assert state == settled(STEP)
    assert judge_shares(judge_shares(None, STEP, []), STEP, [{"old": 0, "new": 100}]).mismatch == "", "the first one"
    assert state.realised == {}


def test_a_mismatch_ends_when_twice_as_many_requests_were_spread_right() -> None:
    wrong = judge_shares(settled(STEP), STEP, [{"old": 150, "new": 0}])
    assert wrong.mismatch
    on_the_way = judge_shares(wrong, STEP, [{"old": 180, "new": 20}])
    assert on_the_way.mismatch
    over = judge_shares(on_the_way, STEP, [{"old": 90, "new": 10}])
    assert not over.mismatch


def test_a_mismatch_that_goes_on_stays() -> None:
    state = judge_shares(settled(STEP), STEP, [{"old": 150, "new": 0}])
    for _ in range(20):
        state = judge_shares(state, STEP, [{"old": 40, "new": 0}])
        assert state.mismatch


def test_of_three_revisions_the_wrong_one_is_named() -> None:
    weights = {"old": 60, "a": 20, "b": 20}
    state = judge_shares(settled(weights), weights, [{"old": 610, "a": 195, "b": 40}])
    assert state.mismatch.startswith("b should have 20%")


def test_the_same_ticks_give_the_same_state_together_or_one_by_one() -> None:
    seen = ticks(20, 50, 0.1, seed=1)
    together = judge_shares(settled(STEP), STEP, seen)
    one_by_one = settled(STEP)
    for tick in seen:
        one_by_one = judge_shares(one_by_one, STEP, [tick])
    assert together == one_by_one
