"""The state diagram is what the transition table says."""

import pytest

from docs import draw_rollout
from penstock_operator.core.phases import TRANSITIONS, Phase


def test_the_drawn_rollout_is_current() -> None:
    page = draw_rollout.TARGET.read_text()

    assert page == draw_rollout.with_diagram(page), "run: python docs/draw_rollout.py"


def test_every_phase_and_every_move_is_drawn() -> None:
    drawn = draw_rollout.diagram()

    for (phase, trigger), after in TRANSITIONS.items():
        lines = [line for line in drawn.splitlines() if line.strip().startswith(f"{phase} --> {after}:")]
        assert phase is after or (len(lines) == 1 and trigger in lines[0])
    assert all(phase in drawn for phase in Phase)


def test_a_page_without_the_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="needs the lines"):
        draw_rollout.with_diagram("# How a rollout goes\n")
