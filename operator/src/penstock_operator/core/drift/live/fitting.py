"""Whether a profile that pods tell can be judged by: it comes from outside, and the operator serves others too."""

import json

from penstock_contract.counts import SCHEMA, InvalidCounts
from penstock_contract.profile import InvalidProfile, Profile, Role, cross_columns, layout_of
from penstock_operator.core.drift.live.flat import Shape

#: Numbers of a window's tallies, at 8 bytes each; 1,000 columns of 34 bins with one output have 70,000.
_CELLS_MAX = 2_000_000
#: Inverting their covariance takes a second from here on; penstock-profile crosses 64.
_CROSSED_MAX = 128


def shape_of(profile: Profile) -> Shape:
    """Return the order of a profile's numbers; raise InvalidProfile for what no counting of rows would give."""
    columns = profile.columns
    roles = [column.role for column in columns]
    if roles != sorted(roles, key=lambda role: role is Role.OUTPUT):
        raise InvalidProfile("its outputs come before its inputs")
    contributing = sum(column.contributes for column in columns)
    if len(columns) * max(column.bins for column in columns) * (1 + contributing) > _CELLS_MAX:
        raise InvalidProfile(f"it has {len(columns)} columns of up to {max(one.bins for one in columns)} bins")
    if (crossed := len(cross_columns(columns))) > _CROSSED_MAX:
        raise InvalidProfile(f"it has cross moments of {crossed} columns; at most {_CROSSED_MAX} are judged")
    shape = Shape(profile)
    counts = profile.counts.to_wire(layout_of(columns))
    message = {"schema": SCHEMA, "profileHash": profile.hash, "seq": 0, "counts": counts, "counters": {}}
    try:
        shape.decode(json.dumps(message).encode())
    except InvalidCounts as error:
        raise InvalidProfile(f"its counts: {error}") from None
    return shape
