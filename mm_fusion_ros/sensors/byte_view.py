"""A message's bytes, looked at without copying them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros.sensors.rejection import Rejected


def byte_view(data: Any) -> NDArray[np.uint8]:
    """The bytes of a message as a flat array that shares their memory and cannot be written to.

    Args:
        data: anything with the buffer protocol: bytes, `array.array`, memoryview, numpy array.

    Returns:
        (N,) uint8, read-only.

    Raises:
        Rejected: ("field") `data` is no contiguous buffer.
    """
    try:
        # An empty buffer is an empty message, which is for the caller to judge.
        view = np.frombuffer(data, dtype=np.uint8)
    except (TypeError, ValueError, BufferError) as error:
        raise Rejected(
            "field",
            f"data is a {type(data).__name__} that cannot be viewed as bytes ({error}); expected "
            "a contiguous buffer such as bytes, array.array('B') or a uint8 array",
        ) from error
    if view.flags.writeable:
        view.flags.writeable = False
    return view
