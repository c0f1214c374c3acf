"""What is free in the heap does not stay with the process."""

import subprocess
import sys

import pytest

#: Blocks too small for a mapping of their own, most of them freed: those that stay keep the heap from shrinking.
PROGRAM = """
from pathlib import Path
from penstock_server import heap

def megabytes():
    return int(Path("/proc/self/status").read_text().partition("VmRSS:")[2].split()[0]) / 1024

heap.share()
begun = megabytes()
blocks = [bytes([1]) * 30_000 for _ in range(2000)]
full = megabytes()
blocks = blocks[::50]
free = megabytes()
heap.give_back()
print(round(full - begun), round(free - begun), round(megabytes() - begun))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other heaps")
def test_free_memory_goes_back_to_the_system() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    full, free, given_back = map(int, done.stdout.split())
    assert full > 50
    assert free > 50, "glibc gives it back by itself: is the heap still worth a thought?"
    assert given_back < 10
