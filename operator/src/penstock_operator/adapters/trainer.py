"""Starts trainings: reads CronJobs by name, makes Jobs with the ConfigMaps that they read."""

from penstock_operator.adapters.api_client import ApiClient, Conflict
from penstock_operator.core.manifests.ownership import shares_an_owner
from penstock_operator.core.objects import Manifest
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

    async def _create(self, path: str, resource: str, body: Manifest) -> bool:
        """Return whether an object was made; one of that name may be there from a try whose end was never seen."""
        try:
            await self._client.request("create", path, resource=resource, body=body)
        except Conflict:
            return False
        return True


def _job(namespace: str, name: str) -> str:
    return f"/apis/batch/v1/namespaces/{namespace}/jobs/{name}"
