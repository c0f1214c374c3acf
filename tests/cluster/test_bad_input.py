"""A model that cannot be served is told within 30 s, restarts nothing again and again, and what served goes on."""

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest
from onnx import helper, numpy_helper
from tests.cluster.api import Manifest, condition, wait
from tests.cluster.scene import Scene, Traffic, example
from tests.penstock_server import onnx_models

pytestmark = pytest.mark.cluster

#: A promise to the user.
TOLD_SECONDS = 30.0
#: Containers that were started again in those 30 s: the first time at once, then with the kubelet's growing pauses.
RESTARTS_MAX = 3


def _hungry() -> bytes:
    """Return a model of 200 bytes that fills 2 GiB."""
    shape = numpy_helper.from_array(np.array([512, 1024, 1024], np.int64), "shape")
    fill = numpy_helper.from_array(np.array([1], np.float32))
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["big"], value=fill),
        helper.make_node("ReduceSum", ["big"], ["sum"], keepdims=0),
        helper.make_node("Add", ["x", "sum"], ["y"]),
    ]
    x, y = onnx_models.tensor("x", "FP32", [None]), onnx_models.tensor("y", "FP32", [None])
    content: bytes = onnx_models.model(nodes, [x], [y], initializer=[shape]).SerializeToString()
    return content


FILES: dict[str, bytes] = {
    "text.onnx": b"This is not a model, it is a text.",
    "empty.onnx": b"",
    "unknown-operator.onnx": onnx_models.unknown_operator().SerializeToString(),
    "escaping.onnx": onnx_models.with_external_data("../../etc/passwd").SerializeToString(),
    "hungry.onnx": _hungry(),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bad:
    """A model that cannot be served, and what is to be said of it."""

    name: str
    uri: str
    sha256: str
    reason: str
    words: str
    more: Manifest = field(default_factory=dict)
    final: bool = False
    """Whether trying again is hopeless, so that no pod is left."""


def _file(name: str, reason: str, words: str) -> Bad:
    digest = hashlib.sha256(FILES[name]).hexdigest()
    return Bad(name=name, uri=f"configmap://bad/{name}", sha256=digest, reason=reason, words=words, final=True)


BAD = [
    Bad(name="missing key", uri="configmap://bad/none.onnx", sha256="0" * 64, reason="SourceNotFound", words="none"),
    Bad(
        name="missing ConfigMap",
        uri="configmap://nowhere/model.onnx",
        sha256="0" * 64,
        reason="SourceNotFound",
        words="nowhere",
    ),
    Bad(
        name="missing host",
        uri="http://nobody.invalid/model.onnx",
        sha256="0" * 64,
        reason="SourceUnavailable",
        words="nobody.invalid",
    ),
    Bad(
        name="missing Secret",
        uri="http://nobody.invalid/model.onnx",
        sha256="0" * 64,
        reason="InvalidConfiguration",
        words="Secret",
        more={"credentials": {"secretName": "no-such-secret"}},
    ),
    Bad(
        name="missing claim",
        uri="pvc://no-such-claim/model.onnx",
        sha256="0" * 64,
        reason="Unschedulable",
        words="no-such-claim",
    ),
    Bad(
        name="wrong sha256",
        uri="configmap://bad/text.onnx",
        sha256="0" * 64,
        reason="ChecksumMismatch",
        words=hashlib.sha256(FILES["text.onnx"]).hexdigest(),
    ),
    _file("text.onnx", "NotOnnx", "the file is not ONNX"),
    _file("unknown-operator.onnx", "UnknownOperator", "Frobnicate"),
    _file("escaping.onnx", "UnsafeExternalData", "passwd"),
    _file("hungry.onnx", "OutOfMemory", "limits.memory"),
]
IDS = [bad.name for bad in BAD]


@pytest.fixture(scope="class")
def traffic(scene: Scene) -> Traffic:
    """A client of a good model."""
    scene.config_map("bad", FILES)
    scene.serve(replicas=1)
    return scene.ask(rate=20)


def ready_of(scene: Scene, kind: str, name: str = "tumor") -> Manifest:
    return condition(scene.find(kind, name), "Ready")


class TestBadModels:
    lasts_seconds = 110

    @pytest.mark.parametrize("bad", BAD, ids=IDS)
    def test_a_model_that_cannot_be_served_is_told_and_gets_no_traffic(
        self, scene: Scene, traffic: Traffic, bad: Bad
    ) -> None:
        good = scene.status("ModelDeployment")["stableRevision"]
        model = {"uri": bad.uri, "sha256": bad.sha256, "version": bad.name, "credentials": None, **bad.more}
        scene.api.merge("ModelDeployment", "tumor", scene.namespace, {"spec": {"model": model}})

        def told() -> bool:
            ready = ready_of(scene, "ModelDeployment")
            known = ready.get("status") == "False" and f"{bad.reason}: " in ready["message"]
            return known and (not bad.final or scene.stalled("ModelDeployment").get("reason") == "RevisionFailed")

        wait(f"{bad.reason} is told", told, seconds=TOLD_SECONDS, picture=scene.picture)
        status = scene.status("ModelDeployment")
        message = ready_of(scene, "ModelDeployment")["message"]
        assert bad.words in message
        assert f"{good} goes on serving" in message
        assert status["stableRevision"] == good
        assert condition(scene.get("ModelDeployment"), "Available")["status"] == "True"
        latest = status["latestRevision"]
        selector = f"penstock.dev/revision={latest}"
        if bad.final:
            wait("its pods are taken away", lambda: scene.pods(selector) == [], seconds=30, picture=scene.picture)
        pods = scene.api.list("Pod", scene.namespace, selector)
        assert restarts(pods) <= RESTARTS_MAX
        assert traffic.read().asked(latest) == 0

    def test_nothing_failed_meanwhile_and_the_good_model_is_ready_again(self, scene: Scene, traffic: Traffic) -> None:
        scene.change_model("tumor-v1.onnx", "1")
        scene.wait_ready("ModelDeployment", seconds=30)
        traffic.wait_for_more(20)
        assert traffic.failed_otherwise() == {}

    def test_what_is_cured_from_outside_is_served(self, scene: Scene) -> None:
        scene.apply(
            scene.deployment(
                "cured", replicas=1, model=scene.model("tumor-v2.onnx") | {"uri": "configmap://later/tumor-v2.onnx"}
            )
        )
        wait(
            "SourceNotFound is told",
            lambda: "SourceNotFound" in ready_of(scene, "ModelDeployment", "cured").get("message", ""),
            seconds=TOLD_SECONDS,
            picture=scene.picture,
        )
        models = scene.get("ConfigMap", "tumor-models")["binaryData"]
        scene.apply(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "later"},
                "binaryData": {"tumor-v2.onnx": models["tumor-v2.onnx"]},
            }
        )
        scene.wait_ready("ModelDeployment", "cured", seconds=120)


