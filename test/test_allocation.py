"""Freed memory is kept where the C library can."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Arrays of many sizes that live together and are freed together, as one step of a network has them:
# without it the top of the heap is given back after each step, and asked for anew in the next.
PROGRAM = """
import resource, sys
import numpy as np
from mm_fusion_ros.allocation import keep_freed_memory
if sys.argv[1] == "keep" and not keep_freed_memory():
    sys.exit(3)
def use():
    for _ in range(20):
        kept = [np.ones(size, np.float32) for size in range(400_000, 6_000_000, 400_000)]
        del kept
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=False
    )
    if done.returncode == 3:
        pytest.skip("the C library is no glibc")
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_arrays_are_made_again_without_asking_the_kernel_as_often() -> None:
    plain, kept = faults("plain"), faults("keep")
    if plain < 10_000:
        pytest.skip(f"this C library keeps freed memory by itself ({plain} page faults)")
    assert kept < plain / 10
