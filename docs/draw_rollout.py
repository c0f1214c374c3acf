"""Draws the state diagram in docs/rollout.md from the transition table: ``python docs/draw_rollout.py``."""  # noqa: INP001 - a script, not a package

from collections import defaultdict
from pathlib import Path

from penstock_operator.core.phases import TRANSITIONS, Phase, Trigger

TARGET = Path(__file__).resolve().parent / "rollout.md"
BEGIN = "<!-- drawn by docs/draw_rollout.py -->\n"
END = "<!-- drawn -->\n"


def diagram() -> str:
    """Return the table as a mermaid diagram, one arrow for each pair of phases."""
    arrows: defaultdict[tuple[Phase, Phase], list[Trigger]] = defaultdict(list)
    for (phase, trigger), after in TRANSITIONS.items():
        if after is not phase:
            arrows[phase, after].append(trigger)
    order = list(Phase)
    lines = [
        f"    {phase} --> {after}: {', '.join(sorted(triggers))}"
        for (phase, after), triggers in sorted(arrows.items(), key=lambda item: [order.index(end) for end in item[0]])
    ]
    return "\n".join(["```mermaid", "stateDiagram-v2", "    [*] --> Idle", *lines, "```", ""])


def with_diagram(page: str) -> str:
    """Return the page with the diagram between its two marks."""
    head, found, rest = page.partition(BEGIN)
    _, closed, tail = rest.partition(END)
    if not found or not closed:
        raise ValueError(f"{TARGET.name} needs the lines {BEGIN.strip()} and {END.strip()}")
    return head + BEGIN + diagram() + END + tail


if __name__ == "__main__":
    TARGET.write_text(with_diagram(TARGET.read_text()))
