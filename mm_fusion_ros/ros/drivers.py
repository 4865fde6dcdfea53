"""Samples as messages, laid out as real drivers send them: what the simulator node publishes."""

from __future__ import annotations

import array

import numpy as np
from nav_msgs.msg import Odometry
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, Image, NavSatFix, NavSatStatus, PointCloud2, PointField

from mm_fusion_ros.ros import answers
from mm_fusion_ros.samples import CameraFrame, Float, GpsFix, LidarScan, OdometrySample

# Name, numpy's type, the message's, and offset: as a common spinning lidar's driver lays them
# out, with its padding, 32 bytes a point.
LAYOUT: tuple[tuple[str, str, int, int], ...] = (
    ("x", "<f4", PointField.FLOAT32, 0),
    ("y", "<f4", PointField.FLOAT32, 4),
    ("z", "<f4", PointField.FLOAT32, 8),
    ("intensity", "<f4", PointField.FLOAT32, 16),
    ("ring", "<u2", PointField.UINT16, 20),
    ("time", "<f4", PointField.FLOAT32, 24),
)
POINT = np.dtype(
    {
        "names": [name for name, _, _, _ in LAYOUT],
        "formats": [kind for _, kind, _, _ in LAYOUT],
        "offsets": [offset for _, _, _, offset in LAYOUT],
        "itemsize": 32,
    }
)
INTENSITY_SCALE = 255.0


def image(frame: CameraFrame) -> Image:
    """An `rgb8` image."""
    return answers.image(frame.image, frame.stamp_ns, frame.frame_id)


def camera_info(frame: CameraFrame) -> CameraInfo:
    """The calibration that a rectified camera declares."""
    height, width = frame.image.shape[:2]
    projection = np.zeros((3, 4))
    projection[:, :3] = frame.intrinsics
    message = CameraInfo(
        header=answers.header(frame.stamp_ns, frame.frame_id), height=height, width=width,
        distortion_model=frame.distortion_model or "plumb_bob",
    )  # fmt: skip
    message.k = frame.intrinsics.astype(np.float64).ravel()
    message.d = [float(value) for value in frame.distortion] or [0.0] * 5
    message.r = np.eye(3).ravel()
    message.p = projection.ravel()
    return message


def cloud(scan: LidarScan, elevation_deg: Float | None = None) -> PointCloud2:
    """A cloud of x y z, intensity 0..255, ring and time [s], 32 bytes a point.

    Args:
        scan: the sweep.
        elevation_deg: (B,) of the lidar's beams [degrees]; ring 0 is the lowest. Without them all
            points are of ring 0.
    """
    points = np.zeros(len(scan.points), dtype=POINT)
    for column, name in enumerate(("x", "y", "z")):
        points[name] = scan.points[:, column]
    points["intensity"] = scan.points[:, 3] * INTENSITY_SCALE
    if elevation_deg is not None:
        points["ring"] = rings(scan.points[:, :3], elevation_deg)
    if scan.time_offset_ns is not None:
        points["time"] = scan.time_offset_ns * 1e-9
    message = PointCloud2(
        header=answers.header(scan.stamp_ns, scan.frame_id), height=1, width=len(points),
        fields=[
            PointField(name=name, offset=offset, datatype=datatype, count=1)
            for name, _, datatype, offset in LAYOUT
        ],
        is_bigendian=False, point_step=POINT.itemsize, row_step=points.nbytes,
        is_dense=bool(np.isfinite(scan.points[:, :3]).all()),
    )  # fmt: skip
    message.data = array.array("B", points.tobytes())
    return message


def fix(sample: GpsFix) -> NavSatFix:
    """A fix with the covariance that the receiver declares."""
    message = NavSatFix(
        header=answers.header(sample.stamp_ns, sample.frame_id),
        latitude=sample.latitude_deg, longitude=sample.longitude_deg, altitude=sample.altitude_m,
    )  # fmt: skip
    message.status.status = int(sample.status.value)
    message.status.service = NavSatStatus.SERVICE_GPS
    if sample.covariance is not None:
        message.position_covariance = np.asarray(sample.covariance, dtype=np.float64).ravel()
        message.position_covariance_type = NavSatFix.COVARIANCE_TYPE_KNOWN
    return message


def odometry(sample: OdometrySample, base_frame: str = "base_link") -> Odometry:
    """Wheel odometry."""
    message = Odometry(
        header=answers.header(sample.stamp_ns, sample.frame_id), child_frame_id=base_frame
    )
    message.pose.pose = answers.pose_of(sample.odom_from_base)
    message.pose.covariance = _six_by_six(sample.pose_covariance)
    message.twist.covariance = _six_by_six(sample.twist_covariance)
    linear, angular = message.twist.twist.linear, message.twist.twist.angular
    linear.x, linear.y, linear.z = (float(value) for value in sample.twist[:3])
    angular.x, angular.y, angular.z = (float(value) for value in sample.twist[3:])
    return message


def rings(points: NDArray[np.float32], elevation_deg: Float) -> NDArray[np.intp]:
    """The beam that is nearest in elevation to each of (N, 3) points in the lidar's frame."""
    beams = np.sort(np.asarray(elevation_deg))
    across = np.hypot(points[:, 0], points[:, 1])
    elevation = np.degrees(np.arctan2(points[:, 2], across))
    return np.searchsorted((beams[1:] + beams[:-1]) / 2.0, elevation)


def _six_by_six(covariance: Float) -> Float:
    return np.ascontiguousarray(covariance, dtype=np.float64).ravel()
