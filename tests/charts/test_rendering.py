"""What the chart installs, for every value that changes it."""

import inspect
import re
from itertools import pairwise
from typing import Any

import pytest
import yaml
from tests.charts.conftest import CHART, ROOT, Helm, Manifest, Render

from penstock_operator.adapters import leader_endpoint
from penstock_operator.settings import read_settings

VARIANTS: dict[str, tuple[str, ...]] = {
    "the defaults": (),
    "two namespaces": ("watchNamespaces={shop,risk}",),
    "no CRDs": ("crds.enabled=false",),
    "everything on": (
        "metrics.serviceMonitor.enabled=true",
        "metrics.serviceMonitor.labels.release=prometheus",
        "metrics.rules.enabled=true",
        "metrics.rules.labels.release=prometheus",
        "metrics.dashboard.enabled=true",
        "imagePullSecrets[0].name=registry",
        "router.imagePullSecrets={registry}",
        "operator.webhookHosts={alerts.example.com,.monitoring.svc}",
        "operator.podLabels.team=platform",
        "operator.podAnnotations.note=x",
        "operator.nodeSelector.disk=ssd",
        "operator.tolerations[0].operator=Exists",
        "operator.priorityClassName=system-cluster-critical",
        "gateway.enabled=true",
        "prometheus.url=http://prometheus.monitoring.svc:9090",
        "prometheus.tokenSecret=prometheus-token",
    ),
    "everything off": ("rbac.aggregate=false", "networkPolicy.enabled=false", "operator.replicas=1"),
}
every_variant = pytest.mark.parametrize("values", VARIANTS.values(), ids=VARIANTS.keys())


def of(manifests: list[Manifest], kind: str) -> dict[str, Manifest]:
    return {manifest["metadata"]["name"]: manifest for manifest in manifests if manifest["kind"] == kind}


def pod_specs(manifests: list[Manifest]) -> list[Any]:
    return [
        manifest["spec"] if manifest["kind"] == "Pod" else manifest["spec"]["template"]["spec"]
        for manifest in manifests
        if manifest["kind"] in ("Pod", "Deployment", "Job", "StatefulSet", "DaemonSet")
    ]


def rules(manifests: list[Manifest]) -> list[Any]:
    """The rules that are bound to the operator."""
    bound = [
        rule
        for manifest in manifests
        if manifest["kind"] in ("Role", "ClusterRole")
        and "aggregate-to" not in str(manifest["metadata"].get("labels", {}))
        for rule in manifest["rules"]
    ]
    assert bound
    return bound


def environment(manifests: list[Manifest]) -> dict[str, str]:
    (container,) = of(manifests, "Deployment")["penstock-operator"]["spec"]["template"]["spec"]["containers"]
    return {entry["name"]: entry.get("value", "10.0.0.1") for entry in container["env"]}


def test_the_chart_passes_its_own_lint(helm: Helm) -> None:
    done = helm("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout + done.stderr


@every_variant
def test_every_pod_is_restricted(render: Render, values: tuple[str, ...]) -> None:
    for spec in pod_specs(render(*values)):
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] == 65532
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["enableServiceLinks"] is False
        for field in ("hostNetwork", "hostPID", "hostIPC", "hostPath"):
            assert field not in str(spec)
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}
            assert "memory" in container["resources"]["limits"]


