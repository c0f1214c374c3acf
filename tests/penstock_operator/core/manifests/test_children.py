"""The children of a ModelDeployment: what they hold, how they are secured, and that they never change by themselves."""

import json
from typing import Any

import pytest
from tests.fakes.api_server import as_stored
from tests.fakes.people import People

from penstock_contract.environment import GRPC_OFF, ExtraFile, FetchEnvironment, ServingEnvironment
from penstock_operator.adapters.kubernetes import FIELD_MANAGER, path
from penstock_operator.api.v1alpha1.model_deployment import ModelDeploymentSpec
from penstock_operator.core import names
from penstock_operator.core.difference import differs
from penstock_operator.core.manifests.endpoint import ToRevision, ToRouter, endpoint_service, endpoint_url
from penstock_operator.core.manifests.ownership import owner_uids, shared_reference, shares_an_owner
from penstock_operator.core.manifests.revision import (
    controller_revision,
    deployment,
    disruption_budget,
    headless_service,
)
from penstock_operator.core.manifests.router import RouterSettings, router_manifests
from penstock_operator.core.manifests.serving_access import network_policy, service_account
from penstock_operator.core.manifests.serving_pod import ServingImage, serving_pod_template
from penstock_operator.core.objects import Kind, Manifest, kind_of, ref_of

DIGEST = "9f2c" * 16
NAME = "fraud-9f2c0000"
OWNER: Manifest = {
    "apiVersion": "penstock.dev/v1alpha1",
    "kind": "ModelDeployment",
    "metadata": {"name": "fraud", "namespace": "shop", "uid": "uid-1"},
}
SPECS: dict[str, dict[str, Any]] = {
    "small": {},
    "full": {
        "model": {"uri": "pvc://models/fraud/model.onnx", "sha256": DIGEST, "version": "3"}
        | {"credentials": {"secretName": "models-s3"}},
        "serving": {"modelName": "f", "timeout": "30s", "concurrency": {"max": 8, "queue": 16}},
        "resources": {"requests": {"cpu": 0.5, "memory": "1Gi"}, "limits": {"memory": "2Gi", "cpu": 1}},
        "pod": {
            "nodeSelector": {"disk": "ssd"},
            "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
            "labels": {"team": "risk"},
            "annotations": {"note": "ours"},
            "imagePullSecrets": [{"name": "registry"}],
        },
    },
    "from a config map": {"model": {"uri": "configmap://models/model.onnx", "sha256": DIGEST}},
    "without requests": {"resources": {"requests": {}, "limits": {}}},
    "from an image": {"model": {"uri": "image://ghcr.io/acme/fraud:3#models/model.onnx", "sha256": DIGEST}},
    "with everything": {
        "model": {
            "uri": "models:/fraud/3",
            "sha256": DIGEST,
            "files": [{"path": "w.bin", "sha256": DIGEST}, {"path": "l.txt", "sha256": DIGEST, "uri": "s3://m/l.txt"}],
            "profile": {"sha256": DIGEST, "uri": "s3://m/p.json"},
            "credentials": {"secretName": "mlflow"},
        },
        "serving": {
            "batching": {"maxRows": 16, "maxDelay": "2ms"},
            "grpc": {"enabled": False},
            "predictionLog": {"destination": "s3://logs/f", "sample": 0.5, "credentials": {"secretName": "logs"}},
        },
    },
}


def spec(name: str = "small") -> ModelDeploymentSpec:
    wire = {"model": {"uri": "s3://models/fraud/3/model.onnx", "sha256": DIGEST}, **SPECS[name]}
    if name == "full":
        wire["resources"]["requests"]["cpu"] = "0.5"
    return ModelDeploymentSpec.parse(wire)


def template(name: str = "small") -> Manifest:
    return serving_pod_template(
        namespace="shop",
        model_deployment="fraud",
        revision=NAME,
        spec=spec(name),
        image=ServingImage(image="penstock/server:1", pull_policy="IfNotPresent"),
    )


def pod(name: str = "small") -> dict[str, Any]:
    found: dict[str, Any] = template(name)["spec"]
    return found


def containers(name: str = "small") -> list[dict[str, Any]]:
    return [*pod(name)["initContainers"], *pod(name)["containers"]]


def environment(container: dict[str, Any]) -> dict[str, str]:
    return {variable["name"]: variable["value"] for variable in container["env"]}


