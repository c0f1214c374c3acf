"""Starts trainings: reads CronJobs by name, makes Jobs with the ConfigMaps that they read."""

from collections.abc import Sequence

from penstock_operator.adapters.api_client import ApiClient, Conflict
from penstock_operator.adapters.kubernetes import collection_path, path
from penstock_operator.core.manifests.ownership import shares_an_owner
from penstock_operator.core.model_update import FIELD_MANAGER, messages_of
from penstock_operator.core.objects import Kind, Manifest, ObjectRef, ref_of
from penstock_operator.journal import note


class JobTrainer:
    """Implements the Trainer port without a watch: trainings are rare, and looked at while they run."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    async def cron_job(self, namespace: str, name: str) -> Manifest | None:
        """Return a CronJob, or None."""
        path = f"/apis/batch/v1/namespaces/{namespace}/cronjobs/{name}"
        return await self._client.request("get", path, resource="cronjobs")

    async def job(self, namespace: str, name: str) -> Manifest | None:
        """Return a Job, or None."""
        return await self._client.request("get", _job(namespace, name), resource="jobs")

    async def start(self, job: Manifest, report: Manifest) -> bool:
        """Make the report and then the Job; what is there already stays. Return False where the Job is another's."""
        namespace, name = job["metadata"]["namespace"], job["metadata"]["name"]
        live = await self.job(namespace, name)
        if live is None:
            await self._create(f"/api/v1/namespaces/{namespace}/configmaps", "configmaps", report)
            if await self._create(f"/apis/batch/v1/namespaces/{namespace}/jobs", "jobs", job):
                note(f"started job/{name}")
                return True
            live = await self.job(namespace, name)
        return live is None or shares_an_owner(live, job)

    async def said(self, namespace: str, job: str) -> Sequence[str]:
        """Return the termination messages of a Job's containers that ended well, the newest pod's first."""
        query = {"labelSelector": f"batch.kubernetes.io/job-name={job}"}
        where = collection_path(Kind.POD, namespace)
        found = await self._client.request("list", where, resource="pods", query=query)
        return messages_of((found or {}).get("items") or ())

    async def model_deployment(self, namespace: str, name: str) -> Manifest | None:
        """Return a ModelDeployment with the managers of its fields, or None."""
        where = path(ObjectRef(kind=Kind.MODEL_DEPLOYMENT, namespace=namespace, name=name))
        return await self._client.request("get", where, resource="modeldeployments")

    async def update(self, model_deployment: Manifest) -> None:
        """Apply fields of a ModelDeployment; ClusterUnavailable where it has changed since it was seen."""
        where = path(ref_of(Kind.MODEL_DEPLOYMENT, model_deployment))
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        await self._client.request("apply", where, resource="modeldeployments", body=model_deployment, query=query)
        note(f"updated modeldeployment/{model_deployment['metadata']['name']}")

    async def _create(self, path: str, resource: str, body: Manifest) -> bool:
        """Return whether an object was made; one of that name may be there from a try whose end was never seen."""
        try:
            await self._client.request("create", path, resource=resource, body=body)
        except Conflict:
            return False
        return True


def _job(namespace: str, name: str) -> str:
    return f"/apis/batch/v1/namespaces/{namespace}/jobs/{name}"
