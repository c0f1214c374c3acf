"""The fetching container from its environment to its exit: real files, a real HTTP server on loopback."""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.penstock_server import onnx_models

from penstock_contract.environment import FetchEnvironment
from penstock_contract.termination import Reason, TerminationMessage, parse
from penstock_server.fetch import __main__ as command
from penstock_server.fetch import download

MODEL = onnx_models.identity("FP32", [None]).SerializeToString()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass
class Web:
    """What an HTTP server answers by path, and what it was asked."""

    url: str
    answers: dict[str, list[tuple[int, dict[str, str], bytes]]] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def answer(self, path: str, body: bytes = b"", *, status: int = 200, headers: dict[str, str] | None = None) -> str:
        """Add an answer (the last one stays) and return the URL."""
        self.answers.setdefault(path, []).append((status, headers or {}, body))
        return self.url + path


@pytest.fixture
def web() -> Iterator[Web]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.requests.append((self.path, dict(self.headers)))
            answers = made.answers.get(self.path.partition("?")[0], [(404, {}, b"nothing")])
            status, headers, body = answers.pop(0) if len(answers) > 1 else answers[0]
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name in the base class
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made = Web(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


@dataclass
class Pod:
    """One run of the container: where things are, and what it left."""

    folder: Path
    lines: list[dict[str, Any]] = field(default_factory=list)

    @property
    def model(self) -> Path:
        return self.folder / "models" / "model.onnx"

    @property
    def source(self) -> Path:
        return self.folder / "source"

    @property
    def secret(self) -> Path:
        return self.folder / "secret"

    def fetch(self, uri: str, digest: str = sha256(MODEL), **settings: Any) -> int:
        wanted = FetchEnvironment(
            uri=uri, sha256=digest, destination=str(self.model), mount_dir=str(self.source), **settings
        )
        env = {**wanted.to_env(), "PENSTOCK_TERMINATION_LOG": str(self.folder / "termination-log")}
        return command.run(env, lambda event, **fields: self.lines.append({"event": event, **fields}))

    def refused(self, uri: str, digest: str = sha256(MODEL), **settings: Any) -> TerminationMessage:
        """Fetch, expect failure, and return the last words; nothing must be left behind."""
        assert self.fetch(uri, digest, **settings) == 1
        assert list(self.model.parent.iterdir()) == []
        message = parse((self.folder / "termination-log").read_text())
        assert message is not None
        return message


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pod:
    made = Pod(tmp_path)
    made.model.parent.mkdir()
    made.source.mkdir()
    (tmp_path / "termination-log").touch()
    monkeypatch.setattr(download, "_DELAYS_SECONDS", (0.001,))
    monkeypatch.setattr(download, "_RETRY_SECONDS", 0.3)
    return made


def test_a_model_comes_over_http_and_is_read_only(pod: Pod, web: Web) -> None:
    assert pod.fetch(web.answer("/model.onnx", MODEL)) == 0
    assert pod.model.read_bytes() == MODEL
    assert pod.model.stat().st_mode & 0o777 == 0o444
    assert [line["event"] for line in pod.lines] == ["fetching", "fetched", "verified", "inspected", "ready"]
    assert (pod.folder / "termination-log").read_text() == ""


def test_a_container_that_is_started_again_does_not_fetch_again(pod: Pod, web: Web) -> None:
    url = web.answer("/model.onnx", MODEL)
    assert [pod.fetch(url), pod.fetch(url)] == [0, 0]
    assert len(web.requests) == 1


def test_another_model_in_the_place_is_replaced(pod: Pod, web: Web) -> None:
    pod.model.write_bytes(b"old")
    assert pod.fetch(web.answer("/model.onnx", MODEL)) == 0
    assert pod.model.read_bytes() == MODEL


def test_a_wrong_digest_is_told_with_both(pod: Pod, web: Web) -> None:
    message = pod.refused(web.answer("/model.onnx", MODEL), "ab" * 32)
    assert message.reason is Reason.CHECKSUM_MISMATCH
    assert message.permanent
    assert sha256(MODEL) in message.message
    assert "ab" * 32 in message.message


@pytest.mark.parametrize(
    ("status", "reason", "permanent"),
    [
        (404, Reason.SOURCE_NOT_FOUND, True),
        (410, Reason.SOURCE_NOT_FOUND, True),
        (401, Reason.SOURCE_FORBIDDEN, True),
        (403, Reason.SOURCE_FORBIDDEN, True),
        (400, Reason.SOURCE_UNAVAILABLE, True),
        (429, Reason.SOURCE_UNAVAILABLE, False),
        (503, Reason.SOURCE_UNAVAILABLE, False),
        (999, Reason.SOURCE_UNAVAILABLE, False),
    ],
)
def test_what_a_server_answers_decides_whether_to_try_again(
    pod: Pod, web: Web, status: int, reason: Reason, *, permanent: bool
) -> None:
    message = pod.refused(web.answer("/model.onnx", status=status))
    assert (message.reason, message.permanent) == (reason, permanent)
    assert f"/model.onnx answered {status}" in message.message
    assert (len(web.requests) == 1) == permanent


def test_a_server_that_recovers_is_enough(pod: Pod, web: Web) -> None:
    for status in (500, 503):
        web.answer("/model.onnx", status=status)
    assert pod.fetch(web.answer("/model.onnx", MODEL)) == 0


def test_a_server_that_cuts_off_is_asked_again(pod: Pod, web: Web) -> None:
    web.answer("/model.onnx", MODEL[:20], headers={"Content-Length": str(len(MODEL))})
    assert pod.fetch(web.answer("/model.onnx", MODEL)) == 0


def test_a_server_that_is_down_is_unavailable(pod: Pod) -> None:
    message = pod.refused("http://127.0.0.1:1/model.onnx?token=secret")
    assert (message.reason, message.permanent) == (Reason.SOURCE_UNAVAILABLE, False)
    assert "secret" not in message.message + json.dumps(pod.lines)


def test_redirects_are_followed_and_keep_the_credentials_at_home(pod: Pod, web: Web) -> None:
    web.answer("/there", MODEL)
    other = web.url.replace("127.0.0.1", "localhost")
    pod.secret.mkdir()
    (pod.secret / "token").write_text("s3cr3t\n")
    url = web.answer("/here", status=302, headers={"Location": f"{other}/there"})
    assert pod.fetch(url, credentials_dir=str(pod.secret)) == 0
    assert [headers.get("Authorization") for _, headers in web.requests] == ["Bearer s3cr3t", None]


def test_a_user_and_a_password_are_sent_as_such(pod: Pod, web: Web) -> None:
    pod.secret.mkdir()
    (pod.secret / "username").write_text("anna")
    (pod.secret / "password").write_text("pw")
    assert pod.fetch(web.answer("/m", MODEL), credentials_dir=str(pod.secret)) == 0
    assert web.requests[0][1]["Authorization"] == "Basic YW5uYTpwdw=="


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("file:///etc/passwd", "redirects to 'file:///etc/passwd'; from http only http or https is followed"),
        ("ftp://host/m", "redirects to 'ftp://host/m'"),
        ("", "more than 5 redirects"),
        ("http://169.254.169.254/latest", "a link-local or metadata address"),
    ],
)
def test_a_redirect_to_where_no_model_comes_from_is_refused(pod: Pod, web: Web, target: str, says: str) -> None:
    message = pod.refused(web.answer("/m", status=302, headers={"Location": target or "/m"}))
    assert message.reason is Reason.SOURCE_FORBIDDEN
    assert says in message.message


