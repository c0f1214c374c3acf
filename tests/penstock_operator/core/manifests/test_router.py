"""The fleet's manifests, and its start, life and end with a real Envoy."""

import asyncio
import itertools
import json
import time
from typing import Any

import aiohttp
import pytest
from tests.penstock_operator.adapters.xds.rig import ENVOY_FOLDER, LOOPBACK, Rig, running_rig, until

from penstock_operator.core.manifests.router import (
    SPLIT_PORTS,
    STATS_PORT,
    RouterSettings,
    router_manifests,
    router_selector,
)
from penstock_operator.core.objects import Kind, kind_of

SETTINGS = RouterSettings(
    image="penstock/router:dev", xds_address="penstock-xds.penstock.svc:18000", operator_namespace="penstock"
)


def manifest(kind: Kind, settings: RouterSettings = SETTINGS) -> dict[str, Any]:
    return next(made for made in router_manifests("shop", settings) if kind_of(made) is kind)


def pod_spec(settings: RouterSettings = SETTINGS) -> dict[str, Any]:
    spec: dict[str, Any] = manifest(Kind.DEPLOYMENT, settings)["spec"]["template"]["spec"]
    return spec


def container(settings: RouterSettings = SETTINGS) -> dict[str, Any]:
    (only,) = pod_spec(settings)["containers"]
    assert isinstance(only, dict)
    return only


def test_the_fleet_is_a_deployment_with_what_it_needs() -> None:
    made = router_manifests("shop", SETTINGS)
    assert {kind_of(one) for one in made} == {
        Kind.DEPLOYMENT,
        Kind.SERVICE_ACCOUNT,
        Kind.POD_DISRUPTION_BUDGET,
        Kind.NETWORK_POLICY,
    }
    for one in made:
        assert (one["metadata"]["name"], one["metadata"]["namespace"]) == ("penstock-router", "shop")
        assert one["metadata"]["labels"] == router_selector()
        assert "ownerReferences" not in one["metadata"]


def test_the_same_settings_give_the_same_manifests() -> None:
    assert json.dumps(router_manifests("shop", SETTINGS)) == json.dumps(router_manifests("shop", SETTINGS))


def test_owners_are_in_one_order_however_they_are_given() -> None:
    owners = [{"uid": uid} for uid in ("b", "a", "c")]
    orders = [router_manifests("shop", SETTINGS, order) for order in itertools.permutations(owners)]
    assert all(order == orders[0] for order in orders)
    assert [owner["uid"] for owner in orders[0][0]["metadata"]["ownerReferences"]] == ["a", "b", "c"]


def test_no_router_is_taken_away_before_another_one_is_ready() -> None:
    spec = manifest(Kind.DEPLOYMENT)["spec"]
    assert spec["replicas"] == 2
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert manifest(Kind.POD_DISRUPTION_BUDGET)["spec"]["maxUnavailable"] == 1


def test_pods_pass_the_restricted_pod_security_standard() -> None:
    spec = pod_spec()
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert "memory" in container()["resources"]["limits"]


def test_an_end_has_time_for_its_drain() -> None:
    assert pod_spec()["terminationGracePeriodSeconds"] >= 40


def test_the_network_policy_opens_split_ports_to_all_and_statistics_to_the_operator() -> None:
    everybody, operator = manifest(Kind.NETWORK_POLICY)["spec"]["ingress"]
    assert "from" not in everybody
    assert everybody["ports"] == [{"protocol": "TCP", "port": 10_000, "endPort": 19_999}]
    assert operator["ports"] == [{"protocol": "TCP", "port": STATS_PORT}]
    (source,) = operator["from"]
    assert source["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "penstock"}
    assert STATS_PORT not in SPLIT_PORTS


def test_pull_secrets_are_named_only_if_there_are_some() -> None:
    assert "imagePullSecrets" not in pod_spec()
    settings = RouterSettings(
        image="x", xds_address="a:1", operator_namespace="penstock", image_pull_secrets=("registry",)
    )
    assert pod_spec(settings)["imagePullSecrets"] == [{"name": "registry"}]


@pytest.mark.parametrize("address", ["penstock-xds", ":18000", "host:port", ""])
def test_an_address_without_a_port_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="xds_address must be host:port"):
        RouterSettings(image="x", xds_address=address, operator_namespace="penstock")


def test_the_kubelet_expands_nothing_but_the_name_of_the_pod() -> None:
    arguments = container()["args"]
    assert [argument for argument in arguments if "$(" in argument] == ["$(POD_NAME)"]


@pytest.mark.envoy
async def test_envoy_accepts_the_bootstrap() -> None:
    arguments = [argument.replace("$(POD_NAME)", "router-a") for argument in container()["args"]]
    process = await asyncio.create_subprocess_exec(
        ENVOY_FOLDER / "envoy", *arguments, "--mode", "validate", stderr=asyncio.subprocess.PIPE
    )
    _, stderr = await process.communicate()
    assert process.returncode == 0, stderr.decode()
    assert b"eprecated" not in stderr


async def shell(script: list[str], rig: Rig) -> tuple[int, str]:
    """Run a probe or hook of the manifests against the rig's router."""
    bash, flag, text = script
    process = await asyncio.create_subprocess_exec(
        bash, flag, text.replace("127.0.0.1/9901", f"127.0.0.1/{rig.routers[0].admin_port}"),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


@pytest.mark.envoy
async def test_a_router_without_configuration_is_alive_and_not_ready() -> None:
    async with running_rig() as rig:
        probe = container()["livenessProbe"]["exec"]["command"]
        assert (await shell_on_nothing(probe))[0] != 0
        router = await rig.router()

        async def alive() -> bool:
            return (await shell(probe, rig))[0] == 0

        await until(alive)
        assert not await rig.ready(router)


async def shell_on_nothing(script: list[str]) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *script[:2], script[2].replace("/9901", "/1"), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


@pytest.mark.envoy
async def test_an_end_waits_for_answers_that_are_under_way() -> None:
    async with running_rig() as rig:
        model = await rig.model("fraud-a")
        router = await rig.router()
        await rig.serve(rig.route(model.backend(100)))
        slow = asyncio.create_task(status(rig, {"x-delay-seconds": "3"}))
        await until(lambda: model.answered == 1)
        hook = container()["lifecycle"]["preStop"]["exec"]["command"]
        shorter = [*hook[:2], hook[2].replace("sleep 15", "sleep 1")]
        assert shorter != hook
        begin = time.monotonic()
        ending = asyncio.create_task(shell(shorter, rig))

        async def unready() -> bool:
            return not await rig.ready(router)

        await until(unready)
        assert await status(rig, {}) == (200, "close")
        code, output = await ending
        assert code == 0, output
        assert slow.done() or time.monotonic() - begin >= 2
        assert (await slow)[0] == 200


async def status(rig: Rig, headers: dict[str, str]) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"http://{LOOPBACK}:{rig.port}/v2/models/fraud/infer", headers=headers) as response,
    ):
        await response.read()
        return response.status, response.headers.get("Connection", "")
