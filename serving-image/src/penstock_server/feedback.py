"""Joins labels that come later with predictions made here, by request id, and counts how they agree."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from penstock_contract.feedback import FeedbackCounts
from penstock_contract.profile import Profile
from penstock_server.join_table import JoinTable
from penstock_server.predictions import ROWS_MAX, Value, reader_of
from penstock_server.profile.rows import Answered
from penstock_server.protocol import TensorSpec
from penstock_server.scores import packed

PATH = "/v1/feedback"
BODY_BYTES_MAX = 1024 * 1024
LABELS_MAX = 10_000
#: Also of one body: labels of a request with many rows. Each takes some microseconds.
VALUES_MAX = 50_000
#: A day: what takes longer to become known is joined from the prediction log.
TTL_SECONDS = 24 * 3600.0
#: Predictions that are remembered; a prediction takes 21 bytes, and none before the first request with an id.
ENTRIES = 1 << 17
_MASK = (1 << 64) - 1
#: Far beyond any time, and any class that is a number.
_SECONDS_MAX = 1e12
_WHOLE_MAX = 1 << 64
#: 2**64 / the golden ratio, as in Fibonacci hashing: spreads the rows of one request.
_ROW_STEP = 0x9E3779B97F4A7C15


_UNMATCHED, _LATE = FeedbackCounts(unmatched=1), FeedbackCounts(late=1)
_DUPLICATE, _INVALID = FeedbackCounts(duplicate=1), FeedbackCounts(invalid=1)


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
    labels = [_label(entry, f"[{place}]" if isinstance(message, list) else "the label") for place, entry in
              enumerate(entries)]  # fmt: skip
    count = sum(len(label.values) for label in labels)
    if count > VALUES_MAX:
        raise BadFeedback(f"labels of {count} rows in one body; send at most {VALUES_MAX}")
    return labels


def _label(entry: Any, where: str) -> Label:
    if not isinstance(entry, dict):
        raise BadFeedback(f'{where} must be an object like {{"requestId": "…", "label": 1}}')
    request_id, label, ts = entry.get("requestId"), entry.get("label"), entry.get("ts")
    if not isinstance(request_id, str) or not request_id:
        raise BadFeedback(f"{where}: 'requestId' must be the id that the request was sent with")
    values: list[Any] = label if isinstance(label, list) else [label]
    if not values or not all(isinstance(value, (str, int, float)) for value in values):
        raise BadFeedback(f"{where}: 'label' must be a number, a text or a boolean, or a list with one for each row")
    if ts is not None and (isinstance(ts, bool) or not isinstance(ts, (int, float)) or not _sensible(ts)):
        raise BadFeedback(f"{where}: 'ts' must be the time of the label in seconds since 1970")
    return Label(request_id=request_id, values=tuple(map(_whole, values)), ts=ts)


def _sensible(ts: float) -> bool:
    # A whole number may have thousands of digits, and then it is no float.
    return -_SECONDS_MAX < ts < _SECONDS_MAX


def _whole(value: Value) -> Value:
    """Return a label with which one can calculate: JSON's whole numbers may be too large for any float."""
    if isinstance(value, str | bool) or abs(value) < _WHOLE_MAX:
        return value
    return math.inf if value > 0 else -math.inf


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
            scores = self._reader.scores
            if scores is not None and scores.output in names:
                bins = scores.read(results[names.index(scores.output)], request.rows)
                predicted = [packed(place, one) for place, one in zip(predicted, bins, strict=False)] or predicted
            keys += _keys(request.id, len(predicted))
            values += predicted
        if keys:
            self._table.put(np.array(keys, dtype=np.uint64), np.array(values), now)

    def take(self, labels: Sequence[Label], now: float) -> dict[str, Any]:
        """Count labels and return what became of them: how many of each outcome, and the ids that nobody knows here."""
        unknown: list[str] = []
        told = [FeedbackCounts()]
        for label in labels:
            outcomes = {self._join(key, value, label, now, told) for key, value in
                        zip(_keys(label.request_id, len(label.values)), label.values, strict=False)}  # fmt: skip
            if outcomes == {"unmatched"}:
                unknown.append(label.request_id)
        counts = _sum(told)
        self.counts += counts
        return {**{name: getattr(counts, name) for name in FeedbackCounts.OUTCOMES}, "unmatchedIds": unknown}

    def _join(self, key: int, value: Value, label: Label, now: float, told: list[FeedbackCounts]) -> str:
        """Add what one label counts to what is told, and return its outcome."""
        found = self._table.find(key)
        if found is None or self._reader is None:
            outcome, counts = "unmatched", _UNMATCHED
        elif now - found.at > self._ttl_seconds:
            outcome, counts = "late", _LATE
        elif found.labelled:
            outcome, counts = "duplicate", _DUPLICATE
        else:
            judged = self._reader.judge(found.value, value)
            outcome, counts = ("invalid", _INVALID) if judged is None else ("matched", judged)
            if judged is not None:
                self._table.mark(key)
                lag = min(max((now if label.ts is None else label.ts) - found.at, 0.0), self._ttl_seconds)
                counts = replace(judged, lag_milliseconds=round(lag * 1000))
        told.append(counts)
        return outcome


def _sum(counts: Sequence[FeedbackCounts]) -> FeedbackCounts:
    """Return all of one or more together; in pairs, because what is large would be copied for each that is small."""
    while len(counts) > 1:
        pairs = zip(counts[::2], counts[1::2], strict=False)
        counts = [*(one + other for one, other in pairs), *(counts[-1:] if len(counts) % 2 else ())]
    return counts[0]


def _keys(request_id: str, rows: int) -> list[int]:
    # Python's hash has a secret of the process: nobody can send ids that meet in one place on purpose.
    start = hash(request_id) & _MASK
    return [((start + row * _ROW_STEP) & _MASK) or 1 for row in range(min(rows, ROWS_MAX))]
