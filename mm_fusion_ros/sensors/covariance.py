"""Declared covariances: what is missing is filled in, what is impossible is refused."""

from __future__ import annotations

import numpy as np

from mm_fusion_ros.samples import Float
from mm_fusion_ros.sensors.rejection import Rejected


def completed(covariance: Float, default_variance: Float, what: str) -> tuple[Float, bool]:
    """A covariance with a positive variance on every axis.

    ROS messages say "unknown" by zeros, on all axes or on some (a planar robot's z, roll and
    pitch). Such an axis gets its default variance and no correlation.

    Args:
        covariance: (D, D) float64, as declared.
        default_variance: (D,) float64, for axes whose declared variance is zero.
        what: name for the message.

    Returns:
        covariance: (D, D) float64, symmetric, positive semi-definite.
        declared: True where at least one axis was declared.

    Raises:
        Rejected: ("nan") not finite; ("covariance") wrong shape, negative variance, or
            correlations beyond 1.
    """
    matrix = np.asarray(covariance, dtype=np.float64)
    size = default_variance.size
    if matrix.shape != (size, size):
        raise Rejected("covariance", f"{what} has shape {matrix.shape}; expected ({size}, {size})")
    if not np.isfinite(matrix).all():
        raise Rejected("nan", f"{what} is not finite: the sender must declare numbers or zeros")
    variance = np.diagonal(matrix)
    if (variance < 0.0).any():
        raise Rejected(
            "covariance",
            f"{what} has a negative variance {float(variance.min())}; expected positive numbers, "
            "or zero where unknown",
        )
    unknown = variance == 0.0
    if unknown.any():
        matrix = matrix.copy()
        matrix[unknown, :] = 0.0
        matrix[:, unknown] = 0.0
        matrix[unknown, unknown] = default_variance[unknown]
    if np.count_nonzero(matrix) > size:
        matrix = (matrix + matrix.T) / 2.0
        # Scaled to correlations, so that the tolerance holds for metres and radians alike.
        deviation = np.sqrt(np.diagonal(matrix))
        lowest = float(np.linalg.eigvalsh(matrix / np.outer(deviation, deviation))[0])
        if lowest < -1e-6:
            raise Rejected(
                "covariance",
                f"{what} has correlations beyond 1 (lowest eigenvalue {lowest:.3g} of the "
                "correlation matrix); expected a positive semi-definite matrix",
            )
    return matrix, not bool(unknown.all())
