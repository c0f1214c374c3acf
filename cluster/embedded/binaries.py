"""Build the cluster's programs from pinned Go modules into a cache keyed by what they are built from."""

import hashlib
import os
import platform
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .console import step
from .errors import ClusterError
from .go_toolchain import go_command
from .locks import exclusive
from .paths import MODULES, cache_dir

KUBERNETES_VERSION = "v1.36.3"


@dataclass(frozen=True, slots=True, kw_only=True)
class GoModule:
    """A folder in cluster/modules and the programs that come out of it.

    ``produces`` maps the name that the compiler gives a program to the name it is installed as.
    """

    name: str
    produces: Mapping[str, str]
    package: str = "tool"
    ldflags: str = "-s -w"
    tags: str = ""

    @property
    def folder(self) -> Path:
        """Return where its go.mod is."""
        return MODULES / self.name


_KUBERNETES_PROGRAMS = (
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "kubectl",
)
_VERSION_FLAGS = " ".join(
    f"-X k8s.io/component-base/version.{variable}={value}"
    for variable, value in (
        ("gitVersion", KUBERNETES_VERSION),
        ("gitMajor", KUBERNETES_VERSION.lstrip("v").split(".")[0]),
        ("gitMinor", KUBERNETES_VERSION.split(".")[1]),
    )
)

CERTIFICATES = GoModule(name="certificates", produces={"certificates": "penstock-certificates"}, package=".")
PAUSE = GoModule(name="pause", produces={"pause": "pause"}, package=".")
ETCD = GoModule(name="etcd", produces={"server": "etcd"})
# Outside its own repository Kubernetes does not know its version: without the flags it reads v0.0.0-master.
KUBERNETES = GoModule(
    name="kubernetes",
    produces={name: name for name in _KUBERNETES_PROGRAMS},
    ldflags=f"-s -w {_VERSION_FLAGS}",
)
HELM = GoModule(name="helm", produces={"helm": "helm"})
COREDNS = GoModule(name="coredns", produces={"coredns": "coredns"}, package=".")
VERSITYGW = GoModule(name="versitygw", produces={"versitygw": "versitygw"})
REGISTRY = GoModule(name="registry", produces={"registry": "registry"}, package=".")
FAKE_GCS_SERVER = GoModule(name="fake-gcs-server", produces={"fake-gcs-server": "fake-gcs-server"})
#: Judges servers of HTTP/2, as ours for gRPC is one.
H2SPEC = GoModule(name="h2spec", produces={"h2spec": "h2spec"})
#: The second router that splits are tested with; minutes to build.
ENVOY_GATEWAY = GoModule(name="envoy-gateway", produces={"envoy-gateway": "envoy-gateway"})
#: Takes the alerts of policies in the tests.
ALERTMANAGER = GoModule(name="alertmanager", produces={"alertmanager": "alertmanager"})
#: What metrics of queries are asked of in the tests, and what judges the chart's alert rules; minutes to build.
PROMETHEUS = GoModule(
    name="prometheus",
    produces={"prometheus": "prometheus", "promtool": "promtool"},
    # Without the ways to find targets in a dozen clouds: they take as long to build as all the rest.
    tags="remove_all_sd",
)

CONTROL_PLANE_MODULES = (CERTIFICATES, ETCD, KUBERNETES)
CLUSTER_MODULES = (CERTIFICATES, PAUSE, ETCD, KUBERNETES, HELM, COREDNS)
#: The servers that tests fetch models from.
SOURCE_MODULES = (VERSITYGW, REGISTRY, FAKE_GCS_SERVER)
ALL_MODULES = (*CLUSTER_MODULES, *SOURCE_MODULES, H2SPEC, ENVOY_GATEWAY, ALERTMANAGER, PROMETHEUS)


def bin_dir() -> Path:
    """Return the one folder for PATH: it links to the programs of every module built so far."""
    keys = "".join(module_key(module) for module in ALL_MODULES)
    return cache_dir() / hashlib.sha256(keys.encode()).hexdigest()[:12] / "bin"


def program(name: str) -> Path:
    """Return the program called ``name`` at the place of its own module, which another module's change leaves alone."""
    return (bin_dir() / name).resolve()


def ensure(modules: Iterable[GoModule] = CLUSTER_MODULES) -> Path:
    """Build what is missing of ``modules`` and return the folder with all programs; milliseconds when built."""
    wanted = list(modules)
    if not all(is_linked(module) for module in wanted):
        with exclusive(cache_dir() / "build.lock", doing="building programs"):
            for module in wanted:
                if not is_linked(module):
                    _link(module, _built(module))
    return bin_dir()


def is_linked(module: GoModule) -> bool:
    """Tell whether all programs of ``module`` are in ``bin_dir``."""
    return all((bin_dir() / installed).exists() for installed in module.produces.values())


def module_key(module: GoModule) -> str:
    """Return a short hash of everything that a build of ``module`` depends on."""
    digest = hashlib.sha256()
    sources = [module.folder / "go.mod", module.folder / "go.sum", *sorted(module.folder.glob("*.go"))]
    for path in sources:
        if path.exists():
            digest.update(f"{path.name}\0".encode() + path.read_bytes() + b"\0")
    digest.update(f"{module.package}\0{module.ldflags}\0{platform.machine()}{module.tags}".encode())
    return digest.hexdigest()[:12]


def _module_dir(module: GoModule) -> Path:
    return cache_dir() / "modules" / f"{module.name}-{module_key(module)}"


def _built(module: GoModule) -> Path:
    target = _module_dir(module)
    if target.is_dir():
        return target
    go = go_command()
    # Built beside the target and renamed in one move: an interrupted build never looks like a finished one.
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    with step(f"building {module.name}: {', '.join(module.produces.values())}"):
        _compile(go, module, partial)
        for compiled, installed in module.produces.items():
            (partial / compiled).rename(partial / installed)
        partial.rename(target)
    return target


def _compile(go: Path, module: GoModule, output: Path) -> None:
    command = [str(go), "build", "-trimpath", "-buildvcs=false", "-tags", module.tags, "-ldflags", module.ldflags]
    command += ["-o", f"{output}/"]
    # -mod=readonly: a go.sum that lacks a hash stops the build instead of being completed on the quiet.
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOTOOLCHAIN": "local"}
    result = subprocess.run(
        [*command, module.package], check=False, cwd=module.folder, env=environment, capture_output=True, text=True
    )
    if result.returncode != 0:
        last_lines = "\n".join(result.stderr.splitlines()[-20:])
        raise ClusterError(
            f"building {module.folder} failed:\n{last_lines}\n"
            "The Go modules come from GOPROXY (see `go env GOPROXY`): check that it answers, then run this again."
        )


def _link(module: GoModule, built: Path) -> None:
    target = bin_dir()
    target.mkdir(parents=True, exist_ok=True)
    for installed in module.produces.values():
        link = target / installed
        link.unlink(missing_ok=True)
        link.symlink_to(os.path.relpath(built / installed, target))
