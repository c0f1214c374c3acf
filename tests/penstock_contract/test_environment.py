"""Both containers read back exactly what the operator wrote."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_contract.environment import ExtraFile, FetchEnvironment, InvalidEnvironment, ServingEnvironment

SERVING = ServingEnvironment(model_name="fraud", revision="fraud-1", namespace="shop")
FETCH = FetchEnvironment(uri="s3://models/a.onnx", sha256="ab" * 32)
TEXT = st.text(min_size=1)


@given(
    st.builds(
        ServingEnvironment,
        model_name=TEXT,
        revision=TEXT,
        namespace=TEXT,
        model_version=st.text(),
        request_timeout_seconds=st.floats(0.001, 1e6),
        concurrency_max=st.integers(1, 10**6),
        queue_max=st.integers(0, 10**6),
        drain_seconds=st.floats(0, 1e6),
        grpc_port=st.integers(-1, 65535),
    )
)
def test_a_serving_environment_survives_the_way_through_variables(value: ServingEnvironment) -> None:
    assert ServingEnvironment.from_env(value.to_env()) == value


@given(
    st.builds(
        FetchEnvironment,
        uri=TEXT,
        sha256=st.just("0f" * 32),
        max_bytes=st.integers(1, 2**60),
        files=st.just(
            (ExtraFile(path="a/w.bin", sha256="1a" * 32), ExtraFile(path="l.txt", sha256="2b" * 32, uri="s3://b/l"))
        ),
    )
)
def test_a_fetch_environment_survives_the_way_through_variables(value: FetchEnvironment) -> None:
    assert FetchEnvironment.from_env(value.to_env()) == value


def test_the_variables_are_named_as_the_documents_say() -> None:
    assert SERVING.to_env()["PENSTOCK_MODEL_NAME"] == "fraud"
    assert SERVING.to_env()["PENSTOCK_DRAIN_SECONDS"] == "15.0"
    assert FETCH.to_env()["PENSTOCK_FETCH_URI"] == "s3://models/a.onnx"


def test_what_has_a_default_may_be_left_out() -> None:
    env = {"PENSTOCK_MODEL_NAME": "fraud", "PENSTOCK_REVISION": "fraud-1", "PENSTOCK_NAMESPACE": "shop"}
    assert ServingEnvironment.from_env(env) == SERVING


@pytest.mark.parametrize(
    ("variable", "text", "message"),
    [
        ("PENSTOCK_HTTP_PORT", "http", "PENSTOCK_HTTP_PORT must be a whole number, not 'http'"),
        ("PENSTOCK_HTTP_PORT", "70000", "PENSTOCK_HTTP_PORT must be at most 65535, not 70000"),
        ("PENSTOCK_REQUEST_TIMEOUT_SECONDS", "0", "PENSTOCK_REQUEST_TIMEOUT_SECONDS must be at least 0.001, not 0.0"),
        ("PENSTOCK_REQUEST_TIMEOUT_SECONDS", "nan", "PENSTOCK_REQUEST_TIMEOUT_SECONDS must be at least 0.001"),
        ("PENSTOCK_DRAIN_SECONDS", "long", "PENSTOCK_DRAIN_SECONDS must be a number, not 'long'"),
        ("PENSTOCK_CONCURRENCY_MAX", "0", "PENSTOCK_CONCURRENCY_MAX must be at least 1, not 0"),
        ("PENSTOCK_MODEL_NAME", "", "PENSTOCK_MODEL_NAME is empty"),
        ("PENSTOCK_GRPC_PORT", "-2", "PENSTOCK_GRPC_PORT must be at least -1, not -2"),
        ("PENSTOCK_GRPC_PORT", "65536", "PENSTOCK_GRPC_PORT must be at most 65535, not 65536"),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_of_its_variable(variable: str, text: str, message: str) -> None:
    with pytest.raises(InvalidEnvironment, match=re.escape(message)):
        ServingEnvironment.from_env({**SERVING.to_env(), variable: text})


def test_a_missing_variable_is_named() -> None:
    with pytest.raises(InvalidEnvironment, match="PENSTOCK_MODEL_NAME is not set"):
        ServingEnvironment.from_env({})


@pytest.mark.parametrize("digest", ["", "abc", "z" * 64, "a" * 63])
def test_what_is_not_a_sha256_is_refused(digest: str) -> None:
    with pytest.raises(InvalidEnvironment, match="PENSTOCK_FETCH_SHA256 must be the 64 hex digits"):
        replace(FETCH, sha256=digest)


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ('[{"path":"../w","sha256":"%s"}]' % ("0" * 64), "'../w' must be a relative path"),
        ('[{"path":"/w","sha256":"%s"}]' % ("0" * 64), "'/w' must be a relative path"),
        ('[{"path":".w","sha256":"%s"}]' % ("0" * 64), "'.w' must be a relative path"),
        ('[{"path":"w","sha256":"0"}]', "the sha256 of 'w' must be the 64 hex digits"),
        ('[{"path":"model.onnx","sha256":"%s"}]' % ("0" * 64), "names 'model.onnx' twice, or the model itself"),
        ('[{"path":"w"}]', "must be a JSON list of"),
        ('{"path":"w"}', "must be a JSON list of"),
        ("nonsense", "must be a JSON list of"),
    ],
)
def test_files_that_cannot_lie_beside_the_model_are_refused(files: str, says: str) -> None:
    with pytest.raises(InvalidEnvironment, match=re.escape(says)):
        FetchEnvironment.from_env({**FETCH.to_env(), "PENSTOCK_FETCH_FILES": files})


def test_two_files_of_one_path_or_one_within_the_other_are_refused() -> None:
    first = ExtraFile(path="a", sha256="0" * 64)
    for path in ("a", "a/b"):
        with pytest.raises(InvalidEnvironment, match="twice"):
            replace(FETCH, files=(first, ExtraFile(path=path, sha256="0" * 64)))


def test_what_was_not_asked_for_is_not_written() -> None:
    """So that a version that knows more renders the same pod template for the same spec."""
    assert "PENSTOCK_FETCH_FILES" not in FETCH.to_env()
