"""DriftPolicies from a file of manifests, as far as the judge needs them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from penstock_cli.errors import PluginError
from penstock_operator.api.v1alpha1.drift_policy import KIND, FalseAlarms
from penstock_operator.api.v1alpha1.drift_policy import Metric as MetricSpec
from penstock_operator.core.judge.decide import evidence_limits
from penstock_operator.core.judge.metrics import Metric
from penstock_operator.core.metric_terms import metric_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One policy: its metrics in the judge's terms, and the share of healthy rollouts that it may take back.

    The metrics named in ``dry_run`` are judged and decide nothing.
    """

    name: str
    metrics: tuple[Metric, ...]
    false_alarms_per_rollout: float
    dry_run: frozenset[str] = frozenset()


def read_policies(path: str) -> tuple[Policy, ...]:
    """Return the DriftPolicies in a YAML or JSON file, in its order; other kinds in it are passed over.

    Raises PluginError, which names the field and the fix.
    """
    try:
        documents = list(yaml.safe_load_all(Path(path).read_text(encoding="utf-8")))
    except OSError as error:
        raise PluginError(f"{path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise PluginError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    manifests = [one for one in documents if isinstance(one, dict) and one.get("kind", KIND) == KIND]
    if not manifests:
        raise PluginError(f"{path} holds no {KIND}; give the manifest that you would apply")
    # A split's policies share one budget, as they do live.
    policies = tuple(_policy(manifest, path, share=1 / len(manifests)) for manifest in manifests)
    names = [policy.name for policy in policies]
    if len(set(names)) < len(names):
        raise PluginError(f"{path} holds two policies with one name: {', '.join(names)}")
    return policies


def _policy(manifest: Mapping[str, Any], path: str, *, share: float) -> Policy:
    metadata = manifest.get("metadata")
    name = str(metadata["name"]) if isinstance(metadata, dict) and metadata.get("name") else Path(path).stem
    where = f"{path}: {KIND} {name}: "
    spec = manifest.get("spec")
    if not isinstance(spec, dict):
        raise PluginError(f"{where}spec is missing")
    wires = spec.get("metrics")
    if not isinstance(wires, list) or not wires:
        raise PluginError(f"{where}spec.metrics must list at least one metric")
    try:
        budget = FalseAlarms.parse(spec.get("falseAlarms") or {}).per_rollout
    except ValidationError as error:
        raise PluginError(f"{where}{_told(error, 'spec.falseAlarms')}") from error
    metrics = tuple(_metric(wire, f"{where}spec.metrics[{index}]") for index, wire in enumerate(wires))
    idle = frozenset(wire["name"] for wire in wires if wire.get("dryRun") is True)
    try:
        evidence_limits(metrics, false_alarms_per_rollout=budget)
    except ValueError as error:
        raise PluginError(f"{where}{error}") from error
    return Policy(name=name, metrics=metrics, false_alarms_per_rollout=budget * share, dry_run=idle)


def _metric(wire: object, where: str) -> Metric:
    if not isinstance(wire, dict):
        raise PluginError(f"{where} must be an object, such as {{name: errors, source: ErrorRate, against: Stable}}")
    try:
        spec = MetricSpec.parse(wire)
        if (spec.against is None) == (spec.limit is None):
            raise PluginError(f"{where}: give either against: Stable or a limit")
        return metric_of(spec)
    except ValidationError as error:
        raise PluginError(_told(error, where)) from error
    except ValueError as error:
        raise PluginError(f"{where}: {error}") from error


def _told(error: ValidationError, where: str) -> str:
    return "; ".join(".".join([where, *_path(problem["loc"])]) + f": {problem['msg']}" for problem in error.errors())


def _path(location: Sequence[int | str]) -> list[str]:
    return [str(part) for part in location]