@every_variant
def test_no_rule_has_a_wildcard_or_reaches_what_the_operator_must_not(render: Render, values: tuple[str, ...]) -> None:
    forbidden = {
        "secrets",
        "pods/exec",
        "pods/attach",
        "pods/portforward",
        "nodes",
        "namespaces",
        "roles",
        "rolebindings",
        "clusterroles",
        "clusterrolebindings",
        "serviceaccounts/token",
        "customresourcedefinitions",
    }
    for rule in rules(render(*values)):
        words = {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
        assert not {word for word in words if "*" in word}
        assert not forbidden & words
        # What somebody else keeps in a ConfigMap is neither read nor changed.
        assert "configmaps" not in words or rule["verbs"] == ["create"]
        assert not {"escalate", "bind", "impersonate", "deletecollection"} & words


@every_variant
def test_the_operator_may_never_write_what_people_write(render: Render, values: tuple[str, ...]) -> None:
    for rule in rules(render(*values)):
        if "penstock.dev" in rule["apiGroups"] and any("/" not in resource for resource in rule["resources"]):
            assert rule["verbs"] == ["list", "watch"]


def test_every_rule_says_its_reason() -> None:
    for name in ("_rules.tpl", "rbac.yaml"):
        lines = (CHART / "templates" / name).read_text().splitlines()
        for before, line in pairwise(lines):
            # Two rules in a row share a reason: create has no name to be restricted by.
            if line.startswith("- apiGroups:"):
                assert before.startswith("#") or before == "  verbs: [create]", line


def test_all_namespaces_are_watched_by_a_cluster_role(render: Render) -> None:
    manifests = render()
    assert "penstock-operator" in of(manifests, "ClusterRole")
    assert "penstock-operator" in of(manifests, "ClusterRoleBinding")
    assert environment(manifests)["WATCH_NAMESPACES"] == ""


def test_listed_namespaces_are_watched_by_roles_and_no_cluster_role(render: Render) -> None:
    manifests = render("watchNamespaces={shop,risk}", "rbac.aggregate=false")
    assert of(manifests, "ClusterRole") == {}
    assert of(manifests, "ClusterRoleBinding") == {}
    for kind in ("Role", "RoleBinding"):
        places = {
            (entry["metadata"]["namespace"], entry["metadata"]["name"]) for entry in manifests if entry["kind"] == kind
        }
        assert places == {
            ("penstock-system", "penstock-operator-leader"),
            ("shop", "penstock-operator"),
            ("risk", "penstock-operator"),
        }
    for binding in (entry for entry in manifests if entry["kind"] == "RoleBinding"):
        (subject,) = binding["subjects"]
        assert subject == {"kind": "ServiceAccount", "name": "penstock-operator", "namespace": "penstock-system"}
    assert environment(manifests)["WATCH_NAMESPACES"] == "shop,risk"


def test_both_modes_give_the_same_rights(render: Render) -> None:
    cluster = of(render(), "ClusterRole")["penstock-operator"]["rules"]
    role = next(
        entry
        for entry in render("watchNamespaces={shop}")
        if entry["kind"] == "Role" and entry["metadata"]["namespace"] == "shop"
    )
    assert role["rules"] == cluster


def gateway_rights(manifests: list[Manifest]) -> dict[str, list[str]]:
    found = [rule for rule in rules(manifests) if rule["apiGroups"] == ["gateway.networking.k8s.io"]]
    return {resource: rule["verbs"] for rule in found for resource in rule["resources"]}


def test_rights_on_the_gateway_api_come_only_where_it_is_asked_for(render: Render) -> None:
    assert gateway_rights(render()) == {}
    assert environment(render())["GATEWAY_ENABLED"] == "false"
    enabled = {"httproutes": ["get", "create", "patch", "delete"], "gateways": ["get"]}
    assert gateway_rights(render("gateway.enabled=true")) == {**enabled, "gatewayclasses": ["get"]}
    # Classes belong to no namespace, so a Role cannot grant them.
    assert gateway_rights(render("gateway.enabled=true", "watchNamespaces={shop}")) == enabled


def rights_on_specs(manifests: list[Manifest]) -> set[str]:
    found = [rule for rule in rules(manifests) if "modeldeployments" in rule["resources"]]
    return {verb for rule in found for verb in rule["verbs"]}


def test_the_right_to_write_a_spec_comes_only_where_it_is_asked_for(render: Render) -> None:
    assert rights_on_specs(render()) == {"list", "watch"}
    assert rights_on_specs(render("modelUpdates.enabled=true")) == {"list", "watch", "get", "patch"}
    others = [rule for rule in rules(render("modelUpdates.enabled=true")) if "patch" in rule["verbs"]]
    assert not any({"trafficsplits", "driftpolicies"} & set(rule["resources"]) for rule in others)


@every_variant
def test_the_operator_understands_its_environment(render: Render, values: tuple[str, ...]) -> None:
    given = environment(render(*values))
    settings = read_settings(given)
    assert settings.xds_address == "penstock-xds.penstock-system.svc:18000"
    assert settings.lease_name == "penstock-operator"
    # Every variable that the chart sets is one that the operator reads.
    read = set(re.findall(r'"([A-Z_]+)"', inspect.getsource(read_settings)))
    assert set(given) <= read


def test_images_are_taken_by_digest_before_tag_before_version(render: Render) -> None:
    digest = "sha256:" + "a" * 64
    given = environment(render("serving.image.tag=dev", "router.image.tag=dev", f"router.image.digest={digest}"))
    assert given["SERVING_IMAGE"] == "penstock/server:dev"
    assert given["ROUTER_IMAGE"] == f"penstock/router@{digest}"
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    assert environment(render())["SERVING_IMAGE"] == f"penstock/server:{version}"


def test_the_chart_has_the_version_of_the_package() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    package = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert package is not None
    assert chart["version"] == chart["appVersion"] == package[1]


def test_the_xds_service_is_led_by_the_leader(render: Render) -> None:
    manifests = render()
    service = of(manifests, "Service")[leader_endpoint.SERVICE]
    assert "selector" not in service["spec"]
    assert [port["port"] for port in service["spec"]["ports"]] == [18000]
    slices = [rule for rule in rules(manifests) if "endpointslices" in rule["resources"]]
    assert [rule["resourceNames"] for rule in slices] == [[leader_endpoint._NAME]]


def test_xds_is_for_routers_only(render: Render) -> None:
    metrics, xds = of(render(), "NetworkPolicy")["penstock-operator"]["spec"]["ingress"]
    assert metrics == {"ports": [{"port": "metrics", "protocol": "TCP"}]}
    (peer,) = xds["from"]
    assert peer["namespaceSelector"] == {}
    assert peer["podSelector"] == {"matchLabels": {"app.kubernetes.io/name": "penstock-router"}}


def test_disruptions_and_updates_leave_an_operator(render: Render) -> None:
    manifests = render()
    deployment = of(manifests, "Deployment")["penstock-operator"]["spec"]
    assert deployment["replicas"] == 2
    assert deployment["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    budget = of(manifests, "PodDisruptionBudget")["penstock-operator"]["spec"]
    assert budget["maxUnavailable"] == 1
    assert budget["selector"] == deployment["selector"]
    assert deployment["selector"]["matchLabels"].items() <= deployment["template"]["metadata"]["labels"].items()


def test_what_is_optional_is_off_until_it_is_asked_for(render: Render) -> None:
    assert of(render(), "ServiceMonitor") == {}
    monitor = of(render(*VARIANTS["everything on"]), "ServiceMonitor")["penstock-operator"]
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    off = render(*VARIANTS["everything off"])
    assert of(off, "NetworkPolicy") == {}
    assert "penstock-view" not in of(off, "ClusterRole")


def test_the_notes_name_the_next_command(helm: Helm) -> None:
    done = helm("install", "penstock", str(CHART), "--dry-run=client", "--namespace", "penstock-system")
    assert "kubectl apply -f examples/modeldeployment.yaml" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("replicas=3", "'replicas' not allowed"),
        ("operator.image.name=x", "'name' not allowed"),
        ("metrics.serviceMonitor.scrape=1s", "'scrape' not allowed"),
        ("operator.replicas=0", "/operator/replicas"),
        ("operator.logLevel=loud", "/operator/logLevel"),
        ("serving.image.pullPolicy=Sometimes", "/serving/image/pullPolicy"),
        ("serving.image.digest=latest", "/serving/image/digest"),
        ("watchNamespaces={Shop}", "/watchNamespaces/0"),
        ("watchNamespaces=shop", "/watchNamespaces"),
        ("router.image.pullPolicy=Always", "must be the same"),
    ],
)
def test_a_value_that_means_nothing_is_refused_by_its_name(helm: Helm, value: str, said: str) -> None:
    done = helm("template", "penstock", str(CHART), "--set", value)
    assert done.returncode != 0
    assert said in done.stderr


