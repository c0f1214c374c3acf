"""Letters to real endpoints on loopback: tried again, told again, and what a person reads when they do not arrive."""

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from penstock_operator.adapters.guarded_http import guarded_session
from penstock_operator.adapters.secrets import Credentials, SecretReader, SecretUnusable, credentials_of
from penstock_operator.adapters.webhooks import Postman
from penstock_operator.core.alerting import Alert
from penstock_operator.core.letters import Delivery, Letter
from penstock_operator.core.objects import Kind, ObjectRef
from penstock_operator.ports import RequestRejected

POLICY = ObjectRef(kind=Kind.DRIFT_POLICY, namespace="shop", name="guard")
OTHER = ObjectRef(kind=Kind.DRIFT_POLICY, namespace="shop", name="other")
START = 1_800_000_000.0


class Endpoint:
    """An endpoint that answers as the test says, and keeps what it was sent."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.received: list[tuple[dict[str, str], Any]] = []
        self.hangs = False

    async def handle(self, request: web.Request) -> web.Response:
        self.received.append((dict(request.headers), await request.json()))
        if self.hangs:
            await asyncio.Event().wait()
        status = self.answers.pop(0) if self.answers else 200
        return web.Response(status=status, headers={"Location": "http://127.0.0.1:1/"} if status == 307 else {})


class Safe:
    """Secrets in memory."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], Credentials] = {}

    async def credentials(self, namespace: str, name: str) -> Credentials:
        if (namespace, name) not in self.kept:
            raise SecretUnusable(f"there is no Secret {name} in this namespace")
        return self.kept[namespace, name]


class Office:
    """A postman at work, with a clock that the test moves."""

    def __init__(self, *, loopback: bool = True, hosts: tuple[str, ...] = ()) -> None:
        self.seconds = 0.0
        self.counted: list[bool] = []
        self.changed = asyncio.Event()
        self.safe = Safe()
        self.session = guarded_session(loopback=loopback)
        self.postman = Postman(
            self.session,
            self.safe,
            observer=self,
            now=lambda: START + self.seconds,
            monotonic=lambda: self.seconds,
            hosts=hosts,
            loopback=loopback,
            timeout_seconds=0.3,
        )
        self.running = asyncio.create_task(self.postman.run())

    def delivered(self, owner: ObjectRef, *, arrived: bool) -> None:
        assert owner.namespace == "shop"
        self.counted.append(arrived)
        self.changed.set()

    async def after(self, seconds: float, letter: Letter, tries: int, owner: ObjectRef = POLICY) -> Delivery | None:
        """Let time pass and wait until so many tries have ended."""
        self.seconds += seconds
        self.postman._wake.set()
        async with asyncio.timeout(5):
            while len(self.counted) < tries:
                self.changed.clear()
                await self.changed.wait()
        return self.postman.hold(owner, {"alerts": letter}).get("alerts")

    async def close(self) -> None:
        self.running.cancel()
        await asyncio.wait({self.running})
        await self.session.close()


@pytest.fixture
async def endpoint() -> Endpoint:
    return Endpoint()


@pytest.fixture
async def url(endpoint: Endpoint) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/api/v2/alerts", endpoint.handle)
    server = TestServer(app)
    await server.start_server()
    yield str(server.make_url("/api/v2/alerts"))
    await server.close()


@pytest.fixture
async def office() -> AsyncIterator[Office]:
    made = Office()
    yield made
    await made.close()


def alert(signal: str = "inputs/amount", ends_at: float | None = None) -> Alert:
    labels = (("alertname", "PenstockInputDrift"), ("signal", signal))
    return Alert(labels=labels, summary="s", description="d", starts_at=START, ends_at=ends_at)


def letter(url: str, *alerts: Alert, **changes: Any) -> Letter:
    return Letter(namespace="shop", url=url, id="uid-alerts", alerts=alerts, repeat_seconds=300.0, **changes)


async def test_alerts_arrive_as_alertmanager_takes_them(office: Office, endpoint: Endpoint, url: str) -> None:
    sent = letter(url, alert())
    assert office.postman.hold(POLICY, {"alerts": sent}) == {}
    assert await office.after(0, sent, 1) == Delivery(arrived=True)
    headers, body = endpoint.received[0]
    assert headers["Content-Type"] == "application/json"
    assert body[0]["labels"] == {"alertname": "PenstockInputDrift", "signal": "inputs/amount"}
    assert body[0]["startsAt"] == "2027-01-15T08:00:00.000Z"
    assert body[0]["endsAt"] == "2027-01-15T08:15:00.000Z"


