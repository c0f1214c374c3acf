"""What a request pays for going through the router: one connection, side by side with a direct call.

Run: python benchmarks/router_overhead.py [--rounds 40] [--requests 100]
"""

import argparse
import asyncio
import http.client
import json
import multiprocessing
import os
import socket
import statistics
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import IO

import envoy
from aiohttp import web

from penstock_operator.adapters.xds.server import XdsServer
from penstock_operator.core.manifests.router import RouterSettings, router_manifests
from penstock_operator.core.manifests.router_bootstrap import bootstrap_json
from penstock_operator.core.routes import Backend, RouterPod, SplitRoute

HOST = "127.0.0.1"
PATH = "/v2/models/fraud/infer"
BODY = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 30], "data": [0.5] * 30}]}).encode()
RESULT = Path(__file__).parent / "results" / "router_overhead.json"
LIMIT_MILLISECONDS = 0.4


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=40, help="how often direct and routed take turns")
    arguments.add_argument("--requests", type=int, default=100, help="requests of each in a round")
    chosen = arguments.parse_args()
    figures = asyncio.run(measure(chosen.rounds, chosen.requests))
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(figures, indent=2) + "\n")
    print(f"{'':10}{'p50 ms':>10}{'p99 ms':>10}")
    for way in ("direct", "routed"):
        print(f"{way:10}{figures[f'{way}_p50_ms']:10.3f}{figures[f'{way}_p99_ms']:10.3f}")
    verdict = "within" if figures["overhead_p50_ms"] <= LIMIT_MILLISECONDS else "BEYOND"
    print(f"overhead at p50: {figures['overhead_p50_ms']:.3f} ms, {verdict} the limit of {LIMIT_MILLISECONDS} ms")


async def measure(rounds: int, requests: int) -> dict[str, float | int]:
    model_port, router_port, admin_port, stats_port = (free_port() for _ in range(4))
    model = multiprocessing.get_context("spawn").Process(target=serve, args=(model_port,), daemon=True)
    model.start()
    xds = XdsServer()
    router = start_router(await xds.start(HOST, 0), admin_port, stats_port)
    try:
        await asyncio.to_thread(wait_for, model_port)
        pod = RouterPod(name="router", ip=HOST)
        xds.publish("bench", [route(router_port, model_port)], [pod])
        acknowledgement = await xds.acknowledged("bench", 20)
        assert acknowledgement.complete, acknowledgement
        await asyncio.to_thread(wait_for, router_port)
        return await asyncio.to_thread(take_turns, model_port, router_port, rounds, requests)
    finally:
        router.kill()
        router.wait()
        model.terminate()
        await xds.stop()


def route(port: int, model_port: int) -> SplitRoute:
    backend = Backend(revision="fraud-a", host=HOST, port=model_port, weight=100)
    return SplitRoute(namespace="bench", split="fraud", port=port, backends=(backend,), request_timeout_seconds=30)


def take_turns(direct_port: int, routed_port: int, rounds: int, requests: int) -> dict[str, float | int]:
    ports = {"direct": direct_port, "routed": routed_port}
    connections = {way: http.client.HTTPConnection(HOST, port) for way, port in ports.items()}
    taken: dict[str, list[float]] = {"direct": [], "routed": []}
    for turn in range(-2, rounds):
        # Who begins changes, and the first two turns only warm up.
        for way in sorted(connections, reverse=turn % 2 == 1):
            times = [one_request(connections[way]) for _ in range(requests)]
            if turn >= 0:
                taken[way] += times
    for connection in connections.values():
        connection.close()
    figures: dict[str, float | int] = {"cpus": os.cpu_count() or 0, "connections": 1, "requests": rounds * requests}
    for way, times in taken.items():
        figures[f"{way}_p50_ms"] = round(statistics.median(times), 4)
        figures[f"{way}_p99_ms"] = round(statistics.quantiles(times, n=100)[98], 4)
    figures["overhead_p50_ms"] = round(figures["routed_p50_ms"] - figures["direct_p50_ms"], 4)
    return figures


def one_request(connection: http.client.HTTPConnection) -> float:
    begin = time.perf_counter()
    connection.request("POST", PATH, BODY, {"Content-Type": "application/json"})
    response = connection.getresponse()
    response.read()
    assert response.status == 200, response.status
    return (time.perf_counter() - begin) * 1000


def serve(port: int) -> None:
    """Answer at once: the smaller the model's own time, the better the router's shows."""

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        return web.json_response({"model_name": "fraud", "outputs": []})

    app = web.Application()
    app.router.add_get("/v2/health/ready", answer)
    app.router.add_post(PATH, answer)
    web.run_app(app, host=HOST, port=port, print=None, access_log=None)


def start_router(
    xds_port: int, admin_port: int, stats_port: int, *, output: IO[bytes] | None = None
) -> subprocess.Popen[bytes]:
    settings = RouterSettings(image="none", xds_address=f"{HOST}:{xds_port}", operator_namespace="none")
    deployment = router_manifests("bench", settings)[-1]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    arguments = [argument.replace("$(POD_NAME)", "router") for argument in container["args"]]
    ports = replace(settings.bootstrap, admin_port=admin_port, stats_port=stats_port)
    arguments[arguments.index("--config-yaml") + 1] = bootstrap_json(ports)
    folder = Path(envoy.__file__).parent / "_bin"
    environment = {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.Popen([*container["command"], *arguments], env=environment, stdout=output, stderr=output)


def wait_for(port: int, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with socket.socket() as client:
            if client.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(f"nothing listens on port {port} after {seconds} s")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])


if __name__ == "__main__":
    main()
