"""No query sees another namespace, and what a query means inside its own stays."""

import pytest

from penstock_operator.core.promql import confined, longest_range_seconds

IN = 'namespace="shop"'


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("up", f"up{{{IN}}}"),
        ("up{}", f"up{{{IN}}}"),
        ('up {job="a"}', f'up{{{IN},job="a"}}'),
        ('{__name__="up"}', f'{{{IN},__name__="up"}}'),
        ('{__name__=~"u.*", job!~"x"}', f'{{{IN},__name__=~"u.*", job!~"x"}}'),
        ("sum(rate(a:b:c[5m]))", f"sum(rate(a:b:c{{{IN}}}[5m]))"),
        ("sum by (pod, job) (a)", f"sum by (pod, job) (a{{{IN}}})"),
        ("sum(a) by (pod)", f"sum(a{{{IN}}}) by (pod)"),
        ("SUM BY(pod)(a)", f"SUM BY(pod)(a{{{IN}}})"),
        ("a / on (pod) group_left (team) b", f"a{{{IN}}} / on (pod) group_left (team) b{{{IN}}}"),
        ("a / ignoring(x) group_right b", f"a{{{IN}}} / ignoring(x) group_right b{{{IN}}}"),
        ("a or b unless c and d", f"a{{{IN}}} or b{{{IN}}} unless c{{{IN}}} and d{{{IN}}}"),
        ("a offset 5m", f"a{{{IN}}} offset 5m"),
        ("a offset -1h30m", f"a{{{IN}}} offset -1h30m"),
        ("rate(a[5m] @ end())", f"rate(a{{{IN}}}[5m] @ end())"),
        ("a @ 1609746000.5", f"a{{{IN}}} @ 1609746000.5"),
        ("max_over_time(rate(a[5m])[30m:1m])", f"max_over_time(rate(a{{{IN}}}[5m])[30m:1m])"),
        ("a > bool 0.5e-3", f"a{{{IN}}} > bool 0.5e-3"),
        ("a == Inf or b == NaN", f"a{{{IN}}} == Inf or b{{{IN}}} == NaN"),
        ('label_replace(a, "x", "$1", "y", "(.*)")', f'label_replace(a{{{IN}}}, "x", "$1", "y", "(.*)")'),
        ("histogram_quantile(0.9, sum by (le) (rate(a[5m])))", None),
        ("vector(1)", "vector(1)"),
        ('a{x="}"}', f'a{{{IN},x="}}"}}'),
        ('a{x="\\"} or b{"}', f'a{{{IN},x="\\"}} or b{{"}}'),
        ("0x1f + a", f"0x1f + a{{{IN}}}"),
    ],
)
def test_every_selector_gets_the_namespace(query: str, expected: str | None) -> None:
    if expected is None:
        expected = query.replace("a[", f"a{{{IN}}}[")
    assert confined(query, namespace="shop") == expected


@pytest.mark.parametrize("word", ["and", "or", "unless", "offset", "atan2", "sum", "topk"])
def test_words_that_could_be_metrics_are_confined_where_they_are(word: str) -> None:
    assert confined(word, namespace="shop") == f"{word}{{{IN}}}"
    assert confined(f"sum({word})", namespace="shop").endswith(f"{word}{{{IN}}})")
    assert confined(f"a + {word}", namespace="shop").endswith(f"{word}{{{IN}}}")


def test_another_namespace_can_only_be_asked_for_in_vain() -> None:
    assert confined('up{namespace="kube-system"}', namespace="shop") == f'up{{{IN},namespace="kube-system"}}'


@pytest.mark.parametrize(
    "query",
    [
        "up # and a comment {",
        "up{",
        'up{job="a"',
        'up{job="a" or job="b"}',
        "up{job=(x)}",
        "sum by pod (a)",
        "sum by (pod",
        "sum by (pod + x) (a)",
        "up; up",
        "$x",
        'up{job="a\n"}',
        "`",
        "a ? b",
        "sum by ({a}) (b)",
        "a[b]",
        "a[5m",
        "up{x[5m]}",
    ],
)
def test_what_is_not_understood_is_refused(query: str) -> None:
    with pytest.raises(ValueError, match=r"read|closed|understood|labels"):
        confined(query, namespace="shop")


@pytest.mark.parametrize(
    ("query", "seconds"),
    [
        ("a", 0.0),
        ("rate(a[30s])", 30.0),
        ("rate(a[5m]) / rate(b[1h30m])", 5400.0),
        ("max_over_time(rate(a[1m])[10m:30s])", 600.0),
        ("rate(a[90])", 90.0),
        ("rate(a[500ms])", 0.5),
        ('a{b="[7d]"}', 0.0),
    ],
)
def test_the_longest_range_tells_how_far_a_query_looks_back(query: str, seconds: float) -> None:
    assert longest_range_seconds(query) == seconds
