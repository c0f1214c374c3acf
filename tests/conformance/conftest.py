"""The conformance suite: options that point it at a server, numbered requirements, and how many of them are met.

``python -m pytest tests/conformance`` judges this server. ``--server http://host:port`` judges any other one that has
loaded the models of the suite; ``--write-models FOLDER`` writes them.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.conformance.exchange import Target
from tests.conformance.slow import SlowClients
from tests.conformance.subjects import MODELS, Elsewhere, Running, Servers

HERE = Path(__file__).parent
#: Requirements that this server is known not to meet yet, while there are any.
UNMET = HERE / "unmet.txt"
_NUMBER = pytest.StashKey[str]()
_OUTCOMES = pytest.StashKey[dict[str, str]]()

Start = Callable[..., Running]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("conformance", "Open Inference Protocol v2")
    group.addoption("--server", metavar="URL", help="judge the server there, which has loaded the suite's models")
    group.addoption("--grpc", metavar="HOST:PORT", default="", help="where that server speaks gRPC")
    group.addoption(
        "--model", metavar="MODEL=NAME", action="append", default=[], help="the name that server gives a model"
    )
    group.addoption(
        "--setting", metavar="NAME=VALUE", action="append", default=[], help="serve with it: batching_max_rows=32"
    )
    group.addoption("--write-models", metavar="FOLDER", help="write the suite's models there, and judge nothing")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_OUTCOMES] = {}
    folder = config.getoption("--write-models", None)
    if folder:
        for name, make in MODELS.items():
            path = Path(folder) / f"{name}.onnx"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(make().SerializeToString())
        pytest.exit(f"wrote {len(MODELS)} models to {folder}", returncode=0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    counts: Counter[str] = Counter()
    unmet = frozenset(UNMET.read_text().splitlines()) if UNMET.exists() else frozenset[str]()
    for item in items:
        if item.path.parent == HERE:
            area = item.path.stem.removeprefix("test_").replace("_", "-")
            counts[area] += 1
            item.stash[_NUMBER] = f"{area}-{counts[area]:03d}"
            if f"{item.path.stem}::{ascii(item.name)[1:-1]}" in unmet:
                item.add_marker(pytest.mark.xfail(reason="not met yet", strict=False))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]  # pluggy's result
    number = item.stash.get(_NUMBER, "")
    if number and (call.when == "call" or not report.passed):
        outcomes = item.config.stash[_OUTCOMES]
        outcome_now = "unmet" if hasattr(report, "wasxfail") and not report.passed else report.outcome
        outcomes[number] = outcomes.get(number, "passed") if report.passed else outcome_now
        if report.failed:
            report.sections.append(("requirement", f"{number}: {sentence(item)}"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    outcomes = config.stash.get(_OUTCOMES, {})
    if not outcomes:
        return
    terminalreporter.section("Open Inference Protocol v2")
    asked = {number: outcome for number, outcome in outcomes.items() if outcome != "skipped"}
    for area in dict.fromkeys(number.rpartition("-")[0] for number in asked):
        results = [outcome for number, outcome in asked.items() if number.rpartition("-")[0] == area]
        terminalreporter.line(f"{area:24} {results.count('passed'):4} of {len(results):4} met")
    met = list(asked.values()).count("passed")
    terminalreporter.line(f"{met} of {len(asked)} requirements met")


def sentence(item: pytest.Item) -> str:
    """Return the requirement in words: the test's name and its parameters."""
    name, _, parameters = item.name.partition("[")
    words = name.removeprefix("test_").replace("_", " ")
    return f"{words} ({parameters.removesuffix(']')})" if parameters else words


@pytest.fixture(scope="session")
def _subject(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers | Elsewhere]:
    url = request.config.getoption("--server", None)
    subject: Servers | Elsewhere
    if url:
        names = dict(one.split("=", 1) for one in request.config.getoption("--model"))
        subject = Elsewhere(url, request.config.getoption("--grpc"), names)
    else:
        settings = dict(one.split("=", 1) for one in request.config.getoption("--setting", None) or [])
        subject = Servers(tmp_path_factory.mktemp("conformance"), settings)
    yield subject
    subject.close()


@pytest.fixture
def served(_subject: Servers | Elsewhere) -> Callable[[str], Target]:
    """Return a function from the name of one of the suite's models to where it is served."""
    return _subject.target


@pytest.fixture
def start(_subject: Servers | Elsewhere) -> Start:
    """Return a function that starts a server of ours with settings; these checks are not asked of other servers."""
    if isinstance(_subject, Elsewhere):
        pytest.skip("this requirement needs a server that the suite starts itself")
    return _subject.start


@pytest.fixture
def fp32(served: Callable[[str], Target]) -> Target:
    """The model y = x of FP32 [-1, 2], where nothing else matters; it has a version."""
    return served("identity_fp32")


@pytest.fixture(scope="session", autouse=True)
def _slow_clients(request: pytest.FixtureRequest, _subject: Servers | Elsewhere) -> SlowClients | None:
    """Begin at once with what takes half a minute, if it is asked for at all."""
    asked = any("slow_clients" in getattr(item, "fixturenames", ()) for item in request.session.items)
    return SlowClients(_subject.target("identity_fp32")) if asked else None


@pytest.fixture
def slow_clients(_slow_clients: SlowClients) -> SlowClients:
    """Clients that never finish a request."""
    return _slow_clients
