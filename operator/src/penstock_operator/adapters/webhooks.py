"""Sends letters to people's endpoints in the background: tried again, told again, never in anybody's way."""

import asyncio
import json
import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

import aiohttp

from penstock_operator.adapters.guarded_http import AddressRefused, check_host
from penstock_operator.adapters.secrets import Credentials, SecretUnusable
from penstock_operator.core.letters import Delivery, Letter
from penstock_operator.core.objects import ObjectRef

_LOG = logging.getLogger(__name__)
_TIMEOUT_SECONDS = 10.0
_FIRST_PAUSE_SECONDS = 1.0
_PAUSE_SECONDS_MAX = 300.0
#: However often an alarm comes and goes, its endpoint is asked no more often than this.
_SPACING_SECONDS = 1.0
_PARALLEL = 8
_REDIRECTS = range(300, 400)
_SUCCESS = range(200, 300)

Key = tuple[ObjectRef, str]


class Secrets(Protocol):
    """Where credentials come from; raises SecretUnusable."""

    async def credentials(self, namespace: str, name: str) -> Credentials:
        """Return what a Secret says."""


class DeliveryObserver(Protocol):
    """Counts deliveries."""

    def delivered(self, owner: ObjectRef, *, arrived: bool) -> None:
        """One try has ended."""


@dataclass(slots=True, kw_only=True)
class _Box:
    """One letter on its way."""

    letter: Letter
    due: float
    tries: int = 0
    sent_at: float = float("-inf")
    delivery: Delivery | None = None
    task: asyncio.Task[None] | None = None


