"""What a TrafficSplit may do, what it asks of routers, and what its status tells in every phase."""

import json
from dataclasses import replace
from typing import Any

import pytest

from penstock_operator.api.v1alpha1.traffic_split import TrafficSplitSpec
from penstock_operator.core.conditions import Reason
from penstock_operator.core.manifests.router import SPLIT_PORTS
from penstock_operator.core.objects import Manifest
from penstock_operator.core.phases import MOVING, Phase
from penstock_operator.core.rollout_moves import Decision
from penstock_operator.core.rollout_state import Candidate, Rejected, Returning, Rollout, Watch
from penstock_operator.core.routes import Acknowledgement, CookieKey, HeaderKey, MatchKind, Mirror, SplitRoute
from penstock_operator.core.split_status import Report, blocked_status, split_status
from penstock_operator.core.traffic_split import (
    Competition,
    Problem,
    competition,
    deployments_of,
    problem_of,
    revision_states,
    router_port,
    split_route,
)
from penstock_operator.core.traffic_view import governing_split, traffic_view, usage_of
from penstock_operator.core.world import Wanted

A, B = "fraud-aaaaaaaa", "fraud-bbbbbbbb"
NOW = 1_800_000_000.0
MODEL: dict[str, Any] = {"model": {"uri": "s3://m/1/model.onnx", "sha256": "0" * 64}, "replicas": 2}
ALL_RUN = Acknowledgement(version="1", acknowledged=frozenset({"r-0", "r-1"}), rejected={}, missing=frozenset())


def deployment(name: str = "fraud", **status: Any) -> Manifest:
    return {"metadata": {"name": name, "namespace": "shop"}, "spec": MODEL, "status": status}


def split(name: str = "fraud", target: str = "fraud", created: str = "2026-01-01T00:00:00Z", **status: Any) -> Manifest:
    return {
        "metadata": {"name": name, "namespace": "shop", "generation": 3, "creationTimestamp": created},
        "spec": {"stable": {"modelDeployment": target}, "strategy": {"steps": [{"weight": 100}]}},
        "status": status,
    }


def spec_of(manifest: Manifest) -> TrafficSplitSpec:
    return TrafficSplitSpec.parse(manifest["spec"])


# --- may it act? ---


def problem(mine: Manifest, deployments: list[str], *others: Manifest) -> Problem | None:
    known = {name: deployment(name) for name in deployments}
    return problem_of(mine, spec_of(mine), known, [mine, *others])


def test_a_split_over_a_model_of_its_own_may_act() -> None:
    assert problem(split(), ["fraud"]) is None
    assert problem(split("front"), ["fraud"]) is None


def test_a_missing_model_deployment_is_named_with_those_that_are_there() -> None:
    found = problem(split(target="fruad"), ["fraud", "churn"])

    assert found is not None
    assert found.reason is Reason.MODEL_DEPLOYMENT_NOT_FOUND
    assert found.message == (
        "spec.stable.modelDeployment: there is no ModelDeployment fruad here; there are: churn, fraud"
    )


def test_the_older_of_two_splits_governs_and_the_newer_is_told_which() -> None:
    newer = split("rival", created="2026-02-01T00:00:00Z")
    found = problem(newer, ["fraud"], split())

    assert found is not None
    assert found.reason is Reason.MODEL_DEPLOYMENT_TAKEN
    assert "governed by TrafficSplit fraud" in found.message
    assert problem(split(), ["fraud"], newer) is None


def test_splits_of_the_same_second_are_ordered_by_name() -> None:
    assert governing_split("fraud", [split("b"), split("a")]) == split("a")


def test_a_split_that_is_being_deleted_governs_nothing() -> None:
    leaving = split()
    leaving["metadata"]["deletionTimestamp"] = "2026-03-01T00:00:00Z"

    assert governing_split("fraud", [leaving]) is None
    assert governing_split("fraud", [leaving, split("rival")]) == split("rival")
    assert governing_split("churn", [split()]) is None


def test_a_split_may_not_take_the_endpoint_of_another_model() -> None:
    found = problem(split("churn"), ["fraud", "churn"])

    assert found is not None
    assert found.reason is Reason.ENDPOINT_TAKEN


# --- ports and routes ---


def test_a_split_gets_the_same_port_each_time_and_no_port_twice() -> None:
    first = router_port("fraud", ())
    second = router_port("fraud", {first})

    assert first == router_port("fraud", ())
    assert first != second
    assert {first, second} <= set(SPLIT_PORTS)


