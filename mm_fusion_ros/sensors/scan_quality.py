"""Figures that tell a good sweep from one that is thin, tilted, noisy, or full of ghosts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Enough points for coverage and roughness; a full scan's arc tangents would cost a millisecond.
FIGURE_POINTS = 16_384
AZIMUTH_BINS = 180
# Rise for each row of directions, as the tangent of the elevation; rows beyond hold nothing.
ROW_RISE = 0.035
ROWS = 80
# Points of one direction whose distances spread by more than this part of it are a rough one.
ROUGH = 0.15
# Neighbours along a ring are looked for at so many places of the sweep, this far apart in its
# order: 1 where it is kept ring by ring, and the number of beams where firing by firing.
RING_PLACES = 4096
RING_STEPS = (1, 16, 32, 64, 128)
# Sines of the greatest angle between neighbours, about a degree, and of that between their
# elevations: down a firing, from beam to beam, even flat ground is no straight line.
NEXT_SINE, RING_SINE = 0.0175, 0.003
LEAST_NEXT = 200
# A point so much nearer than both its neighbours hangs in the air [m].
STRAY_M = 0.5
# Standard deviation of a difference of second order over that of each of its three terms, and of a
# normal distribution over its median absolute deviation.
SECOND_DIFFERENCE, OF_MEDIAN = 6.0**0.5, 1.4826
# The ground is fitted to points within this reach, first to what lies so near z = 0, then nearer.
GROUND_REACH_M = 15.0
GROUND_BANDS_M = (0.6, 0.25, 0.12)
GROUND_POINTS, LEAST_GROUND = 4096, 150
# Condition number of the fit beyond which the ground was seen to one side only.
WORST_GROUND = 2000.0


def scan_quality(
    kept: NDArray[np.float32], distance: NDArray[np.float32], points: NDArray[np.float32]
) -> dict[str, float]:
    """What a sweep tells of its lidar; about two milliseconds.

    Args:
        kept: (N, 4) float32, x y z [m] in the lidar's frame as measured, intensity.
        distance: (N,) float32, of each from the lidar [m].
        points: (N, 4) float32, the same in base_link.

    Returns:
        `points` N; `coverage` fraction of azimuth bins of 2 degrees that hold a point; `mean_range`
        [m]; `rough_fraction` of the directions in which distances spread widely, as at edges, or
        where points hang in the air. Where the order tells neighbours, `range_noise` standard
        deviation of a single distance [m], and `stray_fraction` of the points that are much nearer
        than both neighbours, as drops and dust are. `tilt` of the ground against base_link [rad],
        where enough of it is seen.
    """
    count = len(kept)
    quality = {
        "points": float(count),
        "coverage": 0.0,
        "mean_range": float(distance.mean()) if count else 0.0,
    }
    if not count:
        return quality
    step = max(1, count // FIGURE_POINTS)
    quality |= _directions(kept[::step], distance[::step])
    quality |= _along_rings(kept, distance)
    tilt = ground_tilt(points)
    return quality if tilt is None else quality | {"tilt": tilt}


def _directions(points: NDArray[np.float32], distance: NDArray[np.float32]) -> dict[str, float]:
    """Coverage and roughness, of points (n, 4) at distances (n,)."""
    x, y, z = points[:, 0], points[:, 1], points[:, 2]
    turn = (np.arctan2(y, x) + np.float32(np.pi)) * np.float32(0.5 / np.pi)
    column = np.minimum((turn * AZIMUTH_BINS).astype(np.intp), AZIMUTH_BINS - 1)
    rise = z / np.sqrt(np.maximum(x * x + y * y, np.float32(1e-6)))
    row = np.clip((rise * np.float32(1.0 / ROW_RISE)).astype(np.intp) + ROWS // 2, 0, ROWS - 1)
    place = column * ROWS + row
    count = np.bincount(place, minlength=AZIMUTH_BINS * ROWS)
    total = np.bincount(place, distance, AZIMUTH_BINS * ROWS)
    squares = np.bincount(place, distance * distance, AZIMUTH_BINS * ROWS)
    several = np.flatnonzero(count > 1)
    mean = total[several] / count[several]
    variance = squares[several] / count[several] - mean**2
    rough = variance > (ROUGH * mean) ** 2
    covered = count.reshape(AZIMUTH_BINS, ROWS).any(axis=1)
    return {
        "coverage": float(covered.mean()),
        "rough_fraction": float(rough.mean()) if len(rough) else 0.0,
    }


def _along_rings(points: NDArray[np.float32], distance: NDArray[np.float32]) -> dict[str, float]:
    """Noise and strays, of points (n, 4) at distances (n,); nothing where their order tells none.

    Of three neighbours on a surface the middle one is as far as the mean of the others, so that the
    median second difference of distances is noise.
    """
    best: NDArray[np.float32] = np.zeros((3, 0), np.float32)
    for apart in RING_STEPS:
        if len(points) <= 2 * apart:
            break
        each = max(1, (len(points) - 2 * apart) // RING_PLACES)
        three = [np.s_[k * apart : len(points) - (2 - k) * apart : each] for k in range(3)]
        left, middle, right = (points[part, :3] for part in three)
        away = np.stack([distance[part] for part in three])
        near = np.ones(len(middle), bool)
        height = middle[:, 2] / away[1]
        for side, its in ((left, away[0]), (right, away[2])):
            cosine = np.einsum("ij,ij->i", side, middle) / (its * away[1])
            near &= cosine > 1.0 - 0.5 * NEXT_SINE**2
            near &= np.abs(side[:, 2] / its - height) < RING_SINE
        if near.sum() > best.shape[1]:
            best = away[:, near]
        if near.mean() > 0.5:
            break
    if best.shape[1] < LEAST_NEXT:
        return {}
    left_m, middle_m, right_m = best
    second = np.abs(left_m - 2.0 * middle_m + right_m)
    stray = middle_m < np.minimum(left_m, right_m) - np.float32(STRAY_M)
    return {
        "range_noise": float(np.median(second)) * OF_MEDIAN / SECOND_DIFFERENCE,
        "stray_fraction": float(stray.mean()),
    }


def ground_tilt(points: NDArray[np.float32]) -> float | None:
    """How far the ground about the robot is tilted against base_link [rad].

    The ground is where z is about 0; a plane is fitted to what lies near it, and then again to what
    lies near that plane.

    Args:
        points: (N, 4), x y z [m] in base_link, intensity.

    Returns:
        the angle between the plane's normal and z; None where the ground is not seen all around.
    """
    some = points[:: max(1, len(points) // GROUND_POINTS), :3]
    near = some[(np.abs(some[:, :2]) < GROUND_REACH_M).all(axis=1)].astype(np.float64)
    plane = np.zeros(3)
    for band in GROUND_BANDS_M:
        away = near[:, 0] * plane[0] + near[:, 1] * plane[1] + plane[2]
        close = near[np.abs(near[:, 2] - away) < band]
        flat = np.column_stack([close[:, :2], np.ones(len(close))])
        spread = flat.T @ flat
        # Seen to one side only, or as one ring's sector, it may be tilted in any way.
        if len(close) < LEAST_GROUND or np.linalg.cond(spread) > WORST_GROUND:
            return None
        plane = np.linalg.solve(spread, flat.T @ close[:, 2])
    return float(np.arctan(np.hypot(plane[0], plane[1])))