class Postman:
    """Implements the LetterBox port.

    A try that fails is repeated after 1 s, then 2, 4 and so on up to 5 minutes, with jitter. At most 8 are under way at
    the same time; one endpoint that hangs holds up nobody else's for longer than a timeout. ``hosts``, where there are
    any, are all that is sent to.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        secrets: Secrets,
        *,
        observer: DeliveryObserver,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        hosts: Sequence[str] = (),
        loopback: bool = False,
        timeout_seconds: float = _TIMEOUT_SECONDS,
    ) -> None:
        self._session = session
        self._secrets = secrets
        self._observer = observer
        self._now = now
        self._monotonic = monotonic
        self._hosts = tuple(host.lower() for host in hosts)
        self._loopback = loopback
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._boxes: dict[Key, _Box] = {}
        self._wake = asyncio.Event()
        self._turns = asyncio.Semaphore(_PARALLEL)

    def hold(self, owner: ObjectRef, letters: Mapping[str, Letter]) -> Mapping[str, Delivery]:
        """Make ``letters`` all that is sent for an owner; return how sending goes, by the letters' keys."""
        for key in [key for key in self._boxes if key[0] == owner and key[1] not in letters]:
            self._drop(key)
        for name, letter in letters.items():
            self._put((owner, name), letter)
        found = {name: self._boxes[owner, name].delivery for name in letters}
        return {name: delivery for name, delivery in found.items() if delivery is not None}

    async def run(self) -> None:
        """Send for ever."""
        try:
            while True:
                pause = self._start_due()
                try:
                    async with asyncio.timeout(pause):
                        await self._wake.wait()
                except TimeoutError:
                    continue
                finally:
                    self._wake.clear()
        finally:
            for key in list(self._boxes):
                self._drop(key)

    def _put(self, key: Key, letter: Letter) -> None:
        box = self._boxes.get(key)
        if box is None:
            self._boxes[key] = _Box(letter=letter, due=self._monotonic())
            self._wake.set()
            return
        if letter.is_news(box.letter) and box.tries == 0:
            box.due = min(box.due, max(self._monotonic(), box.sent_at + _SPACING_SECONDS))
            self._wake.set()
        box.letter = letter

    def _drop(self, key: Key) -> None:
        box = self._boxes.pop(key)
        if box.task is not None:
            box.task.cancel()

    def _start_due(self) -> float | None:
        """Start what is due; return the seconds until something else is."""
        now = self._monotonic()
        idle = [(key, box) for key, box in self._boxes.items() if box.task is None]
        for key, box in idle:
            if box.due <= now:
                box.task = asyncio.create_task(self._deliver(key, box), name=f"letter {key[0]}")
        waiting = [box.due - now for _, box in idle if box.due > now and box.due != float("inf")]
        return min(waiting, default=None)

    async def _deliver(self, key: Key, box: _Box) -> None:
        try:
            async with self._turns:
                letter = box.letter
                box.sent_at = self._monotonic()
                try:
                    trouble = await self._try(letter)
                except Exception as error:  # noqa: BLE001 - the top of a task: it must not be tried again at once
                    _LOG.exception("%s: a letter could not be sent", key[0])
                    trouble = f"a fault of the operator: {type(error).__name__}; its log has more"
            self._note(key[0], box, letter, trouble)
        finally:
            box.task = None
            self._wake.set()

    def _note(self, owner: ObjectRef, box: _Box, letter: Letter, trouble: str | None) -> None:
        now = self._monotonic()
        self._observer.delivered(owner, arrived=trouble is None)
        if trouble is None:
            box.tries = 0
            box.delivery = Delivery(arrived=True)
            box.due = float("inf") if letter.repeat_seconds is None else now + letter.repeat_seconds
            if box.letter.is_news(letter):
                box.due = now + _SPACING_SECONDS
            return
        box.tries += 1
        box.delivery = Delivery(arrived=False, tries=box.tries, message=trouble)
        pause = min(_FIRST_PAUSE_SECONDS * 2.0 ** min(box.tries - 1, 16), _PAUSE_SECONDS_MAX)
        box.due = now + pause * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
        _LOG.info("%s: not told, next try in %.0f s: %s", owner, box.due - now, trouble)

    async def _try(self, letter: Letter) -> str | None:
        """Send once; return what went wrong, in words that hold nothing secret and nothing of the answer."""
        try:
            url = urlsplit(letter.url)
            host = url.hostname or ""
            if not self._is_allowed(host):
                return f"this operator sends nothing to {host}; whoever runs it may add it to operator.webhookHosts"
            check_host(host, loopback=self._loopback)
            opened = Credentials()
            if letter.secret_name is not None:
                opened = await self._secrets.credentials(letter.namespace, letter.secret_name)
            return await self._post(letter, opened)
        except (SecretUnusable, AddressRefused) as error:
            return str(error)
        except ValueError:
            return "the url cannot be read; write http(s)://host/path"

    def _is_allowed(self, host: str) -> bool:
        """Return whether a host is one of those that may be sent to; an entry with a leading dot means all below it."""
        return not self._hosts or any(
            host == one or (one.startswith(".") and host.endswith(one)) for one in self._hosts
        )

    async def _post(self, letter: Letter, opened: Credentials) -> str | None:
        headers = {**opened.headers, "Content-Type": "application/json", "Idempotency-Key": letter.id}
        encrypted: dict[str, Any] = {} if opened.trust is None else {"ssl": opened.trust}
        body = json.dumps(letter.body(now=self._now()), ensure_ascii=False).encode()
        host = urlsplit(letter.url).netloc
        try:
            async with self._session.post(
                letter.url, data=body, headers=headers, timeout=self._timeout, allow_redirects=False, **encrypted
            ) as response:
                status = response.status
        except TimeoutError:
            return f"{host} did not answer within {self._timeout.total:g} s"
        except aiohttp.ClientConnectorDNSError as error:
            return str(error.os_error) if isinstance(error.os_error, AddressRefused) else f"{host} cannot be resolved"
        except aiohttp.ClientConnectorCertificateError:
            return f"{host} shows a certificate that is not trusted; put its authority into the Secret as ca.crt"
        except aiohttp.ClientConnectorError as error:
            return f"{host} cannot be reached: {error.os_error.strerror or 'no connection'}"
        except (aiohttp.ClientError, OSError) as error:
            return f"{host} did not answer well: {type(error).__name__}"
        if status in _SUCCESS:
            return None
        if status in _REDIRECTS:
            return f"{host} redirects ({status}); write the url that it leads to"
        return f"{host} answered {status}"
