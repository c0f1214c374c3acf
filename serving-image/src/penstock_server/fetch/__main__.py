"""The command ``penstock-fetch``: what the init container of a serving pod runs."""

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from penstock_contract.environment import FetchEnvironment, InvalidEnvironment
from penstock_contract.termination import TERMINATION_LOG, TERMINATION_LOG_VARIABLE, Reason, TerminationMessage
from penstock_server import last_words
from penstock_server.fetch import credentials
from penstock_server.fetch.credentials import Credentials
from penstock_server.fetch.failure import FetchFailed
from penstock_server.fetch.model import fetch
from penstock_server.log import Log, json_log


def main() -> None:
    """Fetch the model that the environment names; exit with 1 and leave the reason if that cannot be done."""
    # The first process of a container gets no signal that it has no handler for: a pod that is deleted would wait.
    signal.signal(signal.SIGTERM, _end)
    sys.exit(run(os.environ, json_log()))


def _end(number: int, _frame: object) -> None:
    sys.exit(128 + number)


def run(env: Mapping[str, str], log: Log) -> int:
    """Return the exit status."""
    secrets = Credentials()
    try:
        try:
            wanted = FetchEnvironment.from_env(env)
        except InvalidEnvironment as error:
            raise FetchFailed(Reason.INVALID_CONFIGURATION, str(error)) from error
        secrets = credentials.read(wanted.credentials_dir)
        fetch(wanted, secrets, _redacting(log, secrets))
    except FetchFailed as failure:
        message = TerminationMessage(
            reason=failure.reason, message=secrets.redact(str(failure)), permanent=failure.permanent
        )
        log("failed", reason=message.reason.value, message=message.message, permanent=message.permanent)
        last_words.leave(message, Path(env.get(TERMINATION_LOG_VARIABLE, TERMINATION_LOG)))
        return 1
    return 0


def _redacting(log: Log, secrets: Credentials) -> Log:
    def write(event: str, **fields: object) -> None:
        log(event, **{key: secrets.redact(value) if isinstance(value, str) else value for key, value in fields.items()})

    return write


if __name__ == "__main__":
    main()
