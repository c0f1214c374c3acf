"""What a policy asks of the traffic of each revision that it watches."""

from collections.abc import Mapping
from dataclasses import replace

from penstock_operator.api.v1alpha1.drift_policy import DriftPolicySpec
from penstock_operator.core.conditions import unix_seconds
from penstock_operator.core.drift.budget import Signal
from penstock_operator.core.drift.live.against import Against, Source
from penstock_operator.core.drift.live.limits import Limits
from penstock_operator.core.drift.live.rightness import Demands

#: The share of the false alarms of a rollout that labels may have, beside those that its metrics have.
_OF_ROLLOUTS = 0.2
_LINKS = frozenset({Signal.CONTRIBUTION, Signal.RANKING})


def limits_of(spec: DriftPolicySpec, *, among: int) -> Limits:
    """Return what a policy asks of each of ``among`` revisions, which share its false-alarm budget."""
    drift, quality = spec.drift, spec.data_quality
    kinds: set[Signal] = set()
    psi: dict[Signal, float] = {}
    rates: dict[str, float] = {}
    if drift is not None:
        if drift.inputs is not None:
            kinds.add(Signal.INPUTS)
            psi[Signal.INPUTS] = drift.inputs.psi_max
        if drift.outputs is not None:
            kinds.add(Signal.OUTPUTS)
            psi[Signal.OUTPUTS] = drift.outputs.psi_max
        kinds |= {Signal.CORRELATION} if drift.correlation else set()
        kinds |= {Signal.MMD} if drift.mmd is not None else set()
        if drift.contribution is not None:
            kinds |= {Signal.CONTRIBUTION} if drift.contribution.ndcg_min is None else _LINKS
    if quality is not None:
        kinds.add(Signal.DATA_QUALITY)
        rates = {
            "missing": quality.missing_max,
            "invalid": quality.invalid_max,
            "unseen": quality.unseen_category_max,
            "outOfRange": quality.out_of_range_max,
        }
    silence = quality.silence_max if quality is not None else None
    return Limits(
        kinds=frozenset(kinds),
        window_rows=spec.window_rows,
        per_30_days=spec.false_alarms.per_30_days / max(among, 1),
        features=tuple(drift.inputs.features) if drift is not None and drift.inputs is not None else ("*",),
        psi_max=_above_zero(psi),
        lost_min=drift.contribution.lost_min if drift is not None and drift.contribution is not None else 0.0,
        rates=rates,
        volume_ratio=quality.volume_change_max if quality is not None else None,
        silence_seconds=silence.total_seconds() if silence is not None else None,
        demands=_demands(spec),
        distance_max=drift.mmd.distance_max if drift is not None and drift.mmd is not None else 0.0,
        ndcg_min=drift.contribution.ndcg_min if drift is not None and drift.contribution is not None else None,
        against=_against(spec),
    )


def of_part(limits: Limits, segment: str, segments: int) -> Limits:
    """Return what is asked of all of a revision's traffic, or of one of ``segments`` parts of it.

    All of it has half of the budget and the parts share the other half, so that false alarms stay as rare as they were.
    How often rows come, and how often the model is right, is asked of all of it alone: a part may well be silent.
    """
    if not segments:
        return limits
    if not segment:
        return replace(limits, per_30_days=limits.per_30_days / 2)
    share = limits.per_30_days / (2 * segments)
    return replace(limits, per_30_days=share, volume_ratio=None, silence_seconds=None, demands=None)


def _against(spec: DriftPolicySpec) -> Against:
    """Return what live rows are compared with; what asks for no drift is compared with the profile."""
    drift = spec.drift
    if drift is None:
        return Against()
    window = drift.window
    return Against(
        source=Source(drift.reference),
        rows=drift.first_rows.rows if drift.first_rows is not None else 0,
        start=unix_seconds(window.start) if window is not None else 0.0,
        until=unix_seconds(window.until) if window is not None else 0.0,
    )


def _demands(spec: DriftPolicySpec) -> Demands | None:
    asked = spec.performance
    if asked is None:
        return None
    labelled = asked.labelled
    least, most = (labelled.min, labelled.max) if labelled is not None else (None, None)
    metric = labelled.metric if labelled is not None else ""
    against = labelled is not None and labelled.against == "Stable"
    return Demands(
        estimated_min=asked.estimated.min if asked.estimated is not None else None,
        labelled_min=least if metric == "Accuracy" else None,
        area_min=least if metric == "ROCAUC" else None,
        absolute_error_max=most if metric == "MeanAbsoluteError" else None,
        square_error_max=most if metric == "RootMeanSquaredError" else None,
        drop_max=labelled.tolerate_difference if labelled is not None and against else None,
        per_rollout=spec.false_alarms.per_rollout * _OF_ROLLOUTS,
    )


def _above_zero(psi: Mapping[Signal, float]) -> dict[Signal, float]:
    """A limit of 0 is none: less what chance makes, the PSI of a true difference may be 0."""
    return {kind: limit for kind, limit in psi.items() if limit > 0}
