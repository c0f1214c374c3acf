"""Models in a registry: a real one (distribution) on loopback, and a scripted one for what a real one never does.

PENSTOCK_REGISTRY names its binary; `make test` builds it.
"""

import base64
import hashlib
import json
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from tests.penstock_server import onnx_models
from tests.penstock_server.fetch.processes import binary, free_port, running
from tests.penstock_server.fetch.rig import MODEL, Answer, Pod, Web, breaking, sha256

from penstock_contract.environment import ExtraFile
from penstock_contract.termination import Reason
from penstock_server.fetch.failure import FetchFailed
from penstock_server.fetch.oci_source import pull_secret

USER, PASSWORD = "penstock-test", "s3cr3t-of-the-test"
#: The line that `htpasswd -B` makes of them.
HTPASSWD = f"{USER}:$2y$05$abcdefghijklmnopqrstuuBkyVgxY9.9Tpg2XYbpzvNlT3LKr0NSy\n"
IMAGE = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
TITLE = "org.opencontainers.image.title"
EMPTY = b"{}"
WEIGHTS = b"\x00\x00\x80\x3f"
OUTSIDE = onnx_models.with_external_data("w.bin").SerializeToString()
CONFIG = """
version: 0.1
log: {{level: warn}}
storage: {{filesystem: {{rootdirectory: {folder}}}}}
http: {{addr: "127.0.0.1:{port}"}}
auth: {{htpasswd: {{realm: test, path: {folder}/htpasswd}}}}
"""


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def layer(title: str, content: bytes, kind: str = "application/vnd.onnx", **annotations: str) -> dict[str, Any]:
    return {
        "mediaType": kind,
        "digest": digest_of(content),
        "size": len(content),
        "annotations": {TITLE: title, **annotations},
    }


def manifest(*layers: dict[str, Any]) -> bytes:
    config = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest_of(EMPTY), "size": len(EMPTY)}
    return json.dumps({"schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": list(layers)}).encode()


@dataclass
class Registry:
    """A running registry."""

    host: str

    def push(self, repository: str, tag: str, files: dict[str, bytes]) -> str:
        """Push an artifact as `oras push` does, and return its digest."""
        for content in (EMPTY, *files.values()):
            self._upload(repository, content)
        body = manifest(*(layer(title, content) for title, content in files.items()))
        self._send("PUT", f"http://{self.host}/v2/{repository}/manifests/{tag}", body, IMAGE)
        return digest_of(body)

    def push_index(self, repository: str, tag: str, of: str, size: int) -> None:
        entry = {"mediaType": IMAGE, "digest": of, "size": size}
        body = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}).encode()
        self._send("PUT", f"http://{self.host}/v2/{repository}/manifests/{tag}", body, INDEX)

    def _upload(self, repository: str, content: bytes) -> None:
        place = self._send("POST", f"http://{self.host}/v2/{repository}/blobs/uploads/", b"", "")
        joint = "&" if "?" in place else "?"
        self._send("PUT", f"{place}{joint}digest={digest_of(content)}", content, "application/octet-stream")

    @staticmethod
    def _send(method: str, url: str, body: bytes, kind: str) -> str:
        pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        headers = {"Authorization": f"Basic {pair}", "Content-Type": kind or "application/json"}
        request = urllib.request.Request(url, data=body, method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=10) as response:
            return str(response.headers.get("Location", ""))


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    folder, port = tmp_path_factory.mktemp("registry"), free_port()
    (folder / "htpasswd").write_text(HTPASSWD)
    (folder / "config.yml").write_text(CONFIG.format(folder=folder, port=port))
    with running([binary("registry"), "serve", str(folder / "config.yml")], port, folder / "log"):
        yield Registry(f"127.0.0.1:{port}")


def login(pod: Pod, password: str = PASSWORD) -> dict[str, str]:
    return pod.secret(username=USER, password=password)


# --- a real registry ---


def test_a_model_is_pulled_by_its_tag(pod: Pod, registry: Registry) -> None:
    registry.push("acme/fraud", "3", {"model.onnx": MODEL})
    assert pod.fetch(f"oci://{registry.host}/acme/fraud:3", **login(pod)) == 0
    assert pod.model.read_bytes() == MODEL


def test_a_model_is_pulled_by_the_digest_of_its_artifact(pod: Pod, registry: Registry) -> None:
    digest = registry.push("acme/fraud", "3", {"model.onnx": MODEL})
    assert pod.fetch(f"oci://{registry.host}/acme/fraud:any@{digest}#model.onnx", **login(pod)) == 0


