"""The bench's robot: sends pre-rendered samples at their rates, from a process of its own."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import rclpy
from nav_msgs.msg import Odometry
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from tf2_msgs.msg import TFMessage

from mm_fusion_ros.evaluation import bench_samples
from mm_fusion_ros.evaluation.bench_samples import (
    CAMERA,
    CAMERA_HZ,
    LIDAR,
    LIDAR_HZ,
    ODOMETRY,
    ODOMETRY_HZ,
    BenchSamples,
)
from mm_fusion_ros.evaluation.latency import LIDAR_PHASE_NS, ODOMETRY_PHASE_NS, SECOND_NS
from mm_fusion_ros.ros import answers, drivers, qos

BASE_FRAME = "base_link"
DISCOVERY_S = 10.0


class Driver(Node):
    """Camera, lidar and odometry of a robot that stands.

    Args:
        samples: sent round and round.
        with_odometry: whether the robot has wheels that say so.
    """

    def __init__(self, samples: BenchSamples, with_odometry: bool) -> None:
        super().__init__("bench_driver")
        # Made once: at run time only the stamp is written.
        self._images = [drivers.image(frame) for frame in samples.frames]
        self._clouds = [drivers.cloud(scan) for scan in samples.scans]
        self._info = drivers.camera_info(samples.frames[0])
        self._with_odometry = with_odometry
        sensor, frame, scan = qos.sensor_data(), samples.frames[0], samples.scans[0]
        self._camera = self.create_publisher(Image, f"{CAMERA}/image_raw", sensor)
        self._camera_info = self.create_publisher(CameraInfo, f"{CAMERA}/camera_info", sensor)
        self._lidar = self.create_publisher(PointCloud2, f"{LIDAR}/points", sensor)
        self._odometry = self.create_publisher(Odometry, ODOMETRY, sensor)
        self._static = self.create_publisher(TFMessage, "/tf_static", qos.latched())
        self._static.publish(
            answers.tf_message(
                answers.transform(frame.base_from_camera, 0, BASE_FRAME, frame.frame_id),
                answers.transform(scan.base_from_lidar, 0, BASE_FRAME, scan.frame_id),
            )
        )
        self.sent: dict[str, list[int]] = {CAMERA: [], LIDAR: [], ODOMETRY: []}
        self.late_ns: list[int] = []

    def heard(self) -> bool:
        """Whether somebody listens to camera and lidar."""
        return all(p.get_subscription_count() > 0 for p in (self._camera, self._lidar))

    def run(self, seconds: float) -> None:
        """Sends everything in time."""
        plan: list[tuple[int, int, Callable[[int], None]]] = []
        rates: list[tuple[int, int, Callable[[int], None]]] = [
            (CAMERA_HZ, 0, self._send_image),
            (LIDAR_HZ, LIDAR_PHASE_NS, self._send_cloud),
        ]
        if self._with_odometry:
            rates.append((ODOMETRY_HZ, ODOMETRY_PHASE_NS, self._send_odometry))
        for hz, phase_ns, send in rates:
            plan += [
                (phase_ns + index * SECOND_NS // hz, index, send)
                for index in range(int(seconds * hz))
            ]
        begin_ns = time.monotonic_ns() + SECOND_NS // 10
        for due_ns, index, send in sorted(plan, key=lambda item: item[0]):
            wait_ns = begin_ns + due_ns - time.monotonic_ns()
            if wait_ns > 0:
                time.sleep(wait_ns / SECOND_NS)
            self.late_ns.append(max(0, time.monotonic_ns() - begin_ns - due_ns))
            send(index)

    def _send_image(self, index: int) -> None:
        message, stamp_ns = self._images[index % len(self._images)], self._stamped(CAMERA)
        message.header.stamp = self._info.header.stamp = answers.time_of(stamp_ns)
        self._camera_info.publish(self._info)
        self._camera.publish(message)

    def _send_cloud(self, index: int) -> None:
        message = self._clouds[index % len(self._clouds)]
        message.header.stamp = answers.time_of(self._stamped(LIDAR))
        self._lidar.publish(message)

    def _send_odometry(self, _index: int) -> None:
        sample = bench_samples.standing(self._stamped(ODOMETRY))
        self._odometry.publish(drivers.odometry(sample, BASE_FRAME))

    def _stamped(self, source: str) -> int:
        """Now, written down as sent."""
        stamp_ns = time.time_ns()
        self.sent[source].append(stamp_ns)
        return stamp_ns


def main() -> None:
    """Waits until it is heard, sends, and writes down what it sent."""
    parser = argparse.ArgumentParser()
    parser.add_argument("samples", type=Path)
    parser.add_argument("sent", type=Path)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--no-odometry", action="store_true")
    args = parser.parse_args()
    rclpy.init(args=[])
    driver = Driver(bench_samples.load(args.samples), not args.no_odometry)
    began_s = time.monotonic()
    while not driver.heard() and time.monotonic() - began_s < DISCOVERY_S:
        time.sleep(0.02)
    driver.run(args.seconds)
    content = {"sent": driver.sent, "late_ns": driver.late_ns, "heard": driver.heard()}
    args.sent.write_text(json.dumps(content), encoding="utf-8")
    driver.destroy_node()
    rclpy.try_shutdown()


if __name__ == "__main__":
    main()
