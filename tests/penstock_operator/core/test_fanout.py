"""Which objects are looked at again after a change."""

from collections.abc import Sequence
from typing import Any

import pytest

from penstock_operator.core.fanout import affected
from penstock_operator.core.names import deployment_labels, managed_labels
from penstock_operator.core.objects import Kind, Manifest, ObjectRef

NAMESPACE = "shop"


def manifest(kind: Kind, name: str, spec: Any = None, **metadata: Any) -> Manifest:
    return {
        "apiVersion": kind.resource.api_version,
        "kind": kind.resource.kind,
        "metadata": {"name": name, "namespace": NAMESPACE, **metadata},
        "spec": spec or {},
    }


def split(name: str, stable: str | None = None, policies: Sequence[str] = ()) -> Manifest:
    return manifest(
        Kind.TRAFFIC_SPLIT, name, {"stable": {"modelDeployment": stable or name}, "policies": list(policies)}
    )


def policy(name: str, target: str) -> Manifest:
    return manifest(Kind.DRIFT_POLICY, name, {"target": {"kind": "TrafficSplit", "name": target}})


WORLD: dict[Kind, Sequence[Manifest]] = {
    Kind.TRAFFIC_SPLIT: [split("fraud"), split("second", "fraud", ["guard"]), split("churn", policies=["guard"])],
    Kind.DRIFT_POLICY: [policy("guard", "churn"), policy("watch", "fraud"), policy("spare", "nothing")],
}


def listing(kind: Kind, namespace: str) -> Sequence[Manifest]:
    return WORLD.get(kind, ()) if namespace == NAMESPACE else ()


def names(kind: Kind, changed: Manifest) -> set[str]:
    return {f"{ref.kind.resource.kind}/{ref.name}" for ref in affected(kind, changed, listing)}


def test_a_model_deployment_concerns_itself_and_the_splits_over_it() -> None:
    changed = manifest(Kind.MODEL_DEPLOYMENT, "fraud")
    assert names(Kind.MODEL_DEPLOYMENT, changed) == {
        "ModelDeployment/fraud",
        "TrafficSplit/fraud",
        "TrafficSplit/second",
    }


def test_a_model_deployment_concerns_the_policies_that_watch_its_traffic() -> None:
    kinds = {"kind": "ModelDeployment"}
    by_name = manifest(Kind.DRIFT_POLICY, "named", {"target": {**kinds, "name": "fraud"}})
    selector = {"matchLabels": {"team": "a"}}
    by_label = manifest(Kind.DRIFT_POLICY, "labelled", {"target": {**kinds, "selector": selector}})
    of_a_split = policy("split", "fraud")
    changed = manifest(Kind.MODEL_DEPLOYMENT, "fraud", labels={"team": "a", "tier": "1"})

    def policies(kind: Kind, _: str) -> Sequence[Manifest]:
        return [by_name, by_label, of_a_split] if kind is Kind.DRIFT_POLICY else []

    found = {ref.name for ref in affected(Kind.MODEL_DEPLOYMENT, changed, policies) if ref.kind is Kind.DRIFT_POLICY}
    assert found == {"named", "labelled"}
    changed["metadata"]["labels"] = {"team": "b"}
    found = {ref.name for ref in affected(Kind.MODEL_DEPLOYMENT, changed, policies) if ref.kind is Kind.DRIFT_POLICY}
    assert found == {"named"}


def test_a_model_deployment_concerns_the_split_that_has_its_name() -> None:
    changed = manifest(Kind.MODEL_DEPLOYMENT, "second")
    assert names(Kind.MODEL_DEPLOYMENT, changed) == {"ModelDeployment/second", "TrafficSplit/second"}


def test_a_split_concerns_its_model_deployments_its_rivals_and_its_policies() -> None:
    assert names(Kind.TRAFFIC_SPLIT, split("second", "fraud", ["guard"])) == {
        "TrafficSplit/second",
        "ModelDeployment/fraud",
        "ModelDeployment/second",
        "TrafficSplit/fraud",
        "DriftPolicy/guard",
    }


def test_a_split_concerns_the_policies_that_target_it() -> None:
    assert "DriftPolicy/watch" in names(Kind.TRAFFIC_SPLIT, split("fraud"))


def test_a_policy_concerns_the_splits_that_name_it_and_the_one_it_targets() -> None:
    assert names(Kind.DRIFT_POLICY, policy("guard", "fraud")) == {
        "DriftPolicy/guard",
        "TrafficSplit/second",
        "TrafficSplit/churn",
        "TrafficSplit/fraud",
    }


