"""What every router of splits does, the built-in one and Gateways: one suite for both."""

import pytest
from tests.penstock_operator.reconcile.router_contract import REF, Bench, BuiltInBench, GatewayBench


@pytest.fixture(params=[BuiltInBench, GatewayBench], ids=["built-in", "gateway"])
def bench(request: pytest.FixtureRequest) -> Bench:
    made: Bench = request.param()
    for revision in "ab":
        made.make_warm(revision)
    return made


async def test_a_published_route_is_acknowledged_and_done(bench: Bench) -> None:
    told = await bench.look(a=95, b=5)
    assert told.complete
    assert len(told.acknowledged) == bench.router.size(REF)
    assert bench.weights() == {"a": 95, "b": 5}


async def test_every_change_of_weights_is_done_up_and_back(bench: Bench) -> None:
    for weights in ({"a": 100}, {"a": 100, "b": 0}, {"a": 75, "b": 25}, {"a": 100, "b": 0}, {"b": 100}):
        assert (await bench.look(**weights)).complete
        assert bench.weights() == weights


async def test_what_is_published_again_is_not_written_again(bench: Bench) -> None:
    await bench.look(a=95, b=5)
    writes = len(bench.cluster.writes), written(bench)
    for _ in range(3):
        assert (await bench.look(a=95, b=5)).complete
    assert (len(bench.cluster.writes), written(bench)) == writes


async def test_nobody_who_says_nothing_has_acknowledged(bench: Bench) -> None:
    assert (await bench.look(a=100)).complete
    bench.sleep()
    told = await bench.look(a=95, b=5)
    assert not told.complete
    assert not told.rejected
    assert len(told.missing) == bench.router.size(REF)
    assert bench.weights() == {"a": 100}


async def test_a_refusal_is_told_in_words_and_what_was_done_goes_on(bench: Bench) -> None:
    assert (await bench.look(a=100)).complete
    bench.refuse("no such filter")
    told = await bench.look(a=95, b=5)
    assert not told.complete
    assert all("no such filter" in words for words in told.rejected.values())
    assert len(told.rejected) == bench.router.size(REF)
    assert bench.weights() == {"a": 100}


async def test_the_first_count_is_the_base_and_each_tick_after_it_is_taken_once(bench: Bench) -> None:
    await bench.look(a=95, b=5)
    bench.answer("a", good=1000, bad=7)
    await bench.tick()
    assert bench.taken() == []

    bench.answer("a", good=95, bad=1)
    bench.answer("b", good=3, bad=2)
    await bench.tick()
    assert bench.taken() == [{"a": (96, 1), "b": (5, 2)}]
    assert bench.taken() == []


async def test_ticks_that_nobody_took_wait_and_none_is_counted_twice_within_its_time(bench: Bench) -> None:
    await bench.look(a=95, b=5)
    await bench.tick()
    for _ in range(2):
        bench.answer("a", good=10)
        await bench.tick()
        await bench.router.refresh(REF, max_age_seconds=0.9)
    assert [tick["a"] for tick in bench.taken()] == [(10, 0), (10, 0)]


async def test_who_counts_and_begins_at_zero_again_loses_and_repeats_nothing(bench: Bench) -> None:
    await bench.look(a=95, b=5)
    bench.answer("a", good=100, bad=10)
    await bench.tick()
    bench.begin_at_zero()
    bench.answer("a", good=6, bad=2)
    await bench.tick()
    assert [tick["a"] for tick in bench.taken()] == [(8, 2)]


async def test_latencies_are_counted_too(bench: Bench) -> None:
    await bench.look(a=95, b=5)
    await bench.tick()
    bench.answer("a", good=10)
    await bench.tick()
    ((tick),) = bench.router.take(REF)
    assert sum(tick.counts["a"].latency.counts) == 10
    assert tick.counts["a"].latency.counts[0] == 10


async def test_a_revision_is_warm_when_it_can_answer_and_the_router_knows_it(bench: Bench) -> None:
    await bench.router.prepare(bench.split)
    await bench.tick()
    assert bench.router.warm(REF) == frozenset()
    await bench.look(a=100, b=0, c=0)
    await bench.tick()
    assert bench.router.warm(REF) == {"a", "b"}
    bench.make_warm("c")
    await bench.tick()
    assert bench.router.warm(REF) == {"a", "b", "c"}


async def test_a_split_that_is_withdrawn_is_led_no_more_in_the_end(bench: Bench) -> None:
    await bench.look(a=95, b=5)
    await bench.tick()
    bench.answer("a", good=5)
    await bench.tick()
    while (pause := await bench.router.withdraw(REF)) is not None:
        await bench.pass_time(pause)
    assert bench.weights() == {}
    assert bench.taken() == []


async def test_a_split_that_comes_back_before_it_was_gone_stays(bench: Bench) -> None:
    await bench.look(a=95, b=5)
    await bench.router.withdraw(REF)
    assert (await bench.look(a=95, b=5)).complete
    assert bench.weights() == {"a": 95, "b": 5}


async def test_withdrawing_what_was_never_led_is_fine(bench: Bench) -> None:
    while (pause := await bench.router.withdraw(REF)) is not None:
        await bench.pass_time(pause)
    assert bench.weights() == {}


def written(bench: Bench) -> int:
    return len(bench.api.writes) if isinstance(bench, GatewayBench) else 0
