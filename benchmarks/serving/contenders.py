"""The servers that are compared: what is installed for each, how it is started, how it is spoken to."""

import functools
import json
import os
import shutil
import subprocess
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.serving import wire
from benchmarks.serving.environments import ROOT, versions
from benchmarks.serving.models import Subject
from benchmarks.serving.processes import ServerFailed, free_port
from cluster.environments import python_of

from penstock_contract.environment import GRPC_OFF, ServingEnvironment

_PEERS = Path(__file__).parent / "peers"
#: One of many slow requests at a time must not end a round.
_REQUEST_SECONDS_MAX = 30
_KSERVE_QUIET = {
    "version": 1,
    "disable_existing_loggers": True,
    "root": {"level": "ERROR", "handlers": []},
    "loggers": {
        name: {"level": "ERROR", "handlers": [], "propagate": False}
        for name in ("kserve", "kserve.trace", "uvicorn", "uvicorn.access", "uvicorn.error")
    },
}
_V2_READY = f"/v2/models/{wire.MODEL_NAME}/ready"
#: What the bare loop has in common with Penstock, in the same versions.
_SHARED = ("aiohttp", "orjson", "onnxruntime", "numpy", "uvloop")


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """How one server is started for one model. ``grpc_port`` 0: it has none."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    port: int
    ready_path: str
    grpc_port: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One server in one configuration. ``start`` may write files into the folder, which is also where it runs."""

    name: str
    says: str
    start: Callable[[Subject, Path], Start]
    dialects: tuple[wire.Dialect, ...] = (wire.V2_JSON,)
    settles_seconds: float = field(default=0.1)
    """How long after it was stopped the server is left alone before it is measured."""

    def line(self, dialect: wire.Dialect) -> str:
        """Return what one way of speaking to this server is called in the tables."""
        return self.name if len(self.dialects) == 1 else f"{self.name} {dialect.name}"


def contenders() -> tuple[Contender, ...]:
    """Return all servers, Penstock first, then the naive limit."""
    every = (wire.V2_JSON, wire.V2_BINARY, wire.V2_GRPC)
    return (
        Contender(
            name="penstock",
            says="everything on: checks, metrics, drift counting, gRPC",
            start=functools.partial(_penstock, profile=True, grpc=True, batching=0),
            dialects=every,
        ),
        Contender(
            name="penstock-batching",
            says="everything on, and rows of several requests in one run",
            start=functools.partial(_penstock, profile=True, grpc=True, batching=32),
        ),
        Contender(
            name="penstock-plain",
            says="no reference profile, no gRPC",
            start=functools.partial(_penstock, profile=False, grpc=False, batching=0),
        ),
        Contender(name="bare", says="aiohttp Application, orjson, ONNX Runtime; nothing else", start=_bare),
        Contender(name="mlserver", says="MLServer, inference in the server's own process", start=_mlserver),
        Contender(
            name="kserve", says="KServe's Python server as it comes", start=functools.partial(_kserve, logs=True)
        ),
        Contender(
            name="kserve-quiet",
            says="KServe's Python server, logs of requests off",
            start=functools.partial(_kserve, logs=False),
        ),
        Contender(name="litserve", says="LitServe, one worker", start=_litserve, dialects=(wire.LITSERVE,)),
        Contender(name="bentoml", says="BentoML, one worker, access log off", start=_bentoml, dialects=(wire.BENTOML,)),
    )


