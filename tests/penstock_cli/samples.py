"""Objects as the API server returns them, and a cluster that holds them."""

import json
from collections.abc import Callable
from typing import Any

from penstock_cli.cluster import DEPLOYMENTS, POLICIES, SPLITS, unknown_name
from penstock_cli.wire import Wire, name_of

STABLE, CANDIDATE = "fraud-7c9f2b41", "fraud-d03e88aa"


def condition(status: str, reason: str, message: str, *, type_: str = "Ready", generation: int = 3) -> dict[str, Any]:
    return {"type": type_, "status": status, "reason": reason, "message": message, "observedGeneration": generation}


def deployment(**status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "fraud", "namespace": "shop", "generation": 3},
        "spec": {"model": {"uri": "s3://models/fraud/3/model.onnx", "version": "3"}, "replicas": 2},
        "status": {
            "observedGeneration": 3,
            "stableRevision": STABLE,
            "latestRevision": CANDIDATE,
            "endpoint": "http://fraud.shop.svc/v2/models/fraud/infer",
            "revisions": [
                {"name": CANDIDATE, "replicas": 2, "readyReplicas": 2, "phase": "Serving", "model": {"version": "3"}},
                {"name": STABLE, "replicas": 2, "readyReplicas": 2, "phase": "Serving", "model": {"version": "2"}},
            ],
            "conditions": [condition("True", "Ready", "2 of 2 pods serve")],
            **status,
        },
    }


def split(**status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "fraud", "namespace": "shop", "generation": 3},
        "spec": {
            "stable": {"modelDeployment": "fraud"},
            "strategy": {
                "steps": [
                    {"weight": 5, "hold": "2m"},
                    {"weight": 25, "hold": "5m", "require": "Pass"},
                    {"pause": {}, "hold": "0s"},
                    {"weight": 100, "hold": "0s"},
                ]
            },
            "policies": ["fraud-guard"],
        },
        "status": {
            "observedGeneration": 3,
            "phase": "Progressing",
            "stableRevision": STABLE,
            "endpoint": "http://fraud.shop.svc/v2/models/fraud/infer",
            "verdict": "Undecided",
            "candidates": [
                {
                    "name": "candidate",
                    "revision": CANDIDATE,
                    "weight": 25,
                    "step": 1,
                    "stepStartedAt": "2026-11-21T12:00:00Z",
                }
            ],
            "weights": [{"revision": STABLE, "weight": 75}, {"revision": CANDIDATE, "weight": 25}],
            "analysis": [
                {
                    "policy": "fraud-guard",
                    "metric": "slower",
                    "verdict": "Pass",
                    "evidence": 0.2,
                    "limit": 20,
                    "message": "",
                },
                {
                    "policy": "fraud-guard",
                    "metric": "errors",
                    "verdict": "Undecided",
                    "message": "0.5% of 1240 against 0.4% of 11160 (evidence 3.2 of 20)",
                },
            ],
            "conditions": [condition("True", "RolloutInProgress", f"{CANDIDATE} at 25%")],
            **status,
        },
    }


def policy(name: str = "fraud-guard") -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "shop", "generation": 1},
        "spec": {"target": {"kind": "TrafficSplit", "name": "fraud"}},
        "status": {"conditions": [condition("True", "Ready", "judges fraud", generation=1)]},
    }


class FakeCluster:
    """Objects in memory. ``operator`` is called with each command and returns its outcome, or None to stay silent."""

    def __init__(
        self, *wires: tuple[str, Wire], operator: Callable[[dict[str, Any]], str | None] = lambda _: "done"
    ) -> None:
        self.objects: dict[str, list[Any]] = {SPLITS: [], DEPLOYMENTS: [], POLICIES: []}
        for plural, wire in wires:
            self.objects[plural].append(wire)
        self.commands: list[dict[str, Any]] = []
        self._operator = operator

    @property
    def namespace(self) -> str:
        return "shop"

    def list(self, plural: str) -> list[Wire]:
        return self.objects[plural]

    def get(self, plural: str, name: str) -> Wire:
        for wire in self.objects[plural]:
            if name_of(wire) == name:
                found: Wire = wire
                return found
        raise unknown_name(name, plural, self.namespace, [name_of(wire) for wire in self.objects[plural]])

    def annotate(self, plural: str, name: str, annotation: str, value: str) -> None:
        assert annotation == "penstock.dev/command"
        command = json.loads(value)
        self.commands.append(command)
        outcome = self._operator(command)
        if outcome is not None:
            wire: Any = self.get(plural, name)
            wire["status"]["lastCommand"] = {**command, "outcome": outcome}

    def who(self) -> str:
        return "jane@example.com"

    def served_versions(self) -> tuple[str, ...]:
        return ("v1alpha1",)


def shop(**status: Any) -> FakeCluster:
    """A canary in progress."""
    return FakeCluster((SPLITS, split(**status)), (DEPLOYMENTS, deployment()), (POLICIES, policy()))
