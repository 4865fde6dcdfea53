"""Where the robot is: odometry laid into the map by gated GPS.

The estimate is `map_from_odom @ odom_from_base`. Odometry is smooth and drifts; fixes are absolute
and wrong in their own slow way. `belief` holds what fixes have taught, `bank` the filters that
weigh the two, `path` what odometry told and how far it may have drifted. This file is the order of
events: fixes are applied at their own instant, late ones by replaying those after them.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

import numpy as np

from mm_fusion_ros.config import LocalizationConfig
from mm_fusion_ros.geometry import inverse, planar
from mm_fusion_ros.localization import bank as filters
from mm_fusion_ros.localization.bank import HEADING
from mm_fusion_ros.localization.belief import Belief, GpsVerdict, Rules, Sighting
from mm_fusion_ros.localization.enu import LocalPlane, is_usable
from mm_fusion_ros.localization.motion import NS, is_discontinuous
from mm_fusion_ros.localization.path import (
    DriftRates,
    PathPoint,
    TravelledPath,
    drift_between,
    nearest_psd,
)
from mm_fusion_ros.outputs import PoseEstimate, Reason
from mm_fusion_ros.samples import Float, GpsFix, GpsStatus, OdometrySample

__all__ = ["GpsVerdict", "PoseFilter"]

# Variance of an angle of which nothing is known [rad^2].
_ANY_HEADING = np.pi**2 / 3.0
# What odometry's roll and pitch are believed to [rad].
_TILT_SIGMA = 0.03
_SHARE_SECONDS = 10.0


@dataclass(frozen=True, eq=False)
class _Entry:
    """A processed fix, with the belief before it."""

    sighting: Sighting
    before: Belief | None
    verdict: GpsVerdict


class PoseFilter:
    """Error-state filter over odometry and gated GPS."""

    def __init__(self, config: LocalizationConfig) -> None:
        """A filter that knows nothing yet."""
        self._config = config
        self._rules = Rules(config)
        rates = DriftRates(config.drift_position, config.drift_heading, config.drift_turning)
        self._path = TravelledPath(rates, horizon_s=config.replay_s + 5.0)
        self._history: deque[_Entry] = deque(maxlen=64)
        self.reset()

    def reset(self) -> None:
        """Forgets everything, the map's datum included."""
        self._path.reset()
        self._history.clear()
        self._belief: Belief | None = None
        self._origin: PathPoint | None = None
        self._shares = (1.0, 0.0)

    @property
    def plane(self) -> LocalPlane | None:
        """The `map` frame; None before the first accepted fix."""
        return None if self._belief is None else self._belief.plane

    @property
    def aligned(self) -> bool:
        """Whether the heading of odometry in `map` is known."""
        return self._belief is not None and self._belief.bank is not None

    def push_odometry(self, sample: OdometrySample) -> None:
        """Extends the path; what is not finite or not newer than the last is ignored."""
        last = self._path.last
        newer = last is not None and sample.stamp_ns > last.stamp_ns
        if self._belief is None and last is not None and newer and is_discontinuous(last, sample):
            # Before any fix the map is the odometry frame, and starts anew with it.
            self._path.reset()
            self._origin = None
        self._path.push(sample)
        if self._origin is None and self._path.last is not None:
            self._origin = self._path.at(self._path.last.stamp_ns)

    def push_gps(self, fix: GpsFix) -> GpsVerdict:
        """Judges a fix and, if it is believed, corrects the pose with it.

        Fixes may come out of order by up to `replay_s`; a stamp already seen changes nothing.
        """
        if fix.status is GpsStatus.NO_FIX:
            return GpsVerdict(False, Reason.MISSING, float("nan"), float("inf"))
        if not is_usable(fix):
            return GpsVerdict(False, Reason.OUTLIER, float("nan"), float("inf"))
        sighting = Sighting(fix, self._path.at(fix.stamp_ns))
        newest = self._history[-1].sighting.stamp_ns if self._history else None
        if newest is None or fix.stamp_ns > newest:
            return self._process(sighting)
        for entry in self._history:
            if entry.sighting.stamp_ns == fix.stamp_ns:
                return entry.verdict
        late_s = (newest - fix.stamp_ns) / NS
        if late_s > self._config.replay_s or fix.stamp_ns < self._history[0].sighting.stamp_ns:
            return GpsVerdict(False, Reason.STALE, float("nan"), float("inf"))
        return self._replayed(sighting)

    def estimate(self, stamp_ns: int) -> PoseEstimate | None:
        """The pose at an instant; None before any odometry or fix.

        It may lie before the newest sample or after it: odometry tells the motion, and where it
        is silent the covariance grows.
        """
        point = self._path.at(stamp_ns)
        if self._belief is None:
            return None if point is None else self._without_fix(point)
        if point is None:
            point = PathPoint(stamp_ns, np.eye(4), np.eye(4), np.zeros(8))
            known = None
        else:
            known = point
        if self._belief.bank is None:
            return self._unaligned(self._belief, known, point)
        bank = self._rules.carried(self._belief, known, stamp_ns)
        mean, covariance = filters.moments(bank)
        self._note_shares(self._belief, covariance, stamp_ns)
        return self._posed(self._belief, known, point, mean[:3], covariance[:3, :3])

    def gps_reliability(self, now_ns: int) -> tuple[float, Reason, dict[str, float]]:
        """How far GPS is believed at an instant.

        Returns:
            trust: 0..1: falls with rejected fixes, with measured noise beyond the usual, and
                with age.
            reason: the strongest cause for a trust below 1.
            quality: sigma_m, white_sigma_m, declared_sigma_m, off_m (how far the receiver is
                thought to be off), nis, mean_nis, acceptance, age_s.
        """
        belief = self._belief
        if belief is None:
            return 0.0, Reason.MISSING, {}
        rules, config = self._rules, self._config
        age_s = max((now_ns - belief.heard_ns) / NS, 0.0)
        sigma = rules.sigma_m(belief)
        quality = {
            "sigma_m": sigma,
            "white_sigma_m": belief.noise.white_sigma_m(config),
            "declared_sigma_m": belief.noise.declared_sigma_m(config),
            "off_m": rules.off_m(belief),
            "nis": belief.verdict.nis,
            "mean_nis": belief.mean_nis,
            "acceptance": belief.acceptance,
            "age_s": age_s,
        }
        fresh = float(np.clip((config.gps_timeout_s - age_s) / (0.5 * config.gps_timeout_s), 0, 1))
        noise = min(1.0, (2.0 * config.gps_sigma_m / sigma) ** 2)
        accepted = belief.acceptance
        trust = fresh * noise * accepted
        if age_s >= config.gps_timeout_s:
            return 0.0, Reason.STALE, quality
        worst = min(fresh, noise, accepted)
        if worst > 0.8:
            return trust, Reason.OK, quality
        if worst == accepted:
            reason = belief.refusal
        elif worst == noise:
            reason = rules.off_reason(belief)
        else:
            reason = Reason.STALE
        return trust, reason, quality

    def shares(self) -> tuple[float, float]:
        """How much odometry and GPS gave to the pose last estimated; they sum to 1.

        GPS's share is the part of the position's information that the fixes of the last ten
        seconds or so brought: 1 - variance / variance had they not come.
        """
        return self._shares

    def _process(self, sighting: Sighting) -> GpsVerdict:
        """Applies the newest fix."""
        before = self._belief
        rules = self._rules
        belief = rules.first(sighting) if before is None else rules.processed(before, sighting)
        self._belief = belief
        self._history.append(_Entry(sighting, before, belief.verdict))
        return belief.verdict

    def _replayed(self, late: Sighting) -> GpsVerdict:
        """Applies a late fix in its place, then those after it again."""
        later: list[Sighting] = []
        while self._history and self._history[-1].sighting.stamp_ns > late.stamp_ns:
            entry = self._history.pop()
            self._belief = entry.before
            later.append(entry.sighting)
        verdict = self._process(late)
        for sighting in reversed(later):
            # Odometry may have come in the meantime; ask the path again while it still knows.
            point = self._path.at(sighting.stamp_ns)
            self._process(replace(sighting, point=point))
        return verdict

    def _note_shares(self, belief: Belief, covariance: Float, stamp_ns: int) -> None:
        """Shares at an estimate: what fixes had brought fades while none come."""
        assert belief.bank is not None
        _, at_fix = filters.moments(belief.bank)
        now = float(np.trace(covariance[:2, :2]))
        gained = max(belief.free_m2 - float(np.trace(at_fix[:2, :2])), 0.0)
        gained *= np.exp(-max(stamp_ns - belief.latest.stamp_ns, 0) / NS / _SHARE_SECONDS)
        gps = float(gained / (now + gained)) if now + gained > 0.0 else 0.0
        self._shares = (1.0 - gps, gps)

    def _without_fix(self, point: PathPoint) -> PoseEstimate:
        """Odometry alone: the map is the odometry frame."""
        self._shares = (1.0, 0.0)
        covariance = np.diag([0.0, 0.0, 0.0, _TILT_SIGMA**2, _TILT_SIGMA**2, 0.0])
        origin = self._origin or point
        drift = drift_between(origin, point)
        prior = self._rules.usual_drift_scale
        planar_covariance = drift.covariance * prior**2
        unknown = self._config.unknown_speed_mps * point.silent_ns / NS
        planar_covariance += np.diag([1.0, 1.0, 0.25]) * unknown**2
        covariance[np.ix_([0, 1, 5], [0, 1, 5])] = planar_covariance
        covariance[2, 2] = 0.02**2 * drift.travelled + unknown**2
        return PoseEstimate(
            point.stamp_ns, point.path_from_base, np.eye(4), covariance, self._twist(point)
        )

    def _unaligned(self, belief: Belief, known: PathPoint | None, point: PathPoint) -> PoseEstimate:
        """The place from the last fix; the heading of the map is anyone's guess."""
        latest = belief.latest
        offset = np.zeros(2)
        if known is not None and latest.point is not None:
            offset = (point.path_from_base - latest.point.path_from_base)[:2, 3]
        unknown = 0.0
        if known is None or known.silent_ns:
            seconds = abs(point.stamp_ns - latest.stamp_ns) / NS
            unknown = self._config.unknown_speed_mps * seconds
        place = belief.plane.enu(latest.fix)[:2] - latest.arm()[:2] + offset
        sigma = self._rules.sigma_m(belief)
        # A displacement of unknown direction errs by itself: E |d' - d|^2 = 2 |d|^2, both axes.
        displaced = float(offset @ offset + latest.arm() @ latest.arm())
        variance = sigma**2 + displaced + unknown**2
        moved = float(np.linalg.norm(offset))
        gps = 1.0 / (1.0 + (moved**2 + unknown**2) / sigma**2)
        self._shares = (1.0 - gps, gps)
        covariance = np.diag([variance, variance, _ANY_HEADING])
        return self._posed(belief, known, point, np.array([*place, 0.0]), covariance)

    def _posed(
        self,
        belief: Belief,
        known: PathPoint | None,
        point: PathPoint,
        state: Float,
        covariance: Float,
    ) -> PoseEstimate:
        """A pose from x, y of the base [m] and heading of the path frame [rad], both in `map`."""
        height = self._rules.carried_height(belief, known, point.stamp_ns)
        map_from_path = planar(0.0, 0.0, float(state[HEADING]))
        target = np.array([state[0], state[1], height.mean[0]])
        map_from_path[:3, 3] = target - map_from_path[:3, :3] @ point.path_from_base[:3, 3]
        whole = np.zeros((6, 6))
        whole[np.ix_([0, 1, 5], [0, 1, 5])] = covariance
        whole[2, 2] = height.covariance[0, 0]
        whole[3, 3] = whole[4, 4] = _TILT_SIGMA**2
        return PoseEstimate(
            point.stamp_ns,
            map_from_path @ point.path_from_base,
            map_from_path @ point.path_from_odom,
            nearest_psd(whole),
            self._twist(point),
        )

    def _twist(self, point: PathPoint) -> Float:
        """(6,) the last twist; zero where odometry has fallen silent."""
        last = self._path.last
        return np.zeros(6) if last is None or point.silent_ns else np.asarray(last.twist)


def odom_from_base(pose: PoseEstimate) -> Float:
    """The (4, 4) odometry pose inside an estimate: smooth, and free of what GPS does."""
    return inverse(pose.map_from_odom) @ pose.map_from_base
