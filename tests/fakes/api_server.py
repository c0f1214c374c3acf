"""The fake cluster as a real API server would keep things: defaults filled in, quantities rewritten."""

import copy
import itertools
from decimal import Decimal
from functools import cache
from typing import Any

from tests.fakes.cluster import FakeCluster
from tests.penstock_operator.api.schemas import Schema, defaulted, schema_of

from penstock_operator.core.objects import CUSTOM_KINDS, Kind, Manifest, ObjectRef, kind_of, ref_of

_ADDRESSES = itertools.count(1)


class DefaultingCluster(FakeCluster):
    """Adds to each object what the API server adds."""

    def put(self, manifest: Manifest) -> Manifest:
        """Create or replace an object with its defaults."""
        return super().put(as_stored(manifest, self.live(ref_of(kind_of(manifest), manifest))))

    def _store(self, ref: ObjectRef, manifest: Manifest) -> bool:
        return super()._store(ref, as_stored(manifest, self.live(ref)))


def as_stored(manifest: Manifest, live: Manifest | None = None) -> Manifest:
    """Return an object as the API server returns it after it took in ``manifest``."""
    stored = copy.deepcopy(manifest)
    kind = kind_of(manifest)
    if kind in CUSTOM_KINDS:
        if live is not None and "status" in live:
            stored.setdefault("status", live["status"])
        filled: Manifest = defaulted(_schema(kind.resource.plural), stored)
        return filled
    match kind:
        case Kind.DEPLOYMENT:
            _fill(stored["spec"], progressDeadlineSeconds=600)
            stored["spec"]["template"]["metadata"].setdefault("creationTimestamp", None)
            _fill_pod(stored["spec"]["template"]["spec"])
        case Kind.SERVICE:
            _fill_service(stored["spec"], live)
        case Kind.NETWORK_POLICY:
            stored["spec"].setdefault("policyTypes", ["Ingress"])
        case _:
            pass
    return stored


@cache
def _schema(plural: str) -> Schema:
    return schema_of(plural)


def _fill(target: dict[str, Any], **defaults: Any) -> None:
    for field, value in defaults.items():
        target.setdefault(field, value)


def _fill_service(spec: dict[str, Any], live: Manifest | None) -> None:
    address = (live or {}).get("spec", {}).get("clusterIP") or f"10.96.0.{next(_ADDRESSES)}"
    _fill(spec, clusterIP=address, internalTrafficPolicy="Cluster", ipFamilies=["IPv4"], ipFamilyPolicy="SingleStack")
    _fill(spec, clusterIPs=[spec["clusterIP"]], sessionAffinity="None", type="ClusterIP")
    for port in spec.get("ports", ()):
        _fill(port, protocol="TCP", targetPort=port["port"])


def _fill_pod(spec: dict[str, Any]) -> None:
    _fill(spec, dnsPolicy="ClusterFirst", restartPolicy="Always", schedulerName="default-scheduler")
    if "serviceAccountName" in spec:
        spec["serviceAccount"] = spec["serviceAccountName"]
    for volume in spec.get("volumes", ()):
        for source in ("secret", "configMap"):
            if source in volume:
                _fill(volume[source], defaultMode=420)
    for container in (*spec.get("initContainers", ()), *spec["containers"]):
        _fill_container(container)


def _fill_container(container: dict[str, Any]) -> None:
    _fill(container, terminationMessagePath="/dev/termination-log", imagePullPolicy="IfNotPresent")
    resources = container.setdefault("resources", {})
    for field in ("requests", "limits"):
        amounts = resources.pop(field, None)
        if amounts:
            resources[field] = {name: _quantity(amount) for name, amount in amounts.items()}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        if probe in container:
            _fill(container[probe], successThreshold=1, timeoutSeconds=1, periodSeconds=10, failureThreshold=3)
            _fill(container[probe].get("httpGet", {}), scheme="HTTP")
    for variable in container.get("env", ()):
        if "fieldRef" in variable.get("valueFrom", {}):
            _fill(variable["valueFrom"]["fieldRef"], apiVersion="v1")


def _quantity(amount: str | int) -> str:
    """Return a plain number in its canonical form; what has a unit is canonical enough."""
    text = str(amount)
    if not text.replace(".", "").isdigit():
        return text
    number = Decimal(text)
    return str(int(number)) if number == int(number) else f"{int(number * 1000)}m"
