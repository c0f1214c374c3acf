"""Loading, overloaded, too slow, about to end: what a client and a load balancer learn then."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.conformance.exchange import Reply, Target
from tests.conformance.slow import SlowClients
from tests.conformance.subjects import Running, free_port

Start = Callable[..., Running]
LONG = 2_000_000_000  # rounds that nobody waits for


def rounds(count: int, **more: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "rounds", "shape": [1], "datatype": "INT64", "data": [count]}], **more}


@pytest.fixture(scope="module")
def _module_servers(request: pytest.FixtureRequest) -> dict[str, Running]:
    return {}


@pytest.fixture
def loading(start: Start, _module_servers: dict[str, Running]) -> Target:
    """A server that listens and is not ready, for a long time."""
    if "loading" not in _module_servers:
        _module_servers["loading"] = start("slow_to_warm_up", until="loaded", http_port=free_port())
    return _module_servers["loading"].target


@pytest.fixture
def busy(start: Start, _module_servers: dict[str, Running]) -> Running:
    """A server that runs one request at a time, lets none wait, and gives each half a second."""
    if "busy" not in _module_servers:
        _module_servers["busy"] = start("counter", concurrency_max=1, queue_max=0, request_timeout_seconds=0.5)
    running = _module_servers["busy"]
    deadline = time.monotonic() + 5
    while running.target.infer(rounds(1)).status != 200:  # what the check before left behind is still ending
        assert time.monotonic() < deadline, "it never had a turn again"
        time.sleep(0.02)
    return running


@pytest.fixture
def occupied(busy: Running) -> Iterator[tuple[Target, list[Reply]]]:
    """That server while a request runs; its answer is in the list at the end."""
    replies: list[Reply] = []
    asking = threading.Thread(target=lambda: replies.append(busy.target.infer(rounds(LONG))))
    asking.start()
    time.sleep(0.1)  # the request is under way; the half second has begun
    yield busy.target, replies
    asking.join()


@pytest.mark.parametrize("call", ["/v2/health/ready", "ready", "infer", "metadata"])
def test_a_server_that_loads_says_so_with_503(loading: Target, call: str) -> None:
    match call:
        case "infer":
            reply = loading.infer(rounds(1))
        case "metadata":
            reply = loading.ask("GET", loading.path())
            if reply.status == 200:
                return  # it may know the model before it serves it
        case "ready":
            reply = loading.ask("GET", loading.path("ready"))
        case path:
            reply = loading.ask("GET", path)
    reply.error(503)


@pytest.mark.parametrize("call", ["/v2/health/ready", "ready"])
def test_a_server_that_loads_also_says_it_as_ready_false(loading: Target, call: str) -> None:
    path = loading.path("ready") if call == "ready" else call
    assert loading.ask("GET", path).json()["ready"] is False


def test_a_server_that_loads_is_live(loading: Target) -> None:
    assert loading.ask("GET", "/v2/health/live").answer()["live"] is True


def test_a_server_that_loads_answers_about_itself(loading: Target) -> None:
    assert loading.ask("GET", "/v2").answer()["name"]


def test_a_server_that_loads_knows_which_models_are_not_its_own(loading: Target) -> None:
    loading.ask("POST", "/v2/models/unknown/infer", b"{}").error(404)


def test_a_refusal_while_loading_says_when_to_come_back(loading: Target) -> None:
    assert int(loading.infer(rounds(1)).headers["retry-after"]) >= 1


def test_a_request_that_takes_too_long_is_ended_with_504(busy: Running) -> None:
    started = time.monotonic()
    busy.target.infer(rounds(LONG)).error(504)
    assert 0.4 <= time.monotonic() - started < 5


def test_a_run_that_took_too_long_is_really_terminated(busy: Running) -> None:
    busy.target.infer(rounds(LONG)).error(504)
    time.sleep(0.2)
    before = busy.cpu_seconds()
    time.sleep(0.5)
    assert busy.cpu_seconds() - before < 0.25


def test_after_a_run_that_took_too_long_the_next_one_is_answered(busy: Running) -> None:
    busy.target.infer(rounds(LONG)).error(504)
    deadline = time.monotonic() + 2
    while busy.target.infer(rounds(1)).status != 200:  # the run may end a moment after its answer
        assert time.monotonic() < deadline


def test_a_shorter_timeout_of_the_request_is_kept(busy: Running) -> None:
    started = time.monotonic()
    message = busy.target.infer(rounds(LONG, parameters={"timeout": 100_000})).error(504)
    assert time.monotonic() - started < 5
    assert "0.1 s" in message


@pytest.mark.parametrize("value", [-1, "soon", 1.5, True], ids=str)
def test_a_timeout_that_is_none_is_refused(busy: Running, value: Any) -> None:
    busy.target.infer(rounds(1, parameters={"timeout": value})).error(400)


def test_a_server_that_has_enough_to_do_says_so_with_429_and_when_to_come_back(
    occupied: tuple[Target, list[Reply]],
) -> None:
    reply = occupied[0].infer(rounds(1))
    reply.error(429)
    assert int(reply.headers["retry-after"]) >= 1


def test_a_server_that_has_enough_to_do_is_still_live_and_ready(occupied: tuple[Target, list[Reply]]) -> None:
    target, replies = occupied
    assert target.ask("GET", "/v2/health/live").status == 200
    assert target.ask("GET", "/v2/health/ready").status == 200
    assert replies == []  # the run was still under way


def test_a_client_that_goes_away_does_not_keep_the_model_busy(busy: Running) -> None:
    target = busy.target
    body = json.dumps(rounds(LONG)).encode()
    head = f"POST {target.path('infer')} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with socket.create_connection((target.host, target.port)) as plain:
        plain.sendall(head + body)
        time.sleep(0.1)
    deadline = time.monotonic() + 2
    while target.infer(rounds(1)).status != 200:
        assert time.monotonic() < deadline


def test_a_server_that_is_about_to_end_says_so_and_answers_on(start: Start) -> None:
    running = start("identity_int8", drain_seconds=30.0)
    running.process.terminate()
    running.event("draining")
    target = running.target
    message = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "INT8", "data": [1, 2]}]}
    reply = target.ask("GET", "/v2/health/ready")
    reply.error(503)
    assert reply.json()["ready"] is False
    assert target.ask("GET", "/v2/health/live").status == 200
    answer = target.infer(message)
    assert (answer.status, answer.headers["connection"].lower()) == (200, "close")
    running.process.terminate()  # twice: in a hurry
    assert running.process.wait(10) == 0


@pytest.mark.parametrize(
    ("behaviour", "seconds"),
    [
        ("says nothing", 10),
        ("stops in its headers", 10),
        ("stops in its headers after a pause", 10),
        ("sends a byte of its headers each second", 10),
        ("stops in the headers of its second request", 10),
        ("stops before its body", 30),
        ("stops in its body", 30),
        ("sends a byte of its body each second", 30),
    ],
)
def test_a_client_that_takes_its_time_is_cut_off(slow_clients: SlowClients, behaviour: str, seconds: int) -> None:
    ending = slow_clients.ending(behaviour)
    assert seconds - 1 < ending.seconds < seconds + 8
    last = ending.received[ending.received.rfind(b"HTTP/1.1 ") :]
    if behaviour != "says nothing":
        assert last.startswith(b"HTTP/1.1 408")
        assert json.loads(last.partition(b"\r\n\r\n")[2])["error"]
