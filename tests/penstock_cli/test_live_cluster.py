"""The plugin's one door to the API server, at a real one."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.fakes.people import People

from penstock_cli.cluster import SPLITS, LiveCluster
from penstock_cli.errors import PluginError
from penstock_operator.core.objects import Kind, ObjectRef

SPLIT: dict[str, Any] = {
    "apiVersion": "penstock.dev/v1alpha1",
    "kind": "TrafficSplit",
    "metadata": {"name": "fraud"},
    "spec": {"stable": {"modelDeployment": "fraud"}, "strategy": {"steps": [{"weight": 100}]}},
}


def live(kubeconfig: Path, namespace: str) -> LiveCluster:
    return LiveCluster(kubeconfig=str(kubeconfig), context=None, namespace=namespace)


@pytest.mark.controlplane
async def test_a_command_reaches_the_annotation_and_leaves_the_others(
    kubeconfig: Path, people: People, namespace: str
) -> None:
    split = {**SPLIT, "metadata": {"name": "fraud", "namespace": namespace, "annotations": {"mine": "kept"}}}
    await people.create(split)
    cluster = live(kubeconfig, namespace)
    await asyncio.to_thread(cluster.annotate, SPLITS, "fraud", "penstock.dev/command", '{"id": "1"}')
    ref = ObjectRef(kind=Kind.TRAFFIC_SPLIT, namespace=namespace, name="fraud")
    seen = await people.get(ref)
    assert seen is not None
    assert seen["metadata"]["annotations"] == {"mine": "kept", "penstock.dev/command": '{"id": "1"}'}
    assert seen["metadata"]["generation"] == 1


@pytest.mark.controlplane
async def test_objects_are_listed_and_an_unknown_name_is_answered_with_the_known(
    kubeconfig: Path, people: People, namespace: str
) -> None:
    await people.create({**SPLIT, "metadata": {"name": "fraud", "namespace": namespace}})
    cluster = live(kubeconfig, namespace)
    assert [wire["metadata"]["name"] for wire in await asyncio.to_thread(cluster.list, SPLITS)] == ["fraud"]
    with pytest.raises(PluginError, match=r"no trafficsplits named 'fruad' in namespace .*; there are: fraud"):
        await asyncio.to_thread(cluster.get, SPLITS, "fruad")


@pytest.mark.controlplane
def test_the_api_server_says_who_the_caller_is(kubeconfig: Path) -> None:
    assert live(kubeconfig, "default").who() == "kubernetes-admin"


@pytest.mark.controlplane
def test_a_kind_that_is_not_installed_says_what_to_install(kubeconfig: Path) -> None:
    with pytest.raises(PluginError, match=r"the CRDs are missing; install Penstock: helm install"):
        live(kubeconfig, "default").list("unheardof")


@pytest.mark.controlplane
def test_the_api_group_is_discovered(kubeconfig: Path) -> None:
    assert live(kubeconfig, "default").served_versions() == ("v1alpha1",)


@pytest.fixture
def nobody(tmp_path: Path) -> Path:
    """A kubeconfig of a cluster that does not answer."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "gone",
        "clusters": [{"name": "gone", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "jane", "user": {"token": "t"}}],
        "contexts": [{"name": "gone", "context": {"cluster": "gone", "user": "jane", "namespace": "shop"}}],
    }
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


def test_the_namespace_is_that_of_the_context(nobody: Path) -> None:
    assert LiveCluster(kubeconfig=str(nobody), context=None, namespace=None).namespace == "shop"


def test_an_api_server_that_does_not_answer_is_named(nobody: Path) -> None:
    cluster = LiveCluster(kubeconfig=str(nobody), context=None, namespace=None)
    with pytest.raises(PluginError, match=r"cannot reach the API server https://127\.0\.0\.1:1: .*is the cluster up"):
        cluster.list(SPLITS)


@pytest.mark.parametrize("content", ["", "{", "clusters: 3", json.dumps({"current-context": "x"})])
def test_a_kubeconfig_that_is_none_says_how_to_name_one(tmp_path: Path, content: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(content)
    with pytest.raises(PluginError, match="--kubeconfig"):
        LiveCluster(kubeconfig=str(path), context=None, namespace=None)


def test_an_unknown_context_is_refused(nobody: Path) -> None:
    with pytest.raises(PluginError, match="nope"):
        LiveCluster(kubeconfig=str(nobody), context="nope", namespace=None)
