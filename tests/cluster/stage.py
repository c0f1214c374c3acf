"""One namespace that the tests which disturb the operator share: a model behind a split, and a client that asks."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.cluster.api import Api, wait
from tests.cluster.scene import Scene, Traffic, steps

#: Requests a second: enough for a step of the rollout in some seconds.
RATE = 100
SCHEDULE = (25, 50, 100)
#: When the client stops by itself, if nobody stops it.
LASTS_SECONDS = 3600


@dataclass(slots=True, kw_only=True)
class Stage:
    """A scene with a client whose requests must never fail, whatever is done to the operator."""

    scene: Scene
    traffic: Traffic
    _versions: Iterator[int] = field(default_factory=lambda: itertools.count(2))

    def change_model(self) -> str:
        """Begin a rollout of a good model; return the new revision's name."""
        version = next(self._versions)
        return self.scene.change_model(f"tumor-v{2 - version % 2}.onnx", str(version))

    def begin_rollout(self) -> str:
        """Begin a rollout of a good model; return the candidate's name once it has traffic."""
        candidate = self.change_model()
        wait("the canary has traffic", lambda: self.scene.weight() > 0, seconds=90, picture=self.scene.picture)
        return candidate

    def end_rollout(self, candidate: str, *, seconds: float = 180.0) -> None:
        """Wait until a candidate is promoted and all is at rest."""
        self.scene.wait_phase(candidate, "Promoted", seconds=seconds)
        self.scene.wait_ready("ModelDeployment")

    @contextmanager
    def unharmed(self) -> Iterator[None]:
        """Fail if any request fails within the block or shortly after."""
        with unharmed(self.traffic):
            yield


class Stages:
    """Makes a stage when it is asked for, and takes it down."""

    def __init__(self, api: Api, name: str) -> None:
        self._api = api
        self._name = name
        self._numbers = itertools.count(1)
        self._stage: Stage | None = None

    def stage(self) -> Stage:
        """Return the stage; make it if there is none."""
        if self._stage is None:
            scene = Scene(self._api, f"{self._name}-{next(self._numbers)}")
            scene.prepare()
            scene.serve()
            scene.split(schedule=steps(*SCHEDULE))
            traffic = scene.ask(rate=RATE, SECONDS=str(LASTS_SECONDS))
            traffic.wait_until_routed()
            self._stage = Stage(scene=scene, traffic=traffic)
        return self._stage

    def strike(self) -> None:
        """Take the stage down, if there is one."""
        if self._stage is not None:
            self._api.delete("Namespace", self._stage.scene.namespace)
        self._stage = None


@contextmanager
def unharmed(traffic: Traffic) -> Iterator[None]:
    """Fail if any request fails within the block or shortly after."""
    before = traffic.read().failures()
    yield
    traffic.wait_for_more(300)
    assert dict(traffic.failures() - before) == {}
