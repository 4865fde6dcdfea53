import numpy as np
import pytest
from grounding_scene import NS, robot_at, thing, told

from mm_fusion_ros.config import CommandConfig, GroundingConfig
from mm_fusion_ros.geometry import inverse, planar, yaw_of
from mm_fusion_ros.grounding.target import TargetKeeper, edge_distance, stand_off_pose
from mm_fusion_ros.outputs import HoldReason, Intent

SEEING = {"camera": 0.9, "lidar": 1.0}
BLIND = {"camera": 0.0, "lidar": 0.01}
CONFIG = GroundingConfig()


def keeper(text=None, **settings):
    result = TargetKeeper(GroundingConfig(**settings), CommandConfig())
    if text is not None:
        result.command(told(text))
    return result


def at(seconds):
    return round(seconds * NS)


# Geometry -------------------------------------------------------------------------------------


def test_the_pose_keeps_its_distance_from_the_edge_and_faces_the_object():
    # Box of 1 m at (5, 0), robot at the origin: edge at 4.5, stand-off 1.5, so x = 3, facing +x.
    target = keeper("go to the red box").update([thing()], robot_at(), at(0.1), SEEING)
    assert target.go
    assert target.map_from_target[:3, 3] == pytest.approx([3.0, 0.0, 0.0])
    assert yaw_of(target.map_from_target) == pytest.approx(0.0)


def test_the_edge_of_a_long_turned_box_is_where_its_length_ends():
    size = np.array([4.0, 2.0, 1.5])
    assert edge_distance(size, 0.0, 0.0) == pytest.approx(2.0)  # half the length
    assert edge_distance(size, np.pi / 2, 0.0) == pytest.approx(1.0)  # half the width
    # Along the diagonal of a square of side 2 the corner is at sqrt 2.
    assert edge_distance(np.array([2.0, 2.0, 1.0]), 0.0, np.pi / 4) == pytest.approx(np.sqrt(2.0))


def test_the_object_is_reached_from_the_robots_side():
    # Car of 4 x 2 m at (10, 10), heading east; robot due south of it at (10, 0) facing north:
    # the near edge is at y = 9, so with 1.5 m the pose is (10, 7.5), facing north.
    pose = stand_off_pose(
        planar(10, 10, 0), np.array([4.0, 2.0, 1.5]), planar(10, 0, np.pi / 2), 1.5
    )
    assert pose[:2, 3] == pytest.approx([10.0, 7.5])
    assert yaw_of(pose) == pytest.approx(np.pi / 2)


def test_the_target_is_in_the_map_however_the_map_lies():
    # map_from_odom turns by 90 degrees and shifts by (100, 50): odom (3, 0) is map (100, 53).
    pose = robot_at(map_from_odom=planar(100.0, 50.0, np.pi / 2))
    target = keeper("go to the red box").update([thing()], pose, at(0.1), SEEING)
    assert target.map_from_target[:2, 3] == pytest.approx([100.0, 53.0])
    assert yaw_of(target.map_from_target) == pytest.approx(np.pi / 2)


def test_a_distance_in_the_command_replaces_the_usual_one():
    target = keeper("stay 3 m away from the red box").update([thing()], robot_at(), at(0), SEEING)
    assert target.map_from_target[0, 3] == pytest.approx(5.0 - 0.5 - 3.0)


def test_a_robot_inside_the_object_gets_a_finite_pose():
    pose = stand_off_pose(planar(0, 0, 0), np.ones(3), planar(0, 0, 0), 1.5)
    assert np.isfinite(pose).all()
    assert np.linalg.norm(pose[:2, 3]) == pytest.approx(2.0)  # half a metre of box and 1.5 m


# Every reason to hold -------------------------------------------------------------------------


def test_without_a_command_it_holds():
    target = keeper().update([thing()], robot_at(), at(0), SEEING)
    assert (target.go, target.reason) == (False, HoldReason.NO_COMMAND)


