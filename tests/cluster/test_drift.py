"""Live traffic like the reference is healthy, and a broken join is named by its contribution while PSI sleeps."""

import json
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from examples.quickstart.quickstart import MODELS
from tests.cluster.api import Manifest, condition, wait
from tests.cluster.scene import PATIENCE_SECONDS, Scene, base64_text

pytestmark = [pytest.mark.cluster]

FEATURE = "mean radius"
WINDOW = 200
RATE = 80
Rows = npt.NDArray[np.float32]


def rows(rng: np.random.Generator, count: int) -> Rows:
    """Rows like those of the quickstart, none twice."""
    known = np.array([row["x"] for row in json.loads((MODELS / "rows.json").read_text())["rows"]], dtype=np.float32)
    drawn = known[rng.integers(0, len(known), count)]
    made: Rows = (drawn + 0.2 * known.std(axis=0) * rng.normal(size=drawn.shape)).astype(np.float32)
    return made


def profile(folder: Path) -> bytes:
    """Return the reference profile, as its command makes it from rows that the model never saw."""
    data = folder / "rows.npz"
    names = json.loads((MODELS / "rows.json").read_text())["features"]
    matrix = rows(np.random.default_rng(1), 5000)
    columns: dict[str, Any] = {name: matrix[:, place] for place, name in enumerate(names)}
    np.savez(data, **columns)
    made = folder / "profile.json"
    command = [sys.executable, "-m", "penstock_server.profile", str(MODELS / "tumor-v1.onnx"), str(data)]
    subprocess.run([*command, "-o", str(made), "-q"], check=True, timeout=120)
    return made.read_bytes()


def client_files(matrix: Rows) -> dict[str, bytes]:
    """Return what a client pod needs to send these rows; nobody looks at what is answered."""
    known = json.loads((MODELS / "rows.json").read_text())
    told = {**known, "rows": [{**known["rows"][0], "x": row} for row in matrix.round(5).tolist()]}
    return {
        "client.py": (MODELS.parent / "quickstart" / "client.py").read_bytes(),
        "rows.json": json.dumps(told).encode(),
    }


def policy() -> Manifest:
    return {
        "apiVersion": "penstock.dev/v1alpha1",
        "kind": "DriftPolicy",
        "metadata": {"name": "tumor-drift"},
        "spec": {
            "target": {"kind": "ModelDeployment", "name": "tumor"},
            "windowRows": WINDOW,
            "falseAlarms": {"per30Days": 1},
            "drift": {"inputs": {}, "outputs": {}, "contribution": {}},
            "dataQuality": {},
        },
    }


@pytest.fixture(scope="class")
def watched(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A model with its profile, and the policy."""
    made = profile(tmp_path_factory.mktemp("profile"))
    models = {file.name: file.read_bytes() for file in MODELS.glob("*.onnx")}
    scene.config_map("tumor-models", {**models, "profile.json": made})
    model = scene.model("tumor-v1.onnx")
    deployment = scene.deployment()
    deployment["spec"]["model"] = {**model, "profile": {"sha256": sha256(made).hexdigest()}}
    scene.apply(deployment)
    scene.wait_ready("ModelDeployment")
    scene.apply(policy())


@pytest.mark.usefixtures("watched")
class TestDrift:
    """One story: a healthy model, then one feature that comes from other rows."""

    lasts_seconds = 35

    def drift(self, scene: Scene, type_: str) -> Manifest:
        return condition(scene.get("DriftPolicy", "tumor-drift"), type_)

    def send(self, scene: Scene, name: str, matrix: Rows) -> None:
        """Let a client send these rows, again and again, in the place of any other."""
        for pod in ("steady", "broken"):
            scene.delete("Pod", pod, grace_seconds=0)
        files = {key: base64_text(content) for key, content in client_files(matrix).items()}
        scene.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "client"}, "binaryData": files})
        scene.ask(rate=RATE, name=name)

    def test_traffic_like_the_reference_is_healthy(self, scene: Scene) -> None:
        self.send(scene, "steady", rows(np.random.default_rng(2), 1000))
        wait(
            "a window was judged",
            lambda: (
                scene.status("DriftPolicy", "tumor-drift").get("windows", {}).get("judged", 0) >= 1
                and self.drift(scene, "Watching").get("status") == "True"
            ),
            seconds=PATIENCE_SECONDS,
            picture=scene.picture,
        )
        assert self.drift(scene, "Healthy")["status"] == "True", scene.picture()
        target = scene.status("DriftPolicy", "tumor-drift")["targets"][0]
        assert (target["reason"], target["coverage"], target["windowRows"]) == ("Watching", 1, WINDOW)

    def test_a_shuffled_feature_is_named_although_its_own_distribution_is_as_before(self, scene: Scene) -> None:
        broken = rows(np.random.default_rng(3), 1000)
        place = json.loads((MODELS / "rows.json").read_text())["features"].index(FEATURE)
        broken[:, place] = np.random.default_rng(4).permutation(broken[:, place])
        self.send(scene, "broken", broken)
        wait(
            "the policy names the feature",
            lambda: self.drift(scene, "Healthy").get("reason") == "ContributionDrift",
            seconds=PATIENCE_SECONDS,
            picture=scene.picture,
        )
        assert self.drift(scene, "Healthy")["message"].startswith(f"the output no longer follows {FEATURE} as it did")
        status = scene.status("DriftPolicy", "tumor-drift")
        assert status["worst"] == f"contribution/{FEATURE}"
        assert not [one["name"] for one in status["alarms"] if one["signal"] == "Inputs"]
        wait(
            "an event tells of it",
            lambda: any("ContributionDrift" in event for event in scene.events()),
            seconds=PATIENCE_SECONDS,
            picture=scene.picture,
        )
