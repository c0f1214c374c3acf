"""URIs of models, and what is shown of them."""

import pytest

from penstock_contract.termination import Reason
from penstock_server.fetch.failure import FetchFailed
from penstock_server.fetch.location import (
    Artifact,
    Http,
    Location,
    Mounted,
    RegisteredModel,
    StoredObject,
    beside,
    parse,
    shown,
)

DIGEST = "sha256:" + "0a" * 32


@pytest.mark.parametrize(
    ("uri", "location"),
    [
        ("https://host/a/model.onnx?sig=1", Http(url="https://host/a/model.onnx?sig=1")),
        ("http://[::1]:9000/m", Http(url="http://[::1]:9000/m")),
        ("s3://models/fraud/3/m.onnx", StoredObject(scheme="s3", bucket="models", key="fraud/3/m.onnx")),
        ("s3://models/a b%20?c#d", StoredObject(scheme="s3", bucket="models", key="a b%20?c#d")),
        ("gs://models/fraud/m.onnx", StoredObject(scheme="gs", bucket="models", key="fraud/m.onnx")),
        ("az://models/fraud/m.onnx", StoredObject(scheme="az", bucket="models", key="fraud/m.onnx")),
        ("oci://ghcr.io/acme/fraud:3", Artifact(host="ghcr.io", repository="acme/fraud", reference="3")),
        (
            f"oci://reg:5000/fraud:3@{DIGEST}#a/m.onnx",
            Artifact(host="reg:5000", repository="fraud", reference=DIGEST, path="a/m.onnx"),
        ),
        ("oci+http://reg/m:1", Artifact(host="reg", repository="m", reference="1", encrypted=False)),
        ("models:/fraud/3", RegisteredModel(name="fraud", version="3")),
        ("models:/fraud@champion", RegisteredModel(name="fraud", alias="champion")),
        ("models:/risk%20team/3#f.onnx", RegisteredModel(name="risk team", version="3", path="f.onnx")),
        ("image://ghcr.io/acme/fraud:3#models/m.onnx", Mounted(path="models/m.onnx")),
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
        ("ftp://host/m", "its scheme must be one of https, http, s3, gs, az, oci, "),
        ("model.onnx", "its scheme must be one of"),
        ("https:///m", "it has no host"),
        ("https://host:port/m", "cannot be used"),
        ("https://user:secret@host/m", "it holds credentials; put them into a Secret"),
        ("s3://bucket", "it must be s3://BUCKET/KEY"),
        ("s3://bucket/folder/", "it must be s3://BUCKET/KEY"),
        ("gs://bucket", "it must be gs://BUCKET/KEY"),
        ("az://container/", "it must be az://CONTAINER/PATH"),
        ("oci://ghcr.io/acme/fraud", "it must be oci://HOST/REPOSITORY:TAG"),
        ("oci://ghcr.io/Acme/fraud:3", "it must be oci://HOST/REPOSITORY:TAG"),
        ("oci://jane:secret@ghcr.io/fraud:3", "it must be oci://HOST/REPOSITORY:TAG"),
        ("oci://ghcr.io/a/../b:3", "it must be oci://HOST/REPOSITORY:TAG"),
        ("models:/fraud", "it must be models:/NAME/VERSION or models:/NAME@ALIAS"),
        ("models:/fraud/latest", "it must be models:/NAME/VERSION"),
        ("models://server/fraud/3", "it must be models:/NAME/VERSION"),
        ("models:/fraud/3#../hidden", "'../hidden' leaves the model's folder"),
        ("image://ghcr.io/acme/fraud:3", "it must be image://HOST/REPOSITORY:TAG#PATH"),
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


@pytest.mark.parametrize(
    ("uri", "path", "location"),
    [
        ("https://host/a/m.onnx?sig=1", "m.onnx.data", Http(url="https://host/a/m.onnx.data")),
        ("s3://b/3/m.onnx", "w/1.bin", StoredObject(scheme="s3", bucket="b", key="3/w/1.bin")),
        ("gs://b/m.onnx", "w", StoredObject(scheme="gs", bucket="b", key="w")),
        ("oci://h/r:1#m.onnx", "w", Artifact(host="h", repository="r", reference="1", path="w")),
        ("models:/f/3", "w", RegisteredModel(name="f", version="3", path="w")),
        ("pvc://claim/a/m.onnx", "w", Mounted(path="a/w")),
        ("configmap://name/m.onnx", "w", Mounted(path="w")),
    ],
)
def test_a_file_beside_the_model_is_in_the_same_folder_or_artifact(uri: str, path: str, location: Location) -> None:
    assert beside(parse(uri), path) == location
