"""Height: a small filter of its own, since GPS height must not decide how GPS is believed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mm_fusion_ros.samples import Float

# Height is about twice as uncertain as place (satellites are only above).
_VERTICAL_DILUTION = 2.0
# Wheel odometry is flat and ground is not: slopes of 10 % that last for some 30 m are usual.
_SLOPE_SIGMA = 0.1
_SLOPE_LENGTH_M = 30.0


@dataclass(frozen=True, eq=False)
class Vertical:
    """Height of the base, slope beyond what odometry tells, and the slow GPS height error.

    Attributes:
        mean: (3,) height [m], slope [m/m], slow error [m].
        covariance: (3, 3).
        excess: running mean of the normalised innovations squared; 1 when noise is as assumed.
    """

    mean: Float
    covariance: Float
    excess: float = 1.0

    @classmethod
    def started(cls, height_m: float, sigma_m: float, white_m: float) -> Vertical:
        """What one fix tells: `height_m` of the base, horizontal sigmas slow and fast [m]."""
        slow, fast = (_VERTICAL_DILUTION * sigma_m) ** 2, (_VERTICAL_DILUTION * white_m) ** 2
        covariance = np.array(
            [[slow + fast, 0.0, -slow], [0.0, _SLOPE_SIGMA**2, 0.0], [-slow, 0.0, slow]]
        )
        return cls(np.array([height_m, 0.0, 0.0]), covariance)

    def predicted(
        self, climb: float, travelled: float, seconds: float, sigma_m: float, correlation_s: float
    ) -> Vertical:
        """Carried along the path.

        Args:
            climb: told by odometry [m].
            travelled: metres of path.
            seconds: time passed [s].
            sigma_m: horizontal sigma of the slow GPS error [m].
            correlation_s: its time constant [s].
        """
        keep = np.exp(-abs(seconds) / correlation_s)
        last = np.exp(-abs(travelled) / _SLOPE_LENGTH_M)
        jacobian = np.array([[1.0, travelled, 0.0], [0.0, last, 0.0], [0.0, 0.0, keep]])
        noise = np.zeros(3)
        noise[0] = 0.02**2 * abs(travelled)
        noise[1] = _SLOPE_SIGMA**2 * (1.0 - last**2)
        noise[2] = (_VERTICAL_DILUTION * sigma_m) ** 2 * (1.0 - keep**2)
        mean = jacobian @ self.mean
        mean[0] += climb
        covariance = jacobian @ self.covariance @ jacobian.T + np.diag(noise)
        return Vertical(mean, (covariance + covariance.T) / 2.0, self.excess)

    def updated(self, height_m: float, white_m: float) -> Vertical:
        """After a fix; one that is far off is believed the less, the farther it is.

        Args:
            height_m: of the base by this fix [m].
            white_m: horizontal sigma of the fast GPS error [m].
        """
        observe = np.array([1.0, 0.0, 1.0])
        residual = height_m - float(observe @ self.mean)
        expected = float(observe @ self.covariance @ observe)
        variance = max((_VERTICAL_DILUTION * white_m) ** 2, 0.01) * max(self.excess, 1.0)
        nis = residual**2 / (expected + variance)
        # Beyond three sigma the noise is taken to be as large as the residual says.
        variance *= max(nis / 9.0, 1.0)
        gain = self.covariance @ observe / (expected + variance)
        rest = np.eye(3) - np.outer(gain, observe)
        covariance = rest @ self.covariance @ rest.T + variance * np.outer(gain, gain)
        excess = 0.95 * self.excess + 0.05 * min(nis, 25.0)
        return Vertical(self.mean + gain * residual, (covariance + covariance.T) / 2.0, excess)
