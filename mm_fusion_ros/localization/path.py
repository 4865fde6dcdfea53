"""The travelled path: odometry joined into one continuous pose, and the drift gathered along it.

Every metre and every radian adds variance to what odometry knows. The heading error made at a
place swings all that follows about that place, so the drift between two instants depends on the
whole path in between. Running sums of the moments of that path give it in constant time for any
two instants (see `PathPoint.moments`), so a late fix or a query costs no replay of odometry.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace

import numpy as np

from mm_fusion_ros.geometry import interpolate, inverse
from mm_fusion_ros.localization.motion import (
    MAX_SPEED_MPS,
    NS,
    displacement,
    is_discontinuous,
    is_finite,
)
from mm_fusion_ros.samples import Float, OdometrySample

# J turns a vector of the plane by +90 degrees: the derivative of a rotation about z.
J = np.array([[0.0, -1.0], [1.0, 0.0]])


@dataclass(frozen=True)
class DriftRates:
    """How fast odometry loses its way, as standard deviations of random walks.

    Attributes:
        position: along and across, per root metre travelled [m / sqrt(m)].
        heading: per root metre travelled [rad / sqrt(m)].
        turning: per root radian turned [rad / sqrt(rad)].
    """

    position: float
    heading: float
    turning: float


@dataclass(frozen=True, eq=False)
class PathPoint:
    """The path at one instant.

    Attributes:
        stamp_ns: the instant.
        path_from_base: (4, 4) float64, pose in the continuous path frame: the odometry frame,
            with restarts of the odometry taken out.
        path_from_odom: (4, 4) float64, identity until the odometry restarts.
        moments: (8,) float64 running sums over the path: heading variance s, s x, s y, s x^2,
            s x y, s y^2, position variance, metres travelled.
        silent_ns: how long odometry has told nothing at this instant.
    """

    stamp_ns: int
    path_from_base: Float
    path_from_odom: Float
    moments: Float
    silent_ns: int = 0


@dataclass(frozen=True, eq=False)
class PathDrift:
    """What odometry says of the motion between two instants, and how far it may be wrong.

    Attributes:
        offset: (2,) displacement of the base in path axes [m].
        climb: change of height [m].
        travelled: metres of path.
        covariance: (3, 3) of the later pose given the earlier: x y [m^2] heading [rad^2], path
            axes.
    """

    offset: Float
    climb: float
    travelled: float
    covariance: Float


def drift_between(earlier: PathPoint, later: PathPoint) -> PathDrift:
    """Motion and drift from one point of the path to another.

    A heading error `e` made at place p moves the end q of the path by J (q - p) e. Summed over
    independent errors of variance s: position variance J [q q' S - q M' - M q' + N] J' with
    S = sum s, M = sum s p, N = sum s p p', all differences of the running sums.
    """
    sums = later.moments - earlier.moments
    if later.stamp_ns < earlier.stamp_ns:
        sums = -sums
    heading, first = sums[0], sums[1:3]
    second = np.array([[sums[3], sums[4]], [sums[4], sums[5]]])
    end = later.path_from_base[:2, 3]
    spread = np.outer(end, end) * heading - np.outer(end, first) - np.outer(first, end) + second
    covariance = np.zeros((3, 3))
    covariance[:2, :2] = J @ spread @ J.T + sums[6] * np.eye(2)
    covariance[:2, 2] = J @ (end * heading - first)
    covariance[2, :2] = covariance[:2, 2]
    covariance[2, 2] = heading
    offset = later.path_from_base[:3, 3] - earlier.path_from_base[:3, 3]
    return PathDrift(offset[:2], float(offset[2]), float(sums[7]), covariance)


def nearest_psd(matrix: Float) -> Float:
    """The symmetric positive semidefinite matrix nearest to (n, n) `matrix`.

    Differences of running sums round to something a hair below zero; nothing else is mended.
    """
    symmetric = (matrix + matrix.T) / 2.0
    try:
        np.linalg.cholesky(symmetric)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(symmetric)
        symmetric = (vectors * np.maximum(values, 0.0)) @ vectors.T
    return symmetric


class TravelledPath:
    """Odometry samples as one continuous path with its running drift; bounded."""

    def __init__(
        self,
        rates: DriftRates,
        horizon_s: float = 10.0,
        extrapolate_s: float = 0.3,
        max_speed_mps: float = MAX_SPEED_MPS,
        capacity: int = 4096,
    ) -> None:
        """An empty path.

        Args:
            rates: drift of this odometry.
            horizon_s: how far back the path is kept [s].
            extrapolate_s: how long the last twist is believed when odometry falls silent [s].
            max_speed_mps: faster displacement means that the odometry frame jumped [m/s].
            capacity: most points kept.
        """
        self._rates = rates
        self._horizon_ns = round(horizon_s * NS)
        self._extrapolate_ns = round(extrapolate_s * NS)
        self._max_speed_mps = max_speed_mps
        self._capacity = capacity
        self._stamps: list[int] = []
        self._points: list[PathPoint] = []
        self._last: OdometrySample | None = None

    @property
    def last(self) -> OdometrySample | None:
        """The newest sample; None when empty."""
        return self._last

    def reset(self) -> None:
        """Forgets everything."""
        self._stamps.clear()
        self._points.clear()
        self._last = None

    def push(self, sample: OdometrySample) -> None:
        """Extends the path; non-finite samples and those not newer than the last are ignored."""
        if not is_finite(sample):
            return
        if self._last is None:
            point = PathPoint(sample.stamp_ns, sample.odom_from_base, np.eye(4), np.zeros(8))
        else:
            if sample.stamp_ns <= self._last.stamp_ns:
                return
            point = self._extended(self._points[-1], self._last, sample)
        self._stamps.append(sample.stamp_ns)
        self._points.append(point)
        self._last = sample
        oldest = bisect_right(self._stamps, sample.stamp_ns - self._horizon_ns) - 1
        surplus = max(oldest, len(self._stamps) - self._capacity)
        if surplus > 0:
            del self._stamps[:surplus]
            del self._points[:surplus]

    def at(self, stamp_ns: int) -> PathPoint | None:
        """The path at an instant: interpolated, or carried on from its nearest end.

        Beyond the newest sample the last twist is followed for a moment, then the pose holds and
        `silent_ns` grows. None before any odometry.
        """
        if not self._points:
            return None
        after = bisect_right(self._stamps, stamp_ns)
        if after == 0:
            return replace(self._points[0], stamp_ns=stamp_ns, silent_ns=self._stamps[0] - stamp_ns)
        if after == len(self._stamps):
            return self._carried(stamp_ns)
        before, beyond = self._points[after - 1], self._points[after]
        fraction = (stamp_ns - before.stamp_ns) / (beyond.stamp_ns - before.stamp_ns)
        if fraction == 0.0:
            return before
        return PathPoint(
            stamp_ns,
            interpolate(before.path_from_base, beyond.path_from_base, fraction),
            beyond.path_from_odom,
            before.moments + fraction * (beyond.moments - before.moments),
        )

    def _extended(
        self, point: PathPoint, last: OdometrySample, sample: OdometrySample
    ) -> PathPoint:
        """The next point of the path."""
        seconds = (sample.stamp_ns - last.stamp_ns) / NS
        path_from_odom = point.path_from_odom
        unknown = 0.0
        if is_discontinuous(last, sample, self._max_speed_mps):
            # The odometry frame restarted: keep the path whole by following the last twist over
            # the gap, and own up to not knowing the motion in it.
            believed = min(seconds, self._extrapolate_ns / NS)
            path_from_base = point.path_from_base @ displacement(last.twist, believed)
            path_from_odom = path_from_base @ inverse(sample.odom_from_base)
            unknown = (float(np.linalg.norm(last.twist[:3])) + 0.5) * seconds
        path_from_base = path_from_odom @ sample.odom_from_base
        return PathPoint(
            sample.stamp_ns,
            path_from_base,
            path_from_odom,
            point.moments + self._increment(point.path_from_base, path_from_base, unknown),
        )

    def _increment(self, before: Float, after: Float, unknown_m: float) -> Float:
        """What one step adds to the running sums, (8,)."""
        rates = self._rates
        metres = float(np.linalg.norm(after[:3, 3] - before[:3, 3]))
        cosine = (np.trace(before[:3, :3].T @ after[:3, :3]) - 1.0) / 2.0
        radians = float(np.arccos(np.clip(cosine, -1.0, 1.0)))
        heading = rates.heading**2 * metres + rates.turning**2 * radians
        heading += (0.3 * unknown_m) ** 2
        x, y = (before[:2, 3] + after[:2, 3]) / 2.0
        position = rates.position**2 * metres + unknown_m**2
        second = np.array([x * x, x * y, y * y]) * heading
        return np.array([heading, heading * x, heading * y, *second, position, metres])

    def _carried(self, stamp_ns: int) -> PathPoint:
        """The path beyond its newest sample."""
        assert self._last is not None  # the caller has checked that there are points
        newest = self._points[-1]
        silence = stamp_ns - newest.stamp_ns
        believed = min(silence, self._extrapolate_ns)
        path_from_base = newest.path_from_base @ displacement(self._last.twist, believed / NS)
        return PathPoint(
            stamp_ns,
            path_from_base,
            newest.path_from_odom,
            newest.moments + self._increment(newest.path_from_base, path_from_base, 0.0),
            silence - believed,
        )
