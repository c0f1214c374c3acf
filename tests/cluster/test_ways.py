"""The ways in which requests come to a revision: keys, matches and gRPC at the endpoint of a split."""

import http.client
from collections import Counter

import grpc
import pytest
from tests.cluster.api import Manifest, wait
from tests.cluster.scene import Scene

pytestmark = pytest.mark.cluster

HALF: list[Manifest] = [{"weight": 50}, {"pause": {}}, {"weight": 100}]
READY = "/inference.GRPCInferenceService/ServerReady"
REVISION = "x-penstock-revision"


def asked(address: str, **headers: str) -> tuple[str, str]:
    """Return who answers a request at the endpoint, and the cookie that came with it."""
    connection = http.client.HTTPConnection(address, 80, timeout=10)
    connection.request(
        "GET", "/v2/health/ready", headers={name.replace("_", "-"): text for name, text in headers.items()}
    )
    answer = connection.getresponse()
    answer.read()
    connection.close()
    assert answer.status == 200
    return answer.headers[REVISION], (answer.headers.get("set-cookie") or "").partition(";")[0]


def called(address: str, port: int, **metadata: str) -> str:
    """Return who answers a call."""
    with grpc.insecure_channel(f"{address}:{port}") as channel:
        method = channel.unary_unary(READY, bytes, bytes)
        sent = tuple((name.replace("_", "-"), text) for name, text in metadata.items())
        _, call = method.with_call(b"", metadata=sent, timeout=10)
        return str(dict(call.initial_metadata())[REVISION])


class TestWays:
    lasts_seconds = 25

    @pytest.mark.usefixtures("local_operators")
    def test_keys_matches_and_calls_find_their_revisions(self, scene: Scene) -> None:
        # Services answer the machine that the nodes run on.
        scene.serve(replicas=1)
        address = str(scene.get("Service")["spec"]["clusterIP"])
        stable = str(scene.status("ModelDeployment")["stableRevision"])
        scene.split(schedule=HALF, policies=False)
        scene.api.merge(
            "TrafficSplit",
            "tumor",
            scene.namespace,
            {
                "spec": {
                    "stickiness": {"cookie": {"name": "tried", "ttl": "1h"}},
                    "match": [{"header": "x-beta", "exact": "yes", "to": "candidate"}],
                }
            },
        )
        candidate = scene.change_model("tumor-v2.onnx", "2")
        scene.wait_phase(candidate, "Paused", seconds=90)

        first = [asked(address) for _ in range(40)]
        assert {revision for revision, _ in first} == {stable, candidate}
        assert len({cookie for _, cookie in first if cookie.startswith("tried=")}) == 40
        for revision, cookie in first:
            assert asked(address, cookie=cookie) == (revision, "")
        assert {asked(address, x_beta="yes")[0] for _ in range(10)} == {candidate}

        assert [port["name"] for port in scene.get("Service")["spec"]["ports"]] == ["http", "grpc"]
        assert {called(address, port) for port in (80, 9000) for _ in range(15)} == {stable, candidate}
        assert {called(address, 9000, x_beta="yes") for _ in range(10)} == {candidate}
        assert {called(address, 9000, cookie=first[0][1]) for _ in range(10)} == {first[0][0]}

        counted = Counter(revision for revision, _ in first)
        assert min(counted.values()) > 5
        wait("nothing is stalled", lambda: not scene.stalled("TrafficSplit"), seconds=10, picture=scene.picture)
