"""What stood near the robot is remembered where no ray reaches, and only there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mm_fusion_ros.config import ObstaclesConfig
from mm_fusion_ros.geometry import from_euler, planar
from mm_fusion_ros.outputs import FusedObject, ObstacleGrid
from mm_fusion_ros.perception.obstacle_memory import REACH_M, ObstacleMemory
from mm_fusion_ros.perception.obstacles import FREE, OCCUPIED, UNKNOWN
from mm_fusion_ros.samples import Float

SECOND_NS = 1_000_000_000
T0 = 1_700_000_000 * SECOND_NS
BLIND_M = 3.0
PERSON = FusedObject(
    1, "pedestrian", 0.9, "unknown", 0.0, np.zeros(3), np.array([0.5, 0.5, 1.8]), 0.0,
    np.array([0.0, 1.3, 0.0]), np.eye(3),
)  # fmt: skip


def seen_from(odom_from_base: Float, post: tuple[float, float] | None) -> ObstacleGrid:
    """Open floor with a post of half a metre at a place of the odometry frame; blind near by."""
    middle = (np.arange(160) + 0.5) * 0.25 - 20.0
    x, y = np.meshgrid(middle, middle)
    cells = np.where(np.hypot(x, y) > BLIND_M, FREE, UNKNOWN).astype(np.int8)
    if post is not None:
        place = odom_from_base[:2, :2] @ np.stack([x.ravel(), y.ravel()]) + odom_from_base[:2, 3:]
        hit = (np.abs(place - np.array(post)[:, None]).max(axis=0) < 0.25).reshape(x.shape)
        cells[hit & (np.hypot(x, y) > BLIND_M)] = OCCUPIED
    return ObstacleGrid(cells, 0.25, np.array([-20.0, -20.0]))


def at(grid: ObstacleGrid, odom_from_base: Float, place: tuple[float, float]) -> int:
    """What a grid says of a place of the odometry frame."""
    offset = np.array(place) - odom_from_base[:2, 3]
    column, row = ((odom_from_base[:2, :2].T @ offset - grid.origin_xy) / 0.25).astype(int)
    return int(grid.cells[row, column])


def approached(memory: ObstacleMemory, post: tuple[float, float], to_x: float) -> ObstacleGrid:
    """The last grid of a drive along x, half a metre a tick, turning a little all the time."""
    for step, x in enumerate(np.arange(0.0, to_x + 1e-6, 0.5)):
        here = planar(x, 0.0, 0.07 * step)
        grid = memory.complete(seen_from(here, post), here, T0 + step * SECOND_NS // 10)
    return grid


def test_what_the_robot_came_near_to_stays_where_it_stands() -> None:
    memory = ObstacleMemory(ObstaclesConfig())
    post = (6.0, 0.4)
    grid = approached(memory, post, 4.5)
    here = planar(4.5, 0.0, 0.07 * 9)
    assert seen_from(here, post).cells.max() == FREE
    assert at(grid, here, post) == OCCUPIED
    # Nothing else is occupied: the post's cells, and not what they passed over.
    occupied = np.argwhere(grid.cells == OCCUPIED)
    places = (occupied[:, ::-1] + 0.5) * 0.25 - 20.0
    odom = places @ here[:2, :2].T + here[:2, 3]
    assert np.abs(odom - np.array(post)).max() < 0.25 + 0.36
    # The floor that was seen before is free.
    assert at(grid, here, (4.5, 1.5)) == FREE


def test_what_is_seen_is_believed_at_once() -> None:
    memory = ObstacleMemory(ObstaclesConfig())
    post = (6.0, 0.4)
    approached(memory, post, 4.5)
    back = planar(2.0, 0.0, 0.3)
    grid = memory.complete(seen_from(back, None), back, T0 + SECOND_NS)
    assert at(grid, back, post) == FREE
    near = planar(4.5, 0.0, 0.0)
    assert at(memory.complete(seen_from(near, None), near, T0 + 2 * SECOND_NS), near, post) == FREE


def test_what_is_called_free_by_rays_that_pass_over_it_stays_occupied() -> None:
    memory = ObstacleMemory(ObstaclesConfig())
    post = (4.0, 0.0)
    for seconds, x in enumerate((0.0, 2.0, 2.0, 2.0)):
        here = planar(x, 0.0, 0.0)
        grid = seen_from(here, post)
        over = grid.cells == UNKNOWN
        grid.cells[over] = FREE
        grid = memory.complete(replace(grid, passed_over=over), here, T0 + seconds * SECOND_NS)
        assert at(grid, here, post) == OCCUPIED
        assert at(grid, here, (x, 1.5)) == FREE


@pytest.mark.parametrize(("seconds", "remembered"), [(59.0, True), (61.0, False)])
def test_it_is_forgotten_in_time(seconds: float, remembered: bool) -> None:
    memory = ObstacleMemory(ObstaclesConfig())
    post = (4.0, 0.0)
    memory.complete(seen_from(np.eye(4), post), np.eye(4), T0)
    near = planar(2.0, 0.0, 0.0)
    later = T0 + round(seconds * SECOND_NS)
    grid = memory.complete(seen_from(near, post), near, later)
    assert at(grid, near, post) == (OCCUPIED if remembered else UNKNOWN)


def test_a_cell_far_away_that_has_the_same_place_in_the_store_is_not_taken_for_it() -> None:
    for x in np.arange(4.0 + 1.5 * REACH_M, 10.0 * REACH_M, 0.5):
        memory = ObstacleMemory(ObstaclesConfig())
        memory.complete(seen_from(np.eye(4), (4.0, 0.0)), np.eye(4), T0)
        far = planar(float(x), 0.0, 0.0)
        grid = memory.complete(seen_from(far, None), far, T0 + 10 * SECOND_NS)
        assert not (grid.cells == OCCUPIED).any()


def tilted(x: float, z: float, pitch: float) -> Float:
    """A pose as an odometry in three dimensions gives it."""
    return from_euler(np.array([x, 0.0, z]), 0.0, pitch, 0.3)


@pytest.mark.parametrize(("z", "pitch"), [(3.0, 0.09), (30.0, 0.17), (-10.0, -0.17)])
def test_height_and_tilt_of_the_odometry_move_nothing(z: float, pitch: float) -> None:
    memory = ObstacleMemory(ObstaclesConfig())
    level = planar(0.0, 0.0, 0.3)
    post = (4.0, 1.0)
    memory.complete(seen_from(level, post), tilted(0.0, z, pitch), T0)
    blind = ObstacleGrid(np.full((160, 160), UNKNOWN, np.int8), 0.25, np.array([-20.0, -20.0]))
    grid = memory.complete(blind, tilted(0.0, z, pitch), T0 + SECOND_NS)
    assert at(grid, level, post) == OCCUPIED
    assert (grid.cells == OCCUPIED).sum() < 12


def test_who_walks_leaves_no_wall_behind() -> None:
    for moving in (False, True):
        memory = ObstacleMemory(ObstaclesConfig())
        for step in range(40):
            # Across the way, 1.7 m ahead, where no floor is ever seen; the lidar sees the body.
            y = -2.6 + 0.13 * step
            grid = seen_from(np.eye(4), None)
            x_cells, y_cells = 20.0 / 0.25 + 1.7 / 0.25, (20.0 + y) / 0.25
            grid.cells[int(y_cells) : int(y_cells) + 2, int(x_cells) : int(x_cells) + 2] = OCCUPIED
            person = replace(PERSON, centre=np.array([1.8, y + 0.2, 0.9]))
            result = memory.complete(
                grid, np.eye(4), T0 + step * SECOND_NS // 10, moving=[person] if moving else []
            )
            assert (result.cells == OCCUPIED).sum() >= 4
        gone = memory.complete(seen_from(np.eye(4), None), np.eye(4), T0 + 5 * SECOND_NS)
        assert (gone.cells == OCCUPIED).any() == (not moving)


def test_what_is_not_believed_is_not_remembered() -> None:
    memory = ObstacleMemory(ObstaclesConfig())
    memory.complete(seen_from(np.eye(4), (4.0, 0.0)), np.eye(4), T0, learn=False)
    near = planar(2.0, 0.0, 0.0)
    fresh = seen_from(near, None)
    assert np.array_equal(memory.complete(fresh, near, T0 + SECOND_NS).cells, fresh.cells)


def test_a_cell_in_which_something_is_met_is_not_taken_for_free() -> None:
    memory = ObstacleMemory(ObstaclesConfig())
    memory.complete(seen_from(np.eye(4), None), np.eye(4), T0)
    grid = seen_from(np.eye(4), None)
    grid.cells[82, 96] = UNKNOWN
    doubtful = np.zeros((160, 160), bool)
    doubtful[82, 96] = True
    met = replace(grid, doubtful=doubtful)
    assert memory.complete(grid, np.eye(4), T0 + 1).cells[82, 96] == FREE
    assert memory.complete(met, np.eye(4), T0 + 1).cells[82, 96] == UNKNOWN


def test_it_can_be_switched_off() -> None:
    memory = ObstacleMemory(ObstaclesConfig(remember_s=0.0))
    grid = seen_from(np.eye(4), (4.0, 0.0))
    assert memory.complete(grid, np.eye(4), T0) is grid


def test_without_odometry_or_after_a_reset_nothing_is_remembered() -> None:
    memory = ObstacleMemory(ObstaclesConfig())
    first = seen_from(np.eye(4), (4.0, 0.0))
    memory.complete(first, np.eye(4), T0)
    assert memory.complete(first, None, T0) is first
    memory.reset()
    near = planar(2.0, 0.0, 0.0)
    grid = memory.complete(seen_from(near, (4.0, 0.0)), near, T0 + SECOND_NS)
    assert np.array_equal(grid.cells, seen_from(near, (4.0, 0.0)).cells)
