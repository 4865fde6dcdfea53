"""Scan after scan laid into a local map: KISS-ICP, with the covariance that it leaves out.

Method: Vizzo et al., "KISS-ICP: In Defense of Point-to-Point ICP", IEEE RA-L 8(2), 2023.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mm_fusion_ros.geometry import inverse
from mm_fusion_ros.localization.motion import NS, displacement
from mm_fusion_ros.samples import Float, OdometrySample

# Fewer points after thinning than this tell no motion.
MIN_POINTS = 30
# Thinned points with which the errors below were taken; fewer points, larger errors.
_USUAL_POINTS = 300.0
# Errors of one registration, and those that grow along the way (published drift of the method is
# about 0.5 % and 0.2 degrees in 100 m; these are larger, since a robot's yard is no street).
_STEP_M = 0.01
_STEP_RAD = 0.001
_RATE_M = 0.05
_RATE_RAD = 0.003


def load_kiss_icp() -> Any:
    """The `kiss_icp` package, imported where it is needed.

    Raises:
        RuntimeError: it is not installed; says how to mend it.
    """
    try:
        import kiss_icp.config
        import kiss_icp.kiss_icp
    except ImportError as error:
        raise RuntimeError(
            "odometry from lidar needs the package kiss-icp, which is not installed: "
            "`pip install kiss-icp`, or set localization.lidar_odometry to 'never' and give the "
            "node an odometry topic"
        ) from error
    return kiss_icp


class ScanRegistration:
    """Registers scans one after the other; deterministic."""

    def __init__(self, max_range_m: float, source: str, frame_id: str, threads: int = 1) -> None:
        """An empty local map.

        Args:
            max_range_m: farther points are not used; sets the voxel size too, a hundredth of it.
            source: name that the odometry samples carry.
            frame_id: of the odometry frame.
            threads: of the registration; with more than one the last digits may vary.

        Raises:
            RuntimeError: `kiss_icp` is not installed.
        """
        self._max_range_m = max_range_m
        self._source = source
        self._frame_id = frame_id
        self._threads = threads
        self._kiss: Any = load_kiss_icp()
        self.reset()

    def reset(self) -> None:
        """Forgets map and pose."""
        config = self._kiss.config
        settings = config.KISSConfig(
            data=config.config.DataConfig(max_range=self._max_range_m, deskew=False),
            mapping=config.config.MappingConfig(voxel_size=self._max_range_m / 100.0),
            registration=config.config.RegistrationConfig(max_num_threads=self._threads),
        )
        self._icp: Any = self._kiss.kiss_icp.KissICP(settings)
        self._stamp_ns: int | None = None
        self._seconds = 0.0
        self._twist = np.zeros(6)
        self._pose = np.eye(4)
        self._covariance = np.zeros((6, 6))

    def register(
        self, points: NDArray[np.float32], stamp_ns: int, offsets_ns: NDArray[np.int64] | None
    ) -> OdometrySample | None:
        """The pose at a scan; None where it is not newer than the last or too sparse.

        Args:
            points: (N, 4) float32, x y z [m] intensity, base_link.
            stamp_ns: instant of the pose.
            offsets_ns: (N,) when each point was measured, relative to the stamp; None where the
                scan is already undistorted.
        """
        if self._stamp_ns is not None and stamp_ns <= self._stamp_ns:
            return None
        finite = np.isfinite(points[:, :3]).all(axis=1)
        places = points[finite, :3].astype(np.float64)
        if offsets_ns is not None:
            places = undistorted(places, offsets_ns[finite], self._twist)
        if len(places) < MIN_POINTS:
            return None
        seconds = 0.0 if self._stamp_ns is None else (stamp_ns - self._stamp_ns) / NS
        if self._seconds > 0.0:
            # The method expects scans at even times; after a gap the same speed goes farther.
            self._icp.last_delta = displacement(self._twist, seconds)
        before = self._pose
        _, used = self._icp.register_frame(places, np.zeros(0))
        self._pose = np.array(self._icp.last_pose, dtype=np.float64)
        self._stamp_ns, self._seconds = stamp_ns, seconds
        noise = self._moved(before, seconds, len(used))
        return OdometrySample(
            stamp_ns,
            self._frame_id,
            self._source,
            self._pose,
            self._twist,
            self._covariance,
            noise / max(seconds, 1e-3) ** 2,
        )

    def _moved(self, before: Float, seconds: float, used: int) -> Float:
        """Takes twist and covariance on by one step; the step's covariance, (6, 6) in base_link."""
        delta = inverse(before) @ self._pose
        turn = Rotation.from_matrix(delta[:3, :3]).as_rotvec()
        if seconds > 0.0:
            half = Rotation.from_rotvec(-turn / 2.0)
            self._twist = np.concatenate([half.apply(delta[:3, 3]), turn]) / seconds
        metres = float(np.linalg.norm(delta[:3, 3]))
        thin = max(_USUAL_POINTS / max(used, 1), 1.0)
        noise = np.zeros((6, 6))
        noise[:3, :3] = np.eye(3) * (_STEP_M**2 + _RATE_M**2 * metres) * thin
        noise[3:, 3:] = np.eye(3) * (_STEP_RAD**2 + _RATE_RAD**2 * metres) * thin
        if seconds == 0.0:
            return noise  # the first scan defines the frame: its pose is exact
        # A heading error so far swings the step about the place before it.
        x, y, z = self._pose[:3, 3] - before[:3, 3]
        carry = np.eye(6)
        carry[:3, 3:] = -np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
        to_odom = np.zeros((6, 6))
        to_odom[:3, :3] = to_odom[3:, 3:] = before[:3, :3]
        covariance = carry @ self._covariance @ carry.T + to_odom @ noise @ to_odom.T
        self._covariance = (covariance + covariance.T) / 2.0
        return noise


def undistorted(points: Float, offsets_ns: NDArray[np.int64], twist: Float) -> Float:
    """Points brought to the scan's stamp, had the base kept its twist during the sweep.

    Args:
        points: (N, 3) x y z [m], base_link at each point's own instant.
        offsets_ns: (N,) that instant, relative to the stamp.
        twist: (6,) vx vy vz [m/s] wx wy wz [rad/s] in base_link.

    Returns:
        (N, 3) x y z [m], base_link at the stamp.
    """
    seconds = offsets_ns.astype(np.float64)[:, None] / NS
    turned = Rotation.from_rotvec(seconds * twist[3:]).apply(points)
    return np.asarray(turned + seconds * twist[:3], dtype=np.float64)
