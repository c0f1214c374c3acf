"""Writes the audit log: one line of JSON for each deed, whatever the log level is."""

import logging

from penstock_operator.adapters.log import AUDIT
from penstock_operator.core.audit import AuditEntry

_LOG = logging.getLogger(AUDIT)


class LogAudit:
    """Implements ports.AuditLog on the logger ``penstock.audit``, which collectors can tell from the others."""

    def record(self, entry: AuditEntry) -> None:
        """Write one line."""
        _LOG.info("audit", extra=entry.to_wire())