def test_the_search_for_a_port_goes_round_and_ends() -> None:
    only = SPLIT_PORTS[0]

    assert router_port("fraud", set(SPLIT_PORTS) - {only}) == only
    with pytest.raises(ValueError, match="taken"):
        router_port("fraud", SPLIT_PORTS)


def route(rollout: Rollout, ready: tuple[str, ...] = (A, B)) -> dict[str, int] | None:
    made = split_route(
        namespace="shop",
        split="fraud",
        port=10_001,
        spec=None,
        rollout=rollout,
        ready=ready,
        request_timeout_seconds=2.0,
        grpc=True,
    )
    if made is None:
        return None
    assert made.grpc
    assert made.request_timeout_seconds == 3.0
    assert [backend.host for backend in made.backends] == [f"{backend.revision}.shop.svc" for backend in made.backends]
    return {backend.revision: backend.weight for backend in made.backends}


def rollout(phase: Phase = Phase.PROGRESSING, weight: int = 25, **changes: Any) -> Rollout:
    if phase not in MOVING:
        return Rollout(rest=phase, stable=A, **changes)
    return Rollout(stable=A, candidates=(Candidate(revision=B, started_at=NOW, phase=phase, weight=weight),), **changes)


def test_routes_follow_the_weights_and_know_who_waits_once_it_has_pods() -> None:
    assert route(Rollout()) is None
    assert route(Rollout(stable=A)) == {A: 100}
    assert route(rollout()) == {A: 75, B: 25}
    assert route(rollout(Phase.WAITING, 0)) == {A: 100, B: 0}
    assert route(rollout(Phase.WAITING, 0), ready=(A,)) == {A: 100}
    assert route(rollout(weight=100), ready=(B,)) == {A: 0, B: 100}


def test_how_revisions_are_is_read_from_the_model_deployment() -> None:
    told = deployment(
        revisions=[
            {"name": A, "readyReplicas": 2, "phase": "Serving"},
            {"name": B, "phase": "Failed", "reason": "NotOnnx", "message": "no graph"},
        ]
    )
    states = revision_states(told)

    assert (states[A].ready, states[A].wanted, states[A].failure) == (2, 2, None)
    assert (states[B].ready, states[B].failure) == (0, "NotOnnx: no graph")
    assert revision_states({"spec": {}, "metadata": {}}) == {}


# --- the status ---


def report(**changes: Any) -> Report:
    settings: dict[str, Any] = {
        "split": split(),
        "spec": spec_of(split()),
        "model_name": "fraud",
        "decision": Decision(rollout=Rollout(stable=A)),
        "port": 10_001,
        "weights": {A: 100},
        "acknowledgement": ALL_RUN,
        "routers": 2,
        **changes,
    }
    return Report(**settings)


def conditions(made: Report) -> dict[str, tuple[str, str, str]]:
    status = split_status(made, now=NOW)
    json.dumps(status)
    assert all(item["observedGeneration"] == 3 for item in status["conditions"])
    return {item["type"]: (item["status"], item["reason"], item["message"]) for item in status["conditions"]}


REJECTED = Rejected(
    revision=B, at=NOW, by="guard/errors", reason="PolicyBreached", message="guard/errors: 3% of 1240 against 0.4%"
)

RETURNING = Returning(revision=B, by="ada", reason="RolledBack", message="bad", asked_at=NOW)

PHASES = [
    (Phase.IDLE, {"Ready": "True", "Promoted": "True"}, "Ready", f"{A} serves all requests"),
    (
        Phase.WAITING,
        {"Ready": "True", "Promoted": "Unknown", "Reconciling": "True"},
        "WaitingForCandidate",
        f"{B} at 0%: 1 of 2 pods",
    ),
    (
        Phase.FAILED,
        {"Ready": "True", "Promoted": "False", "Stalled": "True"},
        "CandidateFailed",
        f"1 of 2 pods; {A} serves",
    ),
    (
        Phase.PROGRESSING,
        {"Ready": "True", "Promoted": "Unknown", "Reconciling": "True"},
        "RolloutInProgress",
        f"{B} at 25%: 1 of 2 pods",
    ),
    (
        Phase.PAUSED,
        {"Ready": "True", "Promoted": "Unknown", "Reconciling": "True"},
        "Paused",
        f"{B} at 25%: 1 of 2 pods",
    ),
    (Phase.PROMOTED, {"Ready": "True", "Promoted": "True"}, "Promoted", f"{A} serves all requests"),
    (
        Phase.RETURNING,
        {"Ready": "True", "Promoted": "Unknown", "Reconciling": "True"},
        "Returning",
        f"1 of 2 pods; {A} serves",
    ),
    (
        Phase.ROLLED_BACK,
        {"Ready": "True", "Promoted": "False", "Stalled": "True"},
        "PolicyBreached",
        f"{B} taken back: guard/errors: 3% of 1240 against 0.4%; {A} serves",
    ),
]


