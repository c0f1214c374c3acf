"""The examples in the docstrings of the embedded cluster."""

import doctest
import importlib
import pkgutil

import pytest

from cluster import embedded

MODULES = sorted(module.name for module in pkgutil.iter_modules(embedded.__path__) if module.name != "__main__")


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_every_module_hold(name: str) -> None:
    failures, _ = doctest.testmod(importlib.import_module(f"cluster.embedded.{name}"))
    assert failures == 0
