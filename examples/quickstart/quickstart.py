"""Shows what Penstock does, under live traffic: a model served, a good canary promoted, three bad ones kept out.

It needs kubectl on the PATH and a cluster with Penstock installed; it makes and uses the namespace ``quickstart``.
Standard library only.
"""

import argparse
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # a script finds its neighbours, also when it is not installed

from examples.quickstart.answers import Answers

HERE = Path(__file__).parent
MODELS = HERE.parent / "models"
NAMESPACE = "quickstart"
OPERATOR_NAMESPACE = "penstock-system"
REPLICAS = 2
START = time.monotonic()


def say(text: str = "") -> None:
    """Print one line with the time since the start."""
    print(f"{time.monotonic() - START:7.1f}s  {text}" if text else "", flush=True)


def kubectl(*arguments: str, stdin: str | None = None) -> str:
    """Run kubectl and return what it prints; stop with its own words if it fails."""
    done = subprocess.run(["kubectl", *arguments], input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"kubectl {' '.join(arguments)} failed:\n{done.stderr}")
    return done.stdout


def get(kind: str, name: str = "tumor") -> dict[str, Any]:
    """Return an object of the namespace."""
    found: dict[str, Any] = json.loads(kubectl("-n", NAMESPACE, "get", kind, name, "-o", "json"))
    return found


def digests() -> dict[str, str]:
    """Return the sha256 of each example model by file name."""
    pairs = (line.split() for line in (MODELS / "SHA256SUMS").read_text().splitlines())
    return {name: digest for digest, name in pairs}


class Failed(SystemExit):
    """Something did not happen as it should."""


def wait(what: str, done: Callable[[], bool], *, timeout: float = 120.0, pause: float = 0.25) -> float:
    """Wait until ``done`` and return the seconds that took."""
    started = time.monotonic()
    while not done():
        if time.monotonic() - started > timeout:
            raise Failed(f"waited {timeout:.0f} s in vain: {what}\n{picture()}")
        time.sleep(pause)
    return time.monotonic() - started


def picture() -> str:
    """Return what a person would look at."""
    everything = kubectl("-n", NAMESPACE, "get", "mdep,tsplit,dpol,pods", "-o", "wide")
    events = kubectl("-n", NAMESPACE, "get", "events", "--sort-by=.lastTimestamp")
    return f"{everything}\n{events[-3000:]}"


class Client(Answers):
    """Follows what the client pod prints."""

    def __init__(self) -> None:
        """Start to follow."""
        super().__init__()
        self._process = subprocess.Popen(
            ["kubectl", "-n", NAMESPACE, "logs", "-f", "client"], stdout=subprocess.PIPE, text=True
        )
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if not self.add(line):
                print(line, end="")

    def stop(self) -> None:
        """Stop following."""
        self._process.terminate()
        self._process.wait()


def change_model(file: str, version: str) -> str:
    """Change the model in the ModelDeployment's spec, as a person would, and return the new revision's name."""
    before = get("mdep").get("status", {}).get("latestRevision")
    model = {"uri": f"configmap://tumor-models/{file}", "sha256": digests()[file], "version": version}
    say(f"$ kubectl patch mdep tumor   # spec.model.uri: {model['uri']}")
    kubectl("-n", NAMESPACE, "patch", "mdep", "tumor", "--type=merge", "-p", json.dumps({"spec": {"model": model}}))
    wait("the operator sees the new model", lambda: get("mdep")["status"].get("latestRevision") != before)
    return str(get("mdep")["status"]["latestRevision"])


def follow_rollout(revision: str, ends: set[str], *, timeout: float) -> dict[str, Any]:
    """Print every change of the split until it is in one of the phases ``ends``; return the split."""
    last = ""
    started = time.monotonic()
    while time.monotonic() - started < timeout:
        split = get("tsplit")
        status = split.get("status", {})
        candidate = (status.get("candidates") or [{}])[0]
        line = f"{status.get('phase'):<12} {revision} at {candidate.get('weight', 0)}%"
        if line != last:
            say(f"    {line}")
            last = line
        history = status.get("history") or [{}]
        over = status.get("phase") in ends
        if over and (candidate.get("revision") == revision or history[0].get("revision") == revision):
            return split
        time.sleep(0.25)
    raise Failed(f"{revision} did not end as {' or '.join(ends)} within {timeout:.0f} s\n{picture()}")


def ready_message(kind: str) -> str:
    """Return the message of an object's Ready condition."""
    conditions = get(kind)["status"]["conditions"]
    return next(f"{item['reason']}: {item['message']}" for item in conditions if item["type"] == "Ready")


