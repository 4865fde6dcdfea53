"""ROS messages to samples.

Only attribute names are used, no message class: the messages of a ROS client library and those
that a bag reader makes serve alike, and nothing of ROS is imported. Bytes are viewed, not copied.
What cannot be a sample raises `Rejected`; what can but should not be used is for `sensors`.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from mm_fusion_ros import geometry
from mm_fusion_ros.config import CameraConfig, LidarConfig
from mm_fusion_ros.ros.transform_tree import TransformTree, frame_name
from mm_fusion_ros.samples import (
    CameraFrame,
    Command,
    Float,
    GpsFix,
    GpsStatus,
    ImuSample,
    LidarScan,
    OdometrySample,
)
from mm_fusion_ros.sensors import image_encoding, point_cloud
from mm_fusion_ros.sensors.rejection import Rejected

__all__ = [
    "TransformTree",
    "camera_frame",
    "command",
    "frame_name",
    "frame_of",
    "gps_fix",
    "imu",
    "lidar_scan",
    "odometry",
    "stamp_ns",
    "static_transforms",
]

# x, y, z, w.
Quaternion = tuple[float, float, float, float]

SECOND_NS = 1_000_000_000
# A unit quaternion that went through float32 or was written with few digits stays within this.
NORM_TOLERANCE = 1e-2
# `sensor_msgs/NavSatFix.COVARIANCE_TYPE_UNKNOWN`.
COVARIANCE_UNKNOWN = 0
# `sensor_msgs/NavSatStatus.STATUS_UNKNOWN`: never set by the sender. The innovations judge the fix.
STATUS_NOT_SET = -2


def stamp_ns(header: Any) -> int:
    """The header's stamp [ns]; 0 where it was never set, which is for the synchronizer.

    Raises:
        Rejected: ("stamp") negative, or a second's fraction of a second or more.
    """
    seconds, fraction = int(header.stamp.sec), int(header.stamp.nanosec)
    if seconds < 0 or not 0 <= fraction < SECOND_NS:
        raise Rejected(
            "stamp",
            f"stamp of {seconds} s and {fraction} ns; expected no negative time and a fraction "
            f"under {SECOND_NS} ns: the sender's clock or its message is broken",
        )
    return seconds * SECOND_NS + fraction


def frame_of(header: Any, required: str = "") -> str:
    """The header's frame, without a leading slash.

    Args:
        header: `std_msgs/Header`.
        required: the only frame to accept; empty accepts any but an empty one.

    Raises:
        Rejected: ("frame") empty, or not the required one.
    """
    frame = frame_name(header.frame_id)
    if not frame:
        raise Rejected(
            "frame",
            "frame_id is empty; expected "
            + (repr(required) if required else "the sensor's frame")
            + ": set it in the driver, so that the sensor's mounting can be looked up",
        )
    if required and frame != frame_name(required):
        raise Rejected(
            "frame",
            f"frame_id is {frame[:128]!r}; expected {required!r}: correct the driver or the "
            "source's required_frame",
        )
    return frame


def camera_frame(
    message: Any,
    info: Any,
    source: str,
    base_from_camera: Float,
    config: CameraConfig,
    required_frame: str = "",
) -> CameraFrame:
    """An image as a frame.

    Args:
        message: `sensor_msgs/Image`, or `sensor_msgs/CompressedImage` (it has a `format`).
        info: `sensor_msgs/CameraInfo` of the same camera.
        source: the camera's name.
        base_from_camera: (4, 4), camera optical frame to base_link.
        config: bounds, and whether images come rectified.
        required_frame: expected frame_id; empty accepts any.

    Returns:
        The frame; its image is a view of the message where the encoding is rgb8.

    Raises:
        Rejected: ("stamp", "frame", "size", "encoding", "truncated", "field", "calibration").
    """
    stamp = stamp_ns(message.header)
    frame_id = frame_of(message.header, required_frame)
    info_frame = frame_name(info.header.frame_id)
    if info_frame and info_frame != frame_id:
        raise Rejected(
            "frame",
            f"{source}: the image is of frame {frame_id!r} but its CameraInfo of {info_frame!r}; "
            "expected the same: the two topics belong to different cameras",
        )
    if hasattr(message, "format"):
        image = image_encoding.decode_compressed(
            message.data, str(message.format), config.max_pixels
        )
    else:
        image = image_encoding.decode_raw(
            message.data,
            int(message.height),
            int(message.width),
            int(message.step),
            str(message.encoding),
            bool(message.is_bigendian),
            config.max_pixels,
        )
    intrinsics = _intrinsics(info, (image.shape[1], image.shape[0]), source, config.rectified)
    rectified = config.rectified
    return CameraFrame(
        stamp_ns=stamp,
        frame_id=frame_id,
        source=source,
        image=image,
        intrinsics=intrinsics,
        base_from_camera=base_from_camera,
        distortion_model="" if rectified else str(info.distortion_model),
        distortion=np.zeros(0) if rectified else np.array(info.d, dtype=np.float64),
    )


def _intrinsics(info: Any, size: tuple[int, int], source: str, rectified: bool) -> Float:
    """K (3, 3) of the image as sent: calibration is of the full sensor, before ROI and binning."""
    if rectified:
        matrix = _numbers(info.p, 12, f"{source}: P of CameraInfo").reshape(3, 4)[:, :3].copy()
    else:
        matrix = _numbers(info.k, 9, f"{source}: K of CameraInfo").reshape(3, 3)
    binning = (max(int(info.binning_x), 1), max(int(info.binning_y), 1))
    roi = info.roi
    sensor = (int(info.width), int(info.height))
    if sensor != (0, 0):
        window = (int(roi.width) or sensor[0], int(roi.height) or sensor[1])
        # A driver may round an odd edge either way.
        if any(
            abs(found * bins - expected) >= bins
            for found, bins, expected in zip(size, binning, window, strict=True)
        ):
            raise Rejected(
                "calibration",
                f"{source}: image of {size[0]} x {size[1]} pixels, but CameraInfo is of "
                f"{window[0]} x {window[1]} with binning {binning[0]} x {binning[1]}; expected "
                "the calibration of this resolution",
            )
    offset = (int(roi.x_offset), int(roi.y_offset))
    for axis in range(2):
        # Pixel centres are integers: a binned pixel's centre lies between those of its members.
        matrix[axis, axis] /= binning[axis]
        matrix[axis, 2] = (matrix[axis, 2] - offset[axis] + 0.5) / binning[axis] - 0.5
    matrix[0, 1] /= binning[0]
    return matrix


def lidar_scan(
    message: Any,
    source: str,
    base_from_lidar: Float,
    config: LidarConfig,
    required_frame: str = "",
) -> LidarScan:
    """A `sensor_msgs/PointCloud2` as a scan.

    Args:
        message: the cloud.
        source: the lidar's name.
        base_from_lidar: (4, 4), lidar frame to base_link.
        config: bounds, intensity scale and unit of time.
        required_frame: expected frame_id; empty accepts any.

    Returns:
        The scan; its points are a view of the message where they lie as x y z intensity float32.

    Raises:
        Rejected: ("stamp", "frame", "size", "truncated", "field").
    """
    stamp = stamp_ns(message.header)
    frame_id = frame_of(message.header, required_frame)
    points, offsets = point_cloud.decode(
        int(message.height),
        int(message.width),
        [(str(f.name), int(f.offset), int(f.datatype), int(f.count)) for f in message.fields],
        bool(message.is_bigendian),
        int(message.point_step),
        int(message.row_step),
        message.data,
        stamp,
        config,
    )
    return LidarScan(stamp, frame_id, source, points, base_from_lidar, offsets)


def gps_fix(
    message: Any, source: str, base_from_antenna: Float | None = None, required_frame: str = ""
) -> GpsFix:
    """A `sensor_msgs/NavSatFix` as a fix.

    Args:
        message: the fix.
        source: the receiver's name.
        base_from_antenna: (3,), the antenna in base_link [m]; None takes base_link's origin.
        required_frame: expected frame_id; empty accepts any.

    Raises:
        Rejected: ("stamp", "frame", "status", "field").
    """
    number = int(message.status.status)
    try:
        status = GpsStatus.FIX if number == STATUS_NOT_SET else GpsStatus(number)
    except ValueError:
        raise Rejected(
            "status", f"{source}: status {number}; expected -1 (no fix), 0, 1 or 2"
        ) from None
    covariance = None
    if int(message.position_covariance_type) != COVARIANCE_UNKNOWN:
        what = f"{source}: position_covariance"
        covariance = _numbers(message.position_covariance, 9, what).reshape(3, 3)
    return GpsFix(
        stamp_ns=stamp_ns(message.header),
        frame_id=frame_of(message.header, required_frame),
        source=source,
        latitude_deg=float(message.latitude),
        longitude_deg=float(message.longitude),
        altitude_m=float(message.altitude),
        covariance=covariance,
        status=status,
        base_from_antenna=np.zeros(3) if base_from_antenna is None else base_from_antenna,
    )


def odometry(message: Any, source: str, required_frame: str = "") -> OdometrySample:
    """A `nav_msgs/Odometry` as a sample; its child frame is taken as base_link.

    Args:
        message: the odometry.
        source: its name.
        required_frame: expected frame_id; empty accepts any.

    Raises:
        Rejected: ("stamp", "frame", "nan", "quaternion", "field").
    """
    pose, twist = message.pose.pose, message.twist.twist
    return OdometrySample(
        stamp_ns=stamp_ns(message.header),
        frame_id=frame_of(message.header, required_frame),
        source=source,
        odom_from_base=_rigid(pose.position, pose.orientation, f"{source}: pose"),
        twist=np.concatenate([_vector(twist.linear), _vector(twist.angular)]),
        pose_covariance=_numbers(message.pose.covariance, 36, f"{source}: pose covariance").reshape(
            6, 6
        ),
        twist_covariance=_numbers(
            message.twist.covariance, 36, f"{source}: twist covariance"
        ).reshape(6, 6),
    )


def imu(
    message: Any, source: str, base_from_imu: Float | None = None, required_frame: str = ""
) -> ImuSample:
    """A `sensor_msgs/Imu` as a sample in base_link's axes.

    The acceleration stays that of the sensor's place: a lever arm is not taken out.

    Args:
        message: the measurement.
        source: its name.
        base_from_imu: (4, 4), sensor frame to base_link; None takes them as the same.
        required_frame: expected frame_id; empty accepts any.

    Raises:
        Rejected: ("stamp", "frame", "nan", "quaternion", "field").
    """
    what = f"{source}: orientation"
    covariance = _numbers(message.orientation_covariance, 9, f"{what} covariance")
    quaternion = _quaternion(message.orientation)
    orientation = None
    # -1 is how the message says that there is no estimate; others leave the quaternion zero.
    if covariance[0] != -1.0 and any(quaternion):
        orientation = np.array(_unit(quaternion, what))
    angular_velocity = _vector(message.angular_velocity)
    linear_acceleration = _vector(message.linear_acceleration)
    if base_from_imu is not None:
        rotation = base_from_imu[:3, :3]
        angular_velocity = rotation @ angular_velocity
        linear_acceleration = rotation @ linear_acceleration
        if orientation is not None:
            mounting = np.ascontiguousarray(base_from_imu, dtype=np.float64)
            orientation = _turned(orientation, _inverse_quaternion(mounting.tobytes()))
    return ImuSample(
        stamp_ns=stamp_ns(message.header),
        frame_id=frame_of(message.header, required_frame),
        source=source,
        angular_velocity=angular_velocity,
        linear_acceleration=linear_acceleration,
        orientation=orientation,
    )


def command(message: Any, source: str, stamp_ns: int) -> Command:
    """A `std_msgs/String` as a command; it has no header, so its arrival is its stamp [ns].

    Raises:
        Rejected: ("field") the text is no string.
    """
    if not isinstance(message.data, str):
        raise Rejected("field", f"{source}: command is a {type(message.data).__name__}, not text")
    return Command(stamp_ns=stamp_ns, frame_id="", source=source, text=message.data)


def static_transforms(
    message: Any, refused: list[Rejected] | None = None
) -> list[tuple[str, str, Float]]:
    """The transforms of a `tf2_msgs/TFMessage` as (parent, child, parent_from_child (4, 4)).

    Args:
        message: the transforms.
        refused: takes the verdicts on broken transforms, so that one does not cost the others.

    Raises:
        Rejected: ("frame", "nan", "quaternion") a broken transform, when `refused` is None.
    """
    transforms: list[tuple[str, str, Float]] = []
    for item in message.transforms:
        try:
            parent, child = frame_name(item.header.frame_id), frame_name(item.child_frame_id)
            what = f"transform from {child[:128]!r} to {parent[:128]!r}"
            if not parent or not child or parent == child:
                raise Rejected("frame", f"{what}: expected two frames with names")
            matrix = _rigid(item.transform.translation, item.transform.rotation, what)
        except Rejected as verdict:
            if refused is None:
                raise
            refused.append(verdict)
        else:
            transforms.append((parent, child, matrix))
    return transforms


def _numbers(values: Any, size: int, what: str) -> Float:
    numbers = np.array(values, dtype=np.float64)
    if numbers.shape != (size,):
        raise Rejected("field", f"{what} has shape {numbers.shape}; expected {size} numbers")
    return numbers


def _vector(value: Any) -> Float:
    return np.array([value.x, value.y, value.z], dtype=np.float64)


def _quaternion(value: Any) -> Quaternion:
    return float(value.x), float(value.y), float(value.z), float(value.w)


def _unit(quaternion: Quaternion, what: str) -> Quaternion:
    norm = math.sqrt(sum(part * part for part in quaternion))
    if not math.isfinite(norm):
        raise Rejected("nan", f"{what}: quaternion {quaternion} is not finite")
    if abs(norm - 1.0) > NORM_TOLERANCE:
        raise Rejected(
            "quaternion",
            f"{what}: quaternion {quaternion} has norm {norm}; expected a unit quaternion",
        )
    x, y, z, w = (part / norm for part in quaternion)
    return x, y, z, w


def _rigid(position: Any, orientation: Any, what: str) -> Float:
    """The (4, 4) of a pose; written out, because it is needed for every odometry message."""
    x, y, z, w = _unit(_quaternion(orientation), what)
    place = _vector(position)
    if not np.isfinite(place).all():
        raise Rejected("nan", f"{what}: position {place} is not finite")
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w), place[0]],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w), place[1]],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y), place[2]],
            [0.0, 0.0, 0.0, 1.0],
        ]
    )


def _turned(first: Float, second: Float) -> Float:
    """The quaternion product a_from_c of a_from_b and b_from_c."""
    ax, ay, az, aw = first
    bx, by, bz, bw = second
    return np.array(
        [
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
            aw * bw - ax * bx - ay * by - az * bz,
        ]
    )


@lru_cache(maxsize=16)
def _inverse_quaternion(matrix: bytes) -> Float:
    """The quaternion of the inverse of a (4, 4) float64 transform, given as bytes."""
    return geometry.quaternion_of(geometry.inverse(np.frombuffer(matrix).reshape(4, 4)))
