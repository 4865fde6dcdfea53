"""An object's colour, read from the images where the object stands.

On the grid a cell is wider than a ball, and what a camera knows best is blurred there. Once fusion
has said where an object is, its colour is looked up in the picture itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros.geometry import apply, inverse, project
from mm_fusion_ros.outputs import COLOURS
from mm_fusion_ros.samples import Float

SAMPLES = (-0.25, 0.0, 0.25)
"""Heights at which an object is looked at: fractions of its own height above its centre."""
OCCLUDED = 0.7
"""Where the image is nearer than the object by this much in log-depth, something hides it."""


def read_colours(
    colours: NDArray[np.float32],
    log_depth: NDArray[np.float32],
    intrinsics: Float,
    base_from_camera: Float,
    valid: tuple[int, int, int, int],
    stride: int,
    centres: Sequence[Float],
    heights: Sequence[float],
) -> NDArray[np.float32]:
    """What one camera says of the colours of objects.

    Args:
        colours: (len(COLOURS), h, w), log-probabilities, from the camera encoder.
        log_depth: (h, w), natural log of metres.
        intrinsics: (3, 3) K of the prepared image [pixels].
        base_from_camera: (4, 4), camera to base_link at the tick.
        valid: x0 y0 x1 y1, the part of the image that holds picture.
        stride: image pixels for each cell of `colours`.
        centres: (3,) each, in base_link at the tick [m].
        heights: of the objects [m].

    Returns:
        (k, len(COLOURS)) mean log-probabilities; a row of zeros, which says nothing, where the
        camera does not see the object.
    """
    result = np.zeros((len(centres), len(COLOURS)), np.float32)
    if not centres:
        return result
    up = np.array(SAMPLES)
    points = np.repeat(np.array(centres, np.float64), len(up), axis=0)
    points[:, 2] += np.outer(np.asarray(heights), up).ravel()
    pixels, depth = project(apply(inverse(base_from_camera), points), intrinsics)
    x0, y0, x1, y1 = valid
    seen = (depth > 0.3) & (pixels[:, 0] >= x0) & (pixels[:, 0] < x1)
    seen &= (pixels[:, 1] >= y0) & (pixels[:, 1] < y1)
    height, width = log_depth.shape
    cells = np.clip(np.floor((pixels + 0.5) / stride), -1e6, 1e6).astype(np.int64)
    column, row = np.clip(cells[:, 0], 0, width - 1), np.clip(cells[:, 1], 0, height - 1)
    seen &= np.log(np.maximum(depth, 0.3)) - log_depth[row, column] < OCCLUDED
    said = np.where(seen[:, None], colours[:, row, column].T, 0.0)
    said = said.reshape(len(centres), len(up), len(COLOURS)).sum(axis=1)
    count = seen.reshape(len(centres), len(up)).sum(axis=1, keepdims=True)
    result[:] = said / np.maximum(count, 1)
    return result
