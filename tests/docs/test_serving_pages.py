"""The pages about the serving image say what the server does: its settings, limits, messages and calls."""

import ast
import re
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path

import pytest
import yaml

import penstock_server
from penstock_contract.environment import ServingEnvironment
from penstock_server import (
    compression,
    connection,
    descriptions,
    feedback,
    http_inference,
    http_server,
    openapi,
    routes,
    server,
    unfinished_bodies,
)
from penstock_server import settings as server_settings
from penstock_server.grpc_service import status
from penstock_server.grpc_service.messages import CALLS
from penstock_server.protocol import DTYPES, json_limits, request, response

ROOT = Path(__file__).parents[2]
SOURCE = Path(penstock_server.__file__).parent
MIB = 1024 * 1024


def page(name: str) -> str:
    return (ROOT / "docs" / f"{name}.md").read_text()


def section(name: str, title: str) -> str:
    return page(name).partition(f"## {title}\n")[2].partition("\n## ")[0]


def rows(text: str) -> list[list[str]]:
    """The cells of every table in a text, without heads."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    heads = {index for index, line in enumerate(text.splitlines()) if line.startswith("|---")}
    texts = text.splitlines()
    titles = {texts[index - 1] for index in heads}
    return [row for line, row in zip(lines, cells, strict=True) if line not in titles]


def messages() -> Iterator[str]:
    """Every text in the server's source, with … for what it fills in."""
    for file in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = [str(one.value) if isinstance(one, ast.Constant) else "…" for one in node.values]
                yield "".join(parts)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def test_every_variable_is_described_with_its_default() -> None:
    described = {
        row[0].strip("`"): row[1].strip("`") for row in rows(page("serving")) if row[0].startswith("`PENSTOCK")
    }
    known = {}
    for field in fields(ServingEnvironment):
        default = "required" if field.default is MISSING else str(field.default) or "empty"
        known[f"PENSTOCK_{field.name.upper()}"] = default
    assert described == known


def test_every_option_is_described() -> None:
    described = {row[0].strip("`") for row in rows(page("serving")) if row[0].startswith("`-")}
    known = {option for action in server_settings._parser()._actions for option in action.option_strings}
    assert described == known - {"-h", "--help"}


def test_the_limits_are_those_of_the_code() -> None:
    crd = yaml.safe_load((ROOT / "crds" / "modeldeployments.yaml").read_text())
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["serving"]
    environment = {field.name: field.default for field in fields(ServingEnvironment)}
    known = {
        "time of a request, waiting included": schema["properties"]["timeout"]["default"].replace("s", " s"),
        "requests that run at once": f"{environment['concurrency_max']}",
        "requests that wait": f"{environment['queue_max']}",
        "headers must arrive within": f"{connection.HEAD_SECONDS_MAX:g} s",
        "a body must arrive within": f"{connection.BODY_SECONDS_MAX:g} s",
        "size of a body, also once decompressed": f"{http_inference.BODY_BYTES_MAX // MIB} MiB",
        "bodies that are still arriving, all together": f"{unfinished_bodies.BYTES_MAX // MIB} MiB",
        f"values in a JSON body above {json_limits.SMALL_BYTES_MAX // 1024} KiB, texts among them": (
            f"{json_limits.VALUES_MAX}, {json_limits.TEXTS_MAX}"
        ),
        "lists in such a body": f"{json_limits.LISTS_MAX}",
        "objects in such a body": f"{json_limits.OBJECTS_MAX}",
        "size of one output": f"{response.TENSOR_BYTES_MAX // MIB} MiB",
        "dimensions of a tensor": f"{request.RANK_MAX}",
        "labels of one feedback": f"{feedback.LABELS_MAX}, of {feedback.VALUES_MAX} rows",
        "size of a feedback": f"{feedback.BODY_BYTES_MAX // MIB} MiB",
        "an idle connection ends after": f"{http_server.KEEPALIVE_SECONDS:g} s",
        "a connection ends after": f"{environment['max_connection_age_seconds']:g} s",
        "the warm-up ends after": f"{server._WARM_UP_SECONDS_MAX:g} s",
    }
    described = {row[0]: row[1] for row in rows(section("limits", "Limits"))}
    assert {name: described.get(name) for name in known} == known
    assert f"{compression.COMPRESSED_BYTES_MIN // 1024} KiB" in section("limits", "Limits")


def test_every_message_on_the_page_is_one_of_the_servers() -> None:
    known = set(messages())
    described = [row[2].strip("`") for row in rows(section("limits", "Errors over HTTP"))]
    assert [one for one in described if one not in known] == []


def test_every_status_is_on_the_page_and_in_the_document() -> None:
    described = {int(row[0]) for row in rows(section("limits", "Errors over HTTP"))}
    assert described == {*openapi.STATUSES, 405, 431, 501}


def test_the_codes_of_grpc_are_those_of_the_code() -> None:
    described = {int(row[0]): row[1].strip("`") for row in rows(section("limits", "Errors over gRPC"))}
    known = {number: code.name for number, code in status._STATUSES.items()}
    assert described == known


def test_every_datatype_is_described_with_its_size() -> None:
    described = {row[0].strip("`"): row[2].split(",")[0] for row in rows(section("protocol", "Datatypes"))}
    assert described == {name: str(4 if name == "BYTES" else dtype.itemsize) for name, dtype in DTYPES.items()}


def test_every_call_over_http_is_there() -> None:
    for _, method, paths in rows(section("protocol", "Calls over HTTP")):
        for path in re.findall(r"`([^`]+)`", paths):
            if path == feedback.PATH:
                continue
            route = routes.find(path.replace("{model}", "m"))
            assert route is not None, path
            assert method in route.call.methods, path


def test_every_extension_that_is_advertised_is_described_and_no_other() -> None:
    described = {row[0].strip("`") for row in rows(section("protocol", "Extensions"))}
    assert described == set(descriptions.EXTENSIONS)


def test_every_call_over_grpc_is_described() -> None:
    text = section("protocol", "Calls over gRPC")
    assert set(CALLS) == set(re.findall(r"`([A-Z]\w+)`", text)) - {"GRPCInferenceService"}


@pytest.mark.parametrize("name", ["serving", "protocol", "limits"])
def test_a_page_is_short(name: str) -> None:
    assert len(page(name).splitlines()) < 140
