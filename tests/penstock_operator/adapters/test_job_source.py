"""A Job for each occasion and no second one; how it ends is the answer, and what is in the way is told."""

from typing import Any

import pytest
from tests.fakes.people import People

from penstock_operator.adapters.api_client import Conflict
from penstock_operator.adapters.job_source import JobSource
from penstock_operator.core.judge.counts import Reading, Tick
from penstock_operator.core.judge.decide import evidence_limits, judge_tick
from penstock_operator.core.judge.judgement import Verdict
from penstock_operator.core.judge.metrics import ErrorRateAgainstStable, OutcomeMetric
from penstock_operator.core.judge.state import EvidenceState
from penstock_operator.core.manifests.metric_job import metric_job_name
from penstock_operator.core.objects import Manifest
from penstock_operator.core.questions import Answer, Occasion, Question
from penstock_operator.ports import ClusterUnavailable, RequestRejected

STEP = Occasion(split="fraud", uid="u-1", revision="fraud-b", step="1.000/0")
QUESTION = Question(source="Job", namespace="shop", text="fraud-smoke", occasion=STEP)
CRON_JOB: Manifest = {
    "metadata": {"name": "fraud-smoke", "namespace": "shop"},
    "spec": {
        "suspend": True,
        "jobTemplate": {
            "metadata": {"labels": {"team": "risk"}},
            "spec": {
                "backoffLimit": 0,
                "template": {
                    "spec": {
                        "restartPolicy": "Never",
                        "containers": [
                            {"name": "smoke", "image": "smoke:1", "env": [{"name": "PENSTOCK_REVISION", "value": "?"}]}
                        ],
                    }
                },
            },
        },
    },
}


class FakeClient:
    """The API server's Jobs and CronJobs in memory."""

    def __init__(self) -> None:
        self.jobs: dict[str, Manifest] = {}
        self.cron_jobs = {"fraud-smoke": CRON_JOB}
        self.fails: Exception | None = None

    async def request(self, verb: Any, path: str, *, resource: str, body: Any = None) -> Manifest | None:
        if self.fails is not None:
            raise self.fails
        if verb == "create":
            assert path == "/apis/batch/v1/namespaces/shop/jobs"
            if body["metadata"]["name"] in self.jobs:
                raise Conflict("there is one")
            self.jobs[body["metadata"]["name"]] = body
            return dict(body)
        name = path.rpartition("/")[2]
        return (self.jobs if resource == "jobs" else self.cron_jobs).get(name)

    def end(self, type_: str, **condition: str) -> None:
        (job,) = self.jobs.values()
        job["status"] = {"conditions": [{"type": type_, "status": "True", **condition}]}


async def test_the_first_question_makes_the_job_and_the_next_ones_do_not() -> None:
    client = FakeClient()
    source = JobSource(client)
    assert "has begun" in (await source.answer(QUESTION)).absent
    assert "has not ended yet" in (await source.answer(QUESTION)).absent
    assert "has not ended yet" in (await JobSource(client).answer(QUESTION)).absent  # after a restart
    assert len(client.jobs) == 1


async def test_the_job_is_the_templates_and_knows_what_it_is_about() -> None:
    client = FakeClient()
    await JobSource(client).answer(QUESTION)
    (job,) = client.jobs.values()
    assert (
        job["metadata"]["ownerReferences"][0] | {"name": "fraud", "uid": "u-1"} == job["metadata"]["ownerReferences"][0]
    )
    assert job["metadata"]["labels"]["team"] == "risk"
    assert job["spec"]["backoffLimit"] == 0
    assert job["spec"]["ttlSecondsAfterFinished"] == 86_400
    (container,) = job["spec"]["template"]["spec"]["containers"]
    environment = {entry["name"]: entry["value"] for entry in container["env"]}
    assert environment["PENSTOCK_REVISION"] == "fraud-b"
    assert environment["PENSTOCK_URL"].startswith("http://fraud-b.shop.svc")
    assert len(container["env"]) == len(environment)
    assert "status" not in CRON_JOB
    assert CRON_JOB["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"] == "?"


@pytest.mark.parametrize(
    ("type_", "condition", "answer"),
    [
        ("Complete", {}, Answer(value=1.0, told="Job NAME completed")),
        (
            "Failed",
            {"reason": "BackoffLimitExceeded", "message": "Job has reached the specified backoff limit"},
            Answer(
                value=0.0,
                told="Job NAME failed: BackoffLimitExceeded: Job has reached the specified backoff limit",
            ),
        ),
    ],
)
async def test_how_it_ends_is_the_answer(type_: str, condition: dict[str, str], answer: Answer) -> None:
    client = FakeClient()
    source = JobSource(client)
    await source.answer(QUESTION)
    client.end(type_, **condition)
    found = await source.answer(QUESTION)
    assert found == Answer(value=answer.value, told=answer.told.replace("NAME", metric_job_name("fraud-smoke", STEP)))


