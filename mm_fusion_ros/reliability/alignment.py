"""Whether a camera and a lidar see the same world in the same place.

Where the lidar's depth jumps, something ends, and an image usually shows an edge there. So the
jumps, projected into the image, lie on edges, and would not if they were shifted: unless the
mounting that projects them is wrong (after Levinson and Thrun, "Automatic Online Calibration of
Cameras and Lasers", 2013). That needs no network and no labels.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros.geometry import apply, inverse, project
from mm_fusion_ros.samples import Float

SHRINK = 2
"""The image is looked at in this part of its resolution."""
REACH = (12, 20)
"""Farthest shifts down and sideways that are compared [pixels of the shrunk image]."""
ADJACENT_RAD = 0.02
"""Farther apart, two points after one another in a scan are no neighbours."""
LEAST_JUMP_M, JUMP = 0.4, 0.15
"""A jump is as deep as this, and as this part of the nearer depth."""
LEAST_JUMPS = 15
"""Fewer tell nothing."""
NEAREST_M = 0.8
BLUR_PX = 0.6


def jumps(points: NDArray[np.floating]) -> NDArray[np.bool_]:
    """(N,) which points are the nearer ones of a jump in depth.

    Args:
        points: (N, 3) in the lidar's order [m]; the viewpoint is near the origin.
    """
    edge = np.zeros(len(points), bool)
    if len(points) < 2:
        return edge
    across = np.ascontiguousarray(points.T)
    distance = np.maximum(np.sqrt((across * across).sum(axis=0)), 1e-6)
    deeper = np.diff(distance)
    least = np.maximum(LEAST_JUMP_M, JUMP * np.minimum(distance[1:], distance[:-1]))
    # Of the few that are deep enough, those whose points are neighbours.
    found = np.flatnonzero(np.abs(deeper) > least)
    cosine = (across[:, found] * across[:, found + 1]).sum(axis=0)
    found = found[cosine > np.cos(ADJACENT_RAD) * distance[found] * distance[found + 1]]
    edge[found + (deeper[found] < 0)] = True
    return edge


def edges(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(H / SHRINK, W / SHRINK) how much of an edge is near each pixel; each row's mean is 0.

    The rows are levelled because jumps and edges both gather about the horizon, wherever it is.
    """
    height, width = image.shape[0] // SHRINK, image.shape[1] // SHRINK
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
    strength = cv2.magnitude(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    # A root, so that one hard shadow does not outweigh all that stands in the scene.
    strength = cv2.GaussianBlur(np.sqrt(strength), (0, 0), BLUR_PX)
    result: NDArray[np.float32] = strength - strength.mean(axis=1, keepdims=True)
    return result


def alignment(
    image: NDArray[np.uint8],
    intrinsics: Float,
    base_from_camera: Float,
    points: NDArray[np.floating],
    viewpoint: Float,
) -> float | None:
    """How much better jumps lie on edges than they would elsewhere.

    Args:
        image: (H, W, 3) uint8 RGB, a pinhole image.
        intrinsics: (3, 3) K of it [pixels].
        base_from_camera: (4, 4), camera to base_link at the points' instant.
        points: (N, 3) in base_link [m], in the order in which the lidar measured them.
        viewpoint: (3,) where the lidar is, in base_link [m].

    Returns:
        standard deviations by which the score as mounted exceeds the mean over all shifts within
        `REACH`; about 0 for a mounting that is nowhere near. None where too little jumps, or the
        image has no edges.
    """
    near = points[jumps(points - viewpoint.astype(points.dtype))]
    pixels, depth = project(apply(inverse(base_from_camera), near), intrinsics)
    pixels = pixels[depth > NEAREST_M]
    strength = edges(image)
    height, width = strength.shape
    if height <= 2 * REACH[0] or width <= 2 * REACH[1]:
        return None
    place = np.floor((pixels + 0.5) / SHRINK).astype(np.int64)
    down, side = REACH
    inside = (place >= (side, down)).all(axis=1)
    inside &= (place < (width - side, height - down)).all(axis=1)
    place = place[inside]
    if len(place) < LEAST_JUMPS:
        return None
    marks = np.zeros((height - 2 * down, width - 2 * side), np.float32)
    marks[place[:, 1] - down, place[:, 0] - side] = 1.0
    scores = cv2.matchTemplate(strength, marks, cv2.TM_CCORR)
    spread = float(scores.std())
    if spread < 1e-3:
        return None
    return float((scores[down, side] - scores.mean()) / spread)
