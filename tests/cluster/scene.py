"""A namespace of one test class: the example models in it, ModelDeployments, splits, and a client that asks."""

import base64
import copy
import json
import os
import time
from collections.abc import Iterable
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

import yaml
from examples.quickstart.answers import Answers
from examples.quickstart.quickstart import MODELS, digests
from tests.cluster.api import Api, Manifest, condition, is_ready, wait

QUICKSTART = MODELS.parent / "quickstart"
RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
#: What a machine with little to spare needs at most; waiting ends as soon as the thing happened.
PATIENCE_SECONDS = 120.0
SERVER_IMAGE = os.environ.get("PENSTOCK_SERVER_IMAGE", "penstock/server:dev")
#: Less than in the quickstart: several scenes at a time have to find room on a node of two processors.
CPU_REQUEST = "20m"
STEPS = (5, 25, 50, 100)


def example(name: str) -> Manifest:
    """Return one of the quickstart's manifests."""
    manifest: Manifest = yaml.safe_load((QUICKSTART / f"{name}.yaml").read_text())
    return manifest


def steps(*weights: int, hold: str = "3s") -> list[Manifest]:
    """Return steps that ask for a pass, but for the last one."""
    asked = [{"weight": weight, "hold": hold, "require": "Pass"} for weight in weights[:-1]]
    return [*asked, {"weight": weights[-1], "hold": "2s"}]


