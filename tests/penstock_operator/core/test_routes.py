"""What a route may ask for."""

from typing import Any

import pytest

from penstock_operator.core.routes import Backend, CookieKey, HeaderKey, HeaderMatch, MatchKind, Mirror, SplitRoute


def backend(revision: str, weight: int, **more: Any) -> Backend:
    return Backend(revision=revision, host=f"{revision}.shop.svc", port=8080, weight=weight, **more)


def route(*backends: Backend, **more: Any) -> SplitRoute:
    return SplitRoute(
        namespace="shop", split="fraud", port=10_000, backends=backends, request_timeout_seconds=3, **more
    )


def beta(revision: str) -> HeaderMatch:
    return HeaderMatch(header="x-beta", kind=MatchKind.PRESENT, revision=revision)


@pytest.mark.parametrize("weights", [(100, 1), (99,), (101, -1), ()], ids=["more", "less", "negative", "none"])
def test_weights_that_would_lose_requests_are_refused(weights: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="must be >= 0 and sum to 100"):
        route(*(backend(f"r-{index}", weight) for index, weight in enumerate(weights)))


def test_a_revision_that_is_named_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="name a revision twice: a, a"):
        route(backend("a", 50), backend("a", 50))


@pytest.mark.parametrize(
    ("what", "more"),
    [
        pytest.param("match", {"matches": (beta("a"), beta("z"))}, id="match"),
        pytest.param("mirror", {"mirrors": (Mirror(revision="z", percent=5),)}, id="mirror"),
    ],
)
def test_a_revision_that_is_no_backend_is_refused_with_what_to_do(what: str, more: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{what} of shop/fraud: z is not one of its backends; add it with weight 0"):
        route(backend("a", 100), **more)


def test_two_mirrors_of_one_revision_are_refused() -> None:
    with pytest.raises(ValueError, match="mirrors of shop/fraud name a revision twice"):
        route(backend("a", 100), mirrors=(Mirror(revision="a", percent=5), Mirror(revision="a", percent=6)))


@pytest.mark.parametrize("percent", [-1, 101])
def test_a_share_that_is_none_is_refused(percent: int) -> None:
    with pytest.raises(ValueError, match="mirror a: percent must be 0 to 100"):
        Mirror(revision="a", percent=percent)


@pytest.mark.parametrize("name", ["", "X-Beta", "x beta", "x_beta", "x-ä", ":path", "x-beta\r\n"])
def test_a_header_that_no_request_can_have_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="use lower-case letters, digits and -"):
        HeaderKey(name=name)


@pytest.mark.parametrize("name", ["host", "x-penstock-revision", "x-envoy-upstream-rq-timeout-ms"])
def test_a_header_of_the_router_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is the router's own"):
        HeaderMatch(header=name, kind=MatchKind.PRESENT, revision="a")


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (MatchKind.EXACT, "", "needs a value"),
        (MatchKind.PREFIX, "", "needs a value"),
        (MatchKind.PRESENT, "yes", "takes no value"),
    ],
)
def test_a_match_without_its_value_is_refused(kind: MatchKind, value: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HeaderMatch(header="x-beta", kind=kind, value=value, revision="a")


@pytest.mark.parametrize(
    ("name", "ttl_seconds", "message"),
    [
        ("a;b", 60, "is no name of a cookie"),
        ("", 60, "is no name of a cookie"),
        ("c" * 65, 60, "is no name of a cookie"),
        ("penstock", 0, "at least a second"),
    ],
)
def test_a_cookie_that_no_browser_would_keep_is_refused(name: str, ttl_seconds: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CookieKey(name=name, ttl_seconds=ttl_seconds)


@pytest.mark.parametrize("part", [-1, 100])
def test_a_part_of_the_keys_that_does_not_exist_is_refused(part: int) -> None:
    with pytest.raises(ValueError, match="keys_from of a must be 0 to 99"):
        backend("a", 100, keys_from=part)
