"""Lidar scans: masked, deskewed, brought to base_link, and judged."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros.config import LidarConfig
from mm_fusion_ros.samples import Float, LidarScan
from mm_fusion_ros.sensors.mounting import check_rigid
from mm_fusion_ros.sensors.rejection import Rejected
from mm_fusion_ros.sensors.scan_quality import scan_quality

# A twist (6,) of base_link, or what gives it for an instant [ns]; None where it is not known.
Motion = Float | Callable[[int], Float | None] | None

MAX_OFFSET_NS = 1_000_000_000
# Enough to tell equal scans from others.
CHECKSUM_POINTS = 16_384
# Poses along the sweep between which the deskewing interpolates.
SWEEP_POSES = 128


@dataclass(frozen=True, eq=False)
class PreparedScan:
    """Usable points.

    Attributes:
        points: (N, 4) float32, x y z [m] in base_link at the scan's stamp, intensity [0..1];
            finite and within range.
        invalid: points of the scan that were not finite.
        viewpoint: (3,) float64, where the lidar is, in base_link [m].
    """

    points: NDArray[np.float32]
    invalid: int
    viewpoint: Float = field(default_factory=lambda: np.zeros(3))


class LidarIntake:
    """Makes network input of scans; serves any number of lidars."""

    def __init__(self, config: LidarConfig) -> None:
        self._config = config

    def accept(
        self, scan: LidarScan, motion: Motion = None
    ) -> tuple[PreparedScan, dict[str, float]]:
        """The scan's usable points, and its quality figures.

        An empty scan is accepted: it is present, and useless.

        Args:
            scan: as received.
            motion: twist (6,) of base_link during the sweep [m/s, rad/s], or a function of the
                stamp [ns] that gives it; used where the scan has per-point times.

        Returns:
            prepared: finite points within range, deskewed to the scan's stamp.
            quality: see `scan_quality`; `invalid_fraction` not finite, of those received;
                `checksum` equal for equal scans, an integer below 2^32.

        Raises:
            Rejected: ("size", "field", "nan", "transform", "stamp").
        """
        self._check(scan)
        received = len(scan.points)
        # One sum of squares tells range and validity: NaN fails both comparisons below.
        with np.errstate(over="ignore", invalid="ignore"):
            x, y, z = scan.points[:, 0], scan.points[:, 1], scan.points[:, 2]
            squares = x * x + y * y + z * z
            keep = squares >= np.float32(max(self._config.min_range_m, 1e-3) ** 2)
            keep &= squares <= np.float32(self._config.max_range_m**2)
        invalid = received - int(np.count_nonzero(np.isfinite(squares)))

        kept = np.compress(keep, scan.points, axis=0)
        # Written so that an intensity that is not a number becomes 0.
        kept[:, 3] = np.fmin(np.fmax(kept[:, 3], np.float32(0.0)), np.float32(1.0))
        points = _moved(kept, scan.base_from_lidar)

        twist = motion(scan.stamp_ns) if callable(motion) else motion
        if scan.time_offset_ns is not None and twist is not None and len(kept):
            deskew(points, scan.time_offset_ns[keep], twist)
        distance = np.sqrt(np.compress(keep, squares))
        some = scan.points[:: max(1, received // CHECKSUM_POINTS)]
        quality = scan_quality(kept, distance, points) | {
            "invalid_fraction": invalid / received if received else 0.0,
            "checksum": float(zlib.crc32(np.ascontiguousarray(some).data)),
        }
        viewpoint = np.asarray(scan.base_from_lidar[:3, 3], np.float64)
        return PreparedScan(points, invalid, viewpoint), quality

    def _check(self, scan: LidarScan) -> None:
        points, offsets = scan.points, scan.time_offset_ns
        if points.ndim != 2 or points.shape[1] != 4 or points.dtype != np.float32:
            raise Rejected(
                "field",
                f"{scan.source}: points have shape {points.shape} and type {points.dtype}; "
                "expected (N, 4) float32",
            )
        if len(points) > self._config.max_points:
            raise Rejected(
                "size",
                f"{scan.source}: {len(points)} points; at most {self._config.max_points} are "
                "accepted: thin the cloud out or raise lidar.max_points",
            )
        check_rigid(scan.base_from_lidar, f"{scan.source}: base_from_lidar")
        if offsets is None:
            return
        if offsets.shape != (len(points),):
            raise Rejected(
                "field",
                f"{scan.source}: {offsets.shape} time offsets for {len(points)} points; expected "
                "one for each",
            )
        if len(offsets) and max(-int(offsets.min()), int(offsets.max())) > MAX_OFFSET_NS:
            raise Rejected(
                "stamp",
                f"{scan.source}: time offsets from {int(offsets.min())} to {int(offsets.max())} "
                f"ns; expected within {MAX_OFFSET_NS} ns of the scan's stamp",
            )


def deskew(points: NDArray[np.float32], time_offset_ns: NDArray[np.int64], twist: Float) -> None:
    """Moves points, in place, to where they would have been measured all at once.

    A point seen at t lies at `base(stamp)_from_base(t)` times itself, which under a constant twist
    is the exponential of the twist times the offset. The poses are taken at `SWEEP_POSES` instants
    of the sweep, and each point takes the nearest: at 10 m/s, half a step of 0.1 s / 127 is 4 mm.

    Args:
        points: (N, 4) float32, x y z [m] in base_link of each point's own instant, intensity;
            afterwards in base_link at the stamp.
        time_offset_ns: (N,) int64, those instants relative to the stamp.
        twist: (6,) float64, vx vy vz [m/s] wx wy wz [rad/s] of base_link.

    Raises:
        Rejected: ("nan") the twist is not finite.
    """
    if not np.isfinite(twist).all():
        raise Rejected("nan", f"twist {twist} is not finite; deskewing needs a motion or None")
    first, last = int(time_offset_ns.min()), int(time_offset_ns.max())
    if first == last == 0 or not twist.any():
        return
    instants_s = np.linspace(first, last, SWEEP_POSES) * 1e-9
    poses = exponentials(twist, instants_s).astype(np.float32)
    per_step = np.float32((SWEEP_POSES - 1) / max(last - first, 1))
    index = ((time_offset_ns - first).astype(np.float32) * per_step + np.float32(0.5)).astype(
        np.intp
    )
    # Entry by entry of the poses: a whole matrix gathered for each point takes five times longer.
    x, y, z = (np.ascontiguousarray(points[:, axis]) for axis in range(3))
    for row in range(3):
        entry = [np.ascontiguousarray(poses[:, row, column]) for column in range(4)]
        total = entry[3][index]
        for column, coordinate in enumerate((x, y, z)):
            part = entry[column][index]
            part *= coordinate
            total += part
        points[:, row] = total


def exponentials(twist: Float, times_s: Float) -> Float:
    """Poses (M, 4, 4) after moving for each of (M,) times [s] with a constant twist (6,)."""
    rotation_rate = twist[3:]
    rate = float(np.linalg.norm(rotation_rate))
    result = np.tile(np.eye(4), (len(times_s), 1, 1))
    if rate < 1e-9:
        result[:, :3, 3] = np.outer(times_s, twist[:3])
        return result
    x, y, z = rotation_rate / rate
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    angle = (rate * times_s)[:, None, None]
    square = cross @ cross
    result[:, :3, :3] += np.sin(angle) * cross + (1.0 - np.cos(angle)) * square
    # The left Jacobian times the time: how far the origin gets while turning.
    path = (
        angle * np.eye(3) + (1.0 - np.cos(angle)) * cross + (angle - np.sin(angle)) * square
    ) / rate
    result[:, :3, 3] = path @ twist[:3]
    return result


def _moved(points: NDArray[np.float32], base_from_lidar: Float) -> NDArray[np.float32]:
    """Points (N, 4) in base_link, intensity as it is; much faster than a matrix product."""
    if not len(points):
        return points
    matrix = np.zeros((4, 5))
    matrix[:3, :3] = base_from_lidar[:3, :3]
    matrix[:3, 4] = base_from_lidar[:3, 3]
    matrix[3, 3] = 1.0
    return np.asarray(cv2.transform(points[:, None, :], matrix), np.float32).reshape(-1, 4)
