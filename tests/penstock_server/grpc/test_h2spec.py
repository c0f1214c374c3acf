"""The port judged by h2spec, which knows what RFC 9113 and RFC 7541 ask of a server.

PENSTOCK_H2SPEC names its binary; `make test` builds it. Without Make:
go install github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible
"""

import asyncio
import os
import shutil

import pytest
from tests.penstock_server.grpc.conftest import Serve


async def test_h2spec_finds_nothing_wrong(serve: Serve) -> None:
    binary = os.environ.get("PENSTOCK_H2SPEC") or shutil.which("h2spec")
    if not binary:
        pytest.fail("h2spec is missing: set PENSTOCK_H2SPEC to its binary, or run `make test`, which builds it")
    served = await serve(None)
    judge = await asyncio.create_subprocess_exec(
        binary,
        *("--host", "127.0.0.1", "--port", str(served.listener.port), "--timeout", "10"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await judge.communicate()
    assert judge.returncode == 0, said.decode()
    assert "145 tests, 145 passed, 0 skipped, 0 failed" in said.decode()
