"""The protocol's ``parameters``: what they may be, and those that this server heeds."""

from collections.abc import Mapping
from typing import Any

from penstock_server.protocol.json_tensors import kind, shown
from penstock_server.protocol.types import BadRequest, Parameter, TensorSpec

_NONE: Mapping[str, Parameter] = {}
_MICROSECONDS = 1_000_000


def parameters_of(message: dict[str, Any], where: str) -> Mapping[str, Parameter]:
    """Return the parameters of a request, an input or an output; raise BadRequest for other types of values."""
    parameters = message.get("parameters")
    if parameters is None:
        return _NONE
    if type(parameters) is not dict:
        raise BadRequest(f"'parameters' of {where} must be an object, not {kind(parameters)}")
    for key, value in parameters.items():
        if not isinstance(value, (str, int, float, bool)):
            said = f"parameter {shown(key)} of {where}"
            raise BadRequest(f"{said} must be a string, number or boolean, not {kind(value)}")
    return parameters


def flag(parameters: Mapping[str, Parameter], name: str, where: str, *, default: bool = False) -> bool:
    """Return a parameter that is true or false."""
    value = parameters.get(name, default)
    if type(value) is not bool:
        raise BadRequest(f"parameter {name!r} of {where} must be true or false, not {kind(value)}")
    return value


def seconds_wanted(parameters: Mapping[str, Parameter]) -> float | None:
    """Return how long the client is ready to wait: ``timeout``, in microseconds; 0 says nothing."""
    value = parameters.get("timeout", 0)
    if type(value) is not int or value < 0:
        said = value if type(value) in (int, float) else kind(value)
        raise BadRequest(f"parameter 'timeout' must be a whole number of microseconds from 0, not {said}")
    return value / _MICROSECONDS if value else None


def raw_bytes(parameters: Mapping[str, Parameter], where: str) -> int | None:
    """Return how many raw bytes an input has behind the JSON, None: its data is in the JSON."""
    value = parameters.get("binary_data_size")
    if value is None:
        return None
    if type(value) is not int or value < 0:
        said = value if type(value) in (int, float) else kind(value)
        raise BadRequest(f"{where}: 'binary_data_size' must be a whole number from 0, not {said}")
    return value


def classes_wanted(parameters: Mapping[str, Parameter], spec: TensorSpec, where: str) -> int:
    """Return of how many classes the client wants to know, 0: it wants the numbers themselves."""
    value = parameters.get("classification", 0)
    if type(value) is not int or value < 0:
        said = value if type(value) in (int, float) else kind(value)
        raise BadRequest(f"{where}: 'classification' must be a whole number from 1, not {said}")
    if value and spec.datatype in {"BYTES", "BOOL"}:
        raise BadRequest(f"{where} is {spec.datatype}, which has no largest values to classify by")
    return value
