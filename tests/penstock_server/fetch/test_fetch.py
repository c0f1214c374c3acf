"""The fetching container from its environment to its exit: real files, a real HTTP server on loopback."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.penstock_server import onnx_models
from tests.penstock_server.fetch.rig import MODEL, Pod, Web, breaking, sha256

from penstock_contract.environment import ExtraFile, FetchEnvironment
from penstock_contract.termination import Reason, TerminationMessage, parse
from penstock_server.fetch import __main__ as command
from penstock_server.session import Cancellation, Session


def test_a_model_comes_over_http_and_is_read_only(pod: Pod, web: Web) -> None:
    assert pod.fetch(web.answer("/model.onnx", MODEL)) == 0
    assert pod.model.read_bytes() == MODEL
    assert pod.model.stat().st_mode & 0o777 == 0o444
    events = [line["event"] for line in pod.lines]
    assert events == ["fetching", "fetched", "verified", "no-profile", "inspected", "ready"]
    assert (pod.folder / "termination-log").read_text() == ""


def test_a_container_that_is_started_again_does_not_fetch_again(pod: Pod, web: Web) -> None:
    url = web.answer("/model.onnx", MODEL)
    assert [pod.fetch(url), pod.fetch(url)] == [0, 0]
    assert len(web.asked("/model.onnx")) == 1


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
    url = web.answer("/here", status=302, headers={"Location": f"{other}/there"})
    assert pod.fetch(url, **pod.secret(token="s3cr3t\n")) == 0
    asked = [*web.asked("/here"), *web.asked("/there")]
    assert [headers.get("Authorization") for headers in asked] == ["Bearer s3cr3t", None]


def test_a_user_and_a_password_are_sent_as_such(pod: Pod, web: Web) -> None:
    assert pod.fetch(web.answer("/m", MODEL), **pod.secret(username="anna", password="pw")) == 0
    assert web.requests[0][1]["Authorization"] == "Basic YW5uYTpwdw=="


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("file:///etc/passwd", "redirects to 'file:///etc/passwd'; from http only http or https is followed"),
        ("ftp://host/m", "redirects to 'ftp://host/m'"),
        ("", "more than 3 redirects"),
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
        (onnx_models.with_external_data("w.bin").SerializeToString(), Reason.EXTERNAL_DATA_MISSING),
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


def test_a_pod_that_is_deleted_does_not_wait_for_its_download(pod: Pod, web: Web) -> None:
    asked, over = threading.Event(), threading.Event()

    def endless(_path: str, _headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        asked.set()
        over.wait(20)
        return 500, {}, b""

    wanted = FetchEnvironment(uri=web.behave("/m", endless), sha256="0" * 64, destination=str(pod.model))
    command_line = [sys.executable, "-m", "penstock_server.fetch"]
    env = {**os.environ, **wanted.to_env()}
    with subprocess.Popen(command_line, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert asked.wait(20)
        process.terminate()
        output, errors = process.communicate(timeout=20)
        over.set()
    assert process.returncode == 128 + signal.SIGTERM
    assert b"Traceback" not in errors, errors
    assert b"fetching" in output + errors
    assert list(pod.model.parent.iterdir()) == []


# --- a connection that breaks ---

LARGE = MODEL + onnx_models.model([], [], [], doc_string="x" * 3_000_000).SerializeToString()


def test_a_download_that_breaks_off_goes_on_where_it_ended(pod: Pod, web: Web) -> None:
    url = web.behave("/m", breaking(LARGE, every=1_000_000))
    assert pod.fetch(url, sha256(LARGE)) == 0
    assert pod.model.read_bytes() == LARGE
    starts = [headers.get("Range") for headers in web.asked("/m")]
    assert starts[0] is None
    assert len(starts) >= 4
    assert starts[-1] is not None
    assert int(starts[-1].removeprefix("bytes=").removesuffix("-")) > 2_000_000, "most of it was there already"
    assert {headers.get("If-Range") for headers in web.asked("/m")[1:]} == {'"v1"'}
    assert [line["bytes"] for line in pod.events("continuing")]


@pytest.mark.parametrize("tag", ["", 'W/"v1"'])
def test_without_a_strong_mark_a_download_begins_anew(pod: Pod, web: Web, tag: str) -> None:
    attempts = iter([100_000, 100_000, len(LARGE)])

    def reply(path: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        return breaking(LARGE, every=next(attempts), tag=tag)(path, headers)

    url = web.behave("/m", reply)
    assert pod.fetch(url, sha256(LARGE)) == 0
    assert [headers.get("Range") for headers in web.asked("/m")] == [None] * 3


def test_a_file_that_is_replaced_between_two_attempts_is_fetched_anew(pod: Pod, web: Web) -> None:
    old, new = b"o" * len(LARGE), LARGE
    versions = iter([(old, '"old"')])

    def reply(path: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        content, tag = next(versions, (new, '"new"'))
        return breaking(content, every=1_000_000, tag=tag)(path, headers)

    assert pod.fetch(web.behave("/m", reply), sha256(LARGE)) == 0
    assert pod.model.read_bytes() == LARGE


def test_a_file_that_became_shorter_is_fetched_anew(pod: Pod, web: Web) -> None:
    versions = iter([b"o" * 2 * len(MODEL)])

    def reply(path: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        content = next(versions, MODEL)
        return breaking(content, every=len(MODEL) + 1)(path, headers)

    assert pod.fetch(web.behave("/m", reply)) == 0


def test_a_server_that_gives_two_contents_one_mark_is_found_out(pod: Pod, web: Web) -> None:
    versions = iter([b"o" * len(LARGE)])

    def reply(path: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        return breaking(next(versions, LARGE), every=1_000_000)(path, headers)

    assert pod.fetch(web.behave("/m", reply), sha256(LARGE)) == 0
    assert len(pod.events("fetching-again")) == 1


def test_a_part_without_its_range_is_not_believed(pod: Pod, web: Web) -> None:
    web.answer("/m", LARGE[:100], headers={"Content-Length": str(len(LARGE)), "ETag": '"v1"'})
    web.answer("/m", LARGE[100:], status=206)
    message = pod.refused(web.url + "/m", sha256(LARGE))
    assert "without saying which" in message.message


def test_a_body_longer_than_its_length_is_cut_there_and_does_not_match(pod: Pod, web: Web) -> None:
    message = pod.refused(web.answer("/m", MODEL + b"more", headers={"Content-Length": str(len(MODEL) - 1)}))
    assert message.reason is Reason.CHECKSUM_MISMATCH


def test_a_compressed_body_is_refused_and_not_decompressed(pod: Pod, web: Web) -> None:
    message = pod.refused(web.answer("/m", b"whatever", headers={"Content-Encoding": "gzip"}))
    assert "compressed (gzip), which was not asked for; nothing is decompressed here" in message.message
    assert web.asked("/m")[0]["Accept-Encoding"] == "identity"


# --- several files ---

WEIGHTS = b"\x00\x00\x80\x3f"
OUTSIDE = onnx_models.with_external_data("w/model.data").SerializeToString()


def weights(uri: str = "", digest: str = sha256(WEIGHTS)) -> ExtraFile:
    return ExtraFile(path="w/model.data", sha256=digest, uri=uri)


def test_external_data_comes_from_beside_the_model_and_loads(pod: Pod, web: Web) -> None:
    web.answer("/3/w/model.data", WEIGHTS)
    assert pod.fetch(web.answer("/3/model.onnx", OUTSIDE), sha256(OUTSIDE), weights()) == 0
    assert pod.beside("w/model.data").read_bytes() == WEIGHTS
    assert pod.beside("w/model.data").stat().st_mode & 0o777 == 0o444
    session = Session.load(pod.model, threads=1)
    [answer] = session.run(["y"], {"x": np.array([2], np.float32)}, Cancellation())
    assert answer.tolist() == [3.0]


def test_a_file_may_come_from_another_place(pod: Pod, web: Web) -> None:
    (pod.source / "w").write_bytes(WEIGHTS)
    assert pod.fetch(web.answer("/model.onnx", OUTSIDE), sha256(OUTSIDE), weights("pvc://claim/w")) == 0


def test_files_that_are_there_are_not_fetched_again(pod: Pod, web: Web) -> None:
    web.answer("/w/model.data", WEIGHTS)
    url = web.answer("/model.onnx", OUTSIDE)
    assert pod.fetch(url, sha256(OUTSIDE), weights()) == 0
    before = len(web.requests)
    assert pod.fetch(url, sha256(OUTSIDE), weights()) == 0
    assert len(web.requests) == before
    pod.beside("w/model.data").unlink()
    assert pod.fetch(url, sha256(OUTSIDE), weights()) == 0
    assert len(web.requests) > before


def test_a_file_of_the_model_that_is_not_there_or_not_the_right_one_is_told_by_its_name(pod: Pod, web: Web) -> None:
    url = web.answer("/model.onnx", OUTSIDE)
    message = pod.refused(url, sha256(OUTSIDE), weights())
    assert message.reason is Reason.SOURCE_NOT_FOUND
    web.answer("/w/model.data", b"other")
    message = pod.refused(url, sha256(OUTSIDE), weights())
    assert message.reason is Reason.CHECKSUM_MISMATCH
    assert "w/model.data beside http://127.0.0.1" in message.message
    assert f"the sha256 of w/model.data in spec.model is {sha256(WEIGHTS)}" in message.message


def test_external_data_that_is_shorter_than_the_model_says_is_refused(pod: Pod, web: Web) -> None:
    model = onnx_models.with_external_data("w/model.data")
    model.graph.initializer[0].external_data.add(key="length", value="8")
    content = model.SerializeToString()
    web.answer("/w/model.data", WEIGHTS)
    message = pod.refused(web.answer("/model.onnx", content), sha256(content), weights())
    assert message.reason is Reason.UNSAFE_EXTERNAL_DATA


def test_all_files_together_must_fit_the_limit(pod: Pod, web: Web) -> None:
    web.answer("/w/model.data", WEIGHTS)
    message = pod.refused(
        web.answer("/model.onnx", OUTSIDE), sha256(OUTSIDE), weights(), max_bytes=len(OUTSIDE) + len(WEIGHTS) - 1
    )
    assert message.reason is Reason.TOO_LARGE


# --- the profile beside the model ---

PROFILE = b'{"schema": 1}'


def test_a_profile_beside_the_model_comes_along(pod: Pod, web: Web) -> None:
    web.answer("/3/profile.json", PROFILE)
    assert pod.fetch(web.answer("/3/model.onnx", MODEL)) == 0
    assert pod.beside("profile.json").read_bytes() == PROFILE
    assert [line["sha256"] for line in pod.events("profile")] == [sha256(PROFILE)]


@pytest.mark.parametrize("status", [401, 403, 404, 500])
def test_a_profile_that_cannot_be_had_stops_nothing(pod: Pod, web: Web, status: int) -> None:
    web.answer("/profile.json", status=status)
    assert pod.fetch(web.answer("/model.onnx", MODEL)) == 0
    assert not pod.beside("profile.json").exists()
    assert len(web.asked("/profile.json")) == 1
    assert len(pod.events("no-profile") + pod.events("profile-not-fetched")) == 1


def test_a_page_in_the_place_of_a_profile_is_none(pod: Pod, web: Web) -> None:
    web.answer("/profile.json", b"<html>hello</html>")
    assert pod.fetch(web.answer("/model.onnx", MODEL)) == 0
    assert not pod.beside("profile.json").exists()


def test_a_presigned_url_is_not_asked_for_a_neighbour(pod: Pod, web: Web) -> None:
    assert pod.fetch(web.answer("/model.onnx", MODEL) + "?sig=1") == 0
    assert len(web.requests) == 1


def test_a_profile_that_the_spec_names_must_be_there_and_be_the_right_one(pod: Pod, web: Web) -> None:
    named = ExtraFile(path="profile.json", sha256=sha256(PROFILE), uri=web.answer("/p", PROFILE))
    url = web.answer("/model.onnx", MODEL)
    assert pod.fetch(url, sha256(MODEL), named) == 0
    assert pod.beside("profile.json").read_bytes() == PROFILE
    pod.beside("profile.json").unlink()
    pod.model.unlink()
    web.answers["/p"] = [(200, {}, b"{}")]
    assert pod.refused(url, sha256(MODEL), named).reason is Reason.CHECKSUM_MISMATCH
