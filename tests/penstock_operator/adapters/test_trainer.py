"""Trainings and Secrets at a real API server: one Job for one name, and a Secret only where somebody has allowed it."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.fakes.people import People
from tests.penstock_operator.adapters.xds.rig import until
from tests.penstock_operator.core.alarms import START, alarm

from penstock_operator.adapters.api_client import load_access
from penstock_operator.adapters.secrets import SecretReader, SecretUnusable
from penstock_operator.adapters.trainer import JobTrainer
from penstock_operator.api.v1alpha1.drift_policy import ModelUpdate
from penstock_operator.core.model_update import (
    FIELD_MANAGER,
    MESSAGE_KEY,
    is_in_force,
    owners_of,
    published,
    refusal,
    update_of,
)
from penstock_operator.core.objects import Kind, Manifest, ObjectRef
from penstock_operator.core.retraining import environment, job_of, report, report_map, report_text, training_of
from penstock_operator.ports import ClusterUnavailable, RequestRejected

pytestmark = pytest.mark.controlplane

CRON_JOB = """
apiVersion: batch/v1
kind: CronJob
metadata: {name: train}
spec:
  suspend: true
  schedule: "0 0 1 1 *"
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers: [{name: train, image: "train:7"}]
"""
MODEL = {"uri": "s3://m/4/model.onnx", "sha256": "4" * 64, "version": "4", "profile": {"sha256": "5" * 64}}
POLICY = {"target": {"name": "fraud"}, "metrics": [{"name": "errors", "source": "ErrorRate", "against": "Stable"}]}


def with_token(token: str, kubeconfig: Path, own: Path) -> Path:
    """Write the administrator's kubeconfig with a token instead of the certificate."""
    config = yaml.safe_load(kubeconfig.read_text())
    config["users"] = [{"name": config["users"][0]["name"], "user": {"token": token}}]
    own.write_text(yaml.safe_dump(config))
    return own


async def policy(people: People, namespace: str) -> Manifest:
    """Create a policy that owns trainings."""
    head: dict[str, Any] = {"apiVersion": "penstock.dev/v1alpha1", "kind": "DriftPolicy"}
    created = await people.create({**head, "metadata": {"name": "guard", "namespace": namespace}, "spec": POLICY})
    return {**head, **created}


async def test_a_training_is_begun_once_however_often_it_is_asked_for(people: People, namespace: str) -> None:
    where = f"/apis/batch/v1/namespaces/{namespace}/cronjobs"
    await people.client.request("create", where, resource="cronjobs", body=yaml.safe_load(CRON_JOB))
    trainer = JobTrainer(people.client)
    cron_job = await trainer.cron_job(namespace, "train")
    assert cron_job is not None
    assert await trainer.cron_job(namespace, "missing") is None
    owner = await policy(people, namespace)
    training = training_of(alarm(), identity=owner["metadata"]["uid"], now=START)
    told = environment(owner, training, alarm(), {})
    job = job_of(owner, training, cron_job, told)
    paper = report_map(owner, training, report_text(report(owner, training, alarm(), {})))
    assert await trainer.start(job, paper)
    first = await trainer.job(namespace, training.name)
    assert await trainer.start(job, paper)
    second = await trainer.job(namespace, training.name)
    assert first is not None
    assert second is not None
    assert first["metadata"]["uid"] == second["metadata"]["uid"]
    (container,) = second["spec"]["template"]["spec"]["containers"]
    assert {"name": "PENSTOCK_ALARM", "value": "inputs/amount"} in container["env"]


async def test_a_job_of_that_name_that_is_somebody_elses_is_left_alone(people: People, namespace: str) -> None:
    owner = await policy(people, namespace)
    training = training_of(alarm(), identity="uid", now=START)
    template = yaml.safe_load(CRON_JOB)["spec"]["jobTemplate"]
    theirs = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": training.name, "namespace": namespace},
        "spec": template["spec"],
    }
    where = f"/apis/batch/v1/namespaces/{namespace}/jobs"
    await people.client.request("create", where, resource="jobs", body=theirs)
    job = job_of(owner, training, yaml.safe_load(CRON_JOB), environment(owner, training, alarm(), {}))
    assert not await JobTrainer(people.client).start(job, report_map(owner, training, "{}"))


