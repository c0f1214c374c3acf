"""The command ``penstock-server``."""

import asyncio
import os
import sys

import uvloop

from penstock_contract.environment import InvalidEnvironment
from penstock_contract.termination import Reason, TerminationMessage
from penstock_server import last_words, settings
from penstock_server.log import Log, json_log, text_log
from penstock_server.server import CannotServe, Server
from penstock_server.settings import Settings


def main() -> None:
    """Serve until asked to stop; exit with 1 if the model cannot be served."""
    try:
        chosen = settings.read(sys.argv[1:], os.environ)
    except InvalidEnvironment as error:
        path = settings.termination_log(os.environ)
        last_words.leave(
            TerminationMessage(reason=Reason.INVALID_CONFIGURATION, message=str(error), permanent=True), path
        )
        sys.exit(f"penstock-server: {error}")
    sys.exit(_run(chosen))


def _run(chosen: Settings) -> int:
    log = text_log() if chosen.person else json_log(revision=chosen.serving.revision)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(chosen, log))
    except CannotServe as error:
        message = TerminationMessage(reason=error.reason, message=str(error), permanent=error.permanent)
        last_words.leave(message, chosen.termination_log)
        if chosen.person:
            log(f"penstock-server: {error.reason}: {error}")
        else:
            log("cannot-serve", reason=error.reason.value, message=str(error), permanent=error.permanent)
        return 1
    return 0


async def _serve(chosen: Settings, log: Log) -> None:
    # Made inside the loop: it holds events that belong to it.
    await Server(chosen, log).run()


if __name__ == "__main__":
    main()