@pytest.mark.parametrize("kind", [Kind.SERVICE, Kind.DEPLOYMENT, Kind.NETWORK_POLICY])
def test_a_child_concerns_its_controller(kind: Kind) -> None:
    owners = [
        {"apiVersion": "penstock.dev/v1alpha1", "kind": "TrafficSplit", "name": "fraud", "controller": True},
        {"apiVersion": "penstock.dev/v1alpha1", "kind": "ModelDeployment", "name": "other"},
    ]
    assert names(kind, manifest(kind, "child", ownerReferences=owners)) == {"TrafficSplit/fraud"}


def test_a_namesake_of_our_kinds_in_another_group_is_not_ours() -> None:
    owners = [{"apiVersion": "example.com/v1", "kind": "TrafficSplit", "name": "fraud", "controller": True}]
    assert names(Kind.SERVICE, manifest(Kind.SERVICE, "child", ownerReferences=owners)) == set()


def test_a_pod_concerns_the_model_deployment_of_its_label() -> None:
    owners = [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "fraud-1-x", "controller": True}]
    pod = manifest(Kind.POD, "fraud-1-x-y", labels=deployment_labels("fraud"), ownerReferences=owners)
    assert names(Kind.POD, pod) == {"ModelDeployment/fraud"}


@pytest.mark.parametrize("kind", [Kind.POD, Kind.DEPLOYMENT])
def test_a_router_concerns_every_split_of_its_namespace(kind: Kind) -> None:
    router = manifest(kind, "penstock-router-x", labels=managed_labels("penstock-router"))
    assert names(kind, router) == {"TrafficSplit/fraud", "TrafficSplit/second", "TrafficSplit/churn"}
    elsewhere = {**router, "metadata": {**router["metadata"], "namespace": "elsewhere"}}
    assert names(kind, elsewhere) == set()


@pytest.mark.parametrize(
    "spec",
    [None, {}, {"stable": None}, {"stable": "fraud"}, {"stable": {"modelDeployment": 3}}, {"policies": "guard"}],
)
def test_an_object_in_any_shape_concerns_at_least_itself(spec: Any) -> None:
    for kind in (Kind.TRAFFIC_SPLIT, Kind.DRIFT_POLICY, Kind.MODEL_DEPLOYMENT):
        broken = {**manifest(kind, "broken"), "spec": spec}
        assert ObjectRef(kind=kind, namespace=NAMESPACE, name="broken") in affected(kind, broken, listing)


def test_a_split_concerns_every_deployment_that_it_names_or_uses() -> None:
    spec = {"stable": {"modelDeployment": "fraud"}, "candidates": [{"name": "xgb", "modelDeployment": "fraud-xgb"}]}
    changed = manifest(Kind.TRAFFIC_SPLIT, "front", spec) | {
        "status": {
            "stableRevision": "fraud-old-aaaaaaaa",
            "candidates": [{"name": "xgb", "revision": "fraud-gone-aaaaaaaa"}],
            "weights": [{"revision": "fraud-drain-aaaaaaaa", "weight": 5}],
            "watch": {"revision": "fraud-before-aaaaaaaa"},
            "returning": {"revision": "fraud-back-aaaaaaaa"},
        }
    }
    found = {name for name in names(Kind.TRAFFIC_SPLIT, changed) if name.startswith("ModelDeployment/")}
    asked = ["front", "fraud", "fraud-xgb", "fraud-old", "fraud-gone", "fraud-drain", "fraud-before", "fraud-back"]
    assert found == {f"ModelDeployment/{name}" for name in asked}


def test_a_candidates_deployment_concerns_the_splits_in_which_it_competes(monkeypatch: pytest.MonkeyPatch) -> None:
    competing = manifest(
        Kind.TRAFFIC_SPLIT,
        "front",
        {"stable": {"modelDeployment": "fraud"}, "candidates": [{"name": "xgb", "modelDeployment": "fraud-xgb"}]},
    )
    monkeypatch.setitem(WORLD, Kind.TRAFFIC_SPLIT, [competing])
    changed = manifest(Kind.MODEL_DEPLOYMENT, "fraud-xgb")
    assert "TrafficSplit/front" in names(Kind.MODEL_DEPLOYMENT, changed)


@pytest.mark.parametrize("odd", [None, [], "x", [1], [{"revision": 7}], {"revision": []}], ids=str)
def test_a_split_with_an_odd_status_stops_nothing(odd: Any) -> None:
    fields = ("candidates", "weights", "watch", "returning", "stableRevision")
    changed = manifest(Kind.TRAFFIC_SPLIT, "fraud", {"candidates": odd}) | {"status": dict.fromkeys(fields, odd)}
    assert "TrafficSplit/fraud" in names(Kind.TRAFFIC_SPLIT, changed)