def test_everything_in_one_artifact_comes_along(pod: Pod, registry: Registry) -> None:
    files = {"fraud.onnx": OUTSIDE, "w.bin": WEIGHTS, "profile.json": b"{}"}
    registry.push("acme/folder", "1", files)
    weights = ExtraFile(path="w.bin", sha256=sha256(WEIGHTS))
    assert pod.fetch(f"oci://{registry.host}/acme/folder:1", sha256(OUTSIDE), weights, **login(pod)) == 0
    assert pod.beside("w.bin").read_bytes() == WEIGHTS
    assert pod.beside("profile.json").read_bytes() == b"{}"


def test_a_pull_secret_of_kubernetes_will_do(pod: Pod, registry: Registry) -> None:
    registry.push("acme/fraud", "3", {"model.onnx": MODEL})
    entry = {"auth": base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()}
    secret = {".dockerconfigjson": json.dumps({"auths": {registry.host: entry}})}
    assert pod.fetch(f"oci://{registry.host}/acme/fraud:3", **pod.secret(**secret)) == 0
    assert entry["auth"] not in json.dumps(pod.lines)


@pytest.mark.parametrize("password", ["", "wrong-password"])
def test_wrong_or_no_credentials_are_told_and_not_shown(pod: Pod, registry: Registry, password: str) -> None:
    registry.push("acme/fraud", "3", {"model.onnx": MODEL})
    settings = login(pod, password) if password else {}
    message = pod.refused(f"oci://{registry.host}/acme/fraud:3", **settings)
    assert (message.reason, message.permanent) == (Reason.SOURCE_FORBIDDEN, True)
    assert "wrong-password" not in message.message


@pytest.mark.parametrize("reference", ["acme/fraud:none", "acme/nothing:3", f"acme/fraud@sha256:{'0' * 64}"])
def test_what_is_not_there_is_said_not_to_be_there(pod: Pod, registry: Registry, reference: str) -> None:
    registry.push("acme/fraud", "3", {"model.onnx": MODEL})
    message = pod.refused(f"oci://{registry.host}/{reference}", **login(pod))
    assert message.reason is Reason.SOURCE_NOT_FOUND


def test_an_index_of_images_is_refused_with_what_to_write(pod: Pod, registry: Registry) -> None:
    digest = registry.push("acme/many", "1", {"model.onnx": MODEL})
    registry.push_index("acme/many", "all", digest, len(manifest(layer("model.onnx", MODEL))))
    message = pod.refused(f"oci://{registry.host}/acme/many:all", **login(pod))
    assert "name one of them by its digest" in message.message


# --- a scripted registry ---


class Script:
    """A registry made of a web server."""

    def __init__(self, web: Web, *layers: dict[str, Any], repository: str = "m") -> None:
        self.web = web
        self.host = web.url.removeprefix("http://")
        self.body = manifest(*layers)
        self.path = f"/v2/{repository}/manifests/1"
        web.answer(self.path, self.body)

    def blob(self, content: bytes, **answer: Any) -> None:
        self.web.answer(f"/v2/m/blobs/{digest_of(content)}", content, **answer)

    @property
    def uri(self) -> str:
        return f"oci://{self.host}/m:1"


@pytest.mark.parametrize(
    ("layers", "fragment", "says"),
    [
        ([layer("a.onnx", b"a"), layer("b.onnx", b"b")], "", "not exactly one ONNX file but 'a.onnx', 'b.onnx'"),
        ([layer("a.onnx", b"a")], "#c.onnx", "no file 'c.onnx' but 'a.onnx'"),
        ([], "", "not exactly one ONNX file but nothing"),
    ],
)
def test_a_file_must_be_found_by_its_title(
    pod: Pod, web: Web, layers: list[dict[str, Any]], fragment: str, says: str
) -> None:
    message = pod.refused(Script(web, *layers).uri + fragment)
    assert message.reason is Reason.SOURCE_NOT_FOUND
    assert says in message.message


@pytest.mark.parametrize(
    "packed",
    [
        layer("", b"x", "application/vnd.oci.image.layer.v1.tar+gzip"),
        layer("model.onnx", b"x", "application/vnd.oci.image.layer.v1.tar"),
        layer("model.onnx", b"x", "application/vnd.docker.image.rootfs.diff.tar.gzip"),
        layer("models", b"x", **{"io.deis.oras.content.unpack": "true"}),
    ],
)
def test_an_archive_in_a_registry_is_not_unpacked(pod: Pod, web: Web, packed: dict[str, Any]) -> None:
    message = pod.refused(Script(web, packed).uri)
    assert message.reason is Reason.NOT_ONNX
    assert "archives are never unpacked here" in message.message


