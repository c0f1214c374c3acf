"""When a policy is silent; what cannot be read keeps nobody silent and is told."""

from typing import Any

import pytest

from penstock_operator.api.v1alpha1.drift_policy import Mute
from penstock_operator.core.conditions import unix_seconds
from penstock_operator.core.mute import muting_at

SATURDAY, SUNDAY = unix_seconds("2026-12-26T01:30:00Z"), unix_seconds("2026-12-27T01:30:00Z")
NIGHTS: dict[str, Any] = {"cron": "0 2 * * 0", "duration": "3h", "timeZone": "Europe/Berlin"}


def test_a_mute_comes_again_in_its_own_time_zone() -> None:
    mutes = [Mute.parse({**NIGHTS, "reason": "batch"})]
    assert muting_at(mutes, SATURDAY).silence is None
    found = muting_at(mutes, SUNDAY).silence
    assert found is not None
    assert found.message == "muted until 2026-12-27T04:00:00.000Z (batch)"


def test_of_two_mutes_the_one_that_lasts_longer_counts() -> None:
    longer = Mute.parse({"from": "2026-12-27T00:00:00Z", "until": "2026-12-28T00:00:00Z"})
    found = muting_at([Mute.parse(NIGHTS), longer], SUNDAY).silence
    assert found is not None
    assert found.until == unix_seconds("2026-12-28T00:00:00Z")


@pytest.mark.parametrize(
    ("mute", "said"),
    [
        pytest.param({**NIGHTS, "timeZone": "Mars/Olympus"}, "there is no time zone 'Mars/Olympus'", id="nowhere"),
        pytest.param({**NIGHTS, "cron": "0 2 31 13 *"}, "spec.mute[0]: cron", id="a month too many"),
        pytest.param({"from": "yesterday", "until": "tomorrow"}, "'yesterday' is no time", id="words"),
        pytest.param({"from": "2026-12-24T18:00:00Z"}, "write either {from: …, until: …} or {cron:", id="half"),
    ],
)
def test_what_cannot_be_read_is_told_and_keeps_nobody_silent(mute: dict[str, Any], said: str) -> None:
    found = muting_at([Mute.parse(mute)], SUNDAY)
    assert found.silence is None
    assert said in found.errors[0]
    assert muting_at([Mute.parse(mute), Mute.parse(NIGHTS)], SUNDAY).silence is not None
