"""What the sensors of one scene give, under every condition of the exam."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from mm_fusion_ros.evaluation.conditions import CLEAN, Condition, moved
from mm_fusion_ros.evaluation.protocol import Protocol
from mm_fusion_ros.samples import CameraFrame, LidarScan, Modality

NS = 1_000_000_000


@dataclass(frozen=True, eq=False)
class Sensed:
    """What all sensors gave; None where one gave nothing.

    Attributes:
        frames: of the cameras.
        scan: of the lidar.
    """

    frames: tuple[CameraFrame | None, ...]
    scan: LidarScan | None


class SensedScene:
    """The scene of a seed; what its sensors gave earlier is rendered when it is asked for."""

    def __init__(self, seed: int, protocol: Protocol) -> None:
        """Renders the clean samples."""
        from mm_fusion_ros.sim.drive import scene

        self._seed, self._protocol = seed, protocol
        sample = scene(seed, image_size=protocol.image_size)
        self.labels = sample.labels
        self.frames = sample.cameras
        self.scan = sample.lidar
        self._before: dict[float, tuple[tuple[CameraFrame, ...], LidarScan]] = {}

    def under(self, condition: Condition) -> Sensed:
        """The samples under a condition; those that it does not strike are the clean ones."""
        if condition == CLEAN:
            return Sensed(self.frames, self.scan)
        seed, motion = self._seed, self._protocol.motion
        if condition.modality is Modality.LIDAR:
            scan = condition.strike(self.scan, seed, motion, lambda s: self._earlier(s)[1])
            return Sensed(self.frames, scan)
        frames = tuple(
            condition.strike(frame, seed, motion, partial(self._earlier_frame, index))
            for index, frame in enumerate(self.frames)
        )
        return Sensed(frames, self.scan)

    def _earlier_frame(self, index: int, seconds: float) -> CameraFrame:
        return self._earlier(seconds)[0][index]

    def _earlier(self, seconds: float) -> tuple[tuple[CameraFrame, ...], LidarScan]:
        """Cameras and lidar so many seconds before, from where the robot was then."""
        from mm_fusion_ros.sim.drive import scene

        if seconds not in self._before:
            old = scene(
                self._seed, image_size=self._protocol.image_size,
                seen_from=moved(seconds, self._protocol.motion), seen_at_s=-seconds,
            )  # fmt: skip
            shift_ns = round(seconds * NS)
            self._before[seconds] = (
                tuple(replace(f, stamp_ns=f.stamp_ns - shift_ns) for f in old.cameras),
                replace(old.lidar, stamp_ns=old.lidar.stamp_ns - shift_ns),
            )
        return self._before[seconds]
