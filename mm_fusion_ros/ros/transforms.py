"""Where the sensors are mounted: a listener to /tf and /tf_static, and a broadcaster.

The listener only stores; a lookup walks from the sensor up to the base. Nothing here waits: a
lookup that fails says why, and the worker asks again until its patience runs out, off the
callbacks' thread.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import deque

from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.publisher import Publisher
from tf2_msgs.msg import TFMessage

from mm_fusion_ros import geometry
from mm_fusion_ros.outputs import PoseEstimate
from mm_fusion_ros.ros import answers, conversions, qos
from mm_fusion_ros.ros.conversions import TransformTree, frame_name
from mm_fusion_ros.samples import Float
from mm_fusion_ros.sensors.rejection import Rejected

HISTORY = 128
# A moving joint is carried on by no more than this; beyond it the transform is missing.
MAX_EXTRAPOLATION_NS = 200_000_000

Edge = tuple[str, str, Float]


class TransformMissing(LookupError):
    """No chain of transforms joins two frames at the instant asked for."""


class TransformBuffer:
    """The robot's transforms: fixed ones, and moving ones with a short history. Thread-safe.

    Of moving edges only the raw messages are kept on arrival: a robot sends many, and those that
    a sensor hangs on are few.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._fixed: dict[str, Edge] = {}
        self._tree = TransformTree()
        self._moving: dict[str, deque[tuple[int, TransformStamped]]] = {}

    def add_fixed(self, message: TFMessage) -> list[Rejected]:
        """Stores the transforms of a message of /tf_static.

        Returns:
            what was left out, and why.
        """
        refused: list[Rejected] = []
        with self._lock:
            for parent, child, parent_from_child in conversions.static_transforms(message, refused):
                try:
                    self._tree.add(parent, child, parent_from_child)
                except Rejected as verdict:
                    refused.append(verdict)
                else:
                    self._fixed[child] = (parent, child, parent_from_child)
        return refused

    def add_moving(self, message: TFMessage) -> None:
        """Stores the transforms of a message of /tf."""
        with self._lock:
            for edge in message.transforms:
                stamp_ns = edge.header.stamp.sec * 1_000_000_000 + edge.header.stamp.nanosec
                history = self._moving.setdefault(
                    frame_name(edge.child_frame_id), deque(maxlen=HISTORY)
                )
                # What is later than this message belongs to another run: a bag loops.
                while history and history[-1][0] > stamp_ns:
                    history.pop()
                if not history or history[-1][0] < stamp_ns:
                    history.append((stamp_ns, edge))

    def clear(self) -> None:
        """Forgets the moving edges, as after a clock jump; fixed ones stay true."""
        with self._lock:
            self._moving.clear()

    def lookup(self, target: str, source: str, stamp_ns: int) -> Float:
        """The (4, 4) transform target_from_source at an instant.

        Raises:
            TransformMissing: no chain joins the frames, or a moving part of it is broken or not
                known at `stamp_ns`.
        """
        with self._lock:
            try:
                return self._tree.lookup(target, source)
            except KeyError as missing:
                why = str(missing.args[0])
            known = self._ancestry(source) | self._ancestry(target)
            edges = list(self._fixed.values())
            for child in known & self._moving.keys() - self._fixed.keys():
                try:
                    edges.append(self._at(child, stamp_ns))
                except (TransformMissing, Rejected) as broken:
                    why = str(broken)
        tree = TransformTree()
        try:
            for edge in edges:
                tree.add(*edge)
            return tree.lookup(target, source)
        except (KeyError, Rejected) as missing:
            raise TransformMissing(why) from missing

    def _ancestry(self, frame: str) -> set[str]:
        """The frame and all above it, by name."""
        frame = frame_name(frame)
        above: set[str] = set()
        while frame not in above:
            above.add(frame)
            if frame in self._fixed:
                frame = self._fixed[frame][0]
            elif self._moving.get(frame):
                frame = frame_name(self._moving[frame][-1][1].header.frame_id)
        return above

    def _at(self, child: str, stamp_ns: int) -> Edge:
        history = self._moving[child]
        stamps = [stamp for stamp, _ in history]
        index = bisect_left(stamps, stamp_ns)
        nearest = history[min(index, len(history) - 1)]
        if index in (0, len(history)):
            if abs(nearest[0] - stamp_ns) > MAX_EXTRAPOLATION_NS:
                raise TransformMissing(
                    f"the transform of {child!r} is known at {nearest[0]} ns, not at {stamp_ns} ns"
                )
            return _edge(nearest[1])
        earlier = history[index - 1]
        fraction = (stamp_ns - earlier[0]) / (nearest[0] - earlier[0])
        parent, _, first = _edge(earlier[1])
        _, _, second = _edge(nearest[1])
        return parent, child, geometry.interpolate(first, second, fraction)


class MapBroadcaster:
    """Publishes the correction from map to odom on /tf (REP-105)."""

    def __init__(self, node: Node, map_frame: str, odom_frame: str) -> None:
        self._node = node
        self._map_frame = map_frame
        self._odom_frame = odom_frame
        self._publisher: Publisher = node.create_publisher(TFMessage, "/tf", qos.reliable(100))

    def publish(self, pose: PoseEstimate) -> None:
        """Publishes the correction of a pose."""
        edge = answers.transform(
            pose.map_from_odom, pose.stamp_ns, self._map_frame, self._odom_frame
        )
        self._publisher.publish(answers.tf_message(edge))

    def close(self) -> None:
        """Gives the publisher back."""
        self._node.destroy_publisher(self._publisher)


def _edge(message: TransformStamped) -> Edge:
    return conversions.static_transforms(TFMessage(transforms=[message]))[0]
