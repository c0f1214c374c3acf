"""The life of the server as a table: what probes answer, and when."""

from enum import Enum, auto


class State(Enum):
    """Where the server is in its life."""

    LOADING = auto()
    READY = auto()
    DRAINING = auto()


class Event(Enum):
    """What moves it on."""

    LOADED = auto()
    STOP_ASKED = auto()


#: Every legal step. A stop may come at any time and twice; loading may end after it.
TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.LOADING, Event.LOADED): State.READY,
    (State.LOADING, Event.STOP_ASKED): State.DRAINING,
    (State.READY, Event.STOP_ASKED): State.DRAINING,
    (State.DRAINING, Event.STOP_ASKED): State.DRAINING,
    (State.DRAINING, Event.LOADED): State.DRAINING,
}


class IllegalTransition(RuntimeError):  # noqa: N818
    """The event cannot happen in this state: a mistake in this program."""


class Lifecycle:
    """Holds the state; the only thing about the server that probes read."""

    def __init__(self) -> None:
        self._state = State.LOADING

    @property
    def state(self) -> State:
        """Where the server is now."""
        return self._state

    @property
    def ready(self) -> bool:
        """Whether new clients should come here."""
        return self._state is State.READY

    @property
    def draining(self) -> bool:
        """Whether clients should go elsewhere while they are still answered."""
        return self._state is State.DRAINING

    def handle(self, event: Event) -> State:
        """Move on and return the new state; raise IllegalTransition for a step that is not in the table."""
        try:
            self._state = TRANSITIONS[self._state, event]
        except KeyError:
            raise IllegalTransition(f"{event.name} cannot happen in {self._state.name}") from None
        return self._state
