"""A source of numbers that says what a test wants."""

from collections.abc import Callable

from penstock_operator.core.questions import Answer, Question


class FakeMetricSource:
    """Implements ports.MetricSource."""

    def __init__(self) -> None:
        self.says: Callable[[Question], Answer] = lambda _: Answer(absent="nothing yet")
        self.asked: list[str] = []

    async def answer(self, question: Question) -> Answer:
        """Return what the test says."""
        self.asked.append(question.text)
        return self.says(question)
