"""A server process counts against its profile and tells it on the management port alone."""

import gzip
import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.penstock_server import onnx_models
from tests.penstock_server.command_line import started

from penstock_contract import counts as wire
from penstock_contract.profile import Profile, layout_of, parse

MODEL = onnx_models.identity("FP32", [None, 2])
ROWS = np.random.default_rng(5).normal(size=(60, 2)).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A server on loopback."""

    url: str
    management_url: str
    profile: Profile

    def infer(self, row: list[float], **more: Any) -> dict[str, Any]:
        tensor = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": row}
        return self.post("/v2/models/model/infer", {"inputs": [tensor], **more})

    def post(self, path: str, message: Any) -> dict[str, Any]:
        request = urllib.request.Request(self.url + path, json.dumps(message).encode())
        with urllib.request.urlopen(request, timeout=10) as response:
            answer: dict[str, Any] = json.load(response)
            return answer

    def counts(self) -> dict[str, Any]:
        with urllib.request.urlopen(self.management_url + "/v1/profile", timeout=10) as response:
            message: dict[str, Any] = json.load(response)
            return message

    def snapshot(self) -> wire.Snapshot:
        return wire.parse(json.dumps(self.counts()), layout_of(self.profile.columns), self.profile.hash)


Start = Callable[..., Served]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Return a function that builds a profile with the command and serves the model beside it."""
    running = ExitStack()

    def begin(*, damage: bool = False) -> Served:
        model, data, profile = tmp_path / "model.onnx", tmp_path / "rows.npz", tmp_path / "profile.json"
        model.write_bytes(MODEL.SerializeToString())
        np.savez(data, x=ROWS)
        command = [sys.executable, "-m", "penstock_server.profile", str(model), str(data), "-o", str(profile), "-q"]
        subprocess.run(command, check=True, timeout=60)
        text = profile.read_text()
        if damage:
            profile.write_text(text.replace('"rows"', '"row"'))
        url, management = running.enter_context(started(model))
        return Served(url=url, management_url=management, profile=parse(text))

    with running:
        yield begin


def test_requests_are_counted_against_the_profile_beside_the_model(start: Start) -> None:
    served = start()
    for row in ROWS.tolist():
        served.infer(row)
    with pytest.raises(urllib.error.HTTPError) as refused:
        served.infer([1.0])
    refused.value.close()
    got = served.snapshot()
    assert got.counts == served.profile.counts
    assert (got.requests, got.errors) == (60, {"400": 1})
    with urllib.request.urlopen(served.management_url + "/v1/profile/reference", timeout=10) as response:
        assert parse(response.read()) == served.profile


def test_a_damaged_profile_never_stops_serving(start: Start) -> None:
    served = start(damage=True)
    served.infer([1.0, 2.0])
    message = served.counts()
    assert "profile.json: its counts: 'rows' must hold whole numbers" in message["profileError"]
    assert message["plain"]["rows"] == 1
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(served.management_url + "/v1/profile/reference", timeout=10)
    with refused.value:
        assert refused.value.code == 404
        assert "'rows' must hold whole numbers" in json.load(refused.value)["error"]
    with urllib.request.urlopen(served.management_url + "/metrics", timeout=10) as response:
        assert re.search(r"^penstock_profile_unusable\{.*\} 1\.0$", response.read().decode(), re.MULTILINE)


def test_the_counts_are_compressed_for_who_can_read_that(start: Start) -> None:
    served = start()
    for row in ROWS.tolist():
        served.infer(row)
    request = urllib.request.Request(served.management_url + "/v1/profile", headers={"Accept-Encoding": "gzip"})
    with urllib.request.urlopen(request, timeout=10) as response:
        assert response.headers["Content-Encoding"] == "gzip"
        assert json.loads(gzip.decompress(response.read()))["schema"] == wire.SCHEMA


def test_segments_are_asked_for_by_query_and_nonsense_is_refused(start: Start) -> None:
    served = start()
    served.infer([1.0, 2.0])
    with urllib.request.urlopen(
        served.management_url + "/v1/profile?segmentBy=x%5B0%5D&value=1", timeout=10
    ) as response:
        message = json.load(response)
    assert message["segments"] == {"x[0]": {"error": "the input 'x[0]' is numeric, and segments are by categories"}}
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(served.management_url + "/v1/profile?segmentBy=x", timeout=10)
    with refused.value:
        assert refused.value.code == 400
        assert "there must be 1 to 8 times value" in json.load(refused.value)["error"]


def test_clients_on_the_public_port_cannot_read_the_counts(start: Start) -> None:
    served = start()
    with pytest.raises(urllib.error.HTTPError) as refused, urllib.request.urlopen(served.url + "/v1/profile"):
        pass
    with refused.value:
        assert refused.value.code == 404


def test_a_label_finds_its_prediction(start: Start) -> None:
    served = start()
    served.infer([1.0, 2.0], id="a")
    served.infer([2.0, 1.0], id="b")
    labels = [{"requestId": "a", "label": 1}, {"requestId": "b", "label": 1}, {"requestId": "z", "label": 1}]
    told = served.post("/v1/feedback", labels)
    assert (told["matched"], told["unmatched"], told["unmatchedIds"]) == (2, 1, ["z"])
    feedback = served.snapshot().feedback
    assert feedback.confusion == {"0": {"1": 1}, "1": {"1": 1}}
    assert feedback.accuracy == 0.5
