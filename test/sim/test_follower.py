"""The simulator's follower and its pace, fed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from mm_fusion_ros import geometry
from mm_fusion_ros.outputs import ActionTarget, HoldReason, Intent
from mm_fusion_ros.ros.pace import Pace
from mm_fusion_ros.sim.follower import Follower

SECOND = 1_000_000_000


def go(expires_ns: int) -> ActionTarget:
    return ActionTarget(
        go=True, intent=Intent.GO_TO, map_from_target=np.eye(4), expires_ns=expires_ns, reason=None
    )


def following() -> Follower:
    """The fusion's map lies 10 m east of the world's origin and is turned by 90 degrees."""
    follower = Follower()
    world_from_base = geometry.planar(12.0, 3.0, 1.0)
    world_from_map = geometry.planar(10.0, 0.0, np.pi / 2)
    follower.be_at(5 * SECOND, world_from_base)
    follower.believe(5 * SECOND, geometry.inverse(world_from_map) @ world_from_base)
    follower.obey(go(expires_ns=7 * SECOND))
    follower.aim(geometry.planar(4.0, 0.0, 0.0))
    return follower


def test_the_target_is_driven_to_in_the_map_in_which_it_was_given() -> None:
    target = following().target(6 * SECOND)
    assert target is not None
    # 4 m along the map's x, which is the world's y, from (10, 0); facing along it.
    np.testing.assert_allclose(target, geometry.planar(10.0, 4.0, np.pi / 2), atol=1e-9)


def test_an_expired_target_and_a_hold_stop_the_robot() -> None:
    follower = following()
    assert follower.target(7 * SECOND) is not None
    assert follower.target(7 * SECOND + 1) is None
    follower.obey(ActionTarget(go=False, intent=Intent.GO_TO, reason=HoldReason.ABSENT))
    assert follower.target(6 * SECOND) is None
    # A later GO without a pose of its own does not bring the old pose back.
    follower.obey(go(expires_ns=9 * SECOND))
    assert follower.target(6 * SECOND) is None


def test_a_belief_of_an_instant_that_is_not_remembered_changes_nothing() -> None:
    follower = following()
    before = follower.target(6 * SECOND)
    follower.believe(1 * SECOND, np.eye(4))
    follower.believe(99 * SECOND, np.eye(4))
    np.testing.assert_array_equal(follower.target(6 * SECOND), before)


def test_without_a_belief_there_is_nowhere_to_go() -> None:
    follower = Follower()
    follower.obey(go(expires_ns=SECOND))
    follower.aim(np.eye(4))
    assert follower.target(0) is None


def test_the_pace_waits_for_steady_time() -> None:
    pace = Pace(2.0, simulated_ns=100 * SECOND, steady_ns=0)
    # 3 simulated seconds at twice the speed take 1.5 s, of which 1 s has passed.
    assert pace.wait_s(103 * SECOND, 1 * SECOND) == pytest.approx(0.5)


def test_lateness_is_forgiven_and_never_caught_up() -> None:
    pace = Pace(1.0, simulated_ns=0, steady_ns=0)
    assert pace.wait_s(1 * SECOND, 5 * SECOND) == 0.0  # four seconds late
    # From there the pace is the wanted one again: one more second is due at 6 s.
    assert pace.wait_s(2 * SECOND, 5 * SECOND) == pytest.approx(1.0)


def test_the_achieved_speed_is_that_of_the_last_seconds() -> None:
    pace = Pace(1.0, simulated_ns=0, steady_ns=0)
    assert pace.achieved(SECOND // 2, 1 * SECOND) == 1.0  # too early to say
    assert pace.achieved(1 * SECOND, 2 * SECOND) == pytest.approx(0.5)
    assert pace.achieved(4 * SECOND, 4 * SECOND) == pytest.approx(1.5)
