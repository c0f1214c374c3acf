"""Endpoints and trainings in memory: what was sent, what was begun, and how it goes."""

from collections.abc import Mapping, Sequence

from penstock_operator.core.letters import Delivery, Letter
from penstock_operator.core.manifests.ownership import shares_an_owner
from penstock_operator.core.objects import Manifest, ObjectRef
from penstock_operator.ports import RequestRejected


class FakeLetterBox:
    """Implements the LetterBox port; every letter arrives at once unless ``trouble`` says what goes wrong."""

    def __init__(self) -> None:
        self.held: dict[ObjectRef, Mapping[str, Letter]] = {}
        self.trouble: str | None = None
        self.away = False

    def hold(self, owner: ObjectRef, letters: Mapping[str, Letter]) -> Mapping[str, Delivery]:
        """Keep the letters; say how it goes."""
        self.held[owner] = dict(letters)
        if self.away:
            return {}
        delivery = Delivery(arrived=self.trouble is None, message=self.trouble or "")
        return dict.fromkeys(letters, delivery)


class FakeTrainer:
    """Implements the Trainer port."""

    def __init__(self) -> None:
        self.cron_jobs: dict[tuple[str, str], Manifest] = {}
        self.jobs: dict[tuple[str, str], Manifest] = {}
        self.reports: dict[tuple[str, str], Manifest] = {}
        self.starts = 0
        self.refusal: RequestRejected | None = None
        self.messages: dict[tuple[str, str], list[str]] = {}
        self.deployments: dict[tuple[str, str], Manifest] = {}
        self.updates: list[Manifest] = []

    async def cron_job(self, namespace: str, name: str) -> Manifest | None:
        """Return a CronJob, or None."""
        return self.cron_jobs.get((namespace, name))

    async def job(self, namespace: str, name: str) -> Manifest | None:
        """Return a Job, or None."""
        return self.jobs.get((namespace, name))

    async def start(self, job: Manifest, report: Manifest) -> bool:
        """Make a Job after its report; what is there already stays."""
        if self.refusal is not None:
            raise self.refusal
        key = job["metadata"]["namespace"], job["metadata"]["name"]
        self.starts += 1
        self.reports.setdefault(key, report)
        return shares_an_owner(self.jobs.setdefault(key, job), job)

    async def said(self, namespace: str, job: str) -> Sequence[str]:
        """Return the termination messages of a Job's containers."""
        return self.messages.get((namespace, job), [])

    async def model_deployment(self, namespace: str, name: str) -> Manifest | None:
        """Return a ModelDeployment, or None."""
        return self.deployments.get((namespace, name))

    async def update(self, model_deployment: Manifest) -> None:
        """Change the fields that are named."""
        if self.refusal is not None:
            raise self.refusal
        key = model_deployment["metadata"]["namespace"], model_deployment["metadata"]["name"]
        self.updates.append(model_deployment)
        self.deployments[key]["spec"]["model"].update(model_deployment["spec"]["model"])
