"""What the filter believes after a fix, and how the next fix changes it.

`Belief` is immutable and `processed` is a pure function of belief and sighting: a fix that comes
late is put in its place by going back to the belief before it and processing the later ones again.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from scipy.special import chdtri

from mm_fusion_ros.config import LocalizationConfig
from mm_fusion_ros.localization import bank as filters
from mm_fusion_ros.localization.alignment import rigid_heading
from mm_fusion_ros.localization.bank import BIAS, HEADING, Bank, Hypotheses, Innovation
from mm_fusion_ros.localization.enu import LocalPlane, declared_sigma_m
from mm_fusion_ros.localization.gps_noise import GpsNoise, hypotheses_of
from mm_fusion_ros.localization.motion import NS
from mm_fusion_ros.localization.path import PathDrift, PathPoint, drift_between
from mm_fusion_ros.localization.vertical import Vertical
from mm_fusion_ros.outputs import Reason
from mm_fusion_ros.samples import Float, GpsFix, GpsStatus

# So many consecutive fixes that agree with each other and not with the filter are a step of the
# receiver, and before alignment a sign that the first fix was the wrong one.
_STEP_FIXES = 3
_STEP_SECONDS = 0.8
# The least density [1/m^2] that any hypothesis gives a fix: bounds what one wild fix can say.
_OUTLIER_DENSITY = 1e-3
# Before alignment the path is remembered at this spacing, for at most so many places.
_SPACING_M = 0.25
_MAX_PENDING = 160
# How fast the free-running covariance follows the filter: GPS's share counts the last seconds.
_SHARE_SECONDS = 10.0
_GAP_SECONDS = 2.5


@dataclass(frozen=True, eq=False)
class GpsVerdict:
    """What became of a fix.

    Attributes:
        accepted: whether its place was believed.
        reason: why not, or what to keep in mind.
        nis: normalised innovation squared, chi-square with 2 degrees of freedom; NaN where there
            was nothing to compare with.
        sigma_m: horizontal sigma that the fix is credited with, each axis [m].
    """

    accepted: bool
    reason: Reason
    nis: float
    sigma_m: float


@dataclass(frozen=True, eq=False)
class Sighting:
    """A fix, and the path at its instant.

    Attributes:
        point: the path; None where there is no odometry at all.
    """

    fix: GpsFix
    point: PathPoint | None

    @property
    def stamp_ns(self) -> int:
        """Instant of the fix [ns]."""
        return self.fix.stamp_ns

    def arm(self) -> Float:
        """(3,) base to antenna in path axes [m]."""
        if self.point is None:
            return np.zeros(3)
        return np.asarray(self.point.path_from_base[:3, :3] @ self.fix.base_from_antenna)

    def place(self) -> Float:
        """(3,) antenna in the path frame [m]."""
        base = np.zeros(3) if self.point is None else self.point.path_from_base[:3, 3]
        return np.asarray(base + self.arm())

    def same_place(self, other: Sighting) -> bool:
        """Whether both fixes say exactly the same."""
        return (
            self.fix.latitude_deg == other.fix.latitude_deg
            and self.fix.longitude_deg == other.fix.longitude_deg
            and self.fix.altitude_m == other.fix.altitude_m
        )


@dataclass(frozen=True, eq=False)
class Belief:
    """Everything known from fixes.

    Attributes:
        plane: the `map` frame.
        latest: the fix that the state belongs to.
        content: the first of the fixes that said exactly what the latest one says.
        repeats: how often it was said again.
        pending: fixes kept until odometry can be laid into the map; the first is the datum.
        tried_m: extent of the pending path at the last attempt to align it [m].
        tried_sigma_m: sigma of the slow GPS error that this attempt saw [m].
        bank: the filters at the latest fix; None until aligned.
        vertical: height at the latest fix.
        noise: the receiver's noise.
        rejected: offsets of the fixes rejected since the last accepted one, with their stamps.
        outside: the sightings rejected before alignment.
        offset: (2,) how far the receiver has stepped away, taken off every fix [m].
        acceptance: running share of accepted fixes.
        mean_nis: running mean of the normalised innovation squared; 2 is consistent.
        free_m2: what the position variance would be, had GPS been silent for the last seconds.
        verdict: on the last fix heard.
        heard_ns: when the receiver was last heard, believed or not [ns].
        refusal: why it was last refused.
    """

    plane: LocalPlane
    latest: Sighting
    content: Sighting
    verdict: GpsVerdict
    vertical: Vertical
    noise: GpsNoise
    heard_ns: int
    pending: tuple[Sighting, ...] = ()
    repeats: int = 0
    tried_m: float = 0.0
    tried_sigma_m: float = 0.0
    bank: Bank | None = None
    rejected: tuple[tuple[int, Float], ...] = ()
    outside: tuple[Sighting, ...] = ()
    offset: Float = field(default_factory=lambda: np.zeros(2))
    acceptance: float = 1.0
    mean_nis: float = 2.0
    free_m2: float = 0.0
    refusal: Reason = Reason.OUTLIER


class Rules:
    """The rules by which beliefs change: configuration, worked out once."""

    def __init__(self, config: LocalizationConfig) -> None:
        self.config = config
        self._hypotheses = {status: hypotheses_of(config, status) for status in GpsStatus}
        self.gate = float(chdtri(2, 1.0 - config.gate_probability))
        hypotheses = self._hypotheses[GpsStatus.FIX]
        prior = GpsNoise().prior(hypotheses, config)
        self.usual_drift_scale = float(np.sqrt(prior @ hypotheses.drift_scale**2))

    def hypotheses(self, belief: Belief) -> Hypotheses:
        """What the filters believe of a receiver in its present status."""
        return self._hypotheses[belief.noise.status]

    def first(self, sighting: Sighting) -> Belief:
        """The belief after the first fix: it is the datum, and the heading is unknown."""
        noise = GpsNoise().with_declared(declared_sigma_m(sighting.fix), sighting.fix.status)
        sigma = self.start_sigma_m(noise)
        return Belief(
            plane=LocalPlane.about(sighting.fix),
            latest=sighting,
            content=sighting,
            verdict=GpsVerdict(True, Reason.OK, float("nan"), sigma),
            vertical=Vertical.started(
                -float(sighting.arm()[2]), sigma, noise.white_sigma_m(self.config)
            ),
            noise=noise,
            heard_ns=sighting.stamp_ns,
            pending=(sighting,),
        )

    def start_sigma_m(self, noise: GpsNoise) -> float:
        """Sigma of a fix while nothing was measured yet [m]: the larger of the two words."""
        return max(noise.declared_sigma_m(self.config), self.config.gps_sigma_m)

    def sigma_m(self, belief: Belief) -> float:
        """Sigma of a fix, slow and fast part and what is known to be off [m]."""
        white = belief.noise.white_sigma_m(self.config)
        if belief.bank is None:
            slow = max(self.start_sigma_m(belief.noise), belief.tried_sigma_m)
            return float(np.hypot(slow, white))
        slow = self.slow_sigma_m(belief, belief.bank)
        return float(np.sqrt(slow**2 + white**2 + self.off_m(belief) ** 2 / 2.0))

    def slow_sigma_m(self, belief: Belief, bank: Bank) -> float:
        """Sigma of the slow GPS error that the hypotheses agree on (geometric mean) [m]."""
        return float(np.exp(bank.weight @ np.log(self.hypotheses(belief).gps_sigma_m)))

    def off_m(self, belief: Belief) -> float:
        """How far the receiver is thought to be off at present [m]."""
        if belief.bank is None:
            return 0.0
        slow = belief.bank.weight @ belief.bank.mean[:, BIAS]
        return float(np.linalg.norm(belief.offset + slow))

    def off_reason(self, belief: Belief) -> Reason:
        """What to call a receiver that is far off: it stepped there, or wandered."""
        return Reason.JUMP if belief.offset.any() else Reason.NOISY

    def processed(self, belief: Belief, sighting: Sighting) -> Belief:
        """The belief after one more fix, newer than the latest."""
        repeated = sighting.same_place(belief.content)
        belief = replace(
            belief,
            content=belief.content if repeated else sighting,
            repeats=belief.repeats + 1 if repeated else 0,
            heard_ns=sighting.stamp_ns,
            noise=belief.noise.with_declared(declared_sigma_m(sighting.fix), sighting.fix.status),
        )
        if self._frozen(belief, sighting):
            return self._judged(belief, False, Reason.FROZEN, float("nan"))
        if belief.bank is None:
            return self._before_alignment(belief, sighting)
        return self._after_alignment(belief, belief.bank, sighting)

    def carried(self, belief: Belief, point: PathPoint | None, stamp_ns: int) -> Bank:
        """The bank carried along the path to another instant (aligned beliefs only)."""
        assert belief.bank is not None
        drift, unknown_m = self._motion(belief.latest, point, stamp_ns)
        seconds = (stamp_ns - belief.latest.stamp_ns) / NS
        return filters.predicted(belief.bank, drift, seconds, unknown_m, self.hypotheses(belief))

    def carried_height(self, belief: Belief, point: PathPoint | None, stamp_ns: int) -> Vertical:
        """The height carried along the path to another instant."""
        drift, unknown_m = self._motion(belief.latest, point, stamp_ns)
        seconds = (stamp_ns - belief.latest.stamp_ns) / NS
        travelled = drift.travelled + unknown_m
        slow = self.start_sigma_m(belief.noise)
        if belief.bank is not None:
            slow = self.slow_sigma_m(belief, belief.bank)
        return belief.vertical.predicted(
            drift.climb, travelled, seconds, slow, self.config.gps_correlation_s
        )

    def _motion(
        self, latest: Sighting, point: PathPoint | None, stamp_ns: int
    ) -> tuple[PathDrift, float]:
        """Motion since a fix as odometry tells it, and sigma of what it does not tell [m]."""
        speed = self.config.unknown_speed_mps
        if point is None or latest.point is None:
            seconds = abs(stamp_ns - latest.stamp_ns) / NS
            return PathDrift(np.zeros(2), 0.0, 0.0, np.zeros((3, 3))), speed * seconds
        before, now = latest.point.silent_ns, point.silent_ns
        # Both instants in one silence share its beginning; otherwise each has a silence of its own.
        silent = abs(now - before) if now > before > 0 else before + now
        return drift_between(latest.point, point), speed * silent / NS

    def _judged(self, belief: Belief, accepted: bool, reason: Reason, nis: float) -> Belief:
        """The belief with its verdict and the running figures."""
        acceptance = belief.acceptance + 0.3 * (float(accepted) - belief.acceptance)
        mean_nis = belief.mean_nis
        if np.isfinite(nis):
            mean_nis += 0.05 * (min(nis, 50.0) - mean_nis)
        verdict = GpsVerdict(accepted, reason, nis, self.sigma_m(belief))
        return replace(
            belief,
            acceptance=acceptance,
            mean_nis=mean_nis,
            verdict=verdict,
            refusal=belief.refusal if accepted else reason,
        )

    def _frozen(self, belief: Belief, sighting: Sighting) -> bool:
        """Whether the receiver repeats itself while the robot moves."""
        if belief.repeats == 0 or sighting.point is None or belief.content.point is None:
            return False
        moved = float(np.linalg.norm(sighting.place() - belief.content.place()))
        return moved > (0.25 if belief.repeats >= 2 else 1.0)

    # Before alignment ---------------------------------------------------------------------------

    def _before_alignment(self, belief: Belief, sighting: Sighting) -> Belief:
        """Keeps fixes until they tell the heading of the path frame."""
        plane, last = belief.plane, belief.latest
        sigma = self.start_sigma_m(belief.noise)
        apart = plane.enu(sighting.fix)[:2] - plane.enu(last.fix)[:2]
        drift, unknown_m = self._motion(last, sighting.point, sighting.stamp_ns)
        reach = float(np.linalg.norm(drift.offset)) + np.linalg.norm(sighting.fix.base_from_antenna)
        excess = max(float(np.linalg.norm(apart) - reach), 0.0)
        nis = excess**2 / (2.0 * sigma**2 + 2.0 * unknown_m**2)
        if nis > self.gate:
            return self._outside(belief, sighting, nis)
        vertical = self.carried_height(belief, sighting.point, sighting.stamp_ns).updated(
            float(plane.enu(sighting.fix)[2] - sighting.arm()[2]),
            belief.noise.white_sigma_m(self.config),
        )
        pending = belief.pending
        if np.linalg.norm(sighting.place() - pending[-1].place()) > _SPACING_M:
            pending = (*pending, sighting)[-_MAX_PENDING:]
        belief = replace(belief, latest=sighting, vertical=vertical, pending=pending, outside=())
        return self._judged(self._aligned(belief), True, Reason.OK, nis)

    def _outside(self, belief: Belief, sighting: Sighting, nis: float) -> Belief:
        """A fix that cannot be where it says, or the first of those that are right."""
        outside = (*belief.outside, sighting)[-_STEP_FIXES:]
        if len(outside) == _STEP_FIXES:
            restarted = self.first(outside[0])
            for each in outside[1:]:
                restarted = self.processed(restarted, each)
            if restarted.verdict.accepted:
                return replace(restarted, acceptance=belief.acceptance)
        belief = replace(belief, outside=outside)
        return self._judged(belief, False, Reason.OUTLIER, nis)

    def _aligned(self, belief: Belief) -> Belief:
        """The belief with its bank started, once the travelled path is long enough to tell.

        The fit only says where to linearise; every fix is then filtered once, from a heading
        that counts as all but unknown, so that no evidence is used twice.
        """
        pending = belief.pending
        places = np.array([each.place()[:2] for each in pending])
        extent = float(np.max(np.linalg.norm(places - places[0], axis=1)))
        if extent < max(3.0 * self.start_sigma_m(belief.noise) / 2.0, 1.1 * belief.tried_m):
            return belief
        belief = replace(belief, tried_m=extent)
        seen = np.array([belief.plane.enu(each.fix)[:2] for each in pending])
        heading = rigid_heading(places, seen)
        if heading is None:
            return belief
        started = self._started(belief, heading)
        for each in pending[1:]:
            assert started.bank is not None
            started = self._after_alignment(started, started.bank, each)
        assert started.bank is not None
        _, covariance = filters.moments(started.bank)
        if np.sqrt(covariance[HEADING, HEADING]) > np.radians(self.config.align_sigma_deg):
            return replace(belief, tried_sigma_m=self.slow_sigma_m(started, started.bank))
        if belief.latest.stamp_ns > started.latest.stamp_ns:
            bank = self.carried(started, belief.latest.point, belief.latest.stamp_ns)
            started = replace(started, bank=bank)
        return replace(
            belief,
            bank=started.bank,
            pending=(),
            noise=started.noise,
            rejected=(),
            free_m2=self._place_variance(started),
        )

    def _started(self, belief: Belief, heading: float) -> Belief:
        """A belief at the first pending fix, with a bank about this heading."""
        first = belief.pending[0]
        bank = filters.started(
            self.hypotheses(belief),
            belief.noise.prior(self.hypotheses(belief), self.config),
            belief.plane.enu(first.fix)[:2],
            first.arm()[:2],
            heading,
            1.0,
            belief.noise.white_sigma_m(self.config),
        )
        return replace(
            belief, latest=first, bank=bank, rejected=(), noise=belief.noise.with_step(None)
        )

    # After alignment ----------------------------------------------------------------------------

    def _after_alignment(self, belief: Belief, bank: Bank, sighting: Sighting) -> Belief:
        """One step of the bank: mix, predict, compare, weigh, and update if inside the gate."""
        seconds = (sighting.stamp_ns - belief.latest.stamp_ns) / NS
        prior = belief.noise.prior(self.hypotheses(belief), self.config)
        free_m2 = belief.free_m2 - self._place_variance(belief)
        belief = replace(belief, bank=filters.mixed(bank, prior, seconds, self.config.dwell_s))
        bank = self.carried(belief, sighting.point, sighting.stamp_ns)
        vertical = self.carried_height(belief, sighting.point, sighting.stamp_ns)
        place = belief.plane.enu(sighting.fix)
        place[:2] -= belief.offset
        step = self._step(belief, bank, sighting, place, seconds)
        belief = replace(
            belief,
            noise=belief.noise.with_step(step),
            bank=bank,
            vertical=vertical,
            latest=sighting,
        )
        free_m2 += self._place_variance(belief)
        noise = np.eye(2) * belief.noise.white_sigma_m(self.config) ** 2
        seen = filters.innovation(bank, place[:2], sighting.arm()[:2], noise)
        weighed = filters.reweighted(bank, seen, _OUTLIER_DENSITY)
        if seen.nis <= self.gate:
            belief = replace(
                belief,
                bank=filters.updated(weighed, seen, noise),
                vertical=vertical.updated(
                    float(place[2] - sighting.arm()[2]), float(np.sqrt(noise[0, 0]))
                ),
                rejected=(),
            )
            accepted = self.off_m(belief) < 3.0 * self._usual_m(belief)
            reason = Reason.OK if accepted else self.off_reason(belief)
        else:
            belief = self._refused(replace(belief, bank=weighed), weighed, seen, sighting)
            accepted = False
            far = self.off_m(belief) >= 3.0 * self._usual_m(belief)
            reason = self.off_reason(belief) if far else Reason.OUTLIER
        variance = self._place_variance(belief)
        keep = float(np.exp(-max(seconds, 0.0) / _SHARE_SECONDS))
        belief = replace(belief, free_m2=variance + max(free_m2 - variance, 0.0) * keep)
        return self._judged(belief, accepted, reason, seen.nis)

    def _refused(self, belief: Belief, bank: Bank, seen: Innovation, sighting: Sighting) -> Belief:
        """A fix outside the gate: one more outlier, or enough of them to call it a step."""
        offset = bank.weight @ seen.residual
        rejected = (*belief.rejected, (sighting.stamp_ns, offset))[-4 * _STEP_FIXES :]
        recent = np.array([each for _, each in rejected[-_STEP_FIXES:]])
        spread = float(np.sqrt(np.mean((recent - recent.mean(axis=0)) ** 2)))
        lasted = (sighting.stamp_ns - rejected[0][0]) / NS
        agree = spread < max(
            3.0 * belief.noise.white_sigma_m(self.config), 0.3 * self._usual_m(belief)
        )
        if len(rejected) < _STEP_FIXES or lasted < _STEP_SECONDS or not agree:
            return replace(belief, rejected=rejected)
        # The odometry is smooth by definition, so it is the receiver that stepped. From here on the
        # step is taken off its fixes: they go on telling of motion and heading, and of place as
        # well as the step is known. Once it is back near where it was, nothing is taken off.
        step = recent.mean(axis=0)
        before = belief.offset + bank.weight @ bank.mean[:, BIAS]
        left = float(np.linalg.norm(before + step))
        if left < min(2.0 * self._usual_m(belief), float(np.linalg.norm(before))):
            bank, offset = filters.with_usual_bias(bank, self.hypotheses(belief)), np.zeros(2)
        else:
            bank, offset = filters.with_wider_bias(bank, seen.spread), belief.offset + step
        return replace(belief, bank=bank, rejected=(), offset=offset)

    def _usual_m(self, belief: Belief) -> float:
        """How far off a fix usually is [m]."""
        return self.start_sigma_m(belief.noise)

    def _step(
        self, belief: Belief, bank: Bank, sighting: Sighting, place: Float, seconds: float
    ) -> Float | None:
        """(2,) what the fix moved beyond odometry since the one before [m]; None after a gap."""
        told = sighting.point is not None and sighting.point.silent_ns == 0
        if seconds > _GAP_SECONDS or not told:
            return None
        mean, _ = filters.moments(bank)
        turn = filters.rotations(mean[HEADING : HEADING + 1])[0]
        moved = turn @ (sighting.place()[:2] - belief.latest.place()[:2])
        return np.asarray(
            place[:2] + belief.offset - belief.plane.enu(belief.latest.fix)[:2] - moved
        )

    def _place_variance(self, belief: Belief) -> float:
        """Variance of the base's place, east and north together [m^2]."""
        assert belief.bank is not None
        weight, mean = belief.bank.weight, belief.bank.mean[:, :2]
        apart = mean - weight @ mean
        own = belief.bank.covariance[:, 0, 0] + belief.bank.covariance[:, 1, 1]
        return float(weight @ (own + (apart**2).sum(axis=1)))
