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
        #: Where the server is now. Attributes and not properties: each request asks.
        self.state: State = State.LOADING
        #: Whether new clients should come here.
        self.ready = False
        #: Whether clients should go elsewhere while they are still answered.
        self.draining = False

    def handle(self, event: Event) -> State:
        """Move on and return the new state; raise IllegalTransition for a step that is not in the table."""
        try:
            self.state = TRANSITIONS[self.state, event]
        except KeyError:
            raise IllegalTransition(f"{event.name} cannot happen in {self.state.name}") from None
        self.ready = self.state is State.READY
        self.draining = self.state is State.DRAINING
        return self.state
