"""The last known state of every watched object, in memory."""

import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from penstock_operator.core.objects import Kind, Manifest, ObjectRef, ref_of

#: Called after each change with the reference, the old state and the new one (None: absent).
Listener = Callable[[ObjectRef, Manifest | None, Manifest | None], None]

#: An owner is found as a label is, by this key that no label can have.
_OWNER = ""
_TOMBSTONES_MAX = 20_000
_TOMBSTONE_SECONDS = 900.0


class ObjectCache:
    """Objects by reference; never goes back in time.

    Three sources feed it in any order: watch events, full lists, and the answers to our own writes. What is older
    than what is known is dropped, by comparing resource versions: they are whole numbers that rise over all objects
    of a kind, also over deletions and re-creations (promised since Kubernetes 1.35, true long before).

    What ``get`` and ``list`` return is shared and must not be modified. Reading from another thread is safe.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._objects: defaultdict[tuple[Kind, str], dict[str, Manifest]] = defaultdict(dict)
        self._order = _Order()
        self._graves = _Graves(clock)
        self._listeners: list[Listener] = []
        self._synced: set[Kind] = set()

    def subscribe(self, listener: Listener) -> None:
        """Call ``listener`` after each change from now on."""
        self._listeners.append(listener)

    def synced(self, kind: Kind) -> bool:
        """Return whether a full list of the kind has been taken in."""
        return kind in self._synced

    def mark_synced(self, kind: Kind) -> None:
        """Declare that every object of the kind is known."""
        self._synced.add(kind)

    def get(self, ref: ObjectRef) -> Manifest | None:
        """Return the object as last seen, or None."""
        return self._objects.get((ref.kind, ref.namespace), {}).get(ref.name)

    def list(self, kind: Kind, namespace: str, labels: dict[str, str] | None = None) -> Sequence[Manifest]:
        """Return the objects of a kind in a namespace whose labels contain ``labels``, by name."""
        here = self._objects.get((kind, namespace), {})
        if labels:
            return [here[name] for name in self._order.labelled(kind, namespace, labels)]
        return [here[name] for name in self._order.names(kind, namespace, here)]

    def owned(self, kind: Kind, namespace: str, uid: str) -> Sequence[Manifest]:
        """Return the objects of a kind in a namespace that name the object of this uid as an owner, by name."""
        return self.list(kind, namespace, {_OWNER: uid})

    def every(self, kind: Kind) -> Iterator[Manifest]:
        """Yield the objects of a kind in all namespaces, from a snapshot."""
        for (candidate, _), objects in list(self._objects.items()):
            if candidate is kind:
                yield from list(objects.values())

    def count(self, kind: Kind) -> int:
        """Return how many objects of a kind are known."""
        return sum(len(objects) for (candidate, _), objects in list(self._objects.items()) if candidate is kind)

    def put(self, kind: Kind, manifest: Manifest) -> bool:
        """Take in an object that exists or existed; return whether it was news."""
        manifest = without_managed_fields(manifest)
        ref = ref_of(kind, manifest)
        known = self.get(ref)
        if self._graves.covers(ref, manifest) or (known is not None and not _newer(manifest, known)):
            return False
        self._objects[kind, ref.namespace][ref.name] = manifest
        self._order.changed(ref, known, manifest)
        self._notify(ref, known, manifest)
        return True

    def remove(self, kind: Kind, manifest: Manifest) -> bool:
        """Take in that this object was deleted, by its last state; return whether it was news."""
        ref = ref_of(kind, manifest)
        known = self.get(ref)
        if known is not None and _is_newer(_version(known), _version(manifest), if_unordered=False):
            return False  # created again, or labelled again, since
        self._graves.dig(ref, _version(manifest))
        return self._drop(ref)

    def remove_deleted(self, ref: ObjectRef, uid: str) -> bool:
        """Take in that our own deletion of this very object succeeded; later echoes of it are ignored."""
        self._graves.dig_uid(uid)
        known = self.get(ref)
        return known is not None and _uid(known) == uid and self._drop(ref)

    def replace(
        self, kind: Kind, manifests: Sequence[Manifest], *, resource_version: str, namespace: str | None = None
    ) -> int:
        """Compare with a full list and return how many differences were repaired.

        ``resource_version`` is the list's own: what is known to be newer than the list is left alone.
        ``namespace`` limits the comparison to one namespace.
        """
        listed = {ref_of(kind, manifest) for manifest in manifests}
        repaired = sum(self.put(kind, manifest) for manifest in manifests)
        for known in list(self.every(kind)):
            ref = ref_of(kind, known)
            if namespace not in (None, ref.namespace) or ref in listed:
                continue
            if not _is_newer(_version(known), resource_version):
                self._graves.dig(ref, resource_version)
                repaired += self._drop(ref)
        self._synced.add(kind)
        return repaired

    def _drop(self, ref: ObjectRef) -> bool:
        """Forget an object; return whether it was known."""
        known = self._objects[ref.kind, ref.namespace].pop(ref.name, None)
        if known is not None:
            self._order.changed(ref, known, None)
            self._notify(ref, known, None)
        return known is not None

    def _notify(self, ref: ObjectRef, old: Manifest | None, new: Manifest | None) -> None:
        for listener in self._listeners:
            listener(ref, old, new)


class _Order:
    """Names in their order: all of a namespace, and those with a label or an owner.

    Hundreds of objects are listed at every look.
    """

    def __init__(self) -> None:
        self._sorted: dict[tuple[Kind, str], list[str]] = {}
        self._labelled: defaultdict[tuple[Kind, str, str, str], set[str]] = defaultdict(set)

    def names(self, kind: Kind, namespace: str, present: Iterable[str]) -> list[str]:
        """Return all names of a kind in a namespace; ``present`` are those that there are."""
        known = self._sorted.get((kind, namespace))
        if known is None:
            known = self._sorted[kind, namespace] = sorted(present)
        return known

    def labelled(self, kind: Kind, namespace: str, labels: Mapping[str, str]) -> list[str]:
        """Return the names of those that have all these labels."""
        found = [self._labelled.get((kind, namespace, *label), set()) for label in labels.items()]
        return sorted(set.intersection(*found))

    def changed(self, ref: ObjectRef, old: Manifest | None, new: Manifest | None) -> None:
        """Take in that an object came, changed or went."""
        if old is None or new is None:
            self._sorted.pop((ref.kind, ref.namespace), None)
        before, after = _marks(old), _marks(new)
        for label in before - after:
            key = (ref.kind, ref.namespace, *label)
            self._labelled[key].discard(ref.name)
            if not self._labelled[key]:
                del self._labelled[key]
        for label in after - before:
            self._labelled[(ref.kind, ref.namespace, *label)].add(ref.name)


class _Graves:
    """Remembers deletions for a while, so that late news of the living does not raise the dead."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._versions: OrderedDict[ObjectRef, tuple[float, str]] = OrderedDict()
        self._uids: OrderedDict[str, float] = OrderedDict()

    def dig(self, ref: ObjectRef, version: str) -> None:
        """Remember that there was no such object at this resource version.

        Not by uid: an object that loses its label leaves a watch by label as if deleted, and may come back.
        """
        self._versions.pop(ref, None)
        self._versions[ref] = (self._clock(), version)
        self._expire()

    def dig_uid(self, uid: str) -> None:
        """Remember that the object with this uid is gone for good."""
        self._uids.pop(uid, None)
        self._uids[uid] = self._clock()
        self._expire()

    def covers(self, ref: ObjectRef, manifest: Manifest) -> bool:
        """Return whether this state is from before a known deletion."""
        if _uid(manifest) in self._uids:
            return True
        buried = self._versions.get(ref)
        return buried is not None and not _is_newer(_version(manifest), buried[1])

    def _expire(self) -> None:
        oldest = self._clock() - _TOMBSTONE_SECONDS
        while self._uids and (len(self._uids) > _TOMBSTONES_MAX or next(iter(self._uids.values())) < oldest):
            self._uids.popitem(last=False)
        while self._versions and (
            len(self._versions) > _TOMBSTONES_MAX or next(iter(self._versions.values()))[0] < oldest
        ):
            self._versions.popitem(last=False)