def test_every_object_of_the_schema_refuses_unknown_keys() -> None:
    schema = yaml.safe_load((CHART / "values.schema.json").read_text())

    def open_objects(node: Any, path: str) -> list[str]:
        found = (
            [path]
            if isinstance(node, dict) and "properties" in node and node.get("additionalProperties") is not False
            else []
        )
        if isinstance(node, dict):
            for key, child in node.items():
                found += open_objects(child, f"{path}/{key}")
        return found

    assert open_objects(schema, "") == []


def test_every_value_is_in_the_schema_and_has_its_default() -> None:
    schema = yaml.safe_load((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    def missing(node: Any, value: Any, path: str) -> list[str]:
        if "$ref" in node:
            node = schema["definitions"][node["$ref"].rsplit("/", 1)[1]]
        if not value or not isinstance(value, dict) or "properties" not in node:
            return []
        found = [f"{path}.{key}" for key in node["properties"].keys() ^ value.keys() if key != "global"]
        for key in node["properties"].keys() & value.keys():
            found += missing(node["properties"][key], value[key], f"{path}.{key}")
        return found

    assert missing(schema, values, "") == []


def test_the_charts_crds_are_those_of_crds_byte_for_byte() -> None:
    originals = {file.name: file.read_bytes() for file in (ROOT / "crds").glob("*.yaml")}
    copies = {file.name: file.read_bytes() for file in (CHART / "files" / "crds").glob("*.yaml")}
    assert originals == copies, "run: cp crds/*.yaml charts/penstock/files/crds/"


@pytest.mark.parametrize("keep", [True, False], ids=["kept", "not kept"])
def test_crds_render_as_they_are_but_for_their_metadata(render: Render, *, keep: bool) -> None:
    rendered = of(render(f"crds.keep={str(keep).lower()}"), "CustomResourceDefinition")
    for file in (ROOT / "crds").glob("*.yaml"):
        original = yaml.safe_load(file.read_text())
        shown = rendered[original["metadata"]["name"]]
        assert shown["spec"] == original["spec"]
        annotations = shown["metadata"].get("annotations", {})
        assert annotations == ({"helm.sh/resource-policy": "keep"} if keep else {})
    assert len(rendered) == 3


def test_crds_can_be_left_out(render: Render) -> None:
    assert of(render("crds.enabled=false"), "CustomResourceDefinition") == {}
