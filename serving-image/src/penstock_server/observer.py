"""Who is told of every answered request."""

from collections.abc import Sequence
from typing import Protocol

from penstock_server.protocol import Array, InferRequest


class Observer(Protocol):
    """Takes note of requests and answers, for example to count or to log them."""

    def observe(self, request: InferRequest, outputs: Sequence[Array]) -> None:
        """Note one successful run. It is called on the thread that answers: it must take about a microsecond.

        It must neither block nor raise. It may keep the arrays as they are: nobody writes into them any more.
        """
