"""PromQL queries confined to one namespace: every selector of a query gets the label.

A tenant's query runs with the operator's access to Prometheus. So it is read token by token, every name that is no
function, keyword or label becomes a selector with ``namespace="…"``, and what is not understood is refused. A matcher
more can only narrow what a selector finds; a query that names another namespace finds nothing.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""
      (?P<space>\s+)
    | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`[^`]*`)
    | (?P<range>\[[0-9smhdwy:.\s]*\])
    | (?P<number>0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?:ms|[smhdwy])?(?:\d+(?:ms|[smhdwy]))*)
    | (?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)
    | (?P<sign>=~|!~|!=|==|>=|<=|[-+*/%^=<>@,(){}])
    """,
    re.VERBOSE,
)
#: Words that stand behind an expression; elsewhere they are names of metrics like any other.
_OPERATORS = frozenset({"and", "or", "unless", "atan2", "offset"})
#: Words that are never names of metrics.
_WORDS = frozenset({"bool", "inf", "nan"})
_AGGREGATIONS = frozenset(
    {"sum", "avg", "count", "min", "max", "group", "stddev", "stdvar", "topk", "bottomk", "count_values", "quantile"}
)
#: Words that a list of labels in parentheses follows; the last two may go without.
_LABEL_LISTS = frozenset({"by", "without", "on", "ignoring", "group_left", "group_right"})
_MAY_LACK_LIST = frozenset({"group_left", "group_right"})
_LABEL = "namespace"
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdwy])?")
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "y": 31536000.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Token:
    kind: str
    text: str


def confined(query: str, *, namespace: str) -> str:
    """Return the query with ``namespace="…"`` in every selector. Raises ValueError for what is not understood.

    >>> confined('sum by (pod) (rate(orders_total{code="500"}[5m])) / on () group_left up', namespace="shop")
    'sum by (pod) (rate(orders_total{namespace="shop",code="500"}[5m])) / on () group_left up{namespace="shop"}'
    """
    tokens = list(_tokens(query))
    matcher = f'{_LABEL}="{namespace}"'
    written: list[str] = []
    place = 0
    while place < len(tokens):
        token = tokens[place]
        if token.kind == "name":
            place = _name(tokens, place, matcher, written)
        elif token.text == "{":
            place = _braces(tokens, place, matcher, written)
        else:
            written.append(token.text)
            place += 1
    return "".join(written)


def longest_range_seconds(query: str) -> float:
    """Return over how long the query looks back at most, by the ranges in its brackets. Raises ValueError as above.

    >>> longest_range_seconds("rate(a[5m]) + max_over_time(b[1h30m:1m])")
    5400.0
    """
    ranges = (token.text[1:-1].partition(":")[0] for token in _tokens(query) if token.kind == "range")
    return max((_seconds(text) for text in ranges), default=0.0)


def _seconds(duration: str) -> float:
    # A plain number is seconds.
    return sum(float(number) * _UNIT_SECONDS[unit or "s"] for number, unit in _DURATION.findall(duration))


def _tokens(query: str) -> Iterator[_Token]:
    place = 0
    while place < len(query):
        found = _TOKEN.match(query, place)
        if found is None or found.lastgroup is None:
            raise ValueError(f"cannot be read from {query[place : place + 20]!r} on")
        yield _Token(kind=found.lastgroup, text=found[0])
        place = found.end()


def _name(tokens: list[_Token], place: int, matcher: str, written: list[str]) -> int:
    """Write a name and what belongs to it; return the place behind."""
    word = tokens[place].text
    following = _following(tokens, place + 1)
    follows = tokens[following].text if following < len(tokens) else ""
    if word.lower() in _LABEL_LISTS:
        if follows == "(":
            return _label_list(tokens, place, written)
        if word.lower() not in _MAY_LACK_LIST:
            raise ValueError(f"{word} needs a list of labels in parentheses")
        written.append(word)
    elif follows == "(" or word.lower() in _WORDS or (word.lower() in _OPERATORS and _ends_expression(written)):
        written.append(word)  # what is called has its arguments behind it, which come by themselves
    elif word.lower() in _AGGREGATIONS and follows.lower() in {"by", "without"}:
        written.append(word)
    elif follows == "{":
        written.append(word)
        return _braces(tokens, following, matcher, written)
    else:
        written.append(f"{word}{{{matcher}}}")
    return place + 1


def _ends_expression(written: list[str]) -> bool:
    before = "".join(written).rstrip()[-1:]
    return before.isalnum() or before in {")", "}", "]", "'", '"', "`"}


def _following(tokens: list[_Token], place: int) -> int:
    while place < len(tokens) and tokens[place].kind == "space":
        place += 1
    return place


def _label_list(tokens: list[_Token], place: int, written: list[str]) -> int:
    while place < len(tokens):
        token = tokens[place]
        written.append(token.text)
        place += 1
        if token.text == ")":
            return place
        if token.kind == "sign" and token.text not in {"(", ","}:
            break
    raise ValueError("a list of labels is not closed")


def _braces(tokens: list[_Token], place: int, matcher: str, written: list[str]) -> int:
    """Write a selector's braces with the matcher as the first; return the place behind."""
    inside: list[str] = []
    for index in range(place + 1, len(tokens)):
        token = tokens[index]
        if token.text == "}":
            rest = "".join(inside).strip()
            if _alternatives(tokens[place + 1 : index]):
                raise ValueError("a selector with or inside its braces is not understood")
            written.append(f"{{{matcher},{rest}}}" if rest else f"{{{matcher}}}")
            return index + 1
        if token.text in {"{", "("} or token.kind == "range":
            break
        inside.append(token.text)
    raise ValueError("a selector's braces are not closed")


def _alternatives(tokens: list[_Token]) -> bool:
    """Return whether the braces hold alternatives, as some databases that speak PromQL allow."""
    names = [token.text.lower() for token in tokens if token.kind == "name"]
    return "or" in names
