"""Asks the Prometheus that the operator was set up with."""

import asyncio
from pathlib import Path

import aiohttp

from penstock_operator.adapters.bounded_body import BodyTooLarge, bounded_body
from penstock_operator.core.questions import Answer, Question, prometheus_answer

_BYTES_MAX = 256 * 1024
#: Prometheus itself gives up a little before we do, so that its own words reach the user.
_GRACE_SECONDS = 0.5


class HttpPrometheus:
    """Implements the MetricSource port. The session belongs to the caller.

    ``url`` is the administrator's, empty where none is set up. ``token_file`` holds a bearer token, read for each
    query, because mounted tokens change.
    """

    def __init__(
        self, session: aiohttp.ClientSession, *, url: str, token_file: Path | None = None, timeout_seconds: float = 5.0
    ) -> None:
        self._session = session
        self._url = url.rstrip("/")
        self._token_file = token_file
        self._timeout_seconds = timeout_seconds

    async def answer(self, question: Question) -> Answer:
        """Return what an instant query says now. Never raises: what goes wrong is an answer too."""
        if not self._url:
            return Answer(problem="no Prometheus is set up; set prometheus.url of the operator's chart")
        form = {"query": question.text, "timeout": f"{max(0.5, self._timeout_seconds - _GRACE_SECONDS) * 1000:.0f}ms"}
        try:
            async with self._session.post(
                f"{self._url}/api/v1/query",
                data=form,
                headers=await self._headers(),
                timeout=aiohttp.ClientTimeout(total=self._timeout_seconds),
                allow_redirects=False,
            ) as response:
                return prometheus_answer(response.status, await bounded_body(response, _BYTES_MAX))
        except BodyTooLarge:
            return Answer(problem="the query returns more than can be one number; wrap it in sum(…) or avg(…)")
        except TimeoutError:
            return Answer(problem=f"Prometheus did not answer within {self._timeout_seconds:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Answer(problem=f"Prometheus cannot be asked: {error or type(error).__name__}")

    async def _headers(self) -> dict[str, str]:
        if self._token_file is None:
            return {}
        token = await asyncio.to_thread(self._token_file.read_text, encoding="utf-8")
        return {"Authorization": f"Bearer {token.strip()}"}
