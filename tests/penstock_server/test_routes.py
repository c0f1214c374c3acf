"""Paths of the protocol, and everything that is none."""

import pytest

from penstock_server.routes import Call, Route, find


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/v2", Route(call=Call.SERVER_METADATA)),
        ("/v2/", Route(call=Call.SERVER_METADATA)),
        ("/v2/health/live", Route(call=Call.SERVER_LIVE)),
        ("/v2/health/ready?verbose=1", Route(call=Call.SERVER_READY)),
        ("/v2/models", Route(call=Call.MODEL_LIST)),
        ("/v2/models/m", Route(call=Call.MODEL_METADATA, model="m")),
        ("/v2/models/m/ready", Route(call=Call.MODEL_READY, model="m")),
        ("/v2/models/m/infer", Route(call=Call.INFER, model="m")),
        ("/v2/models/m/versions/3", Route(call=Call.MODEL_METADATA, model="m", version="3")),
        ("/v2/models/m/versions/3/infer", Route(call=Call.INFER, model="m", version="3")),
        ("/v2/models/m/config", Route(call=Call.MODEL_CONFIGURATION, model="m")),
        ("/v2/models/m/versions/3/config", Route(call=Call.MODEL_CONFIGURATION, model="m", version="3")),
        ("/v2/models/m/stats", Route(call=Call.MODEL_STATISTICS, model="m")),
        ("/v2/models/stats", Route(call=Call.MODEL_STATISTICS)),
        ("/v2/repository/index", Route(call=Call.REPOSITORY_INDEX)),
        ("/v2/repository/models/m/load", Route(call=Call.REPOSITORY_CHANGE, model="m")),
        ("/v2/docs", Route(call=Call.DOCS_PAGE)),
        ("/v2/docs/openapi.json", Route(call=Call.DOCS_DOCUMENT)),
        ("/v2/models/m/versions/ready", Route(call=Call.MODEL_METADATA, model="m", version="ready")),
        ("/v2/models/a%2Fb%C3%BC/infer", Route(call=Call.INFER, model="a/bü")),
    ],
)
def test_a_path_of_the_protocol_names_its_call(path: str, route: Route) -> None:
    assert find(path) == route


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/v1/models/m:predict",
        "/v2/health",
        "/v2/models/m/infer/",
        "/v2/models/m/infer/x",
        "//v2",
        "/v2/models/m/versions",
    ],
)
def test_any_other_path_names_none(path: str) -> None:
    assert find(path) is None
