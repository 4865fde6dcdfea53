"""What to steer around: an occupancy grid from lidar returns.

Walls, kerbs and bushes are no object class, so they are taken from the points themselves: what
stands on the ground is occupied, what a ray crossed on its way is free, the rest is unknown. Nearer
than the first floor that a ray meets it passes over what is low: the grid says where.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros.config import ObstaclesConfig
from mm_fusion_ros.outputs import ObstacleGrid

_Scalar = TypeVar("_Scalar", bound=np.generic)

FREE, OCCUPIED, UNKNOWN = 0, 100, -1

# Returns are sorted into rays by azimuth and into steps by distance.
RAYS = 360
STEP_M = 0.25
# The ground is followed outwards on coarser ones: sectors of rays, rings of steps.
RAYS_PER_SECTOR = 5
STEPS_PER_RING = 4
SECTORS = RAYS // RAYS_PER_SECTOR
RING_M = STEP_M * STEPS_PER_RING
# Beyond what the slope allows: noise of the lowest return, and small steps.
GROUND_STEP_M = 0.1
# Behind something that hides the ground, the slope is allowed for no more than this, or roofs
# would be taken for a rise of the ground.
MAX_HIDDEN_M = 3.0
# The ground at the robot is where the near sectors see it, and never above base_link by more.
NEAR_M = 8.0
MAX_BASE_BELOW_GROUND_M = 0.2
# Returns lower than this under the ground come from a drop, or from reflections: no free floor.
DROP_M = 0.5

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.intp]
BoolArray = NDArray[np.bool_]


def obstacle_grid(
    points_base: NDArray[np.floating],
    config: ObstaclesConfig,
    sensor_xy: tuple[float, float] = (0.0, 0.0),
) -> ObstacleGrid:
    """The grid about the robot.

    A cell is occupied where at least `min_points` returns lie between `min_height_m` and
    `max_height_m` above the local ground; free where the floor was seen, or up to the nearest
    occupied cell in that direction (without one, up to the farthest floor seen); and the robot's
    own footprint is free. All else is unknown.

    Args:
        points_base: (N, 3 or more), x y z [m] in base_link, all finite.
        config: size and heights.
        sensor_xy: where the rays start, in base_link [m].

    Returns:
        The grid; its centre is base_link's origin.
    """
    across = max(1, round(config.size_m / config.resolution_m))
    half = across * config.resolution_m / 2.0
    ray_of_cell, range_of_cell = _cell_rays(across, config.resolution_m, sensor_xy)
    steps = STEPS_PER_RING * (int(range_of_cell.max() / RING_M) + 2)

    x, y, z = (np.array(points_base[:, axis], np.float32) for axis in range(3))
    # The robot's own returns are put where they are neither floor nor obstacle.
    own = np.abs(x) <= config.footprint_length_m / 2.0
    own &= np.abs(y) <= config.footprint_width_m / 2.0
    z[own] = np.inf
    distance, place = _polar_place(x, y, sensor_xy, steps)
    ray = place // steps

    height = z - _ground(place, z, steps, config.max_slope)[place]
    stands = (height > config.min_height_m) & (height < config.max_height_m)
    floor = (height <= config.min_height_m) & (height > -DROP_M)

    # One more cell all around takes the points outside.
    cell = _cell_index(x, y, across, config.resolution_m, half)
    standing = np.bincount(cell[stands], minlength=(across + 2) ** 2)
    seen = np.bincount(cell[floor], minlength=(across + 2) ** 2)
    occupied = standing >= config.min_points
    blocks = np.flatnonzero(stands)
    blocks = blocks[occupied[cell[blocks]]]

    first, clear = _clear_range(ray, distance, np.flatnonzero(floor), blocks)
    free = (range_of_cell + config.resolution_m < clear[ray_of_cell]).reshape(across, across)
    passed_over = (range_of_cell < first[ray_of_cell]).reshape(across, across)
    free |= _inside(seen, across) > 0
    # A single return is too little for an obstacle, and too much for a free cell.
    free &= _inside(standing, across) == 0

    cells = np.full((across, across), UNKNOWN, np.int8)
    cells[free] = FREE
    cells[_inside(occupied, across)] = OCCUPIED
    cells[_footprint(across, config)] = FREE
    doubtful = (_inside(standing, across) > 0) & (cells == UNKNOWN)
    passed_over[_footprint(across, config)] = False
    corner = np.array([-half, -half])
    return ObstacleGrid(cells, config.resolution_m, corner, doubtful, passed_over)


def _polar_place(
    x: FloatArray, y: FloatArray, sensor_xy: tuple[float, float], steps: int
) -> tuple[FloatArray, IntArray]:
    """Distance from the sensor [m] and place, ray * steps + step, of each of (N,) points."""
    ahead, left = x - np.float32(sensor_xy[0]), y - np.float32(sensor_xy[1])
    distance = np.sqrt(ahead * ahead + left * left)
    ray = np.arctan2(left, ahead)
    ray += np.float32(np.pi)
    ray *= np.float32(RAYS / (2.0 * np.pi))
    np.minimum(np.floor(ray, out=ray), np.float32(RAYS - 1), out=ray)
    step = np.minimum(distance * np.float32(1.0 / STEP_M), np.float32(steps - 1))
    # float32 counts exactly this far: 360 rays of at most 5,700 steps.
    ray *= np.float32(steps)
    ray += np.floor(step, out=step)
    return distance, ray.astype(np.intp)


def _ground(place: IntArray, z: FloatArray, steps: int, max_slope: float) -> FloatArray:
    """Height of the ground at each polar place [m], (RAYS * steps,) float32.

    In each sector the lowest return of each ring is ground if the slope from the last ground
    allows it; else the last ground goes on. Steps up are obstacles, steps down are drops, and a
    stray low return (a reflection in a puddle) changes nothing.
    """
    rings = steps // STEPS_PER_RING
    lowest_at = np.full(RAYS * steps, np.inf, np.float32)
    np.minimum.at(lowest_at, place, z)
    # Ray by ray first: reducing both axes at once is four times slower.
    lowest = lowest_at.reshape(SECTORS, RAYS_PER_SECTOR, steps).min(axis=1)
    lowest = lowest.reshape(SECTORS, rings, STEPS_PER_RING).min(axis=2)

    ground = np.empty((SECTORS, rings), np.float32)
    last = np.full(SECTORS, _ground_at_robot(lowest), np.float32)
    hidden = np.zeros(SECTORS, np.float32)
    for ring in range(rings):
        hidden = np.minimum(hidden + RING_M, MAX_HIDDEN_M)
        believed = np.abs(lowest[:, ring] - last) <= GROUND_STEP_M + max_slope * hidden
        last = np.where(believed, lowest[:, ring], last)
        hidden = np.where(believed, 0.0, hidden)
        ground[:, ring] = last
    # The median of three neighbours: one sector that climbed onto something is put right.
    before, after = np.roll(ground, 1, axis=0), np.roll(ground, -1, axis=0)
    ground = np.clip(ground, np.minimum(before, after), np.maximum(before, after))

    # Linear between the rings' middles, so that a slope is no staircase.
    along = np.clip((np.arange(steps) + 0.5) / STEPS_PER_RING - 0.5, 0.0, rings - 1.0)
    inner = np.minimum(along.astype(np.intp), rings - 2)
    fraction = (along - inner).astype(np.float32)
    fine = ground[:, inner] * (1.0 - fraction) + ground[:, inner + 1] * fraction
    return np.repeat(fine, RAYS_PER_SECTOR, axis=0).ravel()


def _ground_at_robot(lowest: FloatArray) -> float:
    near = lowest[:, : int(NEAR_M / RING_M)]
    first = near[np.arange(SECTORS), np.isfinite(near).argmax(axis=1)]
    first = first[np.isfinite(first)]
    # Too few sectors to tell the floor from what stands on it.
    if first.size < SECTORS // 8:
        return 0.0
    return min(float(np.median(first)), MAX_BASE_BELOW_GROUND_M)


def _clear_range(
    ray: IntArray, distance: FloatArray, floor: IntArray, blocks: IntArray
) -> tuple[FloatArray, FloatArray]:
    """From where and how far each ray is clear [m], (RAYS,) float32.

    `floor` and `blocks` index the points.
    """
    first, nearest = np.full((2, RAYS), np.inf, np.float32)
    np.minimum.at(first, ray[floor], distance[floor])
    np.minimum.at(nearest, ray[blocks], distance[blocks])
    farthest = np.zeros(RAYS, np.float32)
    np.maximum.at(farthest, ray[floor], distance[floor])
    return first, np.where(np.isfinite(nearest), nearest, farthest)


def _cell_index(
    x: FloatArray, y: FloatArray, across: int, resolution: float, half: float
) -> IntArray:
    """Flat cell of each of (N,) points, in the grid with one more cell all around."""
    edge, last = np.float32(half + resolution), np.float32(across + 1)
    inverse = np.float32(1.0 / resolution)
    column, row = (x + edge) * inverse, (y + edge) * inverse
    for index in (column, row):
        np.clip(np.floor(index, out=index), np.float32(0.0), last, out=index)
    # float32 counts exactly to 2^24; `config` keeps grids to 2,000 cells across.
    row *= np.float32(across + 2)
    row += column
    return row.astype(np.intp)


def _inside(flat: NDArray[_Scalar], across: int) -> NDArray[_Scalar]:
    return flat.reshape(across + 2, across + 2)[1:-1, 1:-1]


@lru_cache(maxsize=8)
def _cell_rays(
    across: int, resolution: float, sensor_xy: tuple[float, float]
) -> tuple[IntArray, FloatArray]:
    """Ray, and range [m] from the sensor, of each cell's centre, flat, row = y."""
    centres = _centres(across, resolution)
    ahead, left = np.meshgrid(centres - sensor_xy[0], centres - sensor_xy[1])
    ray = (np.arctan2(left, ahead) + np.pi) * (RAYS / (2.0 * np.pi))
    ranges = np.hypot(ahead, left).ravel().astype(np.float32)
    return np.minimum(ray, RAYS - 1).astype(np.intp).ravel(), ranges


def _centres(across: int, resolution: float) -> NDArray[np.float64]:
    return (np.arange(across, dtype=np.float64) + 0.5 - across / 2.0) * resolution


def _footprint(across: int, config: ObstaclesConfig) -> tuple[NDArray[np.intp], ...]:
    """Index of the cells whose centres lie in the robot's footprint."""
    centres = np.abs(_centres(across, config.resolution_m))
    rows = np.flatnonzero(centres <= config.footprint_width_m / 2.0)
    columns = np.flatnonzero(centres <= config.footprint_length_m / 2.0)
    return np.ix_(rows, columns)
