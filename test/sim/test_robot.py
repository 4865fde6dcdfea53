from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from mm_fusion_ros import geometry
from mm_fusion_ros.outputs import ObstacleGrid
from mm_fusion_ros.sim.robot import LocalPlanner, RobotLimits, RobotState, advance

STEP_S = 0.02
Points = NDArray[np.float64]


def bar(x0: float, y0: float, x1: float, y1: float) -> Points:
    """A thin wall as points (N, 2) [m]."""
    count = int(np.hypot(x1 - x0, y1 - y0) / 0.05) + 1
    return np.column_stack([np.linspace(x0, x1, count), np.linspace(y0, y1, count)])


def seen(walls: Points, state: RobotState) -> ObstacleGrid:
    """The grid that a perfect sensor gives."""
    placed = np.column_stack([walls, np.zeros(len(walls))])
    local = geometry.apply(geometry.inverse(state.map_from_base), placed)[:, :2]
    cell = np.floor((local + 20.0) / 0.25).astype(int)
    cell = cell[np.all((cell >= 0) & (cell < 160), axis=1)]
    cells = np.zeros((160, 160), np.int8)
    cells[cell[:, 1], cell[:, 0]] = 100
    return ObstacleGrid(cells, 0.25, np.array([-20.0, -20.0]))


def drive(
    walls: Points, target: tuple[float, float, float], seconds: float = 40.0
) -> tuple[RobotState, float]:
    """Where the robot ends, and how near it came to a wall [m]."""
    planner, state = LocalPlanner(), RobotState()
    goal = geometry.planar(*target)
    wanted, nearest = (0.0, 0.0), np.inf
    for k in range(round(seconds / STEP_S)):
        if k % 12 == 0:
            base_from_goal = geometry.inverse(state.map_from_base) @ goal
            wanted = planner.drive(state, base_from_goal, seen(walls, state))
        state = advance(state, wanted, STEP_S, planner.limits)
        if len(walls):
            nearest = min(nearest, np.hypot(walls[:, 0] - state.x, walls[:, 1] - state.y).min())
        if k > 50 and wanted == (0.0, 0.0) and abs(state.speed) + abs(state.turn) < 1e-3:
            break
    return state, nearest


def assert_there(state: RobotState, target: tuple[float, float, float]) -> None:
    assert np.hypot(state.x - target[0], state.y - target[1]) < 0.3
    assert abs(geometry.wrap_angle(state.yaw - target[2])) < 0.2


def test_it_reaches_a_pose_on_open_ground() -> None:
    state, _ = drive(np.zeros((0, 2)), (5.0, 2.0, 1.0))
    assert_there(state, (5.0, 2.0, 1.0))


def test_it_turns_round_for_a_target_behind() -> None:
    state, _ = drive(np.zeros((0, 2)), (-4.0, 1.0, 3.0))
    assert_there(state, (-4.0, 1.0, 3.0))


def test_it_goes_around_a_wall() -> None:
    state, nearest = drive(bar(4.0, -3.0, 4.0, 3.0), (8.0, 0.0, 0.0))
    assert_there(state, (8.0, 0.0, 0.0))
    assert nearest > RobotLimits().radius_m


def test_it_leaves_a_dead_end() -> None:
    walls = np.vstack([bar(4, -3, 4, 3), bar(1, 3, 4, 3), bar(1, -3, 4, -3)])
    state, nearest = drive(walls, (8.0, 0.0, 0.0), 60.0)
    assert_there(state, (8.0, 0.0, 0.0))
    assert nearest > RobotLimits().radius_m


def test_it_stands_before_a_target_that_is_walled_in() -> None:
    walls = np.vstack([bar(5, -1, 7, -1), bar(5, 1, 7, 1), bar(5, -1, 5, 1), bar(7, -1, 7, 1)])
    _, nearest = drive(walls, (6.0, 0.0, 0.0), 10.0)
    assert nearest > RobotLimits().radius_m


def test_without_a_target_it_stops() -> None:
    assert LocalPlanner().drive(RobotState(speed=1.0), None, None) == (0.0, 0.0)


def test_acceleration_is_limited() -> None:
    limits = RobotLimits(acceleration=1.0, turn_acceleration=2.0)
    state = advance(RobotState(), (5.0, 5.0), 0.1, limits)
    assert state.speed == pytest.approx(0.1)
    assert state.turn == pytest.approx(0.2)
    for _ in range(100):
        state = advance(state, (5.0, 5.0), 0.1, limits)
    assert state.speed == pytest.approx(limits.max_speed)
    assert state.turn == pytest.approx(limits.max_turn)


def test_a_circle_closes() -> None:
    limits = RobotLimits(acceleration=1e3, turn_acceleration=1e3)
    state = RobotState(speed=1.0, turn=1.0)
    steps = 100
    for _ in range(steps):
        state = advance(state, (1.0, 1.0), 2 * np.pi / steps, limits)
    assert state.x == pytest.approx(0.0, abs=1e-9)
    assert state.y == pytest.approx(0.0, abs=1e-9)
