"""Envoy Gateway's chart as its Go module has it: with a template instead of values, and read-only."""

from pathlib import Path

from cluster.embedded import envoy_gateway


def test_the_values_are_made_of_the_template_and_the_read_only_original_stays(tmp_path: Path) -> None:
    chart, copy = tmp_path / "module", tmp_path / "copy"
    (chart / "templates").mkdir(parents=True)
    (chart / "values.tmpl.yaml").write_text("image: ${GatewayImage}\npullPolicy: ${GatewayImagePullPolicy}\n")
    (chart / "templates" / "x.yaml").write_text("kind: X\n")
    for path in (*chart.rglob("*"), chart):
        path.chmod(0o555 if path.is_dir() else 0o444)
    copy.mkdir()

    made = envoy_gateway._filled_in(chart, copy)

    assert (made / "values.yaml").read_text() == f"image: {envoy_gateway.IMAGE}\npullPolicy: IfNotPresent\n"
    assert (made / "templates" / "x.yaml").read_text() == "kind: X\n"
    assert not (chart / "values.yaml").exists()
    for path in (chart, *chart.rglob("*")):
        path.chmod(0o755)


def test_its_proxies_are_the_projects_own_image() -> None:
    images = envoy_gateway._values()["global"]
    assert images == {"images": {"envoyProxy": {"image": "docker.io/penstock/router:dev"}}}
