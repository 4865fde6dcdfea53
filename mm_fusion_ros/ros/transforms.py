"""Where the sensors are mounted: a listener to /tf and /tf_static, and a broadcaster.

The listener only stores; a lookup walks from the sensor up to the base. Nothing here waits: a
lookup that fails says why, and the worker asks again until its patience runs out, off the
callbacks' thread.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import deque

import numpy as np
from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.publisher import Publisher
from tf2_msgs.msg import TFMessage

from mm_fusion_ros import geometry
from mm_fusion_ros.outputs import PoseEstimate
from mm_fusion_ros.ros import answers, qos
from mm_fusion_ros.samples import Float

HISTORY = 128
# A moving joint is extrapolated by no more than this; beyond it the transform is missing.
MAX_EXTRAPOLATION_NS = 200_000_000
# A chain longer than this has a loop in it.
MAX_DEPTH = 64


class TransformMissing(LookupError):
    """No chain of transforms joins two frames at the instant asked for."""


class TransformBuffer:
    """The transform tree: fixed edges, and moving ones with a short history. Thread-safe.

    Only raw messages are kept on arrival, because a robot sends many edges and few are asked for.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._static: dict[str, TransformStamped] = {}
        self._moving: dict[str, deque[tuple[int, TransformStamped]]] = {}

    def add(self, message: TFMessage, *, static: bool) -> None:
        """Stores the transforms of a message of /tf_static or /tf."""
        with self._lock:
            for edge in message.transforms:
                child = _bare(edge.child_frame_id)
                if static:
                    self._static[child] = edge
                    continue
                stamp_ns = edge.header.stamp.sec * 1_000_000_000 + edge.header.stamp.nanosec
                history = self._moving.setdefault(child, deque(maxlen=HISTORY))
                if history and stamp_ns < history[-1][0]:
                    # Either the clock went back (a bag loops) or two publishers interleave: what
                    # is later than this message belongs to another run.
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
            TransformMissing: no chain joins the frames, a moving part of it is not known at
                `stamp_ns`, or a transform in it is no rotation.
        """
        target, source = _bare(target), _bare(source)
        with self._lock:
            root_from_source, why = self._chain(source, target, stamp_ns)
            if target in root_from_source:
                return root_from_source[target]
            # The base may itself hang below a common root (base_footprint over base_link).
            root_from_target, _ = self._chain(target, source, stamp_ns)
        for root, root_from_base in root_from_target.items():
            if root in root_from_source:
                return geometry.inverse(root_from_base) @ root_from_source[root]
        raise TransformMissing(
            f"no transform from {source!r} to {target!r}: {source!r} is joined to "
            f"{', '.join(map(repr, root_from_source))} only; {why or 'is it on /tf_static?'}"
        )

    def _chain(self, source: str, target: str, stamp_ns: int) -> tuple[dict[str, Float], str]:
        """Each ancestor of `source`, up to `target`, with ancestor_from_source; and what broke it.

        A broken edge is no error here: it may be the robot's own motion, above the common root.
        """
        chain = {source: np.eye(4)}
        frame, ancestor_from_source = source, np.eye(4)
        while frame != target and len(chain) < MAX_DEPTH:
            try:
                edge = self._edge(frame, stamp_ns)
            except TransformMissing as broken:
                return chain, str(broken)
            if edge is None:
                break
            parent, parent_from_frame = edge
            ancestor_from_source = parent_from_frame @ ancestor_from_source
            frame = parent
            if frame in chain:
                raise TransformMissing(f"the transforms of {frame!r} form a loop")
            chain[frame] = ancestor_from_source
        return chain, ""

    def _edge(self, child: str, stamp_ns: int) -> tuple[str, Float] | None:
        fixed = self._static.get(child)
        if fixed is not None:
            return _bare(fixed.header.frame_id), _matrix(fixed)
        history = self._moving.get(child)
        if not history:
            return None
        stamps = [stamp for stamp, _ in history]
        index = bisect_left(stamps, stamp_ns)
        later = history[min(index, len(history) - 1)]
        if later[0] == stamp_ns or len(history) == 1 or index in (0, len(history)):
            if abs(later[0] - stamp_ns) > MAX_EXTRAPOLATION_NS:
                raise TransformMissing(
                    f"the transform of {child!r} is known at {later[0]} ns, not at {stamp_ns} ns"
                )
            return _bare(later[1].header.frame_id), _matrix(later[1])
        earlier = history[index - 1]
        fraction = (stamp_ns - earlier[0]) / (later[0] - earlier[0])
        return _bare(later[1].header.frame_id), geometry.interpolate(
            _matrix(earlier[1]), _matrix(later[1]), fraction
        )


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


def _bare(frame: str) -> str:
    """ROS 1 drivers still put a slash in front of frames."""
    return frame.lstrip("/")


def _matrix(edge: TransformStamped) -> Float:
    shift, turn = edge.transform.translation, edge.transform.rotation
    try:
        return geometry.from_quaternion(
            np.array([shift.x, shift.y, shift.z]), np.array([turn.x, turn.y, turn.z, turn.w])
        )
    except ValueError as error:
        raise TransformMissing(f"the transform of {edge.child_frame_id!r}: {error}") from error
