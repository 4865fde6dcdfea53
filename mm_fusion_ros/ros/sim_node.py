"""The simulator as a robot on ROS: drivers, clock and transforms out, target and obstacles in.

Real drivers' topics, frames and quality of service. Simulated time keeps to steady time where the
machine is fast enough; where it is not, simulated time slows down and nothing is dropped.
"""

from __future__ import annotations

import queue
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseStamped, TransformStamped
from nav_msgs.msg import OccupancyGrid, Odometry
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock

from mm_fusion_ros import geometry
from mm_fusion_ros.ros import answers, drivers, hearing, qos
from mm_fusion_ros.ros.execution import run_node
from mm_fusion_ros.ros.pace import Pace
from mm_fusion_ros.ros.parameters import declared
from mm_fusion_ros.ros.sim_config import SimConfig, injector_of
from mm_fusion_ros.samples import (
    CameraFrame,
    Float,
    GpsFix,
    LidarScan,
    OdometrySample,
    Sample,
)
from mm_fusion_ros.sim.demo_world import demo_world
from mm_fusion_ros.sim.follower import Follower
from mm_fusion_ros.sim.simulation import Simulation, SimulationOptions, demo_rig
from mm_fusion_ros.sim.world import World, WorldOptions, generate

STATUS_PERIOD_NS = 200_000_000


