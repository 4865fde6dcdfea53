"""Odometry: what is no motion is refused, undeclared covariances are filled in."""

from __future__ import annotations

import dataclasses
import zlib

import numpy as np

from mm_fusion_ros.config import OdometryConfig
from mm_fusion_ros.samples import OdometrySample
from mm_fusion_ros.sensors.covariance import completed
from mm_fusion_ros.sensors.mounting import check_rigid
from mm_fusion_ros.sensors.rejection import Rejected


class OdometryIntake:
    """Checks odometry samples."""

    def __init__(self, config: OdometryConfig | None = None) -> None:
        config = config or OdometryConfig()
        self._pose_variance = np.repeat(
            [config.default_position_sigma_m**2, config.default_angle_sigma_rad**2], 3
        )
        self._twist_variance = np.repeat(
            [config.default_velocity_sigma_mps**2, config.default_rate_sigma_radps**2], 3
        )

    def accept(self, sample: OdometrySample) -> tuple[OdometrySample, dict[str, float]]:
        """The sample with usable covariances, and its quality figures.

        Args:
            sample: as received.

        Returns:
            sample: both covariances (6, 6) with positive variances.
            quality: `speed_mps`, `rate_radps`, `declared` 1 where both covariances were declared
                at least in part, `checksum` of pose and twist.

        Raises:
            Rejected: ("nan", "transform", "covariance", "field").
        """
        check_rigid(sample.odom_from_base, f"{sample.source}: odom_from_base")
        if sample.twist.shape != (6,):
            raise Rejected(
                "field", f"{sample.source}: twist has shape {sample.twist.shape}; expected (6,)"
            )
        if not np.isfinite(sample.twist).all():
            raise Rejected("nan", f"{sample.source}: twist {sample.twist} is not finite")
        pose, pose_declared = completed(
            sample.pose_covariance, self._pose_variance, f"{sample.source}: pose covariance"
        )
        twist, twist_declared = completed(
            sample.twist_covariance, self._twist_variance, f"{sample.source}: twist covariance"
        )
        content = sample.odom_from_base.tobytes() + sample.twist.tobytes()
        quality = {
            "speed_mps": float(np.linalg.norm(sample.twist[:3])),
            "rate_radps": float(np.linalg.norm(sample.twist[3:])),
            "declared": float(pose_declared and twist_declared),
            "checksum": float(zlib.crc32(content)),
        }
        accepted = dataclasses.replace(sample, pose_covariance=pose, twist_covariance=twist)
        return accepted, quality
