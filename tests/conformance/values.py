"""Values of every datatype, and how they look on the wire, written down without the server's own codec."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Datatype:
    """``values``: four that JSON carries exactly; ``refused``: JSON values that would change by being taken."""

    name: str
    code: str
    values: tuple[Any, ...]
    extremes: tuple[Any, Any]
    refused: tuple[Any, ...]

    def encode(self, values: Sequence[Any]) -> bytes:
        """The bytes of the binary tensor data extension."""
        if self.name == "BYTES":
            texts = [value.encode() if isinstance(value, str) else value for value in values]
            return b"".join(struct.pack("<I", len(text)) + text for text in texts)
        return struct.pack(f"<{len(values)}{self.code}", *values)

    def decode(self, data: bytes) -> list[Any]:
        """The values that those bytes hold."""
        if self.name != "BYTES":
            return list(struct.unpack(f"<{len(data) // struct.calcsize('<' + self.code)}{self.code}", data))
        texts = []
        while data:
            (size,) = struct.unpack_from("<I", data)
            texts.append(data[4 : 4 + size].decode())
            data = data[4 + size :]
        return texts


def _unsigned(bits: int, code: str) -> Datatype:
    most = 2**bits - 1
    return Datatype(
        name=f"UINT{bits}", code=code, values=(0, 1, 2, most), extremes=(0, most), refused=(-1, most + 1, 1.5)
    )


def _signed(bits: int, code: str) -> Datatype:
    most = 2 ** (bits - 1) - 1
    return Datatype(
        name=f"INT{bits}",
        code=code,
        values=(0, -1, most, -most - 1),
        extremes=(-most - 1, most),
        refused=(most + 1, -most - 2, 1.5),
    )


def _fraction(name: str, code: str, least: float, most: float, too_large: float) -> Datatype:
    return Datatype(
        name=name, code=code, values=(0.0, 1.5, -2.25, 1024.0), extremes=(least, most), refused=(too_large, -too_large)
    )


DATATYPES = {
    one.name: one
    for one in (
        Datatype(
            name="BOOL", code="?", values=(True, False, False, True), extremes=(False, True), refused=(2, -1, 0.5)
        ),
        _unsigned(8, "B"),
        _unsigned(16, "H"),
        _unsigned(32, "I"),
        _unsigned(64, "Q"),
        _signed(8, "b"),
        _signed(16, "h"),
        _signed(32, "i"),
        _signed(64, "q"),
        _fraction("FP16", "e", 2.0**-24, 65504.0, 1e6),
        # FP32's greatest number, and the least one above zero.
        _fraction("FP32", "f", 2.0**-149, (2 - 2**-23) * 2.0**127, 1e39),
        # JSON cannot write a number that is too large for FP64 without most parsers calling it infinite.
        Datatype(
            name="FP64",
            code="d",
            values=(0.0, 0.1, -2.25, 1e300),
            extremes=(5e-324, 1.7976931348623157e308),
            refused=("1.5", None),
        ),
        Datatype(
            name="BYTES", code="", values=("", "a", "Ünïcode ✓", 'line\nbreak "quoted" \\ \0 nul'),
            extremes=("", "x" * 100_000), refused=(1, True, None, ["a"]),
        ),
    )
}  # fmt: skip
