"""What each sensor's own figures say about it: cheap, one monitor a source, no network involved.

Each check gives a factor between 0 and 1; trust is their product, and the reason is the smallest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mm_fusion_ros.config import ReliabilityConfig, SourceConfig
from mm_fusion_ros.outputs import Reason
from mm_fusion_ros.samples import Modality

REASON_BELOW = 0.8
"""A factor above this is no reason for anything."""
PERIODS_FREE = 2.0
"""A sample may be so many periods old before its age costs trust."""


def rising(value: float, zero: float, one: float) -> float:
    """0 at `zero`, 1 at `one`, linear between; `zero` above `one` makes it fall."""
    return min(1.0, max(0.0, (value - zero) / (one - zero)))


def camera_factors(q: Mapping[str, float], limits: ReliabilityConfig) -> dict[Reason, float]:
    """Of the figures of `sensors.camera.image_quality`."""
    dark = min(
        rising(q["brightness"], 0.25 * limits.dark_brightness, limits.dark_brightness),
        rising(q["dark_fraction"], 1.0, limits.dark_fraction),
    )
    blurred = rising(q["sharpness"], 0.25 * limits.blurred_sharpness, limits.blurred_sharpness)
    return {
        Reason.DARK: dark,
        Reason.SATURATED: rising(q["saturated_fraction"], 0.9, limits.saturated_fraction),
        # A black or white image has no sharpness either, and that is not its fault.
        Reason.BLURRED: max(blurred, 1.0 - dark),
        Reason.NOISY: rising(q["noise_sigma"], 4.0 * limits.noise_sigma, limits.noise_sigma),
    }


def lidar_factors(q: Mapping[str, float], limits: ReliabilityConfig) -> dict[Reason, float]:
    """Of the figures of `sensors.lidar.LidarIntake`."""
    return {
        Reason.SPARSE: min(
            rising(q["points"], 0.0, limits.sparse_points),
            rising(q["coverage"], 0.0, limits.sparse_coverage),
        ),
        Reason.NOISY: rising(q["invalid_fraction"], 1.0, limits.invalid_fraction),
    }


FACTORS: dict[
    Modality, Callable[[Mapping[str, float], ReliabilityConfig], dict[Reason, float]]
] = {Modality.CAMERA: camera_factors, Modality.LIDAR: lidar_factors}


class SourceMonitor:
    """Watches one source.

    Args:
        source: its rate and timeout.
        limits: what counts as bad.
    """

    def __init__(self, source: SourceConfig, limits: ReliabilityConfig) -> None:
        self._limits = limits
        self._modality = Modality(source.modality)
        self._timeout_ns = round(source.timeout_ms * 1e6)
        self._free_ns = min(round(PERIODS_FREE * 1e9 / source.rate_hz), self._timeout_ns // 2)
        self.reset()

    def reset(self) -> None:
        """Forgets all that was seen."""
        self.quality: Mapping[str, float] = {}
        self._newest_ns: int | None = None
        self._equal = 0  # samples in a row with the content of the one before
        self._is_noisy = False  # its content changes even while the robot stands
        self._health = 1.0  # exponential mean of accepted (1) and rejected (0)

    @property
    def newest_ns(self) -> int | None:
        """Stamp of the newest sample [ns]; None before the first."""
        return self._newest_ns

    def observe(self, stamp_ns: int, quality: Mapping[str, float], moving: bool | None) -> None:
        """Takes the figures of an accepted sample.

        Args:
            stamp_ns: its stamp [ns].
            quality: figures of its intake; `checksum` tells equal content.
            moving: whether the robot moved, by odometry; None when unknown.
        """
        before = self.quality.get("checksum")
        if before is not None and stamp_ns != self._newest_ns:
            if quality.get("checksum") != before:
                self._equal = 0
                self._is_noisy |= moving is False
            elif moving or self._is_noisy:
                # A standing robot's noiseless simulator sends equal frames, and nothing is wrong.
                self._equal += 1
        self.quality = quality
        self._newest_ns = stamp_ns if self._newest_ns is None else max(stamp_ns, self._newest_ns)
        self._health += (1.0 - self._health) * self._limits.health_step

    def reject(self) -> None:
        """Takes note of a message that was refused."""
        self._health -= self._health * self._limits.health_step

    def factors(self, now_ns: int) -> dict[Reason, float]:
        """Each cause's factor at an instant, 0..1."""
        if self._newest_ns is None:
            return {Reason.MISSING: 0.0}
        age_ns = now_ns - self._newest_ns
        result = {
            Reason.STALE: rising(float(age_ns), float(self._timeout_ns), float(self._free_ns)),
            Reason.NOISY: rising(self._health, 0.0, self._limits.healthy),
        }
        if self._modality in FACTORS:
            for reason, factor in FACTORS[self._modality](self.quality, self._limits).items():
                result[reason] = min(factor, result.get(reason, 1.0))
            # The third equal sample in a row is the second repetition. It comes last, because
            # empty or black samples are equal as well, and being so explains them better.
            result[Reason.FROZEN] = 0.0 if self._equal >= 2 else 1.0
        return result

    def judge(self, now_ns: int) -> tuple[float, Reason]:
        """Trust 0..1 at an instant, and the strongest cause for less than 1."""
        return strongest(self.factors(now_ns))


def strongest(factors: Mapping[Reason, float]) -> tuple[float, Reason]:
    """The product of the factors, and the reason of the smallest if it matters."""
    trust = 1.0
    for factor in factors.values():
        trust *= factor
    reason = min(factors, key=lambda each: factors[each])
    return trust, reason if factors[reason] < REASON_BELOW else Reason.OK
