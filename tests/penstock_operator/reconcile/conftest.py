"""A namespace in memory for each test."""

import pytest
from tests.fakes.shop import Shop


@pytest.fixture
def shop() -> Shop:
    return Shop()
