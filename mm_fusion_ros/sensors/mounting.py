"""Transforms from outside: rigid, or refused."""

from __future__ import annotations

import numpy as np

from mm_fusion_ros.samples import Float
from mm_fusion_ros.sensors.rejection import Rejected

# Far above what float32 quaternions lose, far below any deliberate scale or shear.
ROTATION_TOLERANCE = 1e-3


def check_rigid(matrix: Float, what: str) -> None:
    """Refuses what is not a rotation and a translation.

    Args:
        matrix: (4, 4) float64.
        what: name for the message.

    Raises:
        Rejected: ("nan") not finite; ("transform") wrong shape, or no rotation inside.
    """
    if matrix.shape != (4, 4):
        raise Rejected("transform", f"{what} has shape {matrix.shape}; expected (4, 4)")
    if not np.isfinite(matrix).all():
        raise Rejected("nan", f"{what} is not finite: the sender's pose is broken")
    rotation = matrix[:3, :3]
    error = float(np.abs(rotation.T @ rotation - np.eye(3)).max())
    if (
        error > ROTATION_TOLERANCE
        or np.linalg.det(rotation) < 0.0
        or not np.array_equal(matrix[3], (0.0, 0.0, 0.0, 1.0))
    ):
        raise Rejected(
            "transform",
            f"{what} is not rigid (rotation off by {error:.3g}); expected a right-handed rotation, "
            "a translation and the last row 0 0 0 1",
        )
