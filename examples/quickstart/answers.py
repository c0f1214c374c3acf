"""What the client pod has told so far: answers by revision and outcome, and whose was the last request.

Standard library only.
"""

import json
from collections import Counter
from typing import Any


class Answers:
    """Adds up the client's lines, one for each second."""

    def __init__(self) -> None:
        """Start with nothing."""
        self.answers: Counter[str] = Counter()
        self.sent: dict[str, float] = {}
        self.seconds: list[dict[str, Any]] = []

    def add(self, line: str) -> bool:
        """Add one line; return whether it was one of the client's."""
        try:
            second = json.loads(line)
        except ValueError:
            return False
        self.seconds.append(second)
        self.sent.update(second["sent"])
        self.answers.update(second["answers"])
        return True

    def total(self) -> int:
        """Return how many requests were answered or failed so far."""
        return sum(self.answers.values())

    def asked(self, revision: str) -> int:
        """Return how many requests a revision answered."""
        return sum(count for key, count in self.answers.items() if key.startswith(f"{revision} "))

    def failures(self) -> Counter[str]:
        """Return what was not a right answer, by revision and outcome."""
        return Counter({key: count for key, count in self.answers.items() if not key.endswith(" 200")})

    def is_routed(self) -> bool:
        """Return whether in the last second every answer came through a router."""
        return bool(self.seconds) and all("direct" not in key for key in self.seconds[-1]["answers"])

    def are_right_for(self, seconds: int) -> bool:
        """Return whether in each of the last seconds there were answers, and only right ones."""
        last = [second["answers"] for second in self.seconds[-seconds:]]
        return len(last) == seconds and all(told and all(key.endswith(" 200") for key in told) for told in last)
