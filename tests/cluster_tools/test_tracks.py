"""Tracks of `make test` run side by side: all is told, a failure ends all, and a table says what took how long."""

import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path

import pytest
from cluster.embedded import binaries
from cluster.run_tests import MEASURING, PARTS, SHARING, Run, fulfil, total
from cluster.tracks import PartFailedError, Work

from cluster import run_tests

PYTHON = sys.executable


@pytest.fixture
def work() -> Work:
    return Work()


def run(work: Work, code: str, *, track: str = "a", title: str = "part") -> int:
    return work.run(track, title, PYTHON, "-c", code, environment=os.environ)


def test_each_line_is_shown_behind_the_name_of_its_track(work: Work, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(work, "import sys; print('one'); print('two', file=sys.stderr)") == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[1:-1] == ["a       | one", "a       | two"]
    assert "part: begun" in shown[0]
    assert "part: done after" in shown[-1]


def test_the_table_tells_each_part_in_order_and_which_failed(work: Work) -> None:
    run(work, "pass", title="first")
    run(work, "raise SystemExit(3)", title="second")
    head, first, second = work.table().splitlines()
    assert head.split() == ["part", "track", "began", "took", "busy"]
    assert first.startswith("first")
    assert not first.endswith("FAILED")
    assert second.startswith("second")
    assert second.endswith("FAILED")


def test_a_part_without_which_nothing_can_go_on_raises(work: Work) -> None:
    with pytest.raises(PartFailedError, match="check"):
        work.must("a", "check", PYTHON, "-c", "raise SystemExit(1)", environment=os.environ)


def test_a_niceness_gives_a_command_less_of_the_machine(work: Work, capsys: pytest.CaptureFixture[str]) -> None:
    code = "import os; print(os.nice(0))"
    own = os.nice(0)
    work.run("a", "part", PYTHON, "-c", code, environment=os.environ, niceness=3)
    assert f"a       | {min(19, own + 3)}" in capsys.readouterr().out


def test_stopping_ends_what_runs_and_what_is_begun_afterwards_fails(work: Work, tmp_path: Path) -> None:
    raised: list[BaseException] = []
    begun = tmp_path / "begun"

    def track() -> None:
        try:
            run(work, f"import subprocess; subprocess.run(['sh', '-c', 'echo $$ >{begun}; exec sleep 60'])")
        except PartFailedError as error:
            raised.append(error)

    thread = threading.Thread(target=track)
    started = time.monotonic()
    thread.start()
    while not (begun.exists() and begun.read_text()) and time.monotonic() - started < 20:
        thread.join(0.05)
    work.stop()
    thread.join(20)
    assert not thread.is_alive()
    with pytest.raises(ProcessLookupError):
        os.kill(int(begun.read_text()), 0)
    assert len(raised) == 1
    assert time.monotonic() - started < 40
    with pytest.raises(PartFailedError):
        run(work, "pass")


def test_a_promise_fails_with_what_it_waits_for() -> None:
    promise: Future[None] = Future()

    def do() -> None:
        raise PartFailedError("programs")

    with pytest.raises(PartFailedError, match="programs"):
        fulfil(promise, do)
    with pytest.raises(PartFailedError, match="programs"):
        promise.result(0)


def test_totals_are_over_all_reports_and_one_that_is_missing_is_a_failure(tmp_path: Path) -> None:
    suite = '<testsuite tests="{}" failures="{}" errors="0" skipped="{}"/>'
    for name, counts in (("a", (5, 1, 0)), ("b", (4, 0, 2))):
        (tmp_path / name).write_text(f"<testsuites>{suite.format(*counts)}</testsuites>")
    found = total([tmp_path / "a", tmp_path / "b", tmp_path / "missing"])
    assert found == {"passed": 6, "failed": 2, "skipped": 2}


class Rehearsal(Work):
    """Runs nothing, and notes in which order parts end."""

    def __init__(self, *, failing: str = "") -> None:
        super().__init__()
        self.ended: list[str] = []
        self.stopped = False
        self._failing = failing

    def run(self, track: str, title: str, *_command: str, environment: Mapping[str, str], niceness: int = 0) -> int:
        assert track
        assert niceness in range(20)
        assert environment is not None
        self.ended.append(title)
        return int(title == self._failing)

    def stop(self) -> None:
        self.stopped = True


@pytest.fixture(params=[True, False], ids=["gateway built before", "gateway built meanwhile"])
def rehearse(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[Rehearsal], bool]:
    monkeypatch.setattr(run_tests, "last_line", lambda *_command: "somewhere")
    monkeypatch.setattr(binaries, "is_linked", lambda _module: request.param)
    return lambda work: Run(work=work, folder=tmp_path, environment={"PATH": "/bin"}).all()


def test_everything_is_done_in_an_order_in_which_each_part_finds_what_it_needs(
    rehearse: Callable[[Rehearsal], bool],
) -> None:
    work = Rehearsal()
    assert rehearse(work)
    assert {part.title for part in PARTS} <= set(work.ended)
    assert work.ended[-1] == MEASURING.title
    before = work.ended[: work.ended.index(SHARING.title)]
    needed = {"Envoy Gateway", "programs beside the cluster", run_tests.DISTURBING.title}
    assert needed | {run_tests.WITHOUT_CLUSTER.title} <= set(before)
    assert work.ended.index("environments of other people's programs") < work.ended.index(
        run_tests.WITHOUT_CLUSTER.title
    )


@pytest.mark.parametrize("title", [part.title for part in PARTS])
def test_tests_that_fail_stop_nothing_and_are_told(rehearse: Callable[[Rehearsal], bool], title: str) -> None:
    work = Rehearsal(failing=title)
    assert not rehearse(work)
    assert work.ended[-1] == MEASURING.title


@pytest.mark.parametrize(
    "title", ["make check", "a cluster with Penstock in it", "programs beside the cluster", "a store like Azure's"]
)
def test_what_nothing_can_go_on_without_ends_all(rehearse: Callable[[Rehearsal], bool], title: str) -> None:
    work = Rehearsal(failing=title)
    with pytest.raises(PartFailedError, match=title):
        rehearse(work)
    assert work.stopped
    assert MEASURING.title not in work.ended