def test_a_presigned_url_is_sent_as_it_was_signed(pod: Pod, web: Web) -> None:
    assert pod.fetch(web.answer("/a%2Fb", MODEL) + "?X-Sig=a%2Fb%20+") == 0
    assert web.requests[0][0] == "/a%2Fb?X-Sig=a%2Fb%20+"
    assert "X-Sig" not in json.dumps(pod.lines)


def test_a_model_over_the_limit_is_refused_before_it_is_read(pod: Pod, web: Web) -> None:
    message = pod.refused(web.answer("/m", MODEL), max_bytes=10)
    assert message.reason is Reason.TOO_LARGE


@pytest.mark.parametrize("scheme", ["pvc://claim/", "configmap://name/", "file://{source}/"])
def test_a_mounted_file_is_copied(pod: Pod, scheme: str) -> None:
    (pod.source / "model.onnx").write_bytes(MODEL)
    assert pod.fetch(scheme.format(source=pod.source) + "model.onnx") == 0
    assert pod.model.read_bytes() == MODEL
    assert not pod.model.is_symlink()


def test_the_links_of_a_configmap_volume_are_followed(pod: Pod) -> None:
    (pod.source / "..2026").mkdir()
    (pod.source / "..2026" / "model.onnx").write_bytes(MODEL)
    (pod.source / "..data").symlink_to("..2026")
    (pod.source / "model.onnx").symlink_to("..data/model.onnx")
    assert pod.fetch("configmap://name/model.onnx") == 0


