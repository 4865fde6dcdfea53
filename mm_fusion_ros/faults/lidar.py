"""What goes wrong with sweeps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros.faults.extrinsics import turned
from mm_fusion_ros.faults.fault import Fault
from mm_fusion_ros.samples import LidarScan, Modality

Points = NDArray[np.float32]
BEAMS = 32
"""Severities that count beams are meant for a lidar of so many; others lose the same part."""
BEAM_GAP_RAD = float(np.radians(0.08))


class LidarFault(Fault[LidarScan]):
    """A fault of the points alone; stamp and geometry stay."""

    modality = Modality.LIDAR


class Empty(LidarFault):
    """Sweeps without a single point."""

    name, levels = "empty", (1.0,)

    def apply(self, sample: LidarScan) -> list[LidarScan]:
        """The sweep without points."""
        return [chosen(sample, np.zeros(len(sample.points), bool))]


class Invalid(LidarFault):
    """This part of the points is not a number."""

    name, levels = "invalid", (0.1, 0.3, 0.5, 0.8, 1.0)

    def apply(self, sample: LidarScan) -> list[LidarScan]:
        """The sweep with holes, which still take their place in it."""
        points = sample.points.copy()
        points[self.rng.random(len(points)) < self.level, :3] = np.nan
        return [replace(sample, points=points)]


class Beams(LidarFault):
    """Only so many of 32 beams are left, evenly spread."""

    name, levels = "beams", (24.0, 16.0, 8.0, 4.0, 2.0)

    def apply(self, sample: LidarScan) -> list[LidarScan]:
        """The sweep with fewer beams."""
        beam = beams_of(sample.points)
        count = int(beam.max()) + 1 if len(beam) else 0
        left = max(1, round(count * self.level / BEAMS))
        kept = np.zeros(max(count, 1), bool)
        kept[np.rint((np.arange(left) + 0.5) * count / left - 0.5).astype(int)] = True
        return [chosen(sample, kept[beam])]


class Drop(LidarFault):
    """This part of the points is missing, here and there."""

    name, levels = "drop", (0.3, 0.5, 0.7, 0.85, 0.95)

    def apply(self, sample: LidarScan) -> list[LidarScan]:
        """A thinner sweep."""
        return [chosen(sample, self.rng.random(len(sample.points)) >= self.level)]


class FieldOfView(LidarFault):
    """Only so many degrees about base_link's x axis are seen."""

    name, levels = "field_of_view", (300.0, 240.0, 180.0, 120.0, 60.0)

    def apply(self, sample: LidarScan) -> list[LidarScan]:
        """The sweep within that sector."""
        with np.errstate(invalid="ignore"):
            forward = sample.points[:, :3] @ sample.base_from_lidar[:2, :3].T.astype(np.float32)
            angle = np.abs(np.arctan2(forward[:, 1], forward[:, 0]))
            return [chosen(sample, angle <= np.radians(self.level / 2.0))]


class Noise(LidarFault):
    """Ranges err by this standard deviation [m]."""

    name, levels = "noise", (0.03, 0.06, 0.12, 0.25, 0.5)

    def apply(self, sample: LidarScan) -> list[LidarScan]:
        """The sweep with its points moved along their rays."""
        distance = ranges(sample.points)
        error = self.rng.normal(0.0, self.level, len(distance)).astype(np.float32)
        with np.errstate(divide="ignore", invalid="ignore"):
            factor = np.where(distance > 0, np.maximum(distance + error, 0.05) / distance, 1.0)
        points = sample.points.copy()
        points[:, :3] *= factor[:, None]
        return [replace(sample, points=points)]


class Fog(LidarFault):
    """Echoes are lost with distance and come back from the fog; the level is the visibility [m]."""

    name, levels = "fog", (80.0, 40.0, 20.0, 10.0, 5.0)

    def apply(self, sample: LidarScan) -> list[LidarScan]:
        """The sweep through fog."""
        return [through_air(sample, 3.0 / self.level, 0.15, self.rng)]


