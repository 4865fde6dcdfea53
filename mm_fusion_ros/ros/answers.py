"""From the pipeline's answer to ROS messages: pure functions, one for each topic.

Arrays go into messages as `array.array`, which the generated setters take without looking at every
element.
"""

from __future__ import annotations

import array
import math
from collections.abc import Mapping, Sequence

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import (
    Point,
    Pose,
    PoseStamped,
    PoseWithCovariance,
    Quaternion,
    TransformStamped,
    Vector3,
)
from nav_msgs.msg import OccupancyGrid, Odometry
from numpy.typing import NDArray
from sensor_msgs.msg import Image
from std_msgs.msg import ColorRGBA, Header
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import (
    BoundingBox3D,
    Detection3D,
    Detection3DArray,
    ObjectHypothesis,
    ObjectHypothesisWithPose,
)
from visualization_msgs.msg import Marker, MarkerArray

from mm_fusion_ros import geometry
from mm_fusion_ros.outputs import (
    UNKNOWN_COLOUR,
    ActionTarget,
    FusedObject,
    ObstacleGrid,
    PoseEstimate,
    Reason,
    Reliability,
)
from mm_fusion_ros.samples import Float
from mm_fusion_ros.view import palette

MARKER_LIFE_NS = 500_000_000
# Below this trust a source is shown as a warning, below the second one as an error.
DOUBTED_TRUST = 0.5
LOST_TRUST = 0.05
COLOUR_PREFIX = "colour:"
# What an object is less probably is not said.
NEGLIGIBLE = 0.05


def time_of(stamp_ns: int) -> Time:
    """Nanoseconds as a message; a negative instant, which the type cannot hold, becomes 0."""
    seconds, nanoseconds = divmod(max(stamp_ns, 0), 1_000_000_000)
    return Time(sec=seconds, nanosec=nanoseconds)


def header(stamp_ns: int, frame_id: str) -> Header:
    """A header of an instant and a frame."""
    return Header(stamp=time_of(stamp_ns), frame_id=frame_id)


def pose_of(matrix: Float) -> Pose:
    """A (4, 4) transform as a pose."""
    x, y, z, w = (float(value) for value in geometry.quaternion_of(matrix))
    return Pose(position=_point(matrix[:3, 3]), orientation=Quaternion(x=x, y=y, z=z, w=w))


def upright(centre: Float, yaw: float) -> Pose:
    """The pose of what stands upright, turned by a yaw [rad]."""
    turn = Quaternion(z=math.sin(yaw / 2.0), w=math.cos(yaw / 2.0))
    return Pose(position=_point(centre), orientation=turn)


def detections(objects: Sequence[FusedObject], stamp_ns: int, frame_id: str) -> Detection3DArray:
    """Objects as `vision_msgs/Detection3DArray`.

    The first hypothesis is the class; then the other classes that it may be, and its colours, as
    `colour:red`, most probable first, but for what is less probable than `NEGLIGIBLE`. The position
    covariance is the upper left of `pose.covariance` [m^2]. `id` is the track.
    """
    stamp = header(stamp_ns, frame_id)
    message = Detection3DArray(header=stamp)
    for found in objects:
        pose = upright(found.centre, found.yaw)
        covariance = np.zeros((6, 6))
        covariance[:3, :3] = found.position_covariance
        with_covariance = PoseWithCovariance(pose=pose, covariance=covariance.ravel())
        hypotheses = _hypotheses({found.class_name: found.class_probability}, found.classes)
        if found.colour != UNKNOWN_COLOUR:
            colours = _hypotheses({found.colour: found.colour_probability}, found.colours)
            hypotheses += [(COLOUR_PREFIX + name, score) for name, score in colours]
        results = []
        for class_id, score in hypotheses:
            hypothesis = ObjectHypothesis(class_id=class_id, score=float(score))
            results.append(ObjectHypothesisWithPose(hypothesis=hypothesis, pose=with_covariance))
        message.detections.append(
            Detection3D(
                header=stamp, id=str(found.track_id), results=results,
                bbox=BoundingBox3D(center=pose, size=_vector(found.size)),
            )
        )  # fmt: skip
    return message


def _hypotheses(first: Mapping[str, float], others: Mapping[str, float]) -> list[tuple[str, float]]:
    """The first, and what else is not negligible, most probable first."""
    left = [each for each in others.items() if each[0] not in first and each[1] >= NEGLIGIBLE]
    return [*first.items(), *sorted(left, key=lambda each: -each[1])]


