"""From the cumulative counts of pods to what is new since the last look, whatever pods do meanwhile."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from penstock_contract.feedback import FeedbackCounts
from penstock_operator.core.drift.live.flat import Ints, Read, Shape

#: One pod that claims to have answered more rows a second does not tell the truth.
ROWS_PER_SECOND_MAX = 1_000_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What happened since the last look, over all pods, and what the next look begins with.

    ``refused``: by pod, why what it says cannot be so; nothing of it was added.
    """

    known: Mapping[str, Read]
    numbers: Ints
    feedback: FeedbackCounts
    refused: Mapping[str, str]


def news(
    known: Mapping[str, Read],
    reads: Mapping[str, Read],
    shape: Shape,
    *,
    present: Collection[str],
    since: float,
    seconds: float,
) -> News:
    """Return what is new in ``reads``, by pod; ``known`` is what each pod said last.

    - A pod that started anew began at 0.
    - What a pod says a second time, or out of order, is nothing new.
    - A pod that was never read and has counted since before ``since``, when watching began, only sets its base: others,
      who watched before, may have judged that.
    - A pod whose counters fall, or that claims more than could be in ``seconds``, is not believed and gets a new base.
    - A pod that cannot be read brings what it has counted when it is back, if it is still ``present``.
    """
    total, feedback = shape.zero(), FeedbackCounts()
    refused: dict[str, str] = {}
    boots = {read.boot_id: pod for pod, read in known.items() if pod in present}
    kept = {pod: read for pod, read in known.items() if pod in present}
    for pod, read in sorted(reads.items()):
        before = known.get(pod)
        if boots.setdefault(read.boot_id, pod) != pod:
            refused[pod] = f"pod {pod} says what pod {boots[read.boot_id]} says: they have the same bootId"
            continue
        if before is not None and before.boot_id == read.boot_id and read.seq <= before.seq:
            continue
        kept[pod] = read
        if before is None and read.first_ts is not None and read.first_ts < since:
            continue
        fresh = before is None or before.boot_id != read.boot_id
        numbers = read.numbers if fresh or before is None else read.numbers - before.numbers
        labels = read.feedback
        if not fresh and before is not None and labels != before.feedback:
            labels = read.feedback - before.feedback
        elif not fresh:
            labels = FeedbackCounts()
        if why := _implausible(numbers, labels, shape, seconds):
            refused[pod] = f"pod {pod} is not believed: {why}"
            continue
        total += numbers
        if labels != FeedbackCounts():
            feedback += labels
    return News(known=kept, numbers=total, feedback=feedback, refused=refused)


def _implausible(numbers: Ints, labels: FeedbackCounts, shape: Shape, seconds: float) -> str | None:
    if shape.fell(numbers) or min(labels.matched, labels.absolute_error, labels.squared_error) < 0:
        return "its counters fell although it did not start anew"
    rows = int(numbers[0])
    if rows > ROWS_PER_SECOND_MAX * max(seconds, 1.0):
        return f"{rows} rows in {seconds:.0f} s"
    return None
