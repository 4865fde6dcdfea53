"""What each sensor's figures say about it: cheap, one monitor a source.

Each check gives a factor between 0 and 1; trust is their product, and the reason is the smallest.
A figure that was not given says nothing; one that is not a number says the worst.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mm_fusion_ros.config import ReliabilityConfig, SourceConfig
from mm_fusion_ros.outputs import Reason
from mm_fusion_ros.reliability.alignment import AS_MOUNTED, Agreement
from mm_fusion_ros.samples import Modality

Figures = Mapping[str, float]
Factors = dict[Reason, float]

# Of equal factors, the first of these is the cause: a black image, or an empty scan, is always the
# same, and has neither detail nor contrast, because it is black or empty.
PRIORITY = (
    Reason.MISSING,
    Reason.STALE,
    Reason.DARK,
    Reason.SATURATED,
    Reason.SPARSE,
    Reason.FROZEN,
    Reason.BLURRED,
    Reason.NOISY,
    Reason.MISALIGNED,
    Reason.OUT_OF_DISTRIBUTION,
)
# A factor above this is no reason for anything.
REASON_BELOW = 0.8
# A sample may be so many periods old before its age costs trust.
PERIODS_FREE = 2.0
# So many equal samples in a row are a frozen sensor.
FROZEN_SAMPLES = 3
# How fast a reference follows its figure: slowly, at 10 Hz over some 20 s, as where a lidar leaves
# a street for an open field; and at once to what is better, where it is what the sensor reaches.
REFERENCE_IMPROVES = 0.3
REFERENCE_FOLLOWS = 0.005
# Of the first samples the reference is nearly the mean: exposure and white balance settle.
SETTLING = 2.0
# Noise of so many times the limit leaves nothing to trust, of pixels and of ranges.
WORST_GRAIN, WORST_NOISE = 4.0, 12.0
# A blockiness of so many times the limit leaves nothing to trust.
WORST_BLOCKS = 6.0
# An unfamiliarity of so many times the limit leaves nothing to trust.
WORST_UNFAMILIAR = 6.0
# A tilt of so many times the limit leaves nothing to trust.
WORST_TILT = 3.0
# What is taken for a camera's usual agreement with the lidar, at least and at most [standard
# deviations]: one that was mounted wrongly from the start has never agreed.
LEAST_ALIGNMENT, GOOD_ALIGNMENT = 1.0, 3.0
# Weight of the newest agreement.
ALIGNMENT_STEP = 0.5
# What the best of all small turns gives where nothing fits and where all does, in standard
# deviations: of pairs that have nothing to do with each other, and of those that are well mounted.
BEST_ALIGNMENT = 1.6, 2.6
# A camera that fits once it is turned is believed so far: the lidar may be the wrong one. For that
# reason one that fits nowhere is not left out either.
TURNED, LEAST_MISALIGNED = 0.5, 0.25
ALIGNMENT_LASTS_NS = 5_000_000_000
# Where a camera and a lidar disagree, either may be wrong, and both are doubted: the camera, whose
# mounting and whose time are the more often wrong, as far as they disagree, the lidar half as far.
LIDAR_BLAME = 0.5
# Where the objects are about a lidar that leans is known still, if not well: it is not left out.
LEAST_LEANING = 0.15
# What is out of focus or smeared still shows colours, and where large things are: not left out.
LEAST_BLURRED = 0.15
LEAST_TINTED = 0.15
# A picture that is so far white would have no trust, were there more than all; and from the second
# on it falls to none at all white.
BEYOND_WHITE, NEARLY_WHITE = 1.2, 0.95
# Weight of the newest tilt: braking and bumps are no wrong mounting.
TILT_STEP = 0.3


def rising(value: float, zero: float, one: float) -> float:
    """0 at `zero`, 1 at `one`, linear between; `zero` above `one` makes it fall; 0 for NaN."""
    # In this order, a comparison with NaN gives the 0.
    return max(0.0, min((value - zero) / (one - zero), 1.0)) if value == value else 0.0


def camera_factors(figures: Figures, limits: ReliabilityConfig) -> Factors:
    """Of the figures of `sensors.camera.image_quality`."""
    dark = min(
        rising(
            figures.get("brightness", 1.0), 0.25 * limits.dark_brightness, limits.dark_brightness
        ),
        rising(figures.get("dark_fraction", 0.0), 1.0, limits.dark_fraction),
    )
    # What is not white is seen as well as ever, until hardly anything is left.
    white = figures.get("saturated_fraction", 0.0)
    saturated = min(
        rising(white, BEYOND_WHITE, limits.saturated_fraction), rising(white, 1.0, NEARLY_WHITE)
    )
    # Out of focus, smeared, washed out by fog, or compressed: detail is gone.
    # Without any sharpness LEAST_BLURRED is left.
    nothing = -LEAST_BLURRED / (1.0 - LEAST_BLURRED) * limits.blurred_sharpness
    detail = min(
        rising(figures.get("sharpness", 1.0), nothing, limits.blurred_sharpness),
        rising(figures.get("contrast", 1.0), 0.25 * limits.low_contrast, limits.low_contrast),
        rising(figures.get("blockiness", 1.0), WORST_BLOCKS * limits.blockiness, limits.blockiness),
    )
    return {
        Reason.DARK: dark,
        Reason.SATURATED: saturated,
        Reason.BLURRED: detail,
        Reason.NOISY: rising(
            figures.get("noise_sigma", 0.0), WORST_GRAIN * limits.noise_sigma, limits.noise_sigma
        ),
    }


def lidar_factors(figures: Figures, limits: ReliabilityConfig) -> Factors:
    """Of the figures of `sensors.lidar.LidarIntake`."""
    return {
        Reason.SPARSE: min(
            rising(figures.get("points", limits.sparse_points), 0.0, limits.sparse_points),
            rising(figures.get("coverage", limits.sparse_coverage), 0.0, limits.sparse_coverage),
        ),
        Reason.NOISY: min(
            rising(figures.get("invalid_fraction", 0.0), 1.0, limits.invalid_fraction),
            rising(
                figures.get("range_noise", 0.0),
                WORST_NOISE * limits.range_noise,
                limits.range_noise,
            ),
        ),
        Reason.MISALIGNED: max(
            LEAST_LEANING,
            rising(figures.get("tilt", 0.0), WORST_TILT * limits.tilted_rad, limits.tilted_rad),
        ),
    }


# What the modalities' figures say at once.
FACTORS: dict[Modality, Callable[[Figures, ReliabilityConfig], Factors]] = {
    Modality.CAMERA: camera_factors,
    Modality.LIDAR: lidar_factors,
}


@dataclass(frozen=True)
class Usual:
    """A figure that is also held against what the sensor itself usually reaches.

    Attributes:
        reason: for less trust.
        compare: gives what is judged, of the figure and its reference.
        nothing, whole: what that is where nothing is left to trust, and where all is.
        reaches: whether it is what the sensor reaches, so that the reference rises at once.
        least: the factor is never less: what the figure cannot spoil is left.
    """

    reason: Reason
    compare: Callable[[float, float], float]
    nothing: float
    whole: float
    reaches: bool = False
    least: float = 0.0

    def factor(self, value: float, usual: float) -> float:
        """How far the sensor is still believed, 0..1."""
        return max(self.least, rising(self.compare(value, usual), self.nothing, self.whole))

    def weight(self, value: float, usual: float, count: int) -> float:
        """How much the newest value, the `count`-th, moves the reference."""
        if self.reaches and value > usual:
            return REFERENCE_IMPROVES
        return max(REFERENCE_FOLLOWS, min(1.0, SETTLING / count**2))


def part(value: float, usual: float) -> float:
    """Of what is usual."""
    return value / usual if usual > 0.0 else 1.0


def root_part(value: float, usual: float) -> float:
    """The root of the part of what is usual: what still comes of few points is true."""
    return math.sqrt(max(part(value, usual), 0.0))


def excess(value: float, usual: float) -> float:
    """Over what is usual."""
    return value - usual


def root_excess(value: float, usual: float) -> float:
    """The root of what it is over what is usual: the first few tell the most."""
    return math.sqrt(excess(value, usual)) if value > usual else min(excess(value, usual), 0.0)


def change(value: float, usual: float) -> float:
    """From what is usual, either way."""
    return abs(value - usual)


# Where trust begins to fall is about what one frame in fifty of a robot that drives through the
# simulator's worlds differs from two seconds before.
USUAL: dict[Modality, dict[str, Usual]] = {
    Modality.CAMERA: {
        # Covered by dirt, or beyond what fog and glare leave.
        "flat_fraction": Usual(Reason.BLURRED, excess, 0.55, 0.05, least=LEAST_BLURRED),
        "contrast": Usual(Reason.BLURRED, part, 0.2, 0.85),
        "brightness": Usual(Reason.DARK, part, 0.05, 0.5),
        # Colours that it does not have: a white balance gone wrong. Shapes are still seen.
        "red": Usual(Reason.OUT_OF_DISTRIBUTION, change, 0.9, 0.1, least=LEAST_TINTED),
        "blue": Usual(Reason.OUT_OF_DISTRIBUTION, change, 0.9, 0.1, least=LEAST_TINTED),
    },
    Modality.LIDAR: {
        "points": Usual(Reason.SPARSE, root_part, 0.0, 0.7, reaches=True),
        "coverage": Usual(Reason.SPARSE, part, 0.0, 0.8, reaches=True),
        # Drops, dust, and echoes of what is not there.
        "stray_fraction": Usual(Reason.NOISY, root_excess, 0.45, 0.045),
        "rough_fraction": Usual(Reason.NOISY, excess, 0.5, 0.02),
        # Knocked: the ground leans [rad] more than before. From one sweep to the next it moves by a
        # thousandth; braking and bumps tilt a robot by a hundredth or two.
        "tilt": Usual(Reason.MISALIGNED, excess, 0.06, 0.01, least=LEAST_LEANING),
    },
}


class SourceMonitor:
    """Watches one source.

    Args:
        source: its kind, rate, timeout, and whether it is known to have noise.
        limits: what counts as bad.
    """

    def __init__(self, source: SourceConfig, limits: ReliabilityConfig) -> None:
        self._limits = limits
        self._modality = Modality(source.modality)
        self._is_noisy = source.noisy
        self._timeout_ns = round(source.timeout_ms * 1e6)
        # A command comes once and holds; everything else is expected at its rate.
        free = 0.5 if self._modality is not Modality.COMMAND else 0.99
        periods_ns = round(PERIODS_FREE * 1e9 / source.rate_hz)
        self._free_ns = min(periods_ns, round(free * self._timeout_ns))
        self.reset()

    def reset(self) -> None:
        """Forgets all that was seen."""
        self.quality: Figures = {}
        self._newest_ns: int | None = None
        self._interval_ns: float | None = None
        self._equal = 1  # samples in a row with the same content, the newest among them
        self._usual: dict[str, float] = {}
        self._counted = 0  # samples that told what is usual
        self._alignment: Agreement | None = None
        self._aligned_ns = 0
        self._turn = AS_MOUNTED
        self._fits = 0.0  # how well it agrees as turned, 0..1
        self._tilt: float | None = None
        self._epistemic: float | None = None
        self._health = 1.0  # exponential mean of accepted (1) and rejected (0)

    @property
    def newest_ns(self) -> int | None:
        """Stamp of the newest sample [ns]; None before the first."""
        return self._newest_ns

    @property
    def epistemic(self) -> float | None:
        """How unfamiliar the newest encoded sample is, 0 (as in training) and up."""
        return self._epistemic

    @property
    def leans(self) -> bool:
        """Whether the newest scan sees the ground tilted, even if it was not so before."""
        return self.quality.get("tilt", 0.0) > self._limits.tilted_rad

    @property
    def rate_hz(self) -> float | None:
        """The rate at which samples come, a mean over the last ten or so; None before two."""
        return None if self._interval_ns is None else 1e9 / self._interval_ns

    def observe(
        self, stamp_ns: int, quality: Figures, moving: bool | None, *, more_follows: bool = False
    ) -> None:
        """Takes the figures of an accepted sample.

        Args:
            stamp_ns: its stamp [ns]. A sample older than the newest says only that the source
                lives.
            quality: figures of its intake; `checksum` tells equal content.
            moving: whether the robot moved, by odometry; None when unknown.
            more_follows: the others stay as they are until `note_figures` brings newer ones.
        """
        self._health += (1.0 - self._health) * self._limits.health_step
        if self._newest_ns is not None:
            if stamp_ns <= self._newest_ns:
                return
            self._note_interval(stamp_ns - self._newest_ns)
            self._note_content(quality, moving)
        if "tilt" in quality:
            now = quality["tilt"]
            self._tilt = now if self._tilt is None else self._tilt + TILT_STEP * (now - self._tilt)
        self.quality = {**self.quality, **quality} if more_follows else quality
        self._newest_ns = stamp_ns
        self._note_usual(quality)

    def note_figures(self, quality: Figures) -> None:
        """Takes figures of a sample that was observed before, without them."""
        self.quality = {**self.quality, **quality}
        self._note_usual(quality)

    def note_epistemic(self, value: float) -> None:
        """Takes note of how unfamiliar an encoded sample is; see `Familiar`."""
        self._epistemic = value

    def note_alignment(self, newest: Agreement, now_ns: int) -> None:
        """Takes note of how well a camera's edges lie where the lidar's depth jumps.

        Args:
            newest: see `alignment.alignment`.
            now_ns: when [ns]; without any news it is forgotten after `ALIGNMENT_LASTS_NS`.
        """
        before = self._alignment
        self._aligned_ns = now_ns
        self._alignment = before.towards(newest, ALIGNMENT_STEP) if before else newest
        value = newest.mounted
        usual = self._usual.setdefault("alignment", value)
        weight = REFERENCE_IMPROVES if value > usual else REFERENCE_FOLLOWS
        self._usual["alignment"] = usual + weight * (value - usual)
        # Turned when it no longer agrees as it is mounted, and until it would not gain by it.
        best, turn = self._alignment.best()
        is_needed = self._turn != AS_MOUNTED or self._agreement() < 1.0
        self._turn = turn if is_needed and best > BEST_ALIGNMENT[0] else AS_MOUNTED
        self._fits = rising(best, *BEST_ALIGNMENT) if is_needed else 0.0

    def forget_alignment(self) -> None:
        """Takes back how well this camera agreed: with what, is in doubt itself."""
        self._alignment = None
        self._turn = AS_MOUNTED
        self._fits = 0.0

    def agrees(self, now_ns: int) -> float | None:
        """How far this camera agrees with its lidar, 0..1; None without news of it."""
        if self._alignment is None or now_ns - self._aligned_ns >= ALIGNMENT_LASTS_NS:
            return None
        return self._agreement()

    def turn(self, now_ns: int) -> tuple[float, float]:
        """How this camera must be turned to agree with its lidar, as `Agreement.best` gives it.

        `AS_MOUNTED` where it agrees as it is, or fits nowhere.
        """
        return AS_MOUNTED if self.agrees(now_ns) is None else self._turn

    def _agreement(self) -> float:
        """As mounted, 0..1."""
        assert self._alignment is not None
        usual = min(max(self._usual["alignment"], LEAST_ALIGNMENT), GOOD_ALIGNMENT)
        return rising(self._alignment.mounted, 0.0, self._limits.misaligned * usual)

    def reject(self) -> None:
        """Takes note of a message that was refused."""
        self._health -= self._health * self._limits.health_step

    def factors(self, now_ns: int) -> Factors:
        """Each cause's factor at an instant, 0..1."""
        if self._newest_ns is None:
            return {Reason.MISSING: 0.0}
        age_ns = now_ns - self._newest_ns
        result = {
            Reason.STALE: rising(float(age_ns), float(self._timeout_ns), float(self._free_ns)),
            Reason.NOISY: rising(self._health, 0.0, self._limits.healthy),
            Reason.FROZEN: 0.0 if self._equal >= FROZEN_SAMPLES else 1.0,
        }
        if self._modality in FACTORS:
            figures = self.quality if self._tilt is None else {**self.quality, "tilt": self._tilt}
            for reason, factor in FACTORS[self._modality](figures, self._limits).items():
                result[reason] = min(factor, result.get(reason, 1.0))
        if self._epistemic is not None:
            limit = self._limits.unfamiliar
            result[Reason.OUT_OF_DISTRIBUTION] = rising(
                self._epistemic, WORST_UNFAMILIAR * limit, limit
            )
        agrees = self.agrees(now_ns)
        if agrees is not None:
            # One that need only be turned is turned, and then worth more.
            result[Reason.MISALIGNED] = max(agrees, TURNED * self._fits, LEAST_MISALIGNED)
        for name, rule in USUAL.get(self._modality, {}).items():
            if name in self.quality and name in self._usual:
                factor = rule.factor(self.quality[name], self._usual[name])
                result[rule.reason] = min(factor, result.get(rule.reason, 1.0))
        return result

    def judge(self, now_ns: int) -> tuple[float, Reason]:
        """Trust 0..1 at an instant, and the strongest cause for less than 1."""
        return strongest(self.factors(now_ns))

    def _note_interval(self, interval_ns: int) -> None:
        before = self._interval_ns
        self._interval_ns = (
            float(interval_ns) if before is None else before + 0.1 * (interval_ns - before)
        )

    def _note_content(self, quality: Figures, moving: bool | None) -> None:
        """Counts equal samples, where equality tells something.

        A standing robot's noiseless simulator sends equal frames, and nothing is wrong. Whether a
        sensor has noise is configured and not learned: passing people look like noise, and once
        they are gone a healthy sensor would be called frozen for as long as the robot stands.

        Fixes repeat, and so does odometry, between two receiver epochs or at low speed: their
        filter judges them by how far the robot has come.
        """
        before, now = self.quality.get("checksum"), quality.get("checksum")
        if self._modality not in FACTORS or before is None or before != now:
            self._equal = 1
        elif moving or self._is_noisy:
            self._equal += 1

    def _note_usual(self, quality: Figures) -> None:
        if self._modality not in FACTORS:
            return
        # What is bad whatever is usual, or the same again, does not tell what is usual.
        worst = min(FACTORS[self._modality](quality, self._limits).values())
        if worst < REASON_BELOW or self._equal >= FROZEN_SAMPLES:
            return
        self._counted += 1
        for name, rule in USUAL[self._modality].items():
            if name in quality:
                value = quality[name]
                usual = self._usual.setdefault(name, value)
                weight = rule.weight(value, usual, self._counted)
                self._usual[name] = usual + weight * (value - usual)


def strongest(factors: Mapping[Reason, float]) -> tuple[float, Reason]:
    """The product of the factors, and the reason of the smallest if it matters.

    Args:
        factors: 0..1, by reason; the reasons are those of `PRIORITY`.
    """
    trust = 1.0
    for factor in factors.values():
        trust *= factor
    reason = min(factors, key=lambda each: (factors[each], PRIORITY.index(each)))
    return trust, reason if factors[reason] < REASON_BELOW else Reason.OK
