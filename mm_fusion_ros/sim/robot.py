"""A differential-drive robot and the local planner that takes it to a pose around obstacles.

The planner works on the occupancy grid that the fusion gives, in base_link: cost-to-go from the
target over the whole grid (Dijkstra, so that it leaves dead ends), then the arc among those that
the robot can drive in the next moment which descends it best and keeps clear (dynamic window:
Fox, Burgard, Thrun 1997).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra

from mm_fusion_ros import geometry
from mm_fusion_ros.outputs import ObstacleGrid
from mm_fusion_ros.samples import Float

_FAR = 1e6


@dataclass(frozen=True)
class RobotLimits:
    """What the robot is and can do.

    Attributes:
        radius_m: of the circle that holds its body [m].
        max_speed: forward [m/s].
        max_turn: [rad/s].
        acceleration: [m/s^2].
        turn_acceleration: [rad/s^2].
    """

    radius_m: float = 0.45
    max_speed: float = 1.2
    max_turn: float = 1.2
    acceleration: float = 1.0
    turn_acceleration: float = 3.0


@dataclass(frozen=True)
class RobotState:
    """Where the robot is and how it moves.

    Attributes:
        x, y: map [m].
        yaw: map [rad].
        speed: forward [m/s].
        turn: [rad/s], positive to the left.
    """

    x: float = 0.0
    y: float = 0.0
    yaw: float = 0.0
    speed: float = 0.0
    turn: float = 0.0

    @property
    def map_from_base(self) -> Float:
        """(4, 4) float64."""
        return geometry.planar(self.x, self.y, self.yaw)

    @property
    def twist(self) -> Float:
        """(6,) float64, vx vy vz [m/s] wx wy wz [rad/s] in base_link."""
        return np.array([self.speed, 0.0, 0.0, 0.0, 0.0, self.turn])


def advance(
    state: RobotState, wanted: tuple[float, float], elapsed_s: float, limits: RobotLimits
) -> RobotState:
    """The state after a short step towards a wanted speed and turn rate, on the exact arc.

    Args:
        state: before.
        wanted: speed [m/s] and turn rate [rad/s]; what the limits forbid is cut off.
        elapsed_s: length of the step [s].
        limits: of the robot.
    """
    speed = _approach(
        state.speed, float(np.clip(wanted[0], -limits.max_speed, limits.max_speed)),
        limits.acceleration * elapsed_s,
    )  # fmt: skip
    turn = _approach(
        state.turn, float(np.clip(wanted[1], -limits.max_turn, limits.max_turn)),
        limits.turn_acceleration * elapsed_s,
    )  # fmt: skip
    mean_speed, mean_turn = (state.speed + speed) / 2, (state.turn + turn) / 2
    angle = mean_turn * elapsed_s
    chord = mean_speed * elapsed_s * float(np.sinc(angle / 2 / np.pi))
    heading = state.yaw + angle / 2
    return RobotState(
        state.x + chord * float(np.cos(heading)),
        state.y + chord * float(np.sin(heading)),
        geometry.wrap_angle(state.yaw + angle),
        speed,
        turn,
    )


def _approach(value: float, wanted: float, step: float) -> float:
    return value + float(np.clip(wanted - value, -step, step))


@dataclass(frozen=True)
class PlannerOptions:
    """How the planner weighs.

    Attributes:
        arrived_m, arrived_rad: at the target within this, it stops.
        margin_m: kept from obstacles beyond the robot's radius where there is room [m].
        horizon_s: arcs are looked at for so long [s].
        speeds, turns: how many of each are tried.
    """

    arrived_m: float = 0.15
    arrived_rad: float = 0.15
    margin_m: float = 0.35
    horizon_s: float = 1.6
    speeds: int = 6
    turns: int = 21


class LocalPlanner:
    """From target and obstacles to speed and turn rate."""

    def __init__(
        self, limits: RobotLimits | None = None, options: PlannerOptions | None = None
    ) -> None:
        self.limits = limits or RobotLimits()
        self.options = options or PlannerOptions()
        self._grid: ObstacleGrid | None = None
        self._clearance: NDArray[np.float32] | None = None
        self._graph_for: tuple[int, int] = (0, 0)
        self._edges: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]] | None = None

    def drive(
        self, state: RobotState, base_from_target: Float | None, obstacles: ObstacleGrid | None
    ) -> tuple[float, float]:
        """The wanted speed [m/s] and turn rate [rad/s].

        Args:
            state: the robot's motion (its place is not used).
            base_from_target: (4, 4) float64, the pose to reach; None stops.
            obstacles: in base_link now; None steers straight.
        """
        if base_from_target is None:
            return (0.0, 0.0)
        goal = base_from_target[:2, 3]
        away = float(np.hypot(*goal))
        if away < self.options.arrived_m:
            return (0.0, self._turn_towards(geometry.yaw_of(base_from_target)))
        if obstacles is None:
            bearing = float(np.arctan2(goal[1], goal[0]))
            return (self._cruise(away, bearing), self._turn_towards(bearing))
        return self._avoid(state, goal, obstacles)

    def _turn_towards(self, angle: float) -> float:
        if abs(angle) < self.options.arrived_rad / 2:
            return 0.0
        # Braking from w takes w^2 / 2a radians: the square root arrives without overshoot.
        turn = np.sqrt(1.4 * self.limits.turn_acceleration * abs(angle)) * 0.6
        return float(np.sign(angle) * min(turn, self.limits.max_turn))

    def _cruise(self, away: float, bearing: float) -> float:
        brake = float(np.sqrt(1.4 * self.limits.acceleration * away))
        return min(self.limits.max_speed, brake) * max(0.0, float(np.cos(bearing))) ** 3

    def _avoid(
        self, state: RobotState, goal: Float, obstacles: ObstacleGrid
    ) -> tuple[float, float]:
        clearance = _clearance(obstacles)
        to_go = self._cost_to_go(obstacles, clearance, goal)
        limits, options = self.limits, self.options
        away = float(np.hypot(*goal))
        reach = 0.35  # what can change until the next decision [s]
        top = min(limits.max_speed, float(np.sqrt(1.4 * limits.acceleration * away)))
        low = max(0.0, state.speed - limits.acceleration * reach)
        high = min(top, state.speed + limits.acceleration * reach)
        speeds = np.linspace(min(low, high), high, options.speeds)
        turns = np.linspace(
            max(-limits.max_turn, state.turn - limits.turn_acceleration * reach),
            min(limits.max_turn, state.turn + limits.turn_acceleration * reach),
            options.turns,
        )
        speed, turn = (grid.ravel() for grid in np.meshgrid(speeds, turns))
        times = np.linspace(0.1, options.horizon_s, 12)
        angle = turn[:, None] * times
        chord = speed[:, None] * times * np.sinc(angle / 2 / np.pi)
        x, y = chord * np.cos(angle / 2), chord * np.sin(angle / 2)
        free = _lookup(clearance, obstacles, x, y)  # (arcs, times)
        nearest = free.min(axis=1)
        # Where the robot stands too near already, what leads away from the obstacle is allowed.
        here = float(_lookup(clearance, obstacles, np.zeros(1), np.zeros(1))[0])
        allowed = (nearest > limits.radius_m + 0.05) | (
            (here <= limits.radius_m + 0.05) & (free[:, -1] > here) & (nearest > here - 0.02)
        )
        stop_m = speed**2 / (2 * limits.acceleration)
        along = speed[:, None] * times
        blocked = (free <= limits.radius_m + 0.05) & (along <= stop_m[:, None] + 0.3)
        allowed |= ~blocked.any(axis=1) & (speed <= low + 1e-9)
        # The heading that matters is down the cost-to-go a little ahead of the arc's end.
        ahead = 0.6
        nose_x = x[:, -1] + ahead * np.cos(angle[:, -1])
        nose_y = y[:, -1] + ahead * np.sin(angle[:, -1])
        cost = np.minimum(_lookup(to_go, obstacles, nose_x, nose_y), 200.0)
        cost = cost + 0.3 * np.minimum(_lookup(to_go, obstacles, x[:, -1], y[:, -1]), 200.0)
        cost += (
            0.25
            * np.maximum(0.0, limits.radius_m + options.margin_m - nearest)
            / (options.margin_m)
        )
        if away < 1.0:
            cost += np.hypot(x - goal[0], y - goal[1]).min(axis=1)
        cost[~allowed] = np.inf
        best = int(np.argmin(cost))
        if not np.isfinite(cost[best]):
            # No arc is safe: stop, and turn on the spot to where the way is down.
            return (0.0, self._turn_towards(self._downhill(obstacles, to_go)))
        if speed[best] < 0.06:
            turning = self._turn_towards(self._downhill(obstacles, to_go))
            return (0.0, turning or float(turn[best]))
        return (float(speed[best]), float(turn[best]))

    def _downhill(self, grid: ObstacleGrid, to_go: NDArray[np.float32]) -> float:
        """The bearing from the robot in which the cost-to-go falls most [rad]."""
        bearing = np.linspace(-np.pi, np.pi, 48, endpoint=False)
        cost = sum(
            np.minimum(_lookup(to_go, grid, r * np.cos(bearing), r * np.sin(bearing)), 500.0)
            for r in (0.5, 0.9, 1.3)
        )
        return float(bearing[int(np.argmin(cost))])

    def _cost_to_go(
        self, grid: ObstacleGrid, clearance: NDArray[np.float32], goal: Float
    ) -> NDArray[np.float32]:
        """(H, W) float32, cost of the way to the goal [m, more beside obstacles]."""
        rows, columns = grid.cells.shape
        radius, margin = self.limits.radius_m, self.options.margin_m
        weight = 1.0 + 4.0 * np.clip((radius + margin - clearance) / margin, 0.0, 1.0)
        weight = np.where(clearance < radius, 60.0, weight)
        weight = np.where(grid.cells < 0, weight * 1.3, weight).ravel()
        if self._edges is None or self._graph_for != (rows, columns):
            self._edges = _neighbours(rows, columns)
            self._graph_for = (rows, columns)
        one, two, length = self._edges
        value = length * grid.resolution_m * (weight[one] + weight[two]) / 2
        graph = coo_matrix((value, (one, two)), shape=(rows * columns,) * 2).tocsr()
        place = np.floor((goal - grid.origin_xy) / grid.resolution_m).astype(int)
        column = int(np.clip(place[0], 0, columns - 1))
        row = int(np.clip(place[1], 0, rows - 1))
        cost = dijkstra(graph, directed=False, indices=row * columns + column)
        field: NDArray[np.float32] = (
            np.minimum(cost, _FAR).reshape(rows, columns).astype(np.float32)
        )
        return field


def _clearance(grid: ObstacleGrid) -> NDArray[np.float32]:
    """(H, W) float32, distance of each cell's middle to the nearest occupied cell's edge [m]."""
    open_ = (grid.cells < 50).astype(np.uint8)
    if open_.all():
        return np.full(grid.cells.shape, _FAR, np.float32)
    steps = cv2.distanceTransform(open_, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    edge: NDArray[np.float32] = np.maximum(steps - 0.5, 0.0).astype(np.float32)
    return edge * np.float32(grid.resolution_m)


def _lookup(
    field: NDArray[np.float32], grid: ObstacleGrid, x: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.float64]:
    """A field's values at places of base_link [m], interpolated; the border's beyond it."""
    u = (x - grid.origin_xy[0]) / grid.resolution_m - 0.5
    v = (y - grid.origin_xy[1]) / grid.resolution_m - 0.5
    rows, columns = field.shape
    u, v = np.clip(u, 0, columns - 1.001), np.clip(v, 0, rows - 1.001)
    column, row = u.astype(int), v.astype(int)
    u, v = u - column, v - row
    result: NDArray[np.float64] = (
        field[row, column] * (1 - u) * (1 - v) + field[row, column + 1] * u * (1 - v)
        + field[row + 1, column] * (1 - u) * v + field[row + 1, column + 1] * u * v
    )  # fmt: skip
    return result


def _neighbours(
    rows: int, columns: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Each pair of touching cells once, and the distance of their middles in cells."""
    index = np.arange(rows * columns).reshape(rows, columns)
    pairs = [
        (index[:, :-1], index[:, 1:], 1.0), (index[:-1], index[1:], 1.0),
        (index[:-1, :-1], index[1:, 1:], 2**0.5), (index[:-1, 1:], index[1:, :-1], 2**0.5),
    ]  # fmt: skip
    one = np.concatenate([a.ravel() for a, _, _ in pairs])
    two = np.concatenate([b.ravel() for _, b, _ in pairs])
    length = np.concatenate([np.full(a.size, d) for a, _, d in pairs])
    return one, two, length