async def test_another_step_or_revision_is_another_job() -> None:
    names = {
        metric_job_name(cron_job, occasion)
        for cron_job in ("fraud-smoke", "x" * 52)
        for occasion in (
            STEP,
            Occasion(split="fraud", uid="u-1", revision="fraud-b", step="1.000/1"),
            Occasion(split="fraud", uid="u-1", revision="fraud-c", step="1.000/0"),
            Occasion(split="fraud", uid="u-2", revision="fraud-b", step="1.000/0"),
        )
    }
    assert len(names) == 8
    assert max(map(len, names)) <= 63


async def test_a_job_of_somebody_else_is_left_alone() -> None:
    client = FakeClient()
    client.jobs[metric_job_name("fraud-smoke", STEP)] = {"metadata": {}, "status": {}}
    assert "belongs to somebody else" in (await JobSource(client).answer(QUESTION)).problem


@pytest.mark.parametrize(
    ("fails", "words"),
    [
        (RequestRejected("exceeded quota", 403, "Forbidden"), "refuses the Job: exceeded quota"),
        (ClusterUnavailable("no route"), "cannot be asked: no route"),
    ],
)
async def test_what_is_in_the_way_is_a_problem(fails: Exception, words: str) -> None:
    client = FakeClient()
    client.fails = fails
    assert words in (await JobSource(client).answer(QUESTION)).problem


async def test_a_missing_template_is_a_problem_that_names_it() -> None:
    client = FakeClient()
    client.cron_jobs.clear()
    assert "there is no CronJob fraud-smoke" in (await JobSource(client).answer(QUESTION)).problem


@pytest.mark.parametrize(
    ("reading", "verdict", "words"),
    [
        (None, Verdict.NO_DATA, "not been made"),
        (Reading(at=1.0, absent="has begun"), Verdict.NO_DATA, "has begun"),
        (Reading(at=1.0, problem="quota"), Verdict.ERROR, "quota"),
        (Reading(at=1.0, candidate=1.0, told="completed"), Verdict.PASS, "completed"),
        (Reading(at=1.0, candidate=0.0, told="failed: why"), Verdict.FAIL, "failed: why"),
    ],
    ids=["nothing", "running", "problem", "completed", "failed"],
)
def test_the_exit_is_the_verdict(reading: Reading | None, verdict: Verdict, words: str) -> None:
    metric = OutcomeMetric(name="smoke")
    state = EvidenceState.fresh(metric)
    tick = Tick(at=1.0, stable=None, candidate=None, readings={} if reading is None else {"smoke": reading})
    after, judgement = judge_tick(metric, state, tick, limit=20)
    assert after == state
    assert (judgement.verdict, words in judgement.message) == (verdict, True)
    assert (judgement.evidence >= judgement.limit) is (verdict is Verdict.FAIL)


def test_an_exit_takes_no_share_of_the_false_alarm_budget() -> None:
    limits = evidence_limits(
        [ErrorRateAgainstStable(name="errors"), OutcomeMetric(name="smoke")], false_alarms_per_rollout=0.05
    )
    assert limits["errors"] == 20.0
    assert evidence_limits([OutcomeMetric(name="smoke")], false_alarms_per_rollout=0.05)["smoke"] > 1


@pytest.mark.controlplane
async def test_a_real_api_server_takes_the_job_and_tells_how_it_ended(people: People, namespace: str) -> None:
    head = {"apiVersion": "penstock.dev/v1alpha1", "kind": "TrafficSplit"}
    spec = {"stable": {"modelDeployment": "fraud"}, "strategy": {"steps": [{"weight": 100}]}}
    split = await people.create({**head, "metadata": {"name": "fraud", "namespace": namespace}, "spec": spec})
    where = f"/apis/batch/v1/namespaces/{namespace}"
    template = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "fraud-smoke"},
        "spec": {"schedule": "0 0 1 1 *", **CRON_JOB["spec"]},
    }
    await people.client.request("create", f"{where}/cronjobs", resource="cronjobs", body=template)
    occasion = Occasion(split="fraud", uid=split["metadata"]["uid"], revision="fraud-b", step="1.000/0")
    question = Question(source="Job", namespace=namespace, text="fraud-smoke", occasion=occasion)
    source = JobSource(people.client)

    assert "has begun" in (await source.answer(question)).absent
    assert "has not ended yet" in (await source.answer(question)).absent
    job = await people.client.request(
        "get", f"{where}/jobs/{metric_job_name('fraud-smoke', occasion)}", resource="jobs"
    )
    assert job is not None
    assert job["metadata"]["ownerReferences"][0]["uid"] == split["metadata"]["uid"]
