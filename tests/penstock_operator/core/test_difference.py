"""Whether an object is as we want it, as the API server returns it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_operator.core.difference import differs

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["1.2.3", ".", "1e3", "500m"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
OBJECTS = st.dictionaries(st.sampled_from(["a", "selector", "podSelector", "spec"]), JSON, max_size=3)


@pytest.mark.parametrize(
    ("live", "desired"),
    [
        ({"a": 1, "b": 2}, {"a": 1}),
        ({"a": "500m"}, {"a": "0.5"}),
        ({"a": "1"}, {"a": 1}),
        ({"a": "1Gi"}, {"a": "1024Mi"}),
        ({"a": "1e3"}, {"a": "1000"}),
        ({"a": "100u"}, {"a": "0.1m"}),
        ({}, {"a": {}}),
        ({}, {"a": []}),
        ({}, {"a": None}),
        ({"a": {"x": 1}}, {"a": {}}),
        ({"selector": {"app": "a"}}, {"selector": {"app": "a"}}),
        ({"from": [{"namespaceSelector": {}}]}, {"from": [{"namespaceSelector": {}}]}),
        ({"metadata": {"labels": {"ours": "1", "theirs": "2"}}}, {"metadata": {"labels": {"ours": "1"}}}),
        (
            {"ownerReferences": [{"uid": "2"}, {"uid": "1", "controller": True}]},
            {"ownerReferences": [{"uid": "1", "controller": True}]},
        ),
    ],
    ids=[
        "a default of the API server",
        "a fraction",
        "a number as text",
        "another unit",
        "an exponent",
        "a small unit",
        "an empty mapping that was dropped",
        "an empty list that was dropped",
        "nothing",
        "defaults in an empty mapping",
        "the same selector",
        "the selector of everything",
        "a label of somebody else",
        "owners in another order",
    ],
)
def test_what_only_looks_different_is_no_difference(live: dict[str, Any], desired: dict[str, Any]) -> None:
    assert not differs(live, desired)


@pytest.mark.parametrize(
    ("live", "desired"),
    [
        (None, {}),
        ({"a": 1}, {"a": 2}),
        ({"a": True}, {"a": False}),
        ({"a": "1.2.3"}, {"a": "1.2.4"}),
        ({"a": "."}, {"a": "1"}),
        ({"a": "1Gi"}, {"a": "1G"}),
        ({}, {"a": 1}),
        ({"a": None}, {"a": {"b": 1}}),
        ({"a": [1, 2]}, {"a": [1]}),
        ({"a": [1]}, {"a": []}),
        ({"a": [2, 1]}, {"a": [1, 2]}),
        ({"a": "x"}, {"a": {"b": 1}}),
        ({"selector": {"app": "a", "x": "y"}}, {"selector": {"app": "a"}}),
        ({"podSelector": {"matchLabels": {"a": "b", "c": "d"}}}, {"podSelector": {"matchLabels": {"a": "b"}}}),
        ({"from": [{"podSelector": {}}]}, {"from": [{"namespaceSelector": {}}]}),
        ({"from": [{"namespaceSelector": {"matchLabels": {"a": "b"}}}]}, {"from": [{"namespaceSelector": {}}]}),
        ({"ownerReferences": [{"uid": "2"}]}, {"ownerReferences": [{"uid": "1"}]}),
        ({}, {"ownerReferences": [{"uid": "1"}]}),
    ],
    ids=[
        "absent",
        "a number",
        "a switch",
        "versions",
        "no number at all",
        "units of 1000 and 1024",
        "a missing field",
        "an emptied field",
        "an item more",
        "a list that should be empty",
        "another order",
        "another type",
        "a label added to a selector",
        "a label added to a pod selector",
        "another kind of selector",
        "a narrower selector",
        "another owner",
        "no owner",
    ],
)
def test_what_is_different_is_found(live: dict[str, Any] | None, desired: dict[str, Any]) -> None:
    assert differs(live, desired)


@given(JSON, JSON)
def test_no_two_values_are_too_strange_to_compare(left: Any, right: Any) -> None:
    assert isinstance(differs({"a": left}, {"a": right}), bool)


@given(OBJECTS)
def test_nothing_differs_from_itself(value: dict[str, Any]) -> None:
    assert not differs(value, value)
