"""The messages of ``inference.GRPCInferenceService``, made at run time of the compiled ``inference.proto``.

No code is generated: what protoc writes for Python works only with the protobuf release that it belongs to, while the
compiled schema works with all of them.
"""

from importlib.resources import files
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

SERVICE = "inference.GRPCInferenceService"
#: Compiled by ``make grpc-schema``.
COMPILED = "inference.binpb"


def _load() -> Any:
    """Return the file's descriptor, known to the default pool so that reflection finds it."""
    compiled = descriptor_pb2.FileDescriptorSet.FromString(files(__package__).joinpath(COMPILED).read_bytes())
    (file,) = compiled.file
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    return pool.FindFileByName(file.name)


_FILE = _load()
_SERVICE = _FILE.services_by_name[SERVICE.rpartition(".")[2]]
#: The messages of each call, by its name: what is asked and what is answered.
CALLS: dict[str, tuple[Any, Any]] = {
    method.name: (
        message_factory.GetMessageClass(method.input_type),
        message_factory.GetMessageClass(method.output_type),
    )
    for method in _SERVICE.methods
}

ModelInferRequest, ModelInferResponse = CALLS["ModelInfer"]
#: Numbers of Triton's data types by their names.
DATA_TYPES: dict[str, int] = dict(_FILE.enum_types_by_name["DataType"].values_by_name.items())
