"""A robot in a world, sensor by sensor, in integer nanoseconds."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mm_fusion_ros import geometry
from mm_fusion_ros.config import ObstaclesConfig
from mm_fusion_ros.localization.enu import LocalPlane
from mm_fusion_ros.outputs import ObstacleGrid
from mm_fusion_ros.perception.obstacles import obstacle_grid
from mm_fusion_ros.samples import CameraFrame, Command, Float, LidarScan, Sample
from mm_fusion_ros.sim.labels import Label, label_objects
from mm_fusion_ros.sim.primitives import Index
from mm_fusion_ros.sim.raycast import Renderer
from mm_fusion_ros.sim.robot import LocalPlanner, RobotLimits, RobotState, advance
from mm_fusion_ros.sim.sensors import (
    CameraSpec,
    GpsModel,
    LidarSpec,
    Rig,
    WheelOdometryModel,
    base_from_optical,
)
from mm_fusion_ros.sim.world import World

_NS = 1_000_000_000
# Physics steps are no longer than this.
_STEP_NS = 20_000_000
_BUMPER_RAYS = 48
_BUMPER_HEIGHTS = (0.3, 0.6, 1.0, 1.4)


def demo_rig(image_size: tuple[int, int] = (384, 288), beams: int = 32, columns: int = 1024) -> Rig:
    """The demonstration robot's sensors: one camera ahead, one lidar on top.

    Args:
        image_size: width and height [pixels].
        beams, columns: of the lidar.
    """
    camera = CameraSpec(
        "camera", image_size[0], image_size[1], 90.0,
        base_from_optical(np.array([0.25, 0.0, 1.0]), 0.0, np.radians(-4.0)), vignetting=0.15,
    )  # fmt: skip
    lidar = LidarSpec(
        "lidar", np.linspace(14.0, -22.0, beams), columns,
        geometry.from_euler(np.array([0.0, 0.0, 1.3]), 0.0, 0.0, 0.0), range_noise_m=0.02,
        max_range_m=90.0,
    )  # fmt: skip
    return Rig((camera,), lidar)


@dataclass(frozen=True)
class SimulationOptions:
    """Rates and places.

    Attributes:
        camera_hz, lidar_hz, gps_hz, odometry_hz: rates; 0 switches a sensor off.
        start_ns: time of the first instant; not zero, which would mean "no stamp".
        latitude_deg, longitude_deg, altitude_m: where the map's origin lies on the earth.
        gps_sigma_m: standard deviation of the wandering GPS error [m].
        distort: whether a sweep of the moving robot is distorted by the motion, as a real one is.
        plan_hz: how often the robot decides anew where to drive.
    """

    camera_hz: int = 10
    lidar_hz: int = 10
    gps_hz: int = 5
    odometry_hz: int = 30
    start_ns: int = 1_700_000_000 * _NS
    latitude_deg: float = 52.52
    longitude_deg: float = 13.405
    altitude_m: float = 40.0
    gps_sigma_m: float = 0.9
    distort: bool = True
    plan_hz: int = 10


@dataclass(frozen=True, eq=False)
class Truth:
    """What really is, at an instant.

    Attributes:
        map_from_base: (4, 4) float64; map is ENU about the simulated datum.
        twist: (6,) float64, in base_link.
        labels: objects, as the last image and sweep measured them.
        collided: whether the robot touched anything since the start.
    """

    stamp_ns: int
    map_from_base: Float
    twist: Float
    labels: tuple[Label, ...] = field(default_factory=tuple)
    collided: bool = False


class Simulation:
    """Steps robot and sensors together; deterministic in world, rig, options and seed."""

    def __init__(
        self,
        world: World,
        rig: Rig | None = None,
        *,
        seed: int = 0,
        options: SimulationOptions | None = None,
        limits: RobotLimits | None = None,
    ) -> None:
        self.world = world
        self.rig = rig or demo_rig()
        self.options = options or SimulationOptions()
        self.limits = limits or RobotLimits()
        self.renderer = Renderer(world)
        self.planner = LocalPlanner(self.limits)
        self.plane = LocalPlane(
            self.options.latitude_deg, self.options.longitude_deg, self.options.altitude_m
        )
        self.base_from_antenna = np.array([-0.2, 0.0, 1.2])
        streams = [np.random.default_rng([seed, 4, index]) for index in range(4)]
        self._camera_rng, self._lidar_rng = streams[0], streams[1]
        self._gps = GpsModel(
            streams[2], self.plane, sigma_m=self.options.gps_sigma_m,
            base_from_antenna=self.base_from_antenna,
        )  # fmt: skip
        self._odometry = WheelOdometryModel(streams[3])
        x, y, yaw = world.starts[0]
        self.state = RobotState(float(x), float(y), float(yaw))
        self.now_ns = self.options.start_ns
        self.collided = False
        self._wanted = (0.0, 0.0)
        self._map_from_target: Float | None = None
        self._obstacles: tuple[ObstacleGrid, Float] | None = None
        self._given_obstacles = False
        self._since_odometry = (self.now_ns, 0.0, 0.0)
        self._camera_ids: dict[str, Index] = {}
        self._lidar_ids: Index = np.zeros(0, np.int32)
        self._commands: list[str] = []
        self._count = dict.fromkeys(("plan", "odometry", "gps", "camera", "lidar"), 0)
        # A sweep's stamp is its end, so the first one is whole a turn after the start.
        self._count["lidar"] = 1 if self.options.lidar_hz else 0

    @property
    def time_s(self) -> float:
        """Seconds since the start."""
        return (self.now_ns - self.options.start_ns) / _NS

    def set_target(
        self, map_from_target: Float | None, believed_map_from_base: Float | None = None
    ) -> None:
        """What to drive to.

        Args:
            map_from_target: (4, 4) float64, the pose to reach; None stops.
            believed_map_from_base: (4, 4) float64, where the giver of the target believes the
                robot to be now, in the same map: the target then is taken relative to the robot.
                None takes the target in the simulation's own map.
        """
        if map_from_target is None or believed_map_from_base is None:
            self._map_from_target = map_from_target
            return
        base_from_target = geometry.inverse(believed_map_from_base) @ map_from_target
        self._map_from_target = self.state.map_from_base @ base_from_target

    def set_obstacles(
        self, obstacles: ObstacleGrid | None, map_from_base: Float | None = None
    ) -> None:
        """What to steer around.

        Args:
            obstacles: in base_link; None goes back to the last sweep's own grid.
            map_from_base: (4, 4) float64, where the robot was when they were seen; None takes now.
        """
        self._given_obstacles = obstacles is not None
        self._obstacles = None
        if obstacles is not None:
            seen_from = self.state.map_from_base if map_from_base is None else map_from_base
            self._obstacles = (obstacles, seen_from)

    def command(self, text: str) -> None:
        """Says something to the robot: it comes out of `step` as a sample at the next instant."""
        self._commands.append(text)

    def step(self) -> tuple[Sample, ...]:
        """Goes on to the next instant at which a sensor measures; returns what was measured."""
        due = {name: self._due_ns(name) for name in self._count}
        next_ns = min(stamp for name, stamp in due.items() if stamp is not None)
        self._move_to(next_ns)
        samples: list[Sample] = [
            Command(self.now_ns, "", "command", text) for text in self._commands
        ]
        self._commands.clear()
        if due["odometry"] == next_ns:
            samples.append(self._measure_odometry())
        if due["gps"] == next_ns:
            samples.append(self._gps.fix(self.now_ns, self.state.map_from_base))
        if due["camera"] == next_ns:
            samples.extend(self._take_image(spec) for spec in self.rig.cameras)
        if due["lidar"] == next_ns:
            samples.append(self._take_sweep())
        if due["plan"] == next_ns:
            self._plan()
        for name, stamp in due.items():
            self._count[name] += stamp == next_ns
        return tuple(samples)

    def run(self, seconds: float) -> list[Sample]:
        """All samples of the coming time [s]."""
        end_ns = self.now_ns + round(seconds * _NS)
        samples: list[Sample] = []
        while min(s for s in map(self._due_ns, self._count) if s is not None) <= end_ns:
            samples.extend(self.step())
        return samples

    def truth(self, labels: bool = True) -> Truth:
        """What really is now.

        Args:
            labels: whether to work out the objects' visibility, which takes a few milliseconds.
        """
        found: tuple[Label, ...] = ()
        if labels:
            cameras = tuple(c for c in self.rig.cameras if c.name in self._camera_ids)
            ids = tuple(self._camera_ids[c.name] for c in cameras)
            found = label_objects(
                self.renderer, self.state.map_from_base, cameras, ids, self._lidar_ids, self.time_s
            )
        return Truth(self.now_ns, self.state.map_from_base, self.state.twist, found, self.collided)

    def distance_to_target(self) -> float | None:
        """From the robot to its target in the ground plane [m]; None without one."""
        if self._map_from_target is None:
            return None
        goal = self._map_from_target[:2, 3]
        return float(np.hypot(goal[0] - self.state.x, goal[1] - self.state.y))

    def _due_ns(self, name: str) -> int | None:
        rate = {
            "plan": self.options.plan_hz, "odometry": self.options.odometry_hz,
            "gps": self.options.gps_hz, "camera": self.options.camera_hz,
            "lidar": self.options.lidar_hz,
        }[name]  # fmt: skip
        return self.options.start_ns + self._count[name] * _NS // rate if rate else None

    def _move_to(self, stamp_ns: int) -> None:
        while self.now_ns < stamp_ns:
            step_ns = min(_STEP_NS, stamp_ns - self.now_ns)
            elapsed = step_ns / _NS
            moved = advance(self.state, self._wanted, elapsed, self.limits)
            self.now_ns += step_ns
            if self._moving(moved) and self._touches(moved):
                self.collided = True
                moved = RobotState(self.state.x, self.state.y, self.state.yaw)
                self._wanted = (0.0, 0.0)
            since, way, angle = self._since_odometry
            way += (self.state.speed + moved.speed) / 2 * elapsed
            angle += geometry.wrap_angle(moved.yaw - self.state.yaw)
            self._since_odometry = (since, way, angle)
            self.state = moved

    def _moving(self, state: RobotState) -> bool:
        return abs(state.speed) > 1e-3

    def _touches(self, state: RobotState) -> bool:
        """Whether the robot's body would be inside anything that stands about."""
        angle = np.arange(_BUMPER_RAYS) * (2 * np.pi / _BUMPER_RAYS)
        around = np.stack([np.cos(angle), np.sin(angle), np.zeros_like(angle)], axis=1)
        return any(
            self.renderer.nearest(np.array([state.x, state.y, height]), around)
            < self.limits.radius_m
            for height in _BUMPER_HEIGHTS
        )

    def _measure_odometry(self) -> Sample:
        since, way, angle = self._since_odometry
        elapsed = (self.now_ns - since) / _NS
        self._since_odometry = (self.now_ns, 0.0, 0.0)
        speed, turn = (way / elapsed, angle / elapsed) if elapsed > 0 else (0.0, 0.0)
        return self._odometry.advance(self.now_ns, speed, turn, elapsed)

    def _take_image(self, spec: CameraSpec) -> CameraFrame:
        image, ids = self.renderer.camera(
            self.state.map_from_base @ spec.base_from_camera, spec, self.time_s, self._camera_rng
        )
        self._camera_ids[spec.name] = ids
        return CameraFrame(
            self.now_ns, f"{spec.name}_optical", spec.name, image, spec.intrinsics,
            spec.base_from_camera,
        )  # fmt: skip

    def _take_sweep(self) -> LidarScan:
        spec = self.rig.lidar
        twist = None
        if self.options.distort and (self.state.speed or self.state.turn):
            # The lidar's own velocity: the base's, and what the turning adds at its place.
            rotation = spec.base_from_lidar[:3, :3]
            turn = self.state.twist[3:]
            at_lidar = self.state.twist[:3] + np.cross(turn, spec.base_from_lidar[:3, 3])
            twist = np.concatenate([rotation.T @ at_lidar, rotation.T @ turn])
        points, offset, self._lidar_ids = self.renderer.lidar(
            self.state.map_from_base @ spec.base_from_lidar, spec, self.time_s, self._lidar_rng,
            twist,
        )  # fmt: skip
        if not self._given_obstacles:
            base = points.copy()
            base[:, :3] = geometry.apply(spec.base_from_lidar, points[:, :3])
            place = (float(spec.base_from_lidar[0, 3]), float(spec.base_from_lidar[1, 3]))
            grid = obstacle_grid(base, ObstaclesConfig(), place)
            self._obstacles = (grid, self.state.map_from_base)
        return LidarScan(self.now_ns, "lidar", spec.name, points, spec.base_from_lidar, offset)

    def _plan(self) -> None:
        if self._map_from_target is None:
            self._wanted = (0.0, 0.0)
            return
        base_from_target = geometry.inverse(self.state.map_from_base) @ self._map_from_target
        grid = None
        if self._obstacles is not None:
            grid = _moved(self._obstacles[0], self._obstacles[1], self.state.map_from_base)
        self._wanted = self.planner.drive(self.state, base_from_target, grid)


def _moved(grid: ObstacleGrid, map_from_then: Float, map_from_now: Float) -> ObstacleGrid:
    """A grid of an earlier base_link in that of now, by nearest cells; what is new is unknown."""
    then_from_now = geometry.inverse(map_from_then) @ map_from_now
    if np.allclose(then_from_now, np.eye(4), atol=1e-3):
        return grid
    rows, columns = grid.cells.shape
    x = grid.origin_xy[0] + (np.arange(columns) + 0.5) * grid.resolution_m
    y = grid.origin_xy[1] + (np.arange(rows) + 0.5) * grid.resolution_m
    xx, yy = np.meshgrid(x, y)
    m = then_from_now
    u = m[0, 0] * xx + m[0, 1] * yy + m[0, 3]
    v = m[1, 0] * xx + m[1, 1] * yy + m[1, 3]
    column = np.floor((u - grid.origin_xy[0]) / grid.resolution_m).astype(int)
    row = np.floor((v - grid.origin_xy[1]) / grid.resolution_m).astype(int)
    inside = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
    cells = np.full_like(grid.cells, -1)
    cells[inside] = grid.cells[row[inside], column[inside]]
    return ObstacleGrid(cells, grid.resolution_m, grid.origin_xy)
