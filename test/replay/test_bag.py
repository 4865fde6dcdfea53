"""Recordings of any storage become samples; damaged ones become one clear error."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import synthetic_bag as made
from rosbags.rosbag2 import StoragePlugin

from mm_fusion_ros.config import FusionConfig
from mm_fusion_ros.replay.bag import BagError, BagEvent, BagSource
from mm_fusion_ros.samples import CameraFrame, Command, GpsFix, LidarScan, OdometrySample


def read(path: Path, **options: object) -> tuple[BagSource, list[BagEvent]]:
    with BagSource(path, **options) as bag:  # type: ignore[arg-type]
        return bag, list(bag.events(bag.config(FusionConfig())))


@pytest.mark.parametrize("storage", list(StoragePlugin))
def test_both_storages_give_the_same_samples(tmp_path: Path, storage: StoragePlugin) -> None:
    bag, events = read(made.write(tmp_path / "bag", made.robot(1.0), storage))
    kinds = [type(event.sample) for event in events]
    # One second: ten of each at 10 Hz, and GPS at every second of them.
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {
        CameraFrame: 10, LidarScan: 10, OdometrySample: 10, GpsFix: 5,
    }  # fmt: skip
    assert [topic.source for topic in bag.topics] == ["camera", "lidar", "gps", "odom"]
    assert not bag.remarks
    assert bag.duration_ns == 9 * made.PERIOD_NS


def test_events_come_in_the_order_of_recording(tmp_path: Path) -> None:
    _, events = read(made.write(tmp_path / "bag", made.robot(1.0)))
    times = [event.log_ns for event in events]
    assert times == sorted(times)


@pytest.mark.parametrize("storage", list(StoragePlugin))
def test_a_single_file_is_a_bag_as_well(tmp_path: Path, storage: StoragePlugin) -> None:
    folder = made.write(tmp_path / "bag", made.robot(0.5), storage)
    (file,) = [item for item in folder.iterdir() if item.suffix in (".mcap", ".db3")]
    _, from_folder = read(folder)
    _, from_file = read(file)
    assert len(from_file) == len(from_folder) > 0


def test_a_folder_without_metadata_but_with_one_file_is_read(tmp_path: Path) -> None:
    folder = made.write(tmp_path / "bag", made.robot(0.5))
    (folder / "metadata.yaml").unlink()
    _, events = read(folder)
    assert len(events) > 0


def test_rates_and_tolerances_come_from_the_recording(tmp_path: Path) -> None:
    with BagSource(made.write(tmp_path / "bag", made.robot(2.0))) as bag:
        config = bag.config(FusionConfig())
    assert config.source("lidar").rate_hz == pytest.approx(10.0)
    assert config.source("gps").rate_hz == pytest.approx(5.0)
    assert config.sync.anchor == "lidar"


def test_mountings_reach_the_samples(tmp_path: Path) -> None:
    _, events = read(made.write(tmp_path / "bag", made.robot(0.3)))
    samples = {event.source: event.sample for event in events}
    lidar, camera, gps = samples["lidar"], samples["camera"], samples["gps"]
    assert isinstance(lidar, LidarScan)
    assert isinstance(camera, CameraFrame)
    assert isinstance(gps, GpsFix)
    assert lidar.base_from_lidar[:3, 3] == pytest.approx([0.0, 0.0, 1.8])
    assert camera.base_from_camera[:3, 3] == pytest.approx([0.5, 0.0, 1.2])
    assert gps.base_from_antenna == pytest.approx([-0.3, 0.0, 1.0])
    assert camera.intrinsics[0] == pytest.approx([60.0, 0.0, 40.0])


def test_transforms_latched_late_hold_from_the_first_message_on(tmp_path: Path) -> None:
    late = made.START_NS + 9 * made.PERIOD_NS
    bag, events = read(made.write(tmp_path / "bag", made.robot(1.0, tf_at_ns=late)))
    assert not bag.remarks
    assert sum(isinstance(event.sample, LidarScan) for event in events) == 10


def test_a_robot_name_before_the_transforms_topic_does_not_hide_them(tmp_path: Path) -> None:
    messages = [
        (at, "/husky/tf_static" if topic == "/tf_static" else topic, message)
        for at, topic, message in made.robot(0.5)
    ]
    bag, _ = read(made.write(tmp_path / "bag", messages))
    assert not bag.remarks


def test_without_transforms_camera_and_lidar_are_left_out_and_gps_stays(tmp_path: Path) -> None:
    bag, _ = read(made.write(tmp_path / "bag", made.robot(0.5, skip=["/tf_static"])))
    assert [topic.source for topic in bag.topics] == ["gps", "odom"]
    said = "\n".join(bag.remarks)
    assert "'lidar'" in said
    assert "its antenna is taken to be at the robot's origin" in said
    assert "--base-frame" in said
    # One remark for each topic, not one for each message.
    assert len(bag.remarks) == 3


def test_a_mounting_that_only_the_moving_transforms_know_is_taken_and_said(tmp_path: Path) -> None:
    messages = [
        (at, "/tf" if topic == "/tf_static" else topic, message)
        for at, topic, message in made.robot(0.5)
    ]
    bag, events = read(made.write(tmp_path / "bag", messages))
    assert any(isinstance(event.sample, LidarScan) for event in events)
    assert any("held fixed" in remark for remark in bag.remarks)


def test_a_camera_without_calibration_is_left_out_with_the_way_to_mend_it(tmp_path: Path) -> None:
    bag, _ = read(made.write(tmp_path / "bag", made.robot(0.5, skip=["/cam/camera_info"])))
    assert "camera" not in [topic.source for topic in bag.topics]
    assert any("--topic camera_info=" in remark for remark in bag.remarks)


def test_another_base_frame_can_be_named(tmp_path: Path) -> None:
    mounted = made.transforms(("robot", "lidar", (0.0, 0.0, 1.0)))
    messages = [
        (at, topic, mounted if topic == "/tf_static" else message)
        for at, topic, message in made.robot(0.5, skip=["/cam/image_raw/compressed", "/fix"])
    ]
    path = made.write(tmp_path / "bag", messages)
    assert "lidar" in [topic.source for topic in read(path, base_frame="robot")[0].topics]
    assert "lidar" not in [topic.source for topic in read(path)[0].topics]


def test_raw_pictures_are_read_as_well(tmp_path: Path) -> None:
    _, events = read(made.write(tmp_path / "bag", made.robot(0.2, raw_images=True)))
    frames = [event.sample for event in events if isinstance(event.sample, CameraFrame)]
    assert np.array_equal(frames[0].image, made.picture())


def test_messages_of_unknown_types_are_ignored(tmp_path: Path) -> None:
    _, events = read(made.write_with_foreign_type(tmp_path / "bag", made.drive(0.5)))
    assert {event.source for event in events} == {"gps", "odom"}


def test_recorded_commands_are_given(tmp_path: Path) -> None:
    messages = [*made.drive(1.0), (made.START_NS + 1, "/robot/command", made.text("stop"))]
    _, events = read(made.write(tmp_path / "bag", messages))
    (command,) = [event.sample for event in events if isinstance(event.sample, Command)]
    assert command.text == "stop"
    assert command.stamp_ns == made.START_NS + 1


def test_a_message_that_cannot_be_decoded_is_refused_and_the_others_go_on(tmp_path: Path) -> None:
    kind = "nav_msgs/msg/Odometry"
    whole = made.STORE.serialize_cdr(made.odometry(made.START_NS), kind)
    rows = [
        (made.START_NS + i * made.PERIOD_NS, "/odom", kind, bytes(whole[:40] if i == 3 else whole))
        for i in range(6)
    ]
    _, events = read(made.write_serialized(tmp_path / "bag", rows))
    assert [event.reason for event in events] == ["", "", "", "truncated", "", ""]
    assert "/odom" in events[3].detail


def test_a_message_that_cannot_be_a_sample_is_refused_by_its_reason(tmp_path: Path) -> None:
    messages = [
        (made.START_NS + i * made.PERIOD_NS, "/odom", made.odometry(made.START_NS, x))
        for i, x in enumerate([0.0, float("nan"), 0.2])
    ]
    _, events = read(made.write(tmp_path / "bag", messages))
    assert [event.reason for event in events] == ["", "nan", ""]


def test_stamps_of_another_clock_are_remarked_upon(tmp_path: Path) -> None:
    shifted = [(at + 60_000_000_000, topic, m) for at, topic, m in made.drive(1.0)]
    bag, _ = read(made.write(tmp_path / "bag", shifted))
    assert any("/odom" in remark and "60.0 s" in remark for remark in bag.remarks)


def test_a_missing_bag_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(BagError, match=r"nothing_here does not exist; expected a rosbag2"):
        read(tmp_path / "nothing_here")


def test_a_folder_that_is_no_bag_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(BagError, match=r"no metadata\.yaml; make one with 'ros2 bag reindex"):
        read(tmp_path)


def test_a_bag_of_ros_1_is_refused_with_the_way_to_convert_it(tmp_path: Path) -> None:
    old = tmp_path / "old.bag"
    old.write_bytes(b"#ROSBAG V2.0\n")
    with pytest.raises(BagError, match="rosbags-convert"):
        read(old)


@pytest.mark.parametrize("storage", list(StoragePlugin))
@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9])
def test_a_truncated_bag_is_a_clear_error(
    tmp_path: Path, storage: StoragePlugin, kept: float
) -> None:
    folder = made.write(tmp_path / "bag", made.robot(2.0), storage)
    (file,) = [item for item in folder.iterdir() if item.suffix in (".mcap", ".db3")]
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(BagError, match="cut short or damaged"):
        read(folder)


@pytest.mark.parametrize("seed", range(8))
def test_a_bag_with_altered_bytes_gives_samples_or_one_clear_error(
    tmp_path: Path, seed: int
) -> None:
    folder = made.write(tmp_path / "bag", made.robot(1.0))
    (file,) = folder.glob("*.mcap")
    data = bytearray(file.read_bytes())
    generator = np.random.default_rng(seed)
    for place in generator.integers(8, len(data), 200):
        data[place] = generator.integers(0, 256)
    file.write_bytes(bytes(data))
    # Anything but a BagError fails the test.
    events: list[BagEvent] = []
    with suppress(BagError):
        events = read(folder)[1]
    assert all(event.sample is not None or event.reason for event in events)


def test_a_broken_metadata_file_is_a_clear_error(tmp_path: Path) -> None:
    folder = made.write(tmp_path / "bag", made.robot(0.5))
    (folder / "metadata.yaml").write_text("rosbag2_bagfile_information: [", encoding="utf-8")
    with pytest.raises(BagError, match="cut short or damaged"):
        read(folder)


def test_a_bag_without_a_usable_topic_says_what_it_would_take(tmp_path: Path) -> None:
    path = made.write(tmp_path / "bag", [(made.START_NS, "/chatter", made.text("hello"))])
    with pytest.raises(BagError, match="no topic to fuse: expected images with CameraInfo"):
        read(path)


def test_a_bag_without_messages_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(BagError, match="no messages"):
        read(made.write(tmp_path / "bag", []))


def test_a_bag_must_be_opened_first(tmp_path: Path) -> None:
    bag = BagSource(made.write(tmp_path / "bag", made.drive(0.5)))
    with pytest.raises(BagError, match="with statement"):
        next(bag.events(FusionConfig()))
