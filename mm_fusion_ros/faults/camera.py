"""What goes wrong with images."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros.faults.extrinsics import turned
from mm_fusion_ros.faults.fault import Fault
from mm_fusion_ros.samples import CameraFrame, Float, Modality

Image = NDArray[np.float32]
# Sizes in pixels are given for images of this width.
REFERENCE_WIDTH = 640
FARTHEST_M = 40.0


class CameraFault(Fault[CameraFrame]):
    """A fault of the picture alone; stamp and geometry stay."""

    modality = Modality.CAMERA

    def apply(self, sample: CameraFrame) -> list[CameraFrame]:
        """The frame with another picture."""
        picture = self.picture(sample.image.astype(np.float32), sample)
        image = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
        return [replace(sample, image=image)]

    def picture(self, image: Image, frame: CameraFrame) -> Image:
        """What the camera shows instead.

        Args:
            image: (H, W, 3), 0..255, may be written to.
            frame: that it comes from.
        """
        raise NotImplementedError

    def pixels(self, frame: CameraFrame) -> float:
        """The level, a length in pixels, for an image of this width."""
        return float(self.level * frame.image.shape[1] / REFERENCE_WIDTH)


class Black(CameraFault):
    """A covered lens: only the sensor's own noise."""

    name, levels = "black", (1.0,)

    def picture(self, image: Image, frame: CameraFrame) -> Image:
        """Almost nothing."""
        return np.abs(self.rng.normal(0.0, 1.0, image.shape)).astype(np.float32)


class Dark(CameraFault):
    """Too little light: the level's part of it arrives, and the noise of the sensor stays."""

    name, levels = "dark", (0.4, 0.2, 0.1, 0.05, 0.02)

    def picture(self, image: Image, frame: CameraFrame) -> Image:
        """Darker, in linear light."""
        light = (image / 255.0) ** 2.2 * self.level
        noise = self.rng.normal(0.0, 2.0, image.shape).astype(np.float32)
        return np.asarray(255.0 * light ** (1 / 2.2) + noise, np.float32)


class Overexposed(CameraFault):
    """Too much light: so many times as much arrives, and clips."""

    name, levels = "overexposed", (1.8, 3.0, 5.0, 9.0, 16.0)

    def picture(self, image: Image, frame: CameraFrame) -> Image:
        """Brighter, in linear light."""
        light = np.minimum((image / 255.0) ** 2.2 * self.level, 1.0)
        return np.asarray(255.0 * light ** (1 / 2.2), np.float32)


class MotionBlur(CameraFault):
    """The camera turned while the shutter was open: a streak of so many pixels."""

    name, levels = "motion_blur", (6.0, 12.0, 20.0, 32.0, 50.0)

    def picture(self, image: Image, frame: CameraFrame) -> Image:
        """Smeared along one direction."""
        length = max(self.pixels(frame), 1.0)
        angle = self.rng.uniform(-0.4, 0.4)  # mostly sideways, as robots turn
        size = int(np.ceil(length)) | 1
        kernel = np.zeros((size, size), np.float32)
        middle = size / 2.0 - 0.5
        half = length / 2.0 * np.array([np.cos(angle), np.sin(angle)])
        ends = [tuple(np.rint(middle + sign * half).astype(int).tolist()) for sign in (-1, 1)]
        cv2.line(kernel, ends[0], ends[1], 1.0)
        return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum()), np.float32)


class Noise(CameraFault):
    """Grain, of this standard deviation in grey values."""

    name, levels = "noise", (8.0, 16.0, 28.0, 45.0, 70.0)

    def picture(self, image: Image, frame: CameraFrame) -> Image:
        """Grainy."""
        return image + self.rng.normal(0.0, self.level, image.shape).astype(np.float32)


class Fog(CameraFault):
    """Light from afar is replaced by that of the fog; the level is the visibility [m].

    Koschmieder's law, with the distance of flat ground, and the grid's reach above the horizon.
    """

    name, levels = "fog", (80.0, 40.0, 20.0, 10.0, 5.0)

    def picture(self, image: Image, frame: CameraFrame) -> Image:
        """Pale with distance."""
        clear = np.exp(-3.0 * ground_distance(frame) / self.level).astype(np.float32)[..., None]
        fog = np.float32(np.percentile(image, 90) * 0.5 + 95.0)
        return np.asarray(image * clear + fog * (1.0 - clear), np.float32)


class ColourCast(CameraFault):
    """A white balance gone wrong: each channel times or by up to the level."""

    name, levels = "colour_cast", (1.15, 1.3, 1.5, 1.8, 2.3)

    def __init__(self, severity: int = 3, seed: int | list[int] = 0) -> None:
        super().__init__(severity, seed)
        # One channel is favoured and another suppressed, for as long as the fault lasts.
        power = np.zeros(3)
        power[self.rng.permutation(3)[:2]] = (0.5, -0.5)
        self._gain = (self.level**power).astype(np.float32)

    def picture(self, image: Image, frame: CameraFrame) -> Image:
        """Tinted."""
        return image * self._gain


class Jpeg(CameraFault):
    """Compressed at this quality, 0 to 100."""

    name, levels = "jpeg", (40.0, 20.0, 10.0, 5.0, 2.0)

    def apply(self, sample: CameraFrame) -> list[CameraFrame]:
        """The frame with what is left of its picture."""
        options = [cv2.IMWRITE_JPEG_QUALITY, int(self.level)]
        done, data = cv2.imencode(".jpg", cv2.cvtColor(sample.image, cv2.COLOR_RGB2BGR), options)
        if not done:
            return [sample]
        image = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)
        return [replace(sample, image=np.asarray(image, np.uint8))]


class Extrinsics(Fault[CameraFrame]):
    """A mounting that is not where the transforms say: off by so many degrees."""

    name, modality, levels = "extrinsics", Modality.CAMERA, (0.5, 1.0, 2.0, 3.5, 5.0)

    def __init__(self, severity: int = 3, seed: int | list[int] = 0) -> None:
        super().__init__(severity, seed)
        self._wrong = turned(np.radians(self.level), self.rng)

    def apply(self, sample: CameraFrame) -> list[CameraFrame]:
        """The frame with another mounting."""
        return [replace(sample, base_from_camera=sample.base_from_camera @ self._wrong)]


def ground_distance(frame: CameraFrame) -> Float:
    """(H, W) distance [m] along each pixel's ray to flat ground, at most FARTHEST_M."""
    height, width = frame.image.shape[:2]
    u, v = np.meshgrid(np.arange(width), np.arange(height))
    rays = np.linalg.inv(frame.intrinsics) @ np.stack([u.ravel(), v.ravel(), np.ones(u.size)])
    rays /= np.linalg.norm(rays, axis=0)
    fall = -(frame.base_from_camera[:3, :3] @ rays)[2]
    above = max(float(frame.base_from_camera[2, 3]), 0.1)
    distance = np.where(fall > above / FARTHEST_M, above / np.maximum(fall, 1e-6), FARTHEST_M)
    return np.asarray(distance.reshape(height, width))
