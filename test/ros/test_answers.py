"""The messages, made and read back without any ROS running."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from visualization_msgs.msg import Marker

from mm_fusion_ros import geometry
from mm_fusion_ros.outputs import (
    ActionTarget,
    FusedObject,
    HoldReason,
    Intent,
    ObstacleGrid,
    PoseEstimate,
    Reason,
    Reliability,
)
from mm_fusion_ros.ros import answers, hearing
from mm_fusion_ros.ros.answers import values_of
from mm_fusion_ros.ros.publishers import Resend
from mm_fusion_ros.samples import Modality

STAMP_NS = 1_700_000_000_123_456_789


def red_box(track_id: int = 7) -> FusedObject:
    return FusedObject(
        track_id=track_id,
        class_name="box",
        class_probability=0.8,
        colour="red",
        colour_probability=0.9,
        centre=np.array([5.0, -1.0, 0.5]),
        size=np.array([1.0, 1.2, 1.4]),
        yaw=0.3,
        velocity=np.array([1.0, 0.0, 0.0]),
        position_covariance=np.diag([0.04, 0.05, 0.06]),
    )


def go_to(x: float, y: float = 0.0, track_id: int = 7, text: str = "go to the box") -> ActionTarget:
    return ActionTarget(
        go=True, intent=Intent.GO_TO, text=text, map_from_target=geometry.planar(x, y, 0.5),
        probability=0.75, expires_ns=STAMP_NS + 5, reason=None, track_id=track_id,
    )  # fmt: skip


def test_a_detection_carries_class_colour_covariance_and_track() -> None:
    (detection,) = answers.detections([red_box()], STAMP_NS, "base_link").detections
    ids = [(result.hypothesis.class_id, result.hypothesis.score) for result in detection.results]
    assert ids == [("box", 0.8), ("colour:red", 0.9)]
    assert detection.id == "7"
    # Row-major 6x6: the diagonal of the position lies at 0, 7 and 14.
    assert list(detection.results[0].pose.covariance[[0, 7, 14]]) == [0.04, 0.05, 0.06]
    assert (detection.header.stamp.sec, detection.header.stamp.nanosec) == (
        1_700_000_000, 123_456_789,
    )  # fmt: skip


def test_what_else_an_object_may_be_follows_and_comes_back() -> None:
    may_be = {"box": 0.6, "barrel": 0.3, "ball": 0.02}
    colours = {"red": 0.7, "black": 0.06, "orange": 0.2, "blue": 0.04}
    found = replace(
        red_box(), class_probability=0.6, colour_probability=0.7, classes=may_be, colours=colours
    )
    message = answers.detections([found], STAMP_NS, "base_link")
    ids = [result.hypothesis.class_id for result in message.detections[0].results]
    assert ids == ["box", "barrel", "colour:red", "colour:orange", "colour:black"]
    (heard,) = hearing.objects(message)
    assert (heard.class_name, heard.class_probability) == ("box", 0.6)
    assert (heard.colour, heard.colour_probability) == ("red", 0.7)
    assert heard.classes == {"box": 0.6, "barrel": 0.3}
    assert heard.colours == {"red": 0.7, "orange": 0.2, "black": 0.06}


def test_an_object_of_unknown_colour_has_only_its_class() -> None:
    found = FusedObject(**{**vars(red_box()), "colour": "unknown", "colour_probability": 0.0})
    (detection,) = answers.detections([found], STAMP_NS, "base_link").detections
    assert [result.hypothesis.class_id for result in detection.results] == ["box"]


def test_objects_come_back_from_their_message_as_they_were() -> None:
    found = red_box()
    (heard,) = hearing.objects(answers.detections([found], STAMP_NS, "base_link"))
    np.testing.assert_allclose(heard.centre, found.centre)
    np.testing.assert_allclose(heard.size, found.size)
    np.testing.assert_allclose(heard.position_covariance, found.position_covariance)
    assert heard.yaw == pytest.approx(found.yaw)
    assert (heard.class_name, heard.colour, heard.track_id) == ("box", "red", 7)


def test_reliability_comes_back_with_absent_figures_absent() -> None:
    sources = {
        "lidar": Reliability("lidar", Modality.LIDAR, 0.25, 1.0, Reason.SPARSE, 40_000_000, 0.02,
                             1.5, {"valid": 0.125}),
        "camera": Reliability("camera", Modality.CAMERA, 0.0, 0.0, Reason.MISSING),
        "command": Reliability("command", Modality.COMMAND, 1.0, None, Reason.OK),
    }  # fmt: skip
    message = answers.reliability(sources, STAMP_NS, "base_link")
    assert hearing.reliability(message) == sources
    levels = {status.name: status.level for status in message.status}
    # Trust 0.25 is under a half; a missing source is stale.
    assert levels == {
        "lidar": DiagnosticStatus.WARN, "camera": DiagnosticStatus.STALE,
        "command": DiagnosticStatus.OK,
    }  # fmt: skip


def test_a_go_comes_back_with_its_pose_and_a_hold_with_its_reason() -> None:
    heard = hearing.target(answers.target_state(go_to(3.0, -2.0)))
    assert heard.go and heard.map_from_target is not None
    np.testing.assert_allclose(heard.map_from_target, geometry.planar(3.0, -2.0, 0.5), atol=1e-3)
    assert (heard.track_id, heard.expires_ns) == (7, STAMP_NS + 5)
    hold = ActionTarget(go=False, intent=Intent.GO_TO, text="go", reason=HoldReason.AMBIGUOUS)
    status = answers.target_state(hold)
    assert status.message == "HOLD: ambiguous" and status.level == DiagnosticStatus.WARN
    assert hearing.target(status).reason is HoldReason.AMBIGUOUS


def test_an_obeyed_stop_is_a_hold_that_names_the_intent() -> None:
    stop = ActionTarget(go=False, intent=Intent.STOP, text="stop", reason=None)
    status = answers.target_state(stop)
    assert status.message == "HOLD: stop" and values_of(status)["reason"] == ""


def test_a_hold_has_no_pose_to_publish() -> None:
    with pytest.raises(ValueError, match="no pose"):
        answers.target_pose(ActionTarget(go=False, intent=Intent.NONE), STAMP_NS, "map")


def test_a_pose_comes_back_with_its_covariance() -> None:
    pose = PoseEstimate(
        STAMP_NS, geometry.planar(1.0, 2.0, 0.7), np.eye(4), np.diag(np.arange(1.0, 7.0)),
        np.arange(6.0),
    )  # fmt: skip
    message = answers.odometry(pose, "map", "base_link")
    heard = hearing.pose(message)
    np.testing.assert_allclose(heard.map_from_base, pose.map_from_base, atol=1e-12)
    np.testing.assert_array_equal(heard.covariance, pose.covariance)
    np.testing.assert_array_equal(heard.twist, pose.twist)
    assert (message.header.frame_id, message.child_frame_id) == ("map", "base_link")


def test_the_obstacle_grid_keeps_rows_columns_and_the_unknown() -> None:
    cells = np.array([[0, 100, -1], [-1, 0, 0]], dtype=np.int8)
    grid = ObstacleGrid(cells, 0.5, np.array([-1.0, -2.0]))
    message = answers.obstacles(grid, STAMP_NS, "base_link")
    assert (message.info.height, message.info.width) == (2, 3)
    assert list(message.data) == [0, 100, -1, -1, 0, 0]
    np.testing.assert_array_equal(hearing.obstacles(message).cells, cells)


def test_markers_begin_with_a_clean_slate_and_show_the_target_in_the_map() -> None:
    message = answers.markers(
        [red_box()], go_to(1.0), STAMP_NS, base_frame="base_link", map_frame="map"
    )
    assert message.markers[0].action == Marker.DELETEALL
    kinds = {marker.ns: marker.header.frame_id for marker in message.markers[1:]}
    assert kinds == {
        "boxes": "base_link", "labels": "base_link", "velocities": "base_link", "target": "map",
    }  # fmt: skip


def test_an_image_is_laid_out_row_by_row() -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    message = answers.image(pixels[:, :, ::-1], STAMP_NS, "camera")
    assert (message.step, message.encoding) == (12, "rgb8")
    assert bytes(message.data) == pixels[:, :, ::-1].tobytes()


def test_a_target_is_sent_again_only_when_it_moved_changed_or_came_back() -> None:
    is_news = Resend(0.25)
    assert is_news(go_to(1.0))
    assert not is_news(go_to(1.24))  # 0.24 m from what was sent
    assert is_news(go_to(1.26))  # 0.26 m
    assert not is_news(go_to(1.26))
    assert is_news(go_to(1.26, track_id=8))
    assert not is_news(ActionTarget(go=False, intent=Intent.STOP, reason=None))
    assert is_news(go_to(1.26, track_id=8))
