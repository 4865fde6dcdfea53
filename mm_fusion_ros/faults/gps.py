"""What goes wrong with satellite fixes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pymap3d

from mm_fusion_ros.faults.fault import Fault
from mm_fusion_ros.samples import Float, GpsFix, Modality

NS = 1_000_000_000
MULTIPATH_S = 20.0
"""Over this time reflections stay alike."""


class NotANumber(Fault[GpsFix]):
    """Fixes that are no numbers."""

    name, modality, levels = "nan", Modality.GPS, (1.0,)

    def apply(self, sample: GpsFix) -> list[GpsFix]:
        """The fix without a place."""
        return [replace(sample, latitude_deg=float("nan"), longitude_deg=float("nan"))]


class Moved(Fault[GpsFix]):
    """A fault that moves fixes over the ground."""

    modality = Modality.GPS

    def __init__(self, severity: int = 3, seed: int | list[int] = 0) -> None:
        super().__init__(severity, seed)
        angle = self.rng.uniform(0.0, 2.0 * np.pi)
        self.direction: Float = np.array([np.cos(angle), np.sin(angle)])
        self._began_ns: int | None = None

    def apply(self, sample: GpsFix) -> list[GpsFix]:
        """The fix somewhere else."""
        if self._began_ns is None:
            self._began_ns = sample.stamp_ns
        return [displaced(sample, self.error((sample.stamp_ns - self._began_ns) / NS))]

    def error(self, seconds: float) -> Float:
        """(2,) east and north [m] after so many seconds of the fault."""
        raise NotImplementedError


class Step(Moved):
    """All at once so many metres off."""

    name, levels = "step", (2.0, 5.0, 20.0, 50.0, 100.0)

    def error(self, seconds: float) -> Float:
        """The same all the time."""
        return self.direction * self.level


class DragOff(Moved):
    """Dragged off slowly, at so many metres a second, as a spoofer does it."""

    name, levels = "drag_off", (0.1, 0.2, 0.5, 1.0, 2.0)

    def error(self, seconds: float) -> Float:
        """Ever farther."""
        return self.direction * self.level * seconds


class Multipath(Moved):
    """Reflections: an error of this standard deviation [m] that wanders, declared as 1 m."""

    name, levels = "multipath", (1.0, 3.0, 10.0, 20.0, 30.0)

    def __init__(self, severity: int = 3, seed: int | list[int] = 0) -> None:
        super().__init__(severity, seed)
        self._error: Float = self.rng.normal(0.0, self.level, 2)
        self._seconds = 0.0

    def apply(self, sample: GpsFix) -> list[GpsFix]:
        """The fix somewhere near, and sure of itself."""
        (moved,) = super().apply(sample)
        return [replace(moved, covariance=np.eye(3))]

    def error(self, seconds: float) -> Float:
        """A Gauss-Markov process of first order; backwards in time it stands still."""
        keep = float(np.exp(-max(seconds - self._seconds, 0.0) / MULTIPATH_S))
        self._seconds = max(seconds, self._seconds)
        fresh = self.rng.normal(0.0, self.level, 2)
        self._error = keep * self._error + np.sqrt(1.0 - keep**2) * fresh
        return self._error


class Covariance(Fault[GpsFix]):
    """A declared covariance that is so many times the true one."""

    name, modality, levels = "covariance", Modality.GPS, (0.01, 0.1, 0.3, 10.0, 100.0)

    def apply(self, sample: GpsFix) -> list[GpsFix]:
        """The fix, wrongly sure or unsure; one that declares nothing stays."""
        if sample.covariance is None:
            return [sample]
        return [replace(sample, covariance=sample.covariance * self.level)]


def displaced(fix: GpsFix, error: Float) -> GpsFix:
    """The fix moved by (2,) east and north [m]."""
    latitude, longitude, _ = pymap3d.enu2geodetic(
        error[0], error[1], 0.0, fix.latitude_deg, fix.longitude_deg, fix.altitude_m
    )
    return replace(fix, latitude_deg=float(latitude), longitude_deg=float(longitude))
