"""What a robot's follower makes of the fusion's target: the simulator drives by it.

It takes the target, as a navigation stack would, in the frame in which the fusion believes the
robot to be, and stops when the state says HOLD or the target has expired.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque

from mm_fusion_ros import geometry
from mm_fusion_ros.outputs import ActionTarget
from mm_fusion_ros.samples import Float

POSES_KEPT = 512


class Follower:
    """From the target in the fusion's map to a target in the simulation's own.

    The fusion's map is anchored at the first fix, the simulation's in its world: where the fusion
    believes the robot at an instant, and where it is, give the transform between them.
    """

    def __init__(self) -> None:
        self._truth: deque[tuple[int, Float]] = deque(maxlen=POSES_KEPT)
        self._world_from_map: Float | None = None
        self._map_from_target: Float | None = None
        self._go = False
        self._expires_ns: int | None = None

    def be_at(self, stamp_ns: int, world_from_base: Float) -> None:
        """Takes the robot's true pose."""
        self._truth.append((stamp_ns, world_from_base))

    def was_at(self, stamp_ns: int) -> Float | None:
        """The robot's true pose at an instant, (4, 4); None where it is not remembered."""
        index = bisect_left([stamp for stamp, _ in self._truth], stamp_ns)
        if index == len(self._truth) or (index == 0 and self._truth[0][0] != stamp_ns):
            return None
        return self._truth[index][1]

    def believe(self, stamp_ns: int, map_from_base: Float) -> None:
        """Takes where the fusion believes the robot to have been; too old a belief is ignored."""
        world_from_base = self.was_at(stamp_ns)
        if world_from_base is not None:
            self._world_from_map = world_from_base @ geometry.inverse(map_from_base)

    def aim(self, map_from_target: Float) -> None:
        """Takes the pose to reach, in the fusion's map."""
        self._map_from_target = map_from_target

    def obey(self, state: ActionTarget) -> None:
        """Takes GO or HOLD."""
        self._go = state.go
        self._expires_ns = state.expires_ns
        if not state.go:
            self._map_from_target = None

    def target(self, now_ns: int) -> Float | None:
        """The (4, 4) pose to reach in the simulation's world; None means stop."""
        if not self._go or self._map_from_target is None or self._world_from_map is None:
            return None
        if self._expires_ns is not None and now_ns > self._expires_ns:
            return None
        return self._world_from_map @ self._map_from_target
