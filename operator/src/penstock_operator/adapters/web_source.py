"""Fetches numbers from JSON documents that people name, over HTTPS."""

from typing import Protocol
from urllib.parse import urlsplit

import aiohttp

from penstock_operator.adapters.bounded_body import BodyTooLarge, bounded_body
from penstock_operator.adapters.guarded_http import AddressRefused, check_host
from penstock_operator.adapters.secrets import Credentials, SecretUnusable
from penstock_operator.core.questions import Answer, Question, web_answer

_BYTES_MAX = 256 * 1024


class Secrets(Protocol):
    """Where credentials come from; raises SecretUnusable."""

    async def credentials(self, namespace: str, name: str) -> Credentials:
        """Return what a Secret says."""


class WebSource:
    """Implements the MetricSource port. The session must be a guarded one, and belongs to the caller."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        secrets: Secrets,
        *,
        timeout_seconds: float = 5.0,
        loopback: bool = False,
    ) -> None:
        self._session = session
        self._secrets = secrets
        self._timeout_seconds = timeout_seconds
        self._loopback = loopback

    async def answer(self, question: Question) -> Answer:
        """Return the number that a document holds now. Never raises: what goes wrong is an answer too."""
        parts = urlsplit(question.text)
        if parts.scheme != "https" or not parts.hostname or parts.username is not None:
            return Answer(problem="web.url must be https://host/path without a user")
        try:
            return await self._fetched(question, parts.hostname)
        except (SecretUnusable, AddressRefused) as error:
            words = str(error)
        except BodyTooLarge:
            words = f"the answer is larger than {_BYTES_MAX // 1024} KiB"
        except TimeoutError:
            words = f"{parts.hostname} did not answer within {self._timeout_seconds:g} s"
        except aiohttp.ClientConnectorCertificateError:
            words = f"{parts.hostname} shows a certificate that is not trusted; give ca.crt in the Secret"
        except aiohttp.ClientConnectorError as error:
            words = f"{parts.hostname} cannot be reached: {error.os_error}"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            words = f"{parts.hostname} cannot be asked: {error or type(error).__name__}"
        return Answer(problem=words)

    async def _fetched(self, question: Question, host: str) -> Answer:
        check_host(host, loopback=self._loopback)
        credentials = Credentials()
        if question.secret_name is not None:
            credentials = await self._secrets.credentials(question.namespace, question.secret_name)
        async with self._session.get(
            question.text,
            # A few kilobytes compressed may become gigabytes.
            headers={**credentials.headers, "Accept": "application/json", "Accept-Encoding": "identity"},
            ssl=credentials.trust or True,
            timeout=aiohttp.ClientTimeout(total=self._timeout_seconds),
            allow_redirects=False,
        ) as response:
            return web_answer(response.status, await bounded_body(response, _BYTES_MAX), question.pointer)
