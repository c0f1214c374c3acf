"""Live traffic under a policy: drift is named, restarts and bad pods change nothing, and who cannot judge says why."""

import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from tests.fakes.counting_pods import CountingPod, Values, profile_of
from tests.fakes.shop import PROFILE_SECONDS, Shop

from penstock_contract.feedback import FeedbackCounts
from penstock_contract.profile import Profile
from penstock_operator.core.names import REVISION
from penstock_operator.core.objects import Kind
from penstock_server.profile.binding import without_model
from penstock_server.profile.build import Choices, build
from penstock_server.profile.table import Table

DP, TS, MD = Kind.DRIFT_POLICY, Kind.TRAFFIC_SPLIT, Kind.MODEL_DEPLOYMENT
WINDOW = 200


def rows(rng: np.random.Generator, count: int, **shift: float) -> Values:
    columns = {name: rng.normal(size=count) for name in ("amount", "age", "hour")}
    for name, by in shift.items():
        columns[name] = columns[name] + by
    noise = 0.5 * rng.normal(size=count)
    score = 1 / (1 + np.exp(-(columns["amount"] + 0.5 * columns["age"] + noise)))
    return {**columns, "score": score}


def model(digit: int, **labels: str) -> dict[str, Any]:
    return {"model": {"uri": f"s3://models/fraud/{digit}/model.onnx", "sha256": f"{digit:064x}"}}


def policy(**changes: Any) -> dict[str, Any]:
    asked = {
        "target": {"kind": "ModelDeployment", "name": "fraud"},
        "windowRows": WINDOW,
        "drift": {"inputs": {}, "outputs": {}, "correlation": True, "contribution": {}},
        "dataQuality": {},
        **changes,
    }
    return {name: value for name, value in asked.items() if value is not None}


