"""The bird's-eye grid: where its cells are, how points fill it, where cameras see it.

The grid is square, centred on base_link and aligned with it: the first array axis runs along x
(forward), the second along y (left), and index 0 is the most negative end. The lidar is rasterised
finely, because small objects need it; the modalities meet on a coarse grid of features, where
convolutions are cheap; the answer is twice as fine again, four cells out of each coarse one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros.geometry import inverse
from mm_fusion_ros.samples import Float

EXTENT_M = 40.0
"""The grid covers -EXTENT_M to +EXTENT_M along both axes."""
RASTER = 256
"""Cells along an edge of the lidar raster (0.3125 m each)."""
CELLS = 128
"""Cells along an edge of the output maps (0.625 m each)."""
FEATURE_CELLS = 64
"""Cells along an edge of the grid of features on which the modalities meet (1.25 m each)."""
CELL_M = 2.0 * EXTENT_M / CELLS
HEIGHT_EDGES_M = (-0.4, 0.15, 0.4, 0.7, 1.0, 1.4, 1.8, 2.4, 4.0)
"""Edges of the height slices above base_link."""
LIDAR_CHANNELS = len(HEIGHT_EDGES_M) - 1 + 4
"""Slices, then highest and lowest point, mean intensity and density."""
LIFT_POINTS_M = (
    (-0.3125, -0.3125, 0.4), (-0.3125, 0.3125, 0.4), (0.3125, -0.3125, 0.4), (0.3125, 0.3125, 0.4),
    (0.0, 0.0, 1.2),
)  # fmt: skip
"""Where images are sampled for a feature cell: x y from its centre, z above base_link. What is
small stands low, and would be missed between the centres of two cells."""
LIFT_SHAPE = (FEATURE_CELLS, FEATURE_CELLS, len(LIFT_POINTS_M))
"""Feature cells along x and y, and the points of each."""
STRIDE = 4
"""Image pixels along an edge of each cell of the image features."""
NEAREST_M = 0.3
"""Points nearer to a camera than this are not projected."""

_DENSITY = np.log1p(np.arange(64, dtype=np.float32)) / np.float32(np.log(64.0))


def cell_centres(cells: int = CELLS) -> NDArray[np.float32]:
    """(cells,) coordinate of each cell's centre along an axis [m]."""
    return ((np.arange(cells) + 0.5) * (2.0 * EXTENT_M / cells) - EXTENT_M).astype(np.float32)


def raster_cells(
    points: NDArray[np.float32],
) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
    """Where points lie in the raster.

    Args:
        points: (N, 4), as `rasterize` takes them.

    Returns:
        inside: (N,) which points lie in it.
        flat: (k,) the cells of those, row by row.
    """
    scale = RASTER / (2.0 * EXTENT_M)
    ix = np.floor((points[:, 0] + EXTENT_M) * scale).astype(np.int32)
    iy = np.floor((points[:, 1] + EXTENT_M) * scale).astype(np.int32)
    z = points[:, 2]
    inside = (ix >= 0) & (ix < RASTER) & (iy >= 0) & (iy < RASTER)
    inside &= (z >= HEIGHT_EDGES_M[0]) & (z < HEIGHT_EDGES_M[-1])
    return inside, ix[inside].astype(np.intp) * RASTER + iy[inside]


