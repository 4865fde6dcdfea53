"""The rectangle that cameras see."""

from __future__ import annotations

import numpy as np
import pytest

from mm_fusion_ros.perception.grid import FEATURE_CELLS
from mm_fusion_ros.perception.window import EVEN, MARGIN, Window


@pytest.mark.parametrize(
    "cells", [[(40, 3)], [(33, 10), (63, 50)], [(0, 0)], [(63, 63)], [(31, 31), (32, 33)]]
)
def test_all_that_is_seen_lies_within_with_a_margin(cells: list[tuple[int, int]]) -> None:
    covered = np.zeros((FEATURE_CELLS, FEATURE_CELLS), bool)
    covered[tuple(np.array(cells).T)] = True
    window = Window.around(covered)
    inside = np.zeros_like(covered)
    inside[window.of_cells] = True
    for x, y in cells:
        low, high = np.maximum([x - MARGIN, y - MARGIN], 0), (x + MARGIN + 1, y + MARGIN + 1)
        assert inside[low[0] : high[0], low[1] : high[1]].all()
    for edge in (window.x0, window.x1, window.y0, window.y1):
        assert edge % EVEN == 0 and 0 <= edge <= FEATURE_CELLS
    assert inside[None][window.of_maps].all() and inside[None][window.of_maps].size == inside.sum()


def test_it_is_no_larger_than_it_must_be() -> None:
    covered = np.zeros((FEATURE_CELLS, FEATURE_CELLS), bool)
    covered[20:30, 40:44] = True
    assert Window.around(covered) == Window(16, 34, 36, 48)


def test_where_nothing_is_seen_there_are_still_some_cells() -> None:
    window = Window.around(np.zeros((FEATURE_CELLS, FEATURE_CELLS), bool))
    assert window.x1 > window.x0 and window.y1 > window.y0
