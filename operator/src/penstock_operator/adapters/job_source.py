"""Makes the Jobs whose exits are metrics, and reads how they ended."""

from typing import Any, Protocol

from penstock_operator.adapters.api_client import Conflict
from penstock_operator.core.manifests.metric_job import metric_job, metric_job_name
from penstock_operator.core.manifests.ownership import owner_uids
from penstock_operator.core.objects import Manifest
from penstock_operator.core.questions import Answer, Question, job_answer
from penstock_operator.journal import note
from penstock_operator.ports import ClusterUnavailable, NotLeading, RequestRejected


class Client(Protocol):
    """The API client, as far as it is used here."""

    async def request(self, verb: Any, path: str, *, resource: str, body: Any = None) -> Manifest | None:
        """Send one request; None for an object that is not there."""


class JobSource:
    """Implements the MetricSource port; without a watch, because a Job is looked at for one step only."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def answer(self, question: Question) -> Answer:
        """Return how the Job of an occasion ended; it is made if it is not there. Never raises."""
        if question.occasion is None:
            return Answer(problem="a Job is made for a step of a rollout only")
        try:
            return await self._asked(question)
        except RequestRejected as error:
            return Answer(problem=f"the API server refuses the Job: {error}")
        except (ClusterUnavailable, NotLeading) as error:
            return Answer(problem=f"the API server cannot be asked: {error}")

    async def _asked(self, question: Question) -> Answer:
        assert question.occasion is not None
        namespace, name = question.namespace, metric_job_name(question.text, question.occasion)
        jobs = f"/apis/batch/v1/namespaces/{namespace}/jobs"
        live = await self._client.request("get", f"{jobs}/{name}", resource="jobs")
        if live is not None:
            if question.occasion.uid not in owner_uids(live):
                return Answer(problem=f"Job {name} belongs to somebody else; rename or delete it")
            return job_answer(name, live)
        path = f"/apis/batch/v1/namespaces/{namespace}/cronjobs/{question.text}"
        cron_job = await self._client.request("get", path, resource="cronjobs")
        if cron_job is None:
            words = (
                f"there is no CronJob {question.text} in this namespace; create it, suspended, or correct job.cronJob"
            )
            return Answer(problem=words)
        try:
            await self._client.request("create", jobs, resource="jobs", body=metric_job(cron_job, question.occasion))
        except Conflict:
            return Answer(absent=f"Job {name} has not ended yet")
        note(f"started job/{name}")
        return Answer(absent=f"Job {name} has begun")
