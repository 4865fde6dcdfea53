"""The inverse of `answers`: the node's messages back into a `FusedOutput`.

For clients in Python: the demo's terminal and recording see what any ROS client would.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import Pose
from nav_msgs.msg import OccupancyGrid, Odometry
from std_msgs.msg import Header
from vision_msgs.msg import Detection3D, Detection3DArray

from mm_fusion_ros import geometry
from mm_fusion_ros.outputs import (
    UNKNOWN_COLOUR,
    ActionTarget,
    FusedObject,
    HoldReason,
    Intent,
    ObstacleGrid,
    PoseEstimate,
    Reason,
    Reliability,
)
from mm_fusion_ros.ros.answers import COLOUR_PREFIX, values_of
from mm_fusion_ros.samples import Float, Modality

QUALITY_PREFIX = "quality."


def stamp_ns(header: Header) -> int:
    """The instant of a header [ns]."""
    return int(header.stamp.sec) * 1_000_000_000 + int(header.stamp.nanosec)


def matrix_of(pose: Pose) -> Float:
    """A pose as a (4, 4) transform."""
    place, turn = pose.position, pose.orientation
    return geometry.from_quaternion(
        np.array([place.x, place.y, place.z]), np.array([turn.x, turn.y, turn.z, turn.w])
    )


def objects(message: Detection3DArray) -> tuple[FusedObject, ...]:
    """Objects; velocity and support do not travel in a detection, and come back empty."""
    return tuple(_object(detection) for detection in message.detections)


def reliability(message: DiagnosticArray) -> dict[str, Reliability]:
    """Each source's entry, by its name."""
    return {status.name: _reliability(status) for status in message.status}


def pose(message: Odometry, map_from_odom: Float | None = None) -> PoseEstimate:
    """The fused pose; the correction travels on /tf, and is the identity unless given."""
    twist = message.twist.twist
    return PoseEstimate(
        stamp_ns=stamp_ns(message.header),
        map_from_base=matrix_of(message.pose.pose),
        map_from_odom=np.eye(4) if map_from_odom is None else map_from_odom,
        covariance=np.array(message.pose.covariance, dtype=np.float64).reshape(6, 6),
        twist=np.array([
            twist.linear.x, twist.linear.y, twist.linear.z,
            twist.angular.x, twist.angular.y, twist.angular.z,
        ]),
    )  # fmt: skip


def target(message: DiagnosticStatus) -> ActionTarget:
    """GO with its pose, or HOLD with its reason."""
    values = values_of(message)
    go = values.get("state") == "GO"
    place = None
    if go:
        place = geometry.planar(
            float(values["x_m"]), float(values["y_m"]), float(values["yaw_rad"])
        )
    return ActionTarget(
        go=go,
        intent=Intent(values.get("intent", Intent.NONE.value)),
        text=values.get("text", ""),
        map_from_target=place,
        probability=float(values.get("probability") or 0.0),
        expires_ns=int(values["expires_ns"]) if values.get("expires_ns") else None,
        reason=HoldReason(values["reason"]) if values.get("reason") else None,
        track_id=int(values.get("track_id", -1)),
    )


def obstacles(message: OccupancyGrid) -> ObstacleGrid:
    """The grid, in the frame of its header."""
    cells = np.frombuffer(message.data, dtype=np.int8)
    return ObstacleGrid(
        cells=cells.reshape(message.info.height, message.info.width),
        resolution_m=float(message.info.resolution),
        origin_xy=np.array([message.info.origin.position.x, message.info.origin.position.y]),
    )


def _object(detection: Detection3D) -> FusedObject:
    first = detection.results[0]
    classes: dict[str, float] = {}
    colours: dict[str, float] = {}
    for result in detection.results:
        name, score = result.hypothesis.class_id, float(result.hypothesis.score)
        if name.startswith(COLOUR_PREFIX):
            colours[name[len(COLOUR_PREFIX) :]] = score
        else:
            classes[name] = score
    # The most probable is said first.
    colour, colour_probability = next(iter(colours.items()), (UNKNOWN_COLOUR, 0.0))
    base_from_object = matrix_of(detection.bbox.center)
    size = detection.bbox.size
    covariance = np.array(first.pose.covariance, dtype=np.float64).reshape(6, 6)
    return FusedObject(
        track_id=int(detection.id or -1),
        class_name=first.hypothesis.class_id,
        class_probability=float(first.hypothesis.score),
        colour=colour,
        colour_probability=colour_probability,
        centre=base_from_object[:3, 3],
        size=np.array([size.x, size.y, size.z]),
        yaw=geometry.yaw_of(base_from_object),
        velocity=np.zeros(3),
        position_covariance=covariance[:3, :3],
        classes=classes,
        colours=colours if len(colours) > 1 else {},
    )


def _reliability(status: DiagnosticStatus) -> Reliability:
    values = values_of(status)
    age_ms = _number(values, "age_ms")
    return Reliability(
        source=status.name,
        modality=Modality(status.hardware_id),
        trust=float(values["trust"]),
        share=_number(values, "share"),
        reason=Reason(status.message),
        age_ns=None if age_ms is None else round(age_ms * 1e6),
        aleatoric_m2=_number(values, "aleatoric_m2"),
        epistemic=_number(values, "epistemic"),
        quality={
            key[len(QUALITY_PREFIX) :]: float(value)
            for key, value in values.items()
            if key.startswith(QUALITY_PREFIX)
        },
    )


def _number(values: Mapping[str, str], key: str) -> float | None:
    return float(values[key]) if values.get(key) else None
