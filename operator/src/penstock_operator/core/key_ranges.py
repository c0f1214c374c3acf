"""Which keys of a sticky split belong to which revision, so that only the needed keys move when weights change."""

from collections.abc import Sequence
from itertools import groupby

from penstock_operator.core.routes import Backend

#: Keys fall into so many equal parts, one for each percent of weight.
PARTS = 100


def key_ranges(backends: Sequence[Backend]) -> tuple[tuple[str, int], ...]:
    """Return runs of parts as (revision, number of parts), in the order of the parts; together they are all of them.

    A revision with ``keys_from`` begins there and grows upwards, round the end to the beginning. Where two meet, a part
    belongs to the one that begins nearer below it, and the other goes on behind. Those without share what is left, in
    their order. So while there is one of those, a revision that grows takes keys from that one only, and one that
    shrinks or goes gives keys to that one only, as long as no two meet.

    >>> b = lambda revision, weight, keys_from=None: Backend(
    ...     revision=revision, host="h", port=1, weight=weight, keys_from=keys_from)
    >>> key_ranges([b("new", 25, keys_from=90), b("old", 75)])
    (('new', 15), ('old', 75), ('new', 10))
    """
    owners: list[str | None] = [None] * PARTS
    claims = {backend: backend.weight for backend in backends if backend.keys_from is not None}
    for distance in range(PARTS):
        for backend, left in claims.items():
            part = ((backend.keys_from or 0) + distance) % PARTS
            if left and owners[part] is None:
                owners[part] = backend.revision
                claims[backend] = left - 1
    rest = iter([backend.revision for backend in backends if backend.keys_from is None for _ in range(backend.weight)])
    filled = [next(rest) if owner is None else owner for owner in owners]
    return tuple((revision, len(list(run))) for revision, run in groupby(filled))
