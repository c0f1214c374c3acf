"""An operator that is killed, frozen or deleted in a rollout: the end is the same, and there is one writer."""

import random
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.cluster.api import Api, wait
from tests.cluster.operators import NAMESPACE, AuditLog, Operators, Write, is_alive
from tests.cluster.scene import Scene, Traffic, steps
from tests.cluster.stage import Stage

pytestmark = [pytest.mark.cluster, pytest.mark.alone]

SEED = 20260
KILLS = 10
SCHEDULE = (10, 25, 50, 75, 100)
#: The longest that a lease outlives its holder, and some time to notice.
TAKEOVER_SECONDS = 45.0
_MASKED = frozenset(
    {
        *("lastTransitionTime", "at", "startedAt", "finishedAt", "createdAt"),
        *("port", "endpoint", "clusterIP"),
        *("analysis", "evidence"),
    }
)


def masked(value: Any) -> Any:
    """Return a status without what differs between any two runs: times, addresses, and how much was counted."""
    if isinstance(value, dict):
        return {key: masked(item) for key, item in value.items() if key not in _MASKED}
    if isinstance(value, list):
        return [masked(item) for item in value]
    return value


@pytest.fixture(scope="class")
def undisturbed(api: Api, scene: Scene) -> Iterator[Scene]:
    """A second namespace, whose rollouts nothing disturbs."""
    made = Scene(api, f"{scene.namespace}-calm")
    made.prepare()
    yield made
    api.delete("Namespace", made.namespace)


class Watcher:
    """Notes each weight that a candidate has, as the status tells it."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self.seen: dict[str, list[int]] = {}

    def look(self) -> bool:
        """Take a look; return whether a rollout is in progress."""
        status = self._scene.status("TrafficSplit")
        for entry in status.get("candidates", []):
            weights = self.seen.setdefault(entry["revision"], [0])
            if entry.get("weight", 0) != weights[-1]:
                weights.append(entry["weight"])
        return status.get("phase") in {"Waiting", "Progressing"}

    def watch(self, seconds: float) -> None:
        """Look for some time."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.look()
            time.sleep(0.2)


def begin(holds: dict[Scene, str]) -> None:
    """Serve a model behind a split in each scene; they start together."""
    for scene in holds:
        scene.apply(scene.deployment())
    for scene, hold in holds.items():
        scene.wait_ready("ModelDeployment")
        scene.split(schedule=steps(*SCHEDULE, hold=hold))


def ask(scene: Scene, *, rate: int) -> Traffic:
    traffic = scene.ask(rate=rate)
    traffic.wait_until_routed()
    return traffic


class TestKilledOperator:
    lasts_seconds = 120

    def test_ten_kills_in_a_rollout_change_neither_its_end_nor_its_schedule_nor_any_answer(
        self, scene: Scene, undisturbed: Scene, local_operators: Operators
    ) -> None:
        chance = random.Random(SEED)
        # Long before it is asked: a client keeps connections from before the routers for half a minute.
        begin({undisturbed: "1s", scene: "3s"})
        traffic = ask(scene, rate=60)
        watcher = Watcher(scene)
        changes = [("tumor-v2.onnx", "2")]
        scene.change_model(*changes[0])
        for _ in range(KILLS):
            watcher.watch(chance.uniform(0.2, 3.0))
            if not watcher.look():
                # That rollout is over; there is another one, so that each kill hits one.
                back = ("tumor-v1.onnx", "1") if len(changes) % 2 else ("tumor-v2.onnx", "2")
                changes.append((back[0], f"{back[1]}-{len(changes)}"))
                scene.change_model(*changes[-1])
            kill_leader(local_operators)
        # The one that nothing disturbs goes its way beside the rest of the one that was disturbed.
        local_operators.wait_ready()
        ask(undisturbed, rate=200)
        for change in changes:
            revision = undisturbed.change_model(*change)
            wait_until_promoted(undisturbed, revision, meanwhile=watcher)
        last = scene.status("ModelDeployment")["latestRevision"]
        wait(
            "the last rollout is over",
            lambda: not watcher.look() and scene.status("TrafficSplit").get("stableRevision") == last,
            seconds=240,
            picture=scene.picture,
        )
        scene.wait_ready("ModelDeployment")
        for revision, weights in watcher.seen.items():
            allowed = [0, *SCHEDULE]
            assert set(weights) <= set(allowed), (revision, weights)
            assert weights == sorted(weights), (revision, weights)
        assert traffic.failed_otherwise() == {}
        scene.delete("Pod", "client", grace_seconds=1)
        undisturbed.wait_ready("ModelDeployment")
        wait("old pods go", lambda: at_rest(scene) and at_rest(undisturbed), seconds=120, picture=scene.picture)
        for kind in ("TrafficSplit", "ModelDeployment"):
            assert masked(scene.status(kind)) == masked(undisturbed.status(kind))


