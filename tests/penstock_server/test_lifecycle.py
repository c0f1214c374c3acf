"""The life of the server, every state with every event."""

from itertools import product

import pytest

from penstock_server.lifecycle import TRANSITIONS, Event, IllegalTransition, Lifecycle, State


def in_state(state: State) -> Lifecycle:
    lifecycle = Lifecycle()
    if state is State.READY:
        lifecycle.handle(Event.LOADED)
    if state is State.DRAINING:
        lifecycle.handle(Event.STOP_ASKED)
    assert lifecycle.state is state
    return lifecycle


@pytest.mark.parametrize(("state", "event"), list(product(State, Event)))
def test_every_event_in_every_state_moves_as_the_table_says_or_is_refused(state: State, event: Event) -> None:
    lifecycle = in_state(state)
    if (state, event) in TRANSITIONS:
        assert lifecycle.handle(event) is TRANSITIONS[state, event]
    else:
        with pytest.raises(IllegalTransition, match=f"{event.name} cannot happen in {state.name}"):
            lifecycle.handle(event)
        assert lifecycle.state is state


def test_only_a_loaded_server_that_was_not_asked_to_stop_is_ready() -> None:
    assert [in_state(state).ready for state in State] == [False, True, False]


def test_a_stop_is_never_forgotten() -> None:
    assert all(TRANSITIONS.get((State.DRAINING, event)) is State.DRAINING for event in Event)
