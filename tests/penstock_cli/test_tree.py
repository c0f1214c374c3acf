"""The tree tells a person what is served, who gets the traffic, and why not."""

import io
from datetime import UTC, datetime

from rich.console import Console
from tests.penstock_cli.samples import CANDIDATE, STABLE, FakeCluster, condition, shop

from penstock_cli.cluster import DEPLOYMENTS, POLICIES, SPLITS
from penstock_cli.endpoints import endpoints
from penstock_cli.tree import draw
from penstock_cli.views import World

NOW = datetime(2026, 11, 21, 12, 1, 12, tzinfo=UTC)


def drawn(cluster: FakeCluster) -> str:
    objects = cluster.objects
    world = World(
        namespace="shop", splits=objects[SPLITS], deployments=objects[DEPLOYMENTS], policies=objects[POLICIES]
    )
    console = Console(file=io.StringIO(), width=200, color_system=None)
    console.print(draw(endpoints(world, now=NOW), namespace="shop", now=NOW))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_canary_in_progress_shows_weights_pods_step_and_numbers() -> None:
    text = drawn(shop())
    for words in (
        "fraud  Ready  namespace shop",
        "endpoint  http://fraud.shop.svc/v2/models/fraud/infer",
        "split  Progressing  step 2 of 4: weight 25%, 1m12s of 5m, requires Pass",
        f" 75%  {STABLE}  stable  2/2 pods ready  model 2  Serving",
        f" 25%  {CANDIDATE}  candidate  2/2 pods ready  model 3  Serving",
        "policy fraud-guard",
        "errors  Undecided  0.5% of 1240 against 0.4% of 11160 (evidence 3.2 of 20)",
        "slower  Pass  evidence 0.2 of 20",
        f"TrafficSplit fraud  Ready=True  RolloutInProgress: {CANDIDATE} at 25%",
    ):
        assert words in text, text


def test_each_of_several_candidates_shows_where_it_is_and_what_is_found_of_it() -> None:
    cluster = shop()
    split = cluster.objects[SPLITS][0]
    split["spec"] |= {
        "strategy": {"type": "ABTest"},
        "candidates": [
            {"name": "xgb", "modelDeployment": "fraud-xgb", "weight": 20},
            {"name": "mlp", "modelDeployment": "fraud-mlp", "weight": 30},
        ],
    }
    split["status"] |= {
        "candidates": [
            {"name": "xgb", "revision": "fraud-xgb-1", "phase": "Progressing", "weight": 20, "step": 0},
            {"name": "mlp", "revision": "fraud-mlp-1", "phase": "Waiting", "weight": 0, "step": 0},
        ],
        "weights": [{"revision": STABLE, "weight": 80}, {"revision": "fraud-xgb-1", "weight": 20}],
        "watch": {"revision": CANDIDATE},
        "analysis": [
            {"revision": name, "policy": "guard", "metric": "errors", "verdict": "Undecided", "message": "0.5%"}
            for name in ("fraud-xgb-1", "fraud-mlp-1")
        ],
    }
    text = drawn(cluster)
    for words in (
        "xgb  fraud-xgb-1  Progressing  step 1 of 1: weight 20%",
        "mlp  fraud-mlp-1  Waiting  step 1 of 1: weight 30%",
        " 20%  fraud-xgb-1  candidate",
        f"  0%  {CANDIDATE}  kept",
        "errors of fraud-xgb-1  Undecided  0.5%",
    ):
        assert words in text, text


def test_a_metric_that_runs_dry_is_marked() -> None:
    entry = {"policy": "guard", "metric": "sales", "verdict": "Fail", "message": "mean 4", "dryRun": True}
    assert "sales  Fail (dry run)  mean 4" in drawn(shop(analysis=[entry]))


def test_what_is_not_ready_says_why() -> None:
    message = "no ModelDeployment named fraud; create it or change spec.stable.modelDeployment"
    stalled = condition("True", "ModelDeploymentNotFound", message, type_="Stalled")
    text = drawn(shop(conditions=[condition("False", "ModelDeploymentNotFound", message), stalled]))
    assert "fraud  Stalled" in text
    assert f"Ready=False  ModelDeploymentNotFound: {message}" in text


def test_a_rollout_that_needs_only_time_is_not_called_stalled() -> None:
    waiting = condition("False", "WaitingForRouters", "no acknowledgement from penstock-router-1")
    assert "fraud  Reconciling" in drawn(shop(conditions=[waiting]))


def test_the_real_error_of_a_revision_stands_below_it() -> None:
    cluster = shop()
    failed = cluster.objects[DEPLOYMENTS][0]["status"]["revisions"][0]
    failed |= {"phase": "Failed", "readyReplicas": 0, "reason": "ChecksumMismatch", "message": "expected 79a4…"}
    assert "ChecksumMismatch: expected 79a4…" in drawn(cluster)


def test_the_past_says_who_when_and_on_what_numbers() -> None:
    entry = {
        "revision": CANDIDATE,
        "outcome": "RolledBack",
        "finishedAt": "2026-11-21T11:57:12Z",
        "by": "fraud-guard/errors",
        "message": "3.1% of 1240",
    }
    command = {"id": "1", "verb": "promote", "by": "jane", "at": "2026-11-21T12:01:00Z", "outcome": "going on"}
    text = drawn(shop(history=[entry], lastCommand=command))
    assert f"{CANDIDATE}  RolledBack by fraud-guard/errors 4m ago: 3.1% of 1240" in text
    assert "last command  promote by jane 12s ago: going on" in text


def test_an_empty_namespace_says_how_to_begin() -> None:
    assert "kubectl apply" in drawn(FakeCluster())


def test_text_from_the_cluster_is_never_markup() -> None:
    text = drawn(shop(conditions=[condition("False", "RejectedByServer", "[red]quota[/red] exceeded [1]")]))
    assert "[red]quota[/red] exceeded [1]" in text
