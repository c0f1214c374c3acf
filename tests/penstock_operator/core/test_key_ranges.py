"""Whose the keys of a sticky split are, and which of them move when weights change."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from penstock_operator.core.key_ranges import PARTS, key_ranges
from penstock_operator.core.routes import Backend


def backend(revision: str, weight: int, keys_from: int | None = None) -> Backend:
    return Backend(revision=revision, host="h", port=1, weight=weight, keys_from=keys_from)


def owners(*backends: Backend) -> list[str]:
    return [revision for revision, parts in key_ranges(backends) for _ in range(parts)]


def moved(before: list[str], after: list[str]) -> Counter[tuple[str, str]]:
    return Counter((old, new) for old, new in zip(before, after, strict=True) if old != new)


@st.composite
def claims(draw: st.DrawFn) -> list[Backend]:
    """Weights that sum to 100, of which all but the first begin somewhere."""
    cuts = sorted(draw(st.lists(st.integers(0, PARTS), min_size=0, max_size=8)))
    weights = [end - start for start, end in zip([0, *cuts], [*cuts, PARTS], strict=True)]
    starts = [None, *(draw(st.integers(0, PARTS - 1)) for _ in weights[1:])]
    return [backend(f"r-{index}", weight, start) for index, (weight, start) in enumerate(zip(weights, starts,
                                                                                            strict=True))]  # fmt: skip


@given(claims())
def test_everybody_has_as_many_parts_as_percent(backends: list[Backend]) -> None:
    counted = Counter(owners(*backends))
    assert {one.revision: counted[one.revision] for one in backends} == {one.revision: one.weight for one in backends}


@given(st.integers(0, PARTS - 1), st.integers(0, PARTS), st.integers(0, PARTS))
def test_a_candidate_that_grows_takes_only_what_it_needs(start: int, before: int, after: int) -> None:
    few, many = sorted((before, after))
    small = owners(backend("new", few, start), backend("old", PARTS - few))
    large = owners(backend("new", many, start), backend("old", PARTS - many))
    assert moved(small, large) == Counter({("old", "new"): many - few} if many > few else {})


def test_a_loser_that_goes_gives_its_keys_to_the_stable_one_and_nobody_else_moves() -> None:
    three = owners(backend("s", 40), backend("x", 20, 7), backend("y", 20, 27), backend("z", 20, 47))
    for loser in "xyz":
        left = [backend(name, 20, start) for name, start in zip("xyz", (7, 27, 47), strict=True) if name != loser]
        assert moved(three, owners(backend("s", 60), *left)) == Counter({(loser, "s"): 20})


def test_one_that_grows_into_another_goes_on_behind_it() -> None:
    before = owners(backend("s", 70), backend("x", 10, 0), backend("y", 20, 20))
    after = owners(backend("s", 50), backend("x", 30, 0), backend("y", 20, 20))
    assert moved(before, after) == Counter({("s", "x"): 20})
