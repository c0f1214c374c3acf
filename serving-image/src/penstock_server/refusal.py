"""Why a request is not answered as asked: one list for all protocols, in the terms of HTTP."""

from dataclasses import dataclass

from penstock_server.admission import Overloaded
from penstock_server.protocol import BadRequest, UnencodableOutput
from penstock_server.session import InputRefused, RunFailed, RunTerminated

#: What a client, a model or the load can cause; anything else is a mistake of ours.
EXPECTED: tuple[type[Exception], ...] = (
    BadRequest,
    InputRefused,
    Overloaded,
    TimeoutError,
    RunTerminated,
    RunFailed,
    UnencodableOutput,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An HTTP status and what to tell the client.

    ``rejected`` is the reason by which a request is counted that never reached the model;
    ``retry_after_seconds`` says when to come back where that makes sense.
    """

    status: int
    message: str
    rejected: str | None = None
    retry_after_seconds: int | None = None


def refusal_of(error: Exception, *, seconds_max: float) -> Refusal:
    """Return what one of EXPECTED means; ``seconds_max`` is the time that the request had."""
    match error:
        case BadRequest():
            return Refusal(status=400, message=str(error), rejected="bad_request")
        case InputRefused():
            return Refusal(status=400, message=f"the model does not take these inputs: {error}", rejected="bad_request")
        case Overloaded():
            return Refusal(
                status=429,
                message=f"overloaded: {error}; try again later",
                rejected="overloaded",
                retry_after_seconds=1,
            )
        case TimeoutError() | RunTerminated():
            return Refusal(
                status=504, message=f"no result within {seconds_max:g} s, waiting included; what ran was terminated"
            )
        case _:
            return Refusal(status=500, message=f"the model failed: {error}")
