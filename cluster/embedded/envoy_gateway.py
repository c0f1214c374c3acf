"""Envoy Gateway in the cluster: program, CRDs and chart from its Go module, proxies from our own router image."""

import json
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

from . import binaries, oci_archive, shell
from .console import say, step
from .errors import ClusterError
from .go_toolchain import go_command
from .image_store import ImageStore
from .layout import Layout
from .paths import cache_dir

MODULE = "github.com/envoyproxy/gateway"
#: The Gateway API itself, of the version that Envoy Gateway implements.
GATEWAY_API = "sigs.k8s.io/gateway-api"
NAMESPACE = "envoy-gateway-system"
RELEASE = "envoy-gateway"
CLASS = "envoy-gateway"
IMAGE = "docker.io/penstock/envoy-gateway:dev"
PROXY_IMAGE = "docker.io/penstock/router:dev"
_WAIT_SECONDS = 120
#: What its release process fills in.
_TEMPLATES = {"${GatewayImage}": IMAGE, "${GatewayImagePullPolicy}": "IfNotPresent"}


def ensure(layout: Layout, store: ImageStore) -> None:
    """Install or upgrade it in the running cluster; some seconds when all is there."""
    binaries.ensure([binaries.ENVOY_GATEWAY, binaries.HELM])
    _import_image(store)
    charts = sources(MODULE) / "charts" / "gateway-helm"
    kubectl: list[str | Path] = [binaries.bin_dir() / "kubectl", f"--kubeconfig={layout.kubeconfig}"]
    apply = [*kubectl, "apply", "--server-side", "--force-conflicts", "--field-manager=penstock-cluster"]
    with step("CRDs of the Gateway API and of Envoy Gateway"):
        shell.run([*apply, "--recursive", "-f", charts / "charts" / "crds" / "crds"])
    with step("Envoy Gateway"), tempfile.TemporaryDirectory() as folder:
        _install(_filled_in(charts, Path(folder)), layout)
        shell.run([*apply, "-f", "-"], stdin=json.dumps(_gateway_class()))
    say(f"✓  Gateways of the class {CLASS} are made and run")


def _import_image(store: ImageStore) -> None:
    module = binaries.ENVOY_GATEWAY
    key = binaries.module_key(module)
    if store.has(IMAGE, key):
        return
    archive = cache_dir() / "images" / f"envoy-gateway-{key}.tar"
    if not archive.exists():
        # Where its chart's commands find it: they name the program without a folder.
        program = "usr/local/bin/envoy-gateway"
        oci_archive.write(
            archive,
            reference=IMAGE,
            files={program: binaries.program("envoy-gateway")},
            entrypoint=[f"/{program}"],
            machine=platform.machine(),
        )
    with step("importing penstock/envoy-gateway"):
        store.add(archive, reference=IMAGE, key=key)


def sources(module: str) -> Path:
    """Return the folder of the sources of a module that Envoy Gateway is built from: CRDs, charts and all."""
    command = [str(go_command()), "mod", "download", "-json", module]
    environment = {**os.environ, "GOFLAGS": "-mod=readonly", "GOTOOLCHAIN": "local"}
    folder = binaries.ENVOY_GATEWAY.folder
    done = subprocess.run(command, check=False, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise ClusterError(f"the sources of {module} cannot be had:\n{done.stderr}{done.stdout}")
    return Path(json.loads(done.stdout)["Dir"])


def _filled_in(chart: Path, folder: Path) -> Path:
    """Return a copy of the chart with the values file that its release process would have made."""
    copy = folder / "chart"
    # Files of the module cache are read-only; the contents are copied, not the modes.
    shutil.copytree(chart, copy, copy_function=shutil.copyfile)
    text = (chart / "values.tmpl.yaml").read_text()
    for template, value in _TEMPLATES.items():
        text = text.replace(template, value)
    copy.chmod(0o755)
    (copy / "values.yaml").write_text(text)
    return copy


def _install(chart: Path, layout: Layout) -> None:
    helm: list[str | Path] = [binaries.bin_dir() / "helm", "--kubeconfig", layout.kubeconfig, "--namespace", NAMESPACE]
    wait = ["--wait", "--timeout", f"{_WAIT_SECONDS}s"]
    shell.run(
        [*helm, "upgrade", "--install", RELEASE, chart, "--create-namespace", *wait, "--values", "-"],
        stdin=json.dumps(_values()),
    )


def _values() -> dict[str, object]:
    little = {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}}
    kubernetes = {
        "envoyDeployment": {"container": {"resources": little}},
        # Nothing here gives addresses to Services of the type LoadBalancer.
        "envoyService": {"type": "ClusterIP"},
    }
    return {
        "crds": {"enabled": False},
        "topologyInjector": {"enabled": False},
        "deployment": {"envoyGateway": {"resources": little}},
        "global": {"images": {"envoyProxy": {"image": PROXY_IMAGE}}},
        "config": {"envoyGateway": {"envoyProxy": {"provider": {"type": "Kubernetes", "kubernetes": kubernetes}}}},
    }


def _gateway_class() -> dict[str, object]:
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "GatewayClass",
        "metadata": {"name": CLASS},
        "spec": {"controllerName": "gateway.envoyproxy.io/gatewayclass-controller"},
    }
