"""The Gateway API in memory: HTTPRoutes, Gateways, the controller that runs them, and the traffic through them."""

import copy
from collections import defaultdict
from collections.abc import Collection, Mapping
from http import HTTPStatus
from itertools import accumulate, count, pairwise
from typing import Any

from tests.fakes.clock import FakeClock
from tests.fakes.routers import FakeRouterStats

from penstock_operator.core.gateway import Attachment, Parent
from penstock_operator.core.objects import Manifest
from penstock_operator.core.serving_pods import ServingPod
from penstock_operator.ports import RequestRejected

#: What the API server adds to a rule that says nothing of paths.
_EVERY_PATH = [{"path": {"type": "PathPrefix", "value": "/"}}]


class FakeGatewayApi:
    """Implements ports.GatewayApi, with a controller that runs every route at once unless told otherwise.

    ``installed``: whether the API server knows HTTPRoutes. ``unknown_fields``: fields of a rule that its schema lacks.
    ``silent``: the controller sleeps. ``refusing``: it does not accept routes, in these words.
    """

    def __init__(self) -> None:
        self.installed = True
        self.unknown_fields: set[str] = set()
        self.silent = False
        self.refusing = ""
        self.routes: dict[tuple[str, str], Manifest] = {}
        self.gateways: dict[tuple[str, str], Manifest] = {}
        self.published: set[str] = set()
        self.running: dict[tuple[str, str], Manifest] = {}
        self.writes: list[str] = []
        self._uids = count(1)

    # --- the port ---

    async def route(self, namespace: str, name: str) -> Manifest | None:
        """Return the route, after the controller had time to look."""
        self.control()
        live = self.routes.get((namespace, name))
        return copy.deepcopy(live) if live is not None else None

    async def apply(self, manifest: Manifest) -> Manifest:
        """Keep the route with the API server's defaults; the controller has not looked at it yet."""
        if not self.installed:
            raise RequestRejected("the API server knows no HTTPRoute", HTTPStatus.NOT_FOUND, "NotFound")
        for rule in manifest["spec"]["rules"]:
            for field in self.unknown_fields & set(rule):
                raise RequestRejected(f'unknown field "spec.rules[0].{field}"', HTTPStatus.BAD_REQUEST, "BadRequest")
        key = manifest["metadata"]["namespace"], manifest["metadata"]["name"]
        self.writes.append(f"apply {key[1]}")
        stored = copy.deepcopy(manifest)
        for rule in stored["spec"]["rules"]:
            rule.setdefault("matches", copy.deepcopy(_EVERY_PATH))
            for reference in rule["backendRefs"]:
                reference |= {"group": "", "kind": "Service"}
        live = self.routes.get(key)
        generation = live["metadata"]["generation"] if live else 0
        changed = live is None or live["spec"] != stored["spec"]
        stored["metadata"]["uid"] = live["metadata"]["uid"] if live else f"route-{next(self._uids)}"
        stored["metadata"]["generation"] = generation + changed
        if live is not None and "status" in live:
            stored["status"] = live["status"]
        self.routes[key] = stored
        return copy.deepcopy(stored)

    async def delete(self, namespace: str, name: str, *, uid: str) -> None:
        """Delete the route if it is this one."""
        live = self.routes.get((namespace, name))
        if live is not None and live["metadata"]["uid"] == uid:
            self.writes.append(f"delete {name}")
            self.remove(namespace, name)

    async def attachment(self, parents: Collection[Parent]) -> Attachment:
        """Return the Gateways there are."""
        return Attachment(gateways={parent: self.gateways.get((parent.namespace, parent.name)) for parent in parents})

    async def features(self, gateway_class: str) -> frozenset[str]:  # noqa: ARG002 - there is one
        """Return what the class publishes."""
        return frozenset(self.published)

    # --- what a test does ---

    def gateway(self, namespace: str, name: str, *, programmed: str = "True") -> None:
        """Make a Gateway."""
        condition = {"type": "Programmed", "status": programmed, "reason": "Told", "observedGeneration": 1}
        self.gateways[namespace, name] = {
            "kind": "Gateway",
            "metadata": {"namespace": namespace, "name": name, "generation": 1},
            "spec": {"gatewayClassName": "fake"},
            "status": {"conditions": [condition]},
        }

    def remove(self, namespace: str, name: str) -> None:
        """Delete a route as a person would."""
        self.routes.pop((namespace, name), None)
        self.running.pop((namespace, name), None)

    def control(self) -> None:
        """Let the controller look at all routes: those that it accepts it runs."""
        if self.silent:
            return
        for key, route in self.routes.items():
            references = [self._of(reference, key[0]) for reference in route["spec"].get("parentRefs", ())]
            known = [(reference, parent) for reference, parent in references if parent in self.gateways]
            generation = route["metadata"]["generation"]
            accepted = "False" if self.refusing else "True"
            conditions = [
                {"type": "Accepted", "status": accepted, "reason": "Told", "message": self.refusing},
                {"type": "ResolvedRefs", "status": "True", "reason": "ResolvedRefs", "message": ""},
            ]
            told = [{**condition, "observedGeneration": generation} for condition in conditions]
            route["status"] = {
                "parents": [
                    {"parentRef": reference, "controllerName": "fake", "conditions": told} for reference, _ in known
                ]
            }
            if known and not self.refusing:
                self.running[key] = copy.deepcopy(route)

    def weights(self, namespace: str, split: str) -> dict[str, int]:
        """Return what the Gateways really do with requests that no match takes."""
        route = self.running.get((namespace, split))
        if route is None:
            return {}
        (rule,) = (one for one in route["spec"]["rules"] if not any("headers" in match for match in one["matches"]))
        return {reference["name"]: reference["weight"] for reference in rule["backendRefs"]}

    @staticmethod
    def _of(reference: Mapping[str, Any], namespace: str) -> tuple[dict[str, Any], tuple[str, str]]:
        filled = {"group": "gateway.networking.k8s.io", "kind": "Gateway", **reference}
        return filled, (reference.get("namespace", namespace), reference["name"])


