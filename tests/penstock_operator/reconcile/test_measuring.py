"""Sources are asked at their own pace, beside the ticks; one that hangs or breaks hurts only itself."""

import asyncio
from collections.abc import Callable

from tests.fakes.clock import FakeClock

from penstock_operator.core.judge.counts import Reading
from penstock_operator.core.objects import Kind, ObjectRef
from penstock_operator.core.questions import Answer, Asked, Question
from penstock_operator.reconcile.measuring import Measuring

SPLIT = ObjectRef(kind=Kind.TRAFFIC_SPLIT, namespace="shop", name="fraud")
Says = Callable[[Question], Answer]


class Source:
    """Answers as it is told, when it is let."""

    def __init__(self) -> None:
        self.says: Says = lambda _: Answer(value=1.0)
        self.open = asyncio.Event()
        self.open.set()
        self.asked: list[str] = []
        self.at_once = 0
        self.most_at_once = 0

    async def answer(self, question: Question) -> Answer:
        self.asked.append(question.text)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self.open.wait()
        finally:
            self.at_once -= 1
        return self.says(question)


def asked(key: str = "guard/sales", *, text: str = "q", interval: float = 30.0, compares: bool = True) -> Asked:
    def question(arm: str) -> Question:
        return Question(source="Prometheus", namespace="shop", text=f"{text}-{arm}")

    return Asked(
        key=key,
        interval_seconds=interval,
        candidate=question("candidate"),
        stable=question("stable") if compares else None,
    )


class Bench:
    def __init__(self) -> None:
        self.source, self.clock = Source(), FakeClock()
        self.measuring = Measuring(
            sources={"Prometheus": self.source}, clock=self.clock, monotonic=self.clock.monotonic
        )

    async def readings(self, *wanted: Asked, after: float = 0.0, candidate: str = "fraud-b") -> dict[str, Reading]:
        self.clock.move_to(self.clock.now() + after)
        found = self.measuring.readings(SPLIT, candidate, wanted or [asked()])
        for _ in range(10):
            await asyncio.sleep(0)
        return found


async def test_the_first_look_asks_and_the_next_one_knows() -> None:
    bench = Bench()
    assert await bench.readings() == {}
    found = await bench.readings(after=2)

    assert found["guard/sales"] == Reading(at=bench.clock.now() - 2, stable=1.0, candidate=1.0)
    assert sorted(bench.source.asked) == ["q-candidate", "q-stable"]


async def test_a_source_is_asked_again_after_its_interval_and_no_earlier() -> None:
    bench = Bench()
    for _ in range(16):
        await bench.readings(after=2)
    assert len(bench.source.asked) == 4


async def test_what_is_held_to_a_limit_is_asked_of_the_candidate_alone() -> None:
    bench = Bench()
    await bench.readings(asked(compares=False))
    assert bench.source.asked == ["q-candidate"]


async def test_a_look_does_not_wait_for_a_source_that_hangs_and_does_not_ask_it_twice() -> None:
    bench = Bench()
    bench.source.open.clear()
    for _ in range(20):
        assert await bench.readings(after=10) == {}
    assert len(bench.source.asked) == 2
    bench.source.open.set()
    await bench.readings()
    assert (await bench.readings())["guard/sales"].candidate == 1.0


async def test_a_source_that_hangs_after_it_answered_has_no_last_word_for_long() -> None:
    bench = Bench()
    await bench.readings()
    bench.source.open.clear()
    assert not (await bench.readings(after=80))["guard/sales"].problem
    assert (await bench.readings(after=20))["guard/sales"].problem == "no answer for 100 s"


async def test_what_goes_wrong_is_told_and_the_next_answer_mends_it() -> None:
    bench = Bench()
    bench.source.says = lambda _: Answer(problem="Prometheus cannot be asked")
    await bench.readings()
    assert "cannot be asked" in (await bench.readings())["guard/sales"].problem
    bench.source.says = lambda _: Answer(value=2.0)
    await bench.readings(after=30)
    assert (await bench.readings())["guard/sales"].candidate == 2.0


async def test_a_source_that_breaks_stops_no_other() -> None:
    def broken(question: Question) -> Answer:
        if question.text.startswith("bad"):
            raise RuntimeError("a fault of ours")
        return Answer(value=1.0)

    bench = Bench()
    bench.source.says = broken
    wanted = (asked("guard/bad", text="bad"), asked("guard/good", text="good"))
    await bench.readings(*wanted)
    found = await bench.readings(*wanted)
    assert found["guard/bad"].problem == "asking failed: RuntimeError"
    assert found["guard/good"].candidate == 1.0


async def test_a_question_that_changed_begins_afresh() -> None:
    bench = Bench()
    await bench.readings(asked(text="old"))
    assert await bench.readings(asked(text="new")) == {}
    assert bench.source.asked[-2:] == ["new-candidate", "new-stable"]


async def test_candidates_are_asked_about_one_by_one() -> None:
    bench = Bench()
    await bench.readings(candidate="fraud-b")
    assert await bench.readings(candidate="fraud-c") == {}
    bench.measuring.forget(SPLIT, but=["fraud-c"])
    assert await bench.readings(candidate="fraud-b") == {}
    assert "guard/sales" in await bench.readings(candidate="fraud-c")


async def test_who_is_forgotten_is_asked_no_more() -> None:
    bench = Bench()
    bench.source.open.clear()
    await bench.readings()
    bench.measuring.forget(SPLIT)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert bench.source.at_once == 0


async def test_however_many_metrics_there_are_few_are_asked_at_once() -> None:
    bench = Bench()
    bench.source.open.clear()
    await bench.readings(*(asked(f"guard/m{index}", compares=False) for index in range(50)))
    assert bench.source.most_at_once == 16
    bench.measuring.forget(SPLIT)
