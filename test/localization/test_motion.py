import numpy as np
import pytest
from simulated_drive import NS, odometry

from mm_fusion_ros.geometry import inverse, planar, yaw_of
from mm_fusion_ros.localization.motion import MotionBuffer


def filled(*entries):
    buffer = MotionBuffer()
    for seconds, x in entries:
        buffer.push(odometry(round(seconds * NS), planar(x, 0.0, 0.0), 1.0, 0.0))
    return buffer


def at(seconds):
    return round(seconds * NS)


def test_a_pose_between_two_samples_is_interpolated():
    buffer = filled((1.0, 0.0), (1.2, 0.4))
    assert buffer.odom_from_base(at(1.05))[0, 3] == pytest.approx(0.1)  # a quarter of 0.4


def test_a_pose_shortly_after_the_last_sample_follows_its_twist_and_then_is_unknown():
    buffer = filled((1.0, 5.0))
    assert buffer.odom_from_base(at(1.2))[0, 3] == pytest.approx(5.2)  # 1 m/s for 0.2 s
    assert buffer.odom_from_base(at(0.8))[0, 3] == pytest.approx(4.8)
    assert buffer.odom_from_base(at(1.31)) is None
    assert buffer.twist(at(1.31)) is None


def test_following_a_turning_twist_runs_along_the_arc():
    buffer = MotionBuffer()
    # 2 m/s at 2 rad/s is a circle of radius 1; after 0.25 s the heading is 0.5 rad.
    buffer.push(odometry(0, np.eye(4), 2.0, 2.0))
    pose = buffer.odom_from_base(at(0.25))
    assert yaw_of(pose) == pytest.approx(0.5)
    # sin 0.5 = 0.479, 1 - cos 0.5 = 0.122; the chord is taken as long as the arc: 4 % at most.
    assert pose[:2, 3] == pytest.approx([0.479, 0.122], abs=0.01)


def test_a_long_gap_is_not_interpolated():
    buffer = filled((1.0, 0.0), (4.0, 3.0))
    assert buffer.odom_from_base(at(2.5)) is None
    assert buffer.odom_from_base(at(1.1))[0, 3] == pytest.approx(0.1)


def test_motion_between_two_instants_chains_as_the_frames_say():
    buffer = MotionBuffer()
    first, second = planar(1.0, 2.0, 0.3), planar(1.5, 2.5, 0.5)
    buffer.push(odometry(at(1.0), first, 0.0, 0.0))
    buffer.push(odometry(at(1.5), second, 0.0, 0.0))
    assert buffer.base_from_base(at(1.5), at(1.0)) == pytest.approx(inverse(second) @ first)


def test_unknown_motion_is_the_identity():
    buffer = filled((1.0, 0.0))
    assert np.array_equal(buffer.base_from_base(at(1.0), at(9.0)), np.eye(4))
    assert np.array_equal(MotionBuffer().base_from_base(0, 1), np.eye(4))


def test_out_of_order_samples_are_put_in_their_place_and_duplicates_change_nothing():
    buffer = filled((1.0, 0.0), (1.4, 4.0), (1.2, 1.0), (1.2, 99.0))
    assert len(buffer) == 3
    assert buffer.odom_from_base(at(1.2))[0, 3] == 1.0


def test_numbers_that_are_none_are_ignored():
    buffer = filled((1.0, 0.0))
    buffer.push(odometry(at(1.1), planar(np.nan, 0.0, 0.0), 1.0, 0.0))
    assert len(buffer) == 1


def test_a_restarted_odometry_frame_forgets_the_one_before():
    buffer = filled((1.0, 200.0), (1.1, 0.0))
    assert len(buffer) == 1
    assert np.array_equal(buffer.base_from_base(at(1.1), at(1.0)), np.eye(4)) is False
    assert buffer.odom_from_base(at(0.7)) is None


def test_memory_is_bounded():
    buffer = MotionBuffer(horizon_s=1.0, capacity=50)
    for index in range(500):
        buffer.push(odometry(at(0.01 * index), planar(0.01 * index, 0.0, 0.0), 1.0, 0.0))
    assert len(buffer) == 50


def test_moving_is_told_from_the_twist():
    buffer = MotionBuffer()
    buffer.push(odometry(at(1.0), np.eye(4), 0.0, 0.0))
    assert buffer.moving(at(1.0)) is False
    buffer.push(odometry(at(1.1), np.eye(4), 0.0, 0.3))
    assert buffer.moving(at(1.1)) is True
    assert buffer.moving(at(9.0)) is None
    buffer.reset()
    assert buffer.moving(at(1.1)) is None


def at_time(seconds, x, yaw=0.0, speed=0.0):
    return odometry(at(1000.0 + seconds), planar(x, 0.0, yaw), speed, 0.0)


@pytest.mark.parametrize(
    ("later", "restarted"),
    [
        (at_time(2.0, 6.5), False),  # silent, and still where it was
        (at_time(2.0, 8.0, speed=1.2), False),  # it drove on meanwhile
        (at_time(2.0, 0.0), True),  # back at the origin
        (at_time(2.0, 6.0, yaw=3.0), True),  # turned about within two seconds
        (at_time(0.1, 7.5), False),  # fast, by a driver that tells no twist
        (at_time(0.1, 30.0), True),
    ],
)
def test_another_odometry_frame_is_counted(later, restarted):
    buffer = MotionBuffer()
    buffer.push(at_time(0.0, 6.0))
    before = buffer.frame
    buffer.push(later)
    assert (buffer.frame > before) == restarted
    assert len(buffer) == (1 if restarted else 2)
