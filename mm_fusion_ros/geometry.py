"""Rigid transforms named `target_from_source`, the pinhole camera, and the local ENU plane.

A chain reads `a_from_c = a_from_b @ b_from_c`. All matrices are float64.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mm_fusion_ros.samples import Float


def transform(rotation: Float, translation: Float) -> Float:
    """A (4, 4) transform from a (3, 3) rotation and a (3,) translation [m]."""
    result = np.eye(4)
    result[:3, :3] = rotation
    result[:3, 3] = translation
    return result


def planar(x: float, y: float, yaw: float) -> Float:
    """A (4, 4) transform in the ground plane: x, y [m], yaw about z [rad]."""
    cosine, sine = np.cos(yaw), np.sin(yaw)
    result = np.eye(4)
    result[:2, :2] = [[cosine, -sine], [sine, cosine]]
    result[:2, 3] = [x, y]
    return result


def from_euler(translation: Float, roll: float, pitch: float, yaw: float) -> Float:
    """A (4, 4) transform from (3,) metres and fixed-axis roll, pitch, yaw [rad] (REP-103)."""
    return transform(Rotation.from_euler("xyz", [roll, pitch, yaw]).as_matrix(), translation)


def from_quaternion(translation: Float, quaternion: Float) -> Float:
    """A (4, 4) transform from (3,) metres and a (4,) quaternion x y z w.

    Raises:
        ValueError: the quaternion's norm is zero or not finite.
    """
    norm = float(np.linalg.norm(quaternion))
    if not np.isfinite(norm) or norm < 1e-9:
        raise ValueError(f"quaternion {quaternion} has norm {norm}; expected a unit quaternion")
    return transform(Rotation.from_quat(np.asarray(quaternion) / norm).as_matrix(), translation)


def quaternion_of(matrix: Float) -> Float:
    """The (4,) quaternion x y z w of a (4, 4) transform."""
    return np.asarray(Rotation.from_matrix(matrix[:3, :3]).as_quat(), dtype=np.float64)


def inverse(matrix: Float) -> Float:
    """The inverse of a rigid (4, 4) transform: b_from_a of a_from_b."""
    rotation = matrix[:3, :3].T
    result = np.eye(4)
    result[:3, :3] = rotation
    result[:3, 3] = -rotation @ matrix[:3, 3]
    return result


def apply(matrix: Float, points: NDArray[np.floating]) -> NDArray[np.floating]:
    """Points (N, 3) [m] of the source frame in the target frame; keeps the dtype of `points`."""
    rotation = matrix[:3, :3].astype(points.dtype)
    return points @ rotation.T + matrix[:3, 3].astype(points.dtype)


def yaw_of(matrix: Float) -> float:
    """Heading about z of a (4, 4) transform [rad], in (-pi, pi]."""
    return float(np.arctan2(matrix[1, 0], matrix[0, 0]))


def wrap_angle(angle: float) -> float:
    """The same angle in (-pi, pi] [rad]."""
    wrapped = (angle + np.pi) % (2.0 * np.pi) - np.pi
    return float(np.pi if wrapped == -np.pi else wrapped)


def interpolate(first: Float, second: Float, fraction: float) -> Float:
    """The pose `fraction` of the way from `first` to `second`; beyond 0..1 it extrapolates.

    Translation is linear and rotation runs along the geodesic.
    """
    relative = Rotation.from_matrix(first[:3, :3].T @ second[:3, :3]).as_rotvec()
    rotation = first[:3, :3] @ Rotation.from_rotvec(relative * fraction).as_matrix()
    return transform(rotation, first[:3, 3] + fraction * (second[:3, 3] - first[:3, 3]))


def project(
    points: NDArray[np.floating], intrinsics: Float
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Pinhole projection.

    Args:
        points: (N, 3), camera optical frame [m].
        intrinsics: (3, 3) K [pixels].

    Returns:
        pixels: (N, 2), u v; meaningless where depth is not positive.
        depth: (N,), z [m].
    """
    depth = points[:, 2]
    safe = np.where(np.abs(depth) < 1e-6, 1e-6, depth)
    u = intrinsics[0, 0] * points[:, 0] / safe + intrinsics[0, 2]
    v = intrinsics[1, 1] * points[:, 1] / safe + intrinsics[1, 2]
    return np.stack([u, v], axis=1).astype(points.dtype), depth


_CORNERS = 0.5 * np.array(
    [[x, y, z] for z in (-1, 1) for x, y in ((1, 1), (-1, 1), (-1, -1), (1, -1))], np.float64
)


def box_corners(centre: Float, size: Float, yaw: float | Float) -> Float:
    """The corners of upright boxes; the first four are the bottom, in a ring.

    Args:
        centre, size: (..., 3) [m].
        yaw: (...) of the length about z [rad].

    Returns:
        (..., 8, 3) [m].
    """
    along = _CORNERS * np.asarray(size)[..., None, :]
    cosine, sine = np.cos(yaw)[..., None], np.sin(yaw)[..., None]
    x = cosine * along[..., 0] - sine * along[..., 1]
    y = sine * along[..., 0] + cosine * along[..., 1]
    corners: Float = np.stack([x, y, along[..., 2]], axis=-1) + np.asarray(centre)[..., None, :]
    return corners
