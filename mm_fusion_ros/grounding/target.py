"""Where to go: the command's object held on to, and a pose in front of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mm_fusion_ros.config import CommandConfig, GroundingConfig
from mm_fusion_ros.geometry import inverse, planar, wrap_angle, yaw_of
from mm_fusion_ros.grounding.command import ParsedCommand, parse
from mm_fusion_ros.grounding.resolver import probability_of, resolve
from mm_fusion_ros.outputs import (
    RESTING_MPS,
    ActionTarget,
    FusedObject,
    HoldReason,
    Intent,
    PoseEstimate,
)
from mm_fusion_ros.samples import Command, Float

NS = 1_000_000_000
# How much one sight of the object counts against what was believed of it.
_NEW_SIGHT = 0.3
# A lock is given up when the object is less probable than this part of what a new one needs.
_RELEASE = 0.6
# Farther between two updates than this the odometry frame has restarted [m].
_RESTART_M = 20.0


@dataclass(frozen=True, eq=False)
class Lock:
    """The object held on to, in the odometry frame: smooth, whatever GPS does to the map.

    Attributes:
        track_id: the tracker's name for it.
        class_name: its class.
        odom_from_object: (4, 4) centre and heading of its box.
        size: (3,) of its box [m].
        velocity: (2,) over ground, odometry axes [m/s].
        probability: that it is there and is what was asked for.
        seen_ns: when it was last seen.
    """

    track_id: int
    class_name: str
    odom_from_object: Float
    size: Float
    velocity: Float
    probability: float
    seen_ns: int

    @property
    def resting(self) -> bool:
        """Whether it stood still when it was last seen, and so will be where it was."""
        return bool(np.linalg.norm(self.velocity) < RESTING_MPS)


def edge_distance(size: Float, yaw: float, direction: float) -> float:
    """From the centre of an upright box to its edge [m].

    Args:
        size: (3,) length, width, height [m].
        yaw: of the box [rad].
        direction: from the centre outwards, in the same frame as `yaw` [rad].
    """
    along, across = abs(np.cos(direction - yaw)), abs(np.sin(direction - yaw))
    length = size[0] / 2.0 / along if along > 1e-9 else np.inf
    width = size[1] / 2.0 / across if across > 1e-9 else np.inf
    return float(min(length, width))


def stand_off_pose(from_object: Float, size: Float, from_robot: Float, stand_off_m: float) -> Float:
    """The (4, 4) pose before an object, on the robot's side of it, facing it.

    Args:
        from_object: (4, 4) centre and heading of the box, in any level frame.
        size: (3,) of the box [m].
        from_robot: (4, 4) the robot in the same frame.
        stand_off_m: from the object's edge to the pose [m].
    """
    centre, robot = from_object[:2, 3], from_robot[:2, 3]
    away = robot - centre
    # A robot at the very centre has no side; backing out is as good as any.
    heading = yaw_of(from_robot) + np.pi if np.linalg.norm(away) < 1e-3 else np.arctan2(*away[::-1])
    distance = edge_distance(size, yaw_of(from_object), float(heading)) + stand_off_m
    x, y = centre + distance * np.array([np.cos(heading), np.sin(heading)])
    pose = planar(float(x), float(y), wrap_angle(float(heading) + np.pi))
    pose[2, 3] = from_robot[2, 3]
    return pose


class TargetKeeper:
    """Keeps to what the robot was told, as long as it can be believed."""

    def __init__(self, grounding: GroundingConfig, command: CommandConfig) -> None:
        """A keeper with no command."""
        self._grounding = grounding
        self._command_config = command
        self.reset()

    def reset(self) -> None:
        """Forgets command and object."""
        self._parsed: ParsedCommand | None = None
        self._told_ns = 0
        self._lock: Lock | None = None
        self._odom_from_base: Float | None = None

    def lose_place(self) -> None:
        """Forgets where the object is, since the odometry frame is another one; not the command."""
        self._lock = None
        self._odom_from_base = None

    @property
    def parsed(self) -> ParsedCommand | None:
        """The command as understood; None without one."""
        return self._parsed

    def command(self, command: Command) -> None:
        """Takes a command; one older than the last is ignored, the same again only renews it."""
        if self._parsed is not None and command.stamp_ns < self._told_ns:
            return
        if len(command.text) > self._command_config.max_length:
            parsed = ParsedCommand(Intent.NONE, why="too long")
        else:
            parsed = parse(command.text)
        if self._parsed is None or replace(parsed, text="") != replace(self._parsed, text=""):
            self._lock = None
        self._parsed = parsed
        self._told_ns = command.stamp_ns

    def update(
        self,
        objects: Sequence[FusedObject],
        pose: PoseEstimate | None,
        stamp_ns: int,
        trust: Mapping[str, float],
    ) -> ActionTarget:
        """What to do at a tick.

        Args:
            objects: in base_link at the tick, with track ids.
            pose: of the robot at the tick.
            stamp_ns: the tick.
            trust: of each camera and lidar, by name.
        """
        parsed = self._parsed
        if parsed is None:
            return ActionTarget(False, Intent.NONE, reason=HoldReason.NO_COMMAND)
        if stamp_ns - self._told_ns > self._command_config.time_to_live_s * NS:
            self._lock = None
            return self._hold(parsed, HoldReason.EXPIRED)
        if not parsed.known:
            return self._hold(parsed, HoldReason.UNKNOWN_COMMAND)
        if parsed.intent is Intent.STOP:
            return ActionTarget(False, Intent.STOP, text=parsed.text, reason=None)
        if pose is None or not np.isfinite(pose.map_from_base).all():
            return self._hold(parsed, HoldReason.UNRELIABLE)
        odom_from_base = self._followed(pose)
        seeing = any(value >= self._grounding.min_trust for value in trust.values())
        visible = objects if seeing else ()
        reason = self._keep(parsed, visible, pose, odom_from_base, stamp_ns, seeing)
        lock = self._lock
        if reason is not None or lock is None:
            return self._hold(parsed, reason or HoldReason.ABSENT)
        return self._go(parsed, lock, pose, odom_from_base, stamp_ns)

    def _followed(self, pose: PoseEstimate) -> Float:
        """The robot in the odometry frame; a restart of that frame loses the object's place."""
        odom_from_base = inverse(pose.map_from_odom) @ pose.map_from_base
        before = self._odom_from_base
        if before is not None:
            moved = float(np.linalg.norm((odom_from_base - before)[:3, 3]))
            if moved > _RESTART_M:
                self._lock = None
        self._odom_from_base = odom_from_base
        return odom_from_base

    def _keep(
        self,
        parsed: ParsedCommand,
        objects: Sequence[FusedObject],
        pose: PoseEstimate,
        odom_from_base: Float,
        stamp_ns: int,
        seeing: bool,
    ) -> HoldReason | None:
        """Finds the object, or holds on to it; the reason where there is none."""
        lock = self._lock
        if lock is not None:
            seen = self._recognised(parsed, lock, objects, odom_from_base, stamp_ns)
            if seen is not None:
                probability = probability_of(parsed, seen, self._grounding)
                believed = lock.probability + _NEW_SIGHT * (probability - lock.probability)
                if believed >= _RELEASE * self._grounding.min_probability:
                    self._lock = _locked(seen, believed, odom_from_base, stamp_ns)
                    return None
                self._lock = None
            else:
                if self._remembered(lock, odom_from_base, stamp_ns, seeing):
                    return None
                self._lock = None
        if not seeing:
            return HoldReason.UNRELIABLE
        resolution = resolve(parsed, objects, pose, self._grounding)
        if resolution.object is None:
            return resolution.reason
        self._lock = _locked(resolution.object, resolution.probability, odom_from_base, stamp_ns)
        return None

    def _recognised(
        self,
        parsed: ParsedCommand,
        lock: Lock,
        objects: Sequence[FusedObject],
        odom_from_base: Float,
        stamp_ns: int,
    ) -> FusedObject | None:
        """The locked object among those seen: by its track, or by place, class and colour."""
        for each in objects:
            if each.track_id == lock.track_id >= 0 and np.isfinite(each.centre).all():
                return each
        seconds = (stamp_ns - lock.seen_ns) / NS
        expected = lock.odom_from_object[:2, 3] + lock.velocity * min(
            seconds, self._grounding.lost_s
        )
        reach = self._grounding.reacquire_m
        if not lock.resting:
            # Who walks may turn.
            reach += float(np.linalg.norm(lock.velocity)) * min(seconds, self._grounding.lost_s)
        best: FusedObject | None = None
        for each in objects:
            place = (odom_from_base @ np.array([*each.centre, 1.0]))[:2]
            distance = float(np.linalg.norm(place - expected))
            least = _RELEASE * self._grounding.min_probability
            # A lock may be of a class that nobody named, where another becomes more probable.
            alike = bool(parsed.classes) or each.probability_of_class(lock.class_name) >= least
            fits = alike and probability_of(parsed, each, self._grounding) >= least
            if fits and distance <= reach:
                reach, best = distance, each
        return best

    def _remembered(self, lock: Lock, odom_from_base: Float, stamp_ns: int, seeing: bool) -> bool:
        """Whether an unseen object may still be relied on.

        A moment's loss is nothing. After that only an object at rest counts, and only where there
        is a reason not to see it: no sensor left, or too near for the sensors' view.
        """
        unseen_s = (stamp_ns - lock.seen_ns) / NS
        if unseen_s <= self._grounding.lost_s:
            return True
        if not lock.resting or unseen_s > self._grounding.remember_s:
            return False
        apart = lock.odom_from_object[:2, 3] - odom_from_base[:2, 3]
        return not seeing or bool(np.linalg.norm(apart) <= self._grounding.blind_m)

    def _go(
        self,
        parsed: ParsedCommand,
        lock: Lock,
        pose: PoseEstimate,
        odom_from_base: Float,
        stamp_ns: int,
    ) -> ActionTarget:
        """GO to the pose before the locked object."""
        place = lock.odom_from_object
        if not lock.resting:
            seconds = min((stamp_ns - lock.seen_ns) / NS, self._grounding.lost_s)
            place = place.copy()
            place[:2, 3] += lock.velocity * seconds
        stand_off = parsed.stand_off_m or self._grounding.stand_off_m
        odom_from_target = stand_off_pose(place, lock.size, odom_from_base, stand_off)
        return ActionTarget(
            True,
            parsed.intent,
            text=parsed.text,
            map_from_target=pose.map_from_odom @ odom_from_target,
            probability=lock.probability,
            expires_ns=stamp_ns + round(self._grounding.expiry_s * NS),
            reason=None,
            track_id=lock.track_id,
        )

    def _hold(self, parsed: ParsedCommand, reason: HoldReason) -> ActionTarget:
        """HOLD, and why."""
        return ActionTarget(False, parsed.intent, text=parsed.text, reason=reason)


def _locked(seen: FusedObject, probability: float, odom_from_base: Float, stamp_ns: int) -> Lock:
    """A lock on an object seen in base_link."""
    base_from_object = planar(float(seen.centre[0]), float(seen.centre[1]), seen.yaw)
    base_from_object[2, 3] = seen.centre[2]
    velocity = (odom_from_base[:3, :3] @ seen.velocity)[:2]
    if not np.isfinite(velocity).all():
        velocity = np.zeros(2)
    return Lock(
        seen.track_id,
        seen.class_name,
        odom_from_base @ base_from_object,
        np.asarray(seen.size, dtype=np.float64),
        velocity,
        probability,
        stamp_ns,
    )
