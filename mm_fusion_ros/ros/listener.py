"""A ROS client that hears the fusion node and the simulator: the demo's eyes and voice."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from nav_msgs.msg import OccupancyGrid, Odometry
from rclpy.node import Node
from std_msgs.msg import String
from vision_msgs.msg import Detection3DArray

from mm_fusion_ros.config import FusionConfig
from mm_fusion_ros.outputs import ActionTarget, FusedOutput, Intent, ObstacleGrid, PoseEstimate
from mm_fusion_ros.ros import hearing, qos
from mm_fusion_ros.ros.answers import values_of
from mm_fusion_ros.ros.inputs import Inputs
from mm_fusion_ros.ros.parameters import NodeConfig
from mm_fusion_ros.ros.worker import Arrival, Pending
from mm_fusion_ros.samples import CameraFrame, LidarScan, Modality
from mm_fusion_ros.sensors.rejection import Rejected
from mm_fusion_ros.sim.mission import DriveState


@dataclass(frozen=True)
class Health:
    """What `/diagnostics` of the fusion node last said.

    Attributes:
        level: of the fusion itself.
        message: what it says of itself.
        figures: its values (rate, latency).
        rates: messages a second, by source.
    """

    level: bytes = DiagnosticStatus.STALE
    message: str = "the fusion node is not heard yet"
    figures: dict[str, str] = field(default_factory=dict)
    rates: dict[str, str] = field(default_factory=dict)


class Listener(Node):
    """Hears everything, keeps the last of each, and speaks commands. Thread-safe.

    Args:
        sensors: whether images and clouds are heard as well, for pictures.
    """

    def __init__(self, sensors: bool, **arguments: Any) -> None:
        super().__init__("demo", **arguments)
        self._lock = threading.Lock()
        self._output: FusedOutput | None = None
        self._heard: dict[str, Any] = {}
        self._target = ActionTarget(go=False, intent=Intent.NONE)
        self._health = Health()
        self._truth: Odometry | None = None
        self._status: dict[str, str] = {}
        self._sensed: dict[str, Arrival] = {}
        self._inputs: Inputs | None = None
        self._commands = self.create_publisher(String, "command", qos.reliable())
        for topic, kind in (
            ("fusion/objects", Detection3DArray),
            ("fusion/odometry", Odometry),
            ("fusion/obstacles", OccupancyGrid),
        ):
            self.create_subscription(kind, topic, self._keeper(topic), qos.reliable())
        self.create_subscription(
            DiagnosticArray, "fusion/reliability", self._on_reliability, qos.reliable()
        )
        self.create_subscription(
            DiagnosticStatus, "fusion/target_state", self._on_target, qos.latched()
        )
        self.create_subscription(
            DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.reliable()
        )
        self.create_subscription(Odometry, "sim/truth", self._on_truth, qos.reliable())
        self.create_subscription(DiagnosticStatus, "sim/status", self._on_status, qos.reliable())
        if sensors:
            default = FusionConfig()
            seeing = tuple(
                source
                for source in default.sources
                if source.modality in (Modality.CAMERA.value, Modality.LIDAR.value)
            )
            self._inputs = Inputs(
                self, FusionConfig(sources=seeing), NodeConfig(),
                offer=self._on_sensor, on_change=lambda: None, warn=lambda *_: None,
            )  # fmt: skip

    def close(self) -> None:
        """Nothing of its own runs."""

    def say(self, text: str) -> None:
        """Speaks a command."""
        self._commands.publish(String(data=text))

    @property
    def listened_to(self) -> bool:
        """Whether the fusion node hears commands already."""
        return bool(self._commands.get_subscription_count())

    def output(self) -> FusedOutput | None:
        """The last answer as a whole."""
        with self._lock:
            return self._output

    def health(self) -> Health:
        """What the fusion node last said of itself."""
        with self._lock:
            return self._health

    def drive(self) -> DriveState | None:
        """The drive as the simulator and the fusion last told it; None before they did."""
        with self._lock:
            if not self._status or self._truth is None:
                return None
            twist = self._truth.twist.twist.linear
            distance = self._status.get("distance_to_target_m")
            return DriveState(
                time_s=float(self._status["time_s"]),
                target=self._target,
                distance_m=float(distance) if distance else None,
                speed_mps=float(np.hypot(twist.x, twist.y)),
                collided=self._status["collided"] == "true",
            )

    def pace(self) -> float:
        """Simulated seconds a second."""
        with self._lock:
            return float(self._status.get("speed", "nan"))

    def samples(self) -> tuple[list[CameraFrame], list[LidarScan]]:
        """The last image and sweep of each sensor; converted here, in the caller's thread."""
        with self._lock:
            arrivals = list(self._sensed.values())
        frames: list[CameraFrame] = []
        scans: list[LidarScan] = []
        for arrival in arrivals:
            try:
                sample = None if self._inputs is None else self._inputs.convert(arrival, False)
            except (Pending, Rejected):
                continue
            if isinstance(sample, CameraFrame):
                frames.append(sample)
            elif isinstance(sample, LidarScan):
                scans.append(sample)
        return frames, scans

    def _keeper(self, topic: str) -> Any:
        def callback(message: Any) -> None:
            with self._lock:
                self._heard[topic] = message

        return callback

    def _on_sensor(self, source: str, message: Any) -> None:
        with self._lock:
            self._sensed[source] = Arrival(source, message, 0, time.monotonic_ns())

    def _on_reliability(self, message: DiagnosticArray) -> None:
        """The last message of every tick: the answer is whole with it."""
        stamp_ns = hearing.stamp_ns(message.header)
        with self._lock:
            detections = self._heard.get("fusion/objects")
            odometry = self._heard.get("fusion/odometry")
            grid = self._heard.get("fusion/obstacles")
            fitting = (
                detections is not None and hearing.stamp_ns(detections.header) == stamp_ns
            )  # fmt: skip
            pose: PoseEstimate | None = None if odometry is None else hearing.pose(odometry)
            obstacles: ObstacleGrid | None = None if grid is None else hearing.obstacles(grid)
            self._output = FusedOutput(
                stamp_ns=stamp_ns,
                objects=hearing.objects(detections) if fitting else (),
                reliability=hearing.reliability(message),
                pose=pose,
                target=self._target,
                obstacles=obstacles,
                by_deadline=False,
            )

    def _on_target(self, message: DiagnosticStatus) -> None:
        target = hearing.target(message)
        with self._lock:
            self._target = target

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        level, text, figures = DiagnosticStatus.STALE, "", {}
        rates = {}
        for status in message.status:
            node, _, part = status.name.partition(": ")
            if node != "fusion":
                return
            if part == "fusion":
                level, text, figures = status.level, status.message, values_of(status)
            else:
                rates[part] = values_of(status).get("rate_hz", "")
        with self._lock:
            self._health = Health(level, text, figures, rates)

    def _on_truth(self, message: Odometry) -> None:
        with self._lock:
            self._truth = message

    def _on_status(self, message: DiagnosticStatus) -> None:
        with self._lock:
            self._status = values_of(message)