async def test_an_alert_that_lasts_is_told_again_and_one_that_ends_at_once(
    office: Office, endpoint: Endpoint, url: str
) -> None:
    sent = letter(url, alert())
    office.postman.hold(POLICY, {"alerts": sent})
    await office.after(0, sent, 1)
    await office.after(299, letter(url, alert()), 1)
    assert len(endpoint.received) == 1
    await office.after(2, sent, 2)
    ended = letter(url, alert(ends_at=START + 302))
    office.postman.hold(POLICY, {"alerts": ended})
    await office.after(1, ended, 3)
    assert [body[0]["endsAt"] for _, body in endpoint.received] == [
        "2027-01-15T08:15:00.000Z",
        "2027-01-15T08:20:01.000Z",
        "2027-01-15T08:05:02.000Z",
    ]


async def test_an_endpoint_that_answers_500_is_tried_again_after_longer_and_longer(
    office: Office, endpoint: Endpoint, url: str
) -> None:
    endpoint.answers = [500, 503, 200]
    sent = letter(url, alert())
    office.postman.hold(POLICY, {"alerts": sent})
    first = await office.after(0, sent, 1)
    assert first is not None
    assert not first.arrived
    assert first.message.endswith("answered 500")
    second = await office.after(1.3, sent, 2)
    assert second is not None
    assert second.tries == 2
    assert await office.after(2.5, sent, 3) == Delivery(arrived=True)
    assert office.counted == [False, False, True]


async def test_an_endpoint_that_hangs_is_given_up_and_holds_up_nobody_else(
    office: Office, endpoint: Endpoint, url: str
) -> None:
    endpoint.hangs = True
    stuck = letter(url, alert())
    office.postman.hold(POLICY, {"alerts": stuck})
    nowhere = letter("http://127.0.0.1:1/", alert())
    office.postman.hold(OTHER, {"alerts": nowhere})
    refused = await office.after(0, nowhere, 1, OTHER)
    assert refused is not None
    assert "127.0.0.1:1 cannot be reached" in refused.message
    hung = await office.after(0, stuck, 2)
    assert hung is not None
    assert "did not answer within 0.3 s" in hung.message


async def test_a_redirect_is_not_followed(office: Office, endpoint: Endpoint, url: str) -> None:
    endpoint.answers = [307]
    sent = letter(url, alert())
    office.postman.hold(POLICY, {"alerts": sent})
    delivery = await office.after(0, sent, 1)
    assert delivery is not None
    assert "redirects (307); write the url that it leads to" in delivery.message
    assert len(endpoint.received) == 1


async def test_a_document_is_sent_until_it_arrives_and_then_never_again(
    office: Office, endpoint: Endpoint, url: str
) -> None:
    endpoint.answers = [500]
    sent = Letter(namespace="shop", url=url, id="fraud-retrain-1", document={"schema": "penstock.retrain/v1"})
    office.postman.hold(POLICY, {"alerts": sent})
    await office.after(0, sent, 1)
    await office.after(1.3, sent, 2)
    await office.after(100_000, sent, 2)
    assert [headers["Idempotency-Key"] for headers, _ in endpoint.received] == ["fraud-retrain-1"] * 2
    assert endpoint.received[1][1] == {"schema": "penstock.retrain/v1"}


async def test_an_empty_list_shows_a_wrong_address_before_the_first_alarm(
    office: Office, endpoint: Endpoint, url: str
) -> None:
    sent = letter(url)
    office.postman.hold(POLICY, {"alerts": sent})
    assert await office.after(0, sent, 1) == Delivery(arrived=True)
    assert endpoint.received[0][1] == []
    await office.after(100_000, sent, 1)
    assert len(endpoint.received) == 1


async def test_a_policy_that_is_gone_is_told_of_no_more(office: Office, endpoint: Endpoint, url: str) -> None:
    sent = letter(url, alert())
    office.postman.hold(POLICY, {"alerts": sent})
    await office.after(0, sent, 1)
    office.postman.hold(POLICY, {})
    office.seconds += 10_000
    office.postman._wake.set()
    await asyncio.sleep(0.05)
    assert len(endpoint.received) == 1


@pytest.mark.parametrize(
    ("address", "said"),
    [
        pytest.param("http://169.254.169.254/latest", "a link-local or metadata address", id="metadata service"),
        pytest.param("http://[::ffff:169.254.169.254]/", "a link-local or metadata address", id="the same as IPv6"),
        pytest.param("http://127.0.0.1:8080/", "not the address of a server elsewhere", id="this process"),
        pytest.param("http://localhost:8080/", "not the address of a server elsewhere", id="this process by name"),
        pytest.param("http://0.0.0.0/", "not the address of a server elsewhere", id="everywhere"),
    ],
)
async def test_where_secrets_live_nothing_is_sent(address: str, said: str) -> None:
    office = Office(loopback=False)
    sent = letter(address, alert())
    office.postman.hold(POLICY, {"alerts": sent})
    delivery = await office.after(0, sent, 1)
    await office.close()
    assert delivery is not None
    assert said in delivery.message


