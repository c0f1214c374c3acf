"""Parts of the traffic under a policy: the one that moves is named, chance keeps to the budget, odd pods say why."""

from typing import Any

import numpy as np
import pytest
from tests.fakes.counting_pods import CountingPod, Values, profile_of
from tests.fakes.shop import PROFILE_SECONDS, Shop
from tests.penstock_operator.reconcile.test_drift_references import parts
from tests.penstock_operator.reconcile.test_drift_watch import DP, MD, Traffic, model, policy

from penstock_contract.profile import Profile, parse
from penstock_server.profile.binding import without_model
from penstock_server.profile.build import Choices, build
from penstock_server.profile.table import Table

ROWS = 600
COUNTRIES = np.array([b"de", b"at", b"ch", b"us"], dtype=object)
SEGMENTS = ("de", "at", "other")


def rows(rng: np.random.Generator, count: int, **shift: float) -> Values:
    """Return rows of which those of a country are shifted by its name."""
    country = rng.choice(COUNTRIES, count, p=(0.4, 0.3, 0.2, 0.1))
    amount = rng.normal(size=count) + np.where(country == b"at", 2.0, 0.0)
    for name, by in shift.items():
        amount = amount + by * (country == name.encode())
    return {"country": country, "amount": amount, "score": 1 / (1 + np.exp(-amount - rng.normal(size=count)))}


def segmented(**changes: Any) -> dict[str, Any]:
    drift = {"inputs": {}, "outputs": {}, "contribution": {}, "reference": "FirstRows", "firstRows": {"rows": 6000}}
    asked = policy(drift=drift, dataQuality={}, windowRows=200, segmentBy={"input": "country", "values": ["de", "at"]})
    return {**asked, **changes}


def parted_profile(values: Values) -> Profile:
    inputs, outputs = without_model(Table(arrays=dict(values)), ("score",))
    return parse(build(inputs, outputs, labels=None, choices=Choices(segment_by="country")).to_json())


