"""Topics are found by type, chosen by name, and what is left out is said."""

from __future__ import annotations

import numpy as np
import pytest

from mm_fusion_ros.config import FusionConfig, SourceConfig
from mm_fusion_ros.replay.topics import (
    Channel,
    TopicError,
    anchor_of,
    choose,
    nominal_rate,
    source_config,
    with_sources,
)
from mm_fusion_ros.samples import Modality

IMAGE, JPEG = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
INFO, CLOUD = "sensor_msgs/msg/CameraInfo", "sensor_msgs/msg/PointCloud2"
FIX, ODOMETRY = "sensor_msgs/msg/NavSatFix", "nav_msgs/msg/Odometry"
IMU, STRING = "sensor_msgs/msg/Imu", "std_msgs/msg/String"


def channels(*pairs: tuple[str, str]) -> list[Channel]:
    return [Channel(topic, kind, 10) for topic, kind in pairs]


def chosen(*pairs: tuple[str, str]) -> dict[str, str]:
    return {choice.source: choice.topic for choice in choose(channels(*pairs))[0]}


def test_each_kind_of_sensor_is_found_by_its_type() -> None:
    assert chosen(
        ("/a/image_raw", IMAGE), ("/b", CLOUD), ("/c", FIX), ("/d", ODOMETRY), ("/e", IMU),
        ("/robot/command", STRING), ("/f", "vision_msgs/msg/Detection3DArray"),
    ) == {
        "camera": "/a/image_raw", "lidar": "/b", "gps": "/c", "odom": "/d", "imu": "/e",
        "command": "/robot/command",
    }  # fmt: skip


def test_a_string_that_is_no_command_is_not_obeyed() -> None:
    assert chosen(("/odom", ODOMETRY), ("/chatter", STRING)) == {"odom": "/odom"}


def test_several_cameras_are_numbered_in_the_order_of_their_names() -> None:
    assert chosen(("/right/image_raw", IMAGE), ("/front/image_raw", IMAGE)) == {
        "camera": "/front/image_raw",
        "camera_2": "/right/image_raw",
    }


def test_of_one_camera_the_raw_picture_is_taken_before_its_jpeg_and_its_rectified_one() -> None:
    choices, remarks = choose(
        channels(
            ("/cam/image_raw/compressed", JPEG), ("/cam/image_rect", IMAGE),
            ("/cam/image_raw", IMAGE),
        )
    )  # fmt: skip
    assert [choice.topic for choice in choices] == ["/cam/image_raw"]
    assert len(remarks) == 2


def test_depth_pictures_are_no_camera() -> None:
    assert chosen(("/depth/image_raw", IMAGE), ("/points", CLOUD)) == {"lidar": "/points"}


def test_the_camera_info_beside_a_compressed_picture_is_found() -> None:
    (camera,), _ = choose(channels(("/cam/image_raw/compressed", JPEG), ("/cam/camera_info", INFO)))
    assert camera.info_topic == "/cam/camera_info"


def test_camera_info_of_another_name_is_taken_when_it_is_named() -> None:
    (camera,), _ = choose(
        channels(("/cam/image_raw", IMAGE), ("/calib", INFO)), {"camera_info": "/calib"}
    )
    assert camera.source == "camera"
    assert camera.info_topic == "/calib"


def test_of_two_odometries_the_one_that_is_not_derived_is_taken_and_the_other_is_named() -> None:
    choices, remarks = choose(channels(("/odometry/filtered", ODOMETRY), ("/wheel/odom", ODOMETRY)))
    assert [choice.topic for choice in choices] == ["/wheel/odom"]
    assert "/odometry/filtered" in remarks[0]
    assert "--topic odom=/odometry/filtered" in remarks[0]


def test_a_derived_odometry_is_better_than_none() -> None:
    assert chosen(("/odometry/filtered", ODOMETRY)) == {"odom": "/odometry/filtered"}