def odometry(pose: PoseEstimate, map_frame: str, base_frame: str) -> Odometry:
    """The fused pose, map to base."""
    message = Odometry(header=header(pose.stamp_ns, map_frame), child_frame_id=base_frame)
    message.pose.pose = pose_of(pose.map_from_base)
    message.pose.covariance = np.ascontiguousarray(pose.covariance, dtype=np.float64).ravel()
    message.twist.twist.linear = _vector(pose.twist[:3])
    message.twist.twist.angular = _vector(pose.twist[3:])
    return message


def transform(
    target_from_source: Float, stamp_ns: int, target_frame: str, source_frame: str
) -> TransformStamped:
    """A transform as /tf carries it: the target frame is the header's, the source the child."""
    message = TransformStamped(header=header(stamp_ns, target_frame), child_frame_id=source_frame)
    pose = pose_of(target_from_source)
    message.transform.translation = _vector(target_from_source[:3, 3])
    message.transform.rotation = pose.orientation
    return message


def tf_message(*transforms: TransformStamped) -> TFMessage:
    """Transforms in one message."""
    return TFMessage(transforms=list(transforms))


def target_pose(target: ActionTarget, stamp_ns: int, map_frame: str) -> PoseStamped:
    """The pose of a believed target.

    Raises:
        ValueError: the target is a HOLD.
    """
    if not target.go or target.map_from_target is None:
        raise ValueError(f"HOLD ({target.reason}) has no pose to publish")
    return PoseStamped(header=header(stamp_ns, map_frame), pose=pose_of(target.map_from_target))


def target_state(target: ActionTarget) -> DiagnosticStatus:
    """GO or HOLD and why, so that a follower can cancel: level OK only where it may drive."""
    reason = "" if target.reason is None else target.reason.value
    message = "GO" if target.go else f"HOLD: {reason or target.intent.value}"
    values: dict[str, object] = {
        "state": "GO" if target.go else "HOLD", "reason": reason, "intent": target.intent.value,
        "text": target.text, "track_id": target.track_id,
        "probability": f"{target.probability:.3f}",
        "expires_ns": "" if target.expires_ns is None else target.expires_ns,
    }  # fmt: skip
    if target.go and target.map_from_target is not None:
        x, y = target.map_from_target[:2, 3]
        yaw = geometry.yaw_of(target.map_from_target)
        values |= {"x_m": f"{x:.3f}", "y_m": f"{y:.3f}", "yaw_rad": f"{yaw:.4f}"}
    level = DiagnosticStatus.OK if target.go else DiagnosticStatus.WARN
    return DiagnosticStatus(level=level, name="target", message=message, values=key_values(values))


def reliability(
    sources: Mapping[str, Reliability], stamp_ns: int, base_frame: str
) -> DiagnosticArray:
    """Trust, share, variances, age and reason of each source; `name` is the source."""
    message = DiagnosticArray(header=header(stamp_ns, base_frame))
    for name, source in sources.items():
        values: dict[str, object] = {
            "trust": f"{source.trust:.4f}",
            "share": _optional(source.share),
            "aleatoric_m2": _optional(source.aleatoric_m2),
            "epistemic": _optional(source.epistemic),
            "age_ms": _optional(None if source.age_ns is None else source.age_ns / 1e6),
        }
        values |= {f"quality.{key}": f"{value:.6g}" for key, value in source.quality.items()}
        message.status.append(
            DiagnosticStatus(
                level=level_of(source.trust, source.reason),
                name=name,
                hardware_id=source.modality.value,
                message=source.reason.value,
                values=key_values(values),
            )
        )
    return message


def level_of(trust: float, reason: Reason) -> bytes:
    """A diagnostic level from trust and reason."""
    level: bytes = DiagnosticStatus.OK
    if reason in (Reason.MISSING, Reason.STALE):
        level = DiagnosticStatus.STALE
    elif trust < LOST_TRUST:
        level = DiagnosticStatus.ERROR
    elif trust < DOUBTED_TRUST:
        level = DiagnosticStatus.WARN
    return level


