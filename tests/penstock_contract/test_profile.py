"""The reference profile reads back as it was written, and says what is wrong with a file that is none."""

import json
from dataclasses import replace
from importlib import resources
from typing import Any

import pytest
from hypothesis import given, settings
from tests.penstock_contract.damage import damaged

from penstock_contract.bins import bin_of
from penstock_contract.counts import ColumnCounts, Counts, Quality
from penstock_contract.profile import (
    Calibration,
    Column,
    InvalidProfile,
    Kind,
    Profile,
    Role,
    Transform,
    layout_of,
    parse,
)

AMOUNT = Column(
    name="inputs/amount", role=Role.INPUT, tensor="x", index=0, datatype="FP32", kind=Kind.NUMERIC,
    edges=(-0.10000000894069672, 0.5, 2.0), centre=0.4, scale=0.5, scores=(-90, -40, 40, 90),
    minimum=-0.10000000149011612, maximum=2.0, mean=0.41, sd=0.6,
)  # fmt: skip
CITY = Column(
    name="inputs/city", role=Role.INPUT, tensor="city", index=0, datatype="BYTES", kind=Kind.CATEGORICAL,
    categories=("Köln", "Ulm"), others=("Elm",),
)  # fmt: skip
SCORE = Column(
    name="outputs/score", role=Role.OUTPUT, tensor="score", index=0, datatype="FP32", kind=Kind.NUMERIC,
    edges=(0.1, 0.5, 0.875), transform=Transform.LOGIT, centre=0.0, scale=1.0, contributes=True, minimum=0.25,
    maximum=0.875, mean=0.5, sd=0.2,
)  # fmt: skip
PROFILE = Profile(
    columns=(AMOUNT, CITY, SCORE),
    counts=Counts(
        rows=10,
        test_rows=10,
        columns=(
            ColumnCounts(bins=(0, 5, 4, 0), missing=1, sum=-7, sum_of_squares=9_000_000, output_sums=((0, 3, -4, 0),),
                         quality=Quality(missing=1)),
            ColumnCounts(bins=(6, 3, 1, 0), output_sums=((1, 2, 3, 0),)),
            ColumnCounts(bins=(0, 4, 6, 0), sum=12, sum_of_squares=34),
        ),
        cross=(81_000,),
        cross_sums=(-40,),
    ),
    calibration=(Calibration(column="outputs/score", hits=(0, 1, 5, 0)),),
    classes=("good", "bad"),
    model_sha256="ab" * 32,
    source_name="holdout.parquet",
    source_sha256="cd" * 32,
    made_by="penstock 0.1.0",
)  # fmt: skip


def changed(**changes: Any) -> str:
    return json.dumps(json.loads(PROFILE.to_json()) | changes)


def with_column(**changes: Any) -> str:
    message = json.loads(PROFILE.to_json())
    message["columns"][0] |= changes
    return json.dumps(message)


def test_a_profile_reads_back_as_it_was_written() -> None:
    assert parse(PROFILE.to_json()) == PROFILE
    assert parse(PROFILE.to_json()).to_json() == PROFILE.to_json()


def test_what_version_1_wrote_is_still_written_and_read() -> None:
    golden = (resources.files("penstock_contract") / "golden" / "v1" / "profile.json").read_text(encoding="utf-8")
    assert parse(golden) == PROFILE
    assert PROFILE.to_json() == golden


def test_the_hash_covers_what_decides_where_a_value_is_counted() -> None:
    same = replace(PROFILE, columns=(replace(AMOUNT, mean=9.0), CITY, SCORE), source_name="other.csv")
    assert same.hash == PROFILE.hash
    for other in (
        replace(AMOUNT, edges=(-0.1, 0.5, 2.5)),
        replace(AMOUNT, datatype="FP64"),
        replace(AMOUNT, centre=0.0),
        replace(AMOUNT, scores=(-90, -40, 40, 91)),
    ):
        assert replace(PROFILE, columns=(other, CITY, SCORE)).hash != PROFILE.hash


def test_the_layout_of_counts_follows_from_the_columns() -> None:
    layout = layout_of(PROFILE.columns)
    assert layout.bins == (4, 4, 4)
    assert layout.inputs == (True, True, False)
    assert (layout.contributing, layout.crossed) == (1, 1)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not JSON"),
        ("[1]", "not a JSON object"),
        (changed(schema="penstock.profile/v9"), "its schema is 'penstock.profile/v9'; this version reads"),
        (changed(columns=[]), "no columns"),
        (changed(columns=[{"name": "a"}]), "a field is missing or wrong: KeyError"),
        (changed(counts={}), "its columns are not those of the profile"),
        (changed(profileHash="sha256:0"), "changed by hand, or damaged"),
        (
            changed(calibration=[{"column": "outputs/score", "hits": [1]}]),
            "the calibration of 'outputs/score' does not",
        ),
        (with_column(edges=[1.0, 1.0, 2.0]), "the edges of 'inputs/amount' do not ascend"),
        (with_column(edges=[0, 10**400]), "a field is missing or wrong: OverflowError"),
        (with_column(edges=[]), "'inputs/amount' has no edges"),
        (with_column(edges=[0.0, "1", 2.0]), "'1' is not a finite number"),
        (with_column(scale=0.0), "the scale of 'inputs/amount' is not above 0"),
        (with_column(scores=[1, 2]), "'inputs/amount' has 2 scores for 4 bins"),
        (with_column(kind="fancy"), "a field is missing or wrong: ValueError"),
        (with_column(name="inputs/city"), "two of its columns have the same name"),
    ],
)
def test_a_file_that_is_no_profile_is_refused_with_the_reason(text: str, says: str) -> None:
    with pytest.raises(InvalidProfile, match=says):
        parse(text)


def test_a_value_on_an_edge_belongs_to_the_bin_below_it() -> None:
    assert [bin_of(value, AMOUNT.edges) for value in (-1.0, -0.1, 0.5, 0.500001, 2.0, 2.1)] == [0, 1, 1, 2, 2, 3]


def test_a_column_is_found_by_its_name() -> None:
    assert PROFILE.column("inputs/city") is CITY
    with pytest.raises(KeyError):
        PROFILE.column("inputs/none")


@settings(max_examples=100, deadline=None)
@given(damaged(json.loads(PROFILE.to_json())))
def test_a_damaged_profile_is_refused_or_read_but_breaks_nothing(message: Any) -> None:
    try:
        read = parse(json.dumps(message))
    except InvalidProfile:
        return
    assert parse(read.to_json()) == read
