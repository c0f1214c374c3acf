import base64
import json

import pytest
from benchmarks.serving import rounds, wire
from benchmarks.serving.contenders import contenders
from benchmarks.serving.goals import SUBJECT_LINE, SUBJECT_SERVER
from benchmarks.serving.load import Outcome
from benchmarks.serving.rounds import Load, Patience, Round, RoundFailed, measured, play

LOAD = Load(
    dialect=wire.V2_JSON, payload=b"", expected={"y": [1.0]}, connections=1, seconds=1, warm_up_seconds=0, core=0
)


def outcome(*, foreign: float = 0.0, requests: int = 100, answer: float = 1.0) -> Outcome:
    body = json.dumps({"outputs": [{"name": "y", "data": [answer]}]}).encode()
    return Outcome(
        requests=requests,
        seconds=1.0,
        p50_ms=1.0,
        p99_ms=2.0,
        server_cpu_seconds=0.5,
        client_cpu_seconds=0.25,
        foreign_cpu_seconds={"cc1": foreign} if foreign else {},
        stolen_seconds=0.0,
        samples=[base64.b64encode(body).decode()],
    )


def played(monkeypatch: pytest.MonkeyPatch, *outcomes: Outcome, patience: int = 9) -> tuple[Round, int]:
    """Return the round that counts when the client brings these outcomes, and how many of them it was asked for."""
    coming = list(outcomes)
    monkeypatch.setattr(rounds, "_outcome", lambda *_args, **_named: coming.pop(0))
    one = play(LOAD, port=1, server_pids=[1], patience=Patience(patience))
    return one, len(outcomes) - len(coming)


def test_a_quiet_round_counts_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    one, asked = played(monkeypatch, outcome(), outcome(requests=999))
    assert (one.disturbed, one.repeated, asked) == (None, 0, 1)
    assert one.figures.requests_per_second == 100
    assert one.figures.cpu_seconds_per_1000 == 5.0
    assert one.figures.client_share == 0.25


def test_a_disturbed_round_is_repeated_until_it_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    one, asked = played(monkeypatch, outcome(foreign=0.5, requests=10), outcome(requests=20), outcome(requests=30))
    assert (one.disturbed, one.repeated, asked) == (None, 1, 2)
    assert one.figures.requests_per_second == 20


def test_the_quietest_counts_where_none_is_quiet_and_says_who_disturbed(monkeypatch: pytest.MonkeyPatch) -> None:
    tries = [outcome(foreign=share, requests=int(share * 1000)) for share in (0.5, 0.2, 0.4, 0.1)]
    one, asked = played(monkeypatch, *tries)
    assert asked == 3
    assert one.figures.requests_per_second == 200
    assert one.disturbed == "cc1 0.20 s of 1.0 s"
    assert measured([one]).disturbed == ["cc1 0.20 s of 1.0 s"]


def test_repetitions_end_when_those_of_the_whole_run_are_used_up(monkeypatch: pytest.MonkeyPatch) -> None:
    _, asked = played(monkeypatch, outcome(foreign=0.5), outcome(), patience=0)
    assert asked == 1


def test_a_wrong_answer_ends_the_round(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RoundFailed, match="wrong answer: output y"):
        played(monkeypatch, outcome(answer=1.1))


def test_the_goals_speak_of_servers_that_are_measured() -> None:
    every = contenders()
    names = {contender.name for contender in every}
    lines = [contender.line(dialect) for contender in every for dialect in contender.dialects]
    assert len(set(lines)) == len(lines)
    assert {SUBJECT_LINE, "bare", "mlserver", "kserve-quiet", "litserve", "bentoml"} <= set(lines)
    assert SUBJECT_SERVER in names