class FakePodTraffic:
    """Implements ports.ServingPods: the pods answer ``requests_per_second`` as the Gateways spread them."""

    def __init__(self, api: FakeGatewayApi, stats: FakeRouterStats, clock: FakeClock) -> None:
        self._api = api
        self._stats = stats
        self._clock = clock
        self._looked_at = clock.now()
        self._errors: defaultdict[str, float] = defaultdict(float)
        self._slow: defaultdict[str, defaultdict[float, float]] = defaultdict(lambda: defaultdict(float))

    async def get(self, namespace: str, pod: ServingPod, path: str) -> bytes | None:
        """Return what a pod exposes."""
        assert path == "/metrics"
        self._serve(namespace)
        # All of a revision is counted by its first pod, and nothing by halves.
        slow = self._slow[pod.revision] if pod.name.endswith("-0") else {}
        below = [int(total) for total in accumulate(slow[limit] for limit in sorted(slow))]
        counts = [total - before for before, total in pairwise([0, *below])]
        errors = int(self._errors[pod.revision]) if below else 0
        answers = {200: sum(counts) - errors, 500: errors}
        return exposition(pod.revision, answers=answers, slow=dict(zip(sorted(slow), counts, strict=True)))

    def _serve(self, namespace: str) -> None:
        elapsed = self._clock.now() - self._looked_at
        self._looked_at = self._clock.now()
        for of, split in list(self._api.running):
            for revision, weight in self._api.weights(of, split).items() if of == namespace else ():
                behaviour = self._stats.behaviours[revision]
                requests = self._stats.requests_per_second * elapsed * weight / 100
                self._errors[revision] += requests * behaviour.error_share
                for share, factor in ((0.6, 1.0), (0.38, 8.0), (0.02, 80.0)):
                    self._slow[revision][behaviour.seconds * factor] += requests * share


def exposition(
    revision: str, *, boot: str = "1700000000.25", answers: Mapping[int, int], slow: Mapping[float, int] | None = None
) -> bytes:
    """Return what a serving pod exposes after these answers by status code; ``slow``: how many took at most so long."""
    labels = f'revision="{revision}",model="fraud",model_version="3, \\"b\\""'
    total = sum(answers.values())
    buckets: defaultdict[str, int] = defaultdict(int)
    for edge in (0.005, 0.01, 0.1, 1.0):
        buckets[str(edge)] = sum(count for limit, count in (slow or {0.005: total}).items() if limit <= edge)
    lines = [
        "# HELP penstock_requests_total Inference requests answered, by status code",
        f"process_start_time_seconds{{{labels}}} {boot}",
        *(f'penstock_requests_total{{{labels},code="{code}"}} {float(count)}' for code, count in answers.items()),
        *(f'penstock_request_duration_seconds_bucket{{{labels},le="{le}"}} {n}.0' for le, n in buckets.items()),
        f'penstock_request_duration_seconds_bucket{{{labels},le="+Inf"}} {total}.0',
        f"penstock_request_duration_seconds_count{{{labels}}} {total}.0",
        f'penstock_run_duration_seconds_bucket{{{labels},le="+Inf"}} 99999.0',
        f"penstock_rows_total{{{labels}}} 5.0",
    ]
    return ("\n".join(lines) + "\n").encode()
