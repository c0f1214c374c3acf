"""The CRDs as data, and a walk over their schemas."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

Schema = dict[str, Any]

ROOT = Path(__file__).parents[3]
FILES = sorted((ROOT / "crds").glob("*.yaml"))


def crd_of(plural: str) -> Schema:
    """Return the CustomResourceDefinition of a kind."""
    loaded: Schema = yaml.safe_load((ROOT / "crds" / f"{plural}.yaml").read_text())
    return loaded


def schema_of(plural: str) -> Schema:
    """Return the whole schema of the one version of a kind."""
    (version,) = crd_of(plural)["spec"]["versions"]
    schema: Schema = version["schema"]["openAPIV3Schema"]
    return schema


def nodes(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Yield every schema node with its path."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}" if path else name)
    for keyword in ("items", "additionalProperties"):
        if isinstance(schema.get(keyword), dict):
            yield from nodes(schema[keyword], f"{path}[]")


def defaulted(schema: Schema, value: Any) -> Any:
    """Return ``value`` with the schema's defaults filled in, as the API server does."""
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        filled = dict(value)
        for name, child in properties.items():
            if name not in filled and "default" in child:
                filled[name] = child["default"]
        return {
            name: defaulted(properties[name], entry) if name in properties else entry for name, entry in filled.items()
        }
    if isinstance(value, list) and "items" in schema:
        return [defaulted(schema["items"], entry) for entry in value]
    return value
