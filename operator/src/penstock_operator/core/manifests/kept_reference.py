"""The objects that keep a reference of live rows: parts that never change, which add up to it."""

import base64
import binascii
import hashlib
import json
import zlib
from collections.abc import Sequence

import numpy as np

from penstock_operator.core.drift.live.against import Against
from penstock_operator.core.drift.live.flat import Ints, Shape
from penstock_operator.core.manifests.ownership import controller_reference, owner_uids
from penstock_operator.core.names import MANAGED_BY, OPERATOR, REVISION, managed_labels
from penstock_operator.core.objects import Manifest

APP = "penstock-reference"
SCHEMA = "penstock.reference/v1"
#: The API server takes objects of 1.5 MB at most.
TEXT_MAX = 1_000_000
_HASH_LENGTH = 12


def labels(revision: str | None = None) -> dict[str, str]:
    """Return the labels of parts: of one revision, or of all."""
    known = managed_labels(APP)
    assert known[MANAGED_BY] == OPERATOR
    return known if revision is None else {**known, REVISION: revision}


def name_of(revision: str, identity: Sequence[str], number: int) -> str:
    """Return the name of a part; a policy that was made anew, asks for something else or has other bins begins anew."""
    digest = hashlib.sha256(json.dumps([revision, *identity]).encode()).hexdigest()
    return f"{revision}-reference-{digest[:_HASH_LENGTH]}-{number}"


def kept_reference(
    owner: Manifest, revision: str, name: str, *, against: Against, numbers: Ints, shape: Shape
) -> Manifest:
    """Return the object that keeps a part. A ControllerRevision: the API server lets nobody change its data."""
    text = base64.b64encode(zlib.compress(numbers.astype("<i8").tobytes(), 9)).decode()
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": name,
            "namespace": owner["metadata"]["namespace"],
            "labels": labels(revision),
            "ownerReferences": [controller_reference(owner)],
        },
        "revision": 1,
        "data": {
            "schema": SCHEMA,
            "reference": str(against),
            "profileHash": shape.profile_hash,
            "rows": int(numbers[0]),
            "counts": text,
        },
    }


def numbers_of(manifest: Manifest, shape: Shape) -> Ints:
    """Return the counts in a part; raise ValueError, whose message says what is wrong."""
    data = manifest.get("data") or {}
    if data.get("schema") != SCHEMA or data.get("profileHash") != shape.profile_hash:
        raise ValueError("it is of another schema or another profile")
    size = shape.size * 8
    try:
        unpacking = zlib.decompressobj()
        raw = unpacking.decompress(base64.b64decode(str(data.get("counts")), validate=True), size + 1)
    except (zlib.error, binascii.Error) as error:
        raise ValueError(f"its counts cannot be read: {error}") from None
    if len(raw) != size:
        raise ValueError("it does not hold as many counts as the profile has")
    numbers = np.frombuffer(raw, dtype="<i8").astype(np.int64)
    shape.check(numbers)
    return numbers


def belongs_to(manifest: Manifest, owner: Manifest) -> bool:
    """Return whether a part is one of a policy's."""
    return owner["metadata"]["uid"] in owner_uids(manifest)
