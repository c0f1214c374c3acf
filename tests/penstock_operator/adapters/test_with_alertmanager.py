"""Letters to a real Alertmanager: it has the alert while it lasts, and not a moment longer."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.cluster.alertmanager import Alertmanager, running

from penstock_operator.adapters.guarded_http import guarded_session
from penstock_operator.adapters.secrets import Credentials
from penstock_operator.adapters.webhooks import Postman
from penstock_operator.core.alerting import Alert
from penstock_operator.core.letters import Letter
from penstock_operator.core.objects import Kind, ObjectRef

POLICY = ObjectRef(kind=Kind.DRIFT_POLICY, namespace="shop", name="guard")
LABELS = {"alertname": "PenstockInputDrift", "signal": "inputs/Betrag in € <b>", "policy": "guard"}


class Quiet:
    """Has no Secrets, and waits for deliveries."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()

    async def credentials(self, namespace: str, name: str) -> Credentials:
        raise AssertionError(f"nobody asked for {namespace}/{name}")

    def delivered(self, owner: ObjectRef, *, arrived: bool) -> None:
        assert owner == POLICY
        assert arrived
        self.ended.set()


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alertmanager]:
    with running(tmp_path_factory.mktemp("alertmanager"), "127.0.0.1") as found:
        yield found


def letter(url: str, **alert: Any) -> Letter:
    told = Alert(labels=tuple(LABELS.items()), summary="s", description="PSI 0.31", starts_at=time.time() - 60, **alert)
    return Letter(namespace="shop", url=url, id="uid-alerts", alerts=(told,), repeat_seconds=60.0)


async def test_it_has_the_alert_while_it_lasts_and_once_however_often_it_is_told(alertmanager: Alertmanager) -> None:
    quiet = Quiet()
    async with guarded_session(loopback=True) as session:
        postman = Postman(session, quiet, observer=quiet, loopback=True)
        sending = asyncio.create_task(postman.run())
        for told, standing in ((letter(alertmanager.url), 1), (letter(alertmanager.url, ends_at=time.time()), 0)):
            quiet.ended.clear()
            postman.hold(POLICY, {"alerts": told})
            async with asyncio.timeout(10):
                await quiet.ended.wait()
            alerts = await asyncio.to_thread(alertmanager.alerts, **LABELS)
            assert len(alerts) == standing
            assert [one["annotations"]["description"] for one in alerts] == ["PSI 0.31"] * standing
        sending.cancel()
        await asyncio.wait({sending})
