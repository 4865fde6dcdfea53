"""The obstacle grid, on scenes cast by hand: flat floor, walls, slopes, kerbs and drops."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mm_fusion_ros.config import ConfigError, ObstaclesConfig, from_dict
from mm_fusion_ros.outputs import ObstacleGrid
from mm_fusion_ros.perception.obstacles import FREE, OCCUPIED, UNKNOWN, obstacle_grid

CONFIG = ObstaclesConfig(footprint_length_m=1.0, footprint_width_m=0.8)
LIDAR_HEIGHT_M = 1.5
DOWNWARD = np.tan(np.radians(np.arange(2.0, 30.0, 0.7)))
NEAREST_FLOOR_M = LIDAR_HEIGHT_M / DOWNWARD[-1]
AZIMUTH = np.radians(np.arange(0.25, 360.0, 0.5))


def floor(slope: float = 0.0, height: float = 0.0) -> np.ndarray:
    """Returns of a lidar over a plane that rises with x by `slope`: (N, 4)."""
    azimuth, steepness = np.meshgrid(AZIMUTH, DOWNWARD)
    # The ray meets z = height + slope x at r: LIDAR_HEIGHT - r steepness = slope r cos(azimuth).
    fall = steepness + slope * np.cos(azimuth)
    distance = np.where(fall > 0.02, LIDAR_HEIGHT_M / np.maximum(fall, 0.02), np.nan).ravel()
    x, y = distance * np.cos(azimuth.ravel()), distance * np.sin(azimuth.ravel())
    points = np.column_stack([x, y, height + slope * x, np.zeros(len(x))])
    return points[np.isfinite(distance) & (distance < 50.0)].astype(np.float32)


def wall(x: float, y0: float, y1: float, bottom: float, top: float) -> np.ndarray:
    """Dense returns from a wall across x."""
    y, z = np.meshgrid(np.arange(y0, y1, 0.05), np.arange(bottom, top, 0.1))
    return np.column_stack([np.full(y.size, x), y.ravel(), z.ravel(), np.zeros(y.size)]).astype(
        np.float32
    )


def behind_removed(points: np.ndarray, x: float, half_width: float) -> np.ndarray:
    """The floor without what a wall at `x` hides."""
    hidden = (points[:, 0] > x) & (np.abs(points[:, 1]) < half_width * points[:, 0] / x)
    return points[~hidden]


def cell(grid: ObstacleGrid, x: float, y: float) -> int:
    column, row = ((np.array([x, y]) - grid.origin_xy) / grid.resolution_m).astype(int)
    return int(grid.cells[row, column])


def test_an_empty_floor_is_free_and_nothing_is_occupied() -> None:
    grid = obstacle_grid(floor(), CONFIG)
    assert grid.cells.shape == (160, 160) and grid.cells.dtype == np.int8
    assert grid.origin_xy.tolist() == [-20.0, -20.0] and grid.resolution_m == 0.25
    assert not (grid.cells == OCCUPIED).any()
    assert (grid.cells == FREE).mean() > 0.99


def test_a_wall_is_occupied_the_way_to_it_free_and_what_it_hides_unknown() -> None:
    points = np.vstack([behind_removed(floor(), 8.0, 3.0), wall(8.05, -3.0, 3.0, 0.0, 1.8)])
    grid = obstacle_grid(points, CONFIG)
    assert all(cell(grid, 8.05, y) == OCCUPIED for y in (-2.8, 0.0, 2.8))
    assert all(cell(grid, x, 0.0) == FREE for x in (1.0, 4.0, 7.4))
    assert all(cell(grid, x, 0.0) == UNKNOWN for x in (9.0, 14.0, 19.0))
    # Beside the wall the floor goes on.
    assert cell(grid, 14.0, 12.0) == FREE


def test_rows_are_y_and_columns_are_x() -> None:
    points = np.vstack([floor(), wall(5.05, 3.0, 4.0, 0.0, 1.5)])
    rows, columns = np.nonzero(obstacle_grid(points, CONFIG).cells == OCCUPIED)
    # x = 5.05 is (5.05 + 20) / 0.25 = column 100; y from 3 to 4 m is rows 92 to 95.
    assert set(columns) == {100}
    assert set(rows) == {92, 93, 94, 95}


@pytest.mark.parametrize("slope", [0.05, 0.1, -0.1, 0.15])
def test_a_slope_is_no_obstacle_and_a_wall_on_it_is(slope: float) -> None:
    grid = obstacle_grid(floor(slope), CONFIG)
    assert (grid.cells == OCCUPIED).sum() == 0
    ground = slope * 10.05
    points = np.vstack([floor(slope), wall(10.05, -1.0, 1.0, ground, ground + 1.0)])
    assert cell(obstacle_grid(points, CONFIG), 10.05, 0.0) == OCCUPIED


def test_base_link_may_lie_above_the_floor() -> None:
    # An axle 0.4 m up, so that the floor is at -0.4 and a 0.5 m box ends at 0.1.
    points = np.vstack([floor(height=-0.4), wall(6.05, -0.5, 0.5, -0.4, 0.1)])
    grid = obstacle_grid(points, CONFIG)
    assert cell(grid, 6.05, 0.0) == OCCUPIED
    assert cell(grid, 6.05, 3.0) == FREE


def test_what_is_low_is_driven_over_and_what_is_high_is_driven_under() -> None:
    kerb = wall(6.05, -1.0, 1.0, 0.0, 0.15)
    branch = wall(6.05, -1.0, 1.0, 2.5, 3.5)
    grid = obstacle_grid(np.vstack([floor(), kerb, branch]), CONFIG)
    assert not (grid.cells == OCCUPIED).any()
    assert cell(grid, 6.05, 0.0) == FREE


def test_a_wall_without_visible_foot_is_an_obstacle_not_a_hill() -> None:
    points = np.vstack([behind_removed(floor(), 8.0, 3.0), wall(8.05, -3.0, 3.0, 0.8, 1.8)])
    assert cell(obstacle_grid(points, CONFIG), 8.05, 0.0) == OCCUPIED


def test_the_roof_of_something_long_is_not_taken_for_the_ground() -> None:
    # A lorry 3 m high and 10 m long: its back from 0.5 m up, then returns from its roof.
    x, y = np.meshgrid(np.arange(6.1, 16.0, 0.2), np.arange(-1.0, 1.0, 0.2))
    roof = np.column_stack([x.ravel(), y.ravel(), np.full(x.size, 1.9), np.zeros(x.size)])
    points = np.vstack([behind_removed(floor(), 6.0, 1.0), wall(6.05, -1, 1, 0.5, 1.9), roof])
    grid = obstacle_grid(points.astype(np.float32), CONFIG)
    assert all(cell(grid, at, 0.1) == OCCUPIED for at in (6.1, 9.1, 12.1, 15.1))


def test_a_reflection_below_the_floor_changes_nothing_around_it() -> None:
    rng = np.random.default_rng(0)
    ghosts = np.column_stack(
        [rng.uniform(-15, 15, 40), rng.uniform(-15, 15, 40), rng.uniform(-4, -1, 40), np.zeros(40)]
    ).astype(np.float32)
    clean, ghostly = (
        obstacle_grid(floor(), CONFIG),
        obstacle_grid(np.vstack([floor(), ghosts]), CONFIG),
    )
    assert not (ghostly.cells == OCCUPIED).any()
    assert (clean.cells != ghostly.cells).mean() < 0.001


def test_a_drop_is_not_free() -> None:
    # Beyond 8 m the floor lies 1.5 m lower.
    points = floor()
    beyond = points[:, 0] > 8.0
    points = points[~beyond]
    lower = floor(height=-1.5)
    lower[:, :2] *= 2.0
    points = np.vstack([points, lower[lower[:, 0] > 8.5]])
    grid = obstacle_grid(points, CONFIG)
    assert cell(grid, 6.0, 0.0) == FREE
    assert all(cell(grid, x, 0.0) == UNKNOWN for x in (10.0, 14.0, 18.0))


def test_a_single_stray_return_neither_blocks_nor_clears() -> None:
    stray = np.array([[6.1, 0.1, 1.0, 0.0]], np.float32)
    grid = obstacle_grid(np.vstack([floor(), stray]), CONFIG)
    assert cell(grid, 6.1, 0.1) == UNKNOWN
    assert cell(grid, 9.0, 0.1) == FREE
    one = dataclasses.replace(CONFIG, min_points=1)
    assert cell(obstacle_grid(np.vstack([floor(), stray]), one), 6.1, 0.1) == OCCUPIED


def test_the_robot_s_own_returns_are_no_obstacle() -> None:
    rng = np.random.default_rng(0)
    own = np.column_stack(
        [rng.uniform(-0.5, 0.5, 500), rng.uniform(-0.4, 0.4, 500), rng.uniform(0, 1, 500),
         np.zeros(500)]
    ).astype(np.float32)  # fmt: skip
    grid = obstacle_grid(np.vstack([floor(), own]), CONFIG)
    assert not (grid.cells == OCCUPIED).any()
    assert (grid.cells == FREE).mean() > 0.99


@pytest.mark.parametrize("count", [0, 1])
def test_without_points_only_the_robot_s_own_place_is_known(count: int) -> None:
    grid = obstacle_grid(np.full((count, 4), 100.0, np.float32), CONFIG)
    # 1.0 x 0.8 m about the origin: centres at +-0.125, +-0.375 along, and the same across.
    assert (grid.cells == FREE).sum() == 16
    assert (grid.cells == UNKNOWN).sum() == 160 * 160 - 16


def test_beams_that_see_nothing_leave_the_unknown() -> None:
    points = floor()
    ahead = points[np.abs(np.arctan2(points[:, 1], points[:, 0])) < np.radians(45)]
    grid = obstacle_grid(ahead, CONFIG)
    assert cell(grid, 5.0, 0.0) == FREE
    assert cell(grid, -5.0, 0.0) == UNKNOWN


def test_rays_start_at_the_lidar() -> None:
    # A lidar 4 m ahead of base_link sees a post 4 m to its left; the ray to it runs along x = 4.
    points = floor()
    points[:, 0] += 4.0
    post = np.array([[4.1, 4.1, z, 0.0] for z in np.arange(0.0, 1.5, 0.05)], np.float32)
    hidden = (points[:, 1] > 4.0) & (np.abs(points[:, 0] - 4.0) < 1.0)
    grid = obstacle_grid(np.vstack([points[~hidden], post]), CONFIG, sensor_xy=(4.0, 0.0))
    assert cell(grid, 4.1, 4.1) == OCCUPIED
    assert cell(grid, 4.1, 2.0) == FREE
    assert cell(grid, 4.2, 9.0) == UNKNOWN


def test_the_grid_is_the_same_every_time_and_leaves_the_points_alone() -> None:
    points = np.vstack([floor(), wall(8.05, -3.0, 3.0, 0.0, 1.8)])
    points.flags.writeable = False
    first, second = obstacle_grid(points, CONFIG), obstacle_grid(points, CONFIG)
    assert np.array_equal(first.cells, second.cells)
    first.cells[:] = 7
    assert np.array_equal(obstacle_grid(points, CONFIG).cells, second.cells)


@pytest.mark.parametrize(("size", "resolution", "across"), [(10.0, 0.1, 100), (7.0, 2.0, 4)])
def test_size_and_resolution_are_those_asked_for(
    size: float, resolution: float, across: int
) -> None:
    config = dataclasses.replace(CONFIG, size_m=size, resolution_m=resolution)
    grid = obstacle_grid(floor(), config)
    assert grid.cells.shape == (across, across)
    assert grid.origin_xy.tolist() == [-across * resolution / 2] * 2


def test_a_grid_of_too_many_cells_is_refused_by_the_configuration() -> None:
    with pytest.raises(ConfigError, match="resolution_m"):
        from_dict({"obstacles": {"size_m": 200.0, "resolution_m": 0.05}})


def test_it_says_where_rays_pass_over_what_is_low() -> None:
    grid = obstacle_grid(floor(), CONFIG)
    assert grid.passed_over is not None
    middle = (np.arange(160) + 0.5) * 0.25 - 20.0
    away = np.hypot(*np.meshgrid(middle, middle))
    assert not grid.passed_over[away > NEAREST_FLOOR_M + 0.5].any()
    # All of it, but for the robot's own place.
    assert (~grid.passed_over[away < NEAREST_FLOOR_M - 0.5]).sum() == 16
