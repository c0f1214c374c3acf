"""Models from each kind of source, in real pods: http, an S3-compatible store, a volume claim, a ConfigMap."""

import hashlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from examples.quickstart.quickstart import MODELS
from tests.cluster.api import condition, wait
from tests.cluster.scene import SERVER_IMAGE, Scene, example

pytestmark = pytest.mark.cluster

FILE = "tumor-v1.onnx"
DIGEST = hashlib.sha256((MODELS / FILE).read_bytes()).hexdigest()
#: The node's own address on the pods' network, where pods reach what runs beside the cluster.
NODE = "10.244.0.1"
ACCESS, SECRET = "penstock-test", "s3cr3t-of-the-test"


def serve(scene: Scene, name: str, uri: str, **model: object) -> None:
    """Serve the model from a source, and remove it again."""
    scene.apply(
        scene.deployment(name, replicas=1, model={"uri": uri, "sha256": DIGEST, **model}),
    )
    scene.wait_ready("ModelDeployment", name, seconds=60)
    scene.delete("ModelDeployment", name)


@pytest.fixture(scope="class")
def web(scene: Scene) -> str:
    """A web server with the models, as a pod."""
    pod = example("client")
    pod["metadata"] |= {"name": "web", "labels": {"app": "web"}}
    container = pod["spec"]["containers"][0]
    container |= {
        "image": SERVER_IMAGE,
        "command": ["python3", "-m", "http.server", "8000", "--directory", "/files"],
        "env": [],
        "volumeMounts": [{"name": "files", "mountPath": "/files", "readOnly": True}],
    }
    pod["spec"]["volumes"] = [{"name": "files", "configMap": {"name": "tumor-models"}}]
    scene.apply(pod)
    scene.apply(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 8000}]},
        }
    )
    return f"http://web.{scene.namespace}.svc:8000"


@pytest.fixture(scope="class")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An S3-compatible store beside the cluster, with the models in a bucket."""
    binary = os.environ.get("PENSTOCK_VERSITYGW") or shutil.which("versitygw")
    if not binary:
        pytest.fail("versitygw is missing: set PENSTOCK_VERSITYGW to its binary, or run `make test`, which builds it")
    folder = tmp_path_factory.mktemp("store")
    (folder / "models").mkdir()
    shutil.copy(MODELS / FILE, folder / "models" / FILE)
    try:
        with socket.create_server((NODE, 0)) as probe:
            port = probe.getsockname()[1]
    except OSError:
        pytest.skip(f"needs a node that is this machine ({NODE}): CLUSTER=embedded")
    listen = f"{NODE}:{port}"
    arguments = [binary, "--access", ACCESS, "--secret", SECRET, "--port", listen, "posix", str(folder)]
    with (folder.parent / "versitygw.log").open("w") as log:
        process = subprocess.Popen(arguments, stdout=log, stderr=subprocess.STDOUT)
    try:
        wait("the store listens", lambda: _listens(port), seconds=20)
        yield f"http://{listen}"
    finally:
        process.terminate()
        process.wait(10)


def _listens(port: int) -> bool:
    try:
        socket.create_connection((NODE, port), 1).close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="class")
def claim(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A claim of a volume that is a folder of this machine, with the models in it."""
    folder: Path = tmp_path_factory.mktemp("volume")
    folder.chmod(0o755)
    (folder / "fraud").mkdir()
    shutil.copy(MODELS / FILE, folder / "fraud" / FILE)
    name = f"{scene.namespace}-models"
    size = {"storage": "1Gi"}
    scene.api.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name},
            "spec": {
                "capacity": size,
                "accessModes": ["ReadOnlyMany"],
                "hostPath": {"path": str(folder), "type": "Directory"},
                "persistentVolumeReclaimPolicy": "Retain",
                "claimRef": {"namespace": scene.namespace, "name": "models"},
            },
        }
    )
    scene.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "models"},
            "spec": {
                "accessModes": ["ReadOnlyMany"],
                "storageClassName": "",
                "volumeName": name,
                "resources": {"requests": size},
            },
        }
    )
    yield "models"
    scene.api.delete("PersistentVolume", name)


class TestSources:
    lasts_seconds = 50

    def test_a_web_server(self, scene: Scene, web: str) -> None:
        serve(scene, "from-web", f"{web}/{FILE}")

    def test_an_s3_store_with_credentials_from_a_secret(self, scene: Scene, store: str) -> None:
        keys = {"AWS_ACCESS_KEY_ID": ACCESS, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_ENDPOINT_URL": store}
        scene.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s3"}, "stringData": keys})
        serve(scene, "s3", f"s3://models/{FILE}", credentials={"secretName": "s3"})

    def test_an_s3_store_that_refuses_the_credentials_says_so_without_telling_them(
        self, scene: Scene, store: str
    ) -> None:
        keys = {"AWS_ACCESS_KEY_ID": ACCESS, "AWS_SECRET_ACCESS_KEY": "not-the-secret", "AWS_ENDPOINT_URL": store}
        scene.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "wrong"}, "stringData": keys})
        model = {"uri": f"s3://models/{FILE}", "sha256": DIGEST, "credentials": {"secretName": "wrong"}}
        scene.apply(scene.deployment("refused", replicas=1, model=model))

        def message() -> str:
            return str(condition(scene.find("ModelDeployment", "refused"), "Ready").get("message", ""))

        wait("the refusal is told", lambda: "SourceForbidden: " in message(), seconds=30, picture=scene.picture)
        assert "not-the-secret" not in message()
        scene.delete("ModelDeployment", "refused")

    def test_a_volume_claim(self, scene: Scene, claim: str) -> None:
        serve(scene, "pvc", f"pvc://{claim}/fraud/{FILE}")

    def test_a_config_map(self, scene: Scene) -> None:
        serve(scene, "config-map", f"configmap://tumor-models/{FILE}")
