"""Addresses: the cluster's own, the machine's, and where they would collide."""

import json
from pathlib import Path

import pytest
from cluster.embedded import addons, dns_probe, network


@pytest.mark.parametrize(
    ("route", "collides"),
    [
        pytest.param("default via 192.0.2.1 dev eth0", False, id="the default route overlaps with nothing"),
        pytest.param("192.0.2.0/24 dev eth0 proto kernel", False, id="a network elsewhere"),
        pytest.param("10.0.0.0/8 dev tun0", True, id="a network around ours"),
        pytest.param("10.96.4.7 dev wg0", True, id="a single address inside ours"),
        pytest.param("blackhole 10.244.9.0/24", True, id="a blackhole inside ours"),
        pytest.param("10.244.0.0/24 dev penstock0 proto kernel", False, id="our own bridge"),
    ],
)
def test_a_route_collides_where_it_overlaps_with_pods_or_services(route: str, *, collides: bool) -> None:
    assert network.overlapping(route) == ([route] if collides else [])


def test_name_servers_on_loopback_are_left_out_because_a_pod_cannot_reach_them() -> None:
    assert network.name_servers("nameserver ::1\nnameserver fe80::1%eth0\noptions x\nnameserver\n") == ["fe80::1%eth0"]


def test_the_network_configuration_gives_pods_addresses_beside_the_bridges_own(tmp_path: Path) -> None:
    bridge, _ = json.loads(network.network_configuration(ipam_dir=tmp_path))["plugins"]
    assert bridge["bridge"] == network.BRIDGE
    assert bridge["ipam"]["ranges"] == [[{"subnet": network.NODE_SUBNET, "gateway": network.NODE_ADDRESS}]]


def test_without_name_servers_coredns_forwards_nothing() -> None:
    assert "forward" not in addons.corefile([])
    assert "forward . 192.0.2.7 192.0.2.8" in addons.corefile(["192.0.2.7", "192.0.2.8"])


def test_a_name_is_asked_as_rfc_1035_says() -> None:
    assert (
        dns_probe.query("ab.c", 7) == b"\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x02ab\x01c\x00\x00\x01\x00\x01"
    )


@pytest.mark.parametrize(
    ("answer", "is_good"),
    [
        pytest.param(b"\x00\x07\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00", True, id="one record"),
        pytest.param(b"\x00\x08\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00", False, id="the answer to another question"),
        pytest.param(b"\x00\x07\x81\x83\x00\x01\x00\x00\x00\x00\x00\x00", False, id="no such name"),
        pytest.param(b"\x00\x07\x81\x80\x00\x01\x00\x00\x00\x00\x00\x00", False, id="no record"),
        pytest.param(b"\x00\x07", False, id="cut short"),
    ],
)
def test_only_a_record_for_our_own_question_counts_as_an_answer(answer: bytes, *, is_good: bool) -> None:
    assert dns_probe.has_address(answer, 7) is is_good
