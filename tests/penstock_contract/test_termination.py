"""The last words of a container fit where Kubernetes keeps them, and strangers' words do no harm."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_contract.termination import BYTES_MAX, Reason, TerminationMessage, parse


@given(reason=st.sampled_from(Reason), message=st.text(max_size=600), permanent=st.booleans())
def test_a_message_survives_the_way_through_the_file(reason: Reason, message: str, *, permanent: bool) -> None:
    said = TerminationMessage(reason=reason, message=message, permanent=permanent)
    assert parse(said.to_json()) == said


@pytest.mark.parametrize("character", ["a", "ü", "𝄞", '"', "\n", "\x00", "\\"])
def test_a_long_message_loses_its_end_and_stays_readable(character: str) -> None:
    text = TerminationMessage(reason=Reason.LOAD_FAILED, message=character * 20_000, permanent=True).to_json()
    assert BYTES_MAX - 64 < len(text.encode()) <= BYTES_MAX
    read = parse(text)
    assert read is not None
    assert read.message.rstrip("…") == character * (len(read.message) - 1)


def test_what_utf_8_cannot_carry_is_replaced() -> None:
    text = TerminationMessage(reason=Reason.LOAD_FAILED, message="a\ud800b", permanent=True).to_json()
    assert json.loads(text.encode())["message"] == "a?b"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Killed",
        "{",
        "[]",
        "3",
        '{"reason": "LoadFailed"}',
        '{"reason":1,"message":"","permanent":true}',
        "[" * 9999,
    ],
)
def test_other_words_are_no_message(text: str) -> None:
    assert parse(text) is None


def test_a_reason_of_a_newer_server_is_kept_in_the_message() -> None:
    read = parse('{"reason":"FlangeLost","message":"gone","permanent":true}')
    assert read == TerminationMessage(reason=Reason.OTHER, message="FlangeLost: gone", permanent=True)
