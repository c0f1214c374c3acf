"""Read from a Dockerfile what a build of it depends on."""

import json
import shlex
from collections.abc import Iterator


def copied_paths(text: str) -> list[str]:
    r"""Return the paths in the build context that COPY and ADD name, in order and without repetition.

    >>> copied_paths("COPY --chown=1:1 a \\\n  b /x\nCOPY --from=stage /y /z\nADD [\"c\", \"/\"]")
    ['a', 'b', 'c']
    """
    paths: list[str] = []
    for instruction, rest in _instructions(text):
        if instruction in ("COPY", "ADD"):
            words = _words(rest)
            flags = [word for word in words if word.startswith("--")]
            if not any(flag.startswith("--from=") for flag in flags):
                paths += [word for word in words if not word.startswith("--")][:-1]
    return list(dict.fromkeys(paths))


def arguments(text: str) -> set[str]:
    r"""Return the names of the build arguments.

    >>> sorted(arguments("ARG A\nARG B=1"))
    ['A', 'B']
    """
    return {rest.split("=")[0].strip() for instruction, rest in _instructions(text) if instruction == "ARG"}


def _instructions(text: str) -> Iterator[tuple[str, str]]:
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        instruction, _, rest = line.strip().partition(" ")
        if rest:
            yield instruction.upper(), rest.strip()


def _words(rest: str) -> list[str]:
    flags, _, json_form = rest.partition("[")
    if json_form and not flags.replace("--", "").strip().startswith("/"):
        try:
            return [*flags.split(), *json.loads(f"[{json_form}")]
        except ValueError:
            pass  # a path with a bracket in it
    return shlex.split(rest)
