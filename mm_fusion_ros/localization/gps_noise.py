"""How wrong the receiver is: measured, with its own word as one opinion among others.

The error of a fix has a fast part (white, new in every fix) and a slow one (atmosphere, orbits,
reflections: it wanders over tens of seconds). The fast part is read off directly: the second
difference of three consecutive fixes, less the motion that odometry tells, holds hardly anything
else. The slow part is decided by the innovations, in the bank; here is only where they start from.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from mm_fusion_ros.config import LocalizationConfig
from mm_fusion_ros.localization.bank import Hypotheses
from mm_fusion_ros.samples import Float, GpsStatus

# Sigma of the slow error in units of `gps_sigma_m`, its time constant in units of
# `gps_correlation_s`, and its probability before any evidence: better than usual, usual, worse,
# poor, dragged off, and strong reflections. A large error is drawn back to zero slowly: otherwise
# it would take the pose along in the end.
_SIGMA_LEVELS = np.array([0.4, 1.0, 2.2, 8.0, 1.0, 100.0])
_TIME_LEVELS = np.array([1.0, 1.0, 1.0, 3.0, 1.0, 12.0])
_LEVEL_PRIOR = np.array([0.15, 0.42, 0.27, 0.12, 0.01, 0.03])
_DRAGGED = np.array([False, False, False, False, True, False])
# A carrier-phase fix errs by so much less. Only the receiver can tell that it is one: a smooth
# error and none at all look the same beside an odometry that slips.
_CARRIER = 0.03
# Pace at which a receiver is led astray, each axis [m/s], and how long it lasts [s].
_DRAG_MPS = 1.0
_DRAG_S = 100.0
# Odometry drift in units of the configured one: as configured, slipping, sliding.
_DRIFT_LEVELS = np.array([1.0, 3.0, 9.0])
_DRIFT_PRIOR = np.array([0.64, 0.28, 0.08])
# A declared sigma is believed to within this factor (one standard deviation of its logarithm).
_DECLARED_SPREAD = np.log(10.0)


def hypotheses_of(config: LocalizationConfig, status: GpsStatus = GpsStatus.FIX) -> Hypotheses:
    """Every pairing of a GPS level with an odometry level, for a receiver that reports `status`."""
    usual = config.gps_sigma_m * (_CARRIER if status is GpsStatus.GBAS else 1.0)
    return Hypotheses(
        gps_sigma_m=np.repeat(usual * _SIGMA_LEVELS, len(_DRIFT_LEVELS)),
        drift_scale=np.tile(_DRIFT_LEVELS, len(_SIGMA_LEVELS)),
        correlation_s=np.repeat(config.gps_correlation_s * _TIME_LEVELS, len(_DRIFT_LEVELS)),
        dragged=np.repeat(_DRAGGED, len(_DRIFT_LEVELS)),
        drag_mps=_DRAG_MPS,
        drag_s=_DRAG_S,
        dwell_s=config.dwell_s,
    )


@dataclass(frozen=True, eq=False)
class GpsNoise:
    """What is known of the receiver's noise; immutable, so that late fixes can be replayed.

    Attributes:
        seconds: the differences kept: (2,) second differences, east north [m].
        declared: the sigmas declared last [m].
        status: the quality reported last.
        last_step: (2,) what the last fix moved beyond odometry [m]; None after a gap.
    """

    seconds: tuple[Float, ...] = ()
    declared: tuple[float, ...] = ()
    status: GpsStatus = GpsStatus.FIX
    last_step: Float | None = field(default=None)

    def with_declared(self, sigma_m: float | None, status: GpsStatus) -> GpsNoise:
        """With one more word of the receiver."""
        declared = self.declared if sigma_m is None else (*self.declared, sigma_m)[-15:]
        return GpsNoise(self.seconds, declared, status, self.last_step)

    def with_step(self, step: Float | None) -> GpsNoise:
        """With what a fix moved beyond odometry since the one before; None after a gap."""
        seconds = self.seconds
        if step is not None and self.last_step is not None:
            seconds = (*seconds, step - self.last_step)[-40:]
        return GpsNoise(seconds, self.declared, self.status, step)

    def white_sigma_m(self, config: LocalizationConfig) -> float:
        """Sigma of the fast part, each axis [m].

        The median keeps single wild fixes out. A second difference of white noise has 1 + 4 + 1
        times its variance; the prior counts as ten measurements.
        """
        prior = 0.3 * config.gps_sigma_m
        if not self.seconds:
            return prior
        measured = self._measured_white
        count = len(self.seconds)
        if count < 10:
            measured = (count * measured + (10 - count) * prior) / 10.0
        return max(measured, 0.007 * config.gps_sigma_m)

    def declared_sigma_m(self, config: LocalizationConfig) -> float:
        """Median of what the receiver declares, or the configured sigma where it does not [m]."""
        return statistics.median(self.declared) if self.declared else config.gps_sigma_m

    @cached_property
    def _measured_white(self) -> float:
        """Sigma of the fast part by the second differences alone [m]."""
        return float(1.4826 / np.sqrt(6.0) * np.median(np.abs(np.array(self.seconds))))

    def prior(self, hypotheses: Hypotheses, config: LocalizationConfig) -> Float:
        """(K,) probabilities of the hypotheses when nothing is measured."""
        level = np.repeat(_LEVEL_PRIOR, len(_DRIFT_LEVELS))
        declared = max(self.declared_sigma_m(config), 1e-3)
        apart = np.log(hypotheses.gps_sigma_m / declared) / _DECLARED_SPREAD
        prior = level * np.tile(_DRIFT_PRIOR, len(_SIGMA_LEVELS)) * np.exp(-0.5 * apart**2)
        prior = np.maximum(prior / prior.sum(), 1e-9)
        return np.asarray(prior / prior.sum(), dtype=np.float64)
