"""Why a model was not fetched."""

from penstock_contract.termination import Reason


class FetchFailed(Exception):  # noqa: N818 - an outcome
    """The model is not there. ``permanent``: the same attempt will fail again until somebody changes something."""

    def __init__(self, reason: Reason, message: str, *, permanent: bool = True) -> None:
        super().__init__(message)
        self.reason = reason
        self.permanent = permanent


def unavailable(message: str) -> FetchFailed:
    """Return the failure that is worth another attempt."""
    return FetchFailed(Reason.SOURCE_UNAVAILABLE, message, permanent=False)
