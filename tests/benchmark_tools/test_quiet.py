import os
from pathlib import Path

from benchmarks.serving.quiet import Process, Snapshot, Usage, disturbance, snapshot, tree, usage


def process(parent: int = 1, *, session: int = 1, name: str = "x", cpu: float = 0.0, began: int = 7) -> Process:
    return Process(parent=parent, session=session, name=name, cpu_seconds=cpu, began=began)


def at(processes: dict[int, Process], stolen: float = 0.0) -> Snapshot:
    return Snapshot(processes=processes, stolen_seconds=stolen)


def test_a_server_is_its_session_and_every_descendant() -> None:
    processes = {
        10: process(1, session=10),
        11: process(10, session=10),
        12: process(11, session=12),
        13: process(1, session=10),
        20: process(1, session=20),
    }
    assert tree(processes, 10) == {10, 11, 12, 13}


def test_cpu_time_is_told_apart_into_server_client_and_others() -> None:
    before = at({10: process(cpu=1.0), 20: process(cpu=2.0), 30: process(name="cc1", cpu=5.0)}, stolen=1.0)
    after = at({10: process(cpu=1.5), 20: process(cpu=2.25), 30: process(name="cc1", cpu=5.125)}, stolen=1.5)
    used = usage(before, after, server={10}, client={20})
    assert used == Usage(server=0.5, client=0.25, foreign={"cc1": 0.125}, stolen=0.5)


def test_a_process_that_took_the_id_of_an_ended_one_is_charged_for_all_of_its_time() -> None:
    before = at({30: process(name="old", cpu=50.0, began=7)})
    after = at({30: process(name="new", cpu=0.5, began=9)})
    assert usage(before, after, server=(), client=()).foreign == {"new": 0.5}


def test_a_process_that_began_meanwhile_counts() -> None:
    assert usage(at({}), at({30: process(name="mypy", cpu=0.75)}), server=(), client=()).foreign == {"mypy": 0.75}


def test_a_round_is_quiet_while_others_take_less_than_a_thirtieth_of_a_core() -> None:
    assert disturbance(Usage(server=2, client=1, foreign={"sshd": 0.06}, stolen=0), 2.0) is None
    assert disturbance(Usage(server=2, client=1, foreign={"sshd": 0.1}, stolen=0), 2.0) == "sshd 0.10 s of 2.0 s"


def test_many_small_ones_disturb_as_much_as_a_large_one_and_the_worst_are_named() -> None:
    foreign = {"a": 0.05, "b": 0.06, "c": 0.07, "d": 0.08}
    assert disturbance(Usage(server=1, client=1, foreign=foreign, stolen=0), 1.0) == (
        "d 0.08 s, c 0.07 s, b 0.06 s of 1.0 s"
    )


def test_what_the_hypervisor_takes_disturbs_too() -> None:
    assert disturbance(Usage(server=1, client=1, foreign={}, stolen=0.5), 1.0) == "the hypervisor 0.50 s of 1.0 s"


def test_the_real_proc_is_read_and_holds_this_process() -> None:
    found = snapshot().processes[os.getpid()]
    assert found.parent == os.getppid()
    assert found.session == os.getsid(0)
    assert found.cpu_seconds > 0


def test_a_name_with_blanks_and_brackets_shifts_no_field(tmp_path: Path) -> None:
    folder = tmp_path / "42"
    folder.mkdir()
    fields = ["S", "1", "42", "40", *["0"] * 7, "150", "50", *["0"] * 6, "99", "0"]
    (folder / "stat").write_text(f"42 (a b) (c)) {' '.join(fields)}\n")
    (tmp_path / "stat").write_text("cpu 1 2 3 4 5 6 7 250 0 0\n")
    found = snapshot(tmp_path)
    ticks = os.sysconf("SC_CLK_TCK")
    assert found.stolen_seconds == 250 / ticks
    assert found.processes == {42: Process(parent=1, session=40, name="a b) (c)", cpu_seconds=200 / ticks, began=99)}