def prepare() -> None:
    """Make the namespace with the models and the client's script."""
    say("a namespace that enforces the restricted Pod Security Standard, with five model files in a ConfigMap")
    kubectl("apply", "-f", str(HERE / "namespace.yaml"))
    kubectl("-n", NAMESPACE, "delete", "mdep,tsplit,dpol", "--all", "--wait=true")
    kubectl("-n", NAMESPACE, "delete", "pod", "client", "--ignore-not-found", "--wait=true", "--grace-period=1")
    for name, files in (
        ("tumor-models", sorted(MODELS.glob("*.onnx"))),
        ("client", [HERE / "client.py", MODELS / "rows.json"]),
    ):
        from_files = [f"--from-file={file}" for file in files]
        manifest = kubectl("-n", NAMESPACE, "create", "configmap", name, *from_files, "--dry-run=client", "-o", "json")
        kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=manifest)


def serve() -> float:
    """Serve the first model; return the seconds from apply to the first right answer."""
    say("$ kubectl apply -f modeldeployment.yaml")
    started = time.monotonic()
    kubectl("apply", "-f", str(HERE / "modeldeployment.yaml"))
    kubectl("-n", NAMESPACE, "wait", "--for=condition=Ready", "mdep/tumor", "--timeout=120s")
    ready = time.monotonic() - started
    say(f"ready after {ready:.1f} s: {ready_message('mdep')}")
    return ready


def start_client(image: str, rate: int) -> Client:
    """Start the client and wait for its first right answer."""
    manifest = (HERE / "client.yaml").read_text().replace("penstock/server:dev", image)
    manifest = manifest.replace('name: RATE, value: "200"', f'name: RATE, value: "{rate}"')
    kubectl("apply", "-f", "-", stdin=manifest)
    kubectl("-n", NAMESPACE, "wait", "--for=condition=Ready", "pod/client", "--timeout=120s")
    client = Client()
    wait("the first right answer", lambda: any(key.endswith(" 200") for key in client.answers))
    say(f"a client asks {rate} times a second from now on; its first answers are right")
    return client


def hand_over(client: Client) -> None:
    """Put the endpoint behind the routers without the client noticing."""
    address = get("service")["spec"]["clusterIP"]
    say("$ kubectl apply -f driftpolicy.yaml -f trafficsplit.yaml")
    kubectl("apply", "-f", str(HERE / "driftpolicy.yaml"), "-f", str(HERE / "trafficsplit.yaml"))
    kubectl("-n", NAMESPACE, "wait", "--for=condition=Ready", "tsplit/tumor", "--timeout=180s")
    wait("answers come through the routers", lambda: any("direct" not in key for key in client.answers))
    if get("service")["spec"]["clusterIP"] != address:
        raise Failed("the endpoint changed its ClusterIP")
    say(f"the endpoint keeps its ClusterIP {address} and leads through the routers now")
    # Connections older than 30 s are closed politely; after that all requests go through the routers.
    wait("all answers come through the routers", client.is_routed, timeout=90)


def story(client: Client) -> dict[str, dict[str, Any]]:
    """Play the good canary and the three bad ones."""
    outcomes: dict[str, dict[str, Any]] = {}
    for title, file, version, ends in (
        ("a better model", "tumor-v2.onnx", "2", {"Promoted"}),
        ("a model that fails for some inputs", "tumor-v3-errors.onnx", "3", {"RolledBack"}),
        ("a model that is five times slower", "tumor-v4-slow.onnx", "4", {"RolledBack"}),
        ("a model that cannot load", "tumor-v5-broken.onnx", "5", {"Failed"}),
    ):
        say()
        say(f"--- {title}")
        started = time.monotonic()
        revision = change_model(file, version)
        split = follow_rollout(revision, ends, timeout=300)
        status = split["status"]
        message = ready_message("tsplit")
        say(f"{status['phase']}: {message}")
        say(f"stable is {status['stableRevision']}; {revision} has answered {client.asked(revision)} requests")
        outcomes[file] = {
            "revision": revision,
            "phase": status["phase"],
            "message": message,
            "seconds": round(time.monotonic() - started, 1),
        }
        if ends == {"RolledBack"}:
            outcomes[file]["rollback_seconds"] = took = rollback_seconds(client, status["rejected"][0])
            say(f"{max(took, 0):.2f} s after the deciding tick the last request reached it")
        if ends == {"Promoted"}:
            wait("the old revision goes", lambda: len(pods()) == REPLICAS, timeout=120)
            say("the old revision has drained and gone")
    say()
    say("--- back to the good model")
    change_model("tumor-v2.onnx", "2")
    kubectl("-n", NAMESPACE, "wait", "--for=condition=Ready", "mdep/tumor", "--timeout=120s")
    say(ready_message("mdep"))
    return outcomes


