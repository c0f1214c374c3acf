"""The part of a report that live counts tell: why the output moved, distributions, data quality, pods."""

from collections.abc import Sequence
from datetime import UTC, datetime

from penstock_cli.report.charts import Ranked, histogram, ranking
from penstock_cli.report.findings import Feature, Live
from penstock_cli.report.markup import Safe, element, join
from penstock_cli.report.table import NONE, shown, table
from penstock_cli.wire import Wire, items, part, text

#: So many columns are drawn; all of them are in the table.
_CARDS_MAX = 60
_RANKED_MAX = 20
#: A bar is at its full length from this many standard deviations on: less is hardly worth a look.
_FULL_SHIFT = 0.1
#: An input with less of the output than this has nothing to lose.
_INDEX_MIN = 0.01


def live(found: Live, policy: Wire) -> Safe:
    """Return live traffic of one revision against its reference."""
    standing = [
        text(one, "name")
        for one in items(part(policy, "status"), "alarms")
        if text(one, "revision") in ("", found.revision) and text(one, "state") != "Ended"
    ]
    alarmed = _by_column(standing, found.features)
    heading = element("h2", f"Live traffic of {found.revision or found.model_deployment}")
    trouble = [element("p", one, class_="bad") for one in found.trouble]
    if not found.features:
        return element("section", heading, trouble or element("p", "No live counts.", class_="quiet"))
    order = sorted(found.features, key=lambda one: (one.name not in alarmed, -(one.described.psi or 0.0), one.name))
    return element(
        "section",
        heading,
        trouble,
        element(
            "p",
            f"{found.rows:,} live rows of {len(found.pods)} pods against {found.reference_rows:,} reference rows.",
        ),
        _why(found.features),
        _followed(found.features),
        element("h3", "Distributions"),
        element(
            "p",
            element("b", "live", class_="live"),
            ", ",
            element("b", "reference", class_="reference"),
            ": shares of rows in bins of the reference's quantiles",
            class_="key",
        ),
        element("div", [_card(one, alarmed.get(one.name, ())) for one in order[:_CARDS_MAX]], class_="cards"),
        element("p", f"{len(order) - _CARDS_MAX} more columns are in the table.") if len(order) > _CARDS_MAX else None,
        _distances(order),
        _data_quality(found.features),
        _pods(found),
    )


def _by_column(alarms: Sequence[str], features: Sequence[Feature]) -> dict[str, list[str]]:
    """Return the alarms that are about each column.

    ``inputs/a`` and ``outputs/a`` are columns themselves; ``contribution/a``, ``dataQuality/a/missing`` and
    ``correlation/a~b`` name them without saying on which side of the model they are.
    """
    found: dict[str, list[str]] = {}
    for feature in features:
        bare = feature.name.partition("/")[2]
        for alarm in alarms:
            kind, _, about = alarm.partition("/")
            named = {
                "contribution": [about],
                "dataQuality": [about.rpartition("/")[0]],
                "correlation": about.split("~"),
            }.get(kind, [])
            if alarm == feature.name or bare in named:
                found.setdefault(feature.name, []).append(alarm)
    return found


def _why(features: Sequence[Feature]) -> Safe | None:
    ranked = sorted(
        (one for one in features if one.described.contribution is not None),
        key=lambda one: one.described.rank or 0,
    )
    if not ranked:
        return None
    lines = [
        Ranked(
            label=one.name,
            value=one.described.contribution or 0.0,
            text=f"{round(one.described.contribution or 0.0, 3) + 0.0:+.3f} sd",
        )
        for one in ranked[:_RANKED_MAX]
    ]
    return join(
        element("h3", "Why the output moved"),
        element(
            "p",
            "How far each input's drift alone moves the mean of the output that it moves most, in that output's "
            "standard deviations.",
            class_="quiet",
        ),
        ranking(lines, name="inputs by contribution", full=_FULL_SHIFT),
    )


def _followed(features: Sequence[Feature]) -> Safe | None:
    """Return how much of the output goes with each input: what a broken join takes away while no column moves."""
    told = [(one, one.index) for one in features if one.index is not None and max(one.index) > _INDEX_MIN]
    if not told:
        return None
    told.sort(key=lambda entry: entry[1][1] - entry[1][0])
    rows = [
        [one.name, f"{index[0]:.1%}", f"{index[1]:.1%}", f"{index[1] - index[0]:+.1%}"]
        for one, index in told[:_RANKED_MAX]
    ]
    return join(
        element("h3", "What the output follows"),
        element(
            "p",
            "The share of the output's variance that goes with each input (the feature contribution index). It falls "
            "for a column whose values belong to other rows, though none of them looks wrong.",
            class_="quiet",
        ),
        table(("Input", "Reference", "Live", "Change"), rows, numbers=(1, 2, 3)),
    )


def _card(one: Feature, alarms: Sequence[str]) -> Safe:
    described = one.described
    return element(
        "article",
        element("h3", one.name),
        element("p", "alarm: ", ", ".join(alarms), class_="bad") if alarms else None,
        histogram(one.bars, name=one.name),
        element(
            "dl",
            element("dt", "PSI"),
            element("dd", shown(described.psi)),
            element("dt", "less chance"),
            element("dd", shown(described.psi_adjusted)),
        ),
        class_="card bad" if alarms else "card",
    )


def _distances(order: Sequence[Feature]) -> Safe:
    heads = ("Column", "Kind", "PSI", "Jensen-Shannon", "Kolmogorov", "Hellinger", "Wasserstein", "Contribution")
    rows = [
        [
            one.name,
            one.kind,
            *(
                shown(value)
                for value in (
                    one.described.psi,
                    one.described.jensen_shannon,
                    one.described.kolmogorov,
                    one.described.hellinger,
                    one.described.wasserstein,
                    one.described.contribution,
                )
            ),
        ]
        for one in order
    ]
    return join(element("h3", "Distances"), table(heads, rows, numbers=range(2, 8)))


def _data_quality(features: Sequence[Feature]) -> Safe:
    rows = [
        [one.name, entry.what, f"{entry.reference:.3%}", f"{entry.live:.3%}"]
        for one in features
        for entry in sorted(one.quality, key=lambda entry: -entry.live)
        if entry.reference or entry.live
    ]
    rows.sort(key=lambda row: -float(str(row[3]).rstrip("%")))
    return join(
        element("h3", "Data quality"),
        table(("Column", "What", "Reference", "Live"), rows, numbers=(2, 3))
        if rows
        else element("p", "No value is missing, invalid, out of range or of an unseen category.", class_="quiet"),
    )


def _pods(found: Live) -> Safe:
    rows = [
        [one.name, f"{one.rows:,}", f"{one.dropped_rows:,}", _moment(one.first_ts), _moment(one.last_ts)]
        for one in found.pods
    ]
    heads = ("Pod", "Rows", "Not counted", "First row", "Last row")
    return join(element("h3", "Pods"), table(heads, rows, numbers=(1, 2)))


def _moment(seconds: float | None) -> str:
    if seconds is None:
        return NONE
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):  # a pod may say anything
        return NONE