def test_a_named_topic_replaces_the_search_for_its_kind() -> None:
    choices, _ = choose(
        channels(("/odometry/filtered", ODOMETRY), ("/wheel/odom", ODOMETRY)),
        {"odom": "/odometry/filtered"},
    )
    assert [choice.topic for choice in choices] == ["/odometry/filtered"]


def test_a_named_topic_that_is_absent_is_an_error_that_lists_the_usable_ones() -> None:
    with pytest.raises(TopicError, match=r"no messages on /nope.*usable topics are: /odom"):
        choose(channels(("/odom", ODOMETRY), ("/x", "other/msg/Thing")), {"odom": "/nope"})


def test_a_named_topic_of_a_type_that_is_no_sensor_is_an_error() -> None:
    with pytest.raises(TopicError, match="other/msg/Thing is no sensor's"):
        choose(channels(("/x", "other/msg/Thing")), {"odom": "/x"})


def test_a_topic_without_messages_is_as_good_as_absent() -> None:
    choices, _ = choose([Channel("/odom", ODOMETRY, 0), Channel("/fix", FIX, 3)])
    assert [choice.source for choice in choices] == ["gps"]


def test_an_outage_does_not_lower_the_nominal_rate() -> None:
    # 10 Hz for one second, nothing for nine, 10 Hz for one second: the median interval is 0.1 s.
    times = [*range(10), *range(100, 110)]
    log_ns = [tick * 100_000_000 for tick in times]
    assert nominal_rate(log_ns, len(log_ns), 11_000_000_000) == pytest.approx(10.0)


def test_messages_recorded_in_bursts_give_the_mean_rate() -> None:
    # Four messages within 3 ms, every 0.4 s: 10 Hz on average, while the median interval is 1 ms.
    log_ns = [burst * 400_000_000 + i * 1_000_000 for burst in range(20) for i in range(4)]
    assert nominal_rate(log_ns, len(log_ns), log_ns[-1]) == pytest.approx(10.0, rel=0.05)


def test_too_few_messages_give_the_mean_over_the_bag() -> None:
    assert nominal_rate([0, 1], 3, 4_000_000_000) == pytest.approx(0.5)


@pytest.mark.parametrize("rate", [1e-6, 0.5, 30.0, 5000.0])
def test_any_rate_gives_an_allowed_source(rate: float) -> None:
    source = source_config("gps", Modality.GPS, rate)
    assert 0.01 <= source.rate_hz <= 1000.0
    assert source.timeout_ms <= 600_000.0


def test_a_slow_lidar_may_be_farther_from_the_tick() -> None:
    # 2 Hz: a period of 500 ms; 0.6 of it is 300 ms, and five of them 2500 ms.
    source = source_config("lidar", Modality.LIDAR, 2.0)
    assert source.tolerance_ms == pytest.approx(300.0)
    assert source.timeout_ms == pytest.approx(2500.0)


@pytest.mark.parametrize(
    ("kinds", "anchor"),
    [
        (("camera", "lidar", "gps"), "lidar"),
        (("gps", "camera"), "camera"),
        (("gps", "odometry"), "odometry"),
        (("gps",), "gps"),
    ],
)
def test_the_best_timekeeper_is_the_anchor(kinds: tuple[str, ...], anchor: str) -> None:
    assert anchor_of([SourceConfig(name=kind, modality=kind) for kind in kinds]) == anchor


def test_commands_alone_are_nothing_to_fuse() -> None:
    with pytest.raises(TopicError, match="no topic to fuse"):
        anchor_of([SourceConfig(name="command", modality="command")])


def test_sources_that_the_configuration_names_are_kept() -> None:
    own = FusionConfig(sources=(SourceConfig("lidar", "lidar", rate_hz=20.0),))
    assert with_sources(own, [SourceConfig("odom", "odometry")]).sources == own.sources


def test_without_named_sources_those_of_the_bag_are_taken_with_their_anchor() -> None:
    config = with_sources(FusionConfig(), [SourceConfig("odom", "odometry")])
    assert [source.name for source in config.sources] == ["odom"]
    assert config.sync.anchor == "odom"
    assert np.isfinite(config.sync.deadline_ms)
