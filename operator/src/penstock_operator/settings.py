"""What the environment says about this process; the only reader of it."""

import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_PORT_MAX = 65535
_URL = re.compile(r"https?://[^\s/@?#]+(/[^\s@?#]*)?")


class SettingsError(Exception):
    """An environment variable is missing or cannot be read; the message names it and the fix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that is decided when the process starts.

    ``watch_namespaces`` is empty when all namespaces are watched. ``pod_ip`` is empty outside of a cluster, and then
    no Service leads routers here. ``pod_uid`` lets a restarted container take back its pod's lease at once.
    ``prometheus_url`` is empty where no Prometheus is asked; ``prometheus_token_file`` holds a bearer token for it.
    """

    operator_namespace: str
    pod_name: str
    pod_uid: str
    pod_ip: str
    watch_namespaces: tuple[str, ...]
    serving_image: str
    router_image: str
    image_pull_policy: str
    image_pull_secrets: tuple[str, ...]
    router_replicas: int
    gateway_enabled: bool
    xds_port: int
    xds_address: str
    ops_port: int
    log_level: str
    lease_name: str
    leader_election: bool
    webhook_hosts: tuple[str, ...]
    workers: int
    tick_seconds: float
    resync_seconds: float
    prometheus_url: str
    prometheus_token_file: str
    profile_seconds: float


def read_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of this process. Raises SettingsError with the name of the variable and the fix."""
    read = _Reader(os.environ if environment is None else environment)
    namespace = read.text("OPERATOR_NAMESPACE", "default")
    xds_port = read.whole("XDS_PORT", 18000, low=1, high=_PORT_MAX)
    return Settings(
        operator_namespace=namespace,
        pod_name=read.text("POD_NAME", socket.gethostname()),
        pod_uid=read.text("POD_UID", ""),
        pod_ip=read.text("POD_IP", ""),
        watch_namespaces=read.names("WATCH_NAMESPACES"),
        serving_image=read.text("SERVING_IMAGE", "penstock/server:dev"),
        router_image=read.text("ROUTER_IMAGE", "penstock/router:dev"),
        image_pull_policy=read.choice("IMAGE_PULL_POLICY", "IfNotPresent", _PULL_POLICIES),
        image_pull_secrets=read.names("IMAGE_PULL_SECRETS"),
        router_replicas=read.whole("ROUTER_REPLICAS", 2, low=1, high=100),
        gateway_enabled=read.flag("GATEWAY_ENABLED", default=False),
        xds_port=xds_port,
        xds_address=read.text("XDS_ADDRESS", f"penstock-xds.{namespace}.svc:{xds_port}"),
        ops_port=read.whole("OPS_PORT", 8080, low=1, high=_PORT_MAX),
        log_level=read.choice("LOG_LEVEL", "INFO", _LEVELS),
        lease_name=read.text("LEASE_NAME", "penstock-operator"),
        leader_election=read.flag("LEADER_ELECTION", default=True),
        webhook_hosts=read.names("WEBHOOK_HOSTS"),
        workers=read.whole("WORKERS", 16, low=1, high=64),
        tick_seconds=read.number("TICK_SECONDS", 2.0, low=0.1, high=60.0),
        resync_seconds=read.number("RESYNC_SECONDS", 450.0, low=5.0, high=3600.0),
        prometheus_url=read.url("PROMETHEUS_URL"),
        prometheus_token_file=read.text("PROMETHEUS_TOKEN_FILE", ""),
        profile_seconds=read.number("PROFILE_SECONDS", 30.0, low=1.0, high=3600.0),
    )


class _Reader:
    """Reads one variable at a time; an empty one counts as absent."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def text(self, name: str, default: str) -> str:
        return self._environment.get(name, "").strip() or default

    def url(self, name: str) -> str:
        value = self.text(name, "")
        if value and not _URL.fullmatch(value):
            raise SettingsError(f"{name}={value!r} is no address; write http(s)://host:port, without user or query")
        return value

    def names(self, name: str) -> tuple[str, ...]:
        parts = (part.strip() for part in self.text(name, "").split(","))
        return tuple(dict.fromkeys(part for part in parts if part))

    def choice(self, name: str, default: str, allowed: tuple[str, ...]) -> str:
        value = self.text(name, default)
        for candidate in allowed:
            if candidate.lower() == value.lower():
                return candidate
        raise SettingsError(f"{name}={value!r} is not known; write one of {', '.join(allowed)}")

    def flag(self, name: str, *, default: bool) -> bool:
        value = self.text(name, str(default)).lower()
        if value in _TRUE | _FALSE:
            return value in _TRUE
        raise SettingsError(f"{name}={value!r} is neither true nor false; write true or false")

    def whole(self, name: str, default: int, *, low: int, high: int) -> int:
        value = self.text(name, str(default))
        try:
            number = int(value)
        except ValueError as error:
            raise SettingsError(f"{name}={value!r} is not a whole number; write one from {low} to {high}") from error
        if not low <= number <= high:
            raise SettingsError(f"{name}={number} is out of range; write a number from {low} to {high}")
        return number

    def number(self, name: str, default: float, *, low: float, high: float) -> float:
        value = self.text(name, str(default))
        try:
            number = float(value)
        except ValueError as error:
            raise SettingsError(f"{name}={value!r} is not a number; write one from {low} to {high}") from error
        if not low <= number <= high:  # also refuses NaN
            raise SettingsError(f"{name}={value} is out of range; write a number from {low} to {high}")
        return number
