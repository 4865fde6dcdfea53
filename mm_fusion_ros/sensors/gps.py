"""Satellite fixes: what is no position is refused, an undeclared covariance is filled in."""

from __future__ import annotations

import dataclasses
import struct
import zlib

import numpy as np

from mm_fusion_ros.config import GpsConfig
from mm_fusion_ros.samples import GpsFix, GpsStatus
from mm_fusion_ros.sensors.covariance import completed
from mm_fusion_ros.sensors.rejection import Rejected


class GpsIntake:
    """Checks fixes."""

    def __init__(self, config: GpsConfig) -> None:
        self._variance = np.full(3, config.default_sigma_m**2)

    def accept(self, fix: GpsFix) -> tuple[GpsFix, dict[str, float]]:
        """The fix with a usable covariance, and its quality figures.

        Args:
            fix: as received.

        Returns:
            fix: covariance (3, 3) with positive variances.
            quality: `sigma_m` horizontal standard deviation as it will be used (root mean square
                of east and north), `declared` 1 where the receiver declared a covariance,
                `status`, `checksum` of position.

        Raises:
            Rejected: ("status") the receiver has no fix; ("nan", "position", "covariance").
        """
        if fix.status is GpsStatus.NO_FIX:
            raise Rejected(
                "status", f"{fix.source}: the receiver reports no fix; waiting until it has one"
            )
        position = (fix.latitude_deg, fix.longitude_deg, fix.altitude_m)
        if not np.isfinite(position).all():
            raise Rejected(
                "nan",
                f"{fix.source}: latitude, longitude, altitude {position} are not finite; expected "
                "a three-dimensional fix",
            )
        if abs(fix.latitude_deg) > 90.0 or abs(fix.longitude_deg) > 180.0:
            raise Rejected(
                "position",
                f"{fix.source}: latitude {fix.latitude_deg}, longitude {fix.longitude_deg}; "
                "expected degrees within 90 and 180",
            )
        if not np.isfinite(fix.base_from_antenna).all():
            raise Rejected(
                "transform",
                f"{fix.source}: the antenna's place {fix.base_from_antenna} is no place",
            )
        declared = fix.covariance
        # -1 in the first place is how some drivers say that there is none.
        if declared is None or (declared.size and declared.flat[0] == -1.0):
            declared = np.zeros((3, 3))
        covariance, is_declared = completed(
            declared, self._variance, f"{fix.source}: position covariance"
        )
        quality = {
            "sigma_m": float(np.sqrt((covariance[0, 0] + covariance[1, 1]) / 2.0)),
            "declared": float(is_declared),
            "status": float(fix.status.value),
            "checksum": float(zlib.crc32(struct.pack("<3d", *position))),
        }
        return dataclasses.replace(fix, covariance=covariance), quality