def children(name: str = "small", owner: Manifest = OWNER) -> list[Manifest]:
    return [
        controller_revision(owner, NAME, number=1, content={"model": {}}, pod_template=template(name)),
        deployment(owner, NAME, pod_template=template(name), replicas=2),
        headless_service(owner, NAME),
        disruption_budget(owner, NAME),
        service_account(owner),
        network_policy(owner, grpc=True),
        endpoint_service(owner, ToRevision(revision=NAME, grpc=True)),
    ]


# --- the pod ---


@pytest.mark.parametrize("name", SPECS)
def test_pods_satisfy_the_restricted_pod_security_standard(name: str) -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/, field by field."""
    spec_ = pod(name)
    assert not {"hostNetwork", "hostPID", "hostIPC", "hostUsers"} & set(spec_)
    assert spec_["securityContext"]["runAsNonRoot"] is True
    assert spec_["securityContext"]["runAsUser"] > 0
    assert spec_["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    # Kubernetes' own check lets images in; its page does not say so yet.
    allowed = {"configMap", "emptyDir", "persistentVolumeClaim", "projected", "secret", "csi", "ephemeral", "image"}
    for volume in spec_["volumes"]:
        assert set(volume) - {"name"} <= allowed
    for container in containers(name):
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert "privileged" not in context
        assert "procMount" not in context
        assert all("hostPort" not in port for port in container.get("ports", ()))


@pytest.mark.parametrize("name", SPECS)
def test_nothing_but_its_own_volumes_can_be_written_by_a_pod(name: str) -> None:
    assert all(container["securityContext"]["readOnlyRootFilesystem"] is True for container in containers(name))
    [server] = pod(name)["containers"]
    writable = [mount["mountPath"] for mount in server["volumeMounts"] if not mount.get("readOnly")]
    assert writable == ["/tmp"]


def test_pods_have_no_token_and_learn_nothing_of_their_neighbours() -> None:
    assert pod()["automountServiceAccountToken"] is False
    assert pod()["enableServiceLinks"] is False
    assert pod()["serviceAccountName"] == service_account(OWNER)["metadata"]["name"]
    assert service_account(OWNER)["automountServiceAccountToken"] is False


def test_credentials_are_seen_by_the_fetching_container_only() -> None:
    [fetch], [server] = pod("full")["initContainers"], pod("full")["containers"]
    credentials = next(volume for volume in pod("full")["volumes"] if volume["name"] == "credentials")

    assert credentials["secret"] == {"secretName": "models-s3", "defaultMode": 0o440, "optional": True}
    assert {"name": "credentials", "mountPath": "/credentials", "readOnly": True} in fetch["volumeMounts"]
    assert not {"credentials", "source"} & {mount["name"] for mount in server["volumeMounts"]}
    assert "/credentials" not in json.dumps(server)


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("full", {"persistentVolumeClaim": {"claimName": "models", "readOnly": True}}),
        ("from a config map", {"configMap": {"name": "models", "optional": True}}),
        ("from an image", {"image": {"reference": "ghcr.io/acme/fraud:3", "pullPolicy": "IfNotPresent"}}),
        ("small", None),
    ],
)
def test_a_claim_config_map_or_image_is_mounted_where_the_model_comes_from_one(
    name: str, source: dict[str, Any] | None
) -> None:
    found = [volume for volume in pod(name)["volumes"] if volume["name"] == "source"]

    assert found == ([{"name": "source", **source}] if source else [])


@pytest.mark.parametrize("name", SPECS)
def test_both_containers_read_back_what_the_operator_wrote(name: str) -> None:
    [fetch], [server] = pod(name)["initContainers"], pod(name)["containers"]
    fetching = FetchEnvironment.from_env(environment(fetch))
    serving = ServingEnvironment.from_env(environment(server))
    asked = spec(name)

    assert (fetching.uri, fetching.sha256) == (asked.model.uri, asked.model.sha256)
    assert fetching.destination == serving.model_path
    assert fetching.credentials_dir == ("/credentials" if asked.model.credentials else "")
    assert (serving.revision, serving.namespace) == (NAME, "shop")
    assert serving.model_name == (asked.serving.model_name or "fraud")
    assert serving.model_version == (asked.model.version or "")
    assert serving.request_timeout_seconds == asked.serving.timeout.total_seconds()
    assert (serving.concurrency_max, serving.queue_max) == (
        asked.serving.concurrency.max,
        asked.serving.concurrency.queue,
    )


@pytest.mark.parametrize("name", SPECS)
def test_a_pod_has_time_to_drain_and_to_answer_the_slowest_request(name: str) -> None:
    serving = ServingEnvironment.from_env(environment(pod(name)["containers"][0]))

    assert pod(name)["terminationGracePeriodSeconds"] > serving.drain_seconds + serving.request_timeout_seconds


def test_a_pod_is_ready_only_when_the_server_says_so_and_start_up_may_take_minutes() -> None:
    [server] = pod()["containers"]

    assert server["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "management"}
    assert server["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "management"}
    assert server["startupProbe"]["periodSeconds"] * server["startupProbe"]["failureThreshold"] >= 600


def test_last_words_are_read_from_the_log_where_a_container_says_none() -> None:
    assert {container["terminationMessagePolicy"] for container in containers()} == {"FallbackToLogsOnError"}


def test_what_a_user_shapes_is_in_the_pod_and_our_labels_win() -> None:
    made = template("full")

    assert made["metadata"]["labels"] == {"team": "risk", **names.revision_labels("fraud", NAME)}
    assert made["metadata"]["annotations"] == {"note": "ours"}
    assert made["spec"]["nodeSelector"] == {"disk": "ssd"}
    assert made["spec"]["imagePullSecrets"] == [{"name": "registry"}]
    assert made["spec"]["tolerations"] == [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}]


def test_what_was_not_asked_for_is_in_no_environment() -> None:
    """So that pods of an older image, and of an older spec, are told nothing new."""
    [fetch], [server] = pod()["initContainers"], pod()["containers"]
    said = {*environment(fetch), *environment(server)}
    later = ("FILES", "GRPC", "BATCHING", "PROFILE", "PREDICTION")
    assert not [name for name in said if any(word in name for word in later)]


def test_what_was_asked_for_reaches_the_containers() -> None:
    [fetch], [server] = pod("with everything")["initContainers"], pod("with everything")["containers"]
    fetching = FetchEnvironment.from_env(environment(fetch))
    serving = ServingEnvironment.from_env(environment(server))

    assert fetching.files == (
        ExtraFile(path="w.bin", sha256=DIGEST),
        ExtraFile(path="l.txt", sha256=DIGEST, uri="s3://m/l.txt"),
        ExtraFile(path="profile.json", sha256=DIGEST, uri="s3://m/p.json"),
    )
    assert serving.profile_path == "/models/profile.json"
    assert (serving.batching_max_rows, serving.batching_max_delay_seconds) == (16, 0.002)
    assert (serving.prediction_log, serving.prediction_log_sample) == ("s3://logs/f", 0.5)
    assert serving.grpc_port == GRPC_OFF
    assert [port["name"] for port in server["ports"]] == ["http", "management"]
    assert [port["name"] for port in pod()["containers"][0]["ports"]] == ["http", "management", "grpc"]


def test_each_container_sees_its_own_credentials_only() -> None:
    [fetch], [server] = pod("with everything")["initContainers"], pod("with everything")["containers"]
    volumes = {volume["name"]: volume for volume in pod("with everything")["volumes"]}
    serving = ServingEnvironment.from_env(environment(server))

    assert volumes["log-credentials"]["secret"]["secretName"] == "logs"
    assert {"name": "log-credentials", "mountPath": serving.prediction_log_credentials_dir, "readOnly": True} in (
        server["volumeMounts"]
    )
    assert "log-credentials" not in {mount["name"] for mount in fetch["volumeMounts"]}
    assert "credentials" not in {mount["name"] for mount in server["volumeMounts"]}


# --- the others ---


def test_every_child_is_owned_named_and_labelled_so_that_it_is_found_and_goes_with_its_owner() -> None:
    for child in children():
        [reference] = child["metadata"]["ownerReferences"]
        assert (reference["uid"], reference["controller"], reference["blockOwnerDeletion"]) == ("uid-1", True, False)
        assert child["metadata"]["namespace"] == "shop"
        assert child["metadata"]["labels"][names.MANAGED_BY] == "penstock"


def test_a_deployment_never_has_less_than_it_should_while_pods_are_replaced() -> None:
    made = deployment(OWNER, NAME, pod_template=template(), replicas=2)["spec"]

    assert made["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert made["selector"]["matchLabels"].items() <= made["template"]["metadata"]["labels"].items()


def test_the_headless_service_lists_ready_pods_of_its_revision_only() -> None:
    made = headless_service(OWNER, NAME)["spec"]

    assert made["clusterIP"] == "None"
    assert made["selector"] == {names.REVISION: NAME}
    assert "publishNotReadyAddresses" not in made


def test_a_drain_takes_one_pod_at_a_time_and_is_not_held_up_by_broken_ones() -> None:
    made = disruption_budget(OWNER, NAME)["spec"]

    assert (made["maxUnavailable"], made["unhealthyPodEvictionPolicy"]) == (1, "AlwaysAllow")


@pytest.mark.parametrize(("grpc", "ports"), [(True, [8080, 9000, 8081]), (False, [8080, 8081])])
def test_the_network_policy_opens_what_is_spoken_and_closes_the_nodes_credentials(
    ports: list[int], *, grpc: bool
) -> None:
    made = network_policy(OWNER, grpc=grpc)["spec"]

    assert made["podSelector"] == {"matchLabels": {names.MODEL_DEPLOYMENT: "fraud"}}
    assert sorted(made["policyTypes"]) == ["Egress", "Ingress"]
    assert [port["port"] for rule in made["ingress"] for port in rule["ports"]] == ports
    blocks = [peer["ipBlock"] for rule in made["egress"] for peer in rule["to"]]
    assert blocks == [
        {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]},
        {"cidr": "::/0", "except": ["fe80::/10"]},
    ]


def test_the_endpoint_changes_nothing_but_its_target() -> None:
    straight = endpoint_service(OWNER, ToRevision(revision=NAME, grpc=False))
    routed = endpoint_service(OWNER, ToRouter(port=11_922, grpc=False))

    assert straight["metadata"] == routed["metadata"]
    assert straight["spec"]["selector"] == {names.REVISION: NAME}
    assert routed["spec"]["selector"] == {names.APP_NAME: "penstock-router", names.MANAGED_BY: "penstock"}
    assert [port["targetPort"] for made in (straight, routed) for port in made["spec"]["ports"]] == [8080, 11_922]
    assert [port["port"] for made in (straight, routed) for port in made["spec"]["ports"]] == [80, 80]
    assert endpoint_url("fraud", "shop", "f") == "http://fraud.shop.svc/v2/models/f/infer"


def test_grpc_is_reached_at_its_own_port_straight_and_through_the_router() -> None:
    straight = endpoint_service(OWNER, ToRevision(revision=NAME, grpc=True))["spec"]["ports"]
    routed = endpoint_service(OWNER, ToRouter(port=11_922, grpc=True))["spec"]["ports"]

    assert [(port["name"], port["port"], port["targetPort"]) for port in straight] == [
        ("http", 80, 8080),
        ("grpc", 9000, 9000),
    ]
    assert [(port["name"], port["port"], port["targetPort"]) for port in routed] == [
        ("http", 80, 11_922),
        ("grpc", 9000, 11_922),
    ]
    assert [port["name"] for port in headless_service(OWNER, NAME)["spec"]["ports"]] == ["http", "grpc"]


def test_ownership_is_by_uid() -> None:
    other: Manifest = {**OWNER, "metadata": {**OWNER["metadata"], "uid": "uid-2"}}
    ours, theirs = headless_service(OWNER, NAME), headless_service(other, NAME)

    assert owner_uids(ours) == {"uid-1"}
    assert owner_uids({"metadata": {}}) == frozenset()
    assert shares_an_owner(ours, headless_service(OWNER, NAME))
    assert not shares_an_owner(ours, theirs)
    assert shared_reference(OWNER)["controller"] is False


@pytest.mark.parametrize("name", SPECS)
def test_the_same_spec_makes_the_same_children(name: str) -> None:
    assert json.dumps(children(name)) == json.dumps(children(name))


@pytest.mark.parametrize("name", SPECS)
def test_what_the_api_server_fills_in_is_no_difference(name: str) -> None:
    for child in children(name):
        assert not differs(as_stored(child), child), child["kind"]


@pytest.mark.controlplane
@pytest.mark.parametrize("name", SPECS)
async def test_what_the_real_api_server_fills_in_is_no_difference(people: People, namespace: str, name: str) -> None:
    manifest = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "owner", "namespace": namespace}}
    owner = {**OWNER, "metadata": {**OWNER["metadata"], "namespace": namespace}}
    owner["metadata"]["uid"] = (await people.create(manifest))["metadata"]["uid"]
    settings = RouterSettings(image="router:1", xds_address="xds.penstock.svc:18000", operator_namespace="penstock")
    routers = router_manifests(namespace, settings, [shared_reference(owner)])
    for child in [*children(name, owner), *routers]:
        ref = ref_of(kind_of(child), child)
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        stored = await people.client.request(
            "apply", path(ref), resource=ref.kind.resource.plural, body=child, query=query
        )
        assert stored is not None
        assert not differs(stored, child), f"{child['kind']}: {json.dumps(stored)}"
        if ref.kind is Kind.DEPLOYMENT:
            assert stored["spec"]["template"]["spec"]["dnsPolicy"] == "ClusterFirst", "defaults are filled in"