@pytest.mark.parametrize(("phase", "expected", "reason", "message"), PHASES, ids=[case[0].value for case in PHASES])
def test_the_conditions_of_each_phase(phase: Phase, expected: dict[str, str], reason: str, message: str) -> None:
    weight = 0 if phase in {Phase.WAITING, Phase.FAILED} else 25
    state = rollout(
        phase,
        weight,
        rejected=(REJECTED,) if phase is Phase.ROLLED_BACK else (),
        returning=RETURNING if phase is Phase.RETURNING else None,
    )
    under_way = bool(state.candidates) or phase is Phase.RETURNING
    made = report(decision=Decision(rollout=state, holding="1 of 2 pods" if under_way else ""))

    found = conditions(made)

    assert {type_: status for type_, (status, _, _) in found.items()} == {"Programmed": "True", **expected}
    assert found["Ready"][1:] == found["Promoted"][1:] == (reason, message)


def test_every_phase_is_in_the_table() -> None:
    assert {case[0] for case in PHASES} == set(Phase)


@pytest.mark.parametrize(
    ("changes", "reason", "words"),
    [
        ({"decision": Decision(rollout=Rollout()), "weights": {}}, "WaitingForStable", "no ready revision yet"),
        (
            {"routers": 0, "acknowledgement": None, "weights": {}, "router_trouble": "ImagePullFailed: no"},
            "WaitingForRouters",
            "no router pod is ready yet: ImagePullFailed: no",
        ),
        ({"acknowledgement": None, "weights": {}}, "WaitingForRouters", "being told"),
        (
            {"acknowledgement": replace(ALL_RUN, missing=frozenset({"r-1", "r-0"})), "weights": {}},
            "WaitingForRouters",
            "no acknowledgement from r-0, r-1",
        ),
        (
            {"acknowledgement": replace(ALL_RUN, rejected={"r-1": "odd"})},
            "RouterRejected",
            "the last good configuration stays: r-1: odd",
        ),
        ({"weights": {}}, "WaitingForRouters", "resolving the stable revision"),
    ],
    ids=["no stable", "no routers", "not told yet", "not acknowledged", "rejected", "not resolved"],
)
def test_a_split_whose_routers_do_not_run_it_is_not_ready_and_says_why(
    changes: dict[str, Any], reason: str, words: str
) -> None:
    found = conditions(report(**changes))

    assert found["Programmed"][:2] == found["Ready"][:2] == ("False", reason)
    assert words in found["Ready"][2]
    assert found["Reconciling"][0] == "True"


def test_a_split_that_serves_stays_ready_while_new_weights_are_on_their_way() -> None:
    found = conditions(report(acknowledgement=replace(ALL_RUN, missing=frozenset({"r-1"}))))

    assert found["Programmed"][0] == "False"
    assert found["Ready"][0] == "True"


def test_an_obstacle_is_told_before_everything_else() -> None:
    obstacle = Problem(reason=Reason.NOT_OWNED, message="Deployment shop/penstock-router exists")
    found = conditions(report(obstacle=obstacle, decision=Decision(rollout=rollout(Phase.FAILED, 0))))

    assert found["Ready"] == ("False", "NotOwned", obstacle.message)
    assert found["Stalled"] == ("True", "NotOwned", obstacle.message)


def test_a_status_tells_only_what_there_is() -> None:
    bare = split_status(report(weights={}), now=NOW)
    whole = split_status(
        report(
            analysis=[{"metric": "errors"}],
            evidence={"revision": B},
            verdict="Pass",
            command={"id": "1"},
            weights={B: 25, A: 75},
        ),
        now=NOW,
    )

    assert set(bare) == {"observedGeneration", "phase", "stableRevision", "port", "endpoint", "conditions"}
    assert whole["weights"] == [{"revision": A, "weight": 75}, {"revision": B, "weight": 25}]
    assert (whole["verdict"], whole["lastCommand"], whole["evidence"]) == ("Pass", {"id": "1"}, {"revision": B})


