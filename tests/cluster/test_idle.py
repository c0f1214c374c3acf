"""What is promised of a machine with nothing else to do: a model answers soon, and at rest nothing is written."""

import time
from collections.abc import Callable

import pytest
from tests.cluster.api import wait
from tests.cluster.operators import AuditLog, Operators, cpu_seconds, memory_megabytes
from tests.cluster.scene import Scene, keep, steps

pytestmark = [pytest.mark.cluster, pytest.mark.quiet]

#: Promises to the user.
FIRST_ANSWER_SECONDS = 10.0
IDLE_SECONDS = 60.0
MEMORY_MEGABYTES_MAX = 120.0
CPU_CORES_MAX = 0.02


class TestQuietCluster:
    def test_the_first_right_answer_comes_soon_after_the_apply(self, scene: Scene) -> None:
        # What other tests have left may still be on its way out: that takes time and little else.
        started = time.monotonic()
        scene.apply(scene.deployment())
        wait("the first right answer", scene.answers_right, seconds=60, picture=scene.picture)
        seconds = time.monotonic() - started
        keep("first_answer.json", {"apply_to_first_right_answer_seconds": round(seconds, 2)})
        assert seconds <= FIRST_ANSWER_SECONDS

    def test_at_rest_with_the_quickstarts_objects_the_operator_writes_nothing_and_uses_next_to_nothing(
        self, scene: Scene, local_operators: Operators, audit_log: AuditLog, until_quiet: Callable[[], None]
    ) -> None:
        # Those that judge drift for other tests keep the numerical libraries that they load for it.
        until_quiet()
        local_operators.scale(0)
        local_operators.scale(2)
        scene.serve()
        scene.split(schedule=steps(50, 100))
        time.sleep(10)  # endpoints, events and routers settle
        before = len(list(audit_log.writes(accepted_only=False)))
        pids = {pod["metadata"]["name"]: local_operators.pid(pod["metadata"]["name"]) for pod in local_operators.pods()}
        used = {name: cpu_seconds(pid) for name, pid in pids.items() if pid is not None}
        started = time.monotonic()
        time.sleep(IDLE_SECONDS)
        seconds = time.monotonic() - started
        writes = list(audit_log.writes(accepted_only=False))[before:]
        figures = [
            {
                "leads": name == local_operators.leader(),
                "memory_megabytes": round(memory_megabytes(pid), 1),
                "cpu_cores": round((cpu_seconds(pid) - used[name]) / seconds, 4),
            }
            for name, pid in pids.items()
            if pid is not None
        ]
        keep("idle.json", {"seconds": round(seconds), "writes": len(writes), "operators": figures})
        assert writes == []
        assert max(figure["memory_megabytes"] for figure in figures) < MEMORY_MEGABYTES_MAX
        assert max(figure["cpu_cores"] for figure in figures) < CPU_CORES_MAX
