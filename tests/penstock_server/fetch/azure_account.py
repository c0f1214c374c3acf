"""A storage account as its owner uses it: containers made, blobs put, signatures given away."""

import base64
import hashlib
import hmac
import urllib.request
from dataclasses import dataclass
from email.utils import formatdate
from urllib.parse import quote, urlencode, urlsplit

_VERSION = "2021-12-02"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """``url`` ends with the account's name, as it does for every store that has no DNS name per account."""

    name: str
    key: str
    url: str

    def make_container(self, container: str, *, public: bool = False) -> None:
        """Make a container; anybody may read the blobs of a public one."""
        access = {"x-ms-blob-public-access": "blob"} if public else {}
        self._put(f"/{container}", b"", access, restype="container")

    def put(self, container: str, blob: str, content: bytes) -> str:
        """Put a blob and return its URI."""
        self._put(f"/{container}/{quote(blob)}", content, {"x-ms-blob-type": "BlockBlob"})
        return f"az://{container}/{blob}"

    def signature(self, container: str, *, until: str, permissions: str = "r") -> str:
        """Return a shared access signature for a container."""
        lines = [permissions, "", until, f"/blob/{self.name}/{container}", "", "", "", _VERSION, "c", *[""] * 7]
        wanted = {"sv": _VERSION, "sr": "c", "sp": permissions, "se": until, "sig": self._signed("\n".join(lines))}
        return urlencode(wanted)

    def _put(self, path: str, content: bytes, headers: dict[str, str], **query: str) -> None:
        stamped = {**headers, "x-ms-date": formatdate(usegmt=True), "x-ms-version": _VERSION}
        lines = [f"{name}:{value}" for name, value in sorted(stamped.items())]
        asked = f"/{self.name}{urlsplit(self.url).path}{path}" + "".join(f"\n{k}:{v}" for k, v in query.items())
        length, kind = str(len(content) or ""), "application/octet-stream"
        text = "\n".join(["PUT", "", "", length, "", kind, "", "", "", "", "", "", *lines, asked])
        request = urllib.request.Request(
            f"{self.url}{path}" + (f"?{urlencode(query)}" if query else ""),
            content,
            {**stamped, "Content-Type": kind, "Authorization": f"SharedKey {self.name}:{self._signed(text)}"},
            method="PUT",
        )
        with urllib.request.urlopen(request, timeout=10) as response:
            assert response.status == 201

    def _signed(self, text: str) -> str:
        return base64.b64encode(hmac.digest(base64.b64decode(self.key), text.encode(), hashlib.sha256)).decode()
