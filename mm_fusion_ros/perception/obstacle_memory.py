"""What stood near the robot stands there still, though no ray reaches it any more.

A lidar on a mast looks over what is low and near: a ball a metre ahead is under its lowest beam.
So around the robot it is kept, in the odometry frame, what each cell last was, and a grid is filled
with it where a sweep sees nothing. What a sweep does see is always believed at once.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros.config import ObstaclesConfig
from mm_fusion_ros.geometry import inverse
from mm_fusion_ros.outputs import ObstacleGrid
from mm_fusion_ros.perception.obstacles import UNKNOWN
from mm_fusion_ros.samples import Float

REACH_M = 8.0
"""Remembered this far around the robot; what is farther, it will see again before it is there."""
FASTEST_MPS, SHORTEST_WAY_M = 30.0, 1.0
"""Moved faster and farther than this, the odometry frame has begun anew."""
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
        # No two cells that are in reach at once have one place.
        self._across = 2 * (math.ceil(REACH_M * math.sqrt(2.0) / config.resolution_m) + 1)
        self.reset()

    def reset(self) -> None:
        """Forgets everything."""
        shape = (self._across, self._across)
        self._value = np.full(shape, UNKNOWN, np.int8)
        self._written_ns = np.full(shape, NEVER, np.int64)
        self._cell = np.zeros((*shape, 2), np.int64)
        self._last: tuple[Float, int] | None = None

    def complete(
        self, grid: ObstacleGrid, odom_from_base: Float | None, stamp_ns: int
    ) -> ObstacleGrid:
        """The grid with what is remembered where it knows nothing; and remembers it.

        Args:
            grid: in base_link at the tick.
            odom_from_base: (4, 4), the robot at the tick; None gives the grid as it is.
            stamp_ns: the tick.
        """
        if odom_from_base is None or grid.resolution_m != self._resolution_m:
            return grid
        self._follow(odom_from_base, stamp_ns)
        result = self._filled(grid, odom_from_base, stamp_ns)
        self._learn(grid, odom_from_base, stamp_ns)
        return result

    def _follow(self, odom_from_base: Float, stamp_ns: int) -> None:
        """Forgets everything where the odometry frame is another one than before."""
        place = odom_from_base[:2, 3].copy()
        if self._last is not None:
            way_m = float(np.linalg.norm(place - self._last[0]))
            seconds = abs(stamp_ns - self._last[1]) * 1e-9
            if way_m > max(SHORTEST_WAY_M, FASTEST_MPS * seconds):
                self.reset()
        self._last = place, stamp_ns

    def _filled(self, grid: ObstacleGrid, odom_from_base: Float, stamp_ns: int) -> ObstacleGrid:
        rows, columns = np.nonzero(grid.cells == UNKNOWN)
        x = grid.origin_xy[0] + (columns + 0.5) * grid.resolution_m
        y = grid.origin_xy[1] + (rows + 0.5) * grid.resolution_m
        near = (np.abs(x) < REACH_M) & (np.abs(y) < REACH_M)
        rows, columns = rows[near], columns[near]
        cell = self._cells_of(np.stack([x[near], y[near]]), odom_from_base)
        place = tuple(cell % self._across)
        held = (self._cell[place] == cell.T).all(axis=1)
        held &= stamp_ns - self._written_ns[place] <= self._keep_ns
        cells = grid.cells.copy()
        cells[rows[held], columns[held]] = self._value[place][held]
        return ObstacleGrid(cells, grid.resolution_m, grid.origin_xy)

    def _learn(self, grid: ObstacleGrid, odom_from_base: Float, stamp_ns: int) -> None:
        """Writes down what is known.

        Each cell of the odometry frame asks what it is now: asked the other way round, some would
        get no answer, and keep what they were.
        """
        reach = int(REACH_M / self._resolution_m)
        middle = self._cells_of(np.zeros((2, 1)), odom_from_base)
        around = np.arange(-reach, reach + 1)
        cell = middle + np.stack(np.meshgrid(around, around)).reshape(2, -1)
        centre = (cell + 0.5) * self._resolution_m
        base_from_odom = inverse(odom_from_base)
        here = base_from_odom[:2, :2] @ centre + base_from_odom[:2, 3:]
        index = np.floor((here - grid.origin_xy[:, None]) / grid.resolution_m).astype(np.int64)
        height, width = grid.cells.shape
        inside = (index >= 0).all(axis=0) & (index[0] < width) & (index[1] < height)
        cell, index = cell[:, inside], index[:, inside]
        value = grid.cells[index[1], index[0]]
        known = value != UNKNOWN
        place = tuple(cell[:, known] % self._across)
        self._value[place] = value[known]
        self._written_ns[place] = stamp_ns
        self._cell[place] = cell[:, known].T

    def _cells_of(self, base_xy: Float, odom_from_base: Float) -> NDArray[np.int64]:
        """(2, n) int64, cells of the odometry frame of places (2, n) in base_link [m]."""
        place = odom_from_base[:2, :2] @ base_xy + odom_from_base[:2, 3:]
        cells: NDArray[np.int64] = np.floor(place / self._resolution_m).astype(np.int64)
        return cells
