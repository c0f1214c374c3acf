"""Reads what serving pods answered to requests that were copied, beside the ticks, and compares it with the copies."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from penstock_contract.outputs import PATH, InvalidOutputs, Sample, Samples, parse
from penstock_operator.core.comparison import Comparison, Tolerance, Waiting, join
from penstock_operator.core.names import REVISION
from penstock_operator.core.objects import Kind, ObjectRef
from penstock_operator.core.serving_pods import ServingPod, ready_serving_pods
from penstock_operator.ports import Cluster, ServingPods

_LOG = logging.getLogger(__name__)
#: Larger answers are parsed on another thread: they would hold up every reconcile for some milliseconds.
_INLINE_BYTES_MAX = 32 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """Up to where a pod was read."""

    boot_id: str
    seq: int


@dataclass(slots=True, kw_only=True)
class _Split:
    """What is known of one split. ``found`` and ``waiting`` are by shadow."""

    due: float
    read: dict[str, _Read] = field(default_factory=dict)
    waiting: dict[str, Waiting] = field(default_factory=dict)
    found: dict[str, Comparison] = field(default_factory=dict)
    task: asyncio.Task[None] | None = None


class Comparing:
    """The comparisons of all splits with shadows whose outputs are compared.

    The first look at a pod counts nothing: what it tells then may have been compared by an operator before this one.
    """

    def __init__(
        self,
        *,
        cluster: Cluster,
        pods: ServingPods,
        monotonic: Callable[[], float],
        interval_seconds: float = 10.0,
    ) -> None:
        self._cluster = cluster
        self._pods = pods
        self._monotonic = monotonic
        self._interval_seconds = interval_seconds
        self._splits: dict[ObjectRef, _Split] = {}

    def take(
        self, split: ObjectRef, *, stable: str, shadows: Sequence[str], tolerance: Tolerance
    ) -> dict[str, Comparison]:
        """Begin to read the pods if that is due, and return what was compared since the last call, by shadow.

        A revision that is no shadow any more is forgotten. Never waits.
        """
        now = self._monotonic()
        here = self._splits.setdefault(split, _Split(due=now))
        here.waiting = {shadow: waiting for shadow, waiting in here.waiting.items() if shadow in shadows}
        if here.task is None and here.due <= now:
            here.due = now + self._interval_seconds
            look = self._look(split, here, (stable, *shadows), tolerance)
            here.task = asyncio.create_task(look, name=f"compare {split}")
        found, here.found = here.found, {}
        return {shadow: comparison for shadow, comparison in found.items() if shadow in shadows}

    def forget(self, split: ObjectRef) -> None:
        """Drop what is kept of a split that has no shadows, or is gone."""
        here = self._splits.pop(split, None)
        if here is not None and here.task is not None:
            here.task.cancel()

    async def _look(self, split: ObjectRef, here: _Split, revisions: Sequence[str], tolerance: Tolerance) -> None:
        try:
            told = await self._read(split.namespace, here, revisions)
            now, (stable, *shadows) = self._monotonic(), revisions
            for shadow in shadows:
                waiting, compared = join(
                    here.waiting.get(shadow, Waiting()),
                    told.get(stable, ()),
                    told.get(shadow, ()),
                    now=now,
                    tolerance=tolerance,
                )
                here.waiting[shadow] = waiting
                here.found[shadow] = here.found.get(shadow, Comparison()) + compared
        except Exception:  # noqa: BLE001 - the top of a task; without a comparison a metric has no data, and says so
            _LOG.exception("comparing the shadows of %s failed", split)
        finally:
            here.task = None

    async def _read(self, namespace: str, here: _Split, revisions: Iterable[str]) -> dict[str, list[Sample]]:
        pods = [
            pod
            for revision in revisions
            for pod in ready_serving_pods(self._cluster.list(Kind.POD, namespace, {REVISION: revision}))
        ]
        answers = await asyncio.gather(*(self._ask(namespace, pod, here.read.get(pod.name)) for pod in pods))
        told: dict[str, list[Sample]] = {}
        read: dict[str, _Read] = {pod.name: here.read[pod.name] for pod in pods if pod.name in here.read}
        for pod, answer in zip(pods, answers, strict=True):
            if answer is None:
                continue
            known = read.get(pod.name)
            if known is not None:
                told.setdefault(pod.revision, []).extend(_news(answer, known))
            read[pod.name] = _Read(boot_id=answer.boot_id, seq=answer.seq)
        here.read = read
        return told

    async def _ask(self, namespace: str, pod: ServingPod, known: _Read | None) -> Samples | None:
        after = "" if known is None else f"?after={known.seq}&boot={quote(known.boot_id, safe='')}"
        body = await self._pods.get(namespace, pod, f"{PATH}{after}")
        if body is None:
            return None
        try:
            return parse(body) if len(body) <= _INLINE_BYTES_MAX else await asyncio.to_thread(parse, body)
        except InvalidOutputs as error:
            _LOG.warning("pod %s/%s tells no outputs: %s", namespace, pod.name, error)
            return None


def _news(answer: Samples, known: _Read) -> list[Sample]:
    """Return what is new: all of a pod that has started anew, else what came after the last look."""
    if answer.boot_id != known.boot_id:
        return list(answer.samples)
    return [sample for sample in answer.samples if sample.seq > known.seq]
