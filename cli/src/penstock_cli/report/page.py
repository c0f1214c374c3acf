"""Lays a report out as one HTML page that needs no network, no script and no other file."""

from datetime import UTC, datetime
from importlib import metadata, resources

from penstock_cli.report import sections, traffic
from penstock_cli.report.gathering import Gathered
from penstock_cli.report.markup import Safe, element, join
from penstock_cli.wire import items, name_of, part, text

#: Were anything that data chose not escaped after all, a browser would still run and load nothing of it.
_NOTHING_ELSE = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def page(gathered: Gathered, *, now: datetime) -> str:
    """Return the whole document."""
    name = name_of(gathered.policy)
    title = f"{name}: what live traffic says"
    style = Safe(resources.files("penstock_cli.report").joinpath("style.css").read_text())
    return "<!doctype html>\n" + element(
        "html",
        element(
            "head",
            element("meta", charset="utf-8"),
            element("meta", http_equiv="Content-Security-Policy", content=_NOTHING_ELSE),
            element("meta", name="viewport", content="width=device-width, initial-scale=1"),
            element("title", title),
            element("style", style),
        ),
        element("body", _head(gathered, now), element("main", _body(gathered, now)), _foot(now)),
        lang="en",
    )


def _head(gathered: Gathered, now: datetime) -> Safe:
    policy = gathered.policy
    target = part(policy, "spec", "target")
    about = text(target, "name") or "all models of its selector"
    conditions = {text(one, "type"): one for one in items(part(policy, "status"), "conditions")}
    badges = [
        sections.badge(type_, text(conditions[type_], "status"))
        for type_ in ("Ready", "Healthy", "Watching", "AlertsDelivered", "RetrainReady")
        if type_ in conditions
    ]
    healthy = conditions.get("Healthy", {})
    mood = {"True": "good", "False": "bad"}.get(text(healthy, "status"), "unknown")
    rehearsal = part(policy, "spec").get("dryRun") is True
    return element(
        "header",
        element("h1", f"DriftPolicy {name_of(policy)}"),
        element(
            "p",
            f"Namespace {gathered.namespace}, target {text(target, 'kind') or 'TrafficSplit'} {about}, "
            f"as of {now.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC.",
            class_="quiet",
        ),
        element("p", badges),
        element("p", text(healthy, "message") or "Nothing was judged yet.", class_=f"summary {mood}"),
        element("p", "This policy rehearses (dryRun): it tells what would follow, and nothing does.")
        if rehearsal
        else "",
    )


def _body(gathered: Gathered, now: datetime) -> Safe:
    return join(
        sections.alarms(gathered.policy),
        sections.decision(gathered),
        sections.times(gathered, now),
        sections.targets(gathered.policy),
        *(traffic.live(one, gathered.policy) for one in gathered.lives),
        element("p", f"{gathered.left_out} more revisions are watched.", class_="quiet") if gathered.left_out else "",
        sections.trainings(gathered.policy),
        sections.history(gathered.policy),
    )


def _foot(now: datetime) -> Safe:
    return element(
        "footer",
        element(
            "p",
            "Histograms, distances and shares are over everything that the pods which run now have counted since they "
            "started; alarms are over the policy's own windows and stay within its false-alarm budget.",
        ),
        element("p", f"kubectl penstock report, version {metadata.version('penstock')}, {now:%Y}"),
    )