class Traffic:
    """Feeds the pods of models, window by window."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.rng = np.random.default_rng(11)
        self.profile: Profile = profile_of(rows(self.rng, 20_000))

    def serve(self, name: str = "fraud", **counting: Any) -> list[CountingPod]:
        """Make counting pods of the ready pods of a model's stable revision; return them all."""
        revision = self.shop.status(MD, name)["stableRevision"]
        names = [pod["metadata"]["name"] for pod in self.shop.cluster.list(Kind.POD, "shop", {REVISION: revision})]
        for pod in names:
            if pod not in self.shop.serving.pods:
                profile = counting.get("profile", self.profile)
                self.shop.serving.pods[pod] = CountingPod(profile, error=counting.get("error"))
        return [self.shop.serving.pods[pod] for pod in names]

    async def windows(self, count: int, *pods: CountingPod, **shift: float) -> None:
        """Answer one window of rows over the pods in each interval."""
        for _ in range(count):
            for pod in pods:
                pod.now = self.shop.clock.now()
                pod.serve(rows(self.rng, WINDOW // len(pods), **shift))
            await self.shop.run(PROFILE_SECONDS)


@pytest.fixture
async def traffic(shop: Shop) -> Traffic:
    shop.apply(MD, "fraud", {**model(1), "replicas": 2})
    await shop.settle()
    return Traffic(shop)


def signal(shop: Shop, name: str) -> dict[str, Any]:
    found = [one for one in shop.status(DP, "guard").get("signals", ()) if one["name"] == name]
    return found[0] if found else {}


def alarm(shop: Shop, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in shop.status(DP, "guard")["alarms"] if one["name"] == name)
    return found


async def test_a_feature_that_moves_is_named_with_its_numbers(shop: Shop, traffic: Traffic) -> None:
    pods = traffic.serve()
    shop.apply(DP, "guard", policy())
    await shop.settle()
    await traffic.windows(12, *pods)
    assert shop.condition(DP, "guard", "Healthy")["status"] == "True"
    assert shop.condition(DP, "guard", "Watching")["status"] == "True"

    await traffic.windows(3, *pods, amount=1.0)

    healthy = shop.condition(DP, "guard", "Healthy")
    assert (healthy["status"], healthy["reason"]) == ("False", "InputDrift")
    assert healthy["message"].startswith("amount: PSI ")
    assert "explains" in healthy["message"]
    assert signal(shop, "inputs/amount")["verdict"] == "Fail"
    assert signal(shop, "inputs/amount")["psi"] > 0.1
    assert signal(shop, "inputs/hour")["verdict"] == "Pass"
    assert shop.status(DP, "guard")["worst"] == "inputs/amount"


def test_an_operator_that_watches_no_traffic_loads_nothing_that_judges_it() -> None:
    program = "import penstock_operator.__main__, sys; print({'numpy', 'scipy'} & sys.modules.keys() or 'neither')"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert said.stdout == "neither\n"


async def test_an_alarm_outlives_a_restart_as_the_same_alarm_and_ends_with_the_drift(
    shop: Shop, traffic: Traffic
) -> None:
    pods = traffic.serve()
    shop.apply(DP, "guard", policy())
    await shop.settle()
    await traffic.windows(3, *pods)
    await traffic.windows(3, *pods, amount=1.0)
    before = alarm(shop, "inputs/amount")
    judged = shop.status(DP, "guard")["windows"]["judged"]

    shop.restart_operator()
    await traffic.windows(4, *pods, amount=1.0)
    after = alarm(shop, "inputs/amount")
    assert (after["window"], after["since"]) == (before["window"], before["since"])
    assert shop.status(DP, "guard")["windows"]["judged"] > judged

    await traffic.windows(30, *pods)
    assert shop.condition(DP, "guard", "Healthy")["status"] == "True"


async def test_rows_that_were_counted_before_anybody_watched_are_not_judged(shop: Shop, traffic: Traffic) -> None:
    pods = traffic.serve()
    for pod in pods:
        pod.now = shop.clock.now() - 1000
        pod.serve(rows(traffic.rng, 5000, amount=3.0))
    shop.apply(DP, "guard", policy())
    await shop.settle()
    await traffic.windows(4, *pods)
    assert shop.condition(DP, "guard", "Healthy")["status"] == "True"
    assert shop.status(DP, "guard")["windows"]["rows"] <= 4 * WINDOW


async def test_pods_that_start_anew_repeat_themselves_or_are_late_change_no_count(shop: Shop, traffic: Traffic) -> None:
    one, other = traffic.serve()
    shop.apply(DP, "guard", policy())
    await shop.settle()
    await traffic.windows(2, one, other)
    one.restart()
    await traffic.windows(2, one, other)
    one.lies = {"seq": 1}  # an answer of long ago, from some cache
    await traffic.windows(1, one, other)
    one.lies = {}
    await traffic.windows(1, one, other)
    await shop.run(10 * PROFILE_SECONDS)
    target = shop.status(DP, "guard")["targets"][0]
    assert target["rows"] + target["waiting"] == 6 * WINDOW


async def test_while_too_few_pods_are_read_nothing_is_judged_and_nothing_is_lost(shop: Shop, traffic: Traffic) -> None:
    one, other = traffic.serve()
    shop.apply(DP, "guard", policy())
    await shop.settle()
    await traffic.windows(2, one, other)
    silent = next(name for name, pod in shop.serving.pods.items() if pod is other)
    shop.serving.silent.add(silent)
    await traffic.windows(3, one, other)
    watching = shop.condition(DP, "guard", "Watching")
    assert (watching["status"], watching["reason"]) == ("False", "PartialCoverage")
    assert "50%" in watching["message"]
    assert shop.condition(DP, "guard", "Healthy")["reason"] == "CannotJudge"

    shop.serving.silent.clear()
    await traffic.windows(1, one, other)
    await shop.run(10 * PROFILE_SECONDS)
    target = shop.status(DP, "guard")["targets"][0]
    assert target["rows"] + target["waiting"] == 6 * WINDOW
    assert shop.condition(DP, "guard", "Watching")["reason"] == "Watching"


async def test_a_pod_that_lies_is_named_and_left_out(shop: Shop, traffic: Traffic) -> None:
    shop.apply(MD, "fraud", {**model(1), "replicas": 5})
    await shop.settle()
    liar, *honest = traffic.serve()
    shop.apply(DP, "guard", policy())
    await shop.settle()
    await traffic.windows(2, liar, *honest)
    counts = liar.message()["counts"]
    counts["columns"][0]["bins"][3] += 10_000_000
    liar.lies = {"counts": counts}
    await traffic.windows(4, liar, *honest)
    watching = shop.condition(DP, "guard", "Watching")
    name = next(name for name, pod in shop.serving.pods.items() if pod is liar)
    assert (watching["status"], watching["reason"]) == ("False", "CountsRefused")
    assert watching["message"].startswith(f"pod {name} is not believed: a column of it has more values")
    assert shop.condition(DP, "guard", "Healthy")["status"] == "True"


async def test_a_model_without_a_profile_is_told_how_to_get_one(shop: Shop, traffic: Traffic) -> None:
    traffic.serve(profile=None)
    shop.apply(DP, "guard", policy())
    await shop.settle()
    watching = shop.condition(DP, "guard", "Watching")
    assert (watching["status"], watching["reason"]) == ("False", "ReferenceMissing")
    assert "penstock-profile" in watching["message"]
    assert shop.condition(DP, "guard", "Healthy")["status"] == "Unknown"


async def test_a_profile_that_the_pods_refuse_is_told_with_their_words(shop: Shop, traffic: Traffic) -> None:
    traffic.serve(profile=None, error="profile.json: it was made for a model with sha256 9f2c")
    shop.apply(DP, "guard", policy())
    await shop.settle()
    assert "it was made for a model with sha256 9f2c" in shop.condition(DP, "guard", "Watching")["message"]


async def test_a_reference_that_is_too_small_shortens_windows_or_is_refused(shop: Shop, traffic: Traffic) -> None:
    traffic.serve(profile=profile_of(rows(traffic.rng, 1000)))
    shop.apply(DP, "guard", policy())
    await shop.settle()
    assert shop.status(DP, "guard")["targets"][0]["windowRows"] == 100
    assert "make a profile of 2000 rows" in shop.condition(DP, "guard", "Watching")["message"]

    shop.apply(MD, "small", model(2))
    await shop.settle()
    traffic.serve("small", profile=profile_of(rows(traffic.rng, 300)))
    shop.apply(DP, "guard", policy(target={"kind": "ModelDeployment", "name": "small"}))
    await shop.run(PROFILE_SECONDS)
    watching = shop.condition(DP, "guard", "Watching")
    assert (watching["status"], watching["reason"]) == ("False", "ReferenceTooSmall")
    assert "has 300 rows, and the shortest windows need 500" in watching["message"]


async def test_too_few_rows_say_how_many_are_needed(shop: Shop, traffic: Traffic) -> None:
    pods = traffic.serve()
    shop.apply(DP, "guard", policy(windowRows=1000))
    await shop.settle()
    await traffic.windows(2, *pods)
    watching = shop.condition(DP, "guard", "Watching")
    assert (watching["status"], watching["reason"]) == ("Unknown", "CollectingRows")
    await shop.run(10 * PROFILE_SECONDS)
    assert shop.condition(DP, "guard", "Watching")["message"].startswith("400 of 1000 rows that a window needs")


async def test_one_policy_watches_all_models_with_a_label_and_names_the_one_that_drifts(
    shop: Shop, traffic: Traffic
) -> None:
    names = [f"risk-{digit}" for digit in range(4)]
    for digit, name in enumerate(names):
        shop.apply(MD, name, model(digit + 2), labels={"team": "risk"})
    await shop.settle()
    pods = {name: traffic.serve(name) for name in names}
    shop.apply(DP, "guard", policy(target={"kind": "ModelDeployment", "selector": {"matchLabels": {"team": "risk"}}}))
    await shop.run(PROFILE_SECONDS)
    assert shop.condition(DP, "guard", "Ready")["message"] == "watches the traffic of 4 ModelDeployments"
    for _ in range(4):
        for name in names:
            for pod in pods[name]:
                pod.now = shop.clock.now()
                pod.serve(rows(traffic.rng, WINDOW // 2, age=1.0 if name == "risk-2" else 0.0))
        await shop.run(PROFILE_SECONDS)
    healthy = shop.condition(DP, "guard", "Healthy")
    assert (healthy["status"], healthy["reason"]) == ("False", "InputDrift")
    assert healthy["message"].startswith("risk-2: age: PSI")
    assert {one["modelDeployment"] for one in shop.status(DP, "guard")["signals"] if one["verdict"] == "Fail"} == {
        "risk-2"
    }
    assert len(shop.status(DP, "guard")["targets"]) == 4


async def test_a_broken_join_is_named_by_its_contribution_while_its_own_distribution_sleeps(
    shop: Shop, traffic: Traffic
) -> None:
    pods = traffic.serve()
    shop.apply(DP, "guard", policy())
    await shop.settle()
    await traffic.windows(3, *pods)
    for _ in range(6):
        for pod in pods:
            broken = dict(rows(traffic.rng, WINDOW // 2))
            broken["amount"] = traffic.rng.permutation(broken["amount"])
            pod.now = shop.clock.now()
            pod.serve(broken)
        await shop.run(PROFILE_SECONDS)
    healthy = shop.condition(DP, "guard", "Healthy")
    assert (healthy["status"], healthy["reason"]) == ("False", "ContributionDrift")
    assert healthy["message"].startswith("the output no longer follows amount")
    assert signal(shop, "inputs/amount")["verdict"] == "Pass"


async def test_values_that_go_missing_are_told_with_their_share(shop: Shop, traffic: Traffic) -> None:
    pods = traffic.serve()
    shop.apply(DP, "guard", policy())
    await shop.settle()
    for _ in range(3):
        for pod in pods:
            holes = dict(rows(traffic.rng, WINDOW // 2))
            holes["age"][: WINDOW // 20] = np.nan
            pod.now = shop.clock.now()
            pod.serve(holes)
        await shop.run(PROFILE_SECONDS)
    healthy = shop.condition(DP, "guard", "Healthy")
    assert (healthy["status"], healthy["reason"]) == ("False", "DataQualityBreached")
    assert healthy["message"].startswith("age: 10% missing over")
    assert healthy["message"].partition(" (and")[0].endswith("0% in the reference, limit 2%")


async def test_silence_after_traffic_is_an_alarm_that_ends_with_the_next_row(shop: Shop, traffic: Traffic) -> None:
    pods = traffic.serve()
    shop.apply(DP, "guard", policy(dataQuality={"silenceMax": "10m"}))
    await shop.settle()
    await shop.run(3600)
    assert shop.condition(DP, "guard", "Healthy")["status"] == "Unknown"  # there never was a row
    await traffic.windows(2, *pods)
    await shop.run(700)
    assert shop.condition(DP, "guard", "Healthy")["reason"] == "DataQualityBreached"
    assert "no row has come for" in shop.condition(DP, "guard", "Healthy")["message"]
    await traffic.windows(4, *pods)
    assert shop.condition(DP, "guard", "Healthy")["status"] == "True"


async def test_numbers_alone_are_written_now_and_then_and_nothing_without_traffic(shop: Shop, traffic: Traffic) -> None:
    pods = traffic.serve()
    shop.apply(DP, "guard", policy())
    await shop.settle()
    await traffic.windows(12, *pods)
    before = len(shop.cluster.writes)
    await traffic.windows(20, *pods)
    assert len(shop.cluster.writes) - before <= 3
    await shop.run(20 * PROFILE_SECONDS)
    before = len(shop.cluster.writes)
    await shop.run(20 * PROFILE_SECONDS)
    assert len(shop.cluster.writes) - before <= 2
    assert [write for write in await shop.writes_while_quiet() if write.changed] == []


async def test_what_is_watched_is_at_metrics_until_the_policy_goes(shop: Shop, traffic: Traffic) -> None:
    pods = traffic.serve()
    shop.apply(DP, "guard", policy())
    await shop.settle()
    await traffic.windows(2, *pods)
    await traffic.windows(2, *pods, hour=2.0)
    shown = {
        (sample.name, sample.labels.get("signal")): sample.value
        for family in shop.drift.collect()
        for sample in family.samples
    }
    assert shown["penstock_drift_alarm", "inputs/hour"] == 1
    assert shown["penstock_drift_psi", "inputs/hour"] > 1
    assert shown["penstock_drift_psi", "inputs/amount"] < 0.2
    assert shown["penstock_drift_rows_total", None] == 4 * WINDOW
    assert shown["penstock_drift_coverage_ratio", None] == 1
    shop.delete(DP, "guard")
    await shop.settle()
    assert [sample.name for family in shop.drift.collect() for sample in family.samples] == [
        "penstock_drift_signals_omitted"
    ]


async def test_labels_that_say_less_than_was_asked_for_are_an_alarm_and_are_shown(shop: Shop, traffic: Traffic) -> None:
    pods = traffic.serve()
    shop.apply(DP, "guard", policy(drift=None, dataQuality=None, performance={"labelled": {"min": 0.9}}))
    await shop.settle()
    for number in range(1, 5):
        for pod in pods:
            right = 60 * number if number <= 2 else 120 + 30 * (number - 2)
            wrong = 4 * number if number <= 2 else 8 + 34 * (number - 2)
            pod.feedback = FeedbackCounts(
                matched=right + wrong,
                lag_milliseconds=(right + wrong) * 90_000,
                confusion={"1": {"1": right, "0": wrong}},
            )
        await traffic.windows(1, *pods)
        if number == 2:
            assert shop.condition(DP, "guard", "Healthy")["status"] == "True"
    healthy = shop.condition(DP, "guard", "Healthy")
    assert (healthy["status"], healthy["reason"]) == ("False", "PerformanceBreached")
    assert healthy["message"] == "accuracy 47% of 128 labels, limit 90%; labels come after 1.5 min"
    await shop.run(11 * PROFILE_SECONDS)
    shown = shop.status(DP, "guard")["targets"][0]["performance"]
    assert (shown["labels"], shown["labelLagSeconds"]) == (512, 90)
    assert shown["accuracy"] == pytest.approx(360 / 512)


async def test_an_estimate_below_what_was_asked_for_needs_no_labels(shop: Shop, traffic: Traffic) -> None:
    values = rows(traffic.rng, 20_000)
    truth = (traffic.rng.random(20_000) < values["score"]).astype(np.int64)
    inputs, outputs = without_model(Table(arrays=dict(values)), ("score",))
    pods = traffic.serve(profile=build(inputs, outputs, labels=truth, choices=Choices()))
    asked = {"estimated": {"min": 0.6}}
    shop.apply(DP, "guard", policy(drift=None, dataQuality=None, performance=asked))
    await shop.settle()
    await traffic.windows(4, *pods)
    assert shop.condition(DP, "guard", "Healthy")["status"] == "True"
    for _ in range(24):  # the model is sure of nothing any more
        for pod in pods:
            vague = dict(rows(traffic.rng, WINDOW // 2))
            vague["score"] = 0.5 + (vague["score"] - 0.5) / 20
            pod.now = shop.clock.now()
            pod.serve(vague)
        await shop.run(PROFILE_SECONDS)
    healthy = shop.condition(DP, "guard", "Healthy")
    assert (healthy["status"], healthy["reason"]) == ("False", "PerformanceBreached")
    assert re.match(r"estimated accuracy (49|5\d)% ± 1\.\d% over 3200 rows, limit 60%", healthy["message"])


async def test_a_candidate_that_answers_otherwise_on_the_same_traffic_is_taken_back(
    shop: Shop, traffic: Traffic
) -> None:
    asked = policy(
        target={"name": "fraud"},
        actions=[{"signals": ["Outputs"], "when": "AttributableToRevision", "do": ["Rollback", "Alert"]}],
    )
    shop.apply(DP, "guard", asked)
    steps = [{"weight": 50, "hold": "2h"}, {"weight": 100}]
    split = {"stable": {"modelDeployment": "fraud"}, "strategy": {"steps": steps}, "policies": ["guard"]}
    shop.apply(TS, "fraud", split)
    await shop.run(5)
    stable = traffic.serve()
    shop.apply(MD, "fraud", {**model(2), "replicas": 2})
    await shop.settle()
    latest = shop.status(MD, "fraud")["latestRevision"]
    await shop.run(60, until=lambda: bool(shop.status(TS, "fraud")["candidates"][0]["weight"]))
    names = [pod["metadata"]["name"] for pod in shop.cluster.list(Kind.POD, "shop", {REVISION: latest})]
    for name in names:
        shop.serving.pods[name] = CountingPod(traffic.profile)
    candidate = [shop.serving.pods[name] for name in names]
    await shop.run(PROFILE_SECONDS)
    assert {one["role"] for one in shop.status(DP, "guard")["targets"]} == {"Stable", "Candidate"}
    for _ in range(8):
        for pod in (*stable, *candidate):
            answered = dict(rows(traffic.rng, WINDOW // 2))
            if pod in candidate:
                answered["score"] = answered["score"] ** 4
            pod.now = shop.clock.now()
            pod.serve(answered)
        await shop.run(PROFILE_SECONDS)
    rejected = shop.status(TS, "fraud")["rejected"]
    assert [(one["revision"], one["by"]) for one in rejected] == [(latest, "guard/outputs/score")]


async def test_a_model_without_ready_pods_says_so_and_goes_on_when_they_are_back(shop: Shop, traffic: Traffic) -> None:
    pods = traffic.serve()
    shop.apply(DP, "guard", policy())
    await shop.settle()
    await traffic.windows(2, *pods)
    shop.apply(MD, "fraud", {**model(1), "replicas": 0})
    await shop.run(2 * PROFILE_SECONDS)
    assert shop.condition(DP, "guard", "Watching")["reason"] == "NoReadyPods"
    assert shop.condition(DP, "guard", "Healthy")["status"] == "Unknown"
    shop.apply(MD, "fraud", {**model(1), "replicas": 2})
    await shop.settle()
    await traffic.windows(2, *traffic.serve())
    assert shop.condition(DP, "guard", "Watching")["reason"] == "Watching"


async def test_two_policies_of_one_model_ask_its_pods_once(shop: Shop, traffic: Traffic) -> None:
    pods = traffic.serve()
    for name in ("guard", "other"):
        shop.apply(DP, name, policy())
    await shop.settle()
    shop.serving.asked.clear()
    await traffic.windows(3, *pods)
    counts = [name for name, path in shop.serving.asked if path == "/v1/profile"]
    assert len(counts) <= 2 * (3 + 1)
    assert shop.status(DP, "guard")["windows"]["judged"] == shop.status(DP, "other")["windows"]["judged"] > 0


async def test_a_policy_of_drift_alone_lets_no_candidate_pass(shop: Shop, traffic: Traffic) -> None:
    shop.apply(DP, "guard", policy(target={"name": "fraud"}))
    steps = [{"weight": 50, "hold": "10s", "require": "Pass"}, {"weight": 100}]
    split = {"stable": {"modelDeployment": "fraud"}, "strategy": {"steps": steps}, "policies": ["guard"]}
    shop.apply(TS, "fraud", split)
    await shop.run(5)
    shop.apply(MD, "fraud", {**model(2), "replicas": 2})
    await shop.run(600)
    assert shop.status(TS, "fraud")["candidates"][0]["weight"] == 50
    assert "no policy of spec.policies has a metric" in shop.condition(TS, "fraud", "Promoted")["message"]
