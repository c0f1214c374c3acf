"""One line of log for each reconcile that did something."""

import logging

import pytest
from structlog.contextvars import get_contextvars

from penstock_operator.core.objects import Kind, Manifest, ObjectRef
from penstock_operator.journal import Journaled, note

REF = ObjectRef(kind=Kind.TRAFFIC_SPLIT, namespace="shop", name="fraud")


class Busy:
    """Does what it is told, and sees what every log line would carry."""

    def __init__(self, *deeds: str, failure: Exception | None = None) -> None:
        self.deeds = deeds
        self.failure = failure
        self.seen: dict[str, object] = {}

    async def reconcile(self, ref: ObjectRef) -> float | None:
        assert ref == REF
        self.seen = get_contextvars()
        for deed in self.deeds:
            note(deed)
        if self.failure:
            raise self.failure
        return 7.0


def look(ref: ObjectRef) -> Manifest | None:
    return {"metadata": {"name": ref.name, "namespace": ref.namespace, "generation": 4}}


async def test_deeds_make_one_line(caplog: pytest.LogCaptureFixture) -> None:
    busy = Busy("applied service/fraud", "wrote status")
    with caplog.at_level(logging.INFO):
        assert await Journaled(busy, look).reconcile(REF) == 7.0
    (record,) = caplog.records
    assert record.getMessage() == "reconciled"
    assert record.__dict__["deeds"] == ["applied service/fraud", "wrote status"]
    assert record.__dict__["seconds"] >= 0


async def test_every_line_of_a_reconcile_names_its_object() -> None:
    busy = Busy()
    await Journaled(busy, look).reconcile(REF)
    assert busy.seen == {"kind": "TrafficSplit", "namespace": "shop", "name": "fraud", "generation": 4}
    assert get_contextvars() == {}


async def test_a_reconcile_that_did_nothing_is_silent(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        await Journaled(Busy(), lambda _: None).reconcile(REF)
    assert not caplog.records


async def test_what_was_done_before_a_failure_is_told_as_well(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), pytest.raises(ValueError, match="broken"):
        await Journaled(Busy("applied service/fraud", failure=ValueError("broken")), look).reconcile(REF)
    assert [record.__dict__["deeds"] for record in caplog.records] == [["applied service/fraud"]]


def test_a_deed_outside_of_a_reconcile_is_not_kept() -> None:
    note("nothing")
