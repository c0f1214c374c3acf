"""One story for both routers of splits, the built-in one and real Envoy Gateway; and what Gateways refuse."""

import math
from collections import Counter
from http import HTTPStatus
from typing import ClassVar

import pytest
from tests.cluster.api import Api, Manifest, condition, is_ready, wait
from tests.cluster.scene import Scene, Traffic, steps, unix
from tests.cluster.test_commands import Plugin

pytestmark = pytest.mark.cluster

CLASS = "envoy-gateway"
HOST = "tumor.example.com"
#: How far a share may be from its weight by chance: once in a million.
SIGMAS = 4.9
SHARE_OF = 800
#: Percent of the requests that a candidate without weight gets copies of.
COPIED = 20


class RouterStory:
    """Weights are what they are said to be, nothing is lost while they change, and a bad revision is taken back."""

    gateway: ClassVar[Manifest | None] = None

    def url(self, scene: Scene) -> str:
        """Return the address at which the router is asked."""
        return f"http://tumor.{scene.namespace}.svc/v2/models/tumor/infer"

    def prepare(self, scene: Scene) -> None:
        """Make what must be there before the split."""

    def split(self, scene: Scene) -> None:
        """Put the model behind the router, and wait until it is."""
        scene.split(schedule=[{"weight": 0}, {"pause": {}}, {"weight": 25}, {"pause": {}}, {"weight": 100}])
        spec: Manifest = {
            "match": [{"header": "x-beta", "exact": "yes", "to": "candidate"}],
            "shadow": {"percent": COPIED},
        }
        if self.gateway is not None:
            spec["gateway"] = self.gateway
        scene.api.merge("TrafficSplit", "tumor", scene.namespace, {"spec": spec})
        name = "Gateway" if self.gateway is not None else "Envoy"
        wait(
            f"{name} leads the split",
            lambda: scene.status("TrafficSplit").get("router") == name and is_ready(scene.get("TrafficSplit")),
            seconds=60,
            picture=scene.picture,
        )

    def test_weights_are_realised_without_a_loss_and_what_is_bad_is_taken_back(self, scene: Scene) -> None:
        plugin = Plugin(scene)
        self.prepare(scene)
        scene.serve()
        self.split(scene)
        asking = {"URL": self.url(scene), "HOSTS": HOST, "BY": "version"}
        traffic = scene.ask(rate=150, **asking)

        good = scene.change_model("tumor-v2.onnx", "2")
        scene.wait_phase(good, "Paused")
        assert_share(*copies_of(scene, traffic, good), COPIED / 100, slack=0.04)
        assert traffic.asked("version-2") == 0
        matched = scene.ask(rate=20, name="beta", HEADERS='{"x-beta": "yes"}', **asking)
        matched.wait_for_more(60)
        assert {key.split()[0] for key in matched.answers} == {"version-2"}
        scene.delete("Pod", "beta", grace_seconds=1)

        plugin("promote", "tumor")
        wait("25% are led to it", lambda: is_at(scene, 25), seconds=60, picture=scene.picture)
        asked = answers_of(traffic, SHARE_OF)
        assert_share(asked["version-2"], asked.total(), 0.25)

        plugin("promote", "tumor")
        scene.wait_phase(good, "Promoted")
        asked = answers_of(traffic, 150)
        assert set(asked) == {"version-2"}
        assert traffic.failures() == {}

        patch = {"spec": {"strategy": {"steps": steps(25, 100)}, "match": None, "shadow": None}}
        scene.api.merge("TrafficSplit", "tumor", scene.namespace, patch)
        before = traffic.read().total()
        failing = scene.change_model("tumor-v3-errors.onnx", "3")
        status = scene.wait_phase(failing, "RolledBack")
        assert status["rejected"][0]["by"] == "tumor-guard/errors"
        traffic.wait_for_more(300)
        told = traffic.failures()
        assert told.total() < 0.5 * (traffic.total() - before), told
        late = [second for second in traffic.seconds if second["t"] > unix(status["rejected"][0]["at"]) + 2.0]
        assert sum(second["answers"].get("version-3 200", 0) for second in late) == 0
        assert all(key.endswith(" 200") for second in late for key in second["answers"]), late


class TestBuiltInRouter(RouterStory):
    lasts_seconds = 70