def rollback_seconds(client: Client, rejected: dict[str, Any]) -> float:
    """Return the seconds from the deciding tick until the last request was sent that the candidate answered."""
    time.sleep(2.5)  # the client tells once a second
    decided = datetime.fromisoformat(rejected["at"]).timestamp()
    return round(client.sent.get(rejected["revision"], decided) - decided, 3)


def acknowledgements() -> dict[str, Any]:
    """Return how soon new weights were acknowledged by all routers, from the operator's own histogram."""
    name = "penstock_weights_acknowledged_seconds"
    best: dict[str, Any] = {"changes": 0}
    label = "app.kubernetes.io/name=penstock-operator"
    for pod in kubectl("-n", OPERATOR_NAMESPACE, "get", "pods", "-l", label, "-o", "name").split():
        path = f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/pods/{pod.removeprefix('pod/')}:8080/proxy/metrics"
        read = subprocess.run(["kubectl", "get", "--raw", path], capture_output=True, text=True, check=False)
        values = dict(line.rsplit(" ", 1) for line in read.stdout.splitlines() if line.startswith(name))
        count = float(values.get(f"{name}_count", 0))
        if count > best["changes"]:
            within = [
                float(key.split('le="')[1].split('"')[0])
                for key, value in values.items()
                if key.startswith(f"{name}_bucket") and float(value) >= 0.99 * count
            ]
            best = {
                "changes": round(count),
                "mean_seconds": round(float(values[f"{name}_sum"]) / count, 4),
                "p99_at_most_seconds": min(within),
            }
    return best


def pods() -> list[str]:
    """Return the names of the serving pods."""
    listed = kubectl("-n", NAMESPACE, "get", "pods", "-l", "penstock.dev/model-deployment=tumor", "-o", "name")
    return listed.split()


def report(client: Client, figures: dict[str, Any], file: Path | None) -> None:
    """Print the figures and stop with an error if a good model's request failed."""
    bad = {
        outcome["revision"]
        for name, outcome in figures["rollouts"].items()
        if name in {"tumor-v3-errors.onnx", "tumor-v4-slow.onnx"}
    }
    failures = client.failures()
    # A bad model's own answers: errors of its own making, or time-outs of its own slowness.
    own = Counter({key: count for key, count in failures.items() if key.split()[0] in bad})
    other = failures - own
    figures |= {
        "requests": client.total(),
        "failed_by_bad_models": dict(own),
        "failed_otherwise": dict(other),
        "seconds": round(time.monotonic() - START, 1),
    }
    say()
    say(f"{figures['requests']} requests; {sum(own.values())} failed by the bad models themselves, "
        f"{sum(other.values())} otherwise")  # fmt: skip
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(figures, indent=2) + "\n")
        say(f"figures: {file}")
    if other:
        raise Failed(f"requests failed that no bad model failed: {dict(other)}")


def main() -> None:
    """Play it all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--client-image", default="penstock/server:dev", help="image with python and aiohttp")
    parser.add_argument("--rate", type=int, default=200, help="requests per second (default 200)")
    parser.add_argument("--requests", type=int, default=0, help="go on asking until there were this many")
    parser.add_argument("--figures", type=Path, help="write the figures to this JSON file")
    arguments = parser.parse_args()
    prepare()
    figures: dict[str, Any] = {"apply_to_ready_seconds": round(serve(), 2)}
    client = start_client(arguments.client_image, arguments.rate)
    try:
        hand_over(client)
        figures["rollouts"] = story(client)
        figures["weights_acknowledged"] = acknowledgements()
        say(f"new weights acknowledged by all routers: {figures['weights_acknowledged']}")
        if arguments.requests:
            wait(f"{arguments.requests} requests", lambda: client.total() >= arguments.requests, timeout=900, pause=1)
        kubectl("-n", NAMESPACE, "delete", "pod", "client", "--grace-period=1", "--wait=true")
    finally:
        client.stop()
    print(kubectl("-n", NAMESPACE, "get", "mdep,tsplit,dpol"))
    report(client, figures, arguments.figures)


if __name__ == "__main__":
    main()
