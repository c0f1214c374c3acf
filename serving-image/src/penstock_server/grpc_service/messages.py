"""The messages of the services, made at run time of the compiled files in ``schema/``.

No code is generated: what protoc writes for Python works only with the protobuf release that it belongs to, while the
compiled schema works with all of them.
"""

import base64
from importlib.resources import files
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

SERVICE = "inference.GRPCInferenceService"
HEALTH = "grpc.health.v1.Health"
REFLECTIONS = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
#: Compiled by ``make grpc-schema``, in base64: text, so that a change of it can be seen.
COMPILED = "schema.b64"

#: Not the default one: a client of the same services may be in the same process, with schemas of its own.
POOL = descriptor_pool.DescriptorPool()
_SCHEMA = base64.b64decode(files(__package__).joinpath(COMPILED).read_bytes())
for _file in descriptor_pb2.FileDescriptorSet.FromString(_SCHEMA).file:
    POOL.AddSerializedFile(_file.SerializeToString())


def calls_of(service: str) -> dict[str, tuple[Any, Any]]:
    """Return the messages of each call by its name: what is asked and what is answered."""
    return {
        method.name: (
            message_factory.GetMessageClass(method.input_type),
            message_factory.GetMessageClass(method.output_type),
        )
        for method in POOL.FindServiceByName(service).methods
    }


CALLS = calls_of(SERVICE)
ModelInferRequest, ModelInferResponse = CALLS["ModelInfer"]
