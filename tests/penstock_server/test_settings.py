"""Command line on a laptop, environment in a pod."""

from pathlib import Path

import pytest

from penstock_contract.environment import GRPC_OFF, InvalidEnvironment, ServingEnvironment
from penstock_server.settings import read

POD = ServingEnvironment(model_name="fraud", revision="fraud-1", namespace="shop").to_env()


def test_on_a_laptop_only_the_model_must_be_named() -> None:
    settings = read(["models/My Model (2).onnx"], {})
    assert settings.person
    assert settings.host == "127.0.0.1"
    assert settings.serving.model_name == "My-Model-2"
    assert settings.serving.model_path == "models/My Model (2).onnx"
    assert (settings.serving.http_port, settings.serving.management_port) == (8080, 8081)
    assert settings.serving.drain_seconds == 0


def test_on_a_laptop_everything_can_be_said() -> None:
    arguments = ["m.onnx", "--name", "n", "--version", "7", "--host", "::1", "--port", "0", "--management-port", "9"]
    settings = read(arguments, {})
    assert (settings.serving.model_name, settings.serving.model_version, settings.host) == ("n", "7", "::1")
    assert (settings.serving.http_port, settings.serving.management_port) == (0, 9)


@pytest.mark.parametrize(
    ("arguments", "port"),
    [
        ([], 9000),
        (["--port", "0"], 0),
        (["--port", "8000"], 9000),
        (["--grpc-port", "9001"], 9001),
        (["--grpc-port", "off"], GRPC_OFF),
    ],
)
def test_on_a_laptop_grpc_has_its_port_or_none(arguments: list[str], port: int) -> None:
    assert read(["m.onnx", *arguments], {}).serving.grpc_port == port


@pytest.mark.parametrize("given", ["none", "65536", "-1", "٣", "9" * 5000])
@pytest.mark.parametrize(
    ("option", "wanted"),
    [
        ("--port", "must be a port from 1 to 65535, or 0 for any free one, not "),
        ("--management-port", "must be a port from 1 to 65535, or 0 for any free one, not "),
        ("--grpc-port", "must be a port from 1 to 65535, 0 for any free one, or off, not "),
    ],
)
def test_a_port_that_is_none_is_told(capsys: pytest.CaptureFixture[str], option: str, wanted: str, given: str) -> None:
    with pytest.raises(SystemExit):
        read(["m.onnx", f"{option}={given}"], {})
    assert f"{option}: {wanted}{given!r}" in capsys.readouterr().err


def test_in_a_pod_the_environment_says_all() -> None:
    settings = read([], {**POD, "PENSTOCK_TERMINATION_LOG": "/tmp/log"})
    assert settings.serving == ServingEnvironment.from_env(POD)
    assert (settings.person, settings.host, settings.termination_log) == (False, None, Path("/tmp/log"))


def test_without_both_it_says_what_to_do() -> None:
    with pytest.raises(InvalidEnvironment, match=r"is not set \(on a laptop, name the model: penstock-server MODEL"):
        read([], {})