def restarts(pods: list[Manifest]) -> int:
    statuses = [
        status
        for pod in pods
        for field_ in ("initContainerStatuses", "containerStatuses")
        for status in pod["status"].get(field_, [])
    ]
    return max((int(status["restartCount"]) for status in statuses), default=0)


@pytest.fixture
def denial(scene: Scene) -> Iterator[Callable[[], None]]:
    """A cluster-wide policy, for this namespace only, that admits no serving pod of version 2."""
    name = f"deny-{scene.namespace}"
    kinds = ("ValidatingAdmissionPolicyBinding", "ValidatingAdmissionPolicy")

    def deny() -> None:
        rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
        scene.api.apply(
            {
                "apiVersion": "admissionregistration.k8s.io/v1",
                "kind": "ValidatingAdmissionPolicy",
                "metadata": {"name": name},
                "spec": {
                    "matchConstraints": {"resourceRules": [rule]},
                    "validations": [{"expression": "false", "message": "the board admits no pods today"}],
                },
            }
        )
        namespaces = {"matchLabels": {"kubernetes.io/metadata.name": scene.namespace}}
        scene.api.apply(
            {
                "apiVersion": "admissionregistration.k8s.io/v1",
                "kind": "ValidatingAdmissionPolicyBinding",
                "metadata": {"name": name},
                "spec": {
                    "policyName": name,
                    "validationActions": ["Deny"],
                    "matchResources": {"namespaceSelector": namespaces},
                },
            }
        )

    yield deny
    for kind in kinds:
        scene.api.delete(kind, name)


