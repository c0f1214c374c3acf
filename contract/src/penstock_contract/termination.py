"""The last words of a serving pod's container: why it ended, as the operator finds it in the pod's status."""

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

#: Where Kubernetes reads it (``terminationMessagePath`` of a container), unless the variable names another file.
TERMINATION_LOG = "/dev/termination-log"
TERMINATION_LOG_VARIABLE = "PENSTOCK_TERMINATION_LOG"
#: What Kubernetes keeps of one message, in bytes.
BYTES_MAX = 4096

_ELLIPSIS = "…"


class Reason(StrEnum):
    """Why a model is not served, in the words of conditions and events."""

    SOURCE_NOT_FOUND = "SourceNotFound"
    SOURCE_FORBIDDEN = "SourceForbidden"
    SOURCE_UNAVAILABLE = "SourceUnavailable"
    CHECKSUM_MISMATCH = "ChecksumMismatch"
    TOO_LARGE = "TooLarge"
    NOT_ONNX = "NotOnnx"
    UNKNOWN_OPERATOR = "UnknownOperator"
    UNSAFE_EXTERNAL_DATA = "UnsafeExternalData"
    EXTERNAL_DATA_MISSING = "ExternalDataMissing"
    #: Said by servers before files could lie beside a model.
    EXTERNAL_DATA_UNSUPPORTED = "ExternalDataUnsupported"
    LOAD_FAILED = "LoadFailed"
    WARMUP_FAILED = "WarmupFailed"
    OUT_OF_MEMORY = "OutOfMemory"
    STORAGE_FULL = "StorageFull"
    INVALID_CONFIGURATION = "InvalidConfiguration"
    #: What a newer server said that this reader does not know.
    OTHER = "Other"


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminationMessage:
    """Why a container ended. ``permanent``: trying the same thing again cannot help."""

    reason: Reason
    message: str
    permanent: bool

    def to_json(self) -> str:
        """Return one JSON object of at most BYTES_MAX bytes in UTF-8; a longer message loses its end."""
        # The message of an exception may hold lone surrogates, which no UTF-8 file can.
        message = self.message.encode("utf-8", "replace").decode("utf-8")
        text = self._dump(message)
        while len(text.encode()) > BYTES_MAX:
            # Every character dropped saves at least one byte, so this ends, and soon.
            excess = len(text.encode()) - BYTES_MAX
            message = message[: max(len(message) - max(excess // 6, 1) - 1, 0)]
            text = self._dump(message + _ELLIPSIS)
        return text

    def _dump(self, message: str) -> str:
        value = {"reason": self.reason.value, "message": message, "permanent": self.permanent}
        return json.dumps(value, ensure_ascii=False)


def parse(text: str) -> TerminationMessage | None:
    """Return what ``to_json`` wrote, or None for anything else: other programs end containers too."""
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    match value:
        case {"reason": str(reason), "message": str(message), "permanent": bool(permanent)}:
            known = reason in Reason.__members__.values()
            return TerminationMessage(
                reason=Reason(reason) if known else Reason.OTHER,
                message=message if known else f"{reason}: {message}",
                permanent=permanent,
            )
        case _:
            return None
