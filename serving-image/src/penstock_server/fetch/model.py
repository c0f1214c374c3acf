"""From what is wanted to a model's folder that may be loaded: fetched, verified, inspected, then in its place."""

import asyncio
import hashlib
import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from penstock_contract.environment import FetchEnvironment
from penstock_contract.termination import Reason
from penstock_server.fetch import guard, location
from penstock_server.fetch.credentials import Credentials
from penstock_server.fetch.download import Download, Limits
from penstock_server.fetch.failure import FetchFailed, unavailable
from penstock_server.fetch.location import Http, Location
from penstock_server.fetch.sources import Sources
from penstock_server.log import Log

#: The reference for drift is taken from here when the spec names none and one is there.
_PROFILE = "profile.json"
_PROFILE_BYTES_MAX = 32 << 20
_PROFILE_SECONDS_MAX = 10.0
#: Below the folder itself, so that moving out of it is one rename on one file system.
_STAGE = ".fetching"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    """One file: where it comes from, and where in the model's folder it goes."""

    path: str
    sha256: str
    location: Location
    shown: str
    field: str
    """What the user calls its digest."""


def fetch(wanted: FetchEnvironment, credentials: Credentials, log: Log) -> None:
    """Put the model and its files at their destination; raise FetchFailed, and then nothing is there."""
    destination = Path(wanted.destination)
    folder = destination.parent
    pieces = _pieces(wanted, destination.name)
    if all(_is_there(folder / piece.path, piece.sha256) for piece in pieces):
        log("already-there", path=str(destination))
    else:
        for piece in pieces:
            (folder / piece.path).unlink(missing_ok=True)
        stage = folder / _STAGE
        shutil.rmtree(stage, ignore_errors=True)
        try:
            _mkdir(stage)
            asyncio.run(_Fetching(wanted, credentials, stage, log).run(pieces))
            _inspect(stage, pieces, log)
            _move(stage, folder, last=destination.name)
        finally:
            shutil.rmtree(stage, ignore_errors=True)
    log("ready", path=str(destination), sha256=wanted.sha256.lower())


def _pieces(wanted: FetchEnvironment, name: str) -> tuple[_Piece, ...]:
    model = location.parse(wanted.uri)
    shown = location.shown(wanted.uri)
    files = tuple(
        _Piece(
            path=file.path,
            sha256=file.sha256.lower(),
            location=location.parse(file.uri) if file.uri else location.beside(model, file.path),
            shown=location.shown(file.uri) if file.uri else f"{file.path} beside {shown}",
            field=f"the sha256 of {file.path} in spec.model",
        )
        for file in wanted.files
    )
    return (
        _Piece(path=name, sha256=wanted.sha256.lower(), location=model, shown=shown, field="spec.model.sha256"),
        *files,
    )


class _Fetching:
    """One run: all files share what may be spent of bytes and of time."""

    def __init__(self, wanted: FetchEnvironment, credentials: Credentials, stage: Path, log: Log) -> None:
        self._stage = stage
        self._log = log
        self._sources = Sources(credentials, mount_dir=wanted.mount_dir, timeout_seconds=wanted.timeout_seconds)
        self._bytes_left = wanted.max_bytes
        self._seconds_max = wanted.timeout_seconds
        self._ends_at = time.monotonic() + wanted.timeout_seconds

    async def run(self, pieces: Sequence[_Piece]) -> None:
        """Fetch and verify every file, and the profile beside the model where there is one."""
        for piece in pieces:
            await self._verified(piece)
        if not any(piece.path == _PROFILE for piece in pieces):
            await self._profile(pieces[0])

    async def _verified(self, piece: _Piece) -> None:
        self._log("fetching", uri=piece.shown)
        download = self._download(piece.location, piece.path, piece.shown)
        digest = await download.run()
        if digest != piece.sha256 and download.continued:
            # A source that changed without changing its mark would be spliced; the whole is asked for once more.
            self._log("fetching-again", uri=piece.shown, sha256=digest)
            download = self._download(piece.location, piece.path, piece.shown)
            digest = await download.run()
        if digest != piece.sha256:
            raise FetchFailed(
                Reason.CHECKSUM_MISMATCH,
                f"{piece.shown} has sha256 {digest}, but {piece.field} is {piece.sha256}; "
                "put the first there if this file is the right one",
            )
        self._bytes_left -= download.bytes
        self._log("verified", sha256=digest)

    async def _profile(self, model: _Piece) -> None:
        """Bring profile.json from beside the model if there is one. That there is none, or a bad one, is no failure."""
        if isinstance(model.location, Http) and urlsplit(model.location.url).query:
            return  # signed for one file
        place = location.beside(model.location, _PROFILE)
        shown = f"{_PROFILE} beside {model.shown}"
        limits = Limits(
            bytes_max=min(self._bytes_left, _PROFILE_BYTES_MAX), seconds_max=_PROFILE_SECONDS_MAX, patient=False
        )
        file = self._stage / _PROFILE
        try:
            source = self._sources.source(place, shown=shown)
            digest = await Download(source, file, limits, _silent).run()
        except FetchFailed as failure:
            file.unlink(missing_ok=True)
            event = "no-profile" if failure.reason is Reason.SOURCE_NOT_FOUND else "profile-not-fetched"
            self._log(event, uri=shown, error=str(failure))
            return
        if not _is_json_object(file):
            # Many web servers answer every path with some page.
            file.unlink()
            self._log("no-profile", uri=shown, error="what is there is not a JSON object")
            return
        self._log("profile", uri=shown, sha256=digest)

    def _download(self, place: Location, path: str, shown: str) -> Download:
        seconds = self._ends_at - time.monotonic()
        if seconds <= 0:
            raise unavailable(f"the download was not complete after {self._seconds_max:g} s")
        file = self._stage / path
        _mkdir(file.parent)
        limits = Limits(bytes_max=self._bytes_left, seconds_max=seconds)
        return Download(self._sources.source(place, shown=shown), file, limits, self._log)


def _inspect(stage: Path, pieces: Sequence[_Piece], log: Log) -> None:
    model, *others = pieces
    beside = {piece.path: (stage / piece.path).stat().st_size for piece in others}
    inspected = guard.inspect(stage / model.path, beside)
    log("inspected", bytes=inspected.bytes, nodes=inspected.nodes, files=len(others))


def _move(stage: Path, folder: Path, *, last: str) -> None:
    """Move every file to its place, read-only, the model last: where it is, everything is."""
    found = [path.relative_to(stage) for path in sorted(stage.rglob("*")) if path.is_file()]
    for path in sorted(found, key=lambda path: str(path) == last):
        _mkdir((folder / path).parent)
        (stage / path).chmod(0o444)
        (stage / path).replace(folder / path)


def _mkdir(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FetchFailed(
            Reason.INVALID_CONFIGURATION, f"cannot make the folder {folder}: {error.strerror or error}"
        ) from error


def _is_json_object(file: Path) -> bool:
    try:
        return isinstance(json.loads(file.read_bytes()), dict)
    except (ValueError, RecursionError):
        return False


def _is_there(path: Path, sha256: str) -> bool:
    """Return whether an earlier run of this container has done the work already."""
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == sha256.lower()


def _silent(event: str, **fields: object) -> None:
    """Say nothing: that a profile is not there is told in one line."""
