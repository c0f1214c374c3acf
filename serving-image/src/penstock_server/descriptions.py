"""What the server says of itself and of its model, as the protocol's documents."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from penstock_server.lifecycle import State
from penstock_server.metrics import Statistics
from penstock_server.protocol import TensorSpec

SERVER_NAME = "penstock"
PLATFORM = "onnx_onnxv1"
#: The extensions of the protocol that work, by the names that Triton gave them.
EXTENSIONS = (
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "statistics",
)
NOT_READY = {
    State.LOADING: "the model is still loading",
    State.DRAINING: "the server is shutting down",
}
_TRITON_TYPES = {"BYTES": "TYPE_STRING"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What the server says it serves."""

    model_name: str
    model_version: str
    server_version: str


def server_metadata(identity: Identity) -> dict[str, Any]:
    """Return the answer of GET /v2."""
    return {"name": SERVER_NAME, "version": identity.server_version, "extensions": list(EXTENSIONS)}


def model_metadata(identity: Identity, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> dict[str, Any]:
    """Return the answer of GET /v2/models/NAME; a model without a version does not mention one."""
    return {
        "name": identity.model_name,
        **({"versions": [identity.model_version]} if identity.model_version else {}),
        "platform": PLATFORM,
        "inputs": [spec.to_wire() for spec in inputs],
        "outputs": [spec.to_json() for spec in outputs],
    }


def model_configuration(
    identity: Identity, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> dict[str, Any]:
    """Return the answer of GET /v2/models/NAME/config: shapes are whole, so there is no batch dimension beside them."""
    return {
        "name": identity.model_name,
        "platform": "onnxruntime_onnx",
        "backend": "onnxruntime",
        "max_batch_size": 0,
        "input": [_configured(spec) for spec in inputs],
        "output": [_configured(spec) for spec in outputs],
    }


def model_statistics(identity: Identity, made: Statistics) -> dict[str, Any]:
    """Return the answer of GET /v2/models/NAME/stats."""
    return {
        "model_stats": [
            {
                "name": identity.model_name,
                "version": identity.model_version,
                "last_inference": round(made.last_run_at * 1000),
                "inference_count": made.rows,
                "execution_count": made.runs,
                "inference_stats": {
                    "success": _duration(made.successes, made.success_seconds),
                    "fail": _duration(made.failures, made.failure_seconds),
                    "compute_infer": _duration(made.runs, made.run_seconds),
                },
            }
        ]
    }


def repository_index(identity: Identity, state: State, *, ready_only: bool) -> list[dict[str, Any]]:
    """Return the answer of POST /v2/repository/index."""
    ready = state is State.READY
    if ready_only and not ready:
        return []
    one = {
        "name": identity.model_name,
        "state": "READY" if ready else "UNAVAILABLE",
        "reason": NOT_READY.get(state, ""),
    }
    return [{**one, "version": identity.model_version} if identity.model_version else one]


def _configured(spec: TensorSpec) -> dict[str, Any]:
    datatype = _TRITON_TYPES.get(spec.datatype, f"TYPE_{spec.datatype}")
    return {"name": spec.name, "data_type": datatype, "dims": list(spec.shape)}


def _duration(count: int, seconds: float) -> dict[str, int]:
    return {"count": count, "ns": round(seconds * 1e9)}
