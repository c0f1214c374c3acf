"""One model behind a split with a client that asks all the time: rollouts in turn, and what came of each."""

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.judge.live.faults import Fault, model_of
from benchmarks.judge.live.figures import Counted, Row, counted, ticks_of
from tests.cluster.api import Api, Manifest, is_ready
from tests.cluster.scene import Traffic, base64_text, example, unix

ASKER = Path(__file__).with_name("asker.py")
_LOOK_SECONDS = 5.0
_READY_SECONDS = 180.0
#: The client tells once a second, of the second before.
_TOLD_SECONDS = 3.0
#: What grows begins about when the candidate's pod is ready.
_START_SECONDS = 8.0
#: A bad candidate meets two in a hundred requests until it is judged good enough for more.
STEPS = (
    {"weight": 2, "hold": "6s", "require": "Pass"},
    {"weight": 10, "hold": "4s", "require": "Pass"},
    {"weight": 50, "hold": "4s", "require": "Pass"},
    {"weight": 100, "hold": "2s"},
)
METRICS = (
    {"name": "errors", "source": "ErrorRate", "against": "Stable", "acceptDifference": 0.1, "critical": True},
    # A small machine is noisy: up to twice as slow is not worse, below four times is good enough.
    {
        "name": "slower",
        "source": "LatencyQuantile",
        "quantile": 0.9,
        "against": "Stable",
        "tolerateRatio": 2,
        "acceptRatio": 4,
    },
)
_RESOURCES = {"requests": {"cpu": "20m", "memory": "96Mi"}, "limits": {"memory": "384Mi"}}
_ENDED = frozenset({"Promoted", "RolledBack", "Aborted", "Superseded", "Withdrawn", "Lost"})


class GaveUpError(Exception):
    """Something did not happen in time."""


