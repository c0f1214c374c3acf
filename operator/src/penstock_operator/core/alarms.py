"""What a policy has found in live traffic and has something to do about: the word that judging hands to acting."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class SignalClass(StrEnum):
    """What kind of signal an alarm is about; actions are chosen by it."""

    METRICS = "Metrics"
    INPUTS = "Inputs"
    OUTPUTS = "Outputs"
    CORRELATION = "Correlation"
    CONTRIBUTION = "Contribution"
    DATA_QUALITY = "DataQuality"
    PERFORMANCE = "Performance"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """One signal of one revision that has been beyond what its policy allows since ``since`` (Unix seconds).

    It stays the same alarm, with the same ``window_id``, from the window that raised it until the signal is well
    again, across restarts of the operator: whoever acts once per ``window_id`` acts once per alarm. ``window_id`` is a
    DNS label of at most 63 characters, the same for all signals of a revision that belong to one episode.

    ``name`` is the signal as status shows it (``inputs/amount``). ``message`` says it with its numbers, and
    ``evidence`` holds these numbers by name (``psi``, ``rows``, ``evidence``, ``contribution``), finite ones only;
    ``evidence["evidence"]`` is by how many orders of magnitude the limit of chance was passed.
    ``attributable``: whether the revision can be blamed, because another one had none of it on the same traffic at the
    same time. Input drift never is. ``seen``: the last judged windows of this signal, at most 16, newest last, "1"
    where it was beyond its limit and "0" where it was not; actions are confirmed by it (two of the last three).
    """

    signal: SignalClass
    name: str
    model_deployment: str
    revision: str
    window_id: str
    since: float
    message: str
    evidence: Mapping[str, float] = field(default_factory=dict)
    attributable: bool = False
    seen: str = "1"
