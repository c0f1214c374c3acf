"""Plays rollouts of good and bad models on the cluster of KUBECONFIG, several at once under live traffic.

    make bench-judge-live                                   # ten minutes
    make bench-judge-live BENCH="--only 'errors x4'"        # a part; the rows of the others stay

It prints a table and writes judge_live.json. Exits with 1 when a goal is missed.
"""

import argparse
import json
import os
import queue
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.judge.live.figures import TICK_SECONDS, Row, goals, table
from benchmarks.judge.live.plan import Planned, dealt, planned
from benchmarks.judge.live.shop import STEPS, Shop
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from tests.cluster.api import Api, kubeconfig_from_environment

RESULT = Path(__file__).parents[2] / "results" / "judge_live.json"
NAMESPACE = "judge-live"
Found = queue.SimpleQueue[Row | str | None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rollouts", type=int, default=24, help="how many (default 24)")
    parser.add_argument("--namespaces", type=int, default=2, help="each with its own routers (default 2)")
    parser.add_argument("--splits", type=int, default=3, help="in each namespace, playing at once (default 3)")
    parser.add_argument("--rate", type=float, default=100, help="requests a second of each split (default 100)")
    parser.add_argument("--patience", type=float, default=300, help="seconds until a rollout counts as undecided")
    parser.add_argument("--only", default="", help="rollouts whose name contains this; other rows stay as they are")
    parser.add_argument("--result", type=Path, default=RESULT)
    chosen = parser.parse_args()
    kubeconfig = kubeconfig_from_environment()
    if kubeconfig is None:
        sys.exit('KUBECONFIG names no cluster: run make bench-judge-live, or make up and then eval "$(make -s env)"')
    known = rows_of(chosen.result)
    rollouts = planned(chosen.rollouts, chosen.only)
    if not chosen.only:
        known = {}
    complaints = []
    for found in play(chosen, kubeconfig, rollouts):
        if isinstance(found, Row):
            known[found.name] = found
            keep(chosen.result, known)
        else:
            complaints.append(found)
    rows = [known[name] for name in sorted(known)]
    print("\n".join(table(rows)))
    missed = [name for name, met, _ in goals(rows) if not met]
    for name, met, told in goals(rows):
        print(f"  {'met   ' if met else 'NOT MET'} {name}: {told}")
    if complaints or missed:
        sys.exit("\n".join(complaints) or 1)


def play(chosen: argparse.Namespace, kubeconfig: Path, rollouts: Sequence[Planned]) -> Iterator[Row | str]:
    """Yield the rows as they come, and what went wrong otherwise; take everything down at the end."""
    hands = [hand for hand in dealt(rollouts, chosen.namespaces * chosen.splits) if hand]
    api = Api(kubeconfig)
    namespaces = sorted({f"{NAMESPACE}-{index % chosen.namespaces}" for index in range(len(hands))})
    for name in namespaces:
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    results: Found = queue.SimpleQueue()
    epoch = float(int(time.time()))
    threads = []
    for index, hand in enumerate(hands):
        shop = Shop(
            Api(kubeconfig),
            namespace=namespaces[index % len(namespaces)],
            name=f"shop-{index}",
            image=os.environ.get("PENSTOCK_SERVER_IMAGE", "penstock/server:dev"),
            rate=chosen.rate,
            epoch=epoch,
        )
        threads.append(threading.Thread(target=play_hand, args=(chosen, shop, hand, results), daemon=True))
    try:
        for thread in threads:
            thread.start()
        yield from shown(results, len(rollouts), len(threads))
    finally:
        for name in namespaces:
            api.delete("Namespace", name)


def play_hand(chosen: argparse.Namespace, shop: Shop, hand: Sequence[Planned], results: Found) -> None:
    """Play a split's rollouts one after the other; the last word is None."""
    try:
        shop.open((chosen.patience + 60) * len(hand))
        for each in hand:
            about = each.injection
            row = shop.play(
                each.name, about.told, about.fault, times=about.times, healthy=about.healthy, patience=chosen.patience
            )
            results.put(row)
    except Exception as error:  # noqa: BLE001 - a thread's error is told by the main one
        results.put(f"{shop.name}: {type(error).__name__}: {error}"[:2000])
    finally:
        results.put(None)


def shown(results: Found, rollouts: int, players: int) -> Iterator[Row | str]:
    """Yield everything that comes, showing how far it is: a bar on a terminal, else a line each."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, disable=not sys.stderr.isatty(), transient=True) as progress:
        bar = progress.add_task("rollouts", total=rollouts)
        while players:
            one = results.get()
            if one is None:
                players -= 1
                continue
            progress.advance(bar)
            if progress.disable:
                print(json.dumps(asdict(one)) if isinstance(one, Row) else one, flush=True)
            yield one


def rows_of(path: Path) -> dict[str, Row]:
    """Return the rows that were written before."""
    if not path.exists():
        return {}
    return {row["name"]: Row(**row) for row in json.loads(path.read_text())["rows"]}


def keep(path: Path, rows: dict[str, Row]) -> None:
    """Write all rows, so that nothing is lost when the rest fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ordered = [rows[name] for name in sorted(rows)]
    document = {
        "tick_seconds": TICK_SECONDS,
        "steps": list(STEPS),
        "goals": [{"name": name, "met": met, "value": told} for name, met, told in goals(ordered)],
        "rows": [asdict(row) for row in ordered],
    }
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
