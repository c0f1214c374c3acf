"""Joins labels that come later with predictions made here, by request id, and counts how they agree."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from penstock_contract.feedback import FeedbackCounts
from penstock_contract.profile import Profile
from penstock_server.join_table import JoinTable
from penstock_server.predictions import ROWS_MAX, Value, reader_of
from penstock_server.profile.rows import Answered
from penstock_server.protocol import TensorSpec

PATH = "/v1/feedback"
BODY_BYTES_MAX = 1024 * 1024
LABELS_MAX = 10_000
#: A day: what takes longer to become known is joined from the prediction log.
TTL_SECONDS = 24 * 3600.0
#: Predictions that are remembered; a prediction takes 21 bytes, and none before the first request with an id.
ENTRIES = 1 << 17
_MASK = (1 << 64) - 1
#: 2**64 / the golden ratio, as in Fibonacci hashing: spreads the rows of one request.
_ROW_STEP = 0x9E3779B97F4A7C15


class BadFeedback(ValueError):  # noqa: N818 - the words of HTTP
    """The body holds no labels; the message says where and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """What turned out to be true for one request: a value for each of its rows."""

    request_id: str
    values: tuple[Value, ...]
    ts: float | None


def decode(body: bytes) -> list[Label]:
    """Return the labels in a body: one ``{"requestId", "label", "ts"?}``, or a list of them; raise BadFeedback."""
    try:
        message = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadFeedback(f"the body is not JSON: {error}") from None
    entries = message if isinstance(message, list) else [message]
    if len(entries) > LABELS_MAX:
        raise BadFeedback(f"{len(entries)} labels in one body; send at most {LABELS_MAX}")
    return [_label(entry, f"[{place}]" if isinstance(message, list) else "the label") for place, entry in
            enumerate(entries)]  # fmt: skip


def _label(entry: Any, where: str) -> Label:
    if not isinstance(entry, dict):
        raise BadFeedback(f'{where} must be an object like {{"requestId": "…", "label": 1}}')
    request_id, label, ts = entry.get("requestId"), entry.get("label"), entry.get("ts")
    if not isinstance(request_id, str) or not request_id:
        raise BadFeedback(f"{where}: 'requestId' must be the id that the request was sent with")
    values: list[Any] = label if isinstance(label, list) else [label]
    if not values or not all(isinstance(value, (str, int, float)) for value in values):
        raise BadFeedback(f"{where}: 'label' must be a number, a text or a boolean, or a list with one for each row")
    if ts is not None and (isinstance(ts, bool) or not isinstance(ts, (int, float)) or not math.isfinite(ts)):
        raise BadFeedback(f"{where}: 'ts' must be the time of the label in seconds since 1970")
    return Label(request_id=request_id, values=tuple(values), ts=ts)


class Feedback:
    """Remembers predictions for a while and judges labels by them. One thread at a time.

    It keeps a 64-bit hash of each id and one number: neither ids nor features can be read from it.
    """

    def __init__(
        self,
        outputs: Sequence[TensorSpec],
        profile: Profile | None = None,
        *,
        entries: int = ENTRIES,
        ttl_seconds: float = TTL_SECONDS,
    ) -> None:
        self._reader = reader_of(outputs, profile)
        self._table = JoinTable(entries)
        self._ttl_seconds = ttl_seconds
        self.counts = FeedbackCounts()

    def remember(self, answered: Iterable[Answered], now: float) -> None:
        """Remember what was predicted for the requests that have an id."""
        if self._reader is None:
            return
        keys: list[int] = []
        values: list[float] = []
        for request, results in answered:
            if not request.id:
                continue
            names = [output.name for output in request.outputs]
            if self._reader.output not in names:
                continue
            predicted = self._reader.read(results[names.index(self._reader.output)], request.rows)
            keys += _keys(request.id, len(predicted))
            values += predicted
        if keys:
            self._table.put(np.array(keys, dtype=np.uint64), np.array(values), now)

    def take(self, labels: Sequence[Label], now: float) -> dict[str, Any]:
        """Count labels and return what became of them: how many of each outcome, and the ids that nobody knows here."""
        before = self.counts
        unknown: list[str] = []
        for label in labels:
            outcomes = {self._join(key, value, label, now) for key, value in
                        zip(_keys(label.request_id, len(label.values)), label.values, strict=False)}  # fmt: skip
            if outcomes == {"unmatched"}:
                unknown.append(label.request_id)
        told = self.counts - before
        return {**{name: getattr(told, name) for name in FeedbackCounts.OUTCOMES}, "unmatchedIds": unknown}

    def _join(self, key: int, value: Value, label: Label, now: float) -> str:
        found = self._table.find(key)
        if found is None or self._reader is None:
            outcome, counts = "unmatched", FeedbackCounts(unmatched=1)
        elif now - found.at > self._ttl_seconds:
            outcome, counts = "late", FeedbackCounts(late=1)
        elif found.labelled:
            outcome, counts = "duplicate", FeedbackCounts(duplicate=1)
        else:
            judged = self._reader.judge(found.value, value)
            outcome = "invalid" if judged is None else "matched"
            counts = judged or FeedbackCounts(invalid=1)
            if judged is not None:
                self._table.mark(key)
                lag = min(max((now if label.ts is None else label.ts) - found.at, 0.0), self._ttl_seconds)
                counts += FeedbackCounts(lag_milliseconds=round(lag * 1000))
        self.counts += counts
        return outcome


def _keys(request_id: str, rows: int) -> list[int]:
    # Python's hash has a secret of the process: nobody can send ids that meet in one place on purpose.
    start = hash(request_id) & _MASK
    return [((start + row * _ROW_STEP) & _MASK) or 1 for row in range(min(rows, ROWS_MAX))]
