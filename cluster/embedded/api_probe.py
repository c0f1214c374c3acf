"""Ask the API server simple questions, without a client library."""

import http.client
import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from .certificates import Certificates

POLL_SECONDS = 0.05


class ApiProbe:
    """Read-only requests with the administrator's certificate."""

    def __init__(self, server: str, certificates: Certificates) -> None:
        self._server = server
        self._certificates = certificates
        self._context: ssl.SSLContext | None = None

    def status(self, path: str) -> int:
        """Return the HTTP status of a GET, or 0 where nothing answers."""
        return self._get(path)[0]

    def read(self, path: str) -> dict[str, Any] | None:
        """Return the object at ``path``, or None where it cannot be had."""
        status, body = self._get(path)
        return json.loads(body) if status == HTTPStatus.OK else None

    def _get(self, path: str) -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(f"{self._server}{path}", timeout=5, context=self._tls()) as answer:  # noqa: S310  # always https
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, b""
        except (OSError, http.client.HTTPException):
            return 0, b""

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = ssl.create_default_context(cafile=str(self._certificates.ca))
            pair = self._certificates.pair("admin")
            self._context.load_cert_chain(pair.certificate, pair.key)
        return self._context


def wait_until(happened: Callable[[], bool], *, timeout_seconds: float) -> bool:
    """Poll until ``happened``; False after ``timeout_seconds``."""
    deadline = time.monotonic() + timeout_seconds
    while not happened():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True
