"""Odometry over time: where the base was at any recent instant, and how it moved in between."""

from __future__ import annotations

import math
from bisect import bisect_left

import numpy as np

from mm_fusion_ros.geometry import interpolate, inverse, transform, yaw_of
from mm_fusion_ros.samples import Float, OdometrySample

NS = 1_000_000_000
# Faster displacement means that the odometry frame itself jumped [m/s].
MAX_SPEED_MPS = 60.0
# A driver that was silent for so long may have been restarted; what a robot may do meanwhile.
SILENCE_S, LEAST_SPEED_MPS, LEAST_RATE_RADPS = 0.5, 1.0, 0.5


def is_finite(sample: OdometrySample) -> bool:
    """Whether pose and twist of an odometry sample are usable numbers."""
    return bool(np.isfinite(sample.odom_from_base).all() and np.isfinite(sample.twist).all())


def displacement(twist: Float, seconds: float) -> Float:
    """before_from_after, (4, 4): the motion of a base that keeps its twist for some seconds.

    Args:
        twist: (6,) vx vy vz [m/s] wx wy wz [rad/s] in base_link.
        seconds: may be negative.
    """
    turn = twist[3:] * seconds
    return transform(_rotation(turn), _rotation(turn / 2.0) @ (twist[:3] * seconds))


def _rotation(turn: Float) -> Float:
    """The (3, 3) rotation by a (3,) rotation vector [rad] (Rodrigues)."""
    angle = math.sqrt(float(turn @ turn))
    x, y, z = turn
    skew: Float = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    if angle < 1e-6:
        return np.asarray(np.eye(3) + skew)
    first = math.sin(angle) / angle
    second = (1.0 - math.cos(angle)) / angle**2
    rotation: Float = np.eye(3) + first * skew + second * (skew @ skew)
    return rotation


def is_discontinuous(
    earlier: OdometrySample, later: OdometrySample, max_speed_mps: float = MAX_SPEED_MPS
) -> bool:
    """Whether the odometry frame itself jumped between two samples (a restarted driver).

    Half a metre is always allowed, so that a burst of almost equal stamps is no jump.
    """
    distance = float(np.linalg.norm(later.odom_from_base[:3, 3] - earlier.odom_from_base[:3, 3]))
    seconds = (later.stamp_ns - earlier.stamp_ns) / NS
    return distance > 0.5 + max_speed_mps * seconds


def has_restarted(earlier: OdometrySample, later: OdometrySample) -> bool:
    """Whether, after a silence, the robot is where it cannot have come to: in another frame.

    Many drivers leave the twist empty, so only a silence is judged by it, not every sample.
    """
    seconds = (later.stamp_ns - earlier.stamp_ns) / NS
    if seconds < SILENCE_S:
        return False
    before_from_after = inverse(earlier.odom_from_base) @ later.odom_from_base
    way_m = float(np.linalg.norm(before_from_after[:3, 3]))
    turn = abs(yaw_of(before_from_after))
    twists = np.abs([earlier.twist, later.twist])
    speed = max(float(np.linalg.norm(twists[:, :3], axis=1).max()), LEAST_SPEED_MPS)
    rate = max(float(np.linalg.norm(twists[:, 3:], axis=1).max()), LEAST_RATE_RADPS)
    return way_m > 0.5 + 1.5 * speed * seconds or turn > 0.5 + 1.5 * rate * seconds


