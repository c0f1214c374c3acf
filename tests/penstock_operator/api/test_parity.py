"""The CRD schemas and the pydantic types say the same."""

import types
from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
from pydantic.fields import FieldInfo
from tests.penstock_operator.api.schemas import FILES, Schema, crd_of, defaulted, nodes, schema_of

from penstock_operator.api import duration
from penstock_operator.api.model import ApiModel
from penstock_operator.api.v1alpha1 import drift_policy, model_deployment, traffic_split

KINDS: dict[str, tuple[str, type[ApiModel]]] = {
    "modeldeployments": (model_deployment.KIND, model_deployment.ModelDeploymentSpec),
    "trafficsplits": (traffic_split.KIND, traffic_split.TrafficSplitSpec),
    "driftpolicies": (drift_policy.KIND, drift_policy.DriftPolicySpec),
}
SIZE_LIMIT = 200_000

#: Everything that a structural schema may hold. Anything else is a slip of the pen that YAML took for a key.
KEYWORDS = {
    "type",
    "format",
    "description",
    "properties",
    "additionalProperties",
    "items",
    "required",
    "enum",
    "default",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "maxProperties",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-validations",
}
#: Tolerations are Kubernetes' own; the operator passes them through without reading them.
OPAQUE = {"pod.tolerations[]"}


def models() -> Iterator[Any]:
    """Every pydantic model of a spec, with its schema node."""
    for plural, (_, spec) in KINDS.items():
        for path, model, schema in _below("", spec, schema_of(plural)["properties"]["spec"]):
            yield pytest.param(model, schema, id=f"{plural} {path or 'spec'}")


def _below(path: str, model: type[ApiModel], schema: Schema) -> Iterator[tuple[str, type[ApiModel], Schema]]:
    yield path, model, schema
    for field in model.model_fields.values():
        child = schema.get("properties", {}).get(alias(field), {})
        inner, below = _model_in(field.annotation), f"{path}.{alias(field)}".lstrip(".")
        if inner is not None:
            is_list = child.get("type") == "array"
            yield from _below(below + ("[]" if is_list else ""), inner, child["items"] if is_list else child)


def alias(field: FieldInfo) -> str:
    """Return a field's name on the wire."""
    assert field.alias is not None
    return field.alias


def _unwrapped(annotation: Any) -> Any:
    """Return the annotation without ``| None`` and without ``list[…]``."""
    if get_origin(annotation) in (Union, types.UnionType):
        (annotation,) = (part for part in get_args(annotation) if part is not type(None))
    return get_args(annotation)[0] if get_origin(annotation) in (list, Annotated) else annotation


def _model_in(annotation: Any) -> type[ApiModel] | None:
    inner = _unwrapped(annotation)
    return inner if isinstance(inner, type) and issubclass(inner, ApiModel) else None


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) is list


MODELS = list(models())


@pytest.mark.parametrize(("model", "schema"), MODELS)
def test_both_have_the_same_fields(model: type[ApiModel], schema: Schema) -> None:
    assert {alias(field) for field in model.model_fields.values()} == set(schema.get("properties", {}))


@pytest.mark.parametrize(("model", "schema"), MODELS)
def test_both_require_the_same_fields(model: type[ApiModel], schema: Schema) -> None:
    required = {alias(field) for field in model.model_fields.values() if field.is_required()}
    assert required == set(schema.get("required", ()))


@pytest.mark.parametrize(("model", "schema"), MODELS)
def test_both_have_the_same_defaults(model: type[ApiModel], schema: Schema) -> None:
    for name, field in model.model_fields.items():
        if field.is_required():
            continue
        child = schema["properties"][alias(field)]
        value = field.get_default(call_default_factory=True)
        if "default" in child:
            expected = defaulted(child, child["default"])
            assert _wire(value) == expected or float(value) == float(expected), f"{model.__name__}.{name}"
        else:
            assert value is None or value in ([], {}), f"{model.__name__}.{name}: the schema has no default"


def _wire(value: Any) -> Any:
    """Return a default's form on the wire; what is absent or empty is left out on both sides."""
    if isinstance(value, ApiModel):
        return {name: entry for name, entry in value.to_wire().items() if entry not in ({}, [])}
    if isinstance(value, list):
        return [_wire(entry) for entry in value]
    return duration.format_duration(value) if isinstance(value, timedelta) else value


@pytest.mark.parametrize(("model", "schema"), MODELS)
def test_both_allow_the_same_words(model: type[ApiModel], schema: Schema) -> None:
    for field in model.model_fields.values():
        child = schema["properties"][alias(field)]
        words = child.get("items", child) if _is_list(field.annotation) else child
        inner = _unwrapped(field.annotation)
        expected = list(get_args(inner)) if get_origin(inner) is Literal else None
        assert words.get("enum") == expected, alias(field)