@pytest.mark.parametrize(
    ("text", "objects", "reason"),
    [
        ("sing me a song", [thing()], HoldReason.UNKNOWN_COMMAND),
        ("x" * 1000, [thing()], HoldReason.UNKNOWN_COMMAND),
        ("go to the red box", [], HoldReason.ABSENT),
        ("go to the red box", [thing(track=1), thing(track=2, place=(7, 2))], HoldReason.AMBIGUOUS),
        ("go to the red box", [thing(probability=0.3)], HoldReason.UNRELIABLE),
    ],
)
def test_it_holds_with_the_true_reason(text, objects, reason):
    target = keeper(text).update(objects, robot_at(), at(0.1), SEEING)
    assert not target.go
    assert target.reason is reason
    assert target.map_from_target is None
    assert target.expires_ns is None


def test_a_command_is_forgotten_after_its_time_to_live():
    kept = keeper("go to the red box")
    life = CommandConfig().time_to_live_s
    assert kept.update([thing()], robot_at(), at(life), SEEING).go
    late = kept.update([thing()], robot_at(), at(life + 0.1), SEEING)
    assert late.reason is HoldReason.EXPIRED


def test_stop_is_obeyed_and_is_no_failure():
    kept = keeper("go to the red box")
    assert kept.update([thing()], robot_at(), at(0.1), SEEING).go
    kept.command(told("stop", 0.2))
    target = kept.update([thing()], robot_at(), at(0.3), SEEING)
    assert (target.go, target.intent, target.reason) == (False, Intent.STOP, None)


def test_without_a_pose_it_holds():
    target = keeper("go to the red box").update([thing()], None, at(0.1), SEEING)
    assert target.reason is HoldReason.UNRELIABLE


def test_with_no_sensor_trusted_it_holds_whatever_objects_are_claimed():
    target = keeper("go to the red box").update([thing()], robot_at(), at(0.1), BLIND)
    assert target.reason is HoldReason.UNRELIABLE
    assert keeper("go to the red box").update([thing()], robot_at(), at(0), {}).go is False


def test_a_target_expires_soon_unless_it_is_renewed():
    target = keeper("go to the red box").update([thing()], robot_at(), at(5), SEEING)
    assert target.expires_ns == at(5) + round(CONFIG.expiry_s * NS)


# Holding on -----------------------------------------------------------------------------------


def test_the_lock_survives_a_change_of_id_beside_another_of_its_kind():
    kept = keeper("go to the nearest red box")
    far = thing(track=2, place=(6.5, 3))
    assert kept.update([thing(track=1), far], robot_at(), at(0), SEEING).track_id == 1
    # The tracker renames it while the robot passes nearer to the other.
    moved = robot_at(3.0, 2.0)
    seen = [thing(track=9, place=(2.0, -2.0)), thing(track=2, place=(3.5, 1.0))]
    seen[1] = thing(track=2, place=(1.5, 1.0))
    target = kept.update(seen, moved, at(0.1), SEEING)
    assert target.go
    assert target.track_id == 9


def test_a_short_loss_changes_nothing():
    kept = keeper("go to the red box")
    before = kept.update([thing()], robot_at(), at(0), SEEING)
    after = kept.update([], robot_at(), at(CONFIG.lost_s), SEEING)
    assert after.go
    assert after.map_from_target == pytest.approx(before.map_from_target)


def test_an_object_gone_from_plain_view_is_absent():
    kept = keeper("go to the red box")
    kept.update([thing()], robot_at(), at(0), SEEING)
    target = kept.update([], robot_at(), at(CONFIG.lost_s + 0.1), SEEING)
    assert target.reason is HoldReason.ABSENT


def test_a_grounded_object_at_rest_outlives_the_sensors():
    kept = keeper("go to the red box")
    before = kept.update([thing()], robot_at(), at(0), SEEING)
    after = kept.update([], robot_at(2.0, 0.0), at(20), BLIND)
    assert after.go
    assert after.map_from_target == pytest.approx(before.map_from_target)
    gone = kept.update([], robot_at(2.0, 0.0), at(CONFIG.remember_s + 0.1), BLIND)
    assert gone.reason is HoldReason.UNRELIABLE


def test_a_moving_object_does_not_outlive_the_sensors():
    kept = keeper("follow the person")
    walking = thing("pedestrian", "blue", velocity=(1.0, 0.0))
    assert kept.update([walking], robot_at(), at(0), SEEING).go
    target = kept.update([], robot_at(), at(CONFIG.lost_s + 0.1), BLIND)
    assert target.reason is HoldReason.UNRELIABLE


