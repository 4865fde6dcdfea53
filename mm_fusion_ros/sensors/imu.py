"""Inertial measurements: what is no number is refused."""

from __future__ import annotations

import dataclasses
import zlib

import numpy as np

from mm_fusion_ros.samples import ImuSample
from mm_fusion_ros.sensors.rejection import Rejected

# A unit quaternion that went through float32 stays well within this.
NORM_TOLERANCE = 1e-2


class ImuIntake:
    """Checks inertial samples."""

    def accept(self, sample: ImuSample) -> tuple[ImuSample, dict[str, float]]:
        """The sample with its orientation normalised, and its quality figures.

        Args:
            sample: as received.

        Returns:
            sample: orientation of norm 1, or None.
            quality: `rate_radps`, `acceleration_mps2` (near 9.81 at rest), `checksum`.

        Raises:
            Rejected: ("nan", "field", "quaternion").
        """
        for name in ("angular_velocity", "linear_acceleration"):
            value = getattr(sample, name)
            if value.shape != (3,):
                raise Rejected(
                    "field", f"{sample.source}: {name} has shape {value.shape}; expected (3,)"
                )
            if not np.isfinite(value).all():
                raise Rejected("nan", f"{sample.source}: {name} {value} is not finite")
        content = sample.angular_velocity.tobytes() + sample.linear_acceleration.tobytes()
        quality = {
            "rate_radps": float(np.linalg.norm(sample.angular_velocity)),
            "acceleration_mps2": float(np.linalg.norm(sample.linear_acceleration)),
            "checksum": float(zlib.crc32(content)),
        }
        if sample.orientation is None:
            return sample, quality
        norm = float(np.linalg.norm(sample.orientation))
        if sample.orientation.shape != (4,) or not abs(norm - 1.0) <= NORM_TOLERANCE:
            raise Rejected(
                "quaternion",
                f"{sample.source}: orientation {sample.orientation} has norm {norm}; expected a "
                "unit quaternion, or a first orientation covariance of -1 where there is none",
            )
        return dataclasses.replace(sample, orientation=sample.orientation / norm), quality
