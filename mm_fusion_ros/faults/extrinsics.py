"""Mountings that are not where the transforms say."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from mm_fusion_ros.geometry import transform
from mm_fusion_ros.samples import Float


def turned(angle_rad: float, rng: np.random.Generator) -> Float:
    """A (4, 4) rotation by this angle about an axis of any direction."""
    axis = rng.standard_normal(3)
    axis /= np.linalg.norm(axis)
    return transform(Rotation.from_rotvec(angle_rad * axis).as_matrix(), np.zeros(3))
