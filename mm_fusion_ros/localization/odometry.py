"""Odometry from lidar, for robots without any other: off the object path, in its own thread."""

from __future__ import annotations

import threading
from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros.localization.registration import ScanRegistration
from mm_fusion_ros.samples import OdometrySample


class _Scan(NamedTuple):
    """A scan on its way to the registration."""

    points: NDArray[np.float32]
    stamp_ns: int
    offsets_ns: NDArray[np.int64] | None


class LidarOdometry:
    """KISS-ICP behind a queue of one: the newest scan wins, and a slow machine skips scans.

    With `threaded=False` a scan is registered inside `push`, so that replay is deterministic.
    """

    def __init__(
        self,
        *,
        threaded: bool = True,
        max_range_m: float = 60.0,
        source: str = "lidar_odometry",
        frame_id: str = "odom",
        capacity: int = 64,
    ) -> None:
        """An odometry that starts where the first scan is taken.

        Args:
            threaded: register in a thread of its own.
            max_range_m: farther points are not used.
            source: name that the samples carry.
            frame_id: of the odometry frame.
            capacity: most samples that wait to be polled; the oldest goes first.

        Raises:
            RuntimeError: `kiss_icp` is not installed.
        """
        self._registration = ScanRegistration(max_range_m, source, frame_id)
        self._samples: deque[OdometrySample] = deque(maxlen=capacity)
        self._changed = threading.Condition()
        self._waiting: _Scan | None = None
        self._busy = False
        self._closed = False
        self._generation = 0
        self._failure: Exception | None = None
        # Read by the diagnostics.
        self.skipped = 0
        self.refused = 0
        self._thread: threading.Thread | None = None
        if threaded:
            self._thread = threading.Thread(target=self._work, name="lidar-odometry", daemon=True)
            self._thread.start()

    def push(
        self,
        points: NDArray[np.float32],
        stamp_ns: int,
        offsets: NDArray[np.int64] | None = None,
    ) -> None:
        """Takes a scan; a scan still waiting is replaced by it and counted in `skipped`.

        Args:
            points: (N, 4) float32, x y z [m] intensity, base_link; not to be written to after.
            stamp_ns: instant of the scan.
            offsets: (N,) int64 [ns], when each point was measured relative to the stamp; None
                where the scan is already undistorted.
        """
        scan = _Scan(points, stamp_ns, offsets)
        if self._thread is None:
            self._keep(self._registration.register(*scan))
            return
        with self._changed:
            if self._waiting is not None:
                self.skipped += 1
            self._waiting = scan
            self._changed.notify_all()

    def poll(self) -> list[OdometrySample]:
        """The samples made since the last call, oldest first.

        Raises:
            RuntimeError: registration failed on a scan since the last call; the next ones go on.
        """
        with self._changed:
            samples = list(self._samples)
            self._samples.clear()
            failure, self._failure = self._failure, None
        if failure is not None:
            raise RuntimeError(f"lidar odometry failed on a scan: {failure}") from failure
        return samples

    def drain(self, timeout_s: float) -> bool:
        """Waits until no scan is waiting or being registered; False when it takes longer."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self._waiting is None and not self._busy, timeout_s
            )

    def reset(self) -> None:
        """Starts anew with the next scan; what is being registered is thrown away."""
        with self._changed:
            self._waiting = None
            self._generation += 1
            self._changed.wait_for(lambda: not self._busy)
            self._samples.clear()
            self._registration.reset()

    def close(self) -> None:
        """Ends the thread; a scan being registered is finished first."""
        with self._changed:
            self._closed = True
            self._waiting = None
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _keep(self, sample: OdometrySample | None) -> None:
        """Puts a sample where `poll` finds it."""
        if sample is None:
            self.refused += 1
        else:
            self._samples.append(sample)

    def _work(self) -> None:
        """The thread: registers whatever scan is newest."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._waiting is not None)
                if self._closed or self._waiting is None:
                    return
                scan, self._waiting = self._waiting, None
                generation = self._generation
                self._busy = True
            sample: OdometrySample | None = None
            failure: Exception | None = None
            try:
                sample = self._registration.register(*scan)
            except Exception as error:  # noqa: BLE001 - one bad scan must not end odometry
                failure = error
            with self._changed:
                self._busy = False
                if failure is not None:
                    self._failure = failure
                elif generation == self._generation:
                    self._keep(sample)
                self._changed.notify_all()