def wait_until_promoted(scene: Scene, revision: str, *, meanwhile: Watcher) -> None:
    """Wait until the rollout of a revision has ended well, while another scene is watched."""

    def ended() -> bool:
        meanwhile.look()
        history = scene.status("TrafficSplit").get("history", [])
        return [(entry["revision"], entry["outcome"]) for entry in history[:1]] == [(revision, "Promoted")]

    wait(f"{revision} is promoted", ended, seconds=180, picture=scene.picture)


def at_rest(scene: Scene) -> bool:
    """Return whether the status knows that what had to go has gone."""
    revisions = scene.status("ModelDeployment")["revisions"]
    return len(scene.pods()) == 2 and sum(entry["readyReplicas"] for entry in revisions) == 2


def kill_leader(operators: Operators) -> None:
    """Kill -9 the process that leads, or, where none does, one that is about to.

    A pod that was killed before is replaced by another one: the kubelet's growing pauses are not what is tested.
    """
    killed: list[str] = []

    def kill() -> bool:
        candidates = [operators.leader(), *(pod["metadata"]["name"] for pod in operators.pods())]
        killed.extend(pod for pod in candidates if pod and not killed and operators.send(pod, signal.SIGKILL))
        return bool(killed)

    wait("there is an operator to kill", kill, seconds=60)
    operators.replace_if_restarted(killed[0])


class TestFrozenLeader:
    lasts_seconds = 60

    def test_a_frozen_leader_is_replaced_and_writes_nothing_when_it_goes_on_and_deleted_operators_harm_nobody(
        self, stage: Stage, local_operators: Operators, audit_log: AuditLog
    ) -> None:
        leader = local_operators.leader()
        with stage.unharmed():
            candidate = stage.begin_rollout()
            pid = local_operators.send(leader, signal.SIGSTOP)
            assert pid is not None
            frozen_at = time.time()
            try:
                wait(
                    "the other takes over",
                    lambda: local_operators.leader() not in {leader, ""},
                    seconds=TAKEOVER_SECONDS,
                    picture=stage.scene.picture,
                )
            finally:
                local_operators.send(leader, signal.SIGCONT)
            successor = local_operators.leader()
            wait("the one that was frozen ends", lambda: not is_alive(pid), seconds=15)
            ended_at = time.time()

            def has_written() -> list[Write]:
                return [write for write in audit_log.writes() if write.pod == successor]

            wait("its successor writes", has_written, seconds=30, picture=stage.scene.picture)
            # The one that leads now, and then all of them.
            stage.scene.api.delete("Pod", successor, NAMESPACE)
            for pod in local_operators.pods():
                stage.scene.api.delete("Pod", pod["metadata"]["name"], NAMESPACE)
            stage.end_rollout(candidate)
        # What its pod's next process writes later is another matter.
        written = [write for write in audit_log.writes() if write.pod == leader]
        assert [write for write in written if frozen_at + 0.5 < write.at < ended_at] == []