class TestDeniedPods:
    lasts_seconds = 50

    def test_a_quota_that_is_used_up_is_told_and_what_serves_goes_on(self, scene: Scene) -> None:
        scene.serve(replicas=1)
        scene.apply(
            {
                "apiVersion": "v1",
                "kind": "ResourceQuota",
                "metadata": {"name": "none-left"},
                "spec": {"hard": {"pods": "0"}},
            }
        )
        wait("the quota counts", lambda: scene.get("ResourceQuota", "none-left").get("status"), seconds=30)
        good = scene.status("ModelDeployment")["stableRevision"]
        latest = scene.change_model("tumor-v2.onnx", "2")

        def told() -> bool:
            return "PodsDenied: " in ready_of(scene, "ModelDeployment").get("message", "")

        wait("the denial is told", told, seconds=TOLD_SECONDS, picture=scene.picture)
        assert "exceeded quota: none-left" in ready_of(scene, "ModelDeployment")["message"]
        assert scene.status("ModelDeployment")["stableRevision"] == good
        scene.delete("ResourceQuota", "none-left")
        scene.api.delete("Deployment", latest, scene.namespace)  # the controller's own pause grows to minutes
        scene.wait_ready("ModelDeployment", seconds=90)

    def test_pods_that_a_policy_denies_are_told_and_what_serves_goes_on(
        self, scene: Scene, denial: Callable[[], None]
    ) -> None:
        good = scene.status("ModelDeployment")["stableRevision"]
        denial()
        time.sleep(1)  # the API server learns its policies by a watch, and says nowhere that it has

        scene.change_model("tumor-v1.onnx", "denied")

        def told() -> bool:
            return "the board admits no pods today" in ready_of(scene, "ModelDeployment").get("message", "")

        wait("the denial is told", told, seconds=TOLD_SECONDS, picture=scene.picture)
        assert scene.status("ModelDeployment")["stableRevision"] == good


class TestBadReferences:
    lasts_seconds = 60

    def test_a_split_of_a_missing_model_deployment_says_which_there_are(self, scene: Scene) -> None:
        scene.serve(replicas=1)
        split = example("trafficsplit")
        split["metadata"]["name"] = "lost"
        split["spec"]["stable"]["modelDeployment"] = "tumour"
        scene.apply(split)
        wait("it is told", lambda: scene.stalled("TrafficSplit", "lost"), seconds=TOLD_SECONDS)
        stalled = scene.stalled("TrafficSplit", "lost")
        assert stalled["reason"] == "ModelDeploymentNotFound"
        assert "there is no ModelDeployment tumour here; there are: tumor" in stalled["message"]
        assert ready_of(scene, "TrafficSplit", "lost")["status"] == "False"
        scene.delete("TrafficSplit", "lost")

    def test_a_second_split_of_a_model_deployment_takes_nothing(self, scene: Scene) -> None:
        scene.split(policies=False)
        traffic = scene.ask(rate=20)
        traffic.wait_until_routed()
        second = example("trafficsplit")
        second["metadata"]["name"] = "rival"
        second["spec"]["policies"] = []
        scene.apply(second)
        wait("it is told", lambda: scene.stalled("TrafficSplit", "rival"), seconds=TOLD_SECONDS)
        stalled = scene.stalled("TrafficSplit", "rival")
        assert stalled["reason"] == "ModelDeploymentTaken"
        assert "is governed by TrafficSplit tumor; delete one of the two" in stalled["message"]
        traffic.wait_for_more(50)
        assert traffic.failed_otherwise() == {}
        assert ready_of(scene, "TrafficSplit")["status"] == "True"
        scene.delete("TrafficSplit", "rival")
        scene.delete("Pod", "client", grace_seconds=1)

    def test_a_policy_of_an_unknown_target_is_told(self, scene: Scene) -> None:
        policy = example("driftpolicy")
        policy["metadata"]["name"] = "stray"
        policy["spec"]["target"]["name"] = "nothing"
        scene.apply(policy)
        wait("it is told", lambda: scene.stalled("DriftPolicy", "stray"), seconds=TOLD_SECONDS)
        assert scene.stalled("DriftPolicy", "stray")["reason"] == "TargetNotFound"

    def test_a_missing_policy_and_one_of_another_target_hold_the_rollout_and_say_so(self, scene: Scene) -> None:
        for policy, words in (
            ("nowhere", "there is no DriftPolicy nowhere in this namespace"),
            ("stray", "DriftPolicy stray targets nothing; set its spec.target.name to tumor"),
        ):
            scene.api.merge("TrafficSplit", "tumor", scene.namespace, {"spec": {"policies": [policy]}})
            if policy == "nowhere":
                scene.change_model("tumor-v2.onnx", "2")

            def held(words: str = words) -> bool:
                return words in ready_of(scene, "TrafficSplit").get("message", "")

            wait(f"{words} is told", held, seconds=60, picture=scene.picture)
            assert scene.weight() <= 5
        # A person may decide where no policy can.
        scene.api.merge("TrafficSplit", "tumor", scene.namespace, {"spec": {"policies": []}})
