"""The view of an endpoint says what its objects say, also where they say little."""

from datetime import UTC, datetime
from typing import Any

from tests.penstock_cli.samples import CANDIDATE, STABLE, condition, deployment, policy, split

from penstock_cli.endpoints import endpoints, named
from penstock_cli.views import EndpointView, World

NOW = datetime(2026, 11, 21, 12, 1, 12, tzinfo=UTC)


def one(*, splits: list[Any], deployments: list[Any], policies: list[Any] | None = None) -> EndpointView:
    world = World(namespace="shop", splits=splits, deployments=deployments, policies=policies or [])
    (view,) = endpoints(world, now=NOW)
    return view


def test_a_split_and_its_deployment_are_one_endpoint() -> None:
    view = one(splits=[split()], deployments=[deployment()], policies=[policy()])
    assert [(entry.name, entry.role, entry.weight, entry.ready) for entry in view.revisions] == [
        (STABLE, "stable", 75, 2),
        (CANDIDATE, "candidate", 25, 2),
    ]
    assert view.url == "http://fraud.shop.svc/v2/models/fraud/infer"
    assert view.ready
    assert [entry.kind for entry in view.readiness] == ["TrafficSplit", "ModelDeployment", "DriftPolicy"]


def test_the_step_says_how_long_it_has_been_held_and_what_it_requires() -> None:
    view = one(splits=[split()], deployments=[deployment()])
    assert view.rollout is not None
    assert (view.rollout.step, view.rollout.steps) == (2, 4)
    assert view.rollout.doing == "weight 25%, 1m12s of 5m, requires Pass"


def test_a_pause_step_names_the_command_that_opens_it() -> None:
    candidate = {"name": "candidate", "revision": CANDIDATE, "weight": 25, "step": 2}
    view = one(splits=[split(phase="Paused", candidates=[candidate])], deployments=[deployment()])
    assert view.rollout is not None
    assert view.rollout.doing == "waits at 25% for kubectl penstock promote"


def test_a_pause_by_a_person_names_the_person_and_the_way_on() -> None:
    candidate = {"name": "candidate", "revision": CANDIDATE, "weight": 25, "step": 1, "pausedBy": "jane"}
    view = one(splits=[split(phase="Paused", candidates=[candidate])], deployments=[deployment()])
    assert view.rollout is not None
    assert view.rollout.doing == "held at 25% by jane; kubectl penstock resume"


def test_a_step_beyond_a_list_that_was_shortened_is_no_error() -> None:
    candidate = {"name": "candidate", "revision": CANDIDATE, "weight": 25, "step": 9}
    view = one(splits=[split(candidates=[candidate])], deployments=[deployment()])
    assert view.rollout is not None
    assert view.rollout.doing == ""


def test_a_rejected_revision_that_spec_still_asks_for_shows_why_it_was_taken_back() -> None:
    rejected = {"revision": CANDIDATE, "reason": "PolicyBreached", "message": "errors: 3.1% of 1240"}
    view = one(
        splits=[split(phase="RolledBack", candidates=[], rejected=[rejected], weights=[])], deployments=[deployment()]
    )
    shown = next(entry for entry in view.revisions if entry.name == CANDIDATE)
    assert (shown.role, shown.reason, shown.message) == ("rejected", "PolicyBreached", "errors: 3.1% of 1240")


def test_the_worst_verdict_comes_first() -> None:
    view = one(splits=[split()], deployments=[deployment()])
    assert [(entry.metric, entry.verdict) for entry in view.findings] == [("errors", "Undecided"), ("slower", "Pass")]


def test_a_deployment_without_a_split_gives_all_traffic_to_stable_and_shows_the_latest() -> None:
    view = one(splits=[], deployments=[deployment()])
    assert view.rollout is None
    assert [(entry.name, entry.role, entry.weight) for entry in view.revisions] == [
        (CANDIDATE, "latest", 0),
        (STABLE, "stable", 100),
    ]


def test_a_condition_of_an_earlier_spec_is_not_ready() -> None:
    stale = deployment(conditions=[condition("True", "Ready", "2 of 2", generation=2)])
    view = one(splits=[], deployments=[stale])
    assert not view.ready
    assert not view.readiness[0].current


def test_objects_that_the_operator_has_not_seen_are_not_ready() -> None:
    bare = {"metadata": {"name": "fraud", "namespace": "shop", "generation": 1}, "spec": {}}
    view = one(splits=[], deployments=[bare])
    assert not view.ready
    assert view.readiness[0].status == "Unknown"


def test_a_split_whose_deployment_is_missing_is_still_shown() -> None:
    view = one(splits=[split()], deployments=[])
    assert view.model_deployment == "fraud"
    assert [entry.weight for entry in view.revisions] == [75, 25]


def test_a_name_means_the_endpoint_its_deployment_or_a_policy_that_judges_it() -> None:
    other = split()
    other["metadata"] = {**other["metadata"], "name": "public"}
    world = World(namespace="shop", splits=[other], deployments=[deployment()], policies=[policy()])
    views = endpoints(world, now=NOW)
    for name in ("public", "fraud", "fraud-guard"):
        assert [view.name for view in named(name, world, views)] == ["public"], name
    assert named("frau", world, views) == ()


def test_json_has_camel_case_names_and_the_overall_answer() -> None:
    wire = one(splits=[split()], deployments=[deployment()]).to_json()
    assert wire["ready"] is True
    assert wire["modelDeployment"] == "fraud"
    assert wire["revisions"][1]["weight"] == 25
    assert wire["lastCommand"] is None
