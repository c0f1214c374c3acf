"""How alarms are told to an endpoint such as Alertmanager's."""

from dataclasses import replace

from tests.penstock_operator.core.alarms import START, after, alarm, look, spec

from penstock_operator.core.action_state import AlarmState, Standing
from penstock_operator.core.alerting import alerts_of


def told(*entries: AlarmState, muted: bool = False) -> list[dict[str, object]]:
    alerts = alerts_of("shop", "guard", entries, muted=muted)
    return [alert.to_wire(now=START + 60, repeat_seconds=300) for alert in alerts]


def firing(name: str = "inputs/amount") -> AlarmState:
    return after(spec(), look(alarm(name))).state.alarms[0]


def test_an_alarm_is_told_with_its_numbers_and_ends_by_itself_unless_told_again() -> None:
    (alert,) = told(firing())
    assert alert["labels"] == {
        "alertname": "PenstockInputDrift",
        "severity": "warning",
        "namespace": "shop",
        "policy": "guard",
        "model_deployment": "fraud",
        "revision": "fraud-1",
        "signal": "inputs/amount",
        "window": "fraud-1-w7",
    }
    assert alert["annotations"] == {"summary": "fraud-1: inputs/amount", "description": "PSI 0.31 over 18234 rows"}
    assert alert["startsAt"] == "2027-01-15T08:00:00.000Z"
    assert alert["endsAt"] == "2027-01-15T08:16:00.000Z"


def test_what_ended_or_was_acknowledged_is_told_as_ended() -> None:
    for standing in (Standing.ENDED, Standing.ACKNOWLEDGED):
        (alert,) = told(replace(firing(), standing=standing, changed_at=START + 30))
        assert alert["endsAt"] == "2027-01-15T08:00:30.000Z"


def test_while_muted_only_ends_are_told() -> None:
    ended = replace(firing("inputs/age"), standing=Standing.ENDED, changed_at=START + 30)
    (alert,) = told(firing(), ended, muted=True)
    assert "inputs/age" in str(alert["labels"])


def test_what_nobody_should_hear_is_not_told() -> None:
    silent = after(
        spec(actions=[{"signals": ["Inputs"], "do": ["Pause"], "when": "AttributableToRevision"}]), look(alarm())
    )
    rehearsed = after(spec(dryRun=True), look(alarm()))
    assert told(*silent.state.alarms, *rehearsed.state.alarms) == []


def test_a_name_that_data_chose_does_no_harm() -> None:
    (alert,) = told(firing("inputs/a\nb\x1b[31m" + "x" * 500))
    labels = alert["labels"]
    assert isinstance(labels, dict)
    assert labels["signal"].isprintable()
    assert len(labels["signal"]) == 200
