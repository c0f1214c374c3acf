"""Asks Prometheus and the web at their own pace, beside the ticks and never in their way."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from penstock_operator.core.judge.counts import Reading
from penstock_operator.core.objects import ObjectRef
from penstock_operator.core.questions import Asked, reading_of
from penstock_operator.ports import Clock, MetricSource

_LOG = logging.getLogger(__name__)
#: So many metrics are asked at once, whoever asks.
_PARALLEL = 16
#: A source that is behind by so many intervals has no last word any more.
_INTERVALS_MAX = 3.0
_BEHIND_SECONDS_MIN = 30.0


@dataclass(slots=True, kw_only=True)
class _Place:
    """Where one metric of one trial is."""

    asked: Asked
    due: float
    reading: Reading | None = None
    answered: float = float("-inf")
    task: asyncio.Task[None] | None = None


class Measuring:
    """The last readings of all trials. After a restart the first questions are asked at once."""

    def __init__(self, *, sources: Mapping[str, MetricSource], clock: Clock, monotonic: Callable[[], float]) -> None:
        self._sources = sources
        self._clock = clock
        self._monotonic = monotonic
        self._turns = asyncio.Semaphore(_PARALLEL)
        self._trials: dict[tuple[ObjectRef, str], dict[str, _Place]] = {}

    def readings(self, split: ObjectRef, candidate: str, asked: Sequence[Asked]) -> dict[str, Reading]:
        """Begin to ask what is due for a candidate, and return what was said last, by ``policy/metric``.

        What is no more in ``asked``, or is asked otherwise, is forgotten.
        """
        known = self._trials.get((split, candidate), {})
        now = self._monotonic()
        places = {}
        for one in asked:
            place = known.pop(one.key, None)
            if place is None or place.asked != one:
                _stop([place] if place else [])
                place = _Place(asked=one, due=now)
            places[one.key] = place
        _stop(known.values())
        self._trials[split, candidate] = places
        for place in places.values():
            if place.task is None and place.due <= now and not _is_final(place):
                place.due = now + place.asked.interval_seconds
                place.task = asyncio.create_task(self._ask(place), name=f"measure {split} {place.asked.key}")
        return {key: reading for key, place in places.items() if (reading := self._told(place, now)) is not None}

    def forget(self, split: ObjectRef, *, but: Sequence[str] = ()) -> None:
        """Drop the trials of a split, but those of the candidates in ``but``."""
        for key in [key for key in self._trials if key[0] == split and key[1] not in but]:
            _stop(self._trials.pop(key).values())

    def _told(self, place: _Place, now: float) -> Reading | None:
        behind = max(_BEHIND_SECONDS_MIN, _INTERVALS_MAX * place.asked.interval_seconds)
        if place.reading is None or _is_final(place) or now - place.answered <= behind:
            return place.reading
        return Reading(at=place.reading.at, problem=f"no answer for {now - place.answered:.0f} s")

    async def _ask(self, place: _Place) -> None:
        asked = place.asked
        try:
            async with self._turns:
                source = self._sources[asked.candidate.source]
                if asked.stable is None:
                    candidate, stable = await source.answer(asked.candidate), None
                else:
                    candidate, stable = await asyncio.gather(
                        source.answer(asked.candidate), source.answer(asked.stable)
                    )
            place.reading = reading_of(self._clock.now(), candidate, stable)
        except Exception as error:  # noqa: BLE001 - the top of a task; told in the log and in status
            # One source must not stop the others; and silence would look like a source that has nothing to say.
            _LOG.exception("asking for %s failed", asked.key)
            place.reading = Reading(at=self._clock.now(), problem=f"asking failed: {type(error).__name__}")
        finally:
            place.answered = self._monotonic()
            place.task = None


def _is_final(place: _Place) -> bool:
    return place.asked.once and place.reading is not None and place.reading.candidate is not None


def _stop(places: Iterable[_Place]) -> None:
    for place in places:
        if place.task is not None:
            place.task.cancel()
