"""What a TrafficSplit means: whether it may act, who competes, and what the routers are asked."""

import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

from penstock_operator.api.v1alpha1.model_deployment import ModelDeploymentSpec
from penstock_operator.api.v1alpha1.traffic_split import Candidate as CandidateSpec
from penstock_operator.api.v1alpha1.traffic_split import Match, Stickiness, TrafficSplitSpec
from penstock_operator.core import names
from penstock_operator.core.autoscaling import Autoscaled, load_of
from penstock_operator.core.conditions import Reason
from penstock_operator.core.manifests.router import SPLIT_PORTS
from penstock_operator.core.manifests.serving_pod import GRPC_PORT, HTTP_PORT
from penstock_operator.core.objects import Manifest
from penstock_operator.core.phases import ON_TRIAL
from penstock_operator.core.rollout_state import CANDIDATE_NAME, Rollout
from penstock_operator.core.routes import (
    Backend,
    CookieKey,
    HeaderKey,
    HeaderMatch,
    MatchKind,
    Mirror,
    SplitRoute,
)
from penstock_operator.core.traffic_view import governing_split
from penstock_operator.core.world import RevisionState, Wanted

_ALL = 100
#: What spec.match calls the revision that is stable at the time.
STABLE_NAME = "stable"

#: The router gives up later than the pods do, so that their own 504 reaches the client.
_ROUTER_TIMEOUT_MARGIN_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What somebody has to mend. Traffic stays as it is until then."""

    reason: Reason
    message: str


def problem_of(
    split: Manifest, spec: TrafficSplitSpec, deployments: Mapping[str, Manifest], splits: Sequence[Manifest]
) -> Problem | None:
    """Return what keeps a split from acting, or None."""
    name, target = split["metadata"]["name"], spec.stable.model_deployment
    if target not in deployments:
        known = ", ".join(sorted(deployments)) or "none"
        return Problem(
            reason=Reason.MODEL_DEPLOYMENT_NOT_FOUND,
            message=f"spec.stable.modelDeployment: there is no ModelDeployment {target} here; there are: {known}",
        )
    governing = governing_split(target, splits)
    if governing is not None and governing["metadata"]["name"] != name:
        rival = governing["metadata"]["name"]
        return Problem(
            reason=Reason.MODEL_DEPLOYMENT_TAKEN,
            message=f"ModelDeployment {target} is governed by TrafficSplit {rival}; delete one of the two",
        )
    if name in deployments and name != target:
        return Problem(
            reason=Reason.ENDPOINT_TAKEN,
            message=f"Service {name} is the endpoint of ModelDeployment {name}; give this split another name",
        )
    return None


def router_port(split: str, taken: Collection[int]) -> int:
    """Return the port of a new split: the same for the same name as long as nobody else has it."""
    start = zlib.crc32(split.encode()) % len(SPLIT_PORTS)
    for offset in range(len(SPLIT_PORTS)):
        port = SPLIT_PORTS[(start + offset) % len(SPLIT_PORTS)]
        if port not in taken:
            return port
    raise ValueError(f"all {len(SPLIT_PORTS)} router ports of the namespace are taken")


@dataclass(frozen=True, slots=True, kw_only=True)
class Competition:
    """Who competes, and what keeps somebody from it."""

    wanted: tuple[Wanted, ...]
    problem: Problem | None = None


def competition(spec: TrafficSplitSpec, deployments: Mapping[str, Manifest]) -> Competition:
    """Return the candidates that spec asks for: those that it declares, else each new revision of stable.

    A declared candidate is the revision that its ModelDeployment serves, or the first that it is to serve. Where it is
    the stable one's own ModelDeployment, it is that one's newest revision.
    """
    target = spec.stable.model_deployment
    if not spec.candidates:
        return Competition(wanted=(Wanted(name=CANDIDATE_NAME, revision=_latest(deployments[target])),))
    problems = [_unfit(index, candidate, spec, deployments) for index, candidate in enumerate(spec.candidates)]
    return Competition(
        wanted=tuple(
            Wanted(name=candidate.name, revision=_competitor(candidate, target, deployments))
            for candidate, problem in zip(spec.candidates, problems, strict=True)
            if problem is None
        ),
        problem=next((problem for problem in problems if problem is not None), None),
    )


def _latest(deployment: Manifest) -> str | None:
    latest: str | None = deployment.get("status", {}).get("latestRevision")
    return latest


def _competitor(candidate: CandidateSpec, target: str, deployments: Mapping[str, Manifest]) -> str | None:
    deployment = deployments[candidate.model_deployment]
    if candidate.model_deployment == target:
        return _latest(deployment)
    return deployment.get("status", {}).get("stableRevision") or _latest(deployment)


def _unfit(
    index: int, candidate: CandidateSpec, spec: TrafficSplitSpec, deployments: Mapping[str, Manifest]
) -> Problem | None:
    """Return why a declared candidate cannot compete. The others do."""
    field, name = f"spec.candidates[{index}].modelDeployment", candidate.model_deployment
    if name not in deployments:
        known = ", ".join(sorted(deployments)) or "none"
        return Problem(
            reason=Reason.MODEL_DEPLOYMENT_NOT_FOUND,
            message=f"{field}: there is no ModelDeployment {name} here; there are: {known}",
        )
    served, asked = (_served_model(each, deployments) for each in (name, spec.stable.model_deployment))
    if served != asked:
        return Problem(
            reason=Reason.MODEL_NAME_MISMATCH,
            message=f"{field}: {name} serves its model as {served}, but clients of this endpoint ask for {asked}; "
            f"set spec.serving.modelName: {asked} in ModelDeployment {name}",
        )
    return None


def _served_model(name: str, deployments: Mapping[str, Manifest]) -> str:
    serving = deployments[name]["spec"].get("serving") or {}
    return str(serving.get("modelName") or name)


def deployments_of(spec: TrafficSplitSpec, rollout: Rollout, weights: Collection[str]) -> frozenset[str]:
    """Return the names of the ModelDeployments that a split has to do with: those it names, and those it still uses."""
    used = (names.model_deployment_of(revision) for revision in {*rollout.kept, *weights})
    return frozenset({spec.stable.model_deployment, *(one.model_deployment for one in spec.candidates), *used})


def split_route(
    *,
    namespace: str,
    split: str,
    port: int,
    spec: TrafficSplitSpec | None,
    rollout: Rollout,
    ready: Collection[str],
    request_timeout_seconds: float,
    grpc: bool,
    weights: Mapping[str, int] | None = None,
) -> SplitRoute | None:
    """Return what the routers are asked for a split, or None before there is a stable revision.

    ``grpc``: whether calls of gRPC are led too; a pod that does not take them refuses them.
    ``weights``: what ready pods can carry of the rollout's weights, where that is less.

    A candidate that waits is in it with weight 0 as soon as it is one of ``ready``, the revisions with ready pods: the
    routers know and check it before it gets traffic. Not earlier, because a name without an address is remembered as
    such by the cluster's DNS for some seconds. Without a ``spec`` that can be read, weights alone decide.
    """
    weights = rollout.weights if weights is None else weights
    if not weights:
        return None
    known = {name: weight for name, weight in weights.items() if weight or name in ready or name == rollout.stable}
    keys = _keys_from(spec, rollout) if spec and spec.stickiness else {}
    return SplitRoute(
        namespace=namespace,
        split=split,
        port=port,
        backends=tuple(
            Backend(
                revision=revision,
                host=names.revision_host(revision, namespace),
                port=HTTP_PORT,
                weight=weight,
                grpc_port=GRPC_PORT if grpc else None,
                keys_from=keys.get(revision),
            )
            for revision, weight in sorted(known.items())
        ),
        request_timeout_seconds=request_timeout_seconds + _ROUTER_TIMEOUT_MARGIN_SECONDS,
        matches=tuple(_matches(spec.match, rollout, known)) if spec else (),
        stickiness=_stickiness(spec.stickiness) if spec and spec.stickiness else None,
        mirrors=tuple(_mirrors(spec, rollout, known)) if spec else (),
    )


def request_timeout_seconds(deployments: Collection[ModelDeploymentSpec]) -> float:
    """Return the longest time that a request may take in any pod behind a split."""
    return max(deployment.serving.timeout.total_seconds() for deployment in deployments)


def _matches(matches: Sequence[Match], rollout: Rollout, known: Collection[str]) -> Iterator[HeaderMatch]:
    """Yield the matches whose revision may get requests now; of the others weights decide."""
    reached = {one.name: one.revision for one in rollout.candidates if one.phase in ON_TRIAL}
    if rollout.stable is not None:
        reached[STABLE_NAME] = rollout.stable
    for match in matches:
        revision = reached.get(match.to)
        if revision in known and revision is not None:
            kind, value = _kind(match)
            yield HeaderMatch(header=match.header.lower(), kind=kind, value=value, revision=revision)


def _kind(match: Match) -> tuple[MatchKind, str]:
    if match.exact is not None:
        return MatchKind.EXACT, match.exact
    if match.prefix is not None:
        return MatchKind.PREFIX, match.prefix
    return MatchKind.PRESENT, ""


def _stickiness(spec: Stickiness) -> HeaderKey | CookieKey:
    if spec.cookie is not None:
        return CookieKey(name=spec.cookie.name, ttl_seconds=max(1, round(spec.cookie.ttl.total_seconds())))
    return HeaderKey(name=(spec.header or "").lower())


def _mirrors(spec: TrafficSplitSpec, rollout: Rollout, known: Collection[str]) -> Iterator[Mirror]:
    """Yield who gets copies: candidates on trial without weight, so that no count mixes copies with requests."""
    if spec.shadow is None:
        return
    for candidate in rollout.candidates:
        if candidate.phase in ON_TRIAL and candidate.weight == 0 and candidate.revision in known:
            yield Mirror(revision=candidate.revision, percent=spec.shadow.percent, compare=spec.shadow.compare_outputs)


def _keys_from(spec: TrafficSplitSpec, rollout: Rollout) -> dict[str, int]:
    """Return where each candidate's share of the keys begins; stable has what is left.

    Candidates with weights of their own lie one behind the other, and one that goes moves no other. A single one
    begins elsewhere in each rollout, so that it is not always the same clients who try what is new.
    """
    widths = [one.weight or 0 for one in spec.candidates]
    places = dict(zip((one.name for one in spec.candidates), accumulate(widths, initial=0), strict=False))
    return {
        one.revision: places[one.name] % _ALL if any(widths) and one.name in places else _place(one.revision)
        for one in rollout.candidates
    }


def _place(revision: str) -> int:
    return zlib.crc32(revision.encode()) % _ALL


def revision_states(
    deployment: Manifest, autoscalers: Mapping[str, Manifest] | None = None
) -> dict[str, RevisionState]:
    """Return how the revisions of a ModelDeployment are, as its status and their autoscalers tell."""
    spec = deployment["spec"]
    wanted = (spec.get("autoscaling") or {}).get("minReplicas") or spec.get("replicas", 1)
    return {
        entry["name"]: _revision_state(entry, wanted, (autoscalers or {}).get(entry["name"]))
        for entry in deployment.get("status", {}).get("revisions", ())
    }


def _revision_state(entry: Mapping[str, Any], wanted: int, autoscaler: Manifest | None) -> RevisionState:
    state = RevisionState(
        ready=entry.get("readyReplicas", 0),
        wanted=wanted,
        failure=f"{entry.get('reason')}: {entry.get('message')}" if entry.get("phase") == "Failed" else None,
    )
    if autoscaler is None:
        return state
    told = autoscaler["spec"]
    asked = entry.get("replicas", 0)
    scaled = Autoscaled(asked=asked, most=told["maxReplicas"], load=load_of(autoscaler))
    return replace(state, wanted=told.get("minReplicas", 1), scaled=scaled)
