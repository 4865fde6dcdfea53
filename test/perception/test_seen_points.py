"""A camera's depth as points, and the grid that they make."""

from __future__ import annotations

import numpy as np
import pytest

from mm_fusion_ros.config import ObstaclesConfig
from mm_fusion_ros.perception.obstacles import FREE, OCCUPIED, UNKNOWN, obstacle_grid
from mm_fusion_ros.perception.rays import ray_planes
from mm_fusion_ros.perception.seen_points import MAX_RANGE_M, seen_points

OPTICAL = np.array([[0, 0, 1, 0.0], [-1, 0, 0, 0.0], [0, -1, 0, 1.2], [0, 0, 0, 1.0]])
K = np.array([[190.0, 0.0, 191.5], [0.0, 190.0, 143.5], [0.0, 0.0, 1.0]])
WHOLE = (0, 0, 384, 288)
SURE, UNSURE = -3.0, 0.0


def features(wall_m: float = 8.0) -> np.ndarray:
    """What a perfect encoder says of flat ground with a wall across the left half of the view."""
    result = np.zeros((4, 72, 96), np.float32)
    ground = ray_planes(K, OPTICAL, (384, 288))[0] + 2.5
    result[-2] = ground
    result[-2, :, :48] = np.minimum(ground[:, :48], np.log(wall_m))
    result[-1] = SURE
    return result


def test_flat_ground_lies_flat_and_the_wall_stands_where_it_is() -> None:
    points = seen_points(features(), K, OPTICAL, WHOLE)
    right = points[points[:, 1] < -0.1]
    assert np.abs(right[:, 2]).max() < 1e-4
    left = points[(points[:, 1] > 0.1) & (points[:, 2] > 0.1)]
    assert left[:, 0] == pytest.approx(8.0, abs=1e-4) and len(left) > 100
    assert points[:, 0].max() < MAX_RANGE_M


def test_unsure_pixels_and_padding_say_nothing() -> None:
    unsure = features()
    unsure[-1, :, 48:] = UNSURE
    assert (seen_points(unsure, K, OPTICAL, WHOLE)[:, 1] > 0.0).all()
    left_half = seen_points(features(), K, OPTICAL, (0, 0, 192, 288))
    assert (left_half[:, 1] > 0.0).all()


def test_the_grid_is_free_before_the_wall_and_unknown_behind_the_robot() -> None:
    config = ObstaclesConfig()
    grid = obstacle_grid(seen_points(features(), K, OPTICAL, WHOLE), config)

    def at(x: float, y: float) -> int:
        column, row = (
            (v - o) / config.resolution_m for v, o in zip((x, y), grid.origin_xy, strict=True)
        )
        return int(grid.cells[int(row), int(column)])

    assert at(5.0, 2.0) == FREE
    assert at(8.0, 2.0) == OCCUPIED or at(8.1, 2.0) == OCCUPIED or at(7.9, 2.0) == OCCUPIED
    assert at(12.0, 2.0) == UNKNOWN
    assert at(8.0, -2.0) == FREE
    assert at(-5.0, 0.0) == UNKNOWN
