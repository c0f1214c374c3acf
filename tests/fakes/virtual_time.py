"""An event loop whose clock jumps: whoever sleeps wakes at once, in the right order."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any


class _JumpingSelector(selectors.DefaultSelector):
    """Never waits: instead of that it lets time pass."""

    def __init__(self, pass_time: Callable[[float], None]) -> None:
        super().__init__()
        self._pass_time = pass_time

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("everything waits for something that nobody will do")
            self._pass_time(timeout)
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Its time starts at 1000 s and moves only when nothing is left to do."""

    def __init__(self) -> None:
        self._virtual_now = 1000.0
        super().__init__(_JumpingSelector(self._pass))

    def time(self) -> float:
        return self._virtual_now

    def _pass(self, seconds: float) -> None:
        self._virtual_now += max(seconds, 0.0)


def in_virtual_time(test: Coroutine[Any, Any, None]) -> None:
    """Run a test in which seconds cost nothing."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(test)
