"""Finds the reference profile that belongs to the model, and says why one cannot be used."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from penstock_contract.profile import FILE_NAME, Derived, InvalidProfile, Profile, Role, parse
from penstock_server.profile.counting import Counter
from penstock_server.profile.rows import width
from penstock_server.protocol import TensorSpec

#: A profile of 1,000 columns has about 1 MB.
_BYTES_MAX = 64 * 1024 * 1024
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A profile, or none; ``error`` says why one that was there is not used."""

    profile: Profile | None = None
    error: str | None = None


#: Called once, off the request path: a digest of a large model takes a second.
Source = Callable[[], Reference]


def source(model: Path, named: str, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> Source:
    """Return what looks for the profile: the named file, else ``profile.json`` beside the model if it is there."""

    def find() -> Reference:
        path = Path(named) if named else model.with_name(FILE_NAME)
        if not named and not path.is_file():
            return Reference()
        try:
            return Reference(profile=read(path, model, inputs, outputs))
        except InvalidProfile as error:
            return Reference(error=f"{path}: {error}")
        except OSError as error:
            return Reference(error=f"{path} cannot be read: {error.strerror or error}")

    return find  # fmt: skip


def read(path: Path, model: Path, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> Profile:
    """Return the profile in a file, checked against the model; raise InvalidProfile or OSError."""
    if path.stat().st_size > _BYTES_MAX:
        raise InvalidProfile(f"it is larger than {_BYTES_MAX} bytes")
    profile = parse(path.read_bytes())
    check(profile, inputs, outputs)
    try:
        Counter.of(profile)
    except (ValueError, TypeError, OverflowError, KeyError) as error:
        raise InvalidProfile(f"its columns cannot be counted: {error!r}") from None
    if profile.model_sha256 is not None and (digest := sha256_of(model)) != profile.model_sha256:
        raise InvalidProfile(
            f"it was made for a model with sha256 {profile.model_sha256}, and this one has {digest}; "
            "make one for this model with `penstock-profile`"
        )
    return profile


def check(profile: Profile, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
    """Raise InvalidProfile where a column is not of these tensors, or an input is not covered by columns."""
    specs = {Role.INPUT: {spec.name: spec for spec in inputs}, Role.OUTPUT: {spec.name: spec for spec in outputs}}
    covered: dict[str, set[int]] = {}
    for column in profile.columns:
        spec = specs[column.role].get(column.tensor)
        if spec is None:
            has = ", ".join(repr(name) for name in specs[column.role]) or "none"
            raise InvalidProfile(
                f"{column.name!r} is of {column.role} {column.tensor!r}, which the model lacks; it has {has}"
            )
        size = width(spec)
        answers_tell = size is None and column.role is Role.OUTPUT
        if not answers_tell and (size is None or not 0 <= column.index < size):
            raise InvalidProfile(
                f"{column.name!r} is element {column.index} of {column.role} {spec.name!r}, whose shape is {spec}"
            )
        if column.derived is not Derived.ARGMAX and column.datatype != spec.datatype:
            raise InvalidProfile(
                f"{column.name!r} is {column.datatype}; {column.role} {spec.name!r} of the model is {spec}"
            )
        if column.role is Role.INPUT:
            covered.setdefault(spec.name, set()).add(column.index)
    for name, indices in covered.items():
        size = width(specs[Role.INPUT][name])
        if size != len(indices):
            raise InvalidProfile(f"it has {len(indices)} columns of input {name!r}, which has {size}")


def sha256_of(path: Path) -> str:
    """Return the digest of a file in hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
