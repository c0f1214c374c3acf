"""A real Prometheus, asked as the operator asks it: its parser takes the confined queries, and tenants stay apart."""

import json
import os
import re
import subprocess
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import aiohttp
import pytest
from cluster.embedded import binaries

from penstock_operator.adapters.prometheus import HttpPrometheus
from penstock_operator.core.promql import confined
from penstock_operator.core.questions import Answer, Question

TARGET = """
# TYPE sales gauge
sales{namespace="shop",revision="fraud-a"} 10
sales{namespace="shop",revision="fraud-b"} 4
sales{namespace="shop",revision="fraud-b",region="eu"} 2
sales{namespace="other",revision="fraud-a"} 777
# TYPE zero gauge
zero{namespace="shop"} 0
# TYPE orders_total counter
orders_total{namespace="shop",revision="fraud-a"} 100
orders_total{namespace="other",revision="fraud-a"} 900
"""
CONFIG = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
- job_name: shop
  honor_labels: true
  static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


Ask = Callable[[str], Awaitable[Answer]]


class _Target(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = TARGET.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Say nothing."""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start it on a free port, over a target that says TARGET, and wait until it has scraped."""
    named = os.environ.get("PENSTOCK_PROMETHEUS")
    program = Path(named) if named else binaries.ensure((binaries.PROMETHEUS,)) / "prometheus"
    folder = tmp_path_factory.mktemp("prometheus")
    with ThreadingHTTPServer(("127.0.0.1", 0), _Target) as target:
        Thread(target=target.serve_forever, daemon=True).start()
        (folder / "prometheus.yml").write_text(CONFIG.format(port=target.server_port))
        command = [
            str(program),
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/data",
            "--web.listen-address=127.0.0.1:0",
            "--log.format=json",
        ]
        with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
            try:
                address = _address(folder / "log", process)
                _until_scraped(address)
                yield address
            finally:
                process.terminate()
                target.shutdown()


def _address(log: Path, process: subprocess.Popen[bytes]) -> str:
    """Return where it listens, as its log tells."""
    for _ in range(600):
        assert process.poll() is None, log.read_text()
        if found := re.search(r'"TLS is disabled.*"address":"([^"]+)"', log.read_text()):
            return f"http://{found[1]}"
        time.sleep(0.05)
    raise AssertionError(log.read_text())


def _until_scraped(url: str) -> None:
    for _ in range(600):
        with urllib.request.urlopen(f"{url}/api/v1/query?query=count(sales)", timeout=5) as answer:
            if json.load(answer)["data"]["result"]:
                return
        time.sleep(0.05)
    raise AssertionError("Prometheus has scraped nothing")


@pytest.fixture
async def prometheus(url: str) -> AsyncIterator[Ask]:
    async with aiohttp.ClientSession() as session:
        source = HttpPrometheus(session, url=url)

        async def ask(query: str) -> Answer:
            return await source.answer(Question(source="Prometheus", namespace="shop", text=query))

        yield ask


async def test_one_number_is_the_answer(prometheus: Ask) -> None:
    query = confined('sum(sales{revision="fraud-b"})', namespace="shop")
    assert await prometheus(query) == Answer(value=6.0)


async def test_a_tenant_sees_only_its_own_namespace(prometheus: Ask) -> None:
    assert (await prometheus('sum(sales{revision="fraud-a"})')).value == 787.0
    assert (await prometheus(confined('sum(sales{revision="fraud-a"})', namespace="shop"))).value == 10.0
    assert (await prometheus(confined('sales{namespace="other"}', namespace="shop"))).absent


@pytest.mark.parametrize(
    "query",
    [
        'sum by (revision) (sales{revision="fraud-a"})',
        'sum(sales{revision="fraud-a"}) without (region)',
        'sales{revision="fraud-a"} offset 0s',
        'max_over_time(sales{revision="fraud-a"}[30s])',
        'max_over_time(max(sales{revision="fraud-a"})[30s:1s])',
        'sales{revision="fraud-a"} / on (revision) group_left () sales{revision="fraud-a"} * 10',
        'sales{revision="fraud-a"} and on (revision) sales unless on (revision) zero',
        'sales{revision="fraud-a"} @ end()',
        'label_replace(sales{revision="fraud-a"}, "x", "$1", "revision", "(.*)")',
        '{__name__="sales", revision="fraud-a"}',
        'quantile(0.5, sales{revision="fraud-a"}) > bool 5 * Inf or vector(10) * 10',
        'histogram_quantile(0.9, sales{revision="fraud-a"}) or vector(10)',
        'topk(1, sales{revision="fraud-a"})',
        'count_values("v", sales{revision="fraud-a"}) * 10',
    ],
)
async def test_its_parser_takes_what_was_confined(prometheus: Ask, query: str) -> None:
    answer = await prometheus(confined(query, namespace="shop"))
    assert "refuses" not in answer.problem, answer.problem
    assert answer.value is not None or answer.absent, answer


async def test_many_series_are_a_problem_and_none_are_absent(prometheus: Ask) -> None:
    many = await prometheus(confined('sales{revision="fraud-b"}', namespace="shop"))
    assert "returns 2 series, not one" in many.problem
    assert (await prometheus(confined('sales{revision="fraud-z"}', namespace="shop"))).absent


async def test_nothing_divided_by_nothing_is_no_data(prometheus: Ask) -> None:
    assert "NaN" in (await prometheus(confined("zero / zero", namespace="shop"))).absent
    assert "infinite" in (await prometheus(confined("1 / zero", namespace="shop"))).problem


async def test_a_query_that_it_refuses_is_told_in_its_words(prometheus: Ask) -> None:
    answer = await prometheus("rate(sales)")
    assert answer.problem.startswith("Prometheus refuses the query: ")
    assert "range vector" in answer.problem


async def test_a_range_is_no_number(prometheus: Ask) -> None:
    assert "returns a matrix" in (await prometheus("sales[30s]")).problem
