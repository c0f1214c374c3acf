"""What judging live traffic costs the operator: a minute of many models, many pods each, on the pure path.

Counts of pods are made beforehand, as bytes of /v1/profile. What is measured is everything that the operator does with
them: reading JSON, checking it, taking off what was counted before, adding up over pods, judging a window of each
model, and its status. Fetching them, the API server and the event loop are not in it.
"""

import resource
import time
from typing import Any

import numpy as np
from benchmarks.drift.live import KINDS
from tests.fakes.counting_pods import CountingPod, Values, profile_of

from penstock_contract.profile import Profile
from penstock_operator.core import drift_status
from penstock_operator.core.drift.engine import Judge
from penstock_operator.core.drift.live.flat import Shape
from penstock_operator.core.drift.live.limits import Limits
from penstock_operator.core.drift.live.watch import Look, Reference, Watch, after, begin
from penstock_operator.core.drift_sight import Sight, alarms_of
from penstock_operator.core.watched import Watched

_MINUTE = 60.0
_WINDOW = 500


def rows(rng: np.random.Generator, count: int, features: int) -> Values:
    shared = rng.normal(size=(count, 1))
    matrix = 0.6 * shared + 0.8 * rng.normal(size=(count, features))
    score = 1 / (1 + np.exp(-matrix[:, :5].sum(axis=1) - rng.normal(size=count)))
    return {**{f"feature_{place}": matrix[:, place] for place in range(features)}, "score": score}


def minutes_of(profile: Profile, rng: np.random.Generator, *, pods: int, minutes: int, features: int) -> list[Any]:
    """Return, per minute, the bytes that each pod of one model says."""
    counting = {f"pod-{place}": CountingPod(profile) for place in range(pods)}
    said: list[dict[str, bytes]] = []
    for minute in range(minutes):
        for pod in counting.values():
            pod.now = _MINUTE * minute + 1
            pod.serve(rows(rng, _WINDOW // pods + 1, features))
        said.append({name: pod.body() for name, pod in counting.items()})
    return said


def measure(*, models: int, features: int, pods: int, minutes: int) -> dict[str, Any]:
    rng = np.random.default_rng(20)
    before = memory()
    profile = profile_of(rows(rng, 20_000, features))
    # One model's counts stand for all: what they cost depends on how many there are. Judges and memories are its own.
    said = minutes_of(profile, rng, pods=pods, minutes=minutes, features=features)
    limits = Limits(kinds=KINDS, window_rows=_WINDOW, per_30_days=1 / models)
    begun = time.process_time()
    references = [
        Reference(
            shape=Shape(profile), judge=Judge(profile, window_rows=_WINDOW, false_alarm_every=1e9, kinds=limits.kinds)
        )
        for _ in range(models)
    ]
    once = time.process_time() - begun
    watches: list[Watch] = [begin(f"model-{place}", -1.0) for place in range(models)]
    spent: list[float] = []
    alarms = 0
    for minute, bodies in enumerate(said):
        begun = time.process_time()
        for place, reference in enumerate(references):
            reads = {pod: reference.shape.decode(body) for pod, body in bodies.items()}
            look = Look(now=_MINUTE * (minute + 1), reads=reads, ready=reads.keys(), present=reads.keys())
            watches[place] = after(watches[place], look, reference, limits)
        sights = [
            Sight(watched=Watched(model_deployment=f"model-{place}", revision=watch.revision), watch=watch,
                  limits=limits, judge=reference.judge)
            for place, (watch, reference) in enumerate(zip(watches, references, strict=True))
        ]  # fmt: skip
        alarms += len(alarms_of(sights))
        drift_status.signals(sights)
        drift_status.targets(sights)
        drift_status.health(sights)
        spent.append(time.process_time() - begun)
    usual = float(np.median(spent[1:]))
    return {
        "models": models,
        "features": features,
        "pods": pods,
        "windowRows": _WINDOW,
        "bodyBytes": len(said[-1]["pod-0"]),
        "cpuSecondsOfAMinute": [round(one, 3) for one in spent],
        "cores": round(usual / _MINUTE, 4),
        "millisecondsPerModel": round(usual / models * 1000, 3),
        "millisecondsPerReference": round(once / models * 1000, 3),
        "megabytes": round(memory() - before, 1),
        "falseAlarms": alarms,
    }


def memory() -> float:
    """Return the largest resident size so far, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
