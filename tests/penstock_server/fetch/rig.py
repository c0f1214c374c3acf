"""A web server on loopback that behaves as told, and the fetching container with its folders."""

import hashlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from tests.penstock_server import onnx_models

from penstock_contract.environment import ExtraFile, FetchEnvironment
from penstock_contract.termination import TerminationMessage, parse
from penstock_server.fetch import __main__ as command

MODEL = onnx_models.identity("FP32", [None]).SerializeToString()

Answer = tuple[int, dict[str, str], bytes]
#: Answers a request from its path and its headers.
Behaviour = Callable[[str, dict[str, str]], Answer]


def sha256(content: bytes) -> str:
    """Return the digest in hex."""
    return hashlib.sha256(content).hexdigest()


@dataclass
class Web:
    """What an HTTP server answers by path, and what it was asked."""

    url: str
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    behaviours: dict[str, Behaviour] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def answer(self, path: str, body: bytes = b"", *, status: int = 200, headers: dict[str, str] | None = None) -> str:
        """Add an answer (the last one stays) and return the URL."""
        self.answers.setdefault(path, []).append((status, headers or {}, body))
        return self.url + path

    def behave(self, path: str, behaviour: Behaviour) -> str:
        """Answer all requests for a path by a function."""
        self.behaviours[path] = behaviour
        return self.url + path

    def asked(self, path: str) -> list[dict[str, str]]:
        """Return the headers of the requests for a path."""
        return [headers for asked, headers in self.requests if path in {(one := asked.partition("?")[0]), unquote(one)}]

    def reply(self, path: str, headers: dict[str, str]) -> Answer:
        """Return the next answer."""
        self.requests.append((path, headers))
        plain = path.partition("?")[0]
        if plain not in self.answers and plain not in self.behaviours:
            plain = unquote(plain)
        if plain in self.behaviours:
            return self.behaviours[plain](path, headers)
        answers = self.answers.get(plain, [(404, {}, b"nothing")])
        return answers.pop(0) if len(answers) > 1 else answers[0]


def breaking(content: bytes, *, every: int, tag: str = '"v1"', ranges: bool = True) -> Behaviour:
    """Serve a file that breaks off after so many bytes each time, and honours ranges."""

    def reply(_path: str, headers: dict[str, str]) -> Answer:
        start = 0
        asked = re.fullmatch(r"bytes=(\d+)-", headers.get("Range", ""))
        # Clients of object stores insist on the date.
        marks = {"Last-Modified": "Sat, 21 Nov 2026 12:00:00 GMT", **({"ETag": tag} if tag else {})}
        if ranges and asked and headers.get("If-Range", tag) == tag:
            start = int(asked[1])
            if start >= len(content):
                return 416, {"Content-Range": f"bytes */{len(content)}"}, b""
            marks["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        rest = content[start:]
        return (206 if start else 200), {**marks, "Content-Length": str(len(rest))}, rest[:every]

    return reply


@contextmanager
def serving() -> Iterator[Web]:
    """Run a web server."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = made.reply(self.path, {name.title(): value for name, value in self.headers.items()})
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(BrokenPipeError, ConnectionResetError):  # a client that has seen enough
                self.wfile.write(body)
                if int(headers.get("Content-Length", 0)) > len(body):
                    # Clients forget what they have not handed out when a connection breaks; let them hand it out.
                    time.sleep(0.05)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name in the base class
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made = Web(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Pod:
    """One run of the container: where things are, and what it left."""

    folder: Path
    lines: list[dict[str, Any]] = field(default_factory=list)

    @property
    def model(self) -> Path:
        """Where the model goes."""
        return self.folder / "models" / "model.onnx"

    @property
    def source(self) -> Path:
        """Where volumes are mounted."""
        return self.folder / "source"

    def beside(self, path: str) -> Path:
        """Return where a file of the model goes."""
        return self.model.parent / path

    def secret(self, **keys: str) -> dict[str, str]:
        """Mount a Secret, and return the setting that tells of it."""
        mounted = self.folder / "secret"
        mounted.mkdir(exist_ok=True)
        for name, value in keys.items():
            (mounted / name).write_text(value)
        return {"credentials_dir": str(mounted)}

    def fetch(self, uri: str, digest: str = sha256(MODEL), *files: ExtraFile, **settings: Any) -> int:
        """Run the container and return its exit status."""
        wanted = FetchEnvironment(
            uri=uri, sha256=digest, destination=str(self.model), mount_dir=str(self.source), files=files, **settings
        )
        env = {**wanted.to_env(), "PENSTOCK_TERMINATION_LOG": str(self.folder / "termination-log")}
        return command.run(env, lambda event, **fields: self.lines.append({"event": event, **fields}))

    def refused(self, uri: str, digest: str = sha256(MODEL), *files: ExtraFile, **settings: Any) -> TerminationMessage:
        """Fetch, expect failure, and return the last words; nothing must be left behind."""
        assert self.fetch(uri, digest, *files, **settings) == 1
        assert list(self.model.parent.iterdir()) == []
        message = parse((self.folder / "termination-log").read_text())
        assert message is not None
        return message

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the log lines of an event."""
        return [line for line in self.lines if line["event"] == name]


def new_pod(folder: Path) -> Pod:
    """Make the folders that Kubernetes would."""
    made = Pod(folder)
    made.model.parent.mkdir()
    made.source.mkdir()
    (folder / "termination-log").touch()
    return made
