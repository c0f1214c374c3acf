"""What Prometheus and the web are asked for a trial, and what their answers mean."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from penstock_operator.api.v1alpha1.drift_policy import Metric as MetricSpec
from penstock_operator.core.judge.counts import Reading
from penstock_operator.core.metric_terms import ASKED, filled
from penstock_operator.core.promql import confined
from penstock_operator.core.trial import PolicyView

SourceName = Literal["Prometheus", "Web", "Job"]
_OK = 200
_WORDS_MAX = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """What a Job is made for, once: a step of a revision's rollout behind a split with this uid."""

    split: str
    uid: str
    revision: str
    step: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question to one source: ``text`` is a query, a URL or a CronJob's name.

    ``pointer``: where the number is in a document. ``occasion``: for a Job.
    """

    source: SourceName
    namespace: str
    text: str
    pointer: str = ""
    secret_name: str | None = None
    occasion: Occasion | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is asked for one metric of a trial, for the candidate and, where it is compared, for the stable."""

    key: str
    """``policy/metric``."""
    interval_seconds: float
    candidate: Question
    stable: Question | None

    @property
    def once(self) -> bool:
        """Whether the first number is the last word."""
        return self.candidate.occasion is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A number; or why nothing was there (``absent``), or why it cannot be known (``problem``)."""

    value: float | None = None
    absent: str = ""
    problem: str = ""
    told: str = ""

    def __post_init__(self) -> None:
        """Refuse an answer that says nothing, or a number that is none."""
        if sum((self.value is not None, bool(self.absent), bool(self.problem))) != 1:
            raise ValueError("an answer is either a value, or absent, or a problem")
        if self.value is not None and not math.isfinite(self.value):
            raise ValueError(f"an answer must be a finite number, got {self.value}")


def questions_of(
    policies: Sequence[PolicyView],
    *,
    namespace: str,
    split: str,
    stable: str,
    candidate: str,
    occasion: Occasion | None = None,
) -> list[Asked]:
    """Return what the policies of a split ask about a candidate at each interval; Jobs only where there is occasion."""
    return [
        Asked(
            key=f"{policy.name}/{metric.name}",
            interval_seconds=metric.interval.total_seconds(),
            candidate=_question(metric, namespace=namespace, split=split, revision=candidate, occasion=occasion),
            stable=_question(metric, namespace=namespace, split=split, revision=stable) if metric.against else None,
        )
        for policy in policies
        if policy.spec is not None
        for metric in policy.spec.metrics
        if metric.source in ASKED and (metric.source != "Job" or occasion is not None)
    ]


def reading_of(at: float, candidate: Answer, stable: Answer | None) -> Reading:
    """Return what two answers of the same moment come to. What cannot be known is worse than what is not there."""
    told = [("candidate", candidate)] + ([("stable", stable)] if stable is not None else [])
    for whose, answer in told:
        if answer.problem:
            return Reading(at=at, problem=f"{whose}: {answer.problem}")
    for whose, answer in told:
        if answer.absent:
            return Reading(at=at, absent=f"{whose}: {answer.absent}")
    old = stable.value if stable is not None else None
    return Reading(at=at, stable=old, candidate=candidate.value, told=candidate.told)


def prometheus_answer(status: int, body: bytes) -> Answer:
    """Return what Prometheus' answer to an instant query means."""
    try:
        document = json.loads(body)
        if document["status"] != "success":
            return Answer(problem=f"Prometheus refuses the query: {_words(document.get('error', ''))}")
        kind, result = document["data"]["resultType"], document["data"]["result"]
        if kind == "vector" and len(result) > 1:
            return Answer(problem=f"the query returns {len(result)} series, not one; wrap it in sum(…) or avg(…)")
        if kind == "vector":
            text = result[0]["value"][1] if result else None
        elif kind == "scalar":
            text = result[1]
        else:
            return Answer(problem=f"the query returns a {_words(kind)}, not a number; take a rate or a mean of it")
    except (ValueError, KeyError, TypeError, IndexError, RecursionError):
        return Answer(problem=f"what answers is no Prometheus (status {status}); see prometheus.url of the chart")
    return Answer(absent="the query returns no series") if text is None else _number(text)


def web_answer(status: int, body: bytes, pointer: str) -> Answer:
    """Return the number at ``pointer`` (RFC 6901) of a JSON document."""
    if status != _OK:
        return Answer(problem=f"the server answers with status {status}")
    try:
        found: Any = json.loads(body)
    except (ValueError, RecursionError):
        return Answer(problem="the answer is no JSON")
    for raw in pointer.split("/")[1:]:
        part = raw.replace("~1", "/").replace("~0", "~")
        if isinstance(found, Mapping) and part in found:
            found = found[part]
        elif isinstance(found, list) and part.isdecimal() and int(part) < len(found):
            found = found[int(part)]
        else:
            return Answer(problem=f"the answer has nothing at {pointer}")
    if found is None:
        return Answer(absent=f"null at {pointer or 'the top'}")
    if isinstance(found, bool) or not isinstance(found, int | float):
        return Answer(problem=f"at {pointer or 'the top'} is no number but a {type(found).__name__}")
    return _number(found)


def job_answer(name: str, job: Mapping[str, Any]) -> Answer:
    """Return what a Job's status means: 1 where it completed, 0 where it failed."""
    for condition in (job.get("status") or {}).get("conditions") or ():
        if condition.get("status") != "True":
            continue
        if condition.get("type") == "Complete":
            return Answer(value=1.0, told=f"Job {name} completed")
        if condition.get("type") == "Failed":
            words = ": ".join(str(condition[part]) for part in ("reason", "message") if condition.get(part))
            return Answer(value=0.0, told=f"Job {name} failed: {_words(words)}" if words else f"Job {name} failed")
    return Answer(absent=f"Job {name} has not ended yet")


def _question(
    metric: MetricSpec, *, namespace: str, split: str, revision: str, occasion: Occasion | None = None
) -> Question:
    if metric.job is not None:
        return Question(source="Job", namespace=namespace, text=metric.job.cron_job, occasion=occasion)
    names = {"namespace": namespace, "split": split, "revision": revision}
    if metric.web is not None:
        return Question(
            source="Web",
            namespace=namespace,
            text=filled(metric.web.url, **names),
            pointer=metric.web.pointer,
            secret_name=metric.web.secret_name,
        )
    query = confined(filled(metric.query or "", **names), namespace=namespace)
    return Question(source="Prometheus", namespace=namespace, text=query)


def _number(text: str | float) -> Answer:
    try:
        value = float(text)
    except (ValueError, OverflowError):
        return Answer(problem=f"{_words(text)} is no number")
    if math.isnan(value):
        return Answer(absent="the value is NaN, as 0/0 is where nothing happened")
    if math.isinf(value):
        return Answer(problem="the value is infinite")
    return Answer(value=value)


def _words(text: object) -> str:
    """Return somebody else's words on one bounded line."""
    line = " ".join(str(text).split())
    return line if len(line) <= _WORDS_MAX else f"{line[:_WORDS_MAX]}…"
