"""Camera frames: checked, rectified, brought to the network's size, and judged."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros.config import CameraConfig
from mm_fusion_ros.samples import CameraFrame, Float
from mm_fusion_ros.sensors.image_quality import blockiness, image_quality
from mm_fusion_ros.sensors.mounting import check_rigid
from mm_fusion_ros.sensors.rectification import Rectifier, check_distortion, fit, scaled
from mm_fusion_ros.sensors.rejection import Rejected

# Width and height of what the network takes.
NETWORK_SIZE = (384, 288)

# Rows that tell equal pictures from others: no two of a real camera have even one in common.
CHECKSUM_ROWS = 64


@dataclass(frozen=True, eq=False)
class Original:
    """The camera's own picture, where it needs no rectification: sharper than what is encoded.

    Attributes:
        image: (H, W, 3) uint8, RGB.
        intrinsics: (3, 3) float64, K of it [pixels], pixel centres at integers.
    """

    image: NDArray[np.uint8]
    intrinsics: Float


@dataclass(frozen=True, eq=False)
class PreparedImage:
    """A pinhole image of the network's size.

    Attributes:
        image: (288, 384, 3) uint8, RGB; black outside `valid`.
        intrinsics: (3, 3) float64, K of this image [pixels], pixel centres at integers.
        valid: (x0, y0, x1, y1), where the camera's picture lies; x1, y1 are one past its end.
        base_from_camera: (4, 4) float64, camera optical frame to base_link.
        original: the same picture at its own resolution; None where there is none that is sharper.
        as_mounted: (4, 4) what `base_from_camera` was by the transforms; None where it still is.
    """

    image: NDArray[np.uint8]
    intrinsics: Float
    valid: tuple[int, int, int, int]
    base_from_camera: Float
    original: Original | None = None
    as_mounted: Float | None = None

    def sharpest(self) -> tuple[NDArray[np.uint8], Float, tuple[int, int, int, int]]:
        """Image, intrinsics and valid region of the picture in its best resolution."""
        if self.original is None:
            return self.image, self.intrinsics, self.valid
        height, width = self.original.image.shape[:2]
        return self.original.image, self.original.intrinsics, (0, 0, width, height)


class CameraIntake:
    """Makes network input of frames; serves any number of cameras."""

    def __init__(self, config: CameraConfig) -> None:
        self._config = config
        self._rectifier = Rectifier()

    def accept(self, frame: CameraFrame) -> tuple[PreparedImage, dict[str, float]]:
        """The frame as network input, and all its quality figures: `check`, then `prepare`.

        Raises:
            Rejected: see `check`.
        """
        checksum = self.check(frame)
        prepared, quality = self.prepare(frame)
        return prepared, quality | checksum

    def prepare(self, frame: CameraFrame) -> tuple[PreparedImage, dict[str, float]]:
        """The frame as network input, and its quality figures.

        Args:
            frame: checked.

        Returns:
            prepared: undistorted, scaled to fit, centred.
            quality: see `image_quality`, and `blockiness`.
        """
        height, width = frame.image.shape[:2]
        fitted = fit((width, height), NETWORK_SIZE)
        picture = scaled(frame.image, fitted)
        # Judged before rectification, whose black borders say nothing about the camera.
        quality = image_quality(picture)
        # Of the picture as it came: scaled, the blocks are gone.
        quality["blockiness"] = blockiness(frame.image)
        intrinsics = fitted.intrinsics(frame.intrinsics)
        x0, y0 = fitted.corner
        x1, y1 = x0 + fitted.size[0], y0 + fitted.size[1]

        # Distortion is a function of normalised coordinates, so it may be taken out after
        # scaling, where there are fewer pixels.
        own = intrinsics.copy()
        own[0, 2] -= x0
        own[1, 2] -= y0
        picture = self._rectifier.rectify(picture, own, frame.distortion_model, frame.distortion)

        image = np.zeros((NETWORK_SIZE[1], NETWORK_SIZE[0], 3), np.uint8)
        image[y0:y1, x0:x1] = picture
        # A view of what came; with a distortion, only what was scaled down has been rectified.
        sharper = fitted.scale_x < 1.0 and not frame.distortion.any()
        prepared = PreparedImage(
            image, intrinsics, (x0, y0, x1, y1), frame.base_from_camera,
            Original(frame.image, frame.intrinsics) if sharper else None,
        )  # fmt: skip
        return prepared, quality

    def check(self, frame: CameraFrame) -> dict[str, float]:
        """Whether a frame can be used; much cheaper than to prepare it.

        Args:
            frame: as received.

        Returns:
            `checksum` equal for equal pixels, an integer below 2^32.

        Raises:
            Rejected: ("size", "encoding", "calibration", "nan", "transform").
        """
        image = frame.image
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise Rejected(
                "encoding",
                f"{frame.source}: image has shape {image.shape} and type {image.dtype}; expected "
                "(H, W, 3) uint8 RGB",
            )
        height, width = image.shape[:2]
        smallest = self._config.min_height
        if min(height, width) < smallest or height * width > self._config.max_pixels:
            raise Rejected(
                "size",
                f"{frame.source}: image of {width} x {height} pixels; expected edges of at least "
                f"{smallest} and at most {self._config.max_pixels} pixels in all: see "
                "camera.min_height and camera.max_pixels",
            )
        matrix = frame.intrinsics
        if (
            matrix.shape != (3, 3)
            or not np.isfinite(matrix).all()
            or matrix[0, 0] <= 0.0
            or matrix[1, 1] <= 0.0
            or not np.array_equal(matrix[2], (0.0, 0.0, 1.0))
        ):
            raise Rejected(
                "calibration",
                f"{frame.source}: intrinsics {matrix.tolist()} are no pinhole matrix with positive "
                "focal lengths: calibrate the camera, or let its driver publish CameraInfo",
            )
        check_rigid(frame.base_from_camera, f"{frame.source}: base_from_camera")
        check_distortion(frame.distortion_model, frame.distortion)
        some = np.ascontiguousarray(image[:: max(1, height // CHECKSUM_ROWS)])
        return {"checksum": float(zlib.crc32(some.data))}
