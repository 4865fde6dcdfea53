"""Paints lidar points with what the images show there, for a fusion that reads points."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros.perception.features import Array, CameraFeature
from mm_fusion_ros.perception.grid import RASTER, in_image, raster_cells
from mm_fusion_ros.samples import Float

Index = NDArray[np.int64]


def painted_points(
    points: NDArray[np.float32],
    intrinsics: Float,
    base_from_camera: Float,
    region: tuple[float, float, float, float],
    image_size: tuple[int, int],
) -> tuple[Index, Index]:
    """Which points one image sees.

    Args:
        points: (N, 4), in base_link at the tick.
        intrinsics, base_from_camera, region, image_size: as in `lift_geometry`.

    Returns:
        pixel: (k,) of the image features, row by row, that shows each point.
        cell: (k,) of the raster in which it lies, row by row.
    """
    inside, cell = raster_cells(points)
    pixel, _, valid = in_image(points[inside, :3], intrinsics, base_from_camera, region, image_size)
    return pixel[valid], cell[valid].astype(np.int64)


def paint(points: NDArray[np.float32], cameras: Sequence[CameraFeature]) -> Array:
    """What the points of each cell are painted with: the mean over points and images.

    Args:
        points: (N, 4), in base_link at the tick.
        cameras: encoded images.

    Returns:
        (F + 1, RASTER, RASTER): the features, and 1 where any image shows a point; 0 elsewhere.
    """
    # The last two channels are the depth, which the points know better.
    wanted = cameras[0].features.shape[1] - 2
    total = np.zeros((wanted + 1, RASTER * RASTER), np.float32)
    for camera in cameras:
        image = camera.image
        height, width = image.image.shape[:2]
        x0, y0, x1, y1 = (float(edge) for edge in image.valid)
        pixel, cell = painted_points(
            points, image.intrinsics, camera.tick_from_base @ image.base_from_camera,
            (x0, y0, x1, y1), (width, height),
        )  # fmt: skip
        shown = camera.features[0, :wanted].reshape(wanted, -1)[:, pixel]
        for channel, values in zip(total, (*shown, None), strict=True):
            channel += np.bincount(cell, values, RASTER * RASTER).astype(np.float32)
    count = total[-1]
    total[:-1] /= np.maximum(count, 1.0)
    total[-1] = np.minimum(count, 1.0)
    return total.reshape(wanted + 1, RASTER, RASTER)
