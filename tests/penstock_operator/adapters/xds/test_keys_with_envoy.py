"""Which revision a key gets while weights change, and requests that a header sends somewhere, with a real Envoy."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import pytest
from tests.penstock_operator.adapters.xds.plain import Revisions
from tests.penstock_operator.adapters.xds.rig import LOOPBACK, Rig, load

from penstock_operator.adapters.xds.route_table import REVISION_HEADER
from penstock_operator.core.routes import CookieKey, HeaderKey, HeaderMatch, MatchKind

pytestmark = pytest.mark.envoy

KEYS = [f"account-{number}" for number in range(10_000)]
STICKY = HeaderKey(name="x-account")
A_COOKIE = CookieKey(name="penstock", ttl_seconds=3600)


async def answers(port: int, requests: Sequence[Mapping[str, str]], *, connections: int = 8) -> list[dict[str, str]]:
    """Send requests with such headers and return the headers of the answers, in the order of the requests."""
    found: list[dict[str, str]] = [{} for _ in requests]

    async def send(first: int) -> None:
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        for index in range(first, len(requests), connections):
            lines = "".join(f"{name}: {value}\r\n" for name, value in requests[index].items())
            writer.write(f"GET /v2/models/fraud HTTP/1.1\r\nhost: fraud\r\n{lines}\r\n".encode())
            head, *rest = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
            assert head == "HTTP/1.1 200 OK"
            found[index] = dict(line.split(": ", 1) for line in rest)
            await reader.readexactly(int(found[index]["content-length"]))
        writer.close()

    await asyncio.gather(*(send(first) for first in range(connections)))
    return found


async def revisions_of(port: int, requests: Sequence[Mapping[str, str]]) -> list[str]:
    return [headers[REVISION_HEADER] for headers in await answers(port, requests)]


def moved(before: list[str], after: list[str]) -> Counter[tuple[str, str]]:
    return Counter((old, new) for old, new in zip(before, after, strict=True) if old != new)


async def test_only_the_needed_ones_of_ten_thousand_keys_move_while_weights_rise(rig: Rig) -> None:
    models = Revisions()
    await models.start("fraud-a", "fraud-b")
    await rig.router()
    seen: list[list[str]] = []
    for weight in (5, 25, 50):
        backends = models.backend("fraud-a", 100 - weight), models.backend("fraud-b", weight, keys_from=90)
        await rig.serve(rig.route(*backends, stickiness=STICKY))
        seen.append(await revisions_of(rig.port, [{"x-account": key} for key in KEYS]))
        # Four standard deviations of a binomial share at 10,000 keys are at most 0.02.
        assert abs(seen[-1].count("fraud-b") / len(KEYS) - weight / 100) < 0.02
    models.stop()
    for before, after in pairwise(seen):
        needed = after.count("fraud-b") - before.count("fraud-b")
        assert moved(before, after) == {("fraud-a", "fraud-b"): needed}


async def test_of_three_challengers_the_keys_of_a_loser_alone_move(rig: Rig) -> None:
    models = Revisions()
    await models.start("fraud-s", "fraud-x", "fraud-y", "fraud-z")
    await rig.router()
    keys = [{"x-account": key} for key in KEYS[:3000]]
    challengers = {"fraud-x": 95, "fraud-y": 15, "fraud-z": 35}

    async def assigned(*names: str) -> list[str]:
        backends = [models.backend(name, 20, challengers[name]) for name in names]
        await rig.serve(rig.route(models.backend("fraud-s", 100 - 20 * len(names)), *backends, stickiness=STICKY))
        return await revisions_of(rig.port, keys)

    three, two = await assigned("fraud-x", "fraud-y", "fraud-z"), await assigned("fraud-x", "fraud-z")
    models.stop()
    assert moved(three, two) == {("fraud-y", "fraud-s"): three.count("fraud-y")}


async def test_requests_without_the_key_are_spread_by_weight(rig: Rig) -> None:
    models = Revisions()
    await models.start("fraud-a", "fraud-b")
    await rig.router()
    await rig.serve(
        rig.route(models.backend("fraud-a", 75), models.backend("fraud-b", 25, keys_from=0), stickiness=STICKY)
    )
    seen = await revisions_of(rig.port, [{}] * 1500)
    models.stop()
    assert abs(seen.count("fraud-b") / len(seen) - 0.25) < 0.05


async def test_a_client_without_a_cookie_is_given_one_that_keeps_it_where_it_began(rig: Rig) -> None:
    models = Revisions()
    await models.start("fraud-a", "fraud-b")
    await rig.router()
    backends = models.backend("fraud-a", 50), models.backend("fraud-b", 50, keys_from=0)
    await rig.serve(rig.route(*backends, stickiness=A_COOKIE))
    first = await answers(rig.port, [{}] * 400)
    attributes = {answer["set-cookie"].partition("; ")[2] for answer in first}
    assert attributes == {"Path=/; Max-Age=3600; HttpOnly; SameSite=Lax"}
    cookies = [answer["set-cookie"].partition(";")[0] for answer in first]
    assert len(set(cookies)) == 400
    began = [answer[REVISION_HEADER] for answer in first]
    assert abs(began.count("fraud-b") / 400 - 0.5) < 0.12
    again = await answers(rig.port, [{"cookie": f"other=1; {cookie}; theme=dark"} for cookie in cookies])
    models.stop()
    assert [answer[REVISION_HEADER] for answer in again] == began
    assert not any("set-cookie" in answer for answer in again)


async def test_an_id_that_cannot_be_a_cookie_is_made_none(rig: Rig) -> None:
    models = Revisions()
    await models.start("fraud-a")
    await rig.router()
    await rig.serve(rig.route(models.backend("fraud-a", 100), stickiness=A_COOKIE))
    (answer,) = await answers(rig.port, [{"x-request-id": "x; Domain=example.com"}])
    models.stop()
    assert "set-cookie" not in answer


async def test_the_longest_name_of_a_cookie_is_taken(rig: Rig) -> None:
    models = Revisions()
    await models.start("fraud-a")
    await rig.router()
    name = "a.b-c_" + "$" * 58
    await rig.serve(rig.route(models.backend("fraud-a", 100), stickiness=CookieKey(name=name, ttl_seconds=60)))
    (first,) = await answers(rig.port, [{}])
    (second,) = await answers(rig.port, [{"cookie": first["set-cookie"].partition(";")[0]}])
    models.stop()
    assert first["set-cookie"].startswith(f"{name}=")
    assert "set-cookie" not in second


async def test_no_request_fails_while_stickiness_comes_and_goes(rig: Rig) -> None:
    good, new = await rig.model("fraud-a"), await rig.model("fraud-b")
    await rig.router()
    await rig.serve(rig.route(good.backend(50), new.backend(50)))
    async with load(rig.url()) as seen:
        for stickiness in (STICKY, A_COOKIE, None, A_COOKIE, None):
            await rig.serve(rig.route(good.backend(50), new.backend(50, keys_from=7), stickiness=stickiness))
            await asyncio.sleep(0.1)
    assert seen.failures == []
    assert seen.answers.keys() == {"fraud-a", "fraud-b"}


def header(name: str, kind: MatchKind, revision: str, value: str = "") -> HeaderMatch:
    return HeaderMatch(header=name, kind=kind, value=value, revision=revision)


async def test_the_first_match_wins_before_weights_and_keys(rig: Rig) -> None:
    models = Revisions()
    await models.start("fraud-a", "fraud-b", "fraud-c")
    await rig.router()
    matches = (
        header("x-beta", MatchKind.EXACT, "fraud-b", "yes"),
        header("x-team", MatchKind.PREFIX, "fraud-c", "risk-"),
        header("x-beta", MatchKind.PRESENT, "fraud-c"),
    )
    backends = models.backend("fraud-a", 100), models.backend("fraud-b", 0), models.backend("fraud-c", 0)
    await rig.serve(rig.route(*backends, matches=matches, stickiness=STICKY))
    expected: list[tuple[dict[str, Any], str]] = [
        ({"x-beta": "yes"}, "fraud-b"),
        ({"x-beta": "yes", "x-team": "risk-1"}, "fraud-b"),
        ({"X-Beta": "no", "x-account": "account-1"}, "fraud-c"),
        ({"x-team": "risk-1"}, "fraud-c"),
        ({"x-team": "no-risk-1"}, "fraud-a"),
        ({}, "fraud-a"),
    ]
    seen = await revisions_of(rig.port, [headers for headers, _ in expected])
    models.stop()
    assert seen == [revision for _, revision in expected]
