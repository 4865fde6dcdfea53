"""Keeps freed memory in the process instead of giving it back to the kernel at once.

Networks, rasters and images are arrays of megabytes that are made and freed at every step. By its
defaults the C library returns such memory to the kernel and asks for it again, and the kernel
clears each page anew: measured on two cores, that was half of all processor time in training and
a good part of it in the node.
"""

from __future__ import annotations

import ctypes
import sys

# From malloc.h; their values are part of the ABI.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
LARGEST_FROM_HEAP = 32 << 20
"""The most that the C library accepts on 64 bits; larger arrays are mapped, as ever [bytes]."""


def keep_freed_memory(keep_bytes: int = 1 << 30) -> bool:
    """Lets the C library keep up to so much freed memory [bytes]; to be called at the start.

    Returns:
        whether the C library took it; False where it is another than glibc, which does no harm.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    wanted = {
        _M_TRIM_THRESHOLD: min(keep_bytes, 2**31 - 1),
        _M_TOP_PAD: min(keep_bytes // 16, 64 << 20),
        _M_MMAP_THRESHOLD: LARGEST_FROM_HEAP,
    }
    return all(mallopt(option, value) == 1 for option, value in wanted.items())
