"""A web server and a pod for every test that fetches; attempts follow each other quickly."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.penstock_server.fetch.rig import Pod, Web, new_pod, serving

from penstock_server.fetch import download


@pytest.fixture
def web() -> Iterator[Web]:
    """A web server on loopback."""
    with serving() as running:
        yield running


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pod:
    """The fetching container."""
    monkeypatch.setattr(download, "_DELAYS_SECONDS", (0.01,))
    monkeypatch.setattr(download, "_RETRY_SECONDS", 0.8)
    return new_pod(tmp_path)
