"""Runs one fuzzer under atheris; what it finds new goes into the first of the corpus folders that libFuzzer is given.

    explore.py TARGET [libFuzzer's options and folders]

Called by ``run.py`` in an environment that has atheris.
"""

import logging
import sys

import atheris  # type: ignore[import-untyped]  # lives in an environment of its own


def main() -> None:
    """Fuzz until libFuzzer says that it is enough, or that something is wrong."""
    name, *options = sys.argv[1:]
    logging.disable()  # of requests that cannot be read, aiohttp tells each
    with atheris.instrument_imports(include=["penstock_server"]):
        from tests.fuzz.targets import TARGETS  # noqa: PLC0415
    atheris.Setup([sys.argv[0], *options], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
