"""Live traffic under a policy: drift is named, restarts and bad pods change nothing, and who cannot judge says why."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from tests.fakes.counting_pods import CountingPod, Values, profile_of
from tests.fakes.shop import PROFILE_SECONDS, Shop

from penstock_contract.profile import Profile
from penstock_operator.core.names import REVISION
from penstock_operator.core.objects import Kind

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
    return {
        "target": {"kind": "ModelDeployment", "name": "fraud"},
        "windowRows": WINDOW,
        "drift": {"inputs": {}, "outputs": {}, "correlation": True, "contribution": {}},
        "dataQuality": {},
        **changes,
    }


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
