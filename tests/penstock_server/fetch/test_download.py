"""Bounds, digests and second attempts of a download, without a network and without waiting."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from penstock_contract.termination import Reason
from penstock_server.fetch import download
from penstock_server.fetch.download import Download, Limits, Timing
from penstock_server.fetch.failure import ContentChanged, FetchFailed, unavailable
from penstock_server.fetch.source import Position, Stream

Attempt = FetchFailed | Sequence[bytes | FetchFailed]


class ScriptedSource:
    """Plays one attempt after the other; the last one again and again."""

    def __init__(self, *attempts: Attempt, size: int | None = None, tag: str = "") -> None:
        self.attempts = list(attempts)
        self.size = size
        self.tag = tag
        self.opened = 0
        self.positions: list[Position | None] = []

    @asynccontextmanager
    async def open(self, position: Position | None = None) -> AsyncIterator[Stream]:
        self.positions.append(position)
        attempt = self.attempts[min(self.opened, len(self.attempts) - 1)]
        self.opened += 1
        if isinstance(attempt, FetchFailed):
            raise attempt
        yield Stream(size=self.size, chunks=self.chunks(attempt), start=self.start(position), tag=self.tag)

    def start(self, position: Position | None) -> int:
        return position.bytes if position else 0

    async def chunks(self, attempt: Sequence[bytes | FetchFailed], /) -> AsyncIterator[bytes]:
        for chunk in attempt:
            if isinstance(chunk, FetchFailed):
                raise chunk
            yield chunk


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 0.0

    async def sleep(self, seconds: float) -> None:
        self.now += seconds

    def timing(self) -> Timing:
        return Timing(clock=lambda: self.now, sleep=self.sleep, jitter=lambda: 1.0)


LINES: list[dict[str, Any]] = []


def log(event: str, **fields: Any) -> None:
    LINES.append({"event": event, **fields})


@pytest.fixture
def clock() -> Clock:
    LINES.clear()
    return Clock()


def make(
    source: ScriptedSource, file: Path, clock: Clock, *, bytes_max: int = 100, seconds_max: float = 60
) -> Download:
    return Download(source, file, Limits(bytes_max=bytes_max, seconds_max=seconds_max), log, clock.timing())


async def test_what_was_written_is_what_was_hashed(tmp_path: Path, clock: Clock) -> None:
    file = tmp_path / "model"
    digest = await make(ScriptedSource([b"ab", b"", b"c"], size=3), file, clock).run()
    assert file.read_bytes() == b"abc"
    assert digest == hashlib.sha256(b"abc").hexdigest()


async def test_a_failure_that_may_pass_is_tried_again_from_the_start(tmp_path: Path, clock: Clock) -> None:
    source = ScriptedSource(unavailable("busy"), [b"a", unavailable("cut")], [b"abc"])
    await make(source, tmp_path / "model", clock).run()
    assert (tmp_path / "model").read_bytes() == b"abc"
    assert [line["error"] for line in LINES if line["event"] == "retrying"] == ["busy", "cut"]


async def test_a_failure_for_good_is_told_at_once(tmp_path: Path, clock: Clock) -> None:
    source = ScriptedSource(FetchFailed(Reason.SOURCE_NOT_FOUND, "gone"))
    with pytest.raises(FetchFailed, match="gone"):
        await make(source, tmp_path / "model", clock).run()
    assert source.opened == 1


async def test_a_source_that_stays_away_is_given_up_within_half_a_minute(tmp_path: Path, clock: Clock) -> None:
    source = ScriptedSource(unavailable("down"))
    with pytest.raises(FetchFailed, match="down") as failure:
        await make(source, tmp_path / "model", clock).run()
    assert not failure.value.permanent
    assert 8 < clock.now <= 30 - download._OPEN_SECONDS_MAX
    assert source.opened > 4


@pytest.mark.parametrize("size", [None, 5])
async def test_more_than_the_limit_is_refused_whatever_the_source_claims(
    tmp_path: Path, clock: Clock, size: int | None
) -> None:
    source = ScriptedSource([b"abc", b"de"], size=size)
    with pytest.raises(FetchFailed, match="at most 4 are fetched") as failure:
        await make(source, tmp_path / "model", clock, bytes_max=4).run()
    assert failure.value.reason is Reason.TOO_LARGE
    assert source.opened == 1


async def test_a_source_that_ends_early_is_tried_again(tmp_path: Path, clock: Clock) -> None:
    source = ScriptedSource([b"ab"], [b"abc"], size=3)
    await make(source, tmp_path / "model", clock).run()
    assert source.opened == 2
    assert LINES[0]["error"] == "the source ended after 2 of 3 bytes"


async def test_a_source_that_says_nothing_does_not_hold_us(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Silent(ScriptedSource):
        async def chunks(self, _: Sequence[bytes | FetchFailed], /) -> AsyncIterator[bytes]:
            await asyncio.Event().wait()
            yield b""

    monkeypatch.setattr(download, "_STALL_SECONDS_MAX", 0.01)
    with pytest.raises(FetchFailed, match=r"the source sent nothing for 0\.01 s"):
        await make(Silent([]), tmp_path / "model", clock).run()


async def test_a_source_that_does_not_open_does_not_hold_us(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stuck(ScriptedSource):
        @asynccontextmanager
        async def open(self, position: Position | None = None) -> AsyncIterator[Stream]:  # noqa: ARG002
            await asyncio.Event().wait()
            yield Stream(size=0, chunks=self.chunks([]))

    monkeypatch.setattr(download, "_OPEN_SECONDS_MAX", 0.01)
    with pytest.raises(FetchFailed, match=r"the source did not answer within 0\.01 s"):
        await make(Stuck([]), tmp_path / "model", clock).run()


async def test_the_whole_has_an_end_too(tmp_path: Path, clock: Clock) -> None:
    class Endless(ScriptedSource):
        async def chunks(self, _: Sequence[bytes | FetchFailed], /) -> AsyncIterator[bytes]:
            while True:
                await asyncio.sleep(0)
                yield b""

    with pytest.raises(FetchFailed, match=r"the download was not complete after 0\.05 s"):
        await make(Endless([]), tmp_path / "model", clock, seconds_max=0.05).run()


async def test_a_link_that_lies_in_the_way_is_not_followed(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "model").symlink_to(tmp_path / "victim")
    await make(ScriptedSource([b"abc"]), tmp_path / "model", clock).run()
    assert (tmp_path / "victim").read_text() == "precious"
    assert not (tmp_path / "model").is_symlink()


async def test_a_full_disk_is_not_blamed_on_the_source(clock: Clock) -> None:
    with pytest.raises(FetchFailed, match="cannot write /proc/model"):
        await make(ScriptedSource([b"abc"]), Path("/proc/model"), clock).run()


async def test_a_large_download_tells_how_far_it_is(tmp_path: Path, clock: Clock) -> None:
    class Slow(ScriptedSource):
        async def chunks(self, _: Sequence[bytes | FetchFailed], /) -> AsyncIterator[bytes]:
            for _second in range(5):
                await clock.sleep(1)
                yield b"x"
                await clock.sleep(1)
                yield b"xxx"

    await make(Slow([], size=20), tmp_path / "model", clock).run()
    told = [line for line in LINES if line["event"] == "fetching"]
    assert [line["bytes"] for line in told] == [4, 8, 12, 16, 20]
    assert {line["bytes_per_second"] for line in told} == {2}
    assert [line["seconds_left"] for line in told] == [8.0, 6.0, 4.0, 2.0, 0.0]


async def test_progress_is_not_told_more_often_than_every_two_seconds(tmp_path: Path, clock: Clock) -> None:
    class Fast(ScriptedSource):
        async def chunks(self, _: Sequence[bytes | FetchFailed], /) -> AsyncIterator[bytes]:
            for _tick in range(50):
                await clock.sleep(0.1)
                yield b"x"

    await make(Fast([]), tmp_path / "model", clock).run()
    assert [line["bytes"] for line in LINES if line["event"] == "fetching"] == [20, 40]


async def test_a_broken_stream_goes_on_where_it_ended(tmp_path: Path, clock: Clock) -> None:
    source = ScriptedSource([b"ab", unavailable("cut")], [b"c", unavailable("cut")], [b"de"], size=5, tag='"v1"')
    download_ = make(source, tmp_path / "model", clock)
    assert await download_.run() == hashlib.sha256(b"abcde").hexdigest()
    assert (tmp_path / "model").read_bytes() == b"abcde"
    assert source.positions == [None, Position(bytes=2, tag='"v1"'), Position(bytes=3, tag='"v1"')]
    assert (download_.continued, download_.bytes) == (True, 5)


async def test_a_source_that_begins_anew_is_written_anew(tmp_path: Path, clock: Clock) -> None:
    class Forgetful(ScriptedSource):
        def start(self, position: Position | None) -> int:  # noqa: ARG002
            return 0

    source = Forgetful([b"old old old", unavailable("cut")], [b"abc"], tag='"v1"')
    download_ = make(source, tmp_path / "model", clock)
    assert await download_.run() == hashlib.sha256(b"abc").hexdigest()
    assert (tmp_path / "model").read_bytes() == b"abc"
    assert not download_.continued


async def test_content_that_changed_meanwhile_is_read_from_its_start(tmp_path: Path, clock: Clock) -> None:
    source = ScriptedSource([b"ab", unavailable("cut")], ContentChanged("it"), [b"xyz"], size=3, tag='"v1"')
    assert await make(source, tmp_path / "model", clock).run() == hashlib.sha256(b"xyz").hexdigest()
    assert source.positions == [None, Position(bytes=2, tag='"v1"'), None]


async def test_a_source_that_begins_somewhere_else_is_not_believed(tmp_path: Path, clock: Clock) -> None:
    class Elsewhere(ScriptedSource):
        def start(self, position: Position | None) -> int:
            return 1 if position else 0

    source = Elsewhere([b"ab", unavailable("cut")], [b"b"], [b"abc"], tag='"v1"')
    await make(source, tmp_path / "model", clock).run()
    assert (tmp_path / "model").read_bytes() == b"abc"
    assert [line["error"] for line in LINES if line["event"] == "retrying"][1] == (
        "the source began at byte 1 instead of 2"
    )