class Shop:
    """Makes the objects of one split, and plays rollouts on it. One thread at a time."""

    def __init__(self, api: Api, *, namespace: str, name: str, image: str, rate: float, epoch: float) -> None:
        self._api, self.namespace, self.name = api, namespace, name
        self._image, self._rate, self._epoch = image, rate, epoch
        self._traffic = Traffic(api, namespace, f"{name}-client")
        self._versions = 0

    def open(self, seconds: float) -> None:
        """Serve a healthy model behind the split, under traffic for so many seconds."""
        self._apply(self._deployment(Fault()))
        self._until_ready("ModelDeployment")
        self._apply(self._policy())
        self._apply(self._split())
        self._until_ready("TrafficSplit")
        self._apply(self._client(seconds))
        self._until("the client's requests are routed", lambda: self._traffic.read().is_routed(), _READY_SECONDS)

    def play(self, name: str, injected: str, fault: Fault, *, times: float, healthy: bool, patience: float) -> Row:
        """Roll out a model and return what came of it."""
        before = self._get("ModelDeployment")["status"]["latestRevision"]
        started = time.time()
        patch = {"spec": {"model": self._model(fault.beginning(started - self._epoch + _START_SECONDS))}}
        self._api.merge("ModelDeployment", self.name, self.namespace, patch)

        def revision() -> str:
            return str(self._get("ModelDeployment")["status"].get("latestRevision", before))

        self._until("the operator sees the model", lambda: revision() != before, _READY_SECONDS)
        candidate = revision()
        ended = self._ended(candidate, patience)
        finished = unix(ended["finishedAt"]) if ended else time.time()
        time.sleep(_TOLD_SECONDS)
        # A client that stopped, or whose line was cut in the middle, says so itself.
        seen = counted(self._traffic.read().seconds, candidate, started=started, finished=finished)
        return _row(name, injected, ended, seen, finished, times=times, healthy=healthy)

    def _ended(self, candidate: str, patience: float) -> Manifest | None:
        until = time.monotonic() + patience
        while time.monotonic() < until:
            history = self._get("TrafficSplit")["status"].get("history") or []
            for entry in history:
                if entry["revision"] == candidate and entry.get("outcome") in _ENDED:
                    found: Manifest = entry
                    return found
            time.sleep(_LOOK_SECONDS)
        return None

    def _model(self, fault: Fault) -> Manifest:
        """Put a model where pods find it; return what a ModelDeployment says of it."""
        self._versions += 1
        content = model_of(fault)
        where = f"{self.name}-model-{self._versions}"
        self._config_map(where, {"model.onnx": content})
        return {
            "uri": f"configmap://{where}/model.onnx",
            "sha256": hashlib.sha256(content).hexdigest(),
            "version": str(self._versions),
        }

    def _config_map(self, name: str, files: dict[str, bytes]) -> None:
        data = {file: base64_text(content) for file, content in files.items()}
        self._apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "binaryData": data})

    def _deployment(self, fault: Fault) -> Manifest:
        spec = {"model": self._model(fault), "replicas": 1, "resources": _RESOURCES}
        return self._object("ModelDeployment", self.name, spec)

    def _policy(self) -> Manifest:
        spec = {
            "target": {"kind": "TrafficSplit", "name": self.name},
            "falseAlarms": {"perRollout": 0.05},
            "metrics": list(METRICS),
        }
        return self._object("DriftPolicy", f"{self.name}-guard", spec)

    def _split(self) -> Manifest:
        spec = {
            "stable": {"modelDeployment": self.name},
            "strategy": {"type": "Canary", "steps": list(STEPS)},
            "policies": [f"{self.name}-guard"],
        }
        return self._object("TrafficSplit", self.name, spec)

    def _client(self, seconds: float) -> Manifest:
        self._config_map(f"{self.name}-client", {ASKER.name: ASKER.read_bytes()})
        pod = example("client")
        pod["metadata"] = {"name": f"{self.name}-client", "labels": {"app": "client"}}
        pod["spec"]["volumes"] = [{"name": "client", "configMap": {"name": f"{self.name}-client"}}]
        container = pod["spec"]["containers"][0]
        container["image"] = self._image
        container["command"] = ["python3", f"/client/{ASKER.name}"]
        settings = {
            "URL": f"http://{self.name}.{self.namespace}.svc/v2/models/{self.name}/infer",
            "RATE": str(self._rate),
            "CONNECTIONS": "8",
            "SECONDS": str(seconds),
            "EPOCH": str(self._epoch),
        }
        container["env"] = [{"name": key, "value": value} for key, value in settings.items()]
        return dict(pod)

    def _object(self, kind: str, name: str, spec: dict[str, Any]) -> Manifest:
        return {"apiVersion": "penstock.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}

    def _apply(self, manifest: Manifest) -> None:
        manifest["metadata"]["namespace"] = self.namespace
        self._api.apply(manifest)

    def _get(self, kind: str) -> Manifest:
        return self._api.the(kind, self.name, self.namespace)

    def _until_ready(self, kind: str) -> None:
        self._until(f"{kind} is ready", lambda: is_ready(self._get(kind)), _READY_SECONDS)

    def _until(self, what: str, done: Callable[[], bool], seconds: float) -> None:
        until = time.monotonic() + seconds
        while not done():
            if time.monotonic() > until:
                status = self._get("TrafficSplit").get("status", {})
                raise GaveUpError(f"{self.namespace}/{self.name}: waited {seconds:.0f} s in vain: {what}; {status}")
            time.sleep(_LOOK_SECONDS)


def _row(
    name: str, injected: str, ended: Manifest | None, seen: Counted, finished: float, *, times: float, healthy: bool
) -> Row:
    seconds = None if seen.first is None or ended is None else max(0.0, finished - seen.first)
    return Row(
        name=name,
        injected=injected,
        healthy=healthy,
        errors_times=times,
        outcome=ended["outcome"] if ended else "Undecided",
        by=str(ended.get("by", "")) if ended else "",
        message=str(ended.get("message", "")) if ended else "",
        seconds=None if seconds is None else round(seconds, 1),
        ticks=None if seconds is None else ticks_of(seconds),
        candidate_requests=seen.candidate_requests,
        requests=seen.requests,
    )
