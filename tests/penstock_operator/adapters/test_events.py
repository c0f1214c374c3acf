"""The event recorder against a scripted API."""

import asyncio
from typing import Any

import pytest

from penstock_operator.adapters.api_client import Conflict
from penstock_operator.adapters.events import EventRecorder
from penstock_operator.core.objects import Kind, ObjectRef
from penstock_operator.core.plan import EventRecord
from penstock_operator.ports import ClusterUnavailable, NotLeading, RequestRejected

PROMOTED = EventRecord(type="Normal", reason="Promoted", message="fraud-2 is stable")


def ref(name: str = "fraud") -> ObjectRef:
    return ObjectRef(kind=Kind.TRAFFIC_SPLIT, namespace="shop", name=name)


class FakeApi:
    """Keeps Events by path, and fails on demand."""

    def __init__(self) -> None:
        self.events: dict[str, dict[str, Any]] = {}
        self.failures: list[Exception] = []
        self.requests: list[str] = []
        self.asked = asyncio.Event()

    async def request(self, verb: str, path: str, *, resource: str, body: dict[str, Any]) -> dict[str, Any] | None:
        assert resource == "events"
        self.requests.append(verb)
        self.asked.set()
        if self.failures:
            raise self.failures.pop(0)
        if verb == "create":
            path = f"{path}/{body['metadata']['name']}"
            if path in self.events:
                raise Conflict("exists")
            self.events[path] = dict(body)
        elif path not in self.events:
            return None
        else:
            self.events[path] |= body
        return self.events[path]

    @property
    def only(self) -> dict[str, Any]:
        (event,) = self.events.values()
        return event


class Bench:
    """A recorder, its API, its clock and its count of drops."""

    def __init__(self, api: FakeApi | None = None, **settings: Any) -> None:
        self.api = api or FakeApi()
        self.now = 0.0
        self.dropped = 0
        self.recorder = EventRecorder(
            self.api,  # type: ignore[arg-type] # only request() is used
            instance="penstock-0",
            on_drop=self.drop,
            clock=lambda: self.now,
            **settings,
        )

    def drop(self) -> None:
        self.dropped += 1

    def record(self, event: EventRecord = PROMOTED, name: str = "fraud") -> None:
        about = {"metadata": {"name": name, "namespace": "shop", "uid": f"uid-of-{name}"}}
        self.recorder.record(ref(name), about, event)


async def test_an_event_names_its_object_so_that_describe_finds_it() -> None:
    bench = Bench()
    bench.record()
    await bench.recorder.flush()
    event = bench.api.only
    assert event["involvedObject"] == {
        "apiVersion": "penstock.dev/v1alpha1",
        "kind": "TrafficSplit",
        "namespace": "shop",
        "name": "fraud",
        "uid": "uid-of-fraud",
    }
    assert (event["type"], event["reason"], event["message"]) == ("Normal", "Promoted", "fraud-2 is stable")
    assert event["count"] == 1
    assert event["firstTimestamp"].endswith("Z")


async def test_the_same_words_count_up_one_event() -> None:
    bench = Bench()
    for _ in range(3):
        bench.record()
        await bench.recorder.flush()
    assert bench.api.only["count"] == 3
    assert bench.api.requests == ["create", "patch", "patch"]


async def test_other_words_are_another_event() -> None:
    bench = Bench()
    bench.record()
    bench.record(EventRecord(type="Warning", reason="RolledBack", message="errors"))
    bench.record(name="other")
    await bench.recorder.flush()
    assert len(bench.api.events) == 3


async def test_a_restarted_operator_counts_on() -> None:
    first = Bench()
    first.record()
    await first.recorder.flush()
    second = Bench(first.api)
    second.record()
    await second.recorder.flush()
    assert second.api.only["count"] == 2


async def test_an_event_that_expired_at_the_server_is_made_again() -> None:
    bench = Bench()
    bench.record()
    await bench.recorder.flush()
    bench.api.events.clear()
    bench.record()
    await bench.recorder.flush()
    assert bench.api.only["count"] == 1


async def test_one_noisy_object_is_limited_and_the_others_are_not() -> None:
    bench = Bench(burst=5, per_minute=10)
    for number in range(50):
        bench.record(EventRecord(type="Normal", reason="Noise", message=str(number)))
    bench.record(name="quiet")
    await bench.recorder.flush()
    assert len(bench.api.events) == 6
    assert bench.dropped == 45


async def test_the_limit_is_so_many_in_a_minute() -> None:
    bench = Bench(burst=5, per_minute=10)
    for number in range(600):
        bench.now = number * 0.5
        bench.record(EventRecord(type="Normal", reason="Noise", message=str(number)))
    await bench.recorder.flush()
    assert len(bench.api.events) == pytest.approx(5 + 50, abs=2)


async def test_a_full_queue_drops_and_counts() -> None:
    bench = Bench()
    for number in range(1200):
        bench.record(name=f"split-{number}")
    assert bench.dropped == 200


async def test_an_unavailable_server_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_once(_: float) -> None:
        pass

    monkeypatch.setattr(asyncio, "sleep", at_once)
    bench = Bench()
    bench.api.failures = [ClusterUnavailable("down"), ClusterUnavailable("down")]
    bench.record()
    await bench.recorder.flush()
    assert bench.api.only["count"] == 1
    assert bench.dropped == 0


@pytest.mark.parametrize("failure", [RequestRejected("no", 403, "Forbidden"), NotLeading("lost")])
async def test_a_refused_event_is_dropped_and_the_next_one_sent(failure: Exception) -> None:
    bench = Bench()
    bench.api.failures = [failure]
    bench.record()
    bench.record(name="other")
    await bench.recorder.flush()
    assert bench.dropped == 1
    assert bench.api.only["involvedObject"]["name"] == "other"


async def test_long_words_and_names_fit_into_an_event() -> None:
    bench = Bench()
    bench.record(EventRecord(type="Normal", reason="Long", message="x" * 5000), name="n" * 253)
    await bench.recorder.flush()
    assert len(bench.api.only["message"]) == 1024
    assert len(bench.api.only["metadata"]["name"]) <= 253


async def test_a_running_recorder_sends_what_comes() -> None:
    bench = Bench()
    running = asyncio.create_task(bench.recorder.run())
    bench.record()
    async with asyncio.timeout(5):
        await bench.api.asked.wait()
    assert bench.api.only["reason"] == "Promoted"
    running.cancel()
