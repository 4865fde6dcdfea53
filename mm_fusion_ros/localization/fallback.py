"""Odometry from the lidar where no odometry topic speaks; off as soon as one does."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros.localization.odometry import LidarOdometry
from mm_fusion_ros.samples import OdometrySample

log = logging.getLogger(__name__)
PATIENCE_NS = 2_000_000_000
"""How long a configured odometry topic may take to begin before the lidar steps in."""


class OdometryFallback:
    """Decides when scans are registered, and makes the registration only then.

    Args:
        mode: "auto", "always" or "never"; see `LocalizationConfig.lidar_odometry`.
        is_expected: whether an odometry topic is configured, and so waited for in "auto".
        make: makes the odometry; None where the owner wants none.
    """

    def __init__(
        self, mode: str, *, is_expected: bool, make: Callable[[], LidarOdometry] | None
    ) -> None:
        self._mode, self._is_expected, self._make = mode, is_expected, make
        self._odometry: LidarOdometry | None = None
        self._first_ns: int | None = None
        self._is_heard = False

    @property
    def is_active(self) -> bool:
        """Whether poses come from the lidar at present."""
        return self._odometry is not None

    def hear(self) -> bool:
        """Takes note that the odometry topic spoke.

        Returns:
            True when poses came from the lidar until now: their frame is another one, and
            whoever keeps poses begins anew.
        """
        self._is_heard = True
        if self._odometry is None or self._mode == "always":
            return False
        self.close()
        return True

    def push(self, points: NDArray[np.float32], stamp_ns: int) -> list[OdometrySample]:
        """Takes a scan, if it is needed, and returns the poses that are ready.

        Args:
            points: (N, 4) float32 in base_link, deskewed or taken at one instant.
            stamp_ns: of the scan [ns].

        Raises:
            RuntimeError: a registration failed; the next one may succeed.
        """
        if self._odometry is None and self._is_needed(stamp_ns):
            self._start()
        if self._odometry is None:
            return []
        self._odometry.push(points, stamp_ns)
        return self._odometry.poll()

    def reset(self) -> None:
        """Forgets poses and what was heard."""
        self._first_ns, self._is_heard = None, False
        if self._odometry is not None:
            self._odometry.reset()

    def close(self) -> None:
        """Ends the odometry and its thread."""
        if self._odometry is not None:
            self._odometry.close()
            self._odometry = None

    def _is_needed(self, stamp_ns: int) -> bool:
        if self._make is None or self._mode == "never":
            return False
        if self._mode == "always" or not self._is_expected:
            return True
        if self._first_ns is None:
            self._first_ns = stamp_ns
        return not self._is_heard and stamp_ns - self._first_ns >= PATIENCE_NS

    def _start(self) -> None:
        assert self._make is not None
        make, self._make = self._make, None  # where it fails, it is not tried at every scan
        try:
            self._odometry = make()
        except RuntimeError as error:
            log.warning("no odometry from the lidar: %s", error)
            return
        self._make = make