def test_a_manifest_that_is_not_the_one_asked_for_is_refused(pod: Pod, web: Web) -> None:
    script = Script(web, layer("m.onnx", MODEL))
    wanted = f"sha256:{'1' * 64}"
    web.answer(f"/v2/m/manifests/{wanted}", script.body)
    message = pod.refused(f"oci://{script.host}/m@{wanted}")
    assert message.reason is Reason.CHECKSUM_MISMATCH


def test_a_token_is_fetched_where_the_registry_says_and_goes_to_no_other_host(pod: Pod, web: Web) -> None:
    """The blob lies in a store of another name, as with every big registry."""
    script = Script(web, layer("m.onnx", MODEL))
    other = web.url.replace("127.0.0.1", "localhost")
    web.answer("/store", MODEL)
    script.blob(MODEL, status=307, headers={"Location": f"{other}/store"})
    web.answer("/token", b'{"token": "t0k3n"}')

    def guarded(_path: str, headers: dict[str, str]) -> Answer:
        if headers.get("Authorization") == "Bearer t0k3n":
            return 200, {}, script.body
        return 401, {"WWW-Authenticate": f'Bearer realm="{web.url}/token",service="reg",scope="x"'}, b""

    web.behave(script.path, guarded)
    assert pod.fetch(script.uri, **login(pod)) == 0
    [asked] = {path for path, _ in web.requests if path.startswith("/token")}
    assert asked == "/token?scope=repository:m:pull&service=reg"
    assert web.asked("/token")[0]["Authorization"].startswith("Basic ")
    assert web.asked("/store")[0].get("Authorization") is None


@pytest.mark.parametrize(
    ("challenge", "says"),
    [
        ("Basic realm=x", "it wants a user and a password"),
        ("Negotiate", "of a kind that is not known here: Negotiate"),
        ("", "of a kind that is not known here: none named"),
        ('Bearer realm="http://evil.example/token"', "to http://evil.example/token, without https"),
        ('Bearer realm="https://169.254.169.254/token"', "a link-local or metadata address"),
        ('Bearer realm="{web}/empty"', "gave no token"),
        ('Bearer realm="{web}/html"', "answered something that is not a JSON object"),
        ('Bearer realm="{web}/endless"', "answered more than 4194304 bytes"),
    ],
)
def test_a_registry_that_asks_for_something_odd_gets_nothing(pod: Pod, web: Web, challenge: str, says: str) -> None:
    web.answer("/empty", b"{}")
    web.answer("/html", b"<html>")
    web.answer("/endless", b" " * 5_000_000)
    host = web.url.removeprefix("http://")
    web.answer("/v2/m/manifests/1", status=401, headers={"WWW-Authenticate": challenge.format(web=web.url)})
    message = pod.refused(f"oci://{host}/m:1")
    assert message.permanent
    assert says in message.message


def test_a_blob_that_breaks_off_goes_on_where_it_ended(pod: Pod, web: Web) -> None:
    large = MODEL + onnx_models.model([], [], [], doc_string="x" * 3_000_000).SerializeToString()
    script = Script(web, layer("m.onnx", large))
    blob = f"/v2/m/blobs/{digest_of(large)}"
    web.behave(blob, breaking(large, every=2_000_000, tag=""))
    assert pod.fetch(script.uri, sha256(large)) == 0
    first, *_, last = web.asked(blob)
    assert "Range" not in first
    assert int(last["Range"].removeprefix("bytes=").removesuffix("-")) > 1_000_000


@pytest.mark.parametrize(
    ("entries", "pair"),
    [
        ({"reg": {"username": "u", "password": "p"}}, ("u", "p")),
        ({"https://reg/v1/": {"auth": base64.b64encode(b"u:p:q").decode()}}, ("u", "p:q")),
        ({"other": {"username": "u", "password": "p"}}, ("", "")),
    ],
)
def test_a_pull_secret_names_the_registry_as_docker_does(
    entries: dict[str, dict[str, str]], pair: tuple[str, str]
) -> None:
    assert pull_secret(json.dumps({"auths": entries}), "reg") == pair


def test_docker_hub_has_a_name_of_its_own_in_pull_secrets() -> None:
    entry = {"username": "u", "password": "p"}
    assert pull_secret(json.dumps({"auths": {"https://index.docker.io/v1/": entry}}), "docker.io") == ("u", "p")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"auths": {"reg": {"auth": "%%"}}}', '{"auths": {"reg": 3}}'])
def test_a_pull_secret_that_is_none_is_told(text: str) -> None:
    with pytest.raises(FetchFailed, match="is not what `kubectl create secret docker-registry` makes"):
        pull_secret(text, "reg")
