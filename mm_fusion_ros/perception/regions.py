"""Where a found object is in an image, and that piece of the image at one size."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros.geometry import apply, box_corners, inverse, project
from mm_fusion_ros.samples import Float

CROP = 32
"""Edge of a crop [pixels]."""
ABOUT = 5
"""What is said beside a crop: the image's mean log-colour, log of its edge in pixels and metres."""
MARGIN = 1.3
"""A crop is wider than its object by this factor: surroundings tell, and boxes err."""
SMALLEST_PX = 8.0
LARGEST_PX = 1024.0
SAME = 0.4
"""Two pieces of which this part is common (intersection over union) show the same."""
NEAREST_M = 0.5
"""Objects of which a corner is nearer to the camera than this are not looked at."""
LEVELS = 5
"""Sizes of the image, each half the one before, from which crops are taken: so that none is shrunk
by more than two."""
LIGHT_PX = 96
"""The light of an image is judged on a copy about so wide."""


@dataclass(frozen=True, eq=False)
class Regions:
    """Pieces of one image.

    Attributes:
        crops: (k, CROP, CROP, 3) uint8 RGB; black beyond the image.
        about: (k, ABOUT) float32.
        rows: (k,) int64, which of the boxes each shows; boxes out of view have none.
        claimed: (k,) whether a box before it in the list has nearly the same piece.
    """

    crops: NDArray[np.uint8]
    about: NDArray[np.float32]
    rows: NDArray[np.int64]
    claimed: NDArray[np.bool_]


def squares(
    boxes: Float,
    intrinsics: Float,
    base_from_camera: Float,
    valid: tuple[int, int, int, int],
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The square of the image around each box.

    Args:
        boxes: (k, 7), centre x y z, length width height [m], yaw [rad], in base_link.
        intrinsics: (3, 3) K of the image [pixels], pixel centres at integers.
        base_from_camera: (4, 4).
        valid: x0 y0 x1 y1, the part of the image that holds picture.

    Returns:
        (k, 4) middle u v, edge [pixels], edge at the object's depth [m]; (k,) whether the middle
        is in view.
    """
    if not len(boxes):
        return np.zeros((0, 4)), np.zeros(0, bool)
    corners = box_corners(boxes[:, :3], boxes[:, 3:6], boxes[:, 6])
    points = apply(inverse(base_from_camera), corners.reshape(-1, 3))
    pixels, depth = project(points, intrinsics)
    pixels, depth = pixels.reshape(-1, 8, 2), depth.reshape(-1, 8)
    low, high = pixels.min(axis=1), pixels.max(axis=1)
    middle = (low + high) / 2.0
    edge = np.clip(MARGIN * (high - low).max(axis=1), SMALLEST_PX, LARGEST_PX)
    away = np.maximum(depth.mean(axis=1), NEAREST_M)
    x0, y0, x1, y1 = valid
    seen = (depth.min(axis=1) > NEAREST_M) & (middle >= (x0, y0)).all(axis=1)
    seen &= (middle < (x1, y1)).all(axis=1)
    return np.column_stack([middle, edge, edge * away / intrinsics[0, 0]]), seen


def claimed(pieces: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(k,) which squares (k, 3 and more) of middle u v and edge are nearly one before them."""
    low, high = (pieces[:, :2] + sign * pieces[:, 2:3] / 2.0 for sign in (-1.0, 1.0))
    sides = np.minimum(high[:, None], high) - np.maximum(low[:, None], low)
    common = np.maximum(sides, 0.0).prod(axis=2)
    area = pieces[:, 2] ** 2
    same = common > SAME * (area[:, None] + area - common)
    result: NDArray[np.bool_] = np.tril(same, -1).any(axis=1)
    return result


def cut(
    image: NDArray[np.uint8],
    intrinsics: Float,
    base_from_camera: Float,
    valid: tuple[int, int, int, int],
    boxes: Float,
) -> Regions:
    """The pieces of an image that show these boxes; arguments as for `squares`.

    Args:
        image: (H, W, 3) uint8 RGB.
    """
    if not len(boxes):
        return Regions(
            np.zeros((0, CROP, CROP, 3), np.uint8), np.zeros((0, ABOUT), np.float32),
            np.zeros(0, np.int64), np.zeros(0, bool),
        )  # fmt: skip
    found, seen = squares(boxes, intrinsics, base_from_camera, valid)
    rows = np.flatnonzero(seen)
    levels = [image]
    while len(levels) < LEVELS and min(levels[-1].shape[:2]) >= 2 * CROP:
        size = (levels[-1].shape[1] // 2, levels[-1].shape[0] // 2)
        levels.append(np.asarray(cv2.resize(levels[-1], size, interpolation=cv2.INTER_AREA)))
    # The mean of logarithms, of a small copy: it is the light that is asked for, not the detail.
    small = min(range(len(levels)), key=lambda i: abs(levels[i].shape[1] - LIGHT_PX))
    low, high = [v >> small for v in valid[:2]], [max(v >> small, 1) for v in valid[2:]]
    picture = levels[small][low[1] : high[1], low[0] : high[0]]
    light = np.log(picture.reshape(-1, 3).astype(np.float32) + 8.0).mean(axis=0) - 4.0

    crops = np.zeros((len(rows), CROP, CROP, 3), np.uint8)
    about = np.empty((len(rows), ABOUT), np.float32)
    about[:, :3] = light
    about[:, 3] = np.log(found[rows, 2] / CROP)
    about[:, 4] = np.log(found[rows, 3])
    # A loop over objects, of which there are at most a few dozen.
    for crop, (u, v, edge, _) in zip(crops, found[rows], strict=True):
        level = int(np.clip(np.floor(np.log2(edge / CROP)), 0, len(levels) - 1))
        cv2.warpAffine(
            levels[level], _crop_to_image(u, v, edge, 2**level), (CROP, CROP), dst=crop,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_CONSTANT,
        )  # fmt: skip
    return Regions(crops, about, rows, claimed(found[rows]))


def _crop_to_image(u: float, v: float, edge: float, halved: int) -> NDArray[np.float64]:
    """(2, 3), pixels of the crop to those of an image that was made smaller by `halved`."""
    step = edge / CROP / halved
    first = np.array([u, v]) + 0.5 - edge / 2.0  # the crop's corner; pixel centres lie at halves
    corner = first / halved - 0.5 + step / 2.0
    return np.array([[step, 0.0, corner[0]], [0.0, step, corner[1]]])
