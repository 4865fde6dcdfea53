from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("open3d", reason="the ray caster is missing")

from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

from mm_fusion_ros.cli import main
from mm_fusion_ros.config import LidarConfig
from mm_fusion_ros.ros import conversions
from mm_fusion_ros.samples import CameraFrame, Command, GpsFix, LidarScan, OdometrySample, Sample
from mm_fusion_ros.sim.bag_writer import BagWriter, rings
from mm_fusion_ros.sim.demo_world import demo_world
from mm_fusion_ros.sim.simulation import Simulation, SimulationOptions, demo_rig


@pytest.fixture(scope="module")
def drive() -> tuple[Simulation, list[Sample]]:
    simulation = Simulation(
        demo_world(), demo_rig((96, 72), beams=16, columns=360),
        options=SimulationOptions(camera_hz=5, lidar_hz=5),
    )  # fmt: skip
    simulation.command("stop")
    return simulation, simulation.run(0.4)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_bag_gives_back_what_was_written(
    drive: tuple[Simulation, list[Sample]], tmp_path: Path, storage: str
) -> None:
    simulation, samples = drive
    path = tmp_path / "bag"
    with BagWriter(path, simulation.rig, simulation.base_from_antenna, storage) as writer:
        for sample in samples:
            writer.write(sample)
    read = {topic: [] for topic in writer.counts}
    types = {}
    with AnyReader([path], default_typestore=get_typestore(Stores.ROS2_JAZZY)) as reader:
        for connection, stamp, raw in reader.messages():
            types[connection.topic] = connection.msgtype
            message = reader.deserialize(raw, connection.msgtype)
            read[connection.topic].append((stamp, message))

    assert types == {
        "/camera/image_raw/compressed": "sensor_msgs/msg/CompressedImage",
        "/camera/camera_info": "sensor_msgs/msg/CameraInfo",
        "/lidar/points": "sensor_msgs/msg/PointCloud2",
        "/gps/fix": "sensor_msgs/msg/NavSatFix",
        "/odom": "nav_msgs/msg/Odometry",
        "/tf": "tf2_msgs/msg/TFMessage",
        "/tf_static": "tf2_msgs/msg/TFMessage",
        "/command": "std_msgs/msg/String",
    }
    of = {kind: [s for s in samples if isinstance(s, kind)] for kind in
          (CameraFrame, LidarScan, GpsFix, OdometrySample, Command)}  # fmt: skip

    scans = of[LidarScan]
    assert [stamp for stamp, _ in read["/lidar/points"]] == [s.stamp_ns for s in scans]
    for (_, message), scan in zip(read["/lidar/points"], scans, strict=True):
        back = conversions.lidar_scan(message, "lidar", scan.base_from_lidar, LidarConfig())
        # Places lie on a grid of 1/256 m: half a step off at most.
        assert np.abs(back.points[:, :3] - scan.points[:, :3]).max() <= 0.5 / 256 + 1e-5
        assert np.abs(back.points[:, 3] - scan.points[:, 3]).max() <= 0.5 / 255 + 1e-6
        assert back.time_offset_ns is not None
        assert scan.time_offset_ns is not None
        assert np.abs(back.time_offset_ns - scan.time_offset_ns).max() < 1000
        assert [f.name for f in message.fields] == ["x", "y", "z", "intensity", "ring", "time"]

    for (_, message), frame in zip(
        read["/camera/image_raw/compressed"], of[CameraFrame], strict=True
    ):
        picture = cv2.cvtColor(cv2.imdecode(message.data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        assert picture.shape == frame.image.shape
        # JPEG loses noise, not levels: swapped channels would be off by tens.
        assert np.abs(picture.astype(int) - frame.image).mean() < 6
        means = picture.reshape(-1, 3).mean(axis=0) - frame.image.reshape(-1, 3).mean(axis=0)
        assert np.abs(means).max() < 2

    info = read["/camera/camera_info"][0][1]
    assert np.allclose(info.k.reshape(3, 3), of[CameraFrame][0].intrinsics)
    assert (info.width, info.height) == (96, 72)

    for (_, message), fix in zip(read["/gps/fix"], of[GpsFix], strict=True):
        back_fix = conversions.gps_fix(message, "gps")
        assert back_fix.latitude_deg == fix.latitude_deg
        assert back_fix.covariance is not None
        assert np.allclose(back_fix.covariance, fix.covariance)
        assert back_fix.status == fix.status

    for (_, message), sample in zip(read["/odom"], of[OdometrySample], strict=True):
        back_odometry = conversions.odometry(message, "odom")
        assert np.allclose(back_odometry.odom_from_base, sample.odom_from_base)
        assert np.allclose(back_odometry.twist, sample.twist)

    assert [message.data for _, message in read["/command"]] == ["stop"]
    mounts = {t.child_frame_id: t for t in read["/tf_static"][0][1].transforms}
    assert set(mounts) == {"lidar", "camera_optical", "gps_antenna"}
    moved = mounts["lidar"].transform.translation
    assert np.allclose([moved.x, moved.y, moved.z], simulation.rig.lidar.base_from_lidar[:3, 3])


def test_rings_are_counted_from_the_lowest_beam() -> None:
    spec = demo_rig(beams=4).lidar  # beams at 14, 2, -10, -22 degrees
    elevation = np.radians([-22.0, -10.0, 2.0, 14.0])
    points = np.zeros((4, 4), np.float32)
    points[:, 0], points[:, 2] = 10 * np.cos(elevation), 10 * np.sin(elevation)
    assert rings(points, spec).tolist() == [0, 1, 2, 3]


def test_an_existing_folder_is_not_overwritten(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError, match="exists already"):
        BagWriter(tmp_path, demo_rig(), np.zeros(3))


def test_an_unknown_storage_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'tar'.*mcap, sqlite3"):
        BagWriter(tmp_path / "bag", demo_rig(), np.zeros(3), "tar")


def test_the_command_writes_a_bag(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "bag"
    arguments = ["sim", "--out", str(out), "--seconds", "0.4", "--image-size", "96x72",
                 "--beams", "16", "--columns", "180"]  # fmt: skip
    assert main(arguments) == 0
    assert (out / "metadata.yaml").is_file()
    assert "/lidar/points" in capsys.readouterr().out
    assert main(arguments) == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value"),
    [("--image-size", "huge"), ("--seconds", "-1"), ("--beams", "0"), ("--seed", "-4")],
)
def test_a_wrong_value_is_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, value: str
) -> None:
    assert main(["sim", "--out", str(tmp_path / "bag"), option, value]) == 2
    assert option in capsys.readouterr().err
    assert not (tmp_path / "bag").exists()
