"""What the chart grants to the operator is what the operator uses: the API server's audit log tells."""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from http import HTTPStatus
from pathlib import Path

import pytest
from tests.cluster.api import Api, Manifest
from tests.cluster.operators import NAME, NAMESPACE, lines

pytestmark = [pytest.mark.cluster, pytest.mark.quiet]

Right = tuple[str, str, str]

USER = f"system:serviceaccount:{NAMESPACE}:{NAME}"
#: The longest that an operator outlives its rights when the chart is uninstalled.
UNINSTALLING_SECONDS = 60.0
#: Rights that the tests on the cluster do not use, each with the reason why the operator has it all the same.
UNUSED: dict[Right, str] = {}


def granted(api: Api) -> set[Right]:
    """Return the rights of the installed chart: group, resource with subresource, verb."""
    roles: list[Manifest] = [api.the("ClusterRole", NAME), api.the("Role", f"{NAME}-leader", NAMESPACE)]
    return {
        (group, resource, verb)
        for role in roles
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def asked(entry: Manifest) -> Iterator[Right]:
    """Yield the rights that one request needed."""
    about = entry["objectRef"]
    resource = "/".join(filter(None, (about["resource"], about.get("subresource"))))
    group = about.get("apiGroup", "")
    yield group, resource, entry["verb"]
    if entry["verb"] == "patch" and entry["responseStatus"]["code"] == HTTPStatus.CREATED:
        yield group, resource, "create"  # server-side apply of what was not there needs both


def used(path: Path) -> Counter[Right]:
    """Return what the operator has asked of the API server since the cluster was made, refusals left out."""
    entries = (json.loads(line) for line in lines(path, USER.encode()))
    return Counter(
        right
        for entry in entries
        if entry["user"]["username"] == USER and entry.get("objectRef", {}).get("resource")
        if entry["responseStatus"]["code"] not in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
        for right in asked(entry)
    )


class TestRights:
    """Reads what all the other tests made the operator do, so it comes last and says little when it is run alone."""

    def test_every_right_is_used_or_has_a_reason(self, api: Api, audit_log_path: Path) -> None:
        needless = granted(api) - set(used(audit_log_path)) - set(UNUSED)
        assert needless == set(), (
            "granted by the chart, and not used by any test on the cluster since it was made: take the right away, "
            "test what needs it, or give the reason in UNUSED (run the whole of tests/cluster before this test)"
        )

    def test_every_reason_is_about_a_right_that_is_granted(self, api: Api) -> None:
        assert set(UNUSED) <= granted(api)

    def test_nothing_is_refused_for_want_of_a_right(self, audit_log_path: Path) -> None:
        withdrawn = uninstalled_at(audit_log_path)
        refused = [
            f"{entry['verb']} {entry['requestURI']}"
            for entry in map(json.loads, lines(audit_log_path, USER.encode()))
            if entry["responseStatus"]["code"] == HTTPStatus.FORBIDDEN
            and not is_about_an_ending_namespace(entry["responseStatus"].get("message", ""))
            and not any(0 <= received_at(entry) - at < UNINSTALLING_SECONDS for at in withdrawn)
        ]
        assert refused == []


def is_about_an_ending_namespace(message: str) -> bool:
    """Return whether a refusal only says that nothing is made any more in a namespace that is being deleted."""
    return "because it is being terminated" in message


def uninstalled_at(path: Path) -> list[float]:
    """Return when somebody took the operator's rights away with the whole chart, while its pods were there still."""
    entries = map(json.loads, lines(path, b"rolebindings/penstock-operator"))
    return [received_at(entry) for entry in entries if entry["verb"] == "delete"]


def received_at(entry: Manifest) -> float:
    return datetime.fromisoformat(entry["requestReceivedTimestamp"]).timestamp()
