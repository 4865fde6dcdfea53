"""What a figure was measured on: a time without its machine says nothing."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Callable
from pathlib import Path

import numpy as np

PRODUCT, PRODUCTS = 512, 40
"""Edge of the matrices by which a machine's speed is told, and how often they are multiplied."""


def machine() -> dict[str, str]:
    """Processor, cores that this process may use, memory, system, Python and ONNX Runtime."""
    import onnxruntime

    return {
        "processor": processor_name(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
    }


def processor_name() -> str:
    """The processor's name as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def described(facts: dict[str, str]) -> str:
    """One line of `machine()`."""
    return (
        f"{facts['processor']}, {facts['cores']} cores, {facts['memory']}, {facts['system']}, "
        f"Python {facts['python']}, ONNX Runtime {facts['onnxruntime']}"
    )


def speed(clock_ns: Callable[[], int]) -> float:
    """How fast the machine is just now, all cores together [GFLOP/s].

    Shared machines vary by a factor of three from hour to hour: durations are comparable where this
    is alike. The median over products of two square float32 matrices.

    Args:
        clock_ns: steady time [ns].
    """
    matrix = np.random.default_rng(0).random((PRODUCT, PRODUCT), dtype=np.float32)
    durations = []
    for _ in range(PRODUCTS):
        began_ns = clock_ns()
        matrix @ matrix
        durations.append(clock_ns() - began_ns)
    return 2.0 * PRODUCT**3 / max(statistics.median(durations), 1.0)