class TestGateway(RouterStory):
    lasts_seconds = 150
    gateway: ClassVar[Manifest | None] = {"parentRefs": [{"name": "edge"}], "hostnames": [HOST]}

    @pytest.fixture(autouse=True)
    def needs_envoy_gateway(self, api: Api) -> None:
        if api.get("GatewayClass", CLASS) is None:
            pytest.skip("needs Envoy Gateway: python3 cluster/embedded gateway; or make test")

    def url(self, scene: Scene) -> str:
        address = scene.get("Gateway", "edge")["status"]["addresses"][0]["value"]
        return f"http://{address}/v2/models/tumor/infer"

    def prepare(self, scene: Scene) -> None:
        scene.apply(
            {
                "apiVersion": "gateway.networking.k8s.io/v1",
                "kind": "Gateway",
                "metadata": {"name": "edge"},
                "spec": {
                    "gatewayClassName": CLASS,
                    "listeners": [{"name": "http", "protocol": "HTTP", "port": 80}],
                },
            }
        )
        wait("the Gateway is programmed", lambda: is_programmed(scene), seconds=120, picture=scene.picture)

    def test_a_cookie_keeps_a_client_where_it_was_sent_first(self, scene: Scene) -> None:
        spec = {
            "stickiness": {"cookie": {"name": "penstock", "ttl": "10m"}},
            "strategy": {"steps": [{"weight": 50}, {"pause": {}}, {"weight": 100}]},
        }
        scene.api.merge("TrafficSplit", "tumor", scene.namespace, {"spec": spec})
        candidate = scene.change_model("tumor-v1.onnx", "4")
        scene.wait_phase(candidate, "Paused")
        # By name: clients keep no cookies of addresses.
        (service,) = scene.api.list("Service", "envoy-gateway-system", owned_by(scene))
        url = f"http://{service['metadata']['name']}.envoy-gateway-system.svc/v2/models/tumor/infer"
        kept = scene.ask(rate=40, name="kept", URL=url, HOSTS=HOST, BY="version")
        free = scene.ask(rate=40, name="free", URL=self.url(scene), HOSTS=HOST, BY="version")
        # Until the first answer is there requests go out without a cookie, and each answer to them brings another one.
        kept.wait_for_more(200)
        stayed = answers_of(kept, 60)
        assert len(stayed) == 1, stayed
        assert set(answers_of(free, 60)) == {"version-2", "version-4"}
        Plugin(scene)("abort", "tumor")
        assert set(answers_of(kept, 60)) == {"version-2"}
        assert kept.failures() == free.read().failures() == {}
        for name in ("kept", "free"):
            scene.delete("Pod", name, grace_seconds=1)
        scene.api.merge("TrafficSplit", "tumor", scene.namespace, {"spec": {"stickiness": None}})
        scene.change_model("tumor-v2.onnx", "2")
        scene.wait_ready("TrafficSplit")

    def test_what_the_gateway_refuses_is_told_and_what_was_led_goes_on(self, scene: Scene) -> None:
        for gateway, words in (
            ({"parentRefs": [{"name": "edge", "sectionName": "https"}], "hostnames": [HOST]}, "listener https"),
            ({"parentRefs": [{"name": "egde"}]}, "there is no such Gateway"),
        ):
            scene.api.merge("TrafficSplit", "tumor", scene.namespace, {"spec": {"gateway": gateway}})

            def told(words: str = words) -> bool:
                ready = condition(scene.get("TrafficSplit"), "Ready")
                return ready.get("status") == "False" and words in ready["message"]

            wait(f"{words} is told", told, seconds=30, picture=scene.picture)
            assert scene.answers_right()
        scene.api.merge("TrafficSplit", "tumor", scene.namespace, {"spec": {"gateway": self.gateway}})
        scene.wait_ready("TrafficSplit", seconds=30)

    def test_without_the_gateway_the_routers_lead_again_and_the_route_is_gone(self, scene: Scene) -> None:
        scene.api.merge("TrafficSplit", "tumor", scene.namespace, {"spec": {"gateway": None}})
        wait(
            "the built-in routers lead the split",
            lambda: scene.status("TrafficSplit").get("router") == "Envoy" and scene.find("HTTPRoute") is None,
            seconds=90,
            picture=scene.picture,
        )
        wait("the endpoint answers", scene.answers_right, seconds=30, picture=scene.picture)


def owned_by(scene: Scene) -> str:
    """Return the labels by which Envoy Gateway marks what it makes for the scene's Gateway."""
    label = "gateway.envoyproxy.io/owning-gateway"
    return f"{label}-name=edge,{label}-namespace={scene.namespace}"


def answers_of(traffic: Traffic, requests: int) -> Counter[str]:
    """Return the next answers by who gave them; those of the second that has begun are left out."""
    begun = len(traffic.read().seconds) + 1
    traffic.wait_for_more(requests + 300)
    counted: Counter[str] = Counter()
    for second in traffic.seconds[begun:]:
        for key, count in second["answers"].items():
            counted[key.split()[0]] += count
    assert counted.total() >= requests
    return counted


def copies_of(scene: Scene, traffic: Traffic, revision: str) -> tuple[int, int]:
    """Return how many requests the pods of a revision have answered while clients asked how many."""

    def answered() -> int:
        return sum(counted_by(scene, pod) for pod in scene.pods(f"penstock.dev/revision={revision}"))

    before, begun = answered(), traffic.read().total()
    traffic.wait_for_more(SHARE_OF)
    return answered() - before, traffic.total() - begun


def counted_by(scene: Scene, pod: str) -> int:
    """Return how many requests a serving pod has answered, as it says itself."""
    where = f"/api/v1/namespaces/{scene.namespace}/pods/{pod}:8081/proxy/metrics"
    status, text = scene.api.raw("GET", where)
    assert status == HTTPStatus.OK, text
    lines = [line for line in text.splitlines() if line.startswith("penstock_requests_total{")]
    return int(sum(float(line.rpartition(" ")[2]) for line in lines))


def assert_share(part: int, total: int, expected: float, *, slack: float = 0.0) -> None:
    """Fail where a share is further from its weight than chance allows, and ``slack`` for what is read later."""
    bound = SIGMAS * math.sqrt(expected * (1 - expected) / total) + slack
    assert abs(part / total - expected) <= bound, f"{part} of {total}, expected {expected}, at most {bound:.3f} off"


def is_at(scene: Scene, weight: int) -> bool:
    """Return whether the rollout waits at a weight that the router runs."""
    status = scene.status("TrafficSplit")
    return status.get("phase") == "Paused" and weight in [entry.get("weight") for entry in status.get("weights", [])]


def is_programmed(scene: Scene) -> bool:
    return condition(scene.find("Gateway", "edge"), "Programmed").get("status") == "True"
