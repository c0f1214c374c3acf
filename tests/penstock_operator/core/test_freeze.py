"""Freeze windows: when they hold a rollout, until when, and what cannot be meant."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st

from penstock_operator.api.v1alpha1.traffic_split import FreezeWindow
from penstock_operator.core.freeze import freeze_at

BERLIN = "Europe/Berlin"


def windows(*entries: tuple[str, str] | tuple[str, str, str]) -> list[FreezeWindow]:
    return [
        FreezeWindow.parse({"cron": cron, "duration": duration, **({"timeZone": zone[0]} if zone else {})})
        for cron, duration, *zone in entries
    ]


def unix(text: str) -> float:
    """Return the Unix seconds of "2026-11-20 18:00 +01:00"."""
    return datetime.strptime(text, "%Y-%m-%d %H:%M %z").timestamp()


def until(frozen: Sequence[FreezeWindow], moment: str) -> str | None:
    """Return when it is over, in UTC; None where nothing is frozen."""
    found = freeze_at(frozen, unix(moment))
    if found is None:
        return None
    assert found.until is not None, found.error
    return f"{datetime.fromtimestamp(found.until, UTC):%Y-%m-%d %H:%M}"


def error(*entries: tuple[str, str] | tuple[str, str, str], moment: str = "2026-11-20 18:00 +00:00") -> str:
    found = freeze_at(windows(*entries), unix(moment))
    assert found is not None, "what cannot be read must freeze"
    assert found.until is None
    assert found.error in found.message
    return found.error


WEEKEND = windows(("0 18 * * 5", "60h", BERLIN))


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-11-20 17:59 +01:00", None),
        ("2026-11-20 18:00 +01:00", "2026-11-23 05:00"),
        ("2026-11-22 03:00 +01:00", "2026-11-23 05:00"),
        ("2026-11-23 05:59 +01:00", "2026-11-23 05:00"),
        ("2026-11-23 06:00 +01:00", None),
        ("2026-11-24 12:00 +01:00", None),
    ],
)
def test_a_window_begins_on_its_minute_in_its_zone_and_lasts_its_duration(moment: str, expected: str | None) -> None:
    assert until(WEEKEND, moment) == expected


def test_seconds_within_the_first_minute_are_frozen_too() -> None:
    assert freeze_at(WEEKEND, unix("2026-11-20 18:00 +01:00") + 0.5) is not None
    assert freeze_at(WEEKEND, unix("2026-11-20 18:00 +01:00") - 0.5) is None


def test_without_windows_nothing_is_frozen() -> None:
    assert freeze_at([], unix("2026-11-20 18:00 +01:00")) is None


def test_the_message_says_the_end_where_the_person_lives_and_which_entry_it_is() -> None:
    found = freeze_at([*windows(("0 0 1 1 *", "24h")), *WEEKEND], unix("2026-11-21 12:00 +01:00"))
    assert found is not None
    assert found.message == "frozen until Mon 2026-11-23 06:00 Europe/Berlin (spec.freeze[1])"


@pytest.mark.parametrize(
    ("cron", "moment"),
    [
        ("0 18 * * FRI", "2026-11-20 18:00 +00:00"),
        ("0 18 * * mon-fri", "2026-11-20 18:00 +00:00"),
        ("*/15 8-17 * * *", "2026-11-20 17:45 +00:00"),
        ("0 18 20,21 NOV *", "2026-11-20 18:00 +00:00"),
        ("0 0 L * *", "2026-11-30 00:00 +00:00"),
        ("0 0 24-31 12 *", "2026-12-24 00:00 +00:00"),
        ("0 18 * * 0", "2026-11-22 18:00 +00:00"),
        ("0 18 * * 7", "2026-11-22 18:00 +00:00"),
        ("5/20 * * * *", "2026-11-22 18:25 +00:00"),
    ],
)
def test_names_ranges_steps_and_lists_are_understood(cron: str, moment: str) -> None:
    one = windows((cron, "1m"))
    assert until(one, moment) is not None
    assert freeze_at(one, unix(moment) - 60) is None


class TestWhereClocksChange:
    """Berlin: 2026-03-29 02:00 becomes 03:00, 2026-10-25 03:00 becomes 02:00."""

    def test_a_duration_is_real_time_so_the_wall_clock_of_its_end_moves(self) -> None:
        assert until(WEEKEND, "2026-10-24 12:00 +02:00") == "2026-10-26 04:00", "05:00 in Berlin"
        assert until(WEEKEND, "2026-03-28 12:00 +01:00") == "2026-03-30 05:00", "07:00 in Berlin"

    def test_a_start_in_the_hour_that_does_not_exist_comes_right_after_it(self) -> None:
        night = windows(("30 2 * * *", "1h", BERLIN))
        assert until(night, "2026-03-29 01:59 +01:00") is None
        assert until(night, "2026-03-29 03:00 +02:00") == "2026-03-29 02:00"

    def test_a_start_in_the_hour_that_comes_twice_comes_once(self) -> None:
        night = windows(("30 2 * * *", "20m", BERLIN))
        assert until(night, "2026-10-25 02:30 +02:00") == "2026-10-25 00:50"
        assert until(night, "2026-10-25 02:30 +01:00") is None

    def test_a_window_holds_on_through_the_second_time_of_the_hour(self) -> None:
        night = windows(("30 2 * * *", "50m", BERLIN))
        assert until(night, "2026-10-25 02:10 +01:00") == "2026-10-25 01:20", "40 minutes after its start"

    def test_half_an_hour_of_change_is_as_good(self) -> None:
        # Lord Howe: 2026-04-05 02:00 +11:00 becomes 01:30 +10:30.
        night = windows(("45 1 * * *", "25m", "Australia/Lord_Howe"))
        assert until(night, "2026-04-05 01:35 +10:30") == "2026-04-04 15:10"
        assert until(night, "2026-04-05 01:45 +10:30") is None

    @given(
        cron=st.sampled_from(["30 2 * * *", "0 * * * *", "15 1-3 * * *", "*/20 2 * * 0", "59 1 * * *", "0 3 * * *"]),
        zone=st.sampled_from([BERLIN, "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"]),
        day=st.sampled_from(["2026-03-08", "2026-03-29", "2026-04-05", "2026-10-04", "2026-10-25", "2026-11-01"]),
        minute=st.integers(0, 48 * 60),
        lasts=st.integers(1, 45),
    )
    def test_looking_back_agrees_with_counting_forward(
        self, cron: str, zone: str, day: str, minute: int, lasts: int
    ) -> None:
        moment = datetime.fromisoformat(f"{day}T00:00+00:00") - timedelta(hours=12) + timedelta(minutes=minute)
        begun = CronSim(cron, (moment - timedelta(days=9)).astimezone(ZoneInfo(zone)))
        starts = []
        while (start := next(begun).astimezone(UTC)) <= moment:
            starts.append(start)
        covered = any(start <= moment < start + timedelta(minutes=lasts) for start in starts)
        found = freeze_at(windows((cron, f"{lasts}m", zone)), moment.timestamp())
        assert (found is not None) == covered


class TestSeveralWindows:
    def test_windows_that_touch_are_one_freeze(self) -> None:
        both = windows(("0 18 * * 5", "30h"), ("0 0 * * 0", "24h"))
        assert until(both, "2026-11-20 19:00 +00:00") == "2026-11-23 00:00"

    def test_windows_with_an_hour_between_them_are_two(self) -> None:
        both = windows(("0 18 * * 5", "29h"), ("0 0 * * 0", "24h"))
        assert until(both, "2026-11-20 19:00 +00:00") == "2026-11-21 23:00"
        assert until(both, "2026-11-21 23:30 +00:00") is None

    def test_a_short_window_inside_a_long_one_does_not_end_it(self) -> None:
        both = windows(("0 18 * * 5", "60h"), ("0 0 * * 6", "1h"))
        assert until(both, "2026-11-21 00:30 +00:00") == "2026-11-23 06:00"

    def test_zones_may_differ(self) -> None:
        both = windows(("0 18 * * 5", "6h", "UTC"), ("0 1 * * 6", "6h", BERLIN))
        assert until(both, "2026-11-20 19:00 +00:00") == "2026-11-21 06:00"

    def test_all_workdays_open_on_saturday(self) -> None:
        assert until(windows(("0 * * * 1-5", "1h")), "2026-11-16 00:00 +00:00") == "2026-11-21 00:00"


class TestWhatCannotBeMeant:
    @pytest.mark.parametrize(
        "entries",
        [
            [("0 0 * * *", "24h")],
            [("* * * * *", "1m")],
            [("0 0 * * 1-5", "24h"), ("0 0 * * 6,0", "24h")],
            [("0 0 1 * *", "750h")],
        ],
        ids=["daily", "each minute", "two that fill the week", "monthly"],
    )
    def test_windows_that_never_open_are_told_and_freeze(self, entries: list[tuple[str, str]]) -> None:
        assert "spec.freeze: the windows leave no opening before" in error(*entries)

    @pytest.mark.parametrize(
        ("cron", "named"),
        [
            ("61 * * * *", "Bad minute"),
            ("* 25 * * *", "Bad hour"),
            ("0 0 31 2 *", "Bad day-of-month"),
            ("0 0 * FOO *", "Bad month"),
            ("0 0 * * 8", "Bad day-of-week"),
            ("*/0 * * * *", "Bad minute"),
            ("0 0 * *", "has not five fields"),
            ("0 0 0 * * *", "has not five fields"),
            ("@daily", "has not five fields"),
            ("", "has not five fields"),
        ],
    )
    def test_a_cron_that_does_not_parse_is_named_with_the_fix(self, cron: str, named: str) -> None:
        told = error(("0 18 * * 5", "1h"), (cron, "1h"))
        assert told.startswith(f"spec.freeze[1].cron: {cron!r}")
        assert named in told
        assert "minute hour day-of-month month day-of-week, such as 0 18 * * 5" in told

    @pytest.mark.parametrize(
        "zone", ["Mars/Olympus", "", "../../etc/passwd", "/etc/passwd", "Europe", "zone.tab", "\0"]
    )
    def test_a_zone_that_is_none_is_named(self, zone: str) -> None:
        told = error(("0 18 * * 5", "1h", zone))
        assert told.startswith("spec.freeze[0].timeZone: there is no time zone")
        assert "such as Europe/Berlin" in told

    def test_a_window_that_lasts_no_time_is_named(self) -> None:
        assert "spec.freeze[0].duration" in error(("0 18 * * 5", "0s"))


@given(text=st.text(max_size=40), zone=st.text(max_size=20), now=st.floats(0, 4e9))
def test_no_text_breaks_it(text: str, zone: str, now: float) -> None:
    entry: dict[str, Any] = {"cron": text, "duration": "1h", "timeZone": zone}
    found = freeze_at([FreezeWindow.parse(entry)], now)
    assert found is None or found.message
