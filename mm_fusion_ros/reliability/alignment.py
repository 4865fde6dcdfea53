"""Whether a camera and a lidar see the same world in the same place, and by how much they miss it.

Where the lidar's depth jumps, something ends, and an image usually shows an edge there. So the
jumps, projected into the image, lie on edges, and would not if they were shifted: unless the
mounting that projects them is wrong, or the image is late (after Levinson and Thrun, "Automatic
Online Calibration of Cameras and Lasers", 2013). Then the shift that puts them on edges tells how
the camera would have to be turned. That needs no network and no labels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mm_fusion_ros.geometry import apply, inverse, project, transform
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
USUAL_SHIFT = 8.0
"""Standard deviation of the shifts that are expected [pixels of the shrunk image]: a large one is
to have better reasons than a small one."""
AS_MOUNTED = (0.0, 0.0)
"""The turn of a camera that is left as it is."""
LEAST_EXCESS = 0.5
"""As mounted is good enough where no shift is better by this; one image in ten is noisier."""


@dataclass(frozen=True, eq=False)
class Agreement:
    """How well a camera and a lidar agree, as mounted and if the camera were turned a little.

    Attributes:
        mounted: standard deviations by which jumps lie on edges better, as mounted, than they do
            on average over all shifts within `REACH`; about 0 for a mounting that is nowhere near.
        shifted: (2 `REACH` + 1), how alike jumps and edges are for each shift, down and sideways,
            in standard deviations. Unlike `mounted` it does not matter how strong the edges are,
            only whether the jumps lie on them: which says better where they belong.
        step_rad: by how much a camera turns that shifts them by one, down and sideways.
    """

    mounted: float
    shifted: NDArray[np.float32] = field(
        default_factory=lambda: np.zeros((2 * REACH[0] + 1, 2 * REACH[1] + 1), np.float32)
    )
    step_rad: tuple[float, float] = (0.01, 0.01)

    def towards(self, newer: Agreement, step: float) -> Agreement:
        """The mean of several: this one, and a newer one that counts for so much."""
        return Agreement(
            self.mounted + step * (newer.mounted - self.mounted),
            self.shifted + np.float32(step) * (newer.shifted - self.shifted),
            newer.step_rad,
        )

    def best(self) -> tuple[float, tuple[float, float]]:
        """How well they agree at best, and how the camera would have to be turned for it.

        Returns:
            standard deviations, less what the shift is improbable for; angles by which the
            jumps then move down and right in the image [rad], `AS_MOUNTED` where that gains too
            little.
        """
        down, side = (np.arange(-reach, reach + 1) for reach in REACH)
        expected = (down[:, None] ** 2 + side**2) / (2.0 * USUAL_SHIFT**2)
        likely = self.shifted - expected
        row, column = np.unravel_index(int(likely.argmax()), likely.shape)
        best, mounted = float(likely[row, column]), float(likely[REACH])
        if best - mounted < LEAST_EXCESS:
            return mounted, AS_MOUNTED
        turn = float(down[row] * self.step_rad[0]), float(side[column] * self.step_rad[1])
        return best, turn


def turned(base_from_camera: Float, turn: tuple[float, float]) -> Float:
    """A mounting (4, 4) turned so that what it shows moves down and right by these angles [rad]."""
    down, right = turn
    rotation = Rotation.from_rotvec([down, -right, 0.0]).as_matrix()
    return base_from_camera @ transform(rotation, np.zeros(3))


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
) -> Agreement | None:
    """How much better jumps lie on edges than they would elsewhere.

    Args:
        image: (H, W, 3) uint8 RGB, a pinhole image.
        intrinsics: (3, 3) K of it [pixels].
        base_from_camera: (4, 4), camera to base_link at the points' instant.
        points: (N, 3) in base_link [m], in the order in which the lidar measured them.
        viewpoint: (3,) where the lidar is, in base_link [m].

    Returns:
        None where too little jumps, or the image has no edges.
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
    if float(scores.std()) < 1e-3:
        return None
    energy = cv2.matchTemplate(strength * strength, marks, cv2.TM_CCORR)
    return Agreement(
        float(_standardised(scores)[down, side]),
        _standardised(scores / np.sqrt(np.maximum(energy, 1e-6))),
        (SHRINK / float(intrinsics[1, 1]), SHRINK / float(intrinsics[0, 0])),
    )


def _standardised(scores: NDArray[Any]) -> NDArray[np.float32]:
    """Standard deviations above the mean."""
    result: NDArray[np.float32] = (scores - scores.mean()) / max(float(scores.std()), 1e-9)
    return result
