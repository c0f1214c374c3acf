"""The port: health, reflection, limits, and how it ends."""

import asyncio
import socket
import time
from typing import Any

import grpc
import numpy as np
import pytest
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tests.penstock_server import onnx_models
from tests.penstock_server.conftest import eventually
from tests.penstock_server.grpc.conftest import FOR_EVER, Serve, Served, raw_input, rounds

from penstock_server.grpc_service.messages import CALLS, SERVICE

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
GOOD = raw_input("x", "FP32", np.ones((1, 2), np.float32))


def health(served: Served) -> Any:
    return health_pb2_grpc.HealthStub(served.channel)


async def state(served: Served, service: str = "") -> Any:
    return (await health(served).Check(health_pb2.HealthCheckRequest(service=service))).status


@pytest.mark.parametrize("service", ["", SERVICE])
async def test_health_is_that_of_the_model(serve: Serve, service: str) -> None:
    loading, loaded = await serve(None), await serve(onnx_models.identity("FP32", [None, 2]))
    assert await state(loading, service) == NOT_SERVING
    assert await state(loaded, service) == SERVING
    loaded.listener.draining()
    assert await state(loaded, service) == NOT_SERVING
    assert (await loaded.call("ModelInfer", **GOOD)).model_name == "m"  # for who does not know yet


async def test_the_health_of_what_is_not_there_is_not_found(serve: Serve) -> None:
    served = await serve(None)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await state(served, "other")
    assert caught.value.code() is StatusCode.NOT_FOUND


async def test_who_watches_health_is_told_of_changes(serve: Serve) -> None:
    served = await serve(None)
    watch = health(served).Watch(health_pb2.HealthCheckRequest(service=SERVICE))
    assert (await watch.read()).status == NOT_SERVING
    served.listener.ready()
    assert (await watch.read()).status == SERVING
    served.listener.draining()
    assert (await watch.read()).status == NOT_SERVING
    watch.cancel()


async def test_reflection_lists_the_services_and_describes_them(serve: Serve) -> None:
    served = await serve(None)
    stub = reflection_pb2_grpc.ServerReflectionStub(served.channel)
    asked = reflection_pb2.ServerReflectionRequest
    stream = stub.ServerReflectionInfo(iter([asked(list_services=""), asked(file_containing_symbol=SERVICE)]))
    listed = (await stream.read()).list_services_response.service
    assert {one.name for one in listed} == {
        SERVICE,
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    described = (await stream.read()).file_descriptor_response.file_descriptor_proto
    assert b"ModelInferRequest" in described[0]
    stream.cancel()


async def test_the_server_tells_who_it_is_and_what_it_serves(serve: Serve) -> None:
    served = await serve(onnx_models.identity("BYTES", [None, 2]), version="3")
    assert (await served.call("ServerLive")).live
    assert (await served.call("ServerReady")).ready
    assert (await served.call("ModelReady", name="m", version="3")).ready
    server = await served.call("ServerMetadata")
    assert (server.name, server.version) == ("penstock", "9")
    model = await served.call("ModelMetadata", name="m")
    assert (model.name, list(model.versions), model.platform) == ("m", ["3"], "onnx_onnxv1")
    assert [(one.name, one.datatype, list(one.shape)) for one in model.inputs] == [("x", "BYTES", [-1, 2])]
    assert [(one.name, one.datatype, list(one.shape)) for one in model.outputs] == [("y", "BYTES", [-1, 2])]
    config = (await served.call("ModelConfig", name="m")).config
    assert (config.name, config.max_batch_size) == ("m", 0)
    assert [(one.name, one.data_type, list(one.dims)) for one in config.input] == [("x", 13, [-1, 2])]
    (entry,) = (await served.call("RepositoryIndex")).models
    assert (entry.name, entry.version, entry.state, entry.reason) == ("m", "3", "READY", "")


async def test_statistics_tell_what_was_done(serve: Serve) -> None:
    served = await serve(onnx_models.identity("FP32", [None, 2]))
    await served.call("ModelInfer", **GOOD)
    await served.call("ModelInfer", **raw_input("x", "FP32", np.ones((3, 2), np.float32)))
    await served.fails("ModelInfer", model_name="m")
    for asked in ({}, {"name": "m"}):
        (stats,) = (await served.call("ModelStatistics", **asked)).model_stats  # type: ignore[arg-type]
        assert (stats.name, stats.inference_count, stats.execution_count) == ("m", 4, 2)
        assert (stats.inference_stats.success.count, stats.inference_stats.fail.count) == (2, 1)
        assert stats.inference_stats.success.ns > stats.inference_stats.compute_infer.ns > 0
        assert abs(stats.last_inference / 1000 - time.time()) < 60


async def test_a_server_that_loads_says_so(serve: Serve) -> None:
    served = await serve(None)
    assert (await served.call("ServerLive")).live
    assert not (await served.call("ServerReady")).ready
    assert not (await served.call("ModelReady", name="m")).ready
    (entry,) = (await served.call("RepositoryIndex")).models
    assert (entry.state, entry.reason) == ("UNAVAILABLE", "the model is still loading")
    assert not (await served.call("RepositoryIndex", ready=True)).models


async def test_an_end_waits_for_the_calls_in_progress_and_takes_no_more(serve: Serve) -> None:
    served = await serve(onnx_models.counter(), timeout_seconds=3600)
    running = served.start("ModelInfer", **rounds(FOR_EVER))
    await eventually(lambda: served.admission.in_flight == 1)
    finishing = asyncio.ensure_future(served.listener.finish(3600))
    await eventually(lambda: not _connects(served.listener.port))
    assert not finishing.done()
    assert served.inference is not None
    served.inference.cancel()
    assert await running.code() is StatusCode.DEADLINE_EXCEEDED  # it has its answer, not a broken connection
    await asyncio.wait_for(finishing, 5)


async def test_who_watches_health_does_not_hold_up_the_end(serve: Serve) -> None:
    served = await serve(onnx_models.identity("FP32", [None, 2]))
    watch = health(served).Watch(health_pb2.HealthCheckRequest())
    assert (await watch.read()).status == SERVING
    started = time.monotonic()
    await served.listener.finish(3600)
    assert time.monotonic() - started < 3


async def test_a_compressed_message_is_taken_but_not_one_that_grows_without_bound(serve: Serve) -> None:
    served = await serve(onnx_models.identity("UINT8", [None]))
    asked, answered = CALLS["ModelInfer"]
    method = served.channel.unary_unary(
        f"/{SERVICE}/ModelInfer", request_serializer=asked.SerializeToString, response_deserializer=answered.FromString
    )
    small = asked(**raw_input("x", "UINT8", np.zeros(1 << 20, np.uint8)))
    answer = await method(small, compression=grpc.Compression.Gzip)
    assert answer.raw_output_contents[0] == bytes(1 << 20)
    bomb = asked(**raw_input("x", "UINT8", np.zeros(100 << 20, np.uint8)))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await method(bomb, compression=grpc.Compression.Gzip)
    assert caught.value.code() is StatusCode.RESOURCE_EXHAUSTED


def _connects(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
