"""Freed memory is kept where the C library can."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import numpy as np
from mm_fusion_ros.allocation import keep_freed_memory
if sys.argv[1] == "keep" and not keep_freed_memory():
    sys.exit(3)
def use():
    for _ in range(50):
        np.ones(1_500_000, np.float32)  # 6 MB
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


def test_arrays_are_made_again_without_asking_the_kernel() -> None:
    # 6 MB are 1465 pages of 4 KiB: without it each of the 50 arrays may cost that many faults.
    assert faults("keep") < 1500
