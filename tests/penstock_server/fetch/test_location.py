"""URIs of models, and what is shown of them."""

import pytest

from penstock_contract.termination import Reason
from penstock_server.fetch.failure import FetchFailed
from penstock_server.fetch.location import S3, Http, Location, Mounted, parse, shown


@pytest.mark.parametrize(
    ("uri", "location"),
    [
        ("https://host/a/model.onnx?sig=1", Http(url="https://host/a/model.onnx?sig=1")),
        ("http://[::1]:9000/m", Http(url="http://[::1]:9000/m")),
        ("s3://models/fraud/3/model.onnx", S3(bucket="models", key="fraud/3/model.onnx")),
        ("s3://models/a b%20?c#d", S3(bucket="models", key="a b%20?c#d")),
        ("pvc://claim/fraud/model.onnx", Mounted(path="fraud/model.onnx")),
        ("configmap://tumor/model.onnx", Mounted(path="model.onnx")),
        ("file:///source/model.onnx", Mounted(path="/source/model.onnx")),
    ],
)
def test_a_uri_says_where_the_model_is(uri: str, location: Location) -> None:
    assert parse(uri) == location


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("ftp://host/m", "its scheme must be one of https, http, s3, pvc, configmap, file"),
        ("model.onnx", "its scheme must be one of"),
        ("https:///m", "it has no host"),
        ("https://host:port/m", "cannot be used"),
        ("https://user:secret@host/m", "it holds credentials; put them into a Secret"),
        ("s3://bucket", "it must be s3://BUCKET/KEY"),
        ("s3://bucket/folder/", "it must be s3://BUCKET/KEY"),
        ("pvc://claim", "it must be pvc://CLAIM/PATH"),
        ("configmap:///key", "it must be configmap://NAME/KEY"),
    ],
)
def test_a_uri_that_cannot_be_used_is_refused_for_good(uri: str, why: str) -> None:
    with pytest.raises(FetchFailed, match=why) as failure:
        parse(uri)
    assert failure.value.reason is Reason.INVALID_CONFIGURATION
    assert failure.value.permanent
    assert "secret" not in str(failure.value)


@pytest.mark.parametrize(
    ("text", "public"),
    [
        ("https://user:secret@host/m?X-Signature=secret#f", "https://host/m"),
        ("GET 'https://host/m?token=secret' failed", "GET 'https://host/m' failed"),
        ("s3://bucket/key", "s3://bucket/key"),
        ("nothing to hide", "nothing to hide"),
    ],
)
def test_what_is_shown_holds_no_user_and_no_query(text: str, public: str) -> None:
    assert shown(text) == public
