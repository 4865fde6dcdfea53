"""Pictures of what the node believes: the camera overlay and the bird's-eye view.

They are drawn only while someone listens, and after everything else of the tick is out.
"""

from __future__ import annotations

from collections import deque
from typing import TypeVar

import numpy as np
from rclpy.node import Node
from rclpy.publisher import Publisher
from sensor_msgs.msg import Image

from mm_fusion_ros import geometry
from mm_fusion_ros.config import FusionConfig
from mm_fusion_ros.outputs import FusedOutput
from mm_fusion_ros.ros import answers, qos
from mm_fusion_ros.samples import CameraFrame, LidarScan, Modality, Sample
from mm_fusion_ros.view.bev import bird_eye
from mm_fusion_ros.view.overlay import overlay

Stamped = TypeVar("Stamped", CameraFrame, LidarScan)

FRAMES_KEPT = 8
SCANS_KEPT = 3
TRAIL_KEPT = 2000
TRAIL_STEP_M = 0.1


class Pictures:
    """Keeps the last frames and scans, and draws them with the answer of a tick.

    The overlay of the first camera is `~/overlay`; that of a further one `~/overlay_<source>`.
    """

    def __init__(self, node: Node, config: FusionConfig, base_frame: str) -> None:
        self._node = node
        self._base_frame = base_frame
        self._frames: dict[str, deque[CameraFrame]] = {}
        self._scans: dict[str, deque[LidarScan]] = {}
        self._trail: deque[tuple[float, float]] = deque(maxlen=TRAIL_KEPT)
        self._overlays: dict[str, Publisher] = {}
        for source in config.sources:
            if source.modality == Modality.CAMERA.value:
                topic = f"~/overlay_{source.name}" if self._overlays else "~/overlay"
                self._overlays[source.name] = self._create(topic)
        self._bird_eye = self._create("~/bird_eye")

    def close(self) -> None:
        """Gives the publishers back."""
        for publisher in (*self._overlays.values(), self._bird_eye):
            self._node.destroy_publisher(publisher)

    def keep(self, sample: Sample) -> None:
        """Remembers an image or a scan; only a reference is held."""
        if isinstance(sample, CameraFrame):
            self._frames.setdefault(sample.source, deque(maxlen=FRAMES_KEPT)).append(sample)
        elif isinstance(sample, LidarScan):
            self._scans.setdefault(sample.source, deque(maxlen=SCANS_KEPT)).append(sample)

    def publish(self, output: FusedOutput) -> None:
        """Draws and publishes what someone listens to."""
        self._follow(output)
        for source, publisher in self._overlays.items():
            frame = _nearest(self._frames.get(source), output.stamp_ns)
            if frame is not None and publisher.get_subscription_count():
                drawn = overlay(
                    frame.image, frame.intrinsics, frame.base_from_camera, output.objects,
                    output.target, output.reliability, output.pose,
                )  # fmt: skip
                publisher.publish(answers.image(drawn, frame.stamp_ns, frame.frame_id))
        if self._bird_eye.get_subscription_count():
            drawn = bird_eye(
                self._points(output.stamp_ns), output.objects, output.pose, output.target,
                output.obstacles, trail=np.array(self._trail).reshape(-1, 2),
            )  # fmt: skip
            self._bird_eye.publish(answers.image(drawn, output.stamp_ns, self._base_frame))

    def _follow(self, output: FusedOutput) -> None:
        if output.pose is None:
            return
        x, y = (float(value) for value in output.pose.map_from_base[:2, 3])
        if not self._trail or np.hypot(x - self._trail[-1][0], y - self._trail[-1][1]) > (
            TRAIL_STEP_M
        ):
            self._trail.append((x, y))

    def _points(self, stamp_ns: int) -> np.ndarray | None:
        """All lidars' points in base_link; those of a sensor that fell silent are left out."""
        clouds = []
        for scans in self._scans.values():
            scan = _nearest(scans, stamp_ns)
            if scan is not None:
                clouds.append(geometry.apply(scan.base_from_lidar, scan.points[:, :3]))
        return np.concatenate(clouds) if clouds else None

    def _create(self, topic: str) -> Publisher:
        return self._node.create_publisher(
            Image, topic, qos.reliable(depth=2), qos_overriding_options=qos.overridable()
        )


def _nearest(kept: deque[Stamped] | None, stamp_ns: int, within_ns: int = 500_000_000) -> (
    Stamped | None
):  # fmt: skip
    if not kept:
        return None
    best = min(kept, key=lambda sample: abs(sample.stamp_ns - stamp_ns))
    return best if abs(best.stamp_ns - stamp_ns) <= within_ns else None