@functools.cache
def penstock_python() -> Path:
    """Return the Python of an environment with this working tree and what the serving image has besides."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    also = json.dumps([project["dependencies"], extras["server"], extras.get("profile"), project["scripts"]])
    return python_of("penstock", ("-e", ".[server]"), also=also)


def _penstock(subject: Subject, folder: Path, *, profile: bool, grpc: bool, batching: int) -> Start:
    python = penstock_python()
    port, grpc_port = free_port(), free_port() if grpc else 0
    reference = profile and subject.profile_rows is not None
    serving = ServingEnvironment(
        model_name=wire.MODEL_NAME,
        revision="bench-1",
        namespace="bench",
        model_path=str(subject.path),
        http_port=port,
        management_port=free_port(),
        grpc_port=grpc_port or GRPC_OFF,
        request_timeout_seconds=_REQUEST_SECONDS_MAX,
        drain_seconds=0,
        batching_max_rows=batching,
        profile_path=str(reference_profile(python, subject, folder)) if reference else "",
    )
    command = (str(python.with_name("penstock-server")), "--host", "127.0.0.1")
    return Start(
        command=command,
        environment=_environment(serving.to_env()),
        port=port,
        ready_path=_V2_READY,
        grpc_port=grpc_port,
    )


def reference_profile(python: Path, subject: Subject, folder: Path) -> Path:
    """Write a model's reference profile into the folder; return its path."""
    out = folder / f"{subject.name}-profile.json"
    command = [str(python.with_name("penstock-profile")), str(subject.path), str(subject.profile_rows), "-o", str(out)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise ServerFailed(f"penstock-profile failed: {done.stderr.strip()[-1000:]}")
    return out


def _bare(subject: Subject, folder: Path) -> Start:
    del folder
    shared = versions(penstock_python(), *_SHARED)
    python = python_of("bare", tuple(f"{name}=={version}" for name, version in sorted(shared.items())))
    port = free_port()
    command = (str(python), str(_PEERS / "bare_loop.py"), str(subject.path), str(port))
    return Start(command=command, environment=_environment(), port=port, ready_path="/v2/health/ready")


def _mlserver(subject: Subject, folder: Path) -> Start:
    python = _peer_python("mlserver")
    port, grpc_port, metrics_port = free_port(), free_port(), free_port()
    shutil.copy(_PEERS / "mlserver_runtime.py", folder)
    settings = {
        "host": "127.0.0.1",
        "http_port": port,
        "grpc_port": grpc_port,
        "metrics_port": metrics_port,
        # With its own worker processes it is slower on one core: every request crosses two queues.
        "parallel_workers": 0,
        "debug": False,
    }
    model = {
        "name": wire.MODEL_NAME,
        "implementation": "mlserver_runtime.OnnxRuntime",
        "parameters": {"uri": str(subject.path)},
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps(model))
    command = (str(python.with_name("mlserver")), "start", str(folder))
    return Start(command=command, environment=_environment(), port=port, ready_path=_V2_READY)


def _kserve(subject: Subject, folder: Path, *, logs: bool) -> Start:
    python = _peer_python("kserve")
    port = free_port()
    command = [str(python), str(_PEERS / "kserve_model.py"), "--model_path", str(subject.path), "--model_name"]
    command += [wire.MODEL_NAME, "--http_port", str(port), "--enable_grpc", "false"]
    if not logs:
        quiet = folder / "logging.json"
        quiet.write_text(json.dumps(_KSERVE_QUIET))
        command += ["--enable_latency_logging", "false", "--log_config_file", str(quiet)]
    return Start(command=tuple(command), environment=_environment(), port=port, ready_path=_V2_READY)


def _litserve(subject: Subject, folder: Path) -> Start:
    del folder
    python = _peer_python("litserve")
    port = free_port()
    command = (str(python), str(_PEERS / "litserve_api.py"), str(port))
    # Its worker is another process, which imports the API anew: the model's path goes there by the environment.
    environment = _environment({"BENCH_MODEL": str(subject.path)})
    return Start(command=command, environment=environment, port=port, ready_path="/health")


def _bentoml(subject: Subject, folder: Path) -> Start:
    python = _peer_python("bentoml")
    port = free_port()
    shutil.copy(_PEERS / "bentoml_service.py", folder)
    configuration = folder / "bentoml.yaml"
    configuration.write_text("services:\n  logging:\n    access:\n      enabled: false\n")
    command = (str(python.with_name("bentoml")), "serve", "bentoml_service:Bench", "--working-dir", str(folder))
    variables = {
        "BENCH_MODEL": str(subject.path),
        "BENTOML_HOME": str(folder / "home"),
        "BENTOML_CONFIG": str(configuration),
        "BENTOML_DO_NOT_TRACK": "True",
    }
    return Start(
        command=(*command, "--host", "127.0.0.1", "--port", str(port)),
        environment=_environment(variables),
        port=port,
        ready_path="/readyz",
    )


def _peer_python(name: str) -> Path:
    file = _PEERS / "requirements" / f"{name}.txt"
    return python_of(name, ("-r", str(file.relative_to(ROOT))), also=file.read_text())


def _environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return a bare environment: no server sees another one's settings."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, "PYTHONUNBUFFERED": "1", **(more or {})}