async def test_what_a_training_said_is_read_from_its_pods(people: People, namespace: str) -> None:
    owner = await policy(people, namespace)
    training = training_of(alarm(), identity="uid", now=START)
    job = job_of(owner, training, yaml.safe_load(CRON_JOB), {})
    trainer = JobTrainer(people.client)
    assert await trainer.start(job, report_map(owner, training, "{}"))
    while not (pods := await people.list(Kind.POD, namespace, f"batch.kubernetes.io/job-name={training.name}")):  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    assert await trainer.said(namespace, training.name) == []
    words = json.dumps({MESSAGE_KEY: MODEL})
    ended = {"exitCode": 0, "message": words, "reason": "Completed"}
    container = {"name": "train", "image": "train:7", "imageID": "", "ready": False, "restartCount": 0}
    status = {"phase": "Succeeded", "containerStatuses": [{**container, "state": {"terminated": ended}}]}
    pod = ObjectRef(kind=Kind.POD, namespace=namespace, name=pods[0]["metadata"]["name"])
    await people.patch(pod, {"status": status}, subresource="/status")
    assert published(await trainer.said(namespace, training.name)) == MODEL


async def test_only_the_model_is_applied_and_its_owner_is_known(people: People, namespace: str) -> None:
    trainer = JobTrainer(people.client)
    assert await trainer.model_deployment(namespace, "fraud") is None
    await people.create(
        {
            "apiVersion": "penstock.dev/v1alpha1",
            "kind": "ModelDeployment",
            "metadata": {"name": "fraud", "namespace": namespace},
            "spec": {
                "model": {"uri": "s3://m/3/model.onnx", "sha256": "3" * 64, "credentials": {"secretName": "s3"}},
                "replicas": 3,
            },
        }
    )
    live = await trainer.model_deployment(namespace, "fraud")
    assert live is not None
    (owner,) = set(owners_of(live, MODEL))
    told = refusal(live, MODEL, ModelUpdate(model_deployment="fraud"))
    assert told is not None
    assert owner in told.message
    assert refusal(live, MODEL, ModelUpdate(model_deployment="fraud", take_from=[owner])) is None
    await trainer.update(update_of(live, MODEL))
    updated = await trainer.model_deployment(namespace, "fraud")
    assert updated is not None
    assert updated["spec"]["model"] == {**MODEL, "credentials": {"secretName": "s3"}}
    assert updated["spec"]["replicas"] == 3
    assert set(owners_of(updated, {**MODEL, "version": "5"})) == {FIELD_MANAGER}
    assert is_in_force(updated, MODEL)
    # What was looked at is not there any more: nothing is written on top of somebody's change.
    with pytest.raises(ClusterUnavailable):
        await trainer.update(update_of(live, {**MODEL, "version": "6"}))
    with pytest.raises(RequestRejected, match="uri"):
        await trainer.update(update_of(updated, {**MODEL, "uri": "ftp://somewhere"}))


async def test_a_secret_is_read_only_where_somebody_has_allowed_it(
    people: People, namespace: str, kubeconfig: Path, tmp_path: Path
) -> None:
    core = f"/api/v1/namespaces/{namespace}"
    body: dict[str, Any] = {"metadata": {"name": "am"}, "stringData": {"token": "hunter2"}}
    await people.client.request("create", f"{core}/secrets", resource="secrets", body=body)
    account = {"metadata": {"name": "reader"}}
    await people.client.request("create", f"{core}/serviceaccounts", resource="serviceaccounts", body=account)
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    where = f"{core}/serviceaccounts/reader/token"
    answer = await people.client.request("create", where, resource="serviceaccounts", body=request)
    assert answer is not None
    own = with_token(str(answer["status"]["token"]), kubeconfig, tmp_path / "kubeconfig")
    async with People(await load_access(str(own))) as operator:
        reader = SecretReader(operator.client, account=f"{namespace}:reader")
        with pytest.raises(SecretUnusable, match="create role penstock-reads-am") as refused:
            await reader.credentials(namespace, "am")
        assert "hunter2" not in str(refused.value)
        await _allow(people, namespace)

        async def allowed() -> bool:
            """The API server's own authorizer takes a moment to see a new binding."""
            try:
                return (await reader.credentials(namespace, "am")).headers == {"Authorization": "Bearer hunter2"}
            except SecretUnusable:
                return False

        await until(allowed)


async def test_a_secret_that_is_not_there_is_told(people: People, namespace: str) -> None:
    reader = SecretReader(people.client, account="x:y")
    with pytest.raises(SecretUnusable, match="there is no Secret am in this namespace"):
        await reader.credentials(namespace, "am")


async def _allow(people: People, namespace: str) -> None:
    """Do what the two commands of the message do."""
    where = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
    rule = {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["am"], "verbs": ["get"]}
    role = {"metadata": {"name": "penstock-reads-am"}, "rules": [rule]}
    await people.client.request("create", f"{where}/roles", resource="roles", body=role)
    binding = {
        "metadata": {"name": "penstock-reads-am"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "penstock-reads-am"},
        "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": namespace}],
    }
    await people.client.request("create", f"{where}/rolebindings", resource="rolebindings", body=binding)
