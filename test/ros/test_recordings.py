"""The two real recordings: every message becomes a sample, and the sensors' checks accept it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rosbags.highlevel import AnyReader

from mm_fusion_ros.config import FusionConfig
from mm_fusion_ros.perception.obstacles import FREE, OCCUPIED, obstacle_grid
from mm_fusion_ros.ros import conversions
from mm_fusion_ros.sensors.camera import CameraIntake
from mm_fusion_ros.sensors.gps import GpsIntake
from mm_fusion_ros.sensors.imu import ImuIntake
from mm_fusion_ros.sensors.lidar import LidarIntake
from mm_fusion_ros.sensors.odometry import OdometryIntake

CONFIG = FusionConfig()


def messages(folder: Path) -> Iterator[tuple[str, object]]:
    with AnyReader([folder]) as reader:
        for connection, _, raw in reader.messages():
            yield connection.topic, reader.deserialize(raw, connection.msgtype)


def test_every_frame_and_scan_of_the_street_is_read(data_dir: Path) -> None:
    tree = conversions.TransformTree()
    camera, lidar = CameraIntake(CONFIG.camera), LidarIntake(CONFIG.lidar)
    info = None
    counts: Counter[str] = Counter()
    image_sums, scan_sums = set(), set()
    for topic, message in messages(data_dir / "kitti_street"):
        if topic == "/tf_static":
            for parent, child, matrix in conversions.static_transforms(message):
                tree.add(parent, child, matrix)
        elif topic == "/camera/camera_info":
            info = message
        elif topic == "/camera/image_raw/compressed" and info is not None:
            base_from_camera = tree.lookup("base_link", message.header.frame_id)
            frame = conversions.camera_frame(message, info, "c", base_from_camera, CONFIG.camera)
            assert frame.image.shape == (375, 1242, 3)
            prepared, quality = camera.accept(frame)
            # 384 / 1242 of 375 rows is 115.9, centred in 288.
            assert prepared.valid == (0, 86, 384, 202)
            assert 0.2 < quality["brightness"] < 0.7 and quality["dark_fraction"] < 0.3
            image_sums.add(quality["checksum"])
            counts["image"] += 1
            # The camera looks ahead: its z axis is base_link's x.
            assert base_from_camera[0, 2] > 0.99
        elif topic == "/lidar/points":
            base_from_lidar = tree.lookup("base_link", message.header.frame_id)
            scan = conversions.lidar_scan(message, "l", base_from_lidar, CONFIG.lidar)
            assert np.shares_memory(scan.points, message.data)
            prepared_scan, quality = lidar.accept(scan)
            assert quality["points"] > 100_000 and quality["invalid_fraction"] == 0.0
            assert quality["coverage"] == 1.0
            # base_link lies on the road: within 8 m the lowest percent of returns is near 0.
            points = prepared_scan.points
            near = points[np.hypot(points[:, 0], points[:, 1]) < 8.0]
            assert abs(float(np.percentile(near[:, 2], 5))) < 0.2
            scan_sums.add(quality["checksum"])
            counts["cloud"] += 1
    assert counts["cloud"] == 30 and counts["image"] >= 29
    # Nothing in a real recording is frozen.
    assert len(image_sums) == counts["image"] and len(scan_sums) == counts["cloud"]


def test_the_street_s_obstacle_grid_holds_the_road_and_the_cars_about(data_dir: Path) -> None:
    lidar = LidarIntake(CONFIG.lidar)
    mounting = np.eye(4)
    mounting[2, 3] = 1.73
    for topic, message in messages(data_dir / "kitti_street"):
        if topic == "/lidar/points":
            scan = conversions.lidar_scan(message, "l", mounting, CONFIG.lidar)
            grid = obstacle_grid(lidar.accept(scan)[0].points, CONFIG.obstacles)
            break
    cells_per_m = round(1 / grid.resolution_m)
    middle = len(grid.cells) // 2
    # The lane for 3 m ahead and behind, 1.2 m wide, is empty road.
    ahead = slice(middle - 3 * cells_per_m, middle + 3 * cells_per_m)
    lane = slice(middle - cells_per_m // 2, middle + cells_per_m // 2)
    assert (grid.cells[lane, ahead] == FREE).mean() > 0.9
    # It stands in a queue: cars before and behind, in the lane, within the grid.
    lane = grid.cells[middle - cells_per_m : middle + cells_per_m]
    assert (lane[:, middle + 5 * cells_per_m :] == OCCUPIED).any()
    assert (lane[:, : middle - 5 * cells_per_m] == OCCUPIED).any()


def test_every_message_of_the_husky_is_read(data_dir: Path) -> None:
    gps, odometry, imu = GpsIntake(CONFIG.gps), OdometryIntake(CONFIG.odometry), ImuIntake()
    counts: Counter[str] = Counter()
    for topic, message in messages(data_dir / "husky_gps"):
        if topic == "/fix":
            fix, quality = gps.accept(conversions.gps_fix(message, "gps"))
            assert fix.frame_id == "gps" and 42.3 < fix.latitude_deg < 42.4
            # Declared variances are 0.64 to 2.89 m^2.
            assert quality["declared"] == 1.0 and 0.79 < quality["sigma_m"] < 1.71
        elif topic.endswith("/odom"):
            _, quality = odometry.accept(conversions.odometry(message, "odom"))
            # A Husky's top speed is 1 m/s.
            assert quality["speed_mps"] < 1.2
        elif topic == "/imu/data":
            _, quality = imu.accept(conversions.imu(message, "imu"))
            assert 5.0 < quality["acceleration_mps2"] < 20.0 or counts[topic] == 0
        counts[topic] += 1
    assert counts == {"/fix": 989, "/husky_velocity_controller/odom": 3952, "/imu/data": 11865}
