"""What the server is told, by its command line on a laptop or by its environment in a pod."""

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from penstock_contract.environment import GRPC_OFF, InvalidEnvironment, ServingEnvironment
from penstock_contract.termination import TERMINATION_LOG, TERMINATION_LOG_VARIABLE

_LAPTOP_TIMEOUT_SECONDS = 30.0
_GRPC_PORT = 9000
_PORT_MAX = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that the server needs to know. ``host`` None: all interfaces; ``person``: someone reads along."""

    serving: ServingEnvironment
    host: str | None
    person: bool
    termination_log: Path


def read(arguments: Sequence[str], env: Mapping[str, str]) -> Settings:
    """Return the settings; raise InvalidEnvironment, or exit with a usage message for a wrong command line."""
    options = _parser().parse_args(arguments)
    if options.model is None:
        serving = _from_environment(env)
        return Settings(serving=serving, host=options.host, person=False, termination_log=termination_log(env))
    serving = ServingEnvironment(
        model_name=options.name or _name_of(options.model),
        revision="local",
        namespace="local",
        model_path=options.model,
        model_version=options.version or "",
        request_timeout_seconds=_LAPTOP_TIMEOUT_SECONDS,
        http_port=options.port,
        management_port=options.management_port,
        grpc_port=_grpc_port(options),
        drain_seconds=0,
        profile_path=options.profile or "",
    )
    return Settings(
        serving=serving, host=options.host or "127.0.0.1", person=True, termination_log=termination_log(env)
    )


def termination_log(env: Mapping[str, str]) -> Path:
    """Return where last words go."""
    return Path(env.get(TERMINATION_LOG_VARIABLE, TERMINATION_LOG))


def _from_environment(env: Mapping[str, str]) -> ServingEnvironment:
    try:
        return ServingEnvironment.from_env(env)
    except InvalidEnvironment as error:
        raise InvalidEnvironment(f"{error} (on a laptop, name the model: penstock-server MODEL.onnx)") from None


def _name_of(model: str) -> str:
    """Return a name from the file's that needs no escaping in a URL."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", Path(model).stem).strip("-") or "model"


def _grpc_port(options: argparse.Namespace) -> int:
    if options.grpc_port is not None:
        return int(options.grpc_port)
    # Who lets the machine choose one port has not thought of the other.
    return _GRPC_PORT if options.port else 0


def _port_or_off(text: str) -> int:
    if text == "off":
        return GRPC_OFF
    if not _is_port(text):
        raise argparse.ArgumentTypeError(f"must be a port from 1 to 65535, 0 for any free one, or off, not {text!r}")
    return int(text)


def _port(text: str) -> int:
    if not _is_port(text):
        raise argparse.ArgumentTypeError(f"must be a port from 1 to 65535, or 0 for any free one, not {text!r}")
    return int(text)


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= len(str(_PORT_MAX)) and int(text) <= _PORT_MAX


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="penstock-server",
        description="Serve an ONNX model by Open Inference Protocol v2. Without MODEL.onnx, the PENSTOCK_* "
        "variables say what to serve, as the operator sets them in a pod.",
    )
    parser.add_argument("model", nargs="?", metavar="MODEL.onnx", help="the model to serve")
    parser.add_argument("--name", help="model name in URLs and answers (default: the file's name)")
    parser.add_argument("--version", help="model version in URLs and answers (default: none)")
    parser.add_argument("--profile", help="reference profile to count against (default: profile.json beside the model)")
    parser.add_argument("--host", help="address to listen on (default: 127.0.0.1, in a pod all interfaces)")
    parser.add_argument(
        "--port", type=_port, default=8080, help="port of the protocol, 0: any free one (default: 8080)"
    )
    parser.add_argument(
        "--management-port",
        type=_port,
        default=8081,
        help="port of probes and metrics, 0: any free one (default: 8081)",
    )
    parser.add_argument(
        "--grpc-port",
        type=_port_or_off,
        help="port of gRPC, 0: any free one, off: none (default: 9000, and 0 where --port is 0)",
    )
    return parser