class Parted(Traffic):
    """Rows of several countries."""

    def __init__(self, shop: Shop) -> None:
        super().__init__(shop)
        self.profile = profile_of(rows(self.rng, 20_000))

    async def answer(self, count: int, *pods: CountingPod, **shift: float) -> None:
        for _ in range(count):
            for pod in pods:
                pod.now = self.shop.clock.now()
                pod.serve(rows(self.rng, ROWS // len(pods), **shift))
            await self.shop.run(PROFILE_SECONDS)


@pytest.fixture
async def traffic(shop: Shop) -> Parted:
    shop.apply(MD, "fraud", {**model(1), "replicas": 2})
    await shop.settle()
    return Parted(shop)


def targets(shop: Shop) -> dict[str, dict[str, Any]]:
    return {one.get("segment", ""): one for one in shop.status(DP, "guard")["targets"]}


async def test_a_segment_that_moves_is_named_and_others_are_not(shop: Shop, traffic: Parted) -> None:
    pods = traffic.serve()
    shop.apply(DP, "guard", segmented())
    await shop.settle()
    # Each segment needs as many rows of its own, and other has 3 in 10.
    await traffic.answer(45, *pods)
    assert {name: one["reason"] for name, one in targets(shop).items()} == dict.fromkeys(("", *SEGMENTS), "Watching")
    assert shop.condition(DP, "guard", "Healthy")["status"] == "True"
    rows_judged = targets(shop)[""]["rows"]
    assert shop.status(DP, "guard")["windows"]["rows"] == rows_judged

    await traffic.answer(4, *pods, at=0.8)
    failing = [one for one in shop.status(DP, "guard")["signals"] if one["verdict"] == "Fail"]
    assert "inputs/amount [at]" in {one["name"] for one in failing}
    assert {one.get("segment") for one in failing} <= {"at", None}
    assert next(one for one in failing if one.get("segment") == "at")["message"].startswith("at: ")
    before = {one["name"]: one["window"] for one in shop.status(DP, "guard")["alarms"]}
    shown = {
        sample.labels["signal"]
        for family in shop.drift.collect()
        for sample in family.samples
        if sample.name == "penstock_drift_alarm"
    }
    assert "inputs/amount [at]" in shown

    shop.restart_operator()  # the same alarms go on, each in its own segment
    await traffic.answer(3, *pods, at=0.8)
    after = {one["name"]: one["window"] for one in shop.status(DP, "guard")["alarms"] if one["state"] != "Ended"}
    assert after["inputs/amount [at]"] == before["inputs/amount [at]"]
    assert not any(name.endswith(("[de]", "[other]")) for name in after)


async def test_all_segments_together_ask_a_pod_no_more_often_than_one(shop: Shop, traffic: Parted) -> None:
    pods = traffic.serve()
    shop.apply(DP, "guard", segmented())
    await shop.settle()
    shop.serving.asked.clear()
    await traffic.answer(4, *pods)
    counts = [path for _, path in shop.serving.asked if path.startswith("/v1/profile?")]
    assert counts == ["/v1/profile?segmentBy=country&value=de&value=at"] * len(counts)
    assert len(counts) <= 2 * (4 + 1)


async def test_each_segment_keeps_a_reference_of_its_own(shop: Shop, traffic: Parted) -> None:
    pods = traffic.serve()
    shop.apply(DP, "guard", segmented())
    await shop.settle()
    await traffic.answer(45, *pods)
    names = {part["metadata"]["name"].rpartition("-")[0] for part in parts(shop)}
    assert len(names) == 1 + len(SEGMENTS)
    shop.restart_operator()
    await traffic.answer(2, *pods)
    assert {one["reason"] for one in targets(shop).values()} <= {"Watching", "CollectingRows"}


async def test_a_profile_that_knows_its_segments_is_their_reference_from_the_first_window_on(
    shop: Shop, traffic: Parted
) -> None:
    traffic.profile = parted_profile(rows(traffic.rng, 20_000))
    pods = traffic.serve()
    shop.apply(DP, "guard", segmented(drift={"inputs": {}, "outputs": {}, "contribution": {}}))
    await shop.settle()
    await traffic.answer(4, *pods)
    assert {name: one["reason"] for name, one in targets(shop).items()} == dict.fromkeys(("", *SEGMENTS), "Watching")
    assert shop.condition(DP, "guard", "Healthy")["status"] == "True"
    await traffic.answer(4, *pods, us=2.0)  # a tenth of all rows, a third of the others
    failing = {one.get("segment") for one in shop.status(DP, "guard")["signals"] if one["verdict"] == "Fail"}
    assert "other" in failing
    assert failing <= {"other", None}


async def test_a_profile_that_does_not_know_its_segments_says_how_to_make_one(shop: Shop, traffic: Parted) -> None:
    pods = traffic.serve()
    shop.apply(DP, "guard", segmented(drift={"inputs": {}}))
    await shop.settle()
    await traffic.answer(2, *pods)
    told = targets(shop)
    assert (told["de"]["reason"], told[""]["reason"]) == ("ReferenceMissing", "Watching")
    assert "penstock-profile --segment-by country" in told["de"]["message"]


async def test_an_input_that_cannot_part_traffic_is_told_while_all_of_it_is_judged(shop: Shop, traffic: Parted) -> None:
    pods = traffic.serve()
    shop.apply(DP, "guard", segmented(segmentBy={"input": "amount", "values": ["1"]}))
    await shop.settle()
    await traffic.answer(14, *pods)
    told = targets(shop)
    assert told[""]["reason"] == "Watching"
    assert "the input 'amount' is numeric" in told["1"]["message"]
    assert shop.condition(DP, "guard", "Watching")["status"] == "False"


async def test_false_alarms_of_all_segments_together_stay_within_the_budget(shop: Shop, traffic: Parted) -> None:
    pods = traffic.serve()
    # One in 10 looks, over all of the traffic and its segments.
    looks = 60
    budget = 30 * 86_400 / PROFILE_SECONDS / 10
    shop.apply(DP, "guard", segmented(falseAlarms={"per30Days": budget}))
    await shop.settle()
    await traffic.answer(45, *pods)
    begun: set[tuple[str, str]] = set()
    for _ in range(looks):
        await traffic.answer(1, *pods)
        begun |= {(one["name"], one["window"]) for one in shop.status(DP, "guard").get("alarms", ())}
    assert len({window for _, window in begun}) <= looks / 10 * 1.6
