"""Where each pixel looks: what turns a picture into distances.

How far away something is, is told by where it stands on the ground, and that by the camera's lens,
height and tilt. The camera encoder is given these as images, so that one set of weights serves any
camera and any mounting.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros.perception.grid import STRIDE
from mm_fusion_ros.samples import Float

RAY_CHANNELS = 4
"""Log-depth of flat ground, elevation, log focal length, height of the camera."""
NEAREST_M, FARTHEST_M = 1.0, 80.0
STEEPEST = 2.0


def ray_planes(
    intrinsics: Float, base_from_camera: Float, image_size: tuple[int, int]
) -> NDArray[np.float32]:
    """What the camera's geometry alone says of each cell of its image features.

    Args:
        intrinsics: (3, 3) K of the prepared image [pixels], pixel centres at integers.
        base_from_camera: (4, 4), at the image's own stamp; the ground is where z of base_link is 0.
        image_size: width, height of the prepared image [pixels].

    Returns:
        (RAY_CHANNELS, height / STRIDE, width / STRIDE) float32, each of about unit size: natural
        log of the depth [m] at which the ray meets flat ground (`FARTHEST_M` where it does not),
        rise over run of the ray, log of the focal length in image widths, camera height [m].
    """
    width, height = image_size
    u = (np.arange(width // STRIDE) + 0.5) * STRIDE - 0.5
    v = (np.arange(height // STRIDE) + 0.5) * STRIDE - 0.5
    pixels = np.stack([*np.meshgrid(u, v), np.ones((len(v), len(u)))], axis=-1)
    # One metre deep each, so that a ray's length is its depth.
    rays = pixels @ np.linalg.inv(intrinsics).T @ base_from_camera[:3, :3].T
    camera_m = float(base_from_camera[2, 3])
    fall = np.maximum(-rays[..., 2], 1e-6)
    ground = np.log(np.clip(max(camera_m, 0.0) / fall, NEAREST_M, FARTHEST_M))
    rise = rays[..., 2] / np.maximum(np.hypot(rays[..., 0], rays[..., 1]), 1e-6)
    planes = np.empty((RAY_CHANNELS, *ground.shape), np.float32)
    planes[0] = ground - 2.5
    planes[1] = np.clip(rise, -STEEPEST, STEEPEST) * 2.0
    planes[2] = np.log(intrinsics[0, 0] / width) * 2.0
    planes[3] = camera_m - 1.0
    return planes
