"""What stood near the robot stands there still, though no ray reaches it any more.

A lidar on a mast looks over what is low and near: a ball a metre ahead is under its lowest beam.
So around the robot it is kept, in the odometry frame, what each cell last was, and a grid is filled
with it where a sweep sees nothing. What a sweep does see is always believed at once. Of what moves
nothing is remembered: it is tall enough to be seen, and would leave a wall behind.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros.config import ObstaclesConfig
from mm_fusion_ros.geometry import planar, yaw_of
from mm_fusion_ros.outputs import FusedObject, ObstacleGrid
from mm_fusion_ros.perception.obstacles import FREE, OCCUPIED, UNKNOWN
from mm_fusion_ros.samples import Float

REACH_M = 5.0
"""Remembered this far around the robot; what is farther, it will see again before it is there."""
MOST_CELLS = 80
"""In each direction: a fine grid is remembered less far."""
MARGIN_M = 0.3
"""Around the box of what moves, nothing is remembered."""
NEVER = np.iinfo(np.int64).min // 2


class ObstacleMemory:
    """Grids of earlier ticks, for what the newest does not see.

    A cell of the odometry frame has its place in a square array that repeats, so that nothing has
    to be moved while the robot drives.
    """

    def __init__(self, config: ObstaclesConfig) -> None:
        """An empty one for grids of this resolution."""
        self._resolution_m = config.resolution_m
        self._keep_ns = round(config.remember_s * 1e9)
        self._reach = min(math.ceil(REACH_M / config.resolution_m), MOST_CELLS)
        # No two cells that are in reach at once have one place.
        self._across = 2 * (math.ceil(self._reach * math.sqrt(2.0)) + 1)
        steps = np.arange(-self._reach, self._reach + 1)
        self._around = np.stack(np.meshgrid(steps, steps)).reshape(2, -1)
        self.reset()

    def reset(self) -> None:
        """Forgets everything."""
        shape = (self._across, self._across)
        self._value = np.full(shape, UNKNOWN, np.int8)
        self._written_ns = np.full(shape, NEVER, np.int64)
        self._cell = np.zeros((*shape, 2), np.int64)

    def complete(
        self, grid: ObstacleGrid, odom_from_base: Float | None, stamp_ns: int, *,
        moving: Sequence[FusedObject] = (), learn: bool = True,
    ) -> ObstacleGrid:  # fmt: skip
        """The grid with what is remembered where it knows nothing; and remembers it.

        Args:
            grid: in base_link at the tick.
            odom_from_base: (4, 4), the robot at the tick; None gives the grid as it is.
            stamp_ns: the tick.
            moving: objects in base_link of which nothing is to be remembered.
            learn: whether the grid can be believed so far that it is remembered.
        """
        if odom_from_base is None or not self._keep_ns:
            return grid
        # A grid is level, whatever the odometry says of heights and tilts.
        x, y = odom_from_base[:2, 3]
        level = planar(x, y, yaw_of(odom_from_base))
        result = self._filled(grid, level, stamp_ns)
        if learn:
            self._learn(grid, level, stamp_ns, moving)
        return result

    def _filled(self, grid: ObstacleGrid, level: Float, stamp_ns: int) -> ObstacleGrid:
        first, last = self._window(grid)
        near = np.s_[first[1] : last[1], first[0] : last[0]]
        unseen = grid.cells[near] == UNKNOWN
        if grid.passed_over is not None:
            unseen |= grid.passed_over[near] & (grid.cells[near] == FREE)
        rows, columns = np.nonzero(unseen)
        rows, columns = rows + first[1], columns + first[0]
        middle = (np.stack([columns, rows]) + 0.5) * grid.resolution_m
        cell = self._cells_of(grid.origin_xy[:, None] + middle, level)
        slot = tuple(cell % self._across)
        held = (self._cell[slot] == cell.T).all(axis=1)
        held &= stamp_ns - self._written_ns[slot] <= self._keep_ns
        if grid.doubtful is not None:
            # Too little for an obstacle is too much for a free cell.
            held &= (self._value[slot] != FREE) | ~grid.doubtful[rows, columns]
        cells = grid.cells.copy()
        cells[rows[held], columns[held]] = self._value[slot][held]
        return replace(grid, cells=cells)

    def _window(self, grid: ObstacleGrid) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """First and behind the last column and row (2,) of a grid that are in reach."""
        middle = np.floor(-grid.origin_xy / grid.resolution_m).astype(np.int64)
        height, width = grid.cells.shape
        return np.maximum(middle - self._reach, 0), np.minimum(
            middle + self._reach, [width, height]
        )

    def _learn(
        self, grid: ObstacleGrid, level: Float, stamp_ns: int, moving: Sequence[FusedObject]
    ) -> None:
        """Writes down what is known.

        Each cell of the odometry frame asks what it is now: asked the other way round, some would
        get no answer, and keep what they were.
        """
        cell = self._cells_of(np.zeros((2, 1)), level) + self._around
        here = level[:2, :2].T @ ((cell + 0.5) * self._resolution_m - level[:2, 3:])
        index = np.floor((here - grid.origin_xy[:, None]) / grid.resolution_m).astype(np.int64)
        height, width = grid.cells.shape
        inside = (index >= 0).all(axis=0) & (index[0] < width) & (index[1] < height)
        cell, index, here = cell[:, inside], index[:, inside], here[:, inside]
        value = grid.cells[index[1], index[0]]
        known = value != UNKNOWN
        if grid.passed_over is not None:
            # That nothing is met where nothing can be met, is no news.
            known &= (value != FREE) | ~grid.passed_over[index[1], index[0]]
        for each in moving:
            under = _under(each, here)
            value[under & (value == OCCUPIED)] = UNKNOWN
            known |= under
        slot = tuple(cell[:, known] % self._across)
        self._value[slot] = value[known]
        self._written_ns[slot] = stamp_ns
        self._cell[slot] = cell[:, known].T

    def _cells_of(self, base_xy: Float, level: Float) -> NDArray[np.int64]:
        """(2, n), cells of the odometry frame of places (2, n) in base_link [m]."""
        cells: NDArray[np.int64] = np.floor(
            (level[:2, :2] @ base_xy + level[:2, 3:]) / self._resolution_m
        ).astype(np.int64)
        return cells


def _under(thing: FusedObject, place: Float) -> NDArray[np.bool_]:
    """(n,) which places (2, n) in base_link are under its box and a margin around it."""
    cosine, sine = np.cos(thing.yaw), np.sin(thing.yaw)
    x, y = place - thing.centre[:2, None]
    along, across = np.abs(cosine * x + sine * y), np.abs(cosine * y - sine * x)
    under: NDArray[np.bool_] = along < thing.size[0] / 2.0 + MARGIN_M
    under &= across < thing.size[1] / 2.0 + MARGIN_M
    return under
