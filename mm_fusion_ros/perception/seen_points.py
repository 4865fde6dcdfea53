"""A camera's depth as points, for when no lidar gives any.

The camera encoder says how far away each pixel is, and how sure it is. That is coarser than a scan
by far, but it shows the floor that is free and what stands on it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros.geometry import apply
from mm_fusion_ros.perception.grid import STRIDE
from mm_fusion_ros.samples import Float

MAX_LOG_SCALE = float(np.log(0.15))
"""Depths that may be off by more than this part of themselves say nothing (Laplace scale)."""
MAX_RANGE_M = 15.0
"""Farther away the floor is seen so flat that its height follows from nothing."""


def seen_points(
    features: NDArray[np.float32],
    intrinsics: Float,
    base_from_camera: Float,
    valid: tuple[int, int, int, int],
) -> Float:
    """Points where the image shows surfaces.

    Args:
        features: (F + 2, h, w), from the camera encoder; the last two are the mean and the
            log-scale of log-depth.
        intrinsics: (3, 3) K of the prepared image [pixels], pixel centres at integers.
        base_from_camera: (4, 4), camera to base_link at the tick.
        valid: x0 y0 x1 y1, the part of the image that holds picture.

    Returns:
        (N, 3) in base_link [m]; only what is near and sure enough.
    """
    log_depth, log_scale = features[-2].astype(np.float64), features[-1]
    height, width = log_depth.shape
    u = (np.arange(width) + 0.5) * STRIDE - 0.5
    v = (np.arange(height) + 0.5) * STRIDE - 0.5
    x0, y0, x1, y1 = valid
    inside = ((v >= y0) & (v < y1))[:, None] & ((u >= x0) & (u < x1))[None, :]
    sure = inside & (log_scale < MAX_LOG_SCALE) & (log_depth < np.log(MAX_RANGE_M))
    row, column = np.nonzero(sure)
    pixels = np.column_stack([u[column], v[row], np.ones(len(row))])
    rays = pixels @ np.linalg.inv(intrinsics).T
    points = apply(base_from_camera, rays * np.exp(log_depth[row, column])[:, None])
    return points.astype(np.float64)