def test_a_blocked_split_keeps_everything_but_its_conditions() -> None:
    live = split(weights=[{"revision": A, "weight": 100}], port=10_001, phase="Idle", stableRevision=A)
    blocked = blocked_status(live, Problem(reason=Reason.ENDPOINT_TAKEN, message="taken"), now=NOW)

    assert {**blocked, "conditions": 0, "observedGeneration": 0} == {
        **live["status"],
        "conditions": 0,
        "observedGeneration": 0,
    }
    assert [item["type"] for item in blocked["conditions"]] == ["Ready", "Stalled"]


# --- what the ModelDeployment sees of it ---


def test_the_traffic_of_a_split_is_what_has_weight_or_is_meant_to_have() -> None:
    view = traffic_view(
        split(
            stableRevision=A,
            port=10_001,
            weights=[
                {"revision": A, "weight": 95},
                {"revision": "old", "weight": 5},
                {"revision": "none", "weight": 0},
            ],
            candidates=[{"name": "candidate", "revision": B, "weight": 25}],
            rejected=[{"revision": "bad", "reason": "PolicyBreached", "message": "3%"}],
            conditions=[{"type": "Ready", "message": "on its way"}],
        )
    )

    assert view.in_use == {A, B, "old"}
    assert view.kept == view.on_trial | {A} == {A, B}
    assert (view.stable, view.port, view.programmed) == (A, 10_001, True)
    assert view.rejected["bad"].message == "3%"
    assert view.message == "on its way"


def test_a_split_without_a_status_has_nothing_in_use() -> None:
    view = traffic_view({"metadata": {"name": "fraud"}, "spec": {}})

    assert (view.stable, view.kept, view.in_use, view.programmed) == (None, frozenset(), frozenset(), False)


def test_what_any_split_uses_or_may_return_to_is_kept_whoevers_it_is() -> None:
    one = split(
        stableRevision=A,
        weights=[{"revision": A, "weight": 80}, {"revision": "xgb-1", "weight": 20}],
        candidates=[{"name": "xgb", "revision": "xgb-1", "weight": 20}, {"name": "mlp", "revision": "mlp-1"}],
    )
    two = split("front", stableRevision="xgb-2", watch={"revision": "xgb-1"}, returning={"revision": "xgb-0"})
    leaving = split("old", stableRevision="gone", weights=[{"revision": "gone", "weight": 100}])
    leaving["metadata"]["deletionTimestamp"] = "2026-03-01T00:00:00Z"

    usage = usage_of([one, two, leaving])

    assert usage.in_use == {A, "xgb-1"}
    assert usage.kept == {A, "xgb-1", "mlp-1", "xgb-2", "xgb-0"}


@pytest.mark.parametrize(
    ("declared", "takes"),
    [([], True), (["fraud-xgb"], False), (["fraud-xgb", "fraud"], True)],
    ids=["none is declared", "others are", "its own is too"],
)
def test_whether_new_revisions_of_stable_compete(declared: list[str], *, takes: bool) -> None:
    asked = split()
    asked["spec"]["candidates"] = [{"name": name, "modelDeployment": name} for name in declared]

    assert traffic_view(asked).takes_new_revisions is takes


# --- who competes ---


def competing(*candidates: dict[str, Any], **deployments: dict[str, Any]) -> Competition:
    asked = split()
    asked["spec"]["candidates"] = list(candidates)
    known = {name.replace("_", "-"): made for name, made in deployments.items()}
    return competition(spec_of(asked), known)


def served(name: str, **status: Any) -> Manifest:
    return {**deployment(name, **status), "spec": {**MODEL, "serving": {"modelName": "fraud"}}}


XGB = {"name": "xgb", "modelDeployment": "fraud-xgb"}


def test_without_a_declaration_the_newest_revision_of_stable_competes() -> None:
    assert competing(fraud=deployment(latestRevision=B)).wanted == (Wanted(name="candidate", revision=B),)
    assert competing(fraud=deployment()).wanted == (Wanted(name="candidate", revision=None),)


@pytest.mark.parametrize(
    ("status", "revision"),
    [
        ({"stableRevision": "fraud-xgb-1", "latestRevision": "fraud-xgb-2"}, "fraud-xgb-1"),
        ({"latestRevision": "fraud-xgb-1"}, "fraud-xgb-1"),
        ({}, None),
    ],
    ids=["what it serves", "what it is to serve first", "nothing known yet"],
)
def test_a_declared_candidate_is_what_its_model_deployment_serves(status: dict[str, str], revision: str | None) -> None:
    found = competing(XGB, fraud=deployment(latestRevision=A), fraud_xgb=served("fraud-xgb", **status))

    assert found == Competition(wanted=(Wanted(name="xgb", revision=revision),))


