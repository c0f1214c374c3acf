"""What version 1 wrote is still written and still read: running pods are older than the operator, or newer."""

import json
from importlib import resources

from penstock_contract.environment import FetchEnvironment, ServingEnvironment
from penstock_contract.termination import Reason, TerminationMessage, parse

GOLDEN = resources.files("penstock_contract") / "golden" / "v1"

SERVING = ServingEnvironment(
    model_name="fraud",
    revision="fraud-7c9f2b41",
    namespace="shop",
    model_version="3",
    request_timeout_seconds=2.5,
    concurrency_max=32,
    queue_max=128,
)
FETCH = FetchEnvironment(uri="s3://models/fraud/3/model.onnx", sha256="9f2c" * 16, credentials_dir="/credentials")
MESSAGE = TerminationMessage(
    reason=Reason.CHECKSUM_MISMATCH, message="http://models/fraud.onnx has sha256 … “ü”", permanent=True
)


def golden(name: str) -> str:
    return (GOLDEN / name).read_text(encoding="utf-8")


def test_the_serving_environment_is_what_it_was() -> None:
    env = json.loads(golden("serving-environment.json"))
    assert ServingEnvironment.from_env(env) == SERVING
    assert SERVING.to_env() == env


def test_the_fetch_environment_is_what_it_was() -> None:
    env = json.loads(golden("fetch-environment.json"))
    assert FetchEnvironment.from_env(env) == FETCH
    assert FETCH.to_env() == env


def test_the_termination_message_is_what_it_was() -> None:
    text = golden("termination-message.json")
    assert parse(text) == MESSAGE
    assert MESSAGE.to_json() + "\n" == text


def test_a_variable_that_only_a_newer_operator_knows_does_no_harm() -> None:
    assert ServingEnvironment.from_env({**SERVING.to_env(), "PENSTOCK_FLUX": "1"}) == SERVING
