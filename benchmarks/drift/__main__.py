"""Compares drift detection with other tools: ``make bench-drift``, some 25 minutes on one core. Same seeds, same rows.

What each tool has said is kept until it is asked for otherwise: what was interrupted goes on where it was.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.drift import counting, datasets, goals, page, performance, plot, results, scale, sources
from benchmarks.drift.environments import DATA, packages_of, python_for, versions
from cluster.environments import CACHE, ROOT

RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "benchmarks-drift.md"
TOOLS = ("penstock", "alibi_detect", "evidently", "nannyml", "whylogs", "river")
PARTS = ("compare", "data", "cost", "own")
_KEPT = CACHE.parent / "drift-benchmark"
#: One thread each, as they are given one core.
_ENVIRONMENT = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def main() -> None:
    options = _options()
    started = time.monotonic()
    _KEPT.mkdir(parents=True, exist_ok=True)
    document = _known(options.out / "drift.json")
    for part in options.parts:
        if part == "own":
            document |= _own(options)
        else:
            document |= _compared(part, options)
    document["versions"] = versions(tuple(tool for tool in TOOLS if tool != "penstock"))
    document["goals"] = [asdict(goal) for goal in goals.judged(document)]
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "drift.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    if document.get("delays"):
        (options.out / "drift.svg").write_text(plot.svg(document), encoding="utf-8")
    if options.out == RESULTS:
        page.renew(PAGE, document)
    print("\nGoals")
    for goal in document["goals"]:
        said = {True: "met", False: "NOT MET", None: "too few"}[goal["met"]]
        print(f"  {said:7} {goal['name']}: {goal['value']}")
    print(f"\n{time.monotonic() - started:.0f} s; {options.out}/drift.json and drift.svg")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10, help="runs of each change, and references, where time allows")
    parser.add_argument("--windows", type=int, default=192, help="windows of each reference without any drift")
    parser.add_argument("--seconds", type=float, default=35.0, help="for each contender and length of windows")
    parser.add_argument("--only", default="", help="tools, separated by commas: " + ", ".join(TOOLS))
    parser.add_argument("--parts", default=",".join(PARTS), help="parts, separated by commas")
    parser.add_argument("--models", type=int, default=1000, help="models of the part that judges many")
    parser.add_argument("--again", action="store_true", help="ask also those whose answers are kept")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of drift.json and drift.svg")
    options = parser.parse_args()
    options.parts = [part for part in PARTS if part in options.parts.split(",")]
    options.tools = [tool for tool in TOOLS if not options.only or tool in options.only.split(",")]
    return options


def _known(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _compared(part: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return what a part adds to the document: of the tools asked now, and of those that were asked before."""
    records: list[dict[str, Any]] = []
    for tool in TOOLS:
        records += _asked(tool, part, options) if tool in options.tools else _kept(tool, part)
    match part:
        case "compare":
            return {
                "delays": results.delays(records),
                "falseAlarms": results.false_alarms(records),
                "nothing": results.nothing(records),
            }
        case "data":
            return {"data": results.rest(records, "data")}
        case _:
            return {"cost": results.rest(records, "cost")}


def _asked(tool: str, part: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return what a tool says; of what is kept of the same question nothing is asked again."""
    task: dict[str, Any] = {
        "part": part, "runs": options.runs, "windows": options.windows, "seconds": options.seconds,
        "references": 8, "rounds": 3, "data": str(_KEPT / "data"),
    }  # fmt: skip
    question = hashlib.sha256((json.dumps(task) + _sources(tool)).encode()).hexdigest()
    asked_before, known = _lines(tool, part)
    if asked_before != question or options.again:
        known = []
    done = [[one["contender"], one["size"]] for one in known if one["kind"] == "end"]
    known = [one for one in known if [one["contender"], one["size"]] in done]
    print(f"== {tool}, {part}: {len(done)} kept", flush=True)
    python = Path(sys.executable) if tool == "penstock" else python_for(tool)
    if part == "data" and not datasets.kept(_KEPT / "data"):
        datasets.save(_KEPT / "data", sources.cases(packages_of(DATA), python_for("river")))
    order = _KEPT / f"{tool}-{part}.task.json"
    order.write_text(json.dumps(task | {"done": done}), encoding="utf-8")
    with _file(tool, part).open("w", encoding="utf-8") as file:
        for line in ({"question": question}, *known):
            file.write(json.dumps(line) + "\n")
        file.flush()
        command = [str(python), "-m", "benchmarks.drift.trial", tool, str(order)]
        ended = subprocess.run(command, stdout=file, cwd=ROOT, env=_ENVIRONMENT, check=False)
    if ended.returncode:
        print(f"== {tool} ended with {ended.returncode}", flush=True)
    return _kept(tool, part)


def _file(tool: str, part: str) -> Path:
    return _KEPT / f"{tool}-{part}.jsonl"


def _lines(tool: str, part: str) -> tuple[str, list[dict[str, Any]]]:
    """Return what was asked, and what was said to it: by one that was interrupted, up to there."""
    if not _file(tool, part).exists():
        return "", []
    first, *lines = _file(tool, part).read_text(encoding="utf-8").splitlines(keepends=True)
    return json.loads(first)["question"], [json.loads(line) for line in lines if line.endswith("\n")]


def _kept(tool: str, part: str) -> list[dict[str, Any]]:
    return _lines(tool, part)[1]


def _sources(tool: str) -> str:
    here = Path(__file__).parent
    files: Sequence[Path] = [here / name for name in ("streams.py", "tool.py", "trial.py", "datasets.py")]
    files = [*files, here / "peers" / f"{tool}_side.py"]
    if tool == "penstock":
        core = ROOT / "operator" / "src" / "penstock_operator" / "core" / "drift"
        files = [*files, here / "live.py", *sorted(core.rglob("*.py"))]
    return "".join(file.read_text(encoding="utf-8") for file in files)


def _own(options: argparse.Namespace) -> dict[str, Any]:
    """Return what concerns nobody else: what counting costs, what judging many models does; and the estimate."""
    print("== estimated accuracy", flush=True)
    accuracy = performance.measure(packages_of(DATA), python_for("nannyml"))
    print("== counting", flush=True)
    counted = counting.measure()
    print(f"== {options.models} models", flush=True)
    judged = scale.measure(models=options.models, features=30, pods=3, minutes=4)
    return {"accuracy": accuracy, "counting": counted, "scale": judged}


if __name__ == "__main__":
    main()
