"""Counts the rows of each segment by themselves, for as long as somebody asks for them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from penstock_contract.counts import Counts
from penstock_contract.profile import Column, Kind, Profile, Role, layout_of
from penstock_contract.segments import Segmentation
from penstock_server.profile.counting import Counter
from penstock_server.profile.groups import Places, text_of
from penstock_server.profile.rows import Block
from penstock_server.protocol import Array

#: Policies that ask for different segments of one model at a time.
_SEGMENTATIONS_MAX = 2
#: Who has not asked for so long does not ask any more. The operator asks every half minute.
_FORGOTTEN_SECONDS = 900.0
#: What all counters of one segmentation may take.
_BYTES_MAX = 4 * 1024 * 1024


@dataclass(slots=True, kw_only=True)
class _Counted:
    """The counters of one segmentation since somebody first asked."""

    column: Column
    values: tuple[str, ...]
    counters: Mapping[str, Counter]
    life: int
    asked_at: float
    first_ts: float | None = None
    codes: dict[str, int] = field(default_factory=dict)


class Segments:
    """All segmentations that somebody asks for: none, mostly, and then rows cost nothing here. One thread at a time.

    Rows wait until ``settle``: numpy's calls cost the same for few rows as for many, and here for each segment.
    """

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._layout = layout_of(profile.columns)
        self._counted: dict[Segmentation, _Counted] = {}
        self._lives = 0
        self._waiting: list[Block] = []
        self.waiting_rows = 0

    def ask(self, wanted: Segmentation, now: float) -> str | None:
        """Count by an input from now on, if it is not done yet; return why it cannot be done, None where it can."""
        self.settle()
        self._forget(now)
        known = self._counted.get(wanted)
        if known is not None:
            known.asked_at = now
            return None
        if len(self._counted) >= _SEGMENTATIONS_MAX:
            others = ", ".join(sorted({one.by for one in self._counted}))
            return f"its rows are already counted by {others}, and {_SEGMENTATIONS_MAX} ways are the most"
        column = next((one for one in self._profile.columns if one.name == f"{Role.INPUT}s/{wanted.by}"), None)
        if column is None:
            return f"the model has no input {wanted.by!r}"
        if column.kind is not Kind.CATEGORICAL:
            return f"the input {wanted.by!r} is numeric, and segments are by categories"
        counters = {name: Counter.of(self._profile) for name in wanted.names}
        size = sum(one.nbytes for one in counters.values())
        if size > _BYTES_MAX:
            return f"{len(counters)} segments would take {size} bytes, and {_BYTES_MAX} are the most: name fewer values"
        self._lives += 1
        codes = {value: code for code, value in enumerate(wanted.values)}
        self._counted[wanted] = _Counted(
            column=column, values=wanted.names, counters=counters, life=self._lives, asked_at=now, codes=codes
        )
        return None

    def add(self, block: Block, now: float) -> None:
        """Keep the rows of a block for their segments."""
        if not self._counted:
            return
        self._waiting.append(block)
        self.waiting_rows += block.rows
        for one in self._counted.values():
            one.first_ts = one.first_ts or now

    def settle(self) -> None:
        """Count what waits."""
        waiting, self._waiting, self.waiting_rows = self._waiting, [], 0
        for block in _joined(waiting):
            for one in self._counted.values():
                for value, part in _parts(one, block):
                    one.counters[value].add(part)

    def counts(self, wanted: Segmentation) -> dict[str, Counts]:
        """Return what was counted of each segment; it must have been asked for."""
        self.settle()
        return {value: counter.counts() for value, counter in self._counted[wanted].counters.items()}

    def to_wire(self, wanted: Segmentation) -> dict[str, Any]:
        """Return the JSON object of what was counted; it must have been asked for."""
        one, counts = self._counted[wanted], self.counts(wanted)
        told = {value: one.to_wire(self._layout) for value, one in counts.items()}
        return {wanted.by: {"life": one.life, "firstTs": one.first_ts, "counts": told}}

    def _forget(self, now: float) -> None:
        self._counted = {
            wanted: one for wanted, one in self._counted.items() if now - one.asked_at < _FORGOTTEN_SECONDS
        }


def _joined(blocks: Sequence[Block]) -> Iterator[Block]:
    """Yield few blocks of the same rows; blocks of other tensors, or of another width, are by themselves."""
    alike: dict[tuple[tuple[str, int], ...], list[Block]] = {}
    for block in blocks:
        widths = [(name, rows.shape[1]) for name, rows in (*block.inputs.items(), *block.outputs.items())]
        alike.setdefault(tuple(widths), []).append(block)
    for group in alike.values():
        starts = np.cumsum([0, *(block.rows for block in group)])
        plain = all(block.test is None for block in group)
        tests = [
            start + (np.arange(block.rows) if block.test is None else block.test)
            for start, block in zip(starts.tolist(), group, strict=False)
        ]
        yield Block(
            rows=int(starts[-1]),
            inputs={name: np.concatenate([block.inputs[name] for block in group]) for name in group[0].inputs},
            outputs={name: np.concatenate([block.outputs[name] for block in group]) for name in group[0].outputs},
            test=None if plain else np.concatenate(tests).astype(np.intp),
        )


def _parts(one: _Counted, block: Block) -> Iterator[tuple[str, Block]]:
    """Yield the rows of each segment that has any."""
    rows = block.inputs.get(one.column.tensor)
    if rows is None or rows.shape[1] <= one.column.index:
        return
    codes = _codes(rows[:, one.column.index], one.codes)
    for code in np.unique(codes).tolist():
        places = np.flatnonzero(codes == code)
        yield one.values[code], _part(block, places)


def _codes(values: Array, known: Mapping[str, int]) -> Places:
    """Return the place of each value among the segments; the last is that of all others."""
    rest = len(known)
    name: Callable[[Any], str] = text_of if values.dtype.kind == "O" else _number
    if values.dtype.kind == "O":
        return np.array([known.get(name(value), rest) for value in values.tolist()], dtype=np.intp)
    distinct, back = np.unique(values, return_inverse=True)
    return np.array([known.get(name(value), rest) for value in distinct.tolist()], dtype=np.intp)[back]


def _number(value: Any) -> str:
    """Return a number as a category is written: 3.0 as 3, True as 1."""
    return str(int(value)) if value == value and abs(value) < 2**63 and value == int(value) else str(value)  # noqa: PLR0124


def _part(block: Block, places: Places) -> Block:
    test: npt.NDArray[np.intp] | None = None
    if block.test is not None:
        test = np.flatnonzero(np.isin(places, block.test))
    return Block(
        rows=len(places),
        inputs={name: rows[places] for name, rows in block.inputs.items()},
        outputs={name: rows[places] for name, rows in block.outputs.items()},
        test=test,
    )
