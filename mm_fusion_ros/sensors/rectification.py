"""From a camera's image to the pinhole image that the network takes: undistort, scale, pad.

Pixel centres have integer coordinates, as in OpenCV and ROS: the centre of the top left pixel is
(0, 0) and its outer corner (-0.5, -0.5). Scaling by s therefore takes u to (u + 0.5) s - 0.5.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros.samples import Float
from mm_fusion_ros.sensors.rejection import Rejected

Image = NDArray[np.uint8]
Size = tuple[int, int]

# Numbers of coefficients that each model may come with.
DISTORTION_MODELS: dict[str, tuple[int, ...]] = {
    "plumb_bob": (4, 5),
    "rational_polynomial": (8,),
    "equidistant": (4,),
}
# Cameras whose maps are kept; each takes 0.7 MB.
MAX_MAPS = 16


@dataclass(frozen=True)
class Fit:
    """Where a source image lies in a target of fixed size: scaled to fit, centred, padded.

    Attributes:
        size: (width, height) of the scaled image.
        corner: (x, y) of its top left pixel in the target.
        halvings: how often the source is halved before the last scaling, against aliasing.
        scale_x, scale_y: total scale, target pixels for each source pixel.
    """

    size: Size
    corner: Size
    halvings: int
    scale_x: float
    scale_y: float

    def intrinsics(self, source: Float) -> Float:
        """K (3, 3) of the target from K of the source."""
        target = source.copy()
        target[0, :2] *= self.scale_x
        target[1, 1] *= self.scale_y
        target[0, 2] = (source[0, 2] + 0.5) * self.scale_x - 0.5 + self.corner[0]
        target[1, 2] = (source[1, 2] + 0.5) * self.scale_y - 0.5 + self.corner[1]
        return target


def fit(source: Size, target: Size) -> Fit:
    """How an image of (width, height) `source` is brought into `target`, keeping its aspect."""
    scale = min(target[0] / source[0], target[1] / source[1])
    width = min(max(round(source[0] * scale), 1), target[0])
    height = min(max(round(source[1] * scale), 1), target[1])
    halvings = 0
    halved = source
    while halved[0] >= 2 * width and halved[1] >= 2 * height:
        halved = (halved[0] // 2, halved[1] // 2)
        halvings += 1
    # Halving drops an odd last row or column, so what is scaled is a little less than the source.
    factor = 1 << halvings
    return Fit(
        size=(width, height),
        corner=((target[0] - width) // 2, (target[1] - height) // 2),
        halvings=halvings,
        scale_x=width / (halved[0] * factor),
        scale_y=height / (halved[1] * factor),
    )


def scaled(image: Image, fitted: Fit) -> Image:
    """The image at `fitted.size`: halved by averaging, then interpolated."""
    for _ in range(fitted.halvings):
        height, width = image.shape[0] // 2, image.shape[1] // 2
        even = image[: 2 * height, : 2 * width]
        image = np.asarray(cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA))
    if (image.shape[1], image.shape[0]) == fitted.size:
        return image
    return np.asarray(cv2.resize(image, fitted.size, interpolation=cv2.INTER_LINEAR))


class Rectifier:
    """Undistorts scaled images; keeps the maps of the cameras it has seen."""

    def __init__(self) -> None:
        self._maps: OrderedDict[bytes, tuple[NDArray[np.int16], NDArray[np.uint16]]] = OrderedDict()

    def rectify(self, image: Image, intrinsics: Float, model: str, coefficients: Float) -> Image:
        """The image without distortion, with the same intrinsics.

        Args:
            image: (H, W, 3) uint8.
            intrinsics: (3, 3) K of this image [pixels].
            model: a key of `DISTORTION_MODELS`, or "" or "none".
            coefficients: (D,) float64; all zero means no distortion.

        Returns:
            (H, W, 3) uint8; black where the source shows nothing.

        Raises:
            Rejected: ("calibration") with the model named.
        """
        if not check_distortion(model, coefficients):
            return image
        names = f"{model} {image.shape}".encode()
        key = b"|".join((names, intrinsics.tobytes(), coefficients.tobytes()))
        maps = self._maps.get(key)
        if maps is None:
            maps = _maps(intrinsics, model, coefficients, (image.shape[1], image.shape[0]))
            self._maps[key] = maps
            if len(self._maps) > MAX_MAPS:
                self._maps.popitem(last=False)
        return np.asarray(cv2.remap(image, maps[0], maps[1], cv2.INTER_LINEAR), dtype=np.uint8)


def check_distortion(model: str, coefficients: Float) -> bool:
    """True where there is a distortion to take out.

    Raises:
        Rejected: ("calibration") unknown model, wrong number of coefficients, or not finite.
    """
    if not np.isfinite(coefficients).all():
        raise Rejected(
            "calibration", f"distortion coefficients {coefficients} are not finite; calibrate again"
        )
    if not coefficients.any():
        return False
    if model not in DISTORTION_MODELS:
        raise Rejected(
            "calibration",
            f"distortion model {model[:64]!r} is not supported; supported are "
            f"{', '.join(DISTORTION_MODELS)}: calibrate with one of them or send rectified images",
        )
    if coefficients.size not in DISTORTION_MODELS[model]:
        raise Rejected(
            "calibration",
            f"distortion model {model!r} has {coefficients.size} coefficients; expected "
            f"{' or '.join(map(str, DISTORTION_MODELS[model]))}",
        )
    return True


def _maps(
    intrinsics: Float, model: str, coefficients: Float, size: Size
) -> tuple[NDArray[np.int16], NDArray[np.uint16]]:
    identity = np.eye(3)
    if model == "equidistant":
        first, second = cv2.fisheye.initUndistortRectifyMap(
            intrinsics, coefficients, identity, intrinsics, size, cv2.CV_16SC2
        )
    else:
        first, second = cv2.initUndistortRectifyMap(
            intrinsics, coefficients, identity, intrinsics, size, cv2.CV_16SC2
        )
    return np.asarray(first, dtype=np.int16), np.asarray(second, dtype=np.uint16)
