"""No model comes from a metadata service, however its address is written."""

import pytest

from penstock_contract.termination import Reason
from penstock_server.fetch import addresses
from penstock_server.fetch.checked_resolver import CheckedResolver
from penstock_server.fetch.failure import FetchFailed


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "169.254.0.1",
        "fe80::1",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "::ffff:169.254.169.254",
        "2002:a9fe:a9fe::1",
        "64:ff9b::a9fe:a9fe",
        "0.0.0.0",
        "::",
        "224.0.0.1",
    ],
)
def test_link_local_and_metadata_addresses_are_refused(address: str) -> None:
    with pytest.raises(FetchFailed, match="host is ") as failure:
        addresses.check("host", address)
    assert failure.value.reason is Reason.SOURCE_FORBIDDEN
    assert failure.value.permanent


@pytest.mark.parametrize("address", ["10.0.0.7", "192.168.1.1", "127.0.0.1", "::1", "8.8.8.8", "fd00::1"])
def test_other_addresses_are_fine(address: str) -> None:
    addresses.check("host", address)


def test_a_host_that_is_an_address_is_checked_before_it_is_connected() -> None:
    with pytest.raises(FetchFailed):
        addresses.check_literal("169.254.169.254")
    addresses.check_literal("a-name")


async def test_a_name_is_checked_by_all_that_it_resolves_to(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = CheckedResolver()

    async def resolve(*_: object) -> list[dict[str, object]]:
        return [{"host": "10.0.0.1"}, {"host": "169.254.169.254"}]

    monkeypatch.setattr(resolver._resolver, "resolve", resolve)
    with pytest.raises(FetchFailed, match=r"rebind\.example is 169\.254\.169\.254"):
        await resolver.resolve("rebind.example")


@pytest.mark.parametrize("written", ["169.254.43518", "0xa9fea9fe", "2852039166"])
async def test_other_spellings_of_the_address_do_not_get_through(written: str) -> None:
    with pytest.raises(FetchFailed):
        await addresses.check_resolved(written, 80)
