"""Processes are known by pid and start time, and ended by nothing else."""

import dataclasses
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster.embedded import processes

SLEEP = ["sleep", "60"]
# The main thread ends and another lives on: the kernel shows a zombie whose ports are still open.
HALF_ENDED = (
    "import ctypes, threading, time; threading.Thread(target=time.sleep, args=(60,)).start(); "
    "ctypes.CDLL(None).pthread_exit(None)"
)


@pytest.fixture
def run_dir(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    for record in processes.recorded(tmp_path):
        processes.kill(record)


def start(run_dir: Path, argv: list[str]) -> processes.ProcessRecord:
    return processes.start(processes.Daemon(name="it", argv=argv, run_dir=run_dir))


def test_a_started_process_is_found_by_its_record(run_dir: Path) -> None:
    record = start(run_dir, SLEEP)
    assert processes.find(run_dir, "it") == record
    assert processes.is_alive(record)


def test_stopping_waits_until_it_is_gone(run_dir: Path) -> None:
    record = start(run_dir, SLEEP)
    processes.stop(record)
    assert not processes.is_alive(record)


def test_a_frozen_process_can_be_stopped(run_dir: Path) -> None:
    record = start(run_dir, SLEEP)
    processes.send(record, signal.SIGSTOP)
    processes.stop(record)
    assert not processes.is_alive(record)


def test_a_process_that_ignores_sigterm_is_killed_after_its_grace(run_dir: Path) -> None:
    ready = run_dir / "ready"
    program = f"trap '' TERM; touch {ready}; while :; do sleep 60 & wait; done"
    record = start(run_dir, ["bash", "-c", program])
    while not ready.exists():
        assert processes.is_alive(record)
    processes.stop(record, grace_seconds=0.05)
    assert not processes.is_alive(record)


def test_another_process_with_the_same_pid_is_never_signalled(run_dir: Path) -> None:
    record = start(run_dir, SLEEP)
    reused = dataclasses.replace(record, start_ticks=record.start_ticks - 1)
    processes.kill(reused)
    assert not processes.send(reused, signal.SIGKILL)
    assert processes.is_alive(record)


def test_a_record_of_an_earlier_boot_names_nobody(run_dir: Path) -> None:
    record = start(run_dir, SLEEP)
    assert not processes.is_alive(dataclasses.replace(record, boot_id="earlier"))


def test_a_process_whose_main_thread_alone_has_ended_is_alive(run_dir: Path) -> None:
    record = start(run_dir, [sys.executable, "-c", HALF_ENDED])
    stat = Path(f"/proc/{record.pid}/stat")
    while stat.read_text().rpartition(")")[2].split()[0] != "Z":
        assert processes.is_alive(record)
    assert processes.is_alive(record)


def test_a_record_cut_short_is_no_record(run_dir: Path) -> None:
    (run_dir / "half.pid.json").write_text('{"pid": 1')
    assert processes.find(run_dir, "half") is None
    assert processes.recorded(run_dir) == []


def test_the_output_of_a_process_is_appended_to_its_log(run_dir: Path) -> None:
    for word in ("one", "two"):
        record = start(run_dir, ["echo", word])
        assert processes.wait_gone(record, timeout_seconds=5)
    assert processes.tail(run_dir / "it.log") == "one\ntwo"
