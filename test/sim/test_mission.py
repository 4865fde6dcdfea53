"""A mission in simulated time that the tests turn themselves."""

from __future__ import annotations

import numpy as np

from mm_fusion_ros.outputs import ActionTarget, HoldReason, Intent
from mm_fusion_ros.sim.mission import DriveState, Mission


def go(text: str, intent: Intent = Intent.GO_TO) -> ActionTarget:
    return ActionTarget(go=True, intent=intent, text=text, map_from_target=np.eye(4), reason=None)


def hold(text: str, reason: HoldReason | None, intent: Intent = Intent.NONE) -> ActionTarget:
    return ActionTarget(go=False, intent=intent, text=text, reason=reason)


NOTHING = hold("", HoldReason.NO_COMMAND)


def state(
    time_s: float,
    target: ActionTarget = NOTHING,
    distance_m: float | None = None,
    speed_mps: float = 0.0,
    collided: bool = False,
) -> DriveState:
    return DriveState(time_s, target, distance_m, speed_mps, collided)


def test_each_command_is_said_when_the_one_before_is_done() -> None:
    mission = Mission(["go to the red box", "stop"])
    assert mission.update(state(0.0)) == "go to the red box"
    box = go("go to the red box")
    assert mission.update(state(1.0, box, 5.0, 1.0)) is None
    assert mission.update(state(8.0, box, 0.2, 0.0)) is None  # there, but for no time yet
    assert mission.update(state(9.0, box, 0.2, 0.0)) is None  # there for a second: done
    assert mission.update(state(9.1, box, 0.2, 0.0)) == "stop"
    assert mission.update(state(9.5, hold("stop", None, Intent.STOP))) is None
    assert mission.update(state(10.6, hold("stop", None, Intent.STOP))) is None
    assert mission.current is None and mission.succeeded
    assert mission.report()[0] == '"go to the red box": done after 9.0 s, 0.20 m from the pose'


def test_the_target_of_the_command_before_is_not_taken_for_the_new_ones() -> None:
    mission = Mission(["go to the blue ball"])
    mission.update(state(0.0))
    # The fusion still says GO to the box, where the robot stands.
    for time_s in (0.5, 1.0, 2.0):
        assert mission.update(state(time_s, go("go to the red box"), 0.1)) is None
    assert mission.legs[0].outcome == "under way"


def test_passing_by_the_pose_is_not_arriving() -> None:
    mission = Mission(["go to the red box"])
    mission.update(state(0.0))
    box = go("go to the red box")
    mission.update(state(5.0, box, 0.3, 1.0))
    mission.update(state(7.0, box, 0.3, 1.0))
    assert mission.legs[0].outcome == "under way"


def test_a_command_that_was_not_taken_up_is_said_again() -> None:
    mission = Mission(["go to the red box"])
    assert mission.update(state(0.0)) == "go to the red box"
    assert mission.update(state(2.9)) is None
    assert mission.update(state(3.1)) == "go to the red box"
    assert mission.update(state(4.0)) is None


def test_a_moment_without_an_answer_does_not_repeat_the_command() -> None:
    mission = Mission(["go to the red box"])
    mission.update(state(0.0))
    for time_s in (1.0, 5.0, 9.0):
        assert mission.update(state(time_s, go("go to the red box"), 4.0, 1.0)) is None
    withdrawn = hold("", HoldReason.UNRELIABLE)
    assert mission.update(state(11.0, withdrawn)) is None  # two seconds
    assert mission.update(state(12.1, withdrawn)) == "go to the red box"


def test_a_command_that_is_not_done_in_time_fails_with_its_reason() -> None:
    mission = Mission(["go to the red box"], limit_s=20.0)
    mission.update(state(0.0))
    absent = hold("go to the red box", HoldReason.ABSENT, Intent.GO_TO)
    mission.update(state(19.0, absent))
    assert mission.current is not None
    mission.update(state(20.1, absent))
    assert mission.current is None and not mission.succeeded
    assert "HOLD (absent)" in mission.report()[0]


def test_a_collision_fails_the_mission_even_when_it_arrives() -> None:
    mission = Mission(["stop"])
    mission.update(state(0.0, collided=True))
    stop = hold("stop", None, Intent.STOP)
    mission.update(state(1.0, stop))
    mission.update(state(2.1, stop))
    assert mission.legs[0].done and not mission.succeeded
    assert mission.report()[-1] == "collided"


def test_following_counts_after_ten_seconds_of_it() -> None:
    mission = Mission(["follow the person"])
    mission.update(state(0.0))
    person = go("follow the person", Intent.FOLLOW)
    mission.update(state(1.0, person, 3.0, 1.0))
    mission.update(state(10.9, person, 2.0, 1.0))
    assert not mission.legs[0].done
    mission.update(state(11.0, person, 2.0, 1.0))
    assert mission.legs[0].done