class SimNode(Node):
    """A simulated robot in a simulated world.

    Topics out: `/clock`, `/tf`, `/tf_static`, `camera/image_raw`, `camera/camera_info`,
    `lidar/points`, `gps/fix`, `odom`, and the truth: `~/truth` (pose and twist), `~/status`.
    In: `target`, `target_state`, `obstacles`, and `believed_odometry`, the fused pose.

    Raises:
        ConfigError: a parameter is out of range.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__("sim", **arguments)
        self.options = declared(self, SimConfig)
        self._publishers_by_topic: dict[str, Publisher] = {}
        self._mounts: dict[str, TransformStamped] = {}
        self._inbox: queue.SimpleQueue[Callable[[Simulation], None]] = queue.SimpleQueue()
        self._follower = Follower()
        self._stopping = threading.Event()
        self.failed = False
        self._status_ns = 0
        self._injector = injector_of(self.options)
        self._listen()
        # Building the world takes a while, and a constructor must not block.
        self._thread = threading.Thread(target=self._run, name="simulation", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the simulation."""
        self._stopping.set()
        self._thread.join(1.5)

    # ------------------------------------------------------------------ in: the executor's thread

    def _listen(self) -> None:
        for topic, kind, callback, profile in (
            ("target", PoseStamped, self._on_target, qos.reliable()),
            ("target_state", DiagnosticStatus, self._on_state, qos.latched()),
            ("obstacles", OccupancyGrid, self._on_obstacles, qos.reliable(depth=1)),
            ("believed_odometry", Odometry, self._on_belief, qos.reliable()),
        ):
            self.create_subscription(
                kind, topic, callback, profile, qos_overriding_options=qos.overridable()
            )

    def _on_target(self, message: PoseStamped) -> None:
        pose = hearing.matrix_of(message.pose)
        self._inbox.put(lambda _: self._follower.aim(pose))

    def _on_state(self, message: DiagnosticStatus) -> None:
        state = hearing.target(message)
        self._inbox.put(lambda _: self._follower.obey(state))

    def _on_belief(self, message: Odometry) -> None:
        stamp_ns, pose = hearing.stamp_ns(message.header), hearing.matrix_of(message.pose.pose)
        self._inbox.put(lambda _: self._follower.believe(stamp_ns, pose))

    def _on_obstacles(self, message: OccupancyGrid) -> None:
        grid, stamp_ns = hearing.obstacles(message), hearing.stamp_ns(message.header)
        self._inbox.put(
            lambda simulation: simulation.set_obstacles(grid, self._follower.was_at(stamp_ns))
        )

    # ------------------------------------------------------------------ out: the simulation's

    def _run(self) -> None:
        try:
            self._drive()
        except Exception:  # noqa: BLE001 - whatever it was, a robot that stands still says why
            if self.context.ok():
                self.failed = True
                self.get_logger().fatal(traceback.format_exc())
                self.context.try_shutdown()

    def _drive(self) -> None:
        simulation = self._build()
        pace = Pace(self.options.speed, simulation.now_ns, time.monotonic_ns())
        while not self._stopping.is_set() and self.context.ok():
            while not self._inbox.empty():
                self._inbox.get()(simulation)
            self._follower.be_at(simulation.now_ns, simulation.state.map_from_base)
            simulation.set_target(self._follower.target(simulation.now_ns))
            samples = simulation.step()
            if self._stopping.wait(pace.wait_s(simulation.now_ns, time.monotonic_ns())):
                break
            if self.context.ok():
                self._publish_all(simulation, samples, pace)

    def _build(self) -> Simulation:
        options = self.options
        world: World = (
            demo_world(options.seed, options.lighting)
            if options.world == "demo"
            else generate(options.seed, WorldOptions())
        )
        rig = demo_rig((options.image_width, options.image_height), options.beams)
        rates = SimulationOptions(
            camera_hz=options.camera_hz, lidar_hz=options.lidar_hz, gps_hz=options.gps_hz,
            odometry_hz=options.odometry_hz,
        )  # fmt: skip
        return Simulation(world, rig, seed=options.seed, options=rates)

    def _mount(self, frame: str, base_from_sensor: Float, stamp_ns: int) -> None:
        """Latches where a sensor is mounted, before its first message goes out."""
        if frame in self._mounts:
            return
        self._mounts[frame] = answers.transform(base_from_sensor, stamp_ns, "base_link", frame)
        self._send("/tf_static", answers.tf_message(*self._mounts.values()), qos.latched())

    def _publish_all(self, simulation: Simulation, samples: Sequence[Sample], pace: Pace) -> None:
        now_ns = simulation.now_ns
        self._send("/clock", Clock(clock=answers.time_of(now_ns)), qos.sensor_data(depth=1))
        for measured in samples:
            for sample in self._injector(measured, now_ns):
                self._publish(sample, simulation)
        if now_ns - self._status_ns >= STATUS_PERIOD_NS:
            self._status_ns = now_ns
            self._publish_truth(simulation, pace)

    def _publish(self, sample: Sample, simulation: Simulation) -> None:
        if isinstance(sample, CameraFrame):
            name = sample.source
            self._mount(sample.frame_id, sample.base_from_camera, sample.stamp_ns)
            self._send(f"{name}/camera_info", drivers.camera_info(sample), qos.sensor_data())
            self._send(f"{name}/image_raw", drivers.image(sample), qos.sensor_data())
        elif isinstance(sample, LidarScan):
            self._mount(sample.frame_id, sample.base_from_lidar, sample.stamp_ns)
            cloud = drivers.cloud(sample, simulation.rig.lidar.elevation_deg)
            self._send(f"{sample.source}/points", cloud, qos.sensor_data())
        elif isinstance(sample, GpsFix):
            antenna = geometry.transform(np.eye(3), sample.base_from_antenna)
            self._mount(sample.frame_id, antenna, sample.stamp_ns)
            self._send(f"{sample.source}/fix", drivers.fix(sample), qos.sensor_data())
        elif isinstance(sample, OdometrySample):
            self._send(sample.source, drivers.odometry(sample), qos.reliable())
            edge = answers.transform(
                sample.odom_from_base, sample.stamp_ns, sample.frame_id, "base_link"
            )
            self._send("/tf", answers.tf_message(edge), qos.reliable(100))

    def _publish_truth(self, simulation: Simulation, pace: Pace) -> None:
        truth = simulation.truth(labels=False)
        message = Odometry(
            header=answers.header(truth.stamp_ns, "world"), child_frame_id="base_link"
        )
        message.pose.pose = answers.pose_of(truth.map_from_base)
        message.twist.twist.linear.x = float(truth.twist[0])
        message.twist.twist.angular.z = float(truth.twist[5])
        self._send("~/truth", message, qos.reliable())
        distance = simulation.distance_to_target()
        values = {
            "time_s": f"{simulation.time_s:.2f}",
            "collided": str(truth.collided).lower(),
            "distance_to_target_m": "" if distance is None else f"{distance:.3f}",
            "speed": f"{pace.achieved(truth.stamp_ns, time.monotonic_ns()):.3f}",
        }
        level = DiagnosticStatus.ERROR if truth.collided else DiagnosticStatus.OK
        self._send(
            "~/status",
            DiagnosticStatus(
                level=level, name="simulation", values=answers.key_values(values),
                message="collided" if truth.collided else "driving",
            ),
            qos.reliable(),
        )  # fmt: skip

    def _send(self, topic: str, message: Any, profile: QoSProfile) -> None:
        publisher = self._publishers_by_topic.get(topic)
        if publisher is None:
            publisher = self.create_publisher(
                type(message), topic, profile, qos_overriding_options=qos.overridable()
            )
            self._publishers_by_topic[topic] = publisher
        publisher.publish(message)


def main(args: Sequence[str] | None = None) -> None:
    """Runs the node until SIGINT or SIGTERM."""
    run_node(SimNode, args)


if __name__ == "__main__":
    main()