class MotionBuffer:
    """Odometry poses over time, bounded, interpolated, extrapolated a little.

    Attributes:
        frame: counts the odometry frames: what was kept in the one before means nothing now.
    """

    def __init__(
        self,
        horizon_s: float = 30.0,
        extrapolate_s: float = 0.3,
        max_gap_s: float = 1.0,
        max_speed_mps: float = MAX_SPEED_MPS,
        capacity: int = 4096,
    ) -> None:
        """An empty buffer.

        Args:
            horizon_s: older samples than this before the newest are forgotten [s].
            extrapolate_s: farthest from a sample that its twist is believed [s].
            max_gap_s: farthest apart two samples may be to interpolate between them [s].
            max_speed_mps: faster displacement means that the odometry frame jumped [m/s].
            capacity: most samples kept.
        """
        self._horizon_ns = round(horizon_s * NS)
        self._extrapolate_ns = round(extrapolate_s * NS)
        self._max_gap_ns = round(max_gap_s * NS)
        self._max_speed_mps = max_speed_mps
        self._capacity = capacity
        self._stamps: list[int] = []
        self._samples: list[OdometrySample] = []
        self.frame = 0

    def __len__(self) -> int:
        return len(self._stamps)

    @property
    def newest_ns(self) -> int | None:
        """Stamp of the newest sample; None when empty."""
        return self._stamps[-1] if self._stamps else None

    def reset(self) -> None:
        """Forgets everything: another frame begins."""
        self.frame += 1
        self._stamps.clear()
        self._samples.clear()

    def push(self, sample: OdometrySample) -> None:
        """Adds a sample; out-of-order ones are inserted, duplicates and non-finite ones ignored.

        Poses from before a jump of the odometry frame are forgotten: no motion can be told
        across it.
        """
        if not is_finite(sample):
            return
        stamp = sample.stamp_ns
        if self._stamps and stamp < self._stamps[-1] - self._horizon_ns:
            return
        at = bisect_left(self._stamps, stamp)
        if at < len(self._stamps) and self._stamps[at] == stamp:
            return
        newest = self._samples[-1] if at == len(self._stamps) > 0 else None
        if newest is not None and (
            is_discontinuous(newest, sample, self._max_speed_mps) or has_restarted(newest, sample)
        ):
            self.reset()
            at = 0
        self._stamps.insert(at, stamp)
        self._samples.insert(at, sample)
        oldest_ns = self._stamps[-1] - self._horizon_ns
        surplus = max(bisect_left(self._stamps, oldest_ns), len(self._stamps) - self._capacity)
        if surplus > 0:
            del self._stamps[:surplus]
            del self._samples[:surplus]

    def odom_from_base(self, stamp_ns: int) -> Float | None:
        """The (4, 4) pose at an instant, or None where odometry does not tell it."""
        at = bisect_left(self._stamps, stamp_ns)
        if at < len(self._stamps) and self._stamps[at] == stamp_ns:
            return self._samples[at].odom_from_base
        if 0 < at < len(self._stamps):
            gap = self._stamps[at] - self._stamps[at - 1]
            if gap <= self._max_gap_ns:
                fraction = (stamp_ns - self._stamps[at - 1]) / gap
                before, after = self._samples[at - 1], self._samples[at]
                return interpolate(before.odom_from_base, after.odom_from_base, fraction)
        nearest = self._nearest(stamp_ns)
        if nearest is None:
            return None
        return nearest.odom_from_base @ displacement(
            nearest.twist, (stamp_ns - nearest.stamp_ns) / NS
        )

    def base_from_base(self, target_ns: int, source_ns: int) -> Float:
        """base(target)_from_base(source), (4, 4); the identity where odometry does not tell it."""
        if target_ns == source_ns:
            return np.eye(4)
        odom_from_target = self.odom_from_base(target_ns)
        odom_from_source = self.odom_from_base(source_ns)
        if odom_from_target is None or odom_from_source is None:
            return np.eye(4)
        return inverse(odom_from_target) @ odom_from_source

    def twist(self, stamp_ns: int) -> Float | None:
        """(6,) vx vy vz [m/s] wx wy wz [rad/s] in base_link, or None where unknown."""
        at = bisect_left(self._stamps, stamp_ns)
        if 0 < at < len(self._stamps):
            gap = self._stamps[at] - self._stamps[at - 1]
            if gap <= self._max_gap_ns:
                fraction = (stamp_ns - self._stamps[at - 1]) / gap
                before, after = self._samples[at - 1].twist, self._samples[at].twist
                return before + fraction * (after - before)
        nearest = self._nearest(stamp_ns)
        return None if nearest is None else nearest.twist

    def moving(self, stamp_ns: int) -> bool | None:
        """Whether the base moves (over 5 cm/s or 3 degrees/s); None where unknown."""
        twist = self.twist(stamp_ns)
        if twist is None:
            return None
        return bool(np.linalg.norm(twist[:3]) > 0.05 or np.linalg.norm(twist[3:]) > 0.05)

    def _nearest(self, stamp_ns: int) -> OdometrySample | None:
        """The sample nearest in time, if its twist may be believed at this instant."""
        at = bisect_left(self._stamps, stamp_ns)
        around = self._samples[max(at - 1, 0) : at + 1]
        if not around:
            return None
        nearest = min(around, key=lambda sample: abs(sample.stamp_ns - stamp_ns))
        return nearest if abs(nearest.stamp_ns - stamp_ns) <= self._extrapolate_ns else None
