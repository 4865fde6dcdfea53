"""The rectangle of the grid that cameras see, outside of which only lidars have anything to say.

A camera before the robot sees a wedge of the grid. To lift its image onto all of it, and to fuse
where there is nothing to fuse, would be most of the work and none of the answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros.perception.grid import FEATURE_CELLS

MARGIN = 4
"""Cells beyond what is seen: with fewer, probabilities at the edge differ by more than 0.01."""
EVEN = 2
"""The networks halve the resolution this often, and every cell must stay in its place."""


@dataclass(frozen=True)
class Window:
    """A rectangle of feature cells; all edges are even.

    Attributes:
        x0, x1, y0, y1: first cell and one past the last, along x and along y.
    """

    x0: int = 0
    x1: int = FEATURE_CELLS
    y0: int = 0
    y1: int = FEATURE_CELLS

    @classmethod
    def around(cls, covered: NDArray[np.bool_]) -> Window:
        """What holds all covered cells of (FEATURE_CELLS, FEATURE_CELLS), and a margin.

        Where nothing is covered it is a corner of the grid: a network wants some cells.
        """
        edges: list[int] = []
        for axis in (1, 0):
            rows = np.flatnonzero(covered.any(axis=axis))
            first, last = (int(rows[0]), int(rows[-1])) if len(rows) else (0, 0)
            low = max(first - MARGIN, 0) // EVEN * EVEN
            high = min(-(-(last + 1 + MARGIN) // EVEN) * EVEN, FEATURE_CELLS)
            edges += [low, high]
        return cls(*edges)

    @property
    def of_maps(self) -> tuple[Any, ...]:
        """Index of these cells in maps (..., x, y)."""
        return (..., slice(self.x0, self.x1), slice(self.y0, self.y1))

    @property
    def of_cells(self) -> tuple[Any, ...]:
        """Index of these cells in what has them first, (x, y, ...)."""
        return (slice(self.x0, self.x1), slice(self.y0, self.y1))
