"""The `map` frame: a plane tangent to the earth, east north up about the first accepted fix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pymap3d

from mm_fusion_ros.samples import Float, GpsFix


@dataclass(frozen=True)
class LocalPlane:
    """East, north, up about a datum (WGS-84 ellipsoid).

    Attributes:
        latitude_deg, longitude_deg: of the datum [degrees].
        altitude_m: of the datum, above the ellipsoid [m].
    """

    latitude_deg: float
    longitude_deg: float
    altitude_m: float

    @classmethod
    def about(cls, fix: GpsFix) -> LocalPlane:
        """The plane whose datum is this fix."""
        return cls(fix.latitude_deg, fix.longitude_deg, fix.altitude_m)

    def enu(self, fix: GpsFix) -> Float:
        """The (3,) place of a fix's antenna: east, north, up of the datum [m]."""
        east, north, up = pymap3d.geodetic2enu(
            fix.latitude_deg,
            fix.longitude_deg,
            fix.altitude_m,
            self.latitude_deg,
            self.longitude_deg,
            self.altitude_m,
        )
        return np.array([east, north, up], dtype=np.float64)

    def geodetic(self, enu: Float) -> tuple[float, float, float]:
        """Latitude and longitude [degrees] and altitude [m] of a (3,) east, north, up [m]."""
        latitude, longitude, altitude = pymap3d.enu2geodetic(
            enu[0], enu[1], enu[2], self.latitude_deg, self.longitude_deg, self.altitude_m
        )
        return float(latitude), float(longitude), float(altitude)


def is_usable(fix: GpsFix) -> bool:
    """Whether position and declared covariance are numbers and lie on the earth.

    A covariance with a non-finite or negative variance condemns the fix; None and zero do not,
    since many receivers declare nothing.
    """
    position = np.array([fix.latitude_deg, fix.longitude_deg, fix.altitude_m])
    if not np.isfinite(position).all():
        return False
    if abs(fix.latitude_deg) > 90.0 or abs(fix.longitude_deg) > 360.0:
        return False
    if not np.isfinite(fix.base_from_antenna).all():
        return False
    if fix.covariance is None:
        return True
    return bool(np.isfinite(fix.covariance).all() and (np.diag(fix.covariance) >= 0.0).all())


def declared_sigma_m(fix: GpsFix) -> float | None:
    """The horizontal sigma that the receiver declares [m]; None where it declares none or zero."""
    if fix.covariance is None:
        return None
    variance = float(fix.covariance[0, 0] + fix.covariance[1, 1]) / 2.0
    return float(np.sqrt(variance)) if variance > 0.0 else None