def test_of_declared_candidates_those_that_can_compete_do_and_the_first_problem_is_told() -> None:
    found = competing(
        XGB,
        {"name": "mlp", "modelDeployment": "fraud-mlp"},
        {"name": "next", "modelDeployment": "fraud"},
        fraud=deployment(latestRevision=B, stableRevision=A),
        fraud_mlp=deployment("fraud-mlp", stableRevision="fraud-mlp-1"),
    )

    assert found.wanted == (Wanted(name="next", revision=B),)
    assert found.problem is not None
    assert found.problem.message == (
        "spec.candidates[0].modelDeployment: there is no ModelDeployment fraud-xgb here; there are: fraud, fraud-mlp"
    )


def test_a_candidate_that_clients_would_not_reach_is_told_what_to_write() -> None:
    known = {"fraud": deployment(), "fraud_xgb": deployment("fraud-xgb", stableRevision="fraud-xgb-1")}
    found = competing(XGB, **known).problem

    assert found is not None
    assert found.reason is Reason.MODEL_NAME_MISMATCH
    assert found.message.endswith("set spec.serving.modelName: fraud in ModelDeployment fraud-xgb")


def test_a_split_has_to_do_with_deployments_that_it_names_and_with_those_that_it_still_uses() -> None:
    asked = split()
    asked["spec"]["candidates"] = [XGB]
    rollout = Rollout(stable="fraud-old-aaaaaaaa", watch=Watch(revision="fraud-older-aaaaaaaa", started_at=NOW))

    found = deployments_of(spec_of(asked), rollout, {"fraud-drain-aaaaaaaa": 5})

    assert found == {"fraud", "fraud-xgb", "fraud-old", "fraud-older", "fraud-drain"}


# --- matches, keys and copies ---


def routed(spec: dict[str, Any], *candidates: Candidate) -> SplitRoute:
    asked = split()
    asked["spec"] |= spec
    made = split_route(
        namespace="shop",
        split="fraud",
        port=10_001,
        spec=spec_of(asked),
        rollout=Rollout(stable=A, candidates=candidates),
        ready=[A, *(candidate.revision for candidate in candidates)],
        grpc=False,
        request_timeout_seconds=2.0,
    )
    assert made is not None
    return made


def on_trial(name: str = "candidate", revision: str = B, **changes: Any) -> Candidate:
    settings: dict[str, Any] = {"phase": Phase.PROGRESSING, "started_at": NOW, **changes}
    return Candidate(name=name, revision=revision, **settings)


MATCHES = [
    {"header": "X-Beta", "exact": "yes", "to": "candidate"},
    {"header": "x-beta", "prefix": "no", "to": "stable"},
    {"header": "x-other", "present": True, "to": "candidate"},
]


def test_matches_keep_their_order_and_go_to_the_revision_of_the_moment() -> None:
    made = routed({"match": MATCHES}, on_trial())

    assert [(match.header, match.kind, match.value, match.revision) for match in made.matches] == [
        ("x-beta", MatchKind.EXACT, "yes", B),
        ("x-beta", MatchKind.PREFIX, "no", A),
        ("x-other", MatchKind.PRESENT, "", B),
    ]


@pytest.mark.parametrize("phase", [Phase.WAITING, Phase.FAILED])
def test_nobody_is_led_to_a_candidate_that_does_not_answer_yet(phase: Phase) -> None:
    made = routed({"match": MATCHES, "shadow": {"percent": 20}}, on_trial(phase=phase))

    assert [match.revision for match in made.matches] == [A]
    assert made.mirrors == ()


def test_copies_go_to_candidates_without_weight_only() -> None:
    asked = {"strategy": {"type": "Shadow"}, "shadow": {"percent": 20, "compareOutputs": True}}
    made = routed(asked, on_trial(), on_trial("other", "other-1", weight=10))

    assert made.mirrors == (Mirror(revision=B, percent=20, compare=True),)


def test_one_candidate_takes_its_keys_elsewhere_than_the_next() -> None:
    places = {
        backend.keys_from
        for number in range(20)
        for backend in routed({"stickiness": {"header": "X-Account"}}, on_trial(revision=f"fraud-{number}")).backends
        if backend.revision != A
    }

    assert len(places) > 10
    assert routed({"stickiness": {"header": "X-Account"}}).stickiness == HeaderKey(name="x-account")
    assert routed({"stickiness": {"cookie": {"ttl": "90s"}}}).stickiness == CookieKey(name="penstock", ttl_seconds=90)