@pytest.mark.parametrize(
    ("hosts", "arrived"),
    [
        pytest.param((), True, id="no list"),
        pytest.param(("127.0.0.1",), True, id="the host"),
        pytest.param((".0.0.1",), True, id="all below"),
        pytest.param(("27.0.0.1", "alerts.example.com"), False, id="others"),
    ],
)
async def test_only_listed_hosts_are_sent_to(
    endpoint: Endpoint, url: str, hosts: tuple[str, ...], *, arrived: bool
) -> None:
    office = Office(hosts=hosts)
    sent = letter(url, alert())
    office.postman.hold(POLICY, {"alerts": sent})
    delivery = await office.after(0, sent, 1)
    await office.close()
    assert delivery is not None
    assert delivery.arrived == arrived
    assert len(endpoint.received) == arrived
    assert arrived or "this operator sends nothing to 127.0.0.1" in delivery.message


async def test_credentials_go_along_and_are_shown_nowhere(
    office: Office, endpoint: Endpoint, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    office.safe.kept["shop", "am"] = credentials_of("am", {"token": base64.b64encode(b"hunter2\n").decode()})
    endpoint.answers = [500]
    sent = letter(url, alert(), secret_name="am")
    office.postman.hold(POLICY, {"alerts": sent})
    with caplog.at_level("DEBUG"):
        delivery = await office.after(0, sent, 1)
    assert endpoint.received[0][0]["Authorization"] == "Bearer hunter2"
    assert "hunter2" not in caplog.text + repr(delivery) + repr(office.safe.kept)


async def test_a_secret_that_is_missing_is_told_and_nothing_is_sent_without_it(
    office: Office, endpoint: Endpoint, url: str
) -> None:
    sent = letter(url, alert(), secret_name="am")
    office.postman.hold(POLICY, {"alerts": sent})
    delivery = await office.after(0, sent, 1)
    assert delivery is not None
    assert "there is no Secret am" in delivery.message
    assert endpoint.received == []


async def test_what_nobody_foresaw_is_told_and_tried_again_later(office: Office, url: str) -> None:
    sent = letter(url, alert(), secret_name="am")

    async def broken(namespace: str, name: str) -> Credentials:
        raise KeyError(f"{namespace}/{name}")

    office.safe.credentials = broken  # type: ignore[method-assign]
    office.postman.hold(POLICY, {"alerts": sent})
    delivery = await office.after(0, sent, 1)
    assert delivery is not None
    assert delivery.message == "a fault of the operator: KeyError; its log has more"
    await office.after(1.3, sent, 2)
    assert office.counted == [False, False]


def keys(**values: str) -> dict[str, str]:
    return {name.replace("_", "."): base64.b64encode(value.encode()).decode() for name, value in values.items()}


def test_a_secret_says_who_calls_in_three_ways() -> None:
    assert credentials_of("s", keys(username="jane", password="x")).headers == {"Authorization": "Basic amFuZTp4"}
    assert credentials_of("s", keys(header="X-Api-Key", value="x")).headers == {"X-Api-Key": "x"}
    assert credentials_of("s", keys(token="x")).headers == {"Authorization": "Bearer x"}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        pytest.param(keys(passwort="x"), "neither token, nor username and password", id="other keys"),
        pytest.param(keys(token="x\r\nHost: evil"), "no HTTP header may have", id="another header"),
        pytest.param(keys(header="X Y", value="x"), "no HTTP header may have", id="no header's name"),
        pytest.param(keys(ca_crt="x"), "no certificate in PEM form", id="no certificate"),
        pytest.param({"token": "%"}, "holds something that is no text", id="not base64"),
    ],
)
def test_a_secret_that_cannot_be_used_is_told_without_its_values(data: dict[str, str], said: str) -> None:
    with pytest.raises(SecretUnusable, match=said):
        credentials_of("s", data)


class Refusing:
    """An API server that does not let us read."""

    async def request(self, *_: object, **__: object) -> None:
        raise RequestRejected("get secrets: 403", 403, "Forbidden")


async def test_who_may_not_read_a_secret_says_how_to_allow_it() -> None:
    reader = SecretReader(Refusing(), account="penstock-system:penstock-operator")  # type: ignore[arg-type]
    with pytest.raises(SecretUnusable) as refused:
        await reader.credentials("shop", "am")
    said = str(refused.value)
    assert "kubectl -n shop create role penstock-reads-am --verb=get --resource=secrets --resource-name=am" in said
    assert "--serviceaccount=penstock-system:penstock-operator" in said
