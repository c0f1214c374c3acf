"""What is noted about the machine, and what is put back or removed."""

import json
import multiprocessing
import socket
import stat
from pathlib import Path

import pytest
from cluster.embedded import (
    binaries,
    cgroups,
    firewall,
    locks,
    mounts,
    network,
    originals,
    packages,
    ports,
    processes,
    ruins,
)
from cluster.embedded.layout import Layout


def test_the_machines_state_is_noted_once_and_never_overwritten(tmp_path: Path) -> None:
    note = tmp_path / "originals.json"
    originals.record(note, firewall=["iptables/nat"])
    first = note.read_text()
    originals.record(note, firewall=[])
    assert note.read_text() == first
    loaded = originals.load(note)
    assert loaded is not None
    assert loaded.firewall == {"iptables/nat"}


def test_an_unchanged_kernel_setting_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(originals, "PROC_SYS", tmp_path)
    (tmp_path / "changed").write_text("1\n")
    (tmp_path / "same").write_text("5\n")
    note = originals.Originals(
        sysctls={"changed": "0", "same": "5", "unknown": "1"}, folders=frozenset(), firewall=frozenset()
    )
    originals.restore_sysctls(note)
    assert (tmp_path / "changed").read_text() == "0"
    assert (tmp_path / "same").read_text() == "5\n"
    assert not (tmp_path / "unknown").exists()


def test_a_folder_of_ours_goes_with_its_sockets(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    folder.mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "shim"))
        ruins.remove_if_ours(folder)
    assert not folder.exists()