def without_managed_fields(manifest: Manifest) -> Manifest:
    """Return the manifest without the bookkeeping of field owners, which can be half of an object's size."""
    metadata: dict[str, Any] = manifest["metadata"]
    if "managedFields" not in metadata:
        return manifest
    return {**manifest, "metadata": {key: value for key, value in metadata.items() if key != "managedFields"}}


def _marks(manifest: Manifest | None) -> frozenset[tuple[str, str]]:
    """Return what an object is found by: its labels and its owners."""
    if manifest is None:
        return frozenset()
    metadata = manifest["metadata"]
    owners = ((_OWNER, owner["uid"]) for owner in metadata.get("ownerReferences") or ())
    return frozenset((*(metadata.get("labels") or {}).items(), *owners))


def _uid(manifest: Manifest) -> str:
    return str(manifest["metadata"].get("uid", ""))


def _version(manifest: Manifest) -> str:
    return str(manifest["metadata"].get("resourceVersion", ""))


def _newer(candidate: Manifest, known: Manifest) -> bool:
    return _is_newer(_version(candidate), _version(known))


def _is_newer(candidate: str, known: str, *, if_unordered: bool = True) -> bool:
    """Return whether one resource version is later.

    Versions that are not numbers can only be told apart; then ``if_unordered`` is the answer for different ones.
    """
    if candidate.isdigit() and known.isdigit():
        return int(candidate) > int(known)
    return candidate != known and if_unordered
