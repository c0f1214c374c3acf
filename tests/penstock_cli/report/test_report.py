"""The report: everything that a policy has found on one page, in which nothing that data chose is more than text."""

import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.penstock_cli.report.shop import EVIL, Shop, counted, make_profile, rows
from tests.penstock_cli.samples import CANDIDATE, STABLE
from typer.testing import CliRunner

from penstock_cli import __main__ as plugin
from penstock_cli.cluster import DEPLOYMENTS, POLICIES
from penstock_cli.report.findings import bars, features
from penstock_cli.report.gathering import gather
from penstock_cli.report.page import page
from penstock_contract.counts import Counts
from penstock_contract.profile import Column, Kind, Profile, Role, layout_of

NOW = datetime(2026, 11, 21, 13, tzinfo=UTC)
VOID = {"meta", "rect", "line", "circle", "br", "path"}


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    with pytest.MonkeyPatch.context() as patch:
        return make_profile(tmp_path_factory.mktemp("profile"), patch)


@pytest.fixture(scope="module")
def html(profile: Profile) -> str:
    return page(gather(Shop(profile), "fraud-guard"), now=NOW)


class Elements(HTMLParser):
    """Reads a page as a browser would, and fails on one that is not well formed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_page_is_whole_and_needs_nothing_else(html: str) -> None:
    read = Elements(html)
    assert not {"script", "img", "link", "iframe", "object", "a"} & set(read.tags)
    names = {name for name, _ in read.attributes}
    assert not {name for name in names if name.startswith("on")}
    assert not {"src", "href", "style", "xlink:href"} & names
    assert "http://" not in html
    assert "https://" not in html
    assert "url(" not in html
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'; img-src data:") in read.attributes


def test_what_data_chose_is_only_text(html: str) -> None:
    read = Elements(html)
    assert EVIL not in html
    assert "onerror=alert(2)>" not in html
    assert f"inputs/{EVIL}" in read.text
    assert '"><img src=x onerror=alert(2)>' in read.text


def test_it_tells_the_alarm_its_numbers_and_what_followed(html: str) -> None:
    words = " ".join(Elements(html).text)
    assert "amount: PSI 0.31 over 18234 rows; explains 0.42 of the output shift" in words
    assert "Retrain, Alert" in words
    assert "fraud-retrain-1" in words
    assert "0.5% of 1240 against 0.4% of 11160 (evidence 3.2 of 20)" in words


def test_live_counts_of_all_pods_of_both_revisions_are_in_it(html: str) -> None:
    words = " ".join(Elements(html).text)
    assert "8,000 live rows of 2 pods against 8,000 reference rows." in words
    assert "1,800 live rows of 2 pods against 8,000 reference rows." in words
    assert f"Live traffic of {STABLE}" in words
    assert f"Live traffic of {CANDIDATE}" in words


def test_every_alarm_is_shown_at_the_columns_that_it_is_about(profile: Profile) -> None:
    names = ["contribution/amount", "dataQuality/age/missing", "correlation/amount~age", "outputs/score"]
    told = [{"name": name, "state": "Firing", "revision": STABLE, "signal": "x"} for name in names]
    html = page(gather(Shop(profile, alarms=told), "fraud-guard"), now=NOW)
    shown = dict(re.findall(r"<h3>(\w+/\w+)</h3><p class=\"bad\">alarm: ([^<]*)</p>", html))
    assert shown == {
        "inputs/amount": "contribution/amount, correlation/amount~age",
        "inputs/age": "dataQuality/age/missing, correlation/amount~age",
        "outputs/score": "outputs/score",
    }


def test_the_ranking_begins_with_the_cause(profile: Profile) -> None:
    found = features(profile, counted(profile, rows(1, 4000, shift=0.6)))
    ranked = sorted((one for one in found if one.described.rank), key=lambda one: one.described.rank or 0)
    assert ranked[0].name == "inputs/amount"
    contribution = ranked[0].described.contribution
    assert contribution is not None
    assert 0.3 < contribution < 0.8
    assert abs(ranked[1].described.contribution or 0.0) < 0.1


def test_a_column_of_other_rows_is_seen_where_no_distribution_moves(profile: Profile) -> None:
    values = rows(1, 4000)
    values["amount"] = np.random.default_rng(5).permutation(values["amount"])
    found = {one.name: one for one in features(profile, counted(profile, values))}
    assert (found["inputs/amount"].described.psi_adjusted or 0.0) < 0.01
    before, after = found["inputs/amount"].index or (0.0, 0.0)
    assert before > 0.5
    assert after < 0.05
    assert abs(1 - (found["inputs/age"].index or (1.0, 0.0))[1] / (found["inputs/age"].index or (1.0, 0.0))[0]) < 0.3
    shop = Shop(profile)
    shop.lives[STABLE] = counted(profile, values)
    html = page(gather(shop, "fraud-guard"), now=NOW)
    first = html.partition("What the output follows")[2].partition("<tbody>")[2]
    assert first.startswith('<tr><td data-label="Input">inputs/amount</td>')


def test_shares_of_a_histogram_add_up(profile: Profile) -> None:
    for one in features(profile, counted(profile, rows(1, 4000))):
        assert sum(bar.live for bar in one.bars) == pytest.approx(1.0)
        assert sum(bar.reference for bar in one.bars) == pytest.approx(1.0)


def test_of_many_categories_the_most_frequent_are_drawn() -> None:
    column = Column(
        name="inputs/c", role=Role.INPUT, tensor="c", index=0, datatype="INT64", kind=Kind.CATEGORICAL,
        categories=tuple(range(100)),
    )  # fmt: skip
    drawn = bars(column, [1] * 102, [0] * 50 + [9] + [0] * 51)
    assert len(drawn) == 24
    assert drawn[0].label == "50"
    assert drawn[-1].label == "79 more"
    assert sum(bar.live for bar in drawn) == pytest.approx(1.0)


def test_without_the_right_to_ask_pods_the_rest_is_told(profile: Profile) -> None:
    words = " ".join(Elements(page(gather(Shop(profile, forbidden=True), "fraud-guard"), now=NOW)).text)
    assert "it takes the right to get pods/proxy in shop" in words
    assert "amount: PSI 0.31" in words


def test_a_policy_that_has_found_nothing_yet_has_a_page(profile: Profile) -> None:
    shop = Shop(profile, conditions=[], alarms=[], history=[], trainings=[])
    shop.lives = dict.fromkeys(shop.lives, Counts.zero(layout_of(profile.columns)))
    words = " ".join(Elements(page(gather(shop, "fraud-guard"), now=NOW)).text)
    assert "No alarm stands." in words
    assert "0 live rows of 2 pods" in words


def test_what_cannot_be_watched_says_why(profile: Profile) -> None:
    blind = {"revision": STABLE, "role": "Stable", "reason": "NoProfile", "message": "no pod counts against a profile"}
    words = " ".join(Elements(page(gather(Shop(profile, targets=[blind]), "fraud-guard"), now=NOW)).text)
    assert "NoProfile" in words
    assert "no pod counts against a profile" in words


def test_what_is_watched_names_its_segment(profile: Profile) -> None:
    part = {"revision": STABLE, "segment": "de", "role": "Stable", "reason": "Watching", "message": "windows of 500"}
    words = " ".join(Elements(page(gather(Shop(profile, targets=[part]), "fraud-guard"), now=NOW)).text)
    assert f"{STABLE} [de]" in words


def test_a_policy_of_one_model_shows_its_stable_revision_and_the_split_beside_it(profile: Profile) -> None:
    shop = Shop(profile)
    shop.objects[POLICIES][0]["spec"] = {"target": {"kind": "ModelDeployment", "name": "fraud"}}
    gathered = gather(shop, "fraud-guard")
    assert [live.revision for live in gathered.lives] == [STABLE]
    assert gathered.split is not None


def test_a_policy_of_many_models_shows_those_with_a_label(profile: Profile) -> None:
    shop = Shop(profile)
    shop.objects[POLICIES][0]["spec"] = {"target": {"kind": "ModelDeployment", "selector": {"matchLabels": {"t": "x"}}}}
    assert gather(shop, "fraud-guard").lives == ()
    shop.objects[DEPLOYMENTS][0]["metadata"]["labels"] = {"t": "x", "other": "y"}
    assert [live.revision for live in gather(shop, "fraud-guard").lives] == [STABLE]


def test_every_part_that_status_may_hold_may_be_nonsense(profile: Profile) -> None:
    broken: dict[str, Any] = {
        "alarms": [{"since": "yesterday", "actions": 7}, 3],
        "history": [{"at": None}],
        "trainings": "no",
    }
    Elements(page(gather(Shop(profile, **broken), "fraud-guard"), now=NOW))


def test_the_command_writes_the_file(profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin, "_connect", lambda *_: Shop(profile))
    target = tmp_path / "report.html"
    result = CliRunner().invoke(plugin.app, ["report", "fraud-guard", "-o", str(target)])
    assert result.exit_code == 0, result.output
    assert result.stdout == f"fraud-guard: wrote {target}\n"
    assert re.match("<!doctype html>", target.read_text())


def test_a_file_that_cannot_be_written_is_told(
    profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugin, "_connect", lambda *_: Shop(profile))
    result = CliRunner().invoke(plugin.app, ["report", "fraud-guard", "-o", str(tmp_path / "no" / "r.html")])
    assert result.exit_code == 1
    assert "No such file or directory" in result.stderr
