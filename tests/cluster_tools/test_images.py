"""Images are built again when, and only when, something that goes into them has changed."""

import hashlib
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from cluster.embedded import build_context, dockerfile, images, oci_archive
from cluster.embedded.errors import ClusterError


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "src" / "__pycache__").mkdir(parents=True)
    (tmp_path / "src" / "a.py").write_text("a")
    (tmp_path / "src" / "__pycache__" / "a.pyc").write_text("compiled")
    (tmp_path / "README.md").write_text("readme")
    return tmp_path


def test_a_changed_file_changes_the_digest(tree: Path) -> None:
    before = build_context.digest(tree, ["src"])
    (tree / "src" / "a.py").write_text("b")
    assert build_context.digest(tree, ["src"]) != before


def test_a_renamed_file_changes_the_digest(tree: Path) -> None:
    before = build_context.digest(tree, ["src"])
    (tree / "src" / "a.py").rename(tree / "src" / "b.py")
    assert build_context.digest(tree, ["src"]) != before


def test_a_file_that_is_not_copied_does_not_change_the_digest(tree: Path) -> None:
    before = build_context.digest(tree, ["src"])
    (tree / "README.md").write_text("other")
    (tree / "src" / "__pycache__" / "b.pyc").write_text("compiled")
    assert build_context.digest(tree, ["src/"]) == before


def test_the_staged_context_holds_what_the_digest_covers(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    target = tmp_path_factory.mktemp("context")
    build_context.stage(tree, ["src/", "*.md"], target)
    assert sorted(str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()) == [
        "README.md",
        "src/a.py",
    ]


def test_a_path_that_names_nothing_is_an_error_that_names_it(tree: Path) -> None:
    with pytest.raises(ClusterError, match="'missing'"):
        build_context.digest(tree, ["missing"])


def test_a_missing_dockerfile_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="penstock/x is built from it"):
        images.Image(name="x", dockerfile=tmp_path / "Dockerfile").key()


@pytest.mark.parametrize("image", images.IMAGES, ids=lambda image: str(image.name))
def test_every_path_that_the_projects_dockerfiles_copy_is_there(image: images.Image) -> None:
    assert image.key() == image.key()
    assert dockerfile.copied_paths(image.text())


@pytest.mark.parametrize("image", images.IMAGES, ids=lambda image: str(image.name))
def test_the_projects_dockerfiles_let_pip_trust_the_machines_authority(image: images.Image) -> None:
    assert "PIP_CERT" in dockerfile.arguments(image.text())


def test_comments_inside_a_continued_instruction_are_no_paths() -> None:
    assert dockerfile.copied_paths("COPY a \\\n# not b\n c /x\n# COPY d /y") == ["a", "c"]


def write_archive(path: Path, program: Path) -> Path:
    oci_archive.write(
        path, reference="docker.io/x/y:dev", files={"/run": program}, entrypoint=["/run"], machine="x86_64"
    )
    return path


def test_an_archive_of_the_same_file_has_the_same_bytes(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"#!/bin/sh\n")
    first, second = (write_archive(tmp_path / name, program).read_bytes() for name in ("1.tar", "2.tar"))
    assert first == second


def test_an_archive_leads_from_its_index_to_an_executable_layer(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"content")
    with tarfile.open(write_archive(tmp_path / "image.tar", program)) as archive:

        def blob(descriptor: dict[str, Any]) -> bytes:
            member = archive.extractfile(f"blobs/{descriptor['digest'].replace(':', '/')}")
            assert member is not None
            content = member.read()
            assert descriptor["digest"] == f"sha256:{hashlib.sha256(content).hexdigest()}"
            assert descriptor["size"] == len(content)
            return content

        index = archive.extractfile("index.json")
        assert index is not None
        (described,) = json.loads(index.read())["manifests"]
        assert described["annotations"] == {"io.containerd.image.name": "docker.io/x/y:dev"}
        manifest = json.loads(blob(described))
        config = json.loads(blob(manifest["config"]))
        layer = blob(manifest["layers"][0])
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer).hexdigest()}"]
    assert config["config"]["User"] == "65532:65532"
    (tmp_path / "layer.tar").write_bytes(layer)
    with tarfile.open(tmp_path / "layer.tar") as files:
        assert [(member.name, member.mode) for member in files] == [("run", 0o755)]
