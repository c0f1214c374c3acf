"""Feeds watch events into the cache by kopf, which is used for nothing else."""

import asyncio
import logging
import random
import ssl
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Protocol

import kopf

from penstock_operator.adapters.api_client import Access
from penstock_operator.core.objects import CUSTOM_KINDS, Kind, Manifest

_LOG = logging.getLogger(__name__)
_RESTART_SECONDS_MAX = 30.0
_STOP_SECONDS = 3.0
#: A run of this length was a healthy one; the next failure starts with a short pause again.
_HEALTHY_SECONDS = 60.0


class Sink(Protocol):
    """Takes what the watches deliver. Nothing in it may fail: kopf would log and forget."""

    def deliver(self, kind: Kind, event_type: str | None, manifest: Manifest) -> None:
        """One watch event; the type is None for an item of the list that a watch starts with."""


class Intake:
    """Watches every kind of ours for ever; a watch that dies is started again inside the process.

    kopf 1.45 ends as a whole when one of its watches meets an error that it does not know; the cache stays and the
    lists made by ``until_listed`` before each start close the gap.
    """

    def __init__(
        self,
        access: Access,
        *,
        namespaces: tuple[str, ...],
        child_selector: str,
        sink: Sink,
        until_listed: Callable[[], Awaitable[None]],
        claim_signals: Callable[[], None],
    ) -> None:
        self._access = access
        self._namespaces = namespaces
        self._child_selector = child_selector
        self._sink = sink
        self._until_listed = until_listed
        self._claim_signals = claim_signals

    async def run(self) -> None:
        """Watch until cancelled."""
        clock = asyncio.get_running_loop().time
        failures = 0
        while True:
            await self._until_listed()
            started = clock()
            try:
                await self._run_kopf()
            except Exception:  # noqa: BLE001 - the top of a loop: whatever ended a watch, watching must go on
                failures = 1 if clock() - started > _HEALTHY_SECONDS else failures + 1
                pause = min(0.5 * 2.0 ** min(failures, 10), _RESTART_SECONDS_MAX) * random.uniform(0.5, 1)  # noqa: S311
                _LOG.warning("the watches ended, they start again in %.1f s", pause, exc_info=True)
                await asyncio.sleep(pause)

    async def _run_kopf(self) -> None:
        """Run kopf until one of its tasks ends; that is always an error."""
        stop = asyncio.Event()
        tasks = await kopf.spawn_tasks(
            registry=self._registry(),
            settings=_settings(self._child_selector),
            standalone=True,
            # Else kopf asks the system for the name of the user, and in a container there is none.
            identity="penstock",  # type: ignore[arg-type]  # a NewType of str that kopf does not export
            clusterwide=not self._namespaces,
            namespaces=self._namespaces,
            stop_flag=stop,
        )
        self._claim_signals()  # kopf has taken SIGTERM and SIGINT for itself
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            raise RuntimeError("kopf ended without an error")
        finally:
            stop.set()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=_STOP_SECONDS)

    def _registry(self) -> kopf.OperatorRegistry:
        # An explicit registry: the default one would bring its own login through the heavy synchronous client.
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry)(self._login)
        for kind in Kind:
            resource = kind.resource
            register = kopf.on.event(resource.group, resource.version, resource.plural, registry=registry)
            register(self._handler(kind))
        return registry

    def _handler(self, kind: Kind) -> Callable[..., Awaitable[None]]:
        async def on_event(event: kopf.RawEvent, **_: Any) -> None:
            self._sink.deliver(kind, event["type"], dict(event["object"]))

        on_event.__name__ = f"on_{kind.name.lower()}"
        return on_event

    async def _login(self, **_kwargs: Any) -> kopf.ConnectionInfo:
        authorization = await self._access.authorization()
        scheme, _, token = (authorization or "").partition(" ")
        configuration = self._access.configuration
        return _Connection(
            server=self._access.server,
            ca_path=configuration.ssl_ca_cert,
            ca_data=configuration.ca_cert_data,
            insecure=not configuration.verify_ssl,
            scheme=scheme or None,
            token=token or None,
            certificate_path=configuration.cert_file,
            private_key_path=configuration.key_file,
            proxy_url=configuration.proxy,
            trust_env=True,
        )


class _Connection(kopf.ConnectionInfo):
    """Verifies as the rest of the operator does: without the extensions that Python 3.13 began to ask for."""

    def as_ssl_context(self) -> ssl.SSLContext:
        """Return kopf's context, less strict in form only."""
        context = super().as_ssl_context()
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return context


class _EndlessBackoffs:
    """Pauses between retries without an end. Not a generator: kopf iterates it anew for each request."""

    def __iter__(self) -> Iterator[float]:
        pause = 0.25
        while True:
            yield pause * random.uniform(0.5, 1)  # noqa: S311 - jitter
            pause = min(pause * 2, 10.0)


class _NoDiffBase(kopf.DiffBaseStorage):
    """Keeps no last-handled state and spares the deep copy of every event that kopf would make for it."""

    def build(self, **_: Any) -> Any:
        """Return nothing to compare."""
        return {}

    def fetch(self, **_: Any) -> Any:
        """Return that nothing was kept."""
        return None

    def store(self, **_: Any) -> None:
        """Keep nothing."""


def _settings(child_selector: str) -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.process.ultimate_exiting_timeout = 10
    settings.persistence.diffbase_storage = _NoDiffBase()
    settings.persistence.progress_storage = kopf.StatusProgressStorage()  # read only: nothing is ever stored
    settings.networking.connect_timeout = 5
    settings.networking.request_timeout = 15
    settings.networking.error_backoffs = _EndlessBackoffs()
    settings.watching.server_timeout = 120
    settings.watching.client_timeout = 150
    settings.watching.connect_timeout = 5
    for kind in Kind:
        if kind not in CUSTOM_KINDS:
            resource = kind.resource
            settings.watching.label_selectors[resource.group, resource.version, resource.plural] = child_selector
    return settings
