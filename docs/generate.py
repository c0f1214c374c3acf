"""Writes docs/fields.md from the CRDs: ``python docs/generate.py``."""  # noqa: INP001 - a script, not a package

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "docs" / "fields.md"
ORDER = ("modeldeployments", "trafficsplits", "driftpolicies")
HEAD = """# Fields

Written by `docs/generate.py` from the CRDs; `kubectl explain modeldeployment.spec --recursive` says the same.
Fields in **bold** are required. Under *rules* stands what the API server refuses, in its own words.
"""

Schema = dict[str, Any]


def document() -> str:
    """Return the whole page."""
    crds = [yaml.safe_load((ROOT / "crds" / f"{plural}.yaml").read_text()) for plural in ORDER]
    return "\n".join([HEAD, *(line for crd in crds for line in _kind(crd))]).rstrip() + "\n"


def _kind(crd: Schema) -> Iterator[str]:
    names = crd["spec"]["names"]
    (version,) = crd["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]
    yield f"## {names['kind']} ({', '.join(names['shortNames'])})"
    yield ""
    yield schema["description"]
    yield ""
    yield from _rules(schema)
    for part in ("spec", "status"):
        yield f"### {names['kind']} {part}"
        yield ""
        yield "| field | type | default | meaning |"
        yield "|---|---|---|---|"
        yield from _rows(schema["properties"][part], part)
        yield ""


def _rules(schema: Schema) -> Iterator[str]:
    for rule in schema.get("x-kubernetes-validations", ()):
        yield f"*Rule:* {rule['message']}"
        yield ""


def _rows(schema: Schema, path: str) -> Iterator[str]:
    required = schema.get("required", ())
    for name, child in schema.get("properties", {}).items():
        below = f"{path}.{name}"
        items = child.get("items", {})
        shown = f"`{below.partition('.')[2]}`"
        field = f"**{shown}**" if name in required else shown
        yield f"| {field} | {_type(child)} | {_default(child)} | {_meaning(child, items)} |"
        yield from _rows(items if child.get("type") == "array" else child, below + ("[]" if items else ""))


def _type(schema: Schema) -> str:
    if "enum" in schema:
        return " \\| ".join(f"`{word}`" for word in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    if schema.get("x-kubernetes-int-or-string"):
        return "quantity"
    if isinstance(schema.get("additionalProperties"), dict):
        return f"map of {_type(schema['additionalProperties'])}"
    return str(schema.get("format") if schema.get("format") == "date-time" else schema["type"])


def _default(schema: Schema) -> str:
    default = schema.get("default")
    if default in (None, {}):
        return ""
    return f"`{yaml.safe_dump(default, default_flow_style=True, width=1000).strip().removesuffix('...').strip()}`"


def _meaning(schema: Schema, items: Schema) -> str:
    words = [schema["description"].strip().rstrip(".") + "."]
    bounds = [
        f"{word} {schema[bound]}"
        for bound, word in (("minimum", "at least"), ("maximum", "at most"))
        if bound in schema
    ]
    if bounds:
        words.append(" and ".join(bounds).capitalize() + ".")
    rules = [rule["message"] for part in (schema, items) for rule in part.get("x-kubernetes-validations", ())]
    if rules:
        words.append("*Rules:* " + "; ".join(rules) + ".")
    return " ".join(words).replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    TARGET.write_text(document())