def obstacles(grid: ObstacleGrid, stamp_ns: int, base_frame: str) -> OccupancyGrid:
    """The occupancy grid, in the robot's frame."""
    message = OccupancyGrid(header=header(stamp_ns, base_frame))
    message.info.map_load_time = message.header.stamp
    message.info.resolution = float(grid.resolution_m)
    message.info.height, message.info.width = grid.cells.shape
    message.info.origin.position.x = float(grid.origin_xy[0])
    message.info.origin.position.y = float(grid.origin_xy[1])
    message.info.origin.orientation.w = 1.0
    message.data = array.array("b", np.ascontiguousarray(grid.cells, dtype=np.int8).tobytes())
    return message


def image(pixels: NDArray[np.uint8], stamp_ns: int, frame_id: str) -> Image:
    """An (H, W, 3) uint8 RGB image."""
    height, width = pixels.shape[:2]
    message = Image(
        header=header(stamp_ns, frame_id), height=height, width=width, encoding="rgb8",
        is_bigendian=0, step=3 * width,
    )  # fmt: skip
    message.data = array.array("B", np.ascontiguousarray(pixels).tobytes())
    return message


def markers(
    objects: Sequence[FusedObject],
    target: ActionTarget,
    stamp_ns: int,
    *,
    base_frame: str,
    map_frame: str,
) -> MarkerArray:
    """Boxes with their names and velocities, and the target's arrow, for RViz."""
    message = MarkerArray(markers=[Marker(action=Marker.DELETEALL)])

    def add(name: str, number: int, kind: int, frame: str, colour: ColorRGBA) -> Marker:
        marker = Marker(
            header=header(stamp_ns, frame), ns=name, id=number, type=kind, action=Marker.ADD,
            color=colour,
        )  # fmt: skip
        marker.lifetime.nanosec = MARKER_LIFE_NS
        marker.pose.orientation.w = 1.0
        message.markers.append(marker)
        return marker

    for index, found in enumerate(objects):
        paint = palette.ATTRIBUTE_COLOURS.get(found.colour, palette.UNKNOWN_CLASS)
        red, green, blue = (value / 255.0 for value in paint)
        number = found.track_id if found.track_id >= 0 else index
        solid = ColorRGBA(r=red, g=green, b=blue, a=0.3 + 0.6 * found.class_probability)
        box = add("boxes", number, Marker.CUBE, base_frame, solid)
        box.pose = upright(found.centre, found.yaw)
        box.scale = _vector(np.maximum(found.size, 0.01))
        label = add("labels", number, Marker.TEXT_VIEW_FACING, base_frame, _white())
        label.pose.position = _point(found.centre)
        label.pose.position.z += float(found.size[2]) / 2 + 0.4
        label.scale.z = 0.5
        label.text = f"{label_of(found)} {found.class_probability:.2f} #{found.track_id}"
        if math.hypot(*found.velocity[:2]) > 0.2:
            arrow = add("velocities", number, Marker.ARROW, base_frame, _white())
            arrow.points = [_point(found.centre), _point(found.centre + found.velocity)]
            arrow.scale = Vector3(x=0.1, y=0.2, z=0.2)
    if target.go and target.map_from_target is not None:
        arrow = add("target", 0, Marker.ARROW, map_frame, ColorRGBA(r=0.1, g=1.0, b=0.3, a=1.0))
        arrow.pose = pose_of(target.map_from_target)
        arrow.scale = Vector3(x=1.0, y=0.15, z=0.15)
    return message


def label_of(found: FusedObject) -> str:
    """The object in words, as a command would name it."""
    known = found.colour != UNKNOWN_COLOUR
    return f"{found.colour} {found.class_name}" if known else found.class_name


def key_values(values: Mapping[str, object]) -> list[KeyValue]:
    """A mapping as diagnostics carry it."""
    return [KeyValue(key=key, value=str(value)) for key, value in values.items()]


def values_of(status: DiagnosticStatus) -> dict[str, str]:
    """The mapping in a diagnostic status."""
    return {item.key: item.value for item in status.values}


def _optional(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _point(xyz: Float) -> Point:
    return Point(x=float(xyz[0]), y=float(xyz[1]), z=float(xyz[2]))


def _vector(xyz: Float) -> Vector3:
    return Vector3(x=float(xyz[0]), y=float(xyz[1]), z=float(xyz[2]))


def _white() -> ColorRGBA:
    return ColorRGBA(r=1.0, g=1.0, b=1.0, a=0.9)
