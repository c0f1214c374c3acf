"""A person says that an alarm has been seen; each command is carried out once."""

import json

from tests.penstock_operator.core.alarms import RETRAINS, START, after, alarm, look, spec

from penstock_operator.core.acknowledgement import answer
from penstock_operator.core.action_state import ActionState, Standing, parse_state


def firing(*names: str) -> ActionState:
    return after(spec(), look(*(alarm(name) for name in names))).state


def command(id_: str = "1", **fields: str) -> str:
    return json.dumps({"verb": "ack", "id": id_, "by": "ada", **fields})


def standing(state: ActionState) -> dict[str, Standing]:
    return {entry.alarm.name: entry.standing for entry in state.alarms}


def test_all_alarms_or_one_are_acknowledged() -> None:
    state = firing("inputs/amount", "inputs/age")
    everything = answer(command(), state, now=START + 5)
    assert set(standing(everything.state).values()) == {Standing.ACKNOWLEDGED}
    assert everything.state.command["outcome"] == "acknowledged inputs/age, inputs/amount"
    one = answer(command(alarm="inputs/age"), state, now=START + 5)
    assert standing(one.state) == {"inputs/amount": Standing.FIRING, "inputs/age": Standing.ACKNOWLEDGED}
    assert one.state.alarms[0].acknowledged_by == "ada"
    assert [event.reason for event in one.events] == ["CommandReceived"]


def test_a_command_is_carried_out_once_also_after_a_restart() -> None:
    first = answer(command(), firing("inputs/amount"), now=START + 5).state
    ended = after(spec(), look(at=10.0), state=parse_state(first.to_wire())).state
    again = after(spec(), look(alarm(window_id="w9"), at=20.0), state=ended).state
    second = answer(command(), parse_state(again.to_wire()), now=START + 30)
    assert second.events == ()
    assert [entry.standing for entry in second.state.alarms if entry.alarm.window_id == "w9"] == [Standing.FIRING]


def test_an_unknown_alarm_is_refused_with_the_known_ones() -> None:
    refused = answer(command(alarm="inputs/amuont"), firing("inputs/amount"), now=START)
    said = refused.state.command["outcome"]
    assert said == "Refused: no alarm inputs/amuont to acknowledge; there are: inputs/amount"
    assert "there are none" in answer(command(), ActionState(), now=START).state.command["outcome"]


def test_what_is_no_command_is_refused_once_with_what_to_write() -> None:
    for text in ("promote", "[]", '{"verb": "ack"}', '{"verb": "promote", "id": "1", "by": "ada"}'):
        refused = answer(text, firing("inputs/amount"), now=START)
        assert refused.state.command["outcome"].startswith("Refused: ")
        assert refused.events
        assert answer(text, refused.state, now=START + 1).events == ()


def test_an_acknowledged_alarm_begins_no_training() -> None:
    policy = spec(**RETRAINS)
    broken = alarm("dataQuality/amount/missing", window_id="q")
    held = after(policy, look(alarm(), broken)).state
    seen = answer(command(alarm="inputs/amount"), held, now=START + 5).state
    assert after(policy, look(alarm(), at=60.0), state=seen).state.trainings == ()
    assert len(after(policy, look(alarm(), at=60.0), state=held).state.trainings) == 1
