"""Ways to damage a JSON document."""

import copy
from typing import Any

from hypothesis import strategies as st

LEAF = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
JSON = st.recursive(
    LEAF, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)


def damaged(document: Any) -> st.SearchStrategy[Any]:
    """Return documents that differ in one place: something else stands there, or nothing."""
    places = list(_places(document, ()))
    return st.tuples(st.sampled_from(places), JSON, st.booleans()).map(lambda chosen: _changed(document, *chosen))


def _places(value: Any, path: tuple[Any, ...]) -> Any:
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from _places(inner, (*path, key))


def _changed(document: Any, path: tuple[Any, ...], value: Any, remove: bool) -> Any:  # noqa: FBT001 - drawn
    result = copy.deepcopy(document)
    inner = result
    for key in path[:-1]:
        inner = inner[key]
    if remove:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return result
