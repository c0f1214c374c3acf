"""Credentials come from the files of a Secret, and never out again."""

from pathlib import Path

import pytest

from penstock_server.fetch.credentials import Credentials, read
from penstock_server.fetch.failure import FetchFailed


def test_the_known_keys_of_a_secret_are_read_without_their_last_newline(tmp_path: Path) -> None:
    (tmp_path / "AWS_ACCESS_KEY_ID").write_text("AKIA\n")
    (tmp_path / "other").write_text("x")
    credentials = read(str(tmp_path))
    assert dict(credentials.values) == {"AWS_ACCESS_KEY_ID": "AKIA"}
    assert credentials.get("token") == ""


def test_no_folder_means_no_credentials() -> None:
    assert read("") == Credentials()


def test_a_secret_that_is_not_mounted_is_told() -> None:
    with pytest.raises(FetchFailed, match="the credentials are not mounted: /nowhere is no folder"):
        read("/nowhere")


def test_a_secret_that_is_missing_or_has_no_key_that_a_source_can_use_is_told(tmp_path: Path) -> None:
    (tmp_path / "AWS_SECRET").write_text("a misspelt key")
    with pytest.raises(FetchFailed, match=r"Secret .* is missing or has none of these keys: AWS_ACCESS_KEY_ID, "):
        read(str(tmp_path))


def test_secret_values_are_taken_out_of_texts() -> None:
    credentials = Credentials(values={"token": "s3cr3t", "username": "anna", "AWS_REGION": "eu-west-1"})
    assert (
        credentials.redact("anna sent s3cr3t to http://h/x?y in eu-west-1")
        == "anna sent *** to http://h/x in eu-west-1"
    )
    assert "s3cr3t" not in repr(credentials)
