"""The audit log: one line of JSON for each deed."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from penstock_operator.adapters import log
from penstock_operator.adapters.audit import LogAudit
from penstock_operator.core.audit import AuditEntry

ENTRY = AuditEntry(
    at=70.0,
    namespace="shop",
    split="fraud",
    verb="promote",
    id="7",
    by='ada "the\nboss"',
    before={"fraud-a": 75, "fraud-b": 25},
    after={"fraud-b": 100},
    outcome="promoted",
)


@pytest.fixture
def written(request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    """What the process writes at the log level that the test asks for."""
    root, audit = logging.getLogger(), logging.getLogger(log.AUDIT)
    before = (root.handlers[:], root.level, audit.level)
    log.configure(request.param)
    (handler,) = root.handlers
    assert isinstance(handler, logging.StreamHandler)
    text = io.StringIO()
    handler.setStream(text)
    yield text
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    audit.setLevel(before[2])


@pytest.mark.parametrize("written", ["INFO", "ERROR"], indirect=True)
def test_an_entry_is_one_line_of_json_at_every_log_level(written: io.StringIO) -> None:
    LogAudit().record(ENTRY)
    line, end, rest = written.getvalue().partition("\n")
    assert (end, rest) == ("\n", "")
    told = json.loads(line)
    assert told["logger"] == "penstock.audit"
    assert {key: told[key] for key in ENTRY.to_wire()} == ENTRY.to_wire()
