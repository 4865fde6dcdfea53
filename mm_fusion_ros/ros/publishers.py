"""The node's voice: every output topic, and when each is published."""

from __future__ import annotations

from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import OccupancyGrid, Odometry
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from vision_msgs.msg import Detection3DArray
from visualization_msgs.msg import MarkerArray

from mm_fusion_ros.outputs import ActionTarget, FusedOutput, HoldReason, Intent
from mm_fusion_ros.ros import answers, qos
from mm_fusion_ros.ros.parameters import NodeConfig
from mm_fusion_ros.ros.transforms import MapBroadcaster


class Resend:
    """Whether a believed pose is news: the first after a HOLD, for another object, or moved.

    Args:
        distance_m: how far a pose moves before it is sent again [m].
    """

    def __init__(self, distance_m: float) -> None:
        self._distance_m = distance_m
        self._sent: ActionTarget | None = None

    def __call__(self, target: ActionTarget) -> bool:
        """True when this target should be published."""
        if not target.go or target.map_from_target is None:
            self._sent = None
            return False
        sent = self._sent
        if sent is not None and sent.map_from_target is not None:
            moved = np.linalg.norm(target.map_from_target[:3, 3] - sent.map_from_target[:3, 3])
            same = sent.text == target.text and sent.track_id == target.track_id
            if same and float(moved) <= self._distance_m:
                return False
        self._sent = target
        return True


class Publishers:
    """Publishes the answer of each tick.

    Args:
        node: publishers are made on it.
        node_config: frames.
        resend_m: how far a target moves before it is sent again [m].
    """

    def __init__(self, node: Node, node_config: NodeConfig, resend_m: float) -> None:
        self._node = node
        self._frames = node_config
        self._is_news = Resend(resend_m)
        self._publishers: list[Publisher] = []
        self._objects = self._create(Detection3DArray, "~/objects", qos.reliable())
        self._odometry = self._create(Odometry, "~/odometry", qos.reliable())
        self._target = self._create(PoseStamped, "~/target", qos.reliable())
        self._target_state = self._create(DiagnosticStatus, "~/target_state", qos.latched())
        self._obstacles = self._create(OccupancyGrid, "~/obstacles", qos.reliable())
        self._reliability = self._create(DiagnosticArray, "~/reliability", qos.reliable())
        self._markers = self._create(MarkerArray, "~/markers", qos.reliable())
        self._broadcaster = (
            MapBroadcaster(node, node_config.map_frame, node_config.odom_frame)
            if node_config.publish_tf
            else None
        )

    def close(self) -> None:
        """Gives the publishers back."""
        for publisher in self._publishers:
            self._node.destroy_publisher(publisher)
        self._publishers = []
        if self._broadcaster is not None:
            self._broadcaster.close()

    def publish(self, output: FusedOutput) -> None:
        """Publishes an answer: objects first, for they are what is waited for."""
        stamp_ns, base, world = output.stamp_ns, self._frames.base_frame, self._frames.map_frame
        self._objects.publish(answers.detections(output.objects, stamp_ns, base))
        self._target_state.publish(answers.target_state(output.target))
        if self._is_news(output.target):
            self._target.publish(answers.target_pose(output.target, stamp_ns, world))
        if output.pose is not None:
            self._odometry.publish(answers.odometry(output.pose, world, base))
            if self._broadcaster is not None:
                self._broadcaster.publish(output.pose)
        self._reliability.publish(answers.reliability(output.reliability, stamp_ns, base))
        if output.obstacles is not None and self._wanted(self._obstacles):
            self._obstacles.publish(answers.obstacles(output.obstacles, stamp_ns, base))
        if self._wanted(self._markers):
            self._markers.publish(
                answers.markers(
                    output.objects, output.target, stamp_ns, base_frame=base, map_frame=world
                )
            )

    def withdraw(self, stamp_ns: int) -> None:
        """Takes everything back: no objects, HOLD. For the watchdog, and when the node stops."""
        hold = ActionTarget(go=False, intent=Intent.NONE, reason=HoldReason.UNRELIABLE)
        self._is_news(hold)
        self._target_state.publish(answers.target_state(hold))
        self._objects.publish(answers.detections((), stamp_ns, self._frames.base_frame))

    def _create(self, kind: type, topic: str, profile: QoSProfile) -> Publisher:
        publisher = self._node.create_publisher(
            kind, topic, profile, qos_overriding_options=qos.overridable()
        )
        self._publishers.append(publisher)
        return publisher

    @staticmethod
    def _wanted(publisher: Publisher) -> bool:
        """Costly messages are made for someone only."""
        count: Any = publisher.get_subscription_count()
        return bool(count)
