"""The frames and sweeps that are shown with a tick."""

from __future__ import annotations

from collections import deque
from typing import TypeVar

from mm_fusion_ros.samples import CameraFrame, LidarScan, Sample
from mm_fusion_ros.sensors.rectification import Rectifier
from mm_fusion_ros.sensors.rejection import Rejected

S = TypeVar("S", CameraFrame, LidarScan)

# A sample farther than this from the tick is not shown as belonging to it.
WITHIN_NS = 150_000_000
KEPT = 8


class Shown:
    """The last samples of each camera and lidar, of which the nearest to a tick are shown."""

    def __init__(self) -> None:
        self._frames: dict[str, deque[CameraFrame]] = {}
        self._scans: dict[str, deque[LidarScan]] = {}

    def add(self, sample: Sample) -> None:
        """Keeps a frame or a sweep; other samples have no picture."""
        if isinstance(sample, CameraFrame):
            self._frames.setdefault(sample.source, deque(maxlen=KEPT)).append(sample)
        elif isinstance(sample, LidarScan):
            self._scans.setdefault(sample.source, deque(maxlen=KEPT)).append(sample)

    def clear(self) -> None:
        """Forgets all, as when the clock jumps back."""
        self._frames.clear()
        self._scans.clear()

    def frames(self, stamp_ns: int) -> tuple[CameraFrame, ...]:
        """Of each camera the frame nearest an instant, if it is near; distorted as it came."""
        found = (nearest(kept, stamp_ns) for kept in self._frames.values())
        return tuple(frame for frame in found if abs(frame.stamp_ns - stamp_ns) <= WITHIN_NS)

    def scans(self, stamp_ns: int) -> tuple[LidarScan, ...]:
        """Of each lidar the sweep nearest an instant, if it is near."""
        found = (nearest(kept, stamp_ns) for kept in self._scans.values())
        return tuple(scan for scan in found if abs(scan.stamp_ns - stamp_ns) <= WITHIN_NS)


def nearest(kept: deque[S], stamp_ns: int) -> S:
    """The sample nearest an instant."""
    return min(kept, key=lambda sample: abs(sample.stamp_ns - stamp_ns))


def rectified(frames: tuple[CameraFrame, ...], rectifier: Rectifier) -> tuple[CameraFrame, ...]:
    """The frames without distortion; one that the pipeline must refuse as well is left out."""
    result = []
    for frame in frames:
        try:
            image = rectifier.rectify(
                frame.image, frame.intrinsics, frame.distortion_model, frame.distortion
            )
        except Rejected:
            continue
        result.append(
            CameraFrame(
                frame.stamp_ns,
                frame.frame_id,
                frame.source,
                image,
                frame.intrinsics,
                frame.base_from_camera,
            )
        )
    return tuple(result)
