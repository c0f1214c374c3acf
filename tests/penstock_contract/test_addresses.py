"""The examples of the addresses' docstrings."""

import doctest

from penstock_contract import addresses


def test_the_examples_are_true() -> None:
    outcome = doctest.testmod(addresses)
    assert outcome.attempted > 0
    assert outcome.failed == 0