def test_an_object_too_near_to_be_seen_is_still_there():
    kept = keeper("go to the red box")
    kept.update([thing(place=(5, 0))], robot_at(), at(0), SEEING)
    target = kept.update([], robot_at(3.0, 0.0), at(10), SEEING)
    assert target.go


def test_a_jump_of_gps_does_not_move_the_target_against_the_robot():
    kept = keeper("go to the red box")
    kept.update([thing()], robot_at(), at(0), SEEING)
    jumped = robot_at(map_from_odom=planar(20.0, -7.0, 0.3))
    target = kept.update([], jumped, at(0.1), SEEING)
    base_from_target = inverse(jumped.map_from_base) @ target.map_from_target
    assert base_from_target[:2, 3] == pytest.approx([3.0, 0.0])


def test_following_keeps_up_with_a_walker():
    kept = keeper("follow the person")
    first = thing("pedestrian", "blue", (5, 0), velocity=(1.0, 0.0), size=(0.6, 0.6, 1.7))
    then = thing("pedestrian", "blue", (6, 0), velocity=(1.0, 0.0), size=(0.6, 0.6, 1.7))
    assert kept.update([first], robot_at(), at(0), SEEING).map_from_target[0, 3] == pytest.approx(
        3.2
    )
    target = kept.update([then], robot_at(), at(1), SEEING)
    assert target.intent is Intent.FOLLOW
    assert target.map_from_target[0, 3] == pytest.approx(4.2)  # 6 - 0.3 - 1.5
    # Unseen for half a second it is expected half a metre farther.
    unseen = kept.update([], robot_at(), at(1.5), SEEING)
    assert unseen.map_from_target[0, 3] == pytest.approx(4.7)


def test_a_lock_is_given_up_when_the_object_turns_out_to_be_another():
    kept = keeper("go to the red box")
    assert kept.update([thing()], robot_at(), at(0), SEEING).go
    # The same track is now a blue ball: 0.855 falls by 30 % a sight and is released below
    # 0.6 x 0.5 = 0.3: 0.6, 0.42, 0.29.
    blue_ball = thing("ball", "blue")
    answers = [kept.update([blue_ball], robot_at(), at(0.1 * i), SEEING).go for i in range(1, 5)]
    assert answers == [True, True, False, False]


def test_an_object_without_colour_keeps_the_colour_it_had():
    kept = keeper("go to the red box")
    kept.update([thing()], robot_at(), at(0), SEEING)
    colourless = thing(colour="unknown", colour_probability=0.0)
    for tick in range(1, 100):
        target = kept.update([colourless], robot_at(), at(0.1 * tick), SEEING)
    assert target.go  # settles at 0.9 x 0.4 = 0.36, above 0.3
    assert target.probability == pytest.approx(0.36, abs=0.01)


def test_the_same_command_again_keeps_the_lock_and_another_takes_a_new_object():
    scene = [thing(track=1), thing("ball", "blue", (4, 3), track=2)]
    kept = keeper("go to the red box")
    assert kept.update(scene, robot_at(), at(0), SEEING).track_id == 1
    kept.command(told("Go to the red box, please!", 0.1))
    assert kept.update([], robot_at(), at(0.2), SEEING).track_id == 1
    kept.command(told("go to the blue ball", 0.3))
    assert kept.update(scene, robot_at(), at(0.4), SEEING).track_id == 2


def test_an_older_command_that_comes_late_is_ignored():
    kept = TargetKeeper(CONFIG, CommandConfig())
    kept.command(told("stop", 2.0))
    kept.command(told("go to the red box", 1.0))
    assert kept.update([thing()], robot_at(), at(2.1), SEEING).intent is Intent.STOP


def test_a_restarted_odometry_loses_the_object():
    kept = keeper("go to the red box")
    kept.update([thing()], robot_at(200.0, 0.0), at(0), SEEING)
    target = kept.update([], robot_at(0.0, 0.0), at(0.1), SEEING)
    assert target.reason is HoldReason.ABSENT


def test_reset_forgets_everything():
    kept = keeper("go to the red box")
    kept.update([thing()], robot_at(), at(0), SEEING)
    kept.reset()
    target = kept.update([thing()], robot_at(), at(0.1), SEEING)
    assert target.reason is HoldReason.NO_COMMAND