def _link_out(pod: Pod) -> None:
    (pod.folder / "outside").write_bytes(MODEL)
    (pod.source / "model.onnx").symlink_to("../outside")


def _directory(pod: Pod) -> None:
    (pod.source / "model.onnx").mkdir()


@pytest.mark.parametrize(
    ("prepare", "uri", "reason", "says"),
    [
        (_link_out, "pvc://claim/model.onnx", Reason.SOURCE_FORBIDDEN, "leads out of its volume"),
        (_link_out, "pvc://claim/../outside", Reason.SOURCE_FORBIDDEN, "leads out of its volume"),
        (_link_out, "pvc://claim/%2e%2e/outside", Reason.SOURCE_FORBIDDEN, "leads out of its volume"),
        (_link_out, "file:///etc/passwd", Reason.SOURCE_FORBIDDEN, "leads out of its volume"),
        (_directory, "pvc://claim/model.onnx", Reason.SOURCE_FORBIDDEN, "is not a regular file"),
        (_directory, "pvc://claim/other", Reason.SOURCE_NOT_FOUND, "there is no pvc://claim/other"),
    ],
)
def test_a_mounted_path_that_is_no_file_of_the_volume_is_refused(
    pod: Pod, prepare: Callable[[Pod], None], uri: str, reason: Reason, says: str
) -> None:
    prepare(pod)
    message = pod.refused(uri)
    assert (message.reason, message.permanent) == (reason, True)
    assert says in message.message


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<html>not found</html>", Reason.NOT_ONNX),
        (b"", Reason.NOT_ONNX),
        (MODEL[:-20], Reason.NOT_ONNX),
        (onnx_models.unknown_operator("com.example").SerializeToString(), Reason.UNKNOWN_OPERATOR),
        (onnx_models.with_external_data("../../etc/passwd").SerializeToString(), Reason.UNSAFE_EXTERNAL_DATA),
        (onnx_models.with_external_data("w.bin").SerializeToString(), Reason.EXTERNAL_DATA_UNSUPPORTED),
    ],
)
def test_a_file_with_the_right_digest_can_still_be_the_wrong_file(
    pod: Pod, web: Web, content: bytes, reason: Reason
) -> None:
    message = pod.refused(web.answer("/m", content), sha256(content))
    assert (message.reason, message.permanent) == (reason, True)


def test_wrong_settings_are_told_the_same_way(tmp_path: Path) -> None:
    log = tmp_path / "termination-log"
    log.touch()
    lines: list[str] = []
    env = {"PENSTOCK_TERMINATION_LOG": str(log), "PENSTOCK_FETCH_URI": "s3://b/k"}
    assert command.run(env, lambda event, **_: lines.append(event)) == 1
    assert parse(log.read_text()) == TerminationMessage(
        reason=Reason.INVALID_CONFIGURATION, message="PENSTOCK_FETCH_SHA256 is not set", permanent=True
    )
    assert lines == ["failed"]


def test_a_secret_that_is_not_mounted_is_a_wrong_setting(pod: Pod) -> None:
    message = pod.refused("s3://bucket/key", credentials_dir=str(pod.folder / "nowhere"))
    assert message.reason is Reason.INVALID_CONFIGURATION
