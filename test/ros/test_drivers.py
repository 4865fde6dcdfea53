"""What the simulator's drivers send, read back as a fusion node reads it."""

from __future__ import annotations

import numpy as np

from mm_fusion_ros import geometry
from mm_fusion_ros.config import CameraConfig, LidarConfig
from mm_fusion_ros.ros import conversions, drivers
from mm_fusion_ros.samples import CameraFrame, GpsFix, GpsStatus, LidarScan, OdometrySample

STAMP_NS = 1_700_000_000_250_000_000


def test_a_sweep_comes_back_with_points_intensity_and_times() -> None:
    rng = np.random.default_rng(3)
    points = np.column_stack([rng.uniform(-20, 20, (500, 3)), np.linspace(0, 1, 500)])
    offset_ns = np.linspace(-100_000_000, 0, 500).astype(np.int64)
    scan = LidarScan(STAMP_NS, "lidar", "lidar", points.astype(np.float32), np.eye(4), offset_ns)
    message = drivers.cloud(scan)
    assert message.point_step == 32 and len(message.data) == 500 * 32
    heard = conversions.lidar_scan(message, "lidar", np.eye(4), LidarConfig())
    np.testing.assert_array_equal(heard.points[:, :3], scan.points[:, :3])
    np.testing.assert_allclose(heard.points[:, 3], scan.points[:, 3], atol=1e-6)
    assert heard.time_offset_ns is not None
    # Seconds as float32 keep a tenth of a second to about ten nanoseconds.
    np.testing.assert_allclose(heard.time_offset_ns, offset_ns, atol=20)


def test_rings_count_the_beams_from_the_lowest() -> None:
    elevation = np.array([10.0, 0.0, -10.0])  # as a specification lists them, from the top
    away = np.radians([-10.2, 0.3, 9.5, -4.0])
    points = np.column_stack([10 * np.cos(away), np.zeros(4), 10 * np.sin(away)])
    # -4 degrees is nearer to the beam at 0 than to that at -10.
    assert drivers.rings(points.astype(np.float32), elevation).tolist() == [0, 1, 2, 1]


def test_an_image_and_its_calibration_come_back() -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    intrinsics = np.array([[60.0, 0, 31.5], [0, 60.0, 23.5], [0, 0, 1]])
    frame = CameraFrame(STAMP_NS, "camera_optical", "camera", pixels, intrinsics, np.eye(4))
    heard = conversions.camera_frame(
        drivers.image(frame), drivers.camera_info(frame), "camera", np.eye(4), CameraConfig()
    )
    np.testing.assert_array_equal(heard.image, pixels)
    np.testing.assert_array_equal(heard.intrinsics, intrinsics)
    assert heard.stamp_ns == STAMP_NS


def test_a_fix_comes_back_with_and_without_its_covariance() -> None:
    declared = GpsFix(STAMP_NS, "gps", "gps", 52.5, 13.4, 40.0, np.diag([1.0, 2.0, 3.0]))
    heard = conversions.gps_fix(drivers.fix(declared), "gps")
    np.testing.assert_array_equal(heard.covariance, declared.covariance)
    silent = GpsFix(STAMP_NS, "gps", "gps", 52.5, 13.4, 40.0, None, GpsStatus.SBAS)
    heard = conversions.gps_fix(drivers.fix(silent), "gps")
    assert heard.covariance is None and heard.status is GpsStatus.SBAS


def test_odometry_comes_back() -> None:
    sample = OdometrySample(
        STAMP_NS, "odom", "odom", geometry.planar(1.0, 2.0, 0.5), np.arange(6.0),
        np.diag(np.arange(1.0, 7.0)), np.eye(6),
    )  # fmt: skip
    heard = conversions.odometry(drivers.odometry(sample), "odom")
    np.testing.assert_allclose(heard.odom_from_base, sample.odom_from_base, atol=1e-12)
    np.testing.assert_array_equal(heard.twist, sample.twist)
    np.testing.assert_array_equal(heard.pose_covariance, sample.pose_covariance)
