"""The tables of docs/benchmarks-drift.md, made from the figures: what stands between two marks is replaced."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.drift import results, streams

Document = dict[str, Any]
#: How the page calls what happens.
_TIMES, _DASH = "\N{MULTIPLICATION SIGN}", "\N{EN DASH}"
_CHANGES = {
    "mean + 0.1 sd": "+0.1 sd",
    "mean + 0.5 sd": "+0.5 sd",
    "sd x 1.25": f"sd {_TIMES} 1.25",
    "two humps, same mean and variance": "two humps",
    "shuffled": "shuffled",
    "mean + 0.5 sd, 1 in 100 rows an outlier": "+0.5 sd, outliers",
}


def renew(path: Path, document: Document) -> None:
    """Write the tables of a page anew; what has no figures yet stays as it is."""
    text = path.read_text(encoding="utf-8")
    for name, lines in tables(document).items():
        head, mark, rest = text.partition(f"<!-- figures: {name} -->\n")
        _, end, tail = rest.partition("\n<!-- end -->")
        if not mark or not end:
            raise ValueError(f"{path} has no place for the figures {name!r}")
        text = head + mark + "\n".join(lines) + end + tail
    path.write_text(text, encoding="utf-8")


def tables(document: Document) -> dict[str, list[str]]:
    """Return the lines of each table for which there are figures."""
    makers = {
        "versions": ("versions", _versions),
        "goals": ("goals", _goals),
        "false alarms": ("falseAlarms", _false_alarms),
        "delays": ("delays", _delays),
        "data": ("data", _data),
        "cost": ("cost", _cost),
        "counting": ("counting", _counting),
        "accuracy": ("accuracy", _accuracy),
        "scale": ("scale", _scale),
    }
    return {name: make(document) for name, (needed, make) in makers.items() if document.get(needed)}


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return [*lines, *(f"| {' | '.join(map(str, row))} |" for row in rows)]


def _who(cell: Document) -> str:
    name = f"**{cell['contender']}**" if cell["contender"].startswith("Penstock") else cell["contender"]
    return f"{name}, {cell['size']}"


def _versions(document: Document) -> list[str]:
    return [", ".join(f"{name} {version}" for name, version in document["versions"].items()) + "."]


def _goals(document: Document) -> list[str]:
    said = {True: "yes", False: "**no**", None: "too little to say"}
    rows = [(one["name"], said[one["met"]], one["value"]) for one in document["goals"]]
    return _table(("goal", "met", "measured"), rows)


def _false_alarms(document: Document) -> list[str]:
    outlier = {(one["contender"], one["size"]): one["said"] for one in document["nothing"]}
    rows = []
    for one in document["falseAlarms"]:
        budget = _DASH if one["every"] is None else f"1 in {one['every']:g}"
        times = _DASH if one["every"] is None else f"{one['timesBudget']}, {one['timesBudgetWorst']}"
        said = outlier.get((one["contender"], one["size"]))
        rows.append((
            _who(one), budget, f"{one['alarms']} of {one['windows']:,} ({one['share']:.1%})", times,
            f"{one['per500000Rows']:,.1f}", _DASH if said is None or one["every"] == 50 else f"{said:.0%}",
        ))  # fmt: skip
    head = ("windows of", "budget", "windows with an alarm", "times the budget, worst reference",
            "alarms per 500,000 rows", "one outlier raises one")  # fmt: skip
    return _table(head, rows)


def _delays(document: Document) -> list[str]:
    cells = document["delays"]
    rows = []
    for one in dict.fromkeys((cell["contender"], cell["size"]) for cell in cells):
        mine = [
            results.pick(cells, contender=one[0], size=one[1], scenario=scenario.name)
            for scenario in streams.SCENARIOS if scenario.alarm
        ]  # fmt: skip
        runs = min(cell["runs"] for cell in mine if cell)
        rows.append((_who({"contender": one[0], "size": one[1]}), runs, *map(_delay, mine)))
    return _table(("windows of", "runs", *_CHANGES.values()), rows)


def _delay(cell: Document | None) -> str:
    if cell is None:
        return "not run"
    if not cell["found"]:
        return "never"
    said = _DASH if cell["medianRows"] is None else f"{cell['medianRows']:,}"
    return said if cell["found"] == 1 else f"{said} ({cell['found']:.0%} found)"


def _data(document: Document) -> list[str]:
    names = list(dict.fromkeys(one["scenario"] for one in document["data"]))
    rows = []
    for contender in dict.fromkeys(one["contender"] for one in document["data"]):
        cells = [results.pick(document["data"], contender=contender, scenario=name) for name in names]
        bold = f"**{contender}**" if contender.startswith("Penstock") else contender
        rows.append((bold, *map(_said, cells)))
    return _table(("", *names), rows)


def _said(cell: Document | None) -> str:
    if cell is None:
        return "not run"
    if "error" in cell:
        return "fails"
    before = f"{cell['alarms']}/{cell['windows']}"
    if cell["found"]:
        found = [rows for rows in cell["found"].values() if rows is not None]
        after = f"{len(found)} of {len(cell['found'])}"
        wrong = f", {len(cell['wrong'])} wrong" if cell["wrong"] else ""
        return f"{before}; {after}{wrong}"
    after = "nothing" if cell["any"] is None else f"after {cell['any']:,}"
    return f"{before}; {after}"


def _cost(document: Document) -> list[str]:
    rows = [
        (_who(one), f"{one['millisecondsPerWindow']:,.1f}", one["secondsToLearn"], one["megabytes"])
        for one in document["cost"]
    ]
    return _table(("windows of", "ms for a window", "s to learn 50,000 rows", "MB of the process"), rows)


def _counting(document: Document) -> list[str]:
    head = (
        "features",
        "input tensors",
        "µs of a request, median",
        "p99",
        "mean with all counting",
        "kB of counts",
        "compressed",
    )
    rows = [
        (one["features"], one["inputs"], one["microsecondsP50"], one["microsecondsP99"],
         one["microsecondsMeanWithCounting"],
         f"{one['countsBytes'] / 1000:.1f}", f"{one['countsBytesCompressed'] / 1000:.1f}")
        for one in document["counting"]
    ]  # fmt: skip
    return _table(head, rows)


def _accuracy(document: Document) -> list[str]:
    one = document["accuracy"]
    rows = (
        ("**Penstock**, from the counts of 34 bins", one["maePenstock"]),
        ("NannyML, CBPE from every row", one["maeNannyml"]),
        ("who says that nothing changes", one["maeUnchanged"]),
    )
    return _table((f"{one['chunks']} parts of {one['chunkRows']:,} rows", "mean absolute error"), rows)


def _scale(document: Document) -> list[str]:
    one = document["scale"]
    once = f"{one['millisecondsPerModel']:.0f} ms; once, for its reference, {one['millisecondsPerReference']:.0f} ms"
    rows = (
        (f"CPU for a minute of {one['models']:,} models", f"{one['cores'] * 60:.1f} s: {one['cores']:.0%} of one core"),
        ("of it for each model", once),
        ("memory for each model", f"{one['megabytes'] / one['models']:.1f} MB"),
    )  # fmt: skip
    return _table((f"{one['features']} features on {one['pods']} pods, a window of each every minute", ""), rows)
