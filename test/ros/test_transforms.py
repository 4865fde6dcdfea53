"""The transform buffer, fed with messages and asked; nothing waits."""

from __future__ import annotations

import numpy as np
import pytest
from geometry_msgs.msg import TransformStamped

from mm_fusion_ros import geometry
from mm_fusion_ros.ros import answers
from mm_fusion_ros.ros.transforms import TransformBuffer, TransformMissing
from mm_fusion_ros.samples import Float

SECOND = 1_000_000_000
BASE_FROM_MAST = geometry.from_euler(np.array([0.2, 0.0, 1.0]), 0.0, 0.0, 0.1)
MAST_FROM_CAMERA = geometry.from_euler(np.array([0.05, 0.0, 0.1]), -np.pi / 2, 0.0, -np.pi / 2)


def edge(parent: str, child: str, matrix: Float, stamp_ns: int = 0) -> TransformStamped:
    return answers.transform(matrix, stamp_ns, parent, child)


def fixed(*edges: TransformStamped) -> TransformBuffer:
    buffer = TransformBuffer()
    assert buffer.add_fixed(answers.tf_message(*edges)) == []
    return buffer


def test_fixed_edges_chain_from_the_sensor_to_the_base() -> None:
    buffer = fixed(
        edge("mast", "camera", MAST_FROM_CAMERA), edge("base_link", "mast", BASE_FROM_MAST)
    )
    base_from_camera = buffer.lookup("base_link", "camera", 5 * SECOND)
    np.testing.assert_allclose(base_from_camera, BASE_FROM_MAST @ MAST_FROM_CAMERA, atol=1e-12)


def test_a_base_below_a_common_root_is_reached_through_it() -> None:
    # The sensor hangs on the footprint, and so does the base: footprint_from_base is inverted.
    lift = geometry.planar(0.0, 0.0, 0.0)
    lift[2, 3] = 0.3
    buffer = fixed(
        edge("base_footprint", "base_link", lift), edge("base_footprint", "lidar", BASE_FROM_MAST)
    )
    base_from_lidar = buffer.lookup("base_link", "lidar", 0)
    assert base_from_lidar[2, 3] == pytest.approx(1.0 - 0.3)


def test_a_slash_in_front_of_a_frame_makes_no_difference() -> None:
    buffer = fixed(edge("/base_link", "/lidar", BASE_FROM_MAST))
    np.testing.assert_allclose(buffer.lookup("base_link", "lidar", 0), BASE_FROM_MAST, atol=1e-12)


def test_the_base_itself_needs_no_transform() -> None:
    np.testing.assert_array_equal(
        TransformBuffer().lookup("base_link", "base_link", 0), np.eye(4)
    )  # fmt: skip


def test_a_missing_transform_names_both_frames_and_what_is_known() -> None:
    buffer = fixed(edge("mast", "camera", MAST_FROM_CAMERA))
    with pytest.raises(TransformMissing, match="'camera' to 'base_link'.*'mast'"):
        buffer.lookup("base_link", "camera", 0)


def test_a_moving_joint_is_interpolated_at_the_stamp_of_the_image() -> None:
    buffer = TransformBuffer()
    for second, yaw in [(1, 0.0), (2, 0.4)]:
        moving = edge("base_link", "pan", geometry.planar(0.1, 0.0, yaw), second * SECOND)
        buffer.add_moving(answers.tf_message(moving))
    base_from_pan = buffer.lookup("base_link", "pan", 1 * SECOND + SECOND // 4)
    assert geometry.yaw_of(base_from_pan) == pytest.approx(0.1)  # a quarter of the way


def test_a_moving_joint_is_carried_on_briefly_and_then_missing() -> None:
    buffer = TransformBuffer()
    moving = edge("base_link", "pan", geometry.planar(0.1, 0.0, 0.2), 10 * SECOND)
    buffer.add_moving(answers.tf_message(moving))
    late = 10 * SECOND + 200_000_000
    assert geometry.yaw_of(buffer.lookup("base_link", "pan", late)) == pytest.approx(0.2)
    with pytest.raises(TransformMissing):
        buffer.lookup("base_link", "pan", late + 1)


def test_the_robots_own_motion_does_not_enter_a_sensors_mounting() -> None:
    buffer = fixed(edge("base_link", "lidar", BASE_FROM_MAST))
    moving = edge("odom", "base_link", geometry.planar(50.0, 0.0, 1.0), SECOND)
    buffer.add_moving(answers.tf_message(moving))
    # Long after the last odometry, when odom -> base_link is unknown, the mounting still is.
    np.testing.assert_allclose(
        buffer.lookup("base_link", "lidar", 100 * SECOND), BASE_FROM_MAST, atol=1e-12
    )


def test_a_clock_that_goes_back_forgets_what_was_later() -> None:
    buffer = TransformBuffer()
    for second, yaw in [(1, 0.1), (2, 0.2), (3, 0.3), (1, 0.5)]:
        moving = edge("base_link", "pan", geometry.planar(0.0, 0.0, yaw), second * SECOND)
        buffer.add_moving(answers.tf_message(moving))
    with pytest.raises(TransformMissing):
        buffer.lookup("base_link", "pan", 3 * SECOND)
    buffer.clear()
    with pytest.raises(TransformMissing):
        buffer.lookup("base_link", "pan", SECOND)


def test_a_broken_transform_is_told_and_costs_only_itself() -> None:
    broken = edge("base_link", "lidar", BASE_FROM_MAST)
    turn = broken.transform.rotation
    turn.x = turn.y = turn.z = turn.w = 0.0
    buffer = TransformBuffer()
    sound = edge("base_link", "mast", BASE_FROM_MAST)
    refused = buffer.add_fixed(answers.tf_message(broken, sound))
    assert [verdict.reason for verdict in refused] == ["quaternion"]
    np.testing.assert_allclose(buffer.lookup("base_link", "mast", 0), BASE_FROM_MAST, atol=1e-12)
    with pytest.raises(TransformMissing):
        buffer.lookup("base_link", "lidar", 0)


def test_a_loop_of_transforms_is_refused_and_ends_no_lookup_in_a_circle() -> None:
    buffer = TransformBuffer()
    loop = answers.tf_message(edge("a", "b", np.eye(4)), edge("b", "a", np.eye(4)))
    assert [verdict.reason for verdict in buffer.add_fixed(loop)] == ["transform"]
    moving = TransformBuffer()
    moving.add_moving(loop)
    with pytest.raises(TransformMissing):
        moving.lookup("base_link", "a", 0)
