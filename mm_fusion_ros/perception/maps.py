"""The layout of the networks' output maps: which channels mean what.

Shared by the heads (torch), the losses and the decoder (numpy), so that none can drift.
All maps lie on the cells of `perception.grid`. Networks give them *packed*: on the grid of
features, with the fine cells within each feature cell side by side along the channel axis. Of most
maps only a few cells are ever read, so nobody has to spread them all out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros.outputs import CLASSES
from mm_fusion_ros.perception.grid import CELLS, FEATURE_CELLS

CLASS = slice(0, len(CLASSES))
"""Logits of "an object of this class has its centre here"."""
OFFSET = slice(CLASS.stop, CLASS.stop + 2)
"""From the cell's centre to the object's, x y [m]."""
HEIGHT = slice(OFFSET.stop, OFFSET.stop + 1)
"""z of the object's centre in base_link [m]."""
SIZE = slice(HEIGHT.stop, HEIGHT.stop + 3)
"""Natural log of length, width, height [m]."""
YAW = slice(SIZE.stop, SIZE.stop + 2)
"""Sine and cosine of twice the heading: a box turned by half a turn is the same box."""
LOG_VARIANCE = slice(YAW.stop, YAW.stop + 3)
"""Natural log of the variance of the centre [m^2]: along the ray, across it, and of z."""
LOG_VARIANCE_RANGE = (-7.0, 4.0)
"""What is said beyond this is taken for its end."""
UNSEEN = -12.0
"""Logit of every class where nobody looks."""
CHANNELS = LOG_VARIANCE.stop
FINER = CELLS // FEATURE_CELLS
"""Fine cells along an edge of a feature cell."""
PACKED = CHANNELS * FINER**2


def packed(channels: slice) -> slice:
    """Where these channels lie in packed maps."""
    return slice(channels.start * FINER**2, channels.stop * FINER**2)


def unseen() -> NDArray[np.float32]:
    """(PACKED, FEATURE_CELLS, FEATURE_CELLS), the maps of one who sees nothing."""
    result = np.zeros((PACKED, FEATURE_CELLS, FEATURE_CELLS), np.float32)
    result[packed(CLASS)] = UNSEEN
    return result


def spread(maps: NDArray[np.float32], channels: slice) -> NDArray[np.float32]:
    """Some channels of packed maps on the fine cells.

    Args:
        maps: (PACKED, FEATURE_CELLS, FEATURE_CELLS).
        channels: of the fine maps.

    Returns:
        (channels, CELLS, CELLS).
    """
    chosen = maps[packed(channels)].reshape(-1, FINER, FINER, FEATURE_CELLS, FEATURE_CELLS)
    return chosen.transpose(0, 3, 1, 4, 2).reshape(-1, CELLS, CELLS)


def columns(maps: NDArray[np.float32], cells: NDArray[np.int64]) -> NDArray[np.float32]:
    """(n, CHANNELS) all channels of some fine cells (n, 2) of packed maps (PACKED, h, w)."""
    coarse, within = np.divmod(cells, FINER)
    side_by_side = maps.reshape(CHANNELS, FINER**2, *maps.shape[1:])
    return side_by_side[:, within[:, 0] * FINER + within[:, 1], coarse[:, 0], coarse[:, 1]].T
