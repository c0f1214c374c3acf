"""Settings: defaults, and errors that name the variable and the fix."""

import pytest

from penstock_operator.settings import SettingsError, read_settings


def test_an_empty_environment_gives_the_defaults() -> None:
    settings = read_settings({})
    assert settings.operator_namespace == "default"
    assert settings.watch_namespaces == ()
    assert settings.xds_port == 18000
    assert settings.xds_address == "penstock-xds.default.svc:18000"
    assert settings.leader_election
    assert settings.workers == 16
    assert (settings.tick_seconds, settings.profile_seconds) == (2.0, 30.0)
    assert settings.router_replicas == 2
    assert not settings.gateway_enabled
    assert (settings.prometheus_url, settings.prometheus_token_file) == ("", "")


def test_what_the_chart_sets_is_read() -> None:
    settings = read_settings(
        {
            "OPERATOR_NAMESPACE": "penstock-system",
            "POD_NAME": "penstock-operator-0",
            "POD_UID": "1-2-3",
            "POD_IP": "10.0.0.1",
            "WATCH_NAMESPACES": " shop, risk,shop ,",
            "XDS_PORT": "18001",
            "LEADER_ELECTION": "False",
            "LOG_LEVEL": "debug",
            "TICK_SECONDS": "0.5",
            "PROFILE_SECONDS": "60",
            "IMAGE_PULL_SECRETS": "a,b",
            "GATEWAY_ENABLED": "true",
            "PROMETHEUS_URL": "http://prometheus.monitoring.svc:9090/prefix",
            "PROMETHEUS_TOKEN_FILE": "/etc/penstock/prometheus/token",
        }
    )
    assert settings.xds_address == "penstock-xds.penstock-system.svc:18001"
    assert settings.watch_namespaces == ("shop", "risk")
    assert (settings.pod_name, settings.pod_uid, settings.pod_ip) == ("penstock-operator-0", "1-2-3", "10.0.0.1")
    assert not settings.leader_election
    assert settings.log_level == "DEBUG"
    assert (settings.tick_seconds, settings.profile_seconds) == (0.5, 60.0)
    assert settings.image_pull_secrets == ("a", "b")
    assert settings.gateway_enabled
    assert settings.prometheus_url == "http://prometheus.monitoring.svc:9090/prefix"
    assert settings.prometheus_token_file == "/etc/penstock/prometheus/token"


def test_an_empty_variable_counts_as_absent() -> None:
    assert read_settings({"XDS_PORT": "", "WATCH_NAMESPACES": " "}).xds_port == 18000


@pytest.mark.parametrize(
    ("name", "value", "fix"),
    [
        ("XDS_PORT", "http", "write one from 1 to 65535"),
        ("XDS_PORT", "70000", "write a number from 1 to 65535"),
        ("WORKERS", "0", "write a number from 1 to 64"),
        ("TICK_SECONDS", "soon", "write one from 0.1 to 60.0"),
        ("TICK_SECONDS", "nan", "write a number from 0.1 to 60.0"),
        ("PROFILE_SECONDS", "0.1", "write a number from 1.0 to 3600.0"),
        ("PROMETHEUS_URL", "prometheus:9090", "write http(s)://host:port"),
        ("PROMETHEUS_URL", "http://user:secret@prometheus", "without user or query"),
        ("LEADER_ELECTION", "maybe", "write true or false"),
        ("LOG_LEVEL", "LOUD", "write one of DEBUG, INFO, WARNING, ERROR"),
        ("IMAGE_PULL_POLICY", "Sometimes", "write one of Always, IfNotPresent, Never"),
    ],
)
def test_an_unreadable_variable_is_named_with_the_fix(name: str, value: str, fix: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings({name: value})
    assert name in str(caught.value)
    assert fix in str(caught.value)
