"""Asks serving pods what they have counted, over their management port."""

import asyncio

import aiohttp

from penstock_operator.core.manifests.serving_pod import MANAGEMENT_PORT
from penstock_operator.core.serving_pods import ServingPod

#: A pod's counts of 1,000 columns have about 1 MB.
_BYTES_MAX = 8 * 1024 * 1024
#: So many pods are asked at once, whoever asks.
_PARALLEL = 32
_OK = 200


class HttpServingPods:
    """Implements the ServingPods port. The session belongs to the caller."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        *,
        port: int = MANAGEMENT_PORT,
        timeout_seconds: float = 3.0,
        bytes_max: int = _BYTES_MAX,
        parallel: int = _PARALLEL,
    ) -> None:
        self._session = session
        self._port = port
        # Waiting for one's turn does not count: it is not the pod that is slow.
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._bytes_max = bytes_max
        self._turns = asyncio.Semaphore(parallel)

    async def get(self, namespace: str, pod: ServingPod, path: str) -> bytes | None:
        """Return the body of ``GET path``, or None where there is none in time, of this size and in plain bytes."""
        del namespace  # an address is unique in the cluster; others reach pods by the API server's proxy
        host = f"[{pod.ip}]" if ":" in pod.ip else pod.ip
        async with self._turns:
            try:
                async with self._session.get(
                    f"http://{host}:{self._port}{path}",
                    timeout=self._timeout,
                    allow_redirects=False,
                    # A few kilobytes compressed may become gigabytes.
                    headers={"Accept-Encoding": "identity"},
                    auto_decompress=False,
                ) as response:
                    return await self._body(response)
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
                return None

    async def _body(self, response: aiohttp.ClientResponse) -> bytes | None:
        if response.status != _OK or response.headers.get("Content-Encoding", "identity") != "identity":
            return None
        parts: list[bytes] = []
        size = 0
        async for part in response.content.iter_any():
            size += len(part)
            if size > self._bytes_max:
                return None
            parts.append(part)
        return b"".join(parts)
