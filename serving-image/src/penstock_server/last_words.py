"""Leave the reason for an end where Kubernetes, and so the operator, finds it."""

from pathlib import Path

from penstock_contract.termination import TerminationMessage


def leave(message: TerminationMessage, path: Path) -> None:
    """Write the message; do nothing where there is no such file, as on a laptop.

    The file must exist: Kubernetes makes it, and outside a container nothing should be left behind in /dev.
    """
    try:
        with path.open("r+", encoding="utf-8") as file:
            file.truncate()
            file.write(message.to_json())
    except OSError:
        return
