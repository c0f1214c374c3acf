"""The cache never goes back in time, whatever the order of what it is told."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_operator.adapters.cache import ObjectCache
from penstock_operator.core.objects import Kind, Manifest, ObjectRef

KIND = Kind.SERVICE


def service(version: int | str, name: str = "fraud", uid: str = "u1", **metadata: Any) -> Manifest:
    known = {"name": name, "namespace": "shop", "uid": uid, "resourceVersion": str(version)}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {**known, **metadata}}


def ref(name: str = "fraud") -> ObjectRef:
    return ObjectRef(kind=KIND, namespace="shop", name=name)


def version(cache: ObjectCache, name: str = "fraud") -> str | None:
    live = cache.get(ref(name))
    return None if live is None else live["metadata"]["resourceVersion"]


class Changes:
    def __init__(self, cache: ObjectCache) -> None:
        self.seen: list[tuple[str | None, str | None]] = []
        cache.subscribe(self.note)

    def note(self, key: ObjectRef, old: Manifest | None, new: Manifest | None) -> None:
        assert key == ref(key.name)
        self.seen.append(tuple(state and state["metadata"]["resourceVersion"] for state in (old, new)))  # type: ignore[arg-type] # two of them


@pytest.fixture
def cache() -> ObjectCache:
    return ObjectCache()


def test_a_newer_state_replaces_an_older_one(cache: ObjectCache) -> None:
    changes = Changes(cache)
    assert cache.put(KIND, service(5))
    assert cache.put(KIND, service(7))
    assert version(cache) == "7"
    assert changes.seen == [(None, "5"), ("5", "7")]


def test_versions_are_compared_as_numbers(cache: ObjectCache) -> None:
    cache.put(KIND, service(9))
    assert cache.put(KIND, service(10))


@pytest.mark.parametrize("late", [4, 5])
def test_an_older_event_does_not_overwrite_our_own_write(cache: ObjectCache, late: int) -> None:
    changes = Changes(cache)
    cache.put(KIND, service(5))
    assert not cache.put(KIND, service(late))
    assert version(cache) == "5"
    assert len(changes.seen) == 1


def test_versions_that_are_not_numbers_are_taken_as_they_come(cache: ObjectCache) -> None:
    cache.put(KIND, service("a"))
    assert cache.put(KIND, service("b"))
    assert not cache.put(KIND, service("b"))


def test_a_late_event_does_not_raise_the_dead(cache: ObjectCache) -> None:
    cache.put(KIND, service(5))
    assert cache.remove(KIND, service(8))
    assert not cache.put(KIND, service(7))
    assert version(cache) is None


def test_an_object_made_again_with_the_same_name_is_news(cache: ObjectCache) -> None:
    cache.put(KIND, service(5))
    cache.remove(KIND, service(8))
    assert cache.put(KIND, service(9, uid="u2"))
    assert version(cache) == "9"


def test_the_late_deletion_of_a_predecessor_does_not_remove_its_successor(cache: ObjectCache) -> None:
    cache.put(KIND, service(9, uid="u2"))
    assert not cache.remove(KIND, service(8))
    assert version(cache) == "9"


def test_an_object_that_lost_its_label_and_got_it_back_is_known_again(cache: ObjectCache) -> None:
    cache.put(KIND, service(5))
    cache.remove(KIND, service(6))  # what a watch by label tells when the label is taken away
    assert cache.put(KIND, service(7))
    assert version(cache) == "7"


def test_a_late_loss_of_the_label_does_not_undo_our_repair(cache: ObjectCache) -> None:
    cache.put(KIND, service(5))
    cache.put(KIND, service(7))
    assert not cache.remove(KIND, service(6))
    assert version(cache) == "7"


def test_our_own_deletion_holds_against_every_late_echo(cache: ObjectCache) -> None:
    cache.put(KIND, service(5))
    assert cache.remove_deleted(ref(), "u1")
    assert not cache.put(KIND, service(6))
    assert not cache.remove(KIND, service(7))
    assert version(cache) is None
    assert cache.put(KIND, service(8, uid="u2"))


def test_our_deletion_of_a_predecessor_leaves_the_successor(cache: ObjectCache) -> None:
    cache.put(KIND, service(9, uid="u2"))
    assert not cache.remove_deleted(ref(), "u1")
    assert version(cache) == "9"


def test_a_list_removes_ghosts_and_brings_what_was_missed(cache: ObjectCache) -> None:
    changes = Changes(cache)
    cache.put(KIND, service(5, "ghost"))
    cache.put(KIND, service(6, "known"))
    repaired = cache.replace(KIND, [service(6, "known"), service(7, "missed")], resource_version="10")
    assert repaired == 2
    assert [version(cache, name) for name in ("ghost", "known", "missed")] == [None, "6", "7"]
    assert changes.seen[2:] == [(None, "7"), ("5", None)]


def test_a_list_leaves_what_is_newer_than_itself(cache: ObjectCache) -> None:
    cache.put(KIND, service(12, "written-meanwhile"))
    assert cache.replace(KIND, [], resource_version="10") == 0
    assert version(cache, "written-meanwhile") == "12"


def test_a_list_that_is_older_than_a_deletion_does_not_bring_the_object_back(cache: ObjectCache) -> None:
    cache.put(KIND, service(5))
    cache.remove(KIND, service(12))
    assert cache.replace(KIND, [service(5)], resource_version="10") == 0
    assert version(cache) is None


def test_a_list_of_one_namespace_says_nothing_about_the_others(cache: ObjectCache) -> None:
    cache.put(KIND, service(5))
    assert cache.replace(KIND, [], resource_version="10", namespace="elsewhere") == 0
    assert version(cache) == "5"
    assert cache.replace(KIND, [], resource_version="10", namespace="shop") == 1


def test_a_kind_is_synced_after_its_first_list(cache: ObjectCache) -> None:
    assert not cache.synced(KIND)
    cache.replace(KIND, [], resource_version="1")
    assert cache.synced(KIND)
    assert not cache.synced(Kind.POD)


def test_managed_fields_are_not_kept(cache: ObjectCache) -> None:
    told = service(5, managedFields=[{"manager": "penstock"}])
    cache.put(KIND, told)
    kept = cache.get(ref())
    assert kept is not None
    assert "managedFields" not in kept["metadata"]
    assert "managedFields" in told["metadata"], "what was handed in is not modified"


def test_lists_are_by_namespace_and_label_in_the_order_of_names(cache: ObjectCache) -> None:
    for number, name in enumerate(("b", "a", "c")):
        cache.put(KIND, service(number, name, labels={"app": "x", "n": name}))
    cache.put(KIND, service(9, "d", labels={"app": "y"}))
    elsewhere = service(10, "e", labels={"app": "x"})
    elsewhere["metadata"]["namespace"] = "elsewhere"
    cache.put(KIND, elsewhere)
    assert [found["metadata"]["name"] for found in cache.list(KIND, "shop", {"app": "x"})] == ["a", "b", "c"]
    assert [found["metadata"]["name"] for found in cache.list(KIND, "shop", {"app": "x", "n": "b"})] == ["b"]
    assert cache.list(Kind.POD, "shop") == []
    assert cache.count(KIND) == 5
    assert len(list(cache.every(KIND))) == 5


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from("abcd"),
            st.dictionaries(st.sampled_from("xy"), st.sampled_from("12")) | st.none(),
            st.frozensets(st.sampled_from("pq")),
        ),
        max_size=30,
    )
)
def test_lists_are_what_looking_at_every_object_would_give(
    steps: list[tuple[str, dict[str, str] | None, frozenset[str]]],
) -> None:
    cache = ObjectCache()
    present: dict[str, dict[str, str]] = {}
    owned: dict[str, frozenset[str]] = {}
    for number, (name, labels, owners) in enumerate(steps, 1):
        uid = f"u{number}" if name not in present else "same"
        references = [{"uid": owner} for owner in sorted(owners)]
        state = service(number, name, uid=uid, labels=labels, ownerReferences=references)
        if labels is None:
            cache.remove(KIND, state)
            present.pop(name, None)
        else:
            cache.put(KIND, state)
            present[name], owned[name] = labels, owners
    for owner in "pq":
        children = [manifest["metadata"]["name"] for manifest in cache.owned(KIND, "shop", owner)]
        assert children == sorted(name for name in present if owner in owned[name])
    for wanted in ({}, {"x": "1"}, {"x": "1", "y": "2"}):
        found = [manifest["metadata"]["name"] for manifest in cache.list(KIND, "shop", wanted)]
        assert found == sorted(name for name, labels in present.items() if wanted.items() <= labels.items())


def test_old_graves_are_forgotten() -> None:
    now = 0.0
    cache = ObjectCache(clock=lambda: now)
    cache.put(KIND, service(5))
    cache.remove(KIND, service(6))
    cache.remove_deleted(ref("other"), "u9")
    now = 1000.0
    cache.remove_deleted(ref("third"), "u10")
    assert list(cache._graves._uids) == ["u10"]
    assert not cache._graves._versions
