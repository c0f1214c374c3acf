"""What a policy asks of the traffic of each revision that it watches."""

from collections.abc import Mapping

from penstock_operator.api.v1alpha1.drift_policy import DriftPolicySpec
from penstock_operator.core.drift.budget import Signal
from penstock_operator.core.drift.live.limits import Limits
from penstock_operator.core.drift.live.rightness import Demands


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
        kinds |= {Signal.CONTRIBUTION} if drift.contribution is not None else set()
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
    )


def _demands(spec: DriftPolicySpec) -> Demands | None:
    asked = spec.performance
    if asked is None:
        return None
    labelled = asked.labelled
    return Demands(
        estimated_min=asked.estimated.min if asked.estimated is not None else None,
        labelled_min=labelled.min if labelled is not None else None,
        absolute_error_max=labelled.max if labelled is not None else None,
    )


def _above_zero(psi: Mapping[Signal, float]) -> dict[Signal, float]:
    """A limit of 0 is none: less what chance makes, the PSI of a true difference may be 0."""
    return {kind: limit for kind, limit in psi.items() if limit > 0}
