"""An alarm stays the same one while it goes on, survives one miss, and ends with the second."""

from penstock_operator.core.alarms import SignalClass
from penstock_operator.core.drift.live.episodes import Open, carried


def seen(name: str, at: float = 0.0, *, hold: int = 1) -> Open:
    return Open(signal=SignalClass.INPUTS, name=name, since=at, message=f"{name} at {at}", hold=hold)


def then(known: dict[str, Open], *found: Open) -> dict[str, Open]:
    return carried(known, found, about=lambda name: name.startswith("inputs/"), revision="fraud-a")


def test_an_alarm_that_is_found_again_keeps_its_beginning_and_says_what_is_new() -> None:
    first = then({}, seen("inputs/a", 1.0))
    again = then(first, seen("inputs/a", 2.0))["inputs/a"]
    assert (again.since, again.window_id, again.seen) == (1.0, first["inputs/a"].window_id, "11")
    assert again.message == "inputs/a at 2.0"


def test_alarms_that_begin_while_one_goes_on_are_of_its_episode_and_later_ones_are_not() -> None:
    first = then({}, seen("inputs/a", 1.0))
    both = then(first, seen("inputs/a", 2.0), seen("inputs/b", 2.0))
    assert both["inputs/b"].window_id == first["inputs/a"].window_id
    over = then(then(both))
    assert over == {}
    assert then({}, seen("inputs/b", 9.0))["inputs/b"].window_id != first["inputs/a"].window_id


def test_one_miss_is_remembered_and_two_end_it() -> None:
    known = then({}, seen("inputs/a"))
    missed = then(known)
    assert missed["inputs/a"].seen == "10"
    assert then(missed, seen("inputs/a", 3.0))["inputs/a"].seen == "101"
    assert then(missed) == {}


def test_a_long_look_back_is_missed_only_when_it_was_due() -> None:
    known = then({}, seen("inputs/a", hold=4))
    for _ in range(3):
        known = then(known)
        assert known["inputs/a"].seen == "1"
    known = then(known)
    assert known["inputs/a"].seen == "10"
    for _ in range(3):
        known = then(known)
    assert then(known) == {}


def test_what_was_not_looked_for_stays() -> None:
    silence = Open(signal=SignalClass.DATA_QUALITY, name="dataQuality/silence", since=0.0, message="no row")
    known = carried({}, [silence], about=lambda _: True, revision="fraud-a")
    assert then(then(then(known))) == known


def test_the_history_is_bounded() -> None:
    known = then({}, seen("inputs/a"))
    for _ in range(40):
        known = then(known, seen("inputs/a"))
    assert known["inputs/a"].seen == "1" * 16