def rasterize(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Points as a dense image that plain convolutions can read.

    Args:
        points: (N, 4) float32, x y z [m] in base_link, intensity [0..1]; all finite.

    Returns:
        (LIDAR_CHANNELS, RASTER, RASTER) float32: for each height slice the logarithmic count of
        points (0..1), then highest and lowest point [m / 4], mean intensity, logarithmic count.
    """
    inside, flat = raster_cells(points)
    z, intensity = points[inside, 2], points[inside, 3]
    area = RASTER * RASTER
    slices = len(HEIGHT_EDGES_M) - 1

    # Everything below touches only the cells that hold points, never the whole raster.
    raster = np.zeros((LIDAR_CHANNELS, area), dtype=np.float32)
    edges = np.asarray(HEIGHT_EDGES_M, dtype=np.float32)
    sliced = (np.searchsorted(edges, z, side="right") - 1) * area + flat
    counts = np.bincount(sliced, minlength=slices * area)
    raster.reshape(-1)[sliced] = _DENSITY[np.minimum(counts[sliced], 63)]

    highest, lowest = raster[slices], raster[slices + 1]
    highest[flat], lowest[flat] = -np.inf, np.inf
    np.maximum.at(highest, flat, z * np.float32(0.25))
    np.minimum.at(lowest, flat, z * np.float32(0.25))
    total = np.bincount(flat, minlength=area)[flat]
    summed = np.bincount(flat, weights=intensity, minlength=area)[flat]
    raster[slices + 2, flat] = summed / total
    raster[slices + 3, flat] = _DENSITY[np.minimum(total, 63)]
    return raster.reshape(LIDAR_CHANNELS, RASTER, RASTER)


@dataclass(frozen=True, eq=False)
class LiftGeometry:
    """Where one camera sees the points of the feature cells; all of `LIFT_SHAPE`.

    Attributes:
        pixel: int64, which pixel of the image features shows the point, row by row; 0 where it is
            not seen. The nearest: between cells of four image pixels there is nothing to blend.
        log_depth: float32, natural log of the depth [m].
        valid: float32, 1 where the camera sees the point.
    """

    pixel: NDArray[np.int64]
    log_depth: NDArray[np.float32]
    valid: NDArray[np.float32]

    @cached_property
    def covered(self) -> NDArray[np.bool_]:
        """(FEATURE_CELLS, FEATURE_CELLS), where any point of the cell is seen."""
        return np.asarray(self.valid.max(axis=2) > 0.0)


def _cell_points() -> NDArray[np.float32]:
    centres = cell_centres(FEATURE_CELLS)
    x, y = np.meshgrid(centres, centres, indexing="ij")
    middle = np.stack([x, y, np.zeros_like(x)], axis=-1).reshape(-1, 1, 3)
    points: NDArray[np.float32] = middle + np.asarray(LIFT_POINTS_M, dtype=np.float32)
    return points.reshape(-1, 3)


_CELL_POINTS = _cell_points()


def lift_geometry(
    intrinsics: Float,
    base_from_camera: Float,
    region: tuple[float, float, float, float],
    image_size: tuple[int, int],
) -> LiftGeometry:
    """Projects the grid's cells into one image (lifting by projection).

    Args:
        intrinsics: (3, 3) K of the prepared image [pixels], pixel centres at integers.
        base_from_camera: (4, 4), camera at its own stamp to base_link **at the tick**.
        region: x0 y0 x1 y1 [pixels], the part of the image that holds picture, not padding.
        image_size: width, height of the prepared image [pixels].
    """
    pixel, safe, valid = in_image(_CELL_POINTS, intrinsics, base_from_camera, region, image_size)
    return LiftGeometry(
        np.where(valid, pixel, 0).reshape(LIFT_SHAPE),
        np.log(safe).reshape(LIFT_SHAPE),
        valid.reshape(LIFT_SHAPE).astype(np.float32),
    )


def in_image(
    points: NDArray[np.float32],
    intrinsics: Float,
    base_from_camera: Float,
    region: tuple[float, float, float, float],
    image_size: tuple[int, int],
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.bool_]]:
    """Where one image shows points.

    Args:
        points: (N, 3) float32, in base_link at the tick.
        intrinsics, base_from_camera, region, image_size: as in `lift_geometry`.

    Returns:
        pixel: (N,) of the image features, row by row; some pixel for what is not seen.
        depth: (N,) [m], at least `NEAREST_M`.
        valid: (N,) whether the image shows the point.
    """
    width, height = image_size
    matrix = (intrinsics @ inverse(base_from_camera)[:3]).astype(np.float32)
    projected = points @ matrix[:, :3].T + matrix[:, 3]
    depth = projected[:, 2]
    safe = np.maximum(depth, np.float32(NEAREST_M))
    u = projected[:, 0] / safe
    v = projected[:, 1] / safe
    x0, y0, x1, y1 = region
    valid = (depth > NEAREST_M) & (u > x0 - 0.5) & (u < x1 - 0.5) & (v > y0 - 0.5) & (v < y1 - 0.5)
    column = np.clip((u + 0.5) / STRIDE, 0, width // STRIDE - 1).astype(np.int64)
    row = np.clip((v + 0.5) / STRIDE, 0, height // STRIDE - 1).astype(np.int64)
    return row * (width // STRIDE) + column, safe, valid
