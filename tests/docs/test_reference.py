"""The reference pages list what there is, all of it and nothing else."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command

from docs import generate
from penstock_cli.__main__ import app
from penstock_contract import metrics as serving_metrics
from penstock_contract import termination
from penstock_operator.core.conditions import Reason

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
OPERATOR = ROOT / "operator" / "src" / "penstock_operator"
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md")])


def source_of(folder: Path, *, without: str) -> str:
    return "\n".join(file.read_text() for file in sorted(folder.rglob("*.py")) if file.name != without)


def first_cells(page: str) -> list[str]:
    """The code words in the first column of a page's tables."""
    return re.findall(r"^\| `([^`]+)`", (DOCS / page).read_text(), re.MULTILINE)


def given_reasons() -> Iterator[str]:
    """The reasons that something in the operator gives."""
    source = source_of(OPERATOR, without="conditions.py")
    for reason in Reason:
        # As the enum's member, or as a word that a status has kept: reason: Literal["PolicyBreached", …]
        if re.search(rf'Reason\.{reason.name}\b|reason[:=][^\n]*"{reason.value}"', source):
            yield reason.value


def revision_reasons() -> set[str]:
    """The reasons that a revision may give: what its container said, or what the operator saw of its pods."""
    source = (OPERATOR / "core" / "pod_state.py").read_text()
    seen = set(re.findall(r'Trouble\(\s*reason="(\w+)"', source)) | set(
        re.findall(r'^\w+ = "(\w+)"$', source, re.MULTILINE)
    )
    return seen | {reason.value for reason in termination.Reason}


def test_every_reason_that_is_given_is_described_and_no_other() -> None:
    page = (DOCS / "conditions.md").read_text().partition("## Reasons of all kinds")[2]
    described = set(re.findall(r"^\| `([^`]+)`", page, re.MULTILINE))
    assert described == set(given_reasons()) | revision_reasons()


def test_every_condition_type_is_described_and_no_other() -> None:
    page = (DOCS / "conditions.md").read_text().partition("## Reasons of all kinds")[0]
    described = set(re.findall(r"^\| \w+ \| `([^`]+)`", page, re.MULTILINE))
    source = source_of(OPERATOR, without="conditions.py")
    written = set(re.findall(r'conditions\.set\(\s*"(\w+)"', source))
    assert written <= described
    assert all(f'"{type_}"' in source for type_ in described)


def test_every_metric_is_described_and_no_other() -> None:
    metrics = "".join(file.read_text() for file in (OPERATOR / "adapters").glob("*metrics.py"))
    operator = set(re.findall(r'"(penstock_\w+)"', metrics))
    serving = {
        value for name, value in vars(serving_metrics).items() if name.isupper() and str(value).startswith("penstock_")
    }
    assert set(first_cells("metrics.md")) == operator | serving


def test_every_command_of_the_plugin_is_described() -> None:
    page = (DOCS / "plugin.md").read_text()
    commands = getattr(get_command(app), "commands")  # noqa: B009 - the type is a private one of typer's
    assert commands
    for name in commands:
        assert f"`{name}" in page, name


def test_the_fields_page_is_current() -> None:
    assert (DOCS / "fields.md").read_text() == generate.document(), "run: python docs/generate.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", linked.read_text(), re.MULTILINE)
            assert anchor in {
                re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings
            }


def test_every_page_is_reached_from_the_index() -> None:
    index = (DOCS / "index.md").read_text()
    for page in DOCS.rglob("*.md"):
        assert page.name == "index.md" or f"({page.relative_to(DOCS)})" in index, page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_make_target_and_no_file_is_made_up(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    text = page.read_text()
    for target in re.findall(r"`make (?:-s )?([a-z-]+)", text):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target}"
    for file in re.findall(r"\b(examples/[\w./-]+\.(?:yaml|py|onnx))", text):
        assert (ROOT / file).exists(), file
