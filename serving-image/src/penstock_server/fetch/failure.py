"""Why a model was not fetched."""

from penstock_contract.termination import Reason


class FetchFailed(Exception):  # noqa: N818 - an outcome
    """The model is not there. ``permanent``: the same attempt will fail again until somebody changes something."""

    def __init__(self, reason: Reason, message: str, *, permanent: bool = True) -> None:
        super().__init__(message)
        self.reason = reason
        self.permanent = permanent


class ContentChanged(FetchFailed):
    """What an earlier attempt read is not there any more; the next one must begin at the start."""

    def __init__(self, what: str) -> None:
        super().__init__(Reason.SOURCE_UNAVAILABLE, f"{what} changed while it was read", permanent=False)


def unavailable(message: str) -> FetchFailed:
    """Return the failure that is worth another attempt."""
    return FetchFailed(Reason.SOURCE_UNAVAILABLE, message, permanent=False)