class Traffic(Answers):
    """What a client pod has seen so far; reads its whole log each time, so it needs no connection that stays."""

    def __init__(self, api: Api, namespace: str, pod: str) -> None:
        super().__init__()
        self._api, self._namespace, self._pod = api, namespace, pod

    def read(self) -> "Traffic":
        """Take in what was told since the last look."""
        lines = self._api.log(self._pod, self._namespace).splitlines()
        for line in lines[len(self.seconds) :]:
            assert self.add(line), line
        return self

    def failed_otherwise(self, bad: Iterable[str] = ()) -> dict[str, int]:
        """Return the failures that no ``bad`` revision answered."""
        own = set(bad)
        return {key: count for key, count in self.read().failures().items() if key.split()[0] not in own}

    def wait_for_more(self, requests: int, *, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until there were this many answers more."""
        goal = self.read().total() + requests
        wait(f"{requests} more answers", lambda: self.read().total() >= goal, seconds=seconds)

    def wait_until_routed(self) -> None:
        """Wait until all answers come through the routers: connections from before live up to 30 s."""
        wait("all answers come through the routers", lambda: self.read().is_routed(), seconds=PATIENCE_SECONDS)


class Scene:
    """Makes and looks at the things of one namespace."""

    def __init__(self, api: Api, namespace: str) -> None:
        self.api = api
        self.namespace = namespace

    def prepare(self) -> None:
        """Make the namespace, which takes the strictest pods only, with the models and the client's script."""
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        self.api.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace, "labels": labels}}
        )
        self.config_map("tumor-models", {file.name: file.read_bytes() for file in MODELS.glob("*.onnx")})
        files = (QUICKSTART / "client.py", MODELS / "rows.json")
        self.config_map("client", {file.name: file.read_bytes() for file in files})

    def config_map(self, name: str, files: dict[str, bytes]) -> None:
        encoded = {key: base64_text(content) for key, content in files.items()}
        self.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "binaryData": encoded})

    def apply(self, manifest: Manifest) -> Manifest:
        """Apply an object in the scene's namespace."""
        mine = copy.deepcopy(manifest)
        mine["metadata"]["namespace"] = self.namespace
        return self.api.apply(mine)

    def get(self, kind: str, name: str = "tumor") -> Manifest:
        return self.api.the(kind, name, self.namespace)

    def find(self, kind: str, name: str = "tumor") -> Manifest | None:
        return self.api.get(kind, name, self.namespace)

    def status(self, kind: str, name: str = "tumor") -> Manifest:
        status: Manifest = self.get(kind, name).get("status", {})
        return status

    def delete(self, kind: str, name: str = "tumor", *, grace_seconds: int | None = None) -> None:
        self.api.delete(kind, name, self.namespace, grace_seconds=grace_seconds)

    def model(self, file: str, version: str = "1") -> Manifest:
        return {"uri": f"configmap://tumor-models/{file}", "sha256": digests()[file], "version": version}

    def deployment(self, name: str = "tumor", *, file: str = "tumor-v1.onnx", **spec: Any) -> Manifest:
        """Return the quickstart's ModelDeployment with another name, model or other fields."""
        manifest = example("modeldeployment")
        manifest["metadata"]["name"] = name
        manifest["spec"]["model"] = self.model(file)
        manifest["spec"]["resources"]["requests"]["cpu"] = CPU_REQUEST
        manifest["spec"].update(spec)
        return manifest

    def serve(self, name: str = "tumor", **changes: Any) -> float:
        """Serve a model; return the seconds until it was ready."""
        started = time.monotonic()
        self.apply(self.deployment(name, **changes))
        self.wait_ready("ModelDeployment", name)
        return time.monotonic() - started

    def split(self, *, schedule: list[Manifest] | None = None, policies: bool = True, name: str = "tumor") -> None:
        """Put the endpoint behind the routers, and wait until it is."""
        policy, split = example("driftpolicy"), example("trafficsplit")
        split["metadata"]["name"] = name
        policy["spec"]["target"]["name"] = name
        split["spec"]["strategy"]["steps"] = schedule or steps(*STEPS)
        if policies:
            self.apply(policy)
        else:
            split["spec"]["policies"] = []
        self.apply(split)
        self.wait_ready("TrafficSplit", name)

    def wait_ready(self, kind: str, name: str = "tumor", *, seconds: float = PATIENCE_SECONDS) -> float:
        return wait(
            f"{kind} {name} is ready", lambda: is_ready(self.find(kind, name)), seconds=seconds, picture=self.picture
        )

    def change_model(self, file: str, version: str, name: str = "tumor") -> str:
        """Change the model as a person would; return the new revision's name."""
        patched = self.api.merge(
            "ModelDeployment", name, self.namespace, {"spec": {"model": self.model(file, version)}}
        )
        generation = patched["metadata"]["generation"]

        def seen() -> bool:
            return bool(self.status("ModelDeployment", name).get("observedGeneration", -1) >= generation)

        wait("the operator sees the new model", seen, seconds=60, picture=self.picture)
        return str(self.status("ModelDeployment", name)["latestRevision"])

    def wait_phase(self, revision: str, *phases: str, seconds: float = 180.0) -> Manifest:
        """Wait until the rollout of a revision is in one of the phases; return the split's status."""

        def there() -> bool:
            status = self.status("TrafficSplit")
            about = [*(status.get("candidates") or []), *(status.get("history") or [])[:1]]
            return status.get("phase") in phases and any(entry["revision"] == revision for entry in about)

        wait(f"{revision} is {' or '.join(phases)}", there, seconds=seconds, picture=self.picture)
        return self.status("TrafficSplit")

    def weight(self) -> int:
        """Return the candidate's weight that all routers run."""
        candidates = self.status("TrafficSplit").get("candidates") or [{}]
        return int(candidates[0].get("weight", 0))

    def pods(self, selector: str = "penstock.dev/model-deployment=tumor") -> list[str]:
        """Return the names of the pods that are not on their way out."""
        found = self.api.list("Pod", self.namespace, selector)
        return [pod["metadata"]["name"] for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def ask(self, *, rate: int = 50, name: str = "client", **variables: str) -> Traffic:
        """Start a client pod; return once it got its first right answer."""
        pod = example("client")
        pod["metadata"]["name"] = name
        container = pod["spec"]["containers"][0]
        container["image"] = SERVER_IMAGE
        container["resources"]["requests"]["cpu"] = CPU_REQUEST
        settings = {item["name"]: item["value"] for item in container["env"]}
        settings |= {"URL": f"http://tumor.{self.namespace}.svc/v2/models/tumor/infer", "RATE": str(rate), **variables}
        container["env"] = [{"name": key, "value": value} for key, value in settings.items()]
        self.apply(pod)
        traffic = Traffic(self.api, self.namespace, name)
        wait(
            "the first right answer",
            lambda: any(key.endswith(" 200") for key in traffic.read().answers),
            seconds=PATIENCE_SECONDS,
            picture=self.picture,
        )
        return traffic

    def answers_right(self) -> bool:
        """Ask the endpoint once, through the API server, which needs no pod."""
        rows = json.loads((MODELS / "rows.json").read_text())
        row = rows["rows"][0]
        asked = {"name": rows["input"], "shape": [1, 30], "datatype": "FP32", "data": row["x"]}
        where = f"/api/v1/namespaces/{self.namespace}/services/tumor:80/proxy/v2/models/tumor/infer"
        status, text = self.api.raw("POST", where, {"inputs": [asked]})
        if status != HTTPStatus.OK:
            return False
        outputs = {output["name"]: output["data"] for output in json.loads(text)["outputs"]}
        return bool(outputs["label"] == [row["label_v1"]])

    def events(self) -> list[str]:
        """Return what the events of the namespace say, oldest first."""
        found = self.api.list("Event", self.namespace)
        told = sorted(found, key=lambda item: str(item.get("lastTimestamp") or item.get("eventTime")))
        return [f"{item['involvedObject']['kind']} {item.get('reason')}: {item.get('message')}" for item in told]

    def picture(self) -> str:
        """Return what a person would look at, for the message of a failure."""
        lines = []
        for kind in ("ModelDeployment", "TrafficSplit", "DriftPolicy"):
            lines += [
                f"{kind} {item['metadata']['name']}: {json.dumps(item.get('status', {}))[:3000]}"
                for item in self.api.list(kind, self.namespace)
            ]
        for pod in self.api.list("Pod", self.namespace):
            ready = any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))
            lines.append(f"Pod {pod['metadata']['name']}: {pod['status'].get('phase')} {'ready' if ready else ''}")
        return "\n".join([*lines, *self.events()[-25:]])

    def stalled(self, kind: str, name: str = "tumor") -> Manifest:
        """Return the Stalled condition, or an empty one."""
        return condition(self.find(kind, name), "Stalled")


def base64_text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def unix(timestamp: str) -> float:
    """Return the Unix seconds of a Kubernetes timestamp."""
    return datetime.fromisoformat(timestamp).timestamp()


def keep(file: str, figures: dict[str, Any]) -> None:
    """Write figures where the benchmarks' results are."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / file).write_text(json.dumps(figures, indent=2) + "\n")
