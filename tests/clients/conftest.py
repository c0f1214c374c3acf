"""Two servers of ours for the clients of others."""

from collections.abc import Iterator

import pytest
from tests.conformance.exchange import Target
from tests.conformance.subjects import Servers


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """What starts them."""
    starting = Servers(tmp_path_factory.mktemp("clients"))
    yield starting
    starting.close()


@pytest.fixture(scope="session")
def everything(servers: Servers) -> Target:
    """A model that gives back thirteen inputs, one for each datatype."""
    return servers.target("everything")


@pytest.fixture(scope="session")
def arithmetic(servers: Servers) -> Target:
    """A model with two inputs and two outputs."""
    return servers.target("sum_and_difference")
