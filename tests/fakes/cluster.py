"""A cluster in memory: behaves as the API server does towards the Cluster port."""

import copy
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from penstock_operator.core.names import MANAGED_BY, OPERATOR
from penstock_operator.core.objects import CUSTOM_KINDS, Kind, Manifest, ObjectRef, kind_of, ref_of
from penstock_operator.core.plan import EventRecord
from penstock_operator.ports import ClusterUnavailable

#: One value to the API server, whatever is in it.
_ATOMIC = frozenset({"selector", "podSelector", "namespaceSelector", "labelSelector"})
_IMMUTABLE_METADATA = ("uid", "creationTimestamp", "resourceVersion", "generation", "deletionTimestamp")


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One write that reached the cluster: ``apply``, ``status`` or ``delete``."""

    verb: str
    ref: ObjectRef
    changed: bool


@dataclass(slots=True, kw_only=True)
class _Stored:
    """An object, and what the operator owns of it as it last applied it."""

    manifest: Manifest
    applied: Manifest = field(default_factory=dict)


class FakeCluster:
    """Implements ports.Cluster, and lets a test act as people, as controllers and as a failing network.

    ``writes`` tells what the operator wrote, ``events`` what it said. ``fail`` makes the next writes raise.
    """

    def __init__(self) -> None:
        self._stored: dict[ObjectRef, _Stored] = {}
        self._versions = itertools.count(1)
        self._uids = itertools.count(1)
        self._failures: list[tuple[Callable[[str, ObjectRef], bool], Exception]] = []
        self.writes: list[Write] = []
        self.events: list[tuple[ObjectRef, EventRecord]] = []
        self.on_change: Callable[[ObjectRef, Manifest | None, Manifest | None], None] = lambda *_: None

    # --- the port ---

    def get(self, ref: ObjectRef) -> Manifest | None:
        """Return the object as the operator's cache would: others' children are not in it."""
        stored = self._stored.get(ref)
        return stored.manifest if stored and _is_cached(ref.kind, stored.manifest) else None

    def list(self, kind: Kind, namespace: str, labels: dict[str, str] | None = None) -> Sequence[Manifest]:
        """Return the objects of a kind in a namespace whose labels contain ``labels``, by name."""
        wanted = (labels or {}).items()
        return [
            stored.manifest
            for ref, stored in sorted(self._stored.items(), key=lambda item: item[0].name)
            if ref.kind is kind
            and ref.namespace == namespace
            and _is_cached(kind, stored.manifest)
            and wanted <= (stored.manifest["metadata"].get("labels") or {}).items()
        ]

    def owned(self, kind: Kind, namespace: str, uid: str) -> Sequence[Manifest]:
        """Return the objects of a kind in a namespace that name the object of this uid as an owner, by name."""
        return [
            manifest
            for manifest in self.list(kind, namespace)
            if any(owner["uid"] == uid for owner in manifest["metadata"].get("ownerReferences") or ())
        ]

    async def fetch_live(self, ref: ObjectRef) -> Manifest | None:
        """Return the object from the API server, also one that is not ours."""
        stored = self._stored.get(ref)
        return stored.manifest if stored else None

    async def apply(self, manifest: Manifest) -> Manifest:
        """Merge ``manifest`` into the live object; what it named earlier and names no more is removed."""
        ref = ref_of(kind_of(manifest), manifest)
        self._maybe_fail("apply", ref)
        wanted = copy.deepcopy(manifest)
        stored = self._stored.get(ref)
        if stored is None:
            live = self.put(wanted)
            self._stored[ref].applied = copy.deepcopy(manifest)
            self.writes.append(Write(verb="apply", ref=ref, changed=True))
            return live
        version = wanted["metadata"].pop("resourceVersion", None)
        if version is not None and version != stored.manifest["metadata"]["resourceVersion"]:
            raise ClusterUnavailable(f"{ref}: 409 the object has been modified")
        merged = _merge(stored.manifest, wanted, stored.applied)
        stored.applied = copy.deepcopy(manifest)
        changed = self._store(ref, merged)
        self.writes.append(Write(verb="apply", ref=ref, changed=changed))
        return self._stored[ref].manifest

    async def write_status(self, ref: ObjectRef, status: dict[str, Any], *, resource_version: str) -> Manifest:
        """Replace the status of one of our kinds."""
        self._maybe_fail("status", ref)
        stored = self._stored.get(ref)
        if stored is None:
            raise ClusterUnavailable(f"{ref}: gone before its status could be written")
        if resource_version != stored.manifest["metadata"]["resourceVersion"]:
            raise ClusterUnavailable(f"{ref}: 409 the object has been modified")
        changed = self._store(ref, {**stored.manifest, "status": copy.deepcopy(status)})
        self.writes.append(Write(verb="status", ref=ref, changed=changed))
        return self._stored[ref].manifest

    async def delete(self, ref: ObjectRef, *, uid: str) -> None:
        """Delete the object and, as the garbage collector would, what it owns."""
        self._maybe_fail("delete", ref)
        stored = self._stored.get(ref)
        if stored is None:
            return
        if stored.manifest["metadata"]["uid"] != uid:
            raise ClusterUnavailable(f"{ref}: 409 the uid is another")
        self.writes.append(Write(verb="delete", ref=ref, changed=True))
        self.remove(ref)

    def record(self, ref: ObjectRef, event: EventRecord) -> None:
        """Keep the event for the test."""
        self.events.append((ref, event))

    # --- what a test does ---

    def put(self, manifest: Manifest) -> Manifest:
        """Create or replace an object as a person or a controller would; spec changes raise the generation."""
        manifest = copy.deepcopy(manifest)
        ref = ref_of(kind_of(manifest), manifest)
        stored = self._stored.get(ref)
        if stored is None:
            manifest["metadata"] |= {
                "uid": manifest["metadata"].get("uid", f"uid-{next(self._uids)}"),
                "creationTimestamp": "2026-01-01T00:00:00Z",
                "generation": 1,
                "resourceVersion": str(next(self._versions)),
            }
            self._stored[ref] = _Stored(manifest=manifest)
            self._notify(ref, None, manifest)
        else:
            for name in _IMMUTABLE_METADATA:
                if name in stored.manifest["metadata"]:
                    manifest["metadata"][name] = stored.manifest["metadata"][name]
            if "status" in stored.manifest:
                manifest.setdefault("status", stored.manifest["status"])
            self._store(ref, manifest)
        return self._stored[ref].manifest

    def edit(self, ref: ObjectRef, change: Callable[[Manifest], object]) -> Manifest:
        """Change an object in place as a person or a controller would."""
        manifest = copy.deepcopy(self._stored[ref].manifest)
        change(manifest)
        self._store(ref, manifest)
        return self._stored[ref].manifest

    def remove(self, ref: ObjectRef) -> None:
        """Delete an object, and after it what it controls or owned alone."""
        stored = self._stored.pop(ref, None)
        if stored is None:
            return
        self._notify(ref, stored.manifest, None)
        gone = stored.manifest["metadata"]["uid"]
        for child, other in list(self._stored.items()):
            owners = other.manifest["metadata"].get("ownerReferences") or []
            if child.namespace == ref.namespace and owners and all(owner["uid"] == gone for owner in owners):
                self.remove(child)

    def live(self, ref: ObjectRef) -> Manifest | None:
        """Return an object whether or not the operator can see it."""
        stored = self._stored.get(ref)
        return stored.manifest if stored else None

    def fail(
        self, error: Exception, *, times: int = 1, when: Callable[[str, ObjectRef], bool] = lambda *_: True
    ) -> None:
        """Make the next writes that ``when(verb, ref)`` chooses raise ``error`` before they have an effect."""
        self._failures += [(when, error)] * times

    # --- inside ---

    def _maybe_fail(self, verb: str, ref: ObjectRef) -> None:
        for index, (when, error) in enumerate(self._failures):
            if when(verb, ref):
                del self._failures[index]
                raise error

    def _store(self, ref: ObjectRef, manifest: Manifest) -> bool:
        """Keep a new state; return whether it is another one. Writing what is there changes nothing."""
        old = self._stored[ref].manifest
        if _content(old) == _content(manifest):
            return False
        metadata = dict(manifest["metadata"])
        if old.get("spec") != manifest.get("spec"):
            metadata["generation"] = old["metadata"].get("generation", 0) + 1
        metadata["resourceVersion"] = str(next(self._versions))
        self._stored[ref].manifest = {**manifest, "metadata": metadata}
        self._notify(ref, old, self._stored[ref].manifest)
        return True

    def _notify(self, ref: ObjectRef, old: Manifest | None, new: Manifest | None) -> None:
        before = old if old and _is_cached(ref.kind, old) else None
        after = new if new and _is_cached(ref.kind, new) else None
        if before or after:
            self.on_change(ref, before, after)


def _is_cached(kind: Kind, manifest: Manifest) -> bool:
    return kind in CUSTOM_KINDS or (manifest["metadata"].get("labels") or {}).get(MANAGED_BY) == OPERATOR


def _content(manifest: Manifest) -> Manifest:
    metadata = {key: value for key, value in manifest["metadata"].items() if key not in _IMMUTABLE_METADATA}
    return {**manifest, "metadata": metadata}


def _merge(live: Any, wanted: Any, applied: Any) -> Any:
    """Return the three-way merge of server-side apply, with lists of named items merged by name."""
    if isinstance(live, dict) and isinstance(wanted, dict):
        before = applied if isinstance(applied, dict) else {}
        kept = {key: value for key, value in live.items() if key in wanted or key not in before}
        return kept | {
            key: value if key in _ATOMIC else _merge(live.get(key), value, before.get(key))
            for key, value in wanted.items()
        }
    if _is_keyed(live) and _is_keyed(wanted):
        before = {item["name"]: item for item in applied} if _is_keyed(applied) else {}
        present = {item["name"]: item for item in live}
        named = {item["name"] for item in wanted}
        others = [item for item in live if item["name"] not in named and item["name"] not in before]
        return [_merge(present.get(item["name"]), item, before.get(item["name"])) for item in wanted] + others
    return wanted


def _is_keyed(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) and "name" in item for item in value)
