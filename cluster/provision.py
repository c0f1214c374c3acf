"""Brings up a cluster with Penstock in it, whatever the machine offers: the first half of ``make up``.

The choice is the variable CLUSTER: ``current`` takes the kubeconfig's cluster as it is, ``kind`` makes one in Docker,
``embedded`` makes one of processes on this machine; empty means kind where a Docker engine answers, else embedded.
Standard library only.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NAMESPACE = "penstock-system"
RELEASE = "penstock"


def say(text: str) -> None:
    """Print one line."""
    print(f"== {text}", flush=True)


def run(*command: str, env: dict[str, str] | None = None) -> str:
    """Run a command whose errors go to the terminal; return what it prints."""
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True, env=env)
    if done.returncode:
        sys.exit(f"failed: {' '.join(command)}")
    return done.stdout


def embedded(*arguments: str) -> str:
    """Call the embedded cluster's own command."""
    return run(sys.executable, str(ROOT / "cluster" / "embedded"), *arguments)


def image_keys(printed: str) -> dict[str, str]:
    """Return the content key of each image from lines of ``NAME KEY``."""
    pairs = (line.partition(" ") for line in printed.strip().splitlines())
    return {name.removeprefix("penstock/"): key.strip() for name, _, key in pairs}


def choose() -> str:
    """Return which cluster to use."""
    wanted = os.environ.get("CLUSTER", "")
    if wanted not in {"", "current", "kind", "embedded"}:
        sys.exit(f"CLUSTER={wanted} is not known; use current, kind or embedded, or leave it out")
    if wanted:
        return wanted
    has_docker = shutil.which("docker") and shutil.which("kind") and not subprocess.run(
        ["docker", "info"], check=False, capture_output=True
    ).returncode  # fmt: skip
    return "kind" if has_docker else "embedded"


def programs(environment: dict[str, str]) -> None:
    """Put kubectl and helm on the PATH; build them where the machine has none."""
    if not (shutil.which("kubectl") and shutil.which("helm")):
        environment["PATH"] = f"{embedded('tools').strip()}:{environment['PATH']}"


def provision(environment: dict[str, str]) -> dict[str, str]:
    """Bring up the chosen cluster with the images in it; return image references by name."""
    choice = choose()
    say(f"cluster: {choice}" + ("" if os.environ.get("CLUSTER") else " (choose another one with CLUSTER=…)"))
    if choice == "embedded":
        environment["KUBECONFIG"] = embedded("up").strip().splitlines()[-1]
        environment["PATH"] = f"{embedded('tools').strip().splitlines()[-1]}:{environment['PATH']}"
        return image_keys(embedded("images"))
    programs(environment)
    if choice == "kind":
        clusters = run("kind", "get", "clusters").split()
        if "penstock" not in clusters:
            run("kind", "create", "cluster", "--name", "penstock", "--config", str(ROOT / "kind-config.yaml"))
        run("kubectl", "config", "use-context", "kind-penstock")
        return image_keys(embedded("images", "--engine", "docker"))
    if not os.environ.get("REGISTRY"):
        sys.exit(
            "CLUSTER=current needs images that your cluster can pull: build and push operator/Dockerfile as\n"
            "REGISTRY/operator, serving-image/Dockerfile as REGISTRY/server and cluster/images/router/Dockerfile as\n"
            "REGISTRY/router, then say REGISTRY=registry.example.com/penstock [TAG=dev]"
        )
    return {}


def install(environment: dict[str, str], keys: dict[str, str]) -> None:
    """Install or upgrade the chart, and wait until the operator is ready."""
    registry, tag = os.environ.get("REGISTRY", "penstock"), os.environ.get("TAG", "dev")
    values: dict[str, dict[str, object]] = {
        name: {"image": {"repository": f"{registry}/{image}", "tag": tag}}
        for name, image in (("operator", "operator"), ("serving", "server"), ("router", "router"))
    }
    # For trials of spec.gateway and spec.retrain.update in clusters of our own; somebody else's is asked for no rights
    # that it may not give.
    values["gateway"] = {"enabled": bool(keys)}
    values["modelUpdates"] = {"enabled": bool(keys)}
    if "operator" in keys:
        # The tag stays the same; the annotation restarts the operator when its image is another one.
        # And somebody is watching: drift of live traffic is looked for often.
        values["operator"] |= {"podAnnotations": {"penstock.dev/build": keys["operator"]}, "profileSeconds": 5}
    say(f"helm upgrade --install {RELEASE} charts/penstock --namespace {NAMESPACE}")
    command = [
        *("helm", "upgrade", "--install", RELEASE, str(ROOT / "charts" / "penstock")),
        *("--namespace", NAMESPACE, "--create-namespace", "--wait", "--timeout", "180s", "--values", "-"),
    ]
    done = subprocess.run(
        command, input=json.dumps(values), env=environment, text=True, check=False, stdout=subprocess.PIPE
    )
    if done.returncode:
        subprocess.run(["kubectl", "-n", NAMESPACE, "get", "pods,events"], env=environment, check=False)
        sys.exit("helm could not install the chart; the pods and events above say why")


def main() -> None:
    """Provision, install, and run the command that follows ``--`` with KUBECONFIG and PATH set."""
    started = time.monotonic()
    environment = dict(os.environ)
    keys = provision(environment)
    install(environment, keys)
    say(f"Penstock is installed ({time.monotonic() - started:.0f} s)")
    if "--" in sys.argv:
        command = sys.argv[sys.argv.index("--") + 1 :]
        sys.exit(subprocess.run(command, env=environment, check=False).returncode)


if __name__ == "__main__":
    main()