@pytest.mark.parametrize(("model", "schema"), MODELS)
def test_both_hold_the_same_types(model: type[ApiModel], schema: Schema) -> None:
    simple = {str: "string", int: "integer", float: "number", bool: "boolean", timedelta: "string"}
    for field in model.model_fields.values():
        child, inner = schema["properties"][alias(field)], _unwrapped(field.annotation)
        if _is_list(field.annotation):
            assert child["type"] == "array", alias(field)
            child = child["items"]
        if inner in simple:
            assert child["type"] == simple[inner], alias(field)
        elif get_origin(inner) is Literal:
            assert child["type"] == "string", alias(field)
        else:
            assert child["type"] == "object", alias(field)


@pytest.mark.parametrize(("model", "schema"), MODELS)
def test_every_duration_is_checked_by_the_same_pattern(model: type[ApiModel], schema: Schema) -> None:
    pattern = duration.PATTERN.replace("\\", "\\\\")  # a backslash in a CEL string
    for field in model.model_fields.values():
        if _unwrapped(field.annotation) is timedelta:
            rules = schema["properties"][alias(field)]["x-kubernetes-validations"]
            assert rules[0]["rule"] == f"self.matches('{pattern}')", alias(field)


@pytest.mark.parametrize("plural", KINDS)
def test_every_node_says_what_it_is(plural: str) -> None:
    silent = [path for path, node in nodes(schema_of(plural)) if path != "metadata" and not node.get("description")]
    assert silent == []


@pytest.mark.parametrize("plural", KINDS)
def test_every_default_stands_in_the_description(plural: str) -> None:
    for path, node in nodes(schema_of(plural)["properties"]["spec"]):
        default = node.get("default")
        if isinstance(default, str | int | float) and not isinstance(default, bool):
            assert f"Default {default}" in node["description"], path


@pytest.mark.parametrize("plural", KINDS)
def test_no_key_is_a_slip_of_the_pen(plural: str) -> None:
    unknown = {path: extra for path, node in nodes(schema_of(plural)) if (extra := set(node) - KEYWORDS)}
    assert unknown == {}


@pytest.mark.parametrize("plural", KINDS)
def test_no_field_reads_as_a_boolean_where_people_write_yaml_1_1(plural: str) -> None:
    booleans = {"y", "n", "yes", "no", "on", "off", "true", "false"}
    spec = schema_of(plural)["properties"]["spec"]
    names = [name for _, node in nodes(spec) for name in node.get("properties", {})]
    assert [name for name in names if not isinstance(name, str) or name.lower() in booleans] == []


@pytest.mark.parametrize("plural", KINDS)
def test_every_list_says_how_it_is_merged(plural: str) -> None:
    silent = [
        path
        for path, node in nodes(schema_of(plural))
        if node.get("type") == "array" and "x-kubernetes-list-type" not in node
    ]
    assert silent == []


@pytest.mark.parametrize("plural", KINDS)
def test_every_list_and_text_that_people_write_is_bounded(plural: str) -> None:
    bounds = {"array": "maxItems", "string": "maxLength"}
    spec = schema_of(plural)["properties"]["spec"]
    unbounded = [
        path
        for path, node in nodes(spec)
        if node.get("type") in bounds
        and bounds[node["type"]] not in node
        and "enum" not in node
        and not any(path.startswith(opaque) for opaque in OPAQUE)
        and not path.endswith("[]")
    ]
    assert unbounded == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_crd_is_small_enough_for_client_side_apply(file: Any) -> None:
    assert file.stat().st_size < SIZE_LIMIT


def test_all_kinds_have_the_same_conditions() -> None:
    seen = [schema_of(plural)["properties"]["status"]["properties"]["conditions"] for plural in KINDS]
    assert seen[0] == seen[1] == seen[2]


@pytest.mark.parametrize("plural", KINDS)
def test_every_kind_has_the_common_shape(plural: str) -> None:
    crd = crd_of(plural)["spec"]
    (version,) = crd["versions"]
    assert (crd["group"], crd["scope"], crd["names"]["kind"]) == ("penstock.dev", "Namespaced", KINDS[plural][0])
    assert crd["names"]["categories"] == ["penstock"]
    assert version["subresources"]["status"] == {}
    assert version["schema"]["openAPIV3Schema"]["properties"]["status"]["default"] == {"observedGeneration": -1}
    columns = [column["name"] for column in version["additionalPrinterColumns"]]
    assert columns[0] == "Ready"
    assert "Age" in columns


def test_every_file_in_crds_is_a_kind() -> None:
    assert {file.stem for file in FILES} == set(KINDS)
