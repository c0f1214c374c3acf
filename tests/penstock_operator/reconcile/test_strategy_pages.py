"""The manifests of the pages about strategies, in memory: each does what its page says."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.fakes.shop import Shop

from penstock_operator.core.objects import Kind

MD, TS = Kind.MODEL_DEPLOYMENT, Kind.TRAFFIC_SPLIT
KINDS = {kind.resource.kind: kind for kind in (MD, TS, Kind.DRIFT_POLICY)}
PAGES = Path(__file__).parents[3] / "docs" / "tasks"


def model(digit: int) -> dict[str, Any]:
    return {"model": {"uri": f"s3://models/tumor/{digit}/model.onnx", "sha256": f"{digit:064x}"}}


async def begin(shop: Shop, page: str) -> str:
    """Serve a model, apply what a page shows, and return the stable revision."""
    shop.apply(MD, "tumor", model(1))
    await shop.settle()
    for block in re.findall(r"```yaml\n(.*?)```", (PAGES / page).read_text(), re.DOTALL):
        for manifest in yaml.safe_load_all(block):
            shop.apply(KINDS[manifest["kind"]], manifest["metadata"]["name"], manifest["spec"])
    await shop.run(2)
    return str(status(shop)["stableRevision"])


async def change(shop: Shop, digit: int) -> str:
    shop.apply(MD, "tumor", model(digit))
    await shop.settle()
    return str(shop.status(MD, "tumor")["latestRevision"])


def status(shop: Shop) -> dict[str, Any]:
    return shop.status(TS, "tumor")


def phase_is(shop: Shop, phase: str) -> Callable[[], bool]:
    return lambda: status(shop).get("phase") == phase


def real(shop: Shop) -> dict[str, int]:
    return {name: weight for name, weight in shop.router.weights("shop", "tumor").items() if weight}


async def promote(shop: Shop, number: int) -> None:
    shop.command("tumor", json.dumps({"verb": "promote", "id": str(number), "by": "ada"}))
    await shop.settle()


async def test_the_canary_rises_by_evidence_waits_and_is_promoted(shop: Shop) -> None:
    old = await begin(shop, "canary.md")
    new = await change(shop, 2)
    await shop.run(300, until=phase_is(shop, "Paused"))
    assert real(shop) == {old: 50, new: 50}
    await promote(shop, 1)
    await shop.run(60, until=phase_is(shop, "Promoted"))
    assert real(shop) == {new: 100}


async def test_blue_green_gives_the_header_a_preview_and_moves_all_at_once(shop: Shop) -> None:
    old = await begin(shop, "blue-green.md")
    shop.stats.matched_per_second = 5.0
    new = await change(shop, 2)
    await shop.run(120, until=phase_is(shop, "Paused"))
    assert real(shop) == {old: 100}
    assert [match.revision for match in shop.router.running["shop"]["tumor"].matches] == [new]
    await promote(shop, 1)
    await shop.run(60, until=phase_is(shop, "Promoted"))
    assert real(shop) == {new: 100}
    assert status(shop)["watch"]["revision"] == old


async def test_a_green_one_that_turns_bad_within_the_watch_goes_back_in_one_write(shop: Shop) -> None:
    old = await begin(shop, "blue-green.md")
    new = await change(shop, 2)
    await shop.run(120, until=phase_is(shop, "Paused"))
    await promote(shop, 1)
    await shop.run(60, until=phase_is(shop, "Promoted"))
    await shop.run(60)
    shop.stats.behaviours[new].error_share = 0.3
    await shop.run(60, until=phase_is(shop, "RolledBack"))
    assert real(shop) == {old: 100}
    assert status(shop)["rejected"][0]["revision"] == new


async def test_of_challengers_the_bad_one_drops_out_and_the_good_one_wins(shop: Shop) -> None:
    old = await begin(shop, "ab-test.md")
    deep, wide = (str(shop.status(MD, f"tumor-{name}")["latestRevision"]) for name in ("deep", "wide"))
    shop.stats.behaviours[wide].error_share = 1 / 7
    await shop.run(30, until=lambda: real(shop) == {old: 50, deep: 30, wide: 20})
    await shop.run(120, until=lambda: wide not in real(shop))
    assert real(shop) == {old: 70, deep: 30}
    await shop.run(300, until=lambda: status(shop)["stableRevision"] == deep)
    assert real(shop) == {deep: 100}
    assert {(entry["revision"], entry["outcome"]) for entry in status(shop)["history"]} == {
        (deep, "Promoted"),
        (wide, "RolledBack"),
    }


async def test_a_shadow_gets_copies_and_nobody_gets_its_answers(shop: Shop) -> None:
    old = await begin(shop, "shadow.md")
    new = await change(shop, 2)
    await shop.run(60)
    assert real(shop) == {old: 100}
    (mirror,) = shop.router.running["shop"]["tumor"].mirrors
    assert (mirror.revision, mirror.percent, mirror.compare) == (new, 100, True)
    verdicts = {one["metric"]: one["verdict"] for one in status(shop)["analysis"]}
    assert verdicts["errors"] == "Pass"
    await promote(shop, 1)
    await shop.run(60, until=phase_is(shop, "Promoted"))
    assert real(shop) == {new: 100}


@pytest.mark.parametrize("page", ["canary.md", "blue-green.md", "shadow.md"])
async def test_whatever_the_strategy_a_bad_candidate_gets_no_traffic_in_the_end(shop: Shop, page: str) -> None:
    old = await begin(shop, page)
    shop.stats.matched_per_second = 20.0
    bad = str(await change(shop, 3))
    shop.stats.behaviours[bad].error_share = 0.5
    await shop.run(300, until=phase_is(shop, "RolledBack"))
    assert real(shop) == {old: 100}
    assert status(shop)["rejected"][0]["revision"] == bad
