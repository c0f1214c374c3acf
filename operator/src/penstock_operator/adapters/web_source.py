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
        credentials = Credentials()
        try:
            check_host(parts.hostname, loopback=self._loopback)
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
        except SecretUnusable as error:
            return Answer(problem=str(error))
        except AddressRefused as error:
            return Answer(problem=f"web.url is not asked: {error}")
        except BodyTooLarge:
            return Answer(problem=f"the answer is larger than {_BYTES_MAX // 1024} KiB")
        except TimeoutError:
            return Answer(problem=f"{parts.hostname} did not answer within {self._timeout_seconds:g} s")
        except aiohttp.ClientConnectorCertificateError:
            return Answer(
                problem=f"{parts.hostname} shows a certificate that is not trusted; give ca.crt in the Secret"
            )
        except aiohttp.ClientConnectorError as error:
            return Answer(problem=f"{parts.hostname} cannot be reached: {error.os_error}")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Answer(problem=f"{parts.hostname} cannot be asked: {error or type(error).__name__}")