def test_a_folder_with_somebodys_file_stays(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    ruins.remove_if_ours(tmp_path)
    assert (tmp_path / "precious").exists()


def test_the_folder_of_somebodys_images_stays_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = tmp_path / "containers"
    (store / "storage").mkdir(parents=True)
    (store / "cache").mkdir()
    (store / "cache" / "index").write_text("x")
    monkeypatch.setattr(ruins, "SOMEBODYS_IMAGES", store / "storage")
    monkeypatch.setattr(ruins, "REMAINS", {str(store / "cache"): ("index",)})
    ruins.remove_if_ours(store / "cache")
    ruins.remove_if_ours(store)
    assert (store / "cache" / "index").exists()
    assert (store / "storage").exists()


@pytest.mark.parametrize(
    ("argv", "is_ours"),
    [
        pytest.param(["/c/bin/etcd", "--data-dir=/s/c/etcd"], True, id="our etcd"),
        pytest.param(["/usr/bin/containerd-shim-runc-v2", "-address", "/s/c/run/containerd.sock"], True, id="our shim"),
        pytest.param(["containerd", "--config", "/etc/containerd/config.toml"], False, id="the system's containerd"),
        pytest.param(["/c/bin/etcd", "--data-dir=/s/cluster2/etcd"], False, id="a folder whose name begins the same"),
        pytest.param(["tail", "-f", "/s/c/run/etcd.log"], False, id="a person who looks at a log"),
        pytest.param([], False, id="a kernel thread"),
    ],
)
def test_a_stray_process_is_ours_by_its_program_and_its_state_folder(argv: list[str], *, is_ours: bool) -> None:
    assert ruins.belongs(argv, Path("/s/c")) is is_ours


def test_mounts_are_found_deepest_first_and_never_outside(tmp_path: Path) -> None:
    line = "1 0 0:1 / {} rw - tmpfs tmpfs rw"
    text = "\n".join(line.format(point) for point in ("/s", "/s/a", "/s/a/b", "/sa"))
    assert mounts.below(Path("/s/a"), text) == ["/s/a/b", "/s/a"]


def test_a_tree_without_mounts_is_deleted_and_a_missing_one_is_fine(tmp_path: Path) -> None:
    (tmp_path / "x" / "y").mkdir(parents=True)
    mounts.delete_tree(tmp_path / "x")
    mounts.delete_tree(tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_both_generations_of_control_groups_are_found() -> None:
    text = "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw 0 0\ntmpfs /tmp tmpfs rw 0 0"
    assert [(str(path), "cpu" in options) for path, options in cgroups.hierarchies(text)] == [
        ("/sys/fs/cgroup/cpu", True),
        ("/sys/fs/cgroup", False),
    ]


def test_down_without_a_note_of_an_up_touches_nothing_on_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        pytest.fail("touched the machine")

    for module, name in (
        (network, "remove"),
        (firewall, "remove"),
        (cgroups, "kill_all"),
        (cgroups, "remove"),
        (processes, "kill"),
        (originals, "restore_sysctls"),
    ):
        monkeypatch.setattr(module, name, refuse)
    state = tmp_path / "state"
    state.mkdir()
    ruins.clear(Layout(state=state))
    ruins.clear(Layout(state=state))
    assert list(tmp_path.iterdir()) == []


def test_a_deletion_that_was_killed_half_way_is_finished_by_the_next(tmp_path: Path) -> None:
    (tmp_path / "state.deleted" / "left").mkdir(parents=True)
    mounts.delete_tree(tmp_path / "state")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(packages, "POLICY", tmp_path / "policy-rc.d")
    monkeypatch.setattr(packages, "SET_ASIDE", tmp_path / "policy-rc.d.before")
    return tmp_path / "policy-rc.d"


def test_services_may_not_start_while_packages_are_installed_and_the_old_rule_comes_back(policy: Path) -> None:
    policy.write_text("#!/bin/sh\nexit 0\n")
    with packages.no_service_starts():
        assert "exit 101" in policy.read_text()
        assert policy.stat().st_mode & stat.S_IXUSR
    assert "exit 0" in policy.read_text()
    assert list(policy.parent.iterdir()) == [policy]


def test_where_there_was_no_rule_there_is_none_afterwards(policy: Path) -> None:
    with packages.no_service_starts():
        assert policy.exists()
    assert list(policy.parent.iterdir()) == []


def test_a_rule_that_a_killed_run_had_set_aside_comes_back(policy: Path) -> None:
    packages.SET_ASIDE.write_text("#!/bin/sh\nexit 0\n")
    policy.write_text("#!/bin/sh\nexit 101\n")
    with packages.no_service_starts():
        pass
    assert "exit 0" in policy.read_text()


def test_chosen_ports_are_free_and_differ() -> None:
    chosen = ports.choose(["a", "b", "c"])
    assert len(set(chosen.values())) == 3
    assert all(ports.is_free(port) and port in ports.CANDIDATES for port in chosen.values())


def test_a_preferred_port_that_is_taken_is_replaced() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        assert ports.choose(["a"], preferred={"a": number})["a"] != number


def hold(path: Path, entered: "multiprocessing.synchronize.Event", leave: "multiprocessing.synchronize.Event") -> None:
    with locks.exclusive(path, doing="testing"):
        entered.set()
        leave.wait(10)


def test_a_second_process_waits_for_the_lock_and_the_file_is_gone_afterwards(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    path = tmp_path / "lock"
    gates = [(context.Event(), context.Event()) for _ in range(2)]
    holders = [context.Process(target=hold, args=(path, *gate)) for gate in gates]
    holders[0].start()
    assert gates[0][0].wait(10)
    holders[1].start()
    assert not gates[1][0].wait(0.3)
    gates[0][1].set()
    assert gates[1][0].wait(10)
    gates[1][1].set()
    for holder in holders:
        holder.join(10)
        assert holder.exitcode == 0
    assert not path.exists()


def test_the_key_of_a_program_changes_with_its_modules_hashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "MODULES", tmp_path)
    module = binaries.GoModule(name="m", produces={"m": "m"})
    module.folder.mkdir()
    (module.folder / "go.mod").write_text("module m\n")
    before = binaries.module_key(module)
    (module.folder / "go.sum").write_text("h1:x\n")
    assert binaries.module_key(module) != before


@pytest.mark.parametrize("module", binaries.ALL_MODULES, ids=lambda module: str(module.name))
def test_every_module_has_pinned_hashes_where_it_requires_something(module: binaries.GoModule) -> None:
    requires = "require" in (module.folder / "go.mod").read_text()
    assert requires == (module.folder / "go.sum").exists()


def test_all_staging_modules_of_kubernetes_are_replaced_by_the_same_release() -> None:
    text = (binaries.KUBERNETES.folder / "go.mod").read_text()
    replaced = [line.split() for line in text.splitlines() if " => " in line]
    release = binaries.KUBERNETES_VERSION.replace("v1.", "v0.")
    assert len(replaced) == 33
    assert all(words[-1] == release and words[0] == words[-2] for words in replaced)
    assert f"k8s.io/kubernetes {binaries.KUBERNETES_VERSION}" in text


def test_the_notes_are_plain_json(tmp_path: Path) -> None:
    originals.record(tmp_path / "note", firewall=[])
    assert set(json.loads((tmp_path / "note").read_text())) == {"firewall", "sysctls", "folders"}
