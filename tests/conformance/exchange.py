"""One HTTP exchange as a client sees it, with nothing of the server's own code in between."""

import contextlib
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from typing import Any
from urllib.parse import quote

TIMEOUT_SECONDS = 15.0
HEADER_LENGTH = "Inference-Header-Content-Length"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, which says that it is JSON and is."""
        assert self.headers.get("content-type", "").partition(";")[0] == "application/json", self
        return json.loads(self.body)

    def error(self, *statuses: int) -> str:
        """The message of a refusal with one of the statuses, in the form that the protocol prescribes."""
        assert self.status in statuses, self
        answer = self.json()
        assert isinstance(answer, dict), answer
        message = answer["error"]
        assert isinstance(message, str), answer
        assert message.strip(), answer
        return message

    def answer(self) -> Any:
        """The JSON object of an accepted inference request."""
        assert self.status == 200, self
        return self.json()

    def tensors(self) -> tuple[Any, dict[str, bytes]]:
        """The JSON part and the bytes of each binary output by name, cut as the response says."""
        assert self.status == 200, self
        assert self.headers["content-type"] == "application/octet-stream", self
        length = int(self.headers[HEADER_LENGTH.lower()])
        message, rest = json.loads(self.body[:length]), self.body[length:]
        found: dict[str, bytes] = {}
        for output in message["outputs"]:
            size = output.get("parameters", {}).get("binary_data_size")
            if size is not None:
                assert "data" not in output, output
                found[output["name"]], rest = rest[:size], rest[size:]
        assert rest == b"", "bytes after the last output"
        return message, found


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A model on a server that is to be judged; ``grpc`` is host:port, or empty where the server has none."""

    host: str
    port: int
    model: str
    version: str = ""
    grpc: str = ""

    def path(self, call: str = "", *, version: str | None = None) -> str:
        """The path of a call of the model, with ``/versions/…`` where one is given."""
        versioned = "" if version is None else f"/versions/{quote(version, safe='')}"
        return f"/v2/models/{quote(self.model, safe='')}{versioned}" + (f"/{call}" if call else "")

    def ask(self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Reply:
        """Make one request on a connection of its own."""
        connection = HTTPConnection(self.host, self.port, timeout=TIMEOUT_SECONDS)
        try:
            connection.request(method, path, body, dict(headers or {}))
            return _reply(connection.getresponse())
        finally:
            connection.close()

    def infer(self, message: Any, *, headers: Mapping[str, str] | None = None, path: str | None = None) -> Reply:
        """Post an inference request: an object as JSON, bytes as they are."""
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        sent = {"Content-Type": "application/json", **(headers or {})}
        return self.ask("POST", path or self.path("infer"), body, sent)

    def infer_binary(self, message: Any, *tensors: bytes, length: int | str | None = None) -> Reply:
        """Post a request whose tensors follow its JSON; ``length`` lies about how long that is."""
        head = json.dumps(message).encode()
        declared = str(len(head) if length is None else length)
        headers = {"Content-Type": "application/octet-stream", HEADER_LENGTH: declared}
        return self.ask("POST", self.path("infer"), b"".join([head, *tensors]), headers)

    def infer_raw(self, body: bytes) -> Reply:
        """Post a tensor without any JSON."""
        return self.ask("POST", self.path("infer"), body, {HEADER_LENGTH: "0"})

    def say(self, text: bytes) -> Reply:
        """Send bytes that need not be HTTP, and read what comes back as HTTP."""
        with socket.create_connection((self.host, self.port), timeout=TIMEOUT_SECONDS) as plain:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it may have seen enough
                plain.sendall(text)
            response = HTTPResponse(plain)
            try:
                response.begin()
                return _reply(response)
            finally:
                response.close()


def _reply(response: HTTPResponse) -> Reply:
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Reply(status=response.status, headers=headers, body=response.read())