class Rain(LidarFault):
    """Echoes from drops, and weaker ones from all else; the level is the rate [mm/h]."""

    name, levels = "rain", (5.0, 15.0, 35.0, 70.0, 120.0)

    def apply(self, sample: LidarScan) -> list[LidarScan]:
        """The sweep through rain."""
        # Attenuation by rain at 905 nm grows about with the 0.6th power of its rate.
        return [through_air(sample, 0.01 * self.level**0.6 / 3.0, 0.5, self.rng)]


class Extrinsics(LidarFault):
    """A mounting that is not where the transforms say: off by so many degrees."""

    name, levels = "extrinsics", (0.5, 1.0, 2.0, 3.5, 5.0)

    def __init__(self, severity: int = 3, seed: int | list[int] = 0) -> None:
        super().__init__(severity, seed)
        self._wrong = turned(np.radians(self.level), self.rng)

    def apply(self, sample: LidarScan) -> list[LidarScan]:
        """The sweep with another mounting."""
        return [replace(sample, base_from_lidar=sample.base_from_lidar @ self._wrong)]


def through_air(
    scan: LidarScan, loss: float, scattered: float, rng: np.random.Generator
) -> LidarScan:
    """A sweep through air that takes and gives light.

    Args:
        scan: in clear air.
        loss: extinction [1/m].
        scattered: part of the lost echoes that come back from the air itself instead.
        rng: decides for each point.
    """
    distance = ranges(scan.points)
    with np.errstate(invalid="ignore", over="ignore"):
        # A pulse goes both ways; what is near has power to spare.
        lost = rng.random(len(distance)) >= np.minimum(2.5 * np.exp(-2.0 * loss * distance), 1.0)
    ghosts = lost & (rng.random(len(distance)) < scattered) & (distance > 1.0)
    depth = rng.exponential(0.5 / max(loss, 1e-3), len(distance))
    with np.errstate(invalid="ignore", divide="ignore"):
        factor = np.minimum(0.5 + depth, distance) / distance
    points = scan.points.copy()
    points[ghosts, :3] *= factor[ghosts, None].astype(np.float32)
    points[ghosts, 3] *= np.float32(0.15)
    with np.errstate(invalid="ignore"):
        points[~ghosts, 3] *= np.exp(-2.0 * loss * distance[~ghosts]).astype(np.float32)
    return chosen(replace(scan, points=points), ~lost | ghosts)


def chosen(scan: LidarScan, kept: NDArray[np.bool_]) -> LidarScan:
    """The sweep with some of its points (N,)."""
    offset = scan.time_offset_ns
    return replace(
        scan, points=scan.points[kept], time_offset_ns=None if offset is None else offset[kept]
    )


def ranges(points: Points) -> NDArray[np.float32]:
    """(N,) distance [m] of each point from the lidar."""
    return np.asarray(np.linalg.norm(points[:, :3], axis=1), np.float32)


def beams_of(points: Points) -> NDArray[np.int64]:
    """(N,) the beam of each point, counted from below, by gaps between elevations.

    Where there are no such gaps (moved or merged clouds) the elevations are cut into 32 bands.
    """
    with np.errstate(invalid="ignore"):
        elevation = np.arctan2(points[:, 2], np.linalg.norm(points[:, :2], axis=1))
    elevation = np.where(np.isfinite(elevation), elevation, 0.0)
    if not len(elevation):
        return np.zeros(0, np.int64)
    order = np.argsort(elevation, kind="stable")
    group = np.concatenate([[0], np.cumsum(np.diff(elevation[order]) > BEAM_GAP_RAD)])
    beam = np.empty(len(order), np.int64)
    beam[order] = group
    if 8 <= group[-1] + 1 <= 256:
        return beam
    low, high = float(elevation.min()), float(elevation.max())
    band = (elevation - low) / max(high - low, 1e-6) * BEAMS
    return np.minimum(band.astype(np.int64), BEAMS - 1)
