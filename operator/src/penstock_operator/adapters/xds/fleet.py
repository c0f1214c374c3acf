"""One namespace's routers: what they shall run, and what each of them runs."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from penstock_operator.adapters.xds.resources import Snapshot, SplitResources, names_of
from penstock_operator.adapters.xds.stream import RouterStream
from penstock_operator.core.routes import Acknowledgement, RouterPod


@dataclass(slots=True, kw_only=True, eq=False)
class Session:
    """One connected router: a pod's name as it says, the address it comes from, and its stream."""

    pod: str
    address: str
    stream: RouterStream
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    #: Split → version that others had refused when this router connected.
    avoid: Mapping[str, str] = field(default_factory=dict)


class Fleet:
    """The published snapshot and the sessions of one namespace.

    A router that connects while a split's newest configuration is refused by another one gets the version that worked
    before, so that a restarted router serves; it counts as refusing too. Routers that are connected keep what they
    have. That memory is this process's: after a restart the newest is offered to everybody again.
    """

    def __init__(self) -> None:
        self._snapshot: Snapshot | None = None
        self._pods: tuple[RouterPod, ...] = ()
        self._sessions: list[Session] = []
        self._changed = asyncio.Event()
        self._proven: dict[str, SplitResources] = {}
        self._refused: dict[str, tuple[str, str]] = {}

    @property
    def snapshot(self) -> Snapshot | None:
        """What was published last."""
        return self._snapshot

    def publish(self, snapshot: Snapshot, pods: Sequence[RouterPod]) -> None:
        """Set what is wanted and who must acknowledge it; wakes the sessions if something is new."""
        before: Mapping[str, SplitResources] = self._snapshot.splits if self._snapshot is not None else {}
        changed = self._snapshot is None or self._snapshot.version != snapshot.version
        self._snapshot, self._pods = snapshot, tuple(pods)
        self._proven = {name: split for name, split in self._proven.items() if name in snapshot.splits}
        self._refused = {
            name: refusal
            for name, refusal in self._refused.items()
            if name in snapshot.splits and snapshot.splits[name].version == refusal[0]
        }
        if changed:
            new = [split for name, split in snapshot.splits.items() if before.get(name) is not split]
            for session in self._sessions:
                self._learn(session, new)
                session.wake.set()
        self._announce()

    def join(self, session: Session) -> None:
        """Add a router; the newest session of a pod is the one that counts."""
        session.avoid = {name: version for name, (version, _) in self._refused.items()}
        self._sessions.append(session)

    def leave(self, session: Session) -> None:
        """Remove a router whose stream has ended."""
        self._sessions.remove(session)
        self._announce()

    @property
    def is_forgettable(self) -> bool:
        """Whether nobody has published anything here and no router is connected."""
        return self._snapshot is None and not self._sessions

    def observed(self, session: Session, touched: Collection[str] | None = None) -> None:
        """Learn from a session that has just heard from its router about these splits, or about all."""
        splits: Mapping[str, SplitResources] = self._snapshot.splits if self._snapshot is not None else {}
        names = splits.keys() if touched is None else splits.keys() & touched
        self._learn(session, [splits[name] for name in names])
        session.wake.set()
        self._announce()

    def view(self, session: Session) -> Snapshot | None:
        """Return what this session's router shall run, or None before the first publish."""
        snapshot = self._snapshot
        if snapshot is None or not session.avoid:
            return snapshot
        splits = {
            name: self._proven.get(name, split) if session.avoid.get(name) == split.version else split
            for name, split in snapshot.splits.items()
        }
        return Snapshot(version=snapshot.version, splits=splits, names=names_of(splits))

    def acknowledgement(self, split: str | None, *, verify_peers: bool) -> Acknowledgement:
        """Return which pods run what is published, all of it or one split of it."""
        if self._snapshot is None:
            raise LookupError("nothing was published for this namespace yet; publish its routes first")
        acknowledged: set[str] = set()
        rejected: dict[str, str] = {}
        for pod in self._pods:
            session = self._session_of(pod, verify_peers=verify_peers)
            if session is None:
                continue
            error = self._refusal(session, split)
            if error is not None:
                rejected[pod.name] = error
            elif self._runs(session, split):
                acknowledged.add(pod.name)
        missing = {pod.name for pod in self._pods} - acknowledged - rejected.keys()
        return Acknowledgement(
            version=self._snapshot.version,
            acknowledged=frozenset(acknowledged),
            rejected=rejected,
            missing=frozenset(missing),
        )

    async def changed(self) -> None:
        """Wait for the next news from any router or publisher."""
        await self._changed.wait()

    def _learn(self, session: Session, splits: Collection[SplitResources]) -> None:
        """Remember what a router refuses and what it runs."""
        for split in splits:
            error = session.stream.refusal(split)
            if error is not None:
                self._refused[split.split] = (split.version, error)
            elif session.stream.runs(split):
                self._proven[split.split] = split

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _session_of(self, pod: RouterPod, *, verify_peers: bool) -> Session | None:
        return next(
            (
                session
                for session in reversed(self._sessions)
                if session.pod == pod.name and (not verify_peers or session.address == pod.ip)
            ),
            None,
        )

    def _wanted(self, split: str | None) -> list[SplitResources]:
        splits: Mapping[str, SplitResources] = self._snapshot.splits if self._snapshot is not None else {}
        if split is None:
            return list(splits.values())
        return [splits[split]] if split in splits else []

    def _refusal(self, session: Session, split: str | None) -> str | None:
        for resources in self._wanted(split):
            error = session.stream.refusal(resources)
            if error is None and session.avoid.get(resources.split) == resources.version:
                error = self._refused.get(resources.split, ("", None))[1]
            if error is not None:
                return error
        return None

    def _runs(self, session: Session, split: str | None) -> bool:
        if not all(session.stream.runs(resources) for resources in self._wanted(split)):
            return False
        return self._snapshot is not None and not session.stream.listens_beyond(self._snapshot)
