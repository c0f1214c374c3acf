"""What follows from alarms: the first action that fits, once, as far as it may."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.penstock_operator.core.alarms import DAY, RETRAINS, START, after, alarm, look, spec, wire

from penstock_operator.core.action_state import (
    ALARMS_MAX,
    ActionState,
    Deed,
    Done,
    Standing,
    TrainingState,
    parse_state,
)
from penstock_operator.core.actions import ENDED_SECONDS, decide
from penstock_operator.core.alarms import SignalClass


def deeds(news: tuple[Done, ...]) -> list[tuple[Deed, str]]:
    return [(done.deed, done.alarm.name) for done in news]


def test_without_actions_of_its_own_a_policy_alerts_about_everything() -> None:
    alarms = [alarm(name=f"x/{kind}", signal=kind) for kind in SignalClass if kind is not SignalClass.METRICS]
    decision = after(spec(), look(*alarms))
    assert {done.alarm.signal for done in decision.news} == {one.signal for one in alarms}
    assert {done.deed for done in decision.news} == {Deed.ALERT}


def test_the_first_action_that_fits_wins() -> None:
    blamed = alarm("outputs/score", attributable=True)
    everybodys = alarm("outputs/score", attributable=False)
    assert deeds(after(spec(**RETRAINS), look(blamed)).news) == [
        (Deed.ROLLBACK, "outputs/score"),
        (Deed.ALERT, "outputs/score"),
    ]
    assert deeds(after(spec(**RETRAINS), look(everybodys)).news) == [
        (Deed.RETRAIN, "outputs/score"),
        (Deed.ALERT, "outputs/score"),
    ]


def test_no_action_follows_where_none_names_the_class() -> None:
    policy = spec(actions=[{"signals": ["Metrics"], "do": ["Alert"]}])
    decision = after(policy, look(alarm()))
    assert decision.news == ()
    assert decision.state.alarms[0].standing is Standing.FIRING


def test_nothing_follows_twice_from_one_alarm() -> None:
    looks = [look(alarm(message=f"PSI 0.3{n}"), at=60.0 * n) for n in range(10)]
    assert len(after(spec(**RETRAINS), looks[0]).news) == 2
    decision = after(spec(**RETRAINS), *looks)
    assert decision.news == ()
    assert decision.events == ()
    assert wire(decision)["alarms"][0]["message"] == "PSI 0.39"


def test_an_alarm_waits_until_enough_of_its_last_windows_show_it() -> None:
    policy = spec(actions=[{"signals": ["Inputs"], "confirm": {"windows": 2, "of": 3}, "do": ["Alert"]}])
    waiting = after(policy, look(alarm(seen="1")), look(alarm(seen="10")), look(alarm(seen="100")))
    assert waiting.state.alarms[0].standing is Standing.PENDING
    assert waiting.news == ()
    confirmed = after(policy, look(alarm(seen="100")), look(alarm(seen="1001")), look(alarm(seen="10011")))
    assert deeds(confirmed.news) == [(Deed.ALERT, "inputs/amount")]


def test_an_alarm_that_ends_is_told_for_a_while_and_forgotten() -> None:
    policy = spec()
    ended = after(policy, look(alarm()), look(at=100.0))
    assert ended.state.alarms[0].standing is Standing.ENDED
    assert ended.state.alarms[0].changed_at == START + 100.0
    assert after(policy, look(alarm()), look(at=100.0), look(at=99.0 + ENDED_SECONDS)).state.alarms
    assert not after(policy, look(alarm()), look(at=100.0), look(at=100.0 + ENDED_SECONDS)).state.alarms


def test_an_alarm_of_which_nobody_heard_ends_without_a_word() -> None:
    policy = spec(actions=[{"signals": ["Metrics"], "do": ["Alert"]}])
    assert after(policy, look(alarm()), look(at=1.0)).state.alarms == ()


def test_a_mute_holds_alerts_and_trainings_and_not_a_rollback() -> None:
    policy = spec(**RETRAINS, mute=[{"from": "2027-01-15T00:00:00Z", "until": "2027-01-16T00:00:00Z"}])
    input_drift, blamed = alarm(), alarm("outputs/score", attributable=True)
    muted = after(policy, look(input_drift, blamed, policy=policy))
    assert deeds(muted.news) == [(Deed.ROLLBACK, "outputs/score")]
    assert (
        "muted until 2027-01-16" in muted.state.alarms[0].held or "muted until 2027-01-16" in muted.state.alarms[1].held
    )
    later = after(policy, look(input_drift, blamed, policy=policy), look(input_drift, blamed, at=DAY, policy=policy))
    assert sorted(deeds(later.news)) == [
        (Deed.ALERT, "inputs/amount"),
        (Deed.ALERT, "outputs/score"),
        (Deed.RETRAIN, "inputs/amount"),
    ]


def test_one_window_begins_one_training_however_many_signals_it_has() -> None:
    names = ["inputs/amount", "inputs/age", "outputs/score"]
    decision = after(spec(**RETRAINS), look(*(alarm(name) for name in names)), look(*(alarm(name) for name in names)))
    assert len(decision.state.trainings) == 1
    assert decision.state.trainings[0].state is TrainingState.STARTING


def test_the_name_of_a_training_follows_from_policy_and_window() -> None:
    def name(window: str, identity: str = "uid-1") -> str:
        seen = look(alarm(window_id=window))
        policy = spec(**RETRAINS)
        decision = decide(policy, ActionState(), type(seen)(now=seen.now, identity=identity, alarms=seen.alarms))
        return decision.state.trainings[0].name

    assert name("w1") == name("w1")
    assert len({name("w1"), name("w2"), name("w1", "uid-2")}) == 3
    assert len(name("w" * 63)) <= 63


def test_broken_data_keep_a_model_from_being_trained_until_they_are_well() -> None:
    broken = alarm("dataQuality/amount/missing", window_id="q")
    policy = spec(**RETRAINS)
    held = after(policy, look(alarm(), broken))
    assert held.state.trainings == ()
    assert "the data are broken: dataQuality/amount/missing" in wire(held)["alarms"][0]["held"]
    assert len(after(policy, look(alarm(), broken), look(alarm(), at=60.0)).state.trainings) == 1


def test_broken_data_of_one_model_do_not_hold_up_another() -> None:
    broken = alarm("dataQuality/amount/missing", model_deployment="churn", revision="churn-1", window_id="q")
    assert len(after(spec(**RETRAINS), look(alarm(), broken)).state.trainings) == 1


@pytest.mark.parametrize(
    ("later", "begun"), [pytest.param(0.9 * DAY, 1, id="within"), pytest.param(1.1 * DAY, 2, id="after")]
)
def test_a_second_window_waits_for_the_cooldown(later: float, begun: int) -> None:
    second = alarm(window_id="w8")
    decision = after(spec(**RETRAINS), look(alarm()), look(second, at=later))
    assert len(decision.state.trainings) == begun
    assert ("cooldown until" in wire(decision)["alarms"][0].get("held", "")) == (begun == 1)


def test_the_monthly_cap_counts_the_last_thirty_days() -> None:
    policy = spec(actions=RETRAINS["actions"], retrain={"cronJob": "t", "cooldown": "0s", "maxPerMonth": 2})
    looks = [look(alarm(window_id=f"w{day}"), at=day * DAY) for day in range(5)]
    capped = after(policy, *looks)
    assert len(capped.state.trainings) == 2
    assert "maxPerMonth: 2 trainings in 30 days" in " ".join(one.get("held", "") for one in wire(capped)["alarms"])
    again = after(policy, *looks, look(alarm(window_id="w30"), at=30 * DAY + 1))
    assert len(again.state.trainings) == 3


def test_a_rehearsal_tells_and_does_nothing_and_is_meant_when_it_ends() -> None:
    rehearsal = spec(**RETRAINS, dryRun=True)
    told = after(rehearsal, look(alarm()))
    assert told.state.trainings == ()
    (event,) = told.events
    assert (event.type, event.reason) == ("Normal", "DryRun")
    assert event.message.startswith("Retrain, Alert would follow: fraud-1: inputs/amount: PSI 0.31")
    assert all(done.dry_run for done in told.news)
    meant = after(spec(**RETRAINS), look(alarm(), at=1.0), state=parse_state(told.state.to_wire()))
    assert len(meant.state.trainings) == 1
    assert [event.reason for event in meant.events] == ["InputDrift"]


def test_without_an_alert_only_a_training_is_news() -> None:
    def events(do: str, **more: str) -> list[str]:
        action = {"signals": ["Inputs", "Outputs"], "do": [do], **more}
        told = after(spec(actions=[action], retrain={"cronJob": "t"}), look(alarm("outputs/score", attributable=True)))
        return [event.reason for event in told.events]

    assert events("Alert") == ["OutputDrift"]
    assert events("Retrain") == ["TrainingAsked"]
    assert events("Rollback", when="AttributableToRevision") == []


def test_more_alarms_than_there_is_room_for_are_counted_and_wait() -> None:
    crowd = [alarm(f"inputs/c{n}", window_id=f"w{n}") for n in range(ALARMS_MAX + 30)]
    first = after(spec(), look(*crowd))
    assert len(first.state.alarms) == ALARMS_MAX
    assert wire(first)["alarmsOmitted"] == 30
    told = {done.alarm.name for done in first.news}
    second = decide(spec(), parse_state(first.state.to_wire()), look(*crowd, at=60.0))
    assert second.news == ()
    gone = [one for one in crowd if one.name not in told]
    third = after(spec(), look(*crowd), look(*gone, at=60.0), look(*gone, at=60.0 + ENDED_SECONDS))
    assert {done.alarm.name for done in third.news} == {one.name for one in gone}


def test_the_last_action_is_the_most_drastic_of_the_newest() -> None:
    decision = after(spec(**RETRAINS), look(alarm()), look(alarm(), alarm("outputs/score", attributable=True), at=60.0))
    last = wire(decision)["lastAction"]
    assert (last["action"], last["metric"], last["evidence"]["psi"]) == ("Rollback", "outputs/score", 0.31)
    assert [entry["action"] for entry in wire(decision)["history"]] == ["Alert", "Rollback", "Alert", "Retrain"]


def test_a_status_that_somebody_has_broken_is_read_as_far_as_it_goes() -> None:
    status = {"alarms": [{"name": "x"}, 7, None, {**wire(after(spec(), look(alarm())))["alarms"][0]}], "history": "no"}
    state = parse_state(status)
    assert [entry.alarm.name for entry in state.alarms] == ["inputs/amount"]
    assert state.history == ()


NAMES = st.sampled_from(["inputs/a", "inputs/b", "outputs/score", "dataQuality/a/missing"])
ALARMS = st.builds(
    lambda name, window, blamed: alarm(name, window_id=f"w{window}", attributable=blamed and name[0] == "o"),
    NAMES,
    st.integers(0, 3),
    st.booleans(),
)


@settings(deadline=None)
@given(st.lists(st.lists(ALARMS, max_size=5), max_size=12), st.booleans())
def test_whatever_comes_and_goes_no_deed_is_done_twice_and_the_status_stays_readable(
    history: list[list[object]],
    restarts: bool,  # noqa: FBT001 - drawn
) -> None:
    policy = spec(**{**RETRAINS, "retrain": {"cronJob": "t", "cooldown": "0s", "maxPerMonth": 31}})
    state = ActionState()
    begun: list[str] = []
    for number, alarms in enumerate(history):
        decision = decide(policy, state, look(*alarms, at=60.0 * number))  # type: ignore[arg-type]  # alarms of above
        written = decision.state.to_wire()
        assert parse_state(written).to_wire() == {
            key: value for key, value in written.items() if key != "alarmsOmitted"
        }
        state = parse_state(written) if restarts else decision.state
        begun += [done.alarm.window_id for done in decision.news if done.deed is Deed.RETRAIN]
    assert len(begun) == len(set(begun))
