"""Runs the checks of a client program in the client's own environment, and prints what came of them as JSON.

``runner.py PROGRAM URL GRPC_ADDRESS``: every function ``check_…`` of the program is called with both. Standard library
only: it runs beside somebody else's packages.
"""

import asyncio
import inspect
import json
import runpy
import sys
import traceback


def main() -> None:
    """Print an object with null for each check that passed, and the traceback of each that did not."""
    program, url, grpc = sys.argv[1:]
    results: dict[str, str | None] = {}
    for name, check in runpy.run_path(program).items():
        if not name.startswith("check_"):
            continue
        try:
            outcome = check(url, grpc)
            if inspect.iscoroutine(outcome):
                asyncio.run(outcome)
            results[name] = None
        except Exception:  # noqa: BLE001 - whatever it is, it belongs to this check
            results[name] = traceback.format_exc()
    print(json.dumps(results))


if __name__ == "__main__":
    main()
