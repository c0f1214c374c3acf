"""What others must hear of at once, and what can wait."""

import copy
from typing import Any

import pytest

from penstock_operator.core.news import is_news, moves_ties
from penstock_operator.core.objects import Kind, Manifest

SPLIT: Manifest = {
    "metadata": {"name": "fraud", "generation": 3, "resourceVersion": "10", "annotations": {}},
    "spec": {"policies": ["guard"]},
    "status": {
        "phase": "Progressing",
        "verdict": "Undecided",
        "candidates": [{"name": "candidate", "revision": "b", "weight": 5, "realisedShare": 0.049}],
        "analysis": [{"policy": "guard", "metric": "errors", "verdict": "Undecided", "evidence": 1.2}],
        "evidence": {"guard/errors": {"ticks": 3}},
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "reason": "RolloutInProgress",
                "message": "at 5%",
                "lastTransitionTime": "t",
            }
        ],
    },
}


def changed(*path: str | int, to: Any) -> Manifest:
    manifest = copy.deepcopy(SPLIT)
    inner: Any = manifest
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = to
    return manifest


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("metadata", "resourceVersion"), "11"),
        (("metadata", "managedFields"), [{"manager": "x"}]),
        (("status", "evidence"), {"guard/errors": {"ticks": 4}}),
        (("status", "analysis", 0, "evidence"), 1.3),
        (("status", "analysis", 0, "message"), "0.5% of 200"),
        (("status", "candidates", 0, "realisedShare"), 0.051),
        (("status", "conditions", 0, "message"), "at 5%: undecided"),
        (("status", "conditions", 0, "lastTransitionTime"), "u"),
    ],
    ids=str,
)
def test_numbers_and_words_about_them_can_wait(path: tuple[str | int, ...], value: object) -> None:
    assert not is_news(Kind.TRAFFIC_SPLIT, SPLIT, changed(*path, to=value))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("metadata", "generation"), 4),
        (("metadata", "annotations"), {"penstock.dev/command": "{}"}),
        (("metadata", "deletionTimestamp"), "t"),
        (("metadata", "labels"), {"team": "risk"}),
        (("spec", "policies"), []),
        (("status", "phase"), "Paused"),
        (("status", "verdict"), "Pass"),
        (("status", "analysis", 0, "verdict"), "Pass"),
        (("status", "candidates", 0, "weight"), 25),
        (("status", "candidates", 0, "stepStartedAt"), "t"),
        (("status", "conditions", 0, "status"), "False"),
        (("status", "conditions", 0, "reason"), "Paused"),
        (("status", "weights"), [{"revision": "a", "weight": 100}]),
        (("status", "a field of tomorrow"), 1),
    ],
    ids=str,
)
def test_what_others_decide_by_is_news(path: tuple[str | int, ...], value: object) -> None:
    assert is_news(Kind.TRAFFIC_SPLIT, SPLIT, changed(*path, to=value))


def test_what_came_or_went_is_news() -> None:
    assert is_news(Kind.TRAFFIC_SPLIT, None, SPLIT)
    assert is_news(Kind.TRAFFIC_SPLIT, SPLIT, None)


def test_every_change_of_a_child_is_news() -> None:
    assert is_news(Kind.POD, SPLIT, changed("metadata", "resourceVersion", to="11"))


def test_the_numbers_of_a_policy_can_wait_but_not_its_reasons() -> None:
    status = {"signals": [{"psi": 0.1}], "lastAction": {"at": "t"}}

    def policy(**changes: Any) -> Manifest:
        return {"metadata": {"name": "guard"}, "status": {**status, **changes}}

    assert not is_news(Kind.DRIFT_POLICY, policy(), policy(signals=[]))
    assert is_news(Kind.DRIFT_POLICY, policy(), policy(lastAction={"at": "u"}))


CHILD: Manifest = {
    "metadata": {"name": "fraud-1", "namespace": "shop", "labels": {"a": "1"}, "ownerReferences": [{"uid": "u1"}]},
    "spec": {"replicas": 1},
    "status": {"readyReplicas": 0},
}


@pytest.mark.parametrize("kind", [Kind.MODEL_DEPLOYMENT, Kind.DEPLOYMENT, Kind.POD])
def test_who_depends_on_a_child_is_told_by_its_labels_and_owners(kind: Kind) -> None:
    metadata = CHILD["metadata"]
    assert moves_ties(kind, CHILD, {**CHILD, "metadata": {**metadata, "labels": {"a": "2"}}})
    assert moves_ties(kind, CHILD, {**CHILD, "metadata": {**metadata, "ownerReferences": [{"uid": "u2"}]}})
    assert moves_ties(kind, CHILD, None)
    assert moves_ties(kind, None, CHILD)
    assert not moves_ties(kind, CHILD, {**CHILD, "spec": {"replicas": 2}, "status": {"readyReplicas": 2}})


@pytest.mark.parametrize("kind", [Kind.TRAFFIC_SPLIT, Kind.DRIFT_POLICY])
def test_who_depends_on_a_split_or_a_policy_is_told_by_its_spec_and_status_too(kind: Kind) -> None:
    assert moves_ties(kind, CHILD, {**CHILD, "spec": {"replicas": 2}})
