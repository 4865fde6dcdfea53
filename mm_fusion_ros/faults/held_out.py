"""Faults that training never sees, in kind or in code.

They are the exam's proof that nothing was learned by heart. A test holds that `training/` does not
import this file.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TypeVar

import cv2
import numpy as np

from mm_fusion_ros.faults.camera import CameraFault, Image
from mm_fusion_ros.faults.lidar import LidarFault, ranges
from mm_fusion_ros.faults.timing import MS, TimingFault
from mm_fusion_ros.samples import CameraFrame, LidarScan, Sample

T = TypeVar("T", bound=Sample)
KEPT = 256
"""Samples that a lag remembers at most."""
SWEEP_S = 0.1
"""How long a sweep takes whose points carry no times."""


class Defocus(CameraFault):
    """Out of focus: each point becomes a disc of this radius in pixels."""

    name, levels, held_out = "defocus", (1.5, 3.0, 5.0, 8.0, 12.0), True

    def picture(self, image: Image, frame: CameraFrame) -> Image:
        """Soft."""
        radius = self.pixels(frame)
        size = 2 * int(np.ceil(radius)) + 1
        axis = np.arange(size) - size // 2
        away = np.hypot(axis[:, None], axis[None, :])
        disc = np.clip(radius + 0.5 - away, 0.0, 1.0).astype(np.float32)
        return np.asarray(cv2.filter2D(image, -1, disc / disc.sum()), np.float32)


class LensDirt(CameraFault):
    """Dirt on the lens that covers this part of the picture, and stays where it is."""

    name, levels, held_out = "lens_dirt", (0.06, 0.12, 0.22, 0.36, 0.55), True

    def __init__(self, severity: int = 3, seed: int | list[int] = 0) -> None:
        super().__init__(severity, seed)
        self._cover: Image | None = None
        self._tint = self.rng.uniform(40.0, 110.0) * self.rng.uniform(0.85, 1.15, 3)

    def picture(self, image: Image, frame: CameraFrame) -> Image:
        """Behind blots that are too near to be sharp."""
        if self._cover is None or self._cover.shape[:2] != image.shape[:2]:
            self._cover = self._blots(image.shape[0], image.shape[1])[..., None]
        tint = self._tint.astype(np.float32)
        return np.asarray(image * (1.0 - self._cover) + tint * self._cover, np.float32)

    def _blots(self, height: int, width: int) -> Image:
        """(H, W) how opaque the lens is, 0 to 0.95."""
        cover = np.zeros((height, width), np.float32)
        for _ in range(400):
            if float((cover > 0.5).mean()) >= self.level:
                break
            x, y = (int(v) for v in self.rng.uniform((0, 0), (width, height)))
            radius = max(2, int(width * self.rng.lognormal(-3.2, 0.5)))
            axes = (radius, max(2, int(radius * self.rng.uniform(0.5, 1.0))))
            turn = float(self.rng.uniform(0, 180))
            cv2.ellipse(cover, (x, y), axes, turn, 0, 360, float(self.rng.uniform(0.7, 0.95)), -1)
        return np.asarray(cv2.GaussianBlur(cover, (0, 0), width / 120.0), np.float32)


class Rain(CameraFault):
    """Rain before the lens: streaks, drops that bend what is behind them, and grey air.

    The level is the rate [mm/h].
    """

    name, levels, held_out = "rain", (5.0, 15.0, 35.0, 70.0, 120.0), True

    def picture(self, image: Image, frame: CameraFrame) -> Image:
        """Wet."""
        height, width = image.shape[:2]
        haze = min(0.004 * self.level, 0.5)
        image = image * np.float32(1.0 - haze) + np.float32(130.0 * haze)
        streaks = np.zeros((height, width), np.float32)
        slant = float(self.rng.normal(0.0, 0.15))
        for _ in range(int(self.level * 6)):
            x, y = self.rng.uniform((0, 0), (width, height))
            length = height * float(self.rng.uniform(0.02, 0.10))
            end = (int(x + slant * length), int(y + length))
            cv2.line(streaks, (int(x), int(y)), end, float(self.rng.uniform(0.15, 0.5)), 1)
        streaks = np.asarray(cv2.GaussianBlur(streaks, (0, 0), 0.7), np.float32)[..., None]
        image = image * (1.0 - streaks) + 210.0 * streaks
        return self._drops(image)

    def _drops(self, image: Image) -> Image:
        """With drops on the glass, each a small lens that shows the world upside down."""
        height, width = image.shape[:2]
        x, y = (a.astype(np.float32) for a in np.meshgrid(np.arange(width), np.arange(height)))
        for _ in range(int(self.level / 3)):
            centre = self.rng.uniform((0, 0), (width, height))
            radius = width * float(self.rng.uniform(0.008, 0.03))
            dx, dy = x - centre[0], y - centre[1]
            inside = dx**2 + dy**2 < radius**2
            x[inside] -= 4.0 * dx[inside]
            y[inside] -= 4.0 * dy[inside]
        bent = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        return np.asarray(bent, np.float32)


class GhostPoints(LidarFault):
    """Points where nothing is, as many as this part of the true ones."""

    name, levels, held_out = "ghost_points", (0.02, 0.05, 0.1, 0.2, 0.4), True

    def apply(self, sample: LidarScan) -> list[LidarScan]:
        """The sweep with more than there is: single ones, and clumps as mirrors make them."""
        count = int(len(sample.points) * self.level)
        angle = self.rng.uniform(-np.pi, np.pi, count)
        clumps = max(1, count // 60)
        member = self.rng.integers(0, clumps, count)
        clumped = self.rng.random(count) < 0.6
        angle = np.where(clumped, self.rng.uniform(-np.pi, np.pi, clumps)[member], angle)
        distance = np.where(
            clumped, self.rng.uniform(2.0, 35.0, clumps)[member], self.rng.uniform(1.0, 40.0, count)
        )
        places = np.column_stack([distance * np.cos(angle), distance * np.sin(angle)])
        places += np.where(clumped, 0.4, 0.0)[:, None] * self.rng.standard_normal((count, 2))
        low = -float(sample.base_from_lidar[2, 3])
        height = low + self.rng.uniform(0.0, 2.0, count)
        ghosts = np.column_stack([places, height, self.rng.uniform(0.0, 0.6, count)])
        offset = sample.time_offset_ns
        if offset is not None:
            drawn = self.rng.integers(0, len(offset), count) if len(offset) else np.zeros(0, int)
            offset = np.concatenate([offset, offset[drawn]])
        points = np.concatenate([sample.points, ghosts.astype(np.float32)])
        return [replace(sample, points=points, time_offset_ns=offset)]


class MotionDistortion(LidarFault):
    """A sweep bent by a motion that nobody took off: the level is the speed [m/s].

    The robot also turns, by 8 degrees/s for each m/s.
    """

    name, levels, held_out = "motion_distortion", (1.0, 2.5, 5.0, 10.0, 20.0), True

    def apply(self, sample: LidarScan) -> list[LidarScan]:
        """The sweep as from a lidar that moved and thinks it stood."""
        if sample.time_offset_ns is not None:
            late = sample.time_offset_ns.astype(np.float64) * 1e-9
        else:
            with np.errstate(invalid="ignore"):
                turn = np.arctan2(sample.points[:, 1], sample.points[:, 0]) / (2.0 * np.pi)
            late = -SWEEP_S * (0.5 - np.nan_to_num(turn))
        angle = -np.radians(8.0 * self.level) * late
        cosine, sine = np.cos(angle), np.sin(angle)
        x, y = sample.points[:, 0], sample.points[:, 1]
        points = sample.points.copy()
        points[:, 0] = cosine * x - sine * y - self.level * late
        points[:, 1] = sine * x + cosine * y
        # Where nothing was met nothing moves.
        points[ranges(sample.points) == 0.0] = sample.points[ranges(sample.points) == 0.0]
        return [replace(sample, points=points)]


class Lag(TimingFault[T]):
    """What a sample shows is this many milliseconds older than it says: a stamp set too late."""

    name, levels = "time_offset", (20.0, 50.0, 100.0, 200.0, 500.0)
    held_out = True

    def __init__(self, severity: int = 3, seed: int | list[int] = 0) -> None:
        super().__init__(severity, seed)
        self._seen: deque[T] = deque(maxlen=KEPT)

    def apply(self, sample: T) -> list[T]:
        """The newest sample that is old enough, under this one's stamp; nothing before one is."""
        self._seen.append(sample)
        shown_ns = sample.stamp_ns - round(self.level * MS)
        old = [seen for seen in self._seen if seen.stamp_ns <= shown_ns]
        if not old:
            return []
        while self._seen[0] is not old[-1]:
            self._seen.popleft()
        return [replace(old[-1], stamp_ns=sample.stamp_ns)]
