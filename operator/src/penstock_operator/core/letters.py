"""What is to be sent to people's endpoints, and how sending goes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from penstock_operator.core.alerting import Alert


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """Alerts that are told again and again while they last, or a document that is sent until it has arrived once.

    ``repeat_seconds`` is None for the second. ``id`` goes with every try, so that a receiver can tell a second one.
    """

    namespace: str
    url: str
    id: str
    secret_name: str | None = None
    alerts: tuple[Alert, ...] = ()
    document: Mapping[str, Any] = field(default_factory=dict)
    repeat_seconds: float | None = None

    def body(self, *, now: float) -> Any:
        """Return what is sent at a moment."""
        if self.repeat_seconds is None:
            return dict(self.document)
        return [alert.to_wire(now=now, repeat_seconds=self.repeat_seconds) for alert in self.alerts]

    def is_news(self, before: "Letter") -> bool:
        """Return whether this must be sent at once: other numbers in the same alarm wait for the next repetition."""
        told = {(alert.labels, alert.ends_at) for alert in before.alerts}
        return self.url != before.url or any((alert.labels, alert.ends_at) not in told for alert in self.alerts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """How sending a letter goes: ``arrived`` whether the last try did; before the first there is no Delivery."""

    arrived: bool
    tries: int = 1
    message: str = ""
