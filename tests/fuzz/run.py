"""Fuzzes all targets, each for some seconds, from the corpus in the repository and from what earlier runs found.

    python -m tests.fuzz.run [--seconds 20] [TARGET ...]

What breaks an invariant is written there too, and its path and how
to keep it as a regression test are printed. Exits with 1 if there is any.
"""

import argparse
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from cluster.environments import python_of

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CORPUS = HERE / "corpus"
TARGETS = ("request", "raw", "guard", "wire", "connection", "grpc", "http2")
REQUIREMENTS = (
    *("atheris>=3,<4", "onnx>=1.21,<2"),
    # What the fuzzed parts of the server import.
    *(
        "aiohttp>=3.12,<4",
        "numpy>=2,<3",
        "onnxruntime>=1.24.2,<2",
        "orjson>=3.11,<4",
        "prometheus-client>=0.22,<1",
        "protobuf",
        "hpack",
    ),
)
#: The corpus is made of small inputs; longer ones take longer without reaching more.
INPUT_BYTES_MAX = 4096
INPUT_SECONDS_MAX = 10
MEMORY_MB_MAX = 768


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one fuzzer ended, with its last lines."""

    target: str
    good: bool
    said: str


def main() -> int:
    """Fuzz; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=20, help="how long each target is fuzzed (default: 20)")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)} (default: all)")
    options = parser.parse_args()
    wanted = options.targets or list(TARGETS)
    unknown = set(wanted) - set(TARGETS)
    if unknown:
        parser.error(f"there is no target {min(unknown)!r}; there are {', '.join(TARGETS)}")
    cache = _cache()
    python = python_of("atheris", REQUIREMENTS)
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        outcomes = list(pool.map(lambda target: _fuzz(python, cache, target, options.seconds), wanted))
    for outcome in outcomes:
        _say(f"{outcome.target:10} {'ok' if outcome.good else 'BROKEN'}  {outcome.said}")
    return 0 if all(outcome.good for outcome in outcomes) else 1


def _fuzz(python: Path, cache: Path, target: str, seconds: int) -> Outcome:
    found, broken = cache / "corpus" / target, cache / "broken" / target
    found.mkdir(parents=True, exist_ok=True)
    broken.mkdir(parents=True, exist_ok=True)
    before = set(broken.iterdir())
    command = [
        *(str(python), str(HERE / "explore.py"), target),
        *(f"-max_total_time={seconds}", f"-max_len={INPUT_BYTES_MAX}", f"-timeout={INPUT_SECONDS_MAX}"),
        *(f"-rss_limit_mb={MEMORY_MB_MAX}", f"-artifact_prefix={broken}/", "-print_final_stats=1"),
        *(str(found), str(CORPUS / target)),
    ]
    done = subprocess.run(
        command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=_env()
    )
    (cache / f"{target}.log").write_text(done.stdout)
    new = sorted(set(broken.iterdir()) - before)
    if done.returncode == 0 and not new:
        return Outcome(target=target, good=True, said=_figures(done.stdout))
    tail = "\n".join(line for line in done.stdout.splitlines() if not line.startswith(("#", "stat::")))[-3000:]
    keep = "".join(f"\n  keep it: cp {path} tests/fuzz/corpus/{target}/NAME" for path in new)
    return Outcome(target=target, good=False, said=f"(exit status {done.returncode})\n{tail}{keep}")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _figures(output: str) -> str:
    stats = dict(line.removeprefix("stat::").split(":", 1) for line in output.splitlines() if line.startswith("stat::"))
    wanted = {"number_of_executed_units": "inputs", "new_units_added": "of them new ways", "peak_rss_mb": "MB"}
    return ", ".join(f"{stats[name].strip()} {word}" for name, word in wanted.items() if name in stats)


def _env() -> dict[str, str]:
    paths = [ROOT, ROOT / "contract" / "src", ROOT / "serving-image" / "src"]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "penstock" / "fuzz"


if __name__ == "__main__":
    sys.exit(main())
