"""What the networks should say: objects as maps on the grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros.geometry import apply, box_corners, inverse, project
from mm_fusion_ros.outputs import CLASSES
from mm_fusion_ros.perception.grid import CELL_M, CELLS, EXTENT_M, STRIDE, cell_centres

REACH_CELLS = 1
"""Cells around the centre's own that also learn the box: a peak may fall beside it."""


NEAREST_M = 0.3
"""Boxes that reach nearer to the camera than this are not drawn into the image."""


def draw_image(
    boxes: NDArray[np.float32],
    class_index: NDArray[np.int64],
    seen: NDArray[np.bool_],
    intrinsics: NDArray[np.float64],
    base_from_camera: NDArray[np.float64],
    shape: tuple[int, int],
    stride: int,
) -> NDArray[np.float32]:
    """Where in an image the centres of the objects are that its camera sees.

    Args:
        boxes: (k, 7); class_index: (k,), as in `Scene`.
        seen: (k,), by this camera.
        intrinsics: (3, 3) [pixels]; base_from_camera: (4, 4).
        shape: height and width of the feature map.
        stride: image pixels for each of its cells.

    Returns:
        (classes, height, width) float32, 1 at the box centre, falling towards the box's edge.
    """
    height, width = shape
    heat = np.zeros((len(CLASSES), height, width), np.float32)
    camera_from_base = inverse(base_from_camera)
    v, u = np.arange(height)[:, None] + 0.5, np.arange(width)[None, :] + 0.5
    for index in np.flatnonzero(seen):
        box = boxes[index].astype(np.float64)
        corners = apply(camera_from_base, box_corners(box[:3], box[3:6], float(box[6])))
        if corners[:, 2].min() < NEAREST_M:
            continue
        pixels, _ = project(corners, intrinsics)
        low, high = (pixels.min(axis=0) + 0.5) / stride, (pixels.max(axis=0) + 0.5) / stride
        middle = (low + high) / 2.0
        # At least half a cell to each side, or the smallest would be drawn nowhere.
        reach = np.maximum((high - low) / 2.0, 0.71)
        off = ((u - middle[0]) / reach[0]) ** 2 + ((v - middle[1]) / reach[1]) ** 2
        gauss = np.exp(-2.0 * off).astype(np.float32)
        gauss[off >= 1.0] = 0.0
        if not gauss.any():
            continue
        gauss[np.unravel_index(int(np.argmax(gauss)), gauss.shape)] = 1.0
        kind = class_index[index]
        heat[kind] = np.maximum(heat[kind], gauss)
    return heat


def object_depth(
    boxes: NDArray[np.float32],
    under: NDArray[np.int16],
    intrinsics: NDArray[np.float64],
    base_from_camera: NDArray[np.float64],
) -> NDArray[np.float32]:
    """How far away the objects are that an image shows: where the pixels' rays enter their boxes.

    Args:
        boxes: (k, 7), as in `Scene`.
        under: (h, w), row of the object that each cell shows in its middle; -1 where none.
        intrinsics: (3, 3) [pixels]; base_from_camera: (4, 4).

    Returns:
        (h, w) float32, log of the depth [m]; 0 where no object is, or the ray misses its box.
    """
    result = np.zeros(under.shape, np.float32)
    row, column = np.nonzero(under >= 0)
    box = boxes[under[row, column]].astype(np.float64)
    pixels = np.column_stack([column, row]) * STRIDE + STRIDE // 2
    ahead = np.column_stack([pixels, np.ones(len(pixels))]) @ np.linalg.inv(intrinsics).T
    along = ahead @ base_from_camera[:3, :3].T
    start = base_from_camera[:3, 3] - box[:, :3]
    cosine, sine = np.cos(box[:, 6]), np.sin(box[:, 6])

    def turned(v: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y, z = v.T
        return np.column_stack([cosine * x + sine * y, cosine * y - sine * x, z])

    # Rays against slabs, in each box's own axes.
    along, start = turned(along), turned(start)
    along = np.where(np.abs(along) < 1e-9, 1e-9, along)
    near, far = ((-sign * box[:, 3:6] / 2.0 * np.sign(along) - start) / along for sign in (1, -1))
    enters, leaves = near.max(axis=1), far.min(axis=1)
    met = (enters < leaves) & (enters > 1.0)  # log-depth 0 means "none"
    result[row[met], column[met]] = np.log(enters[met])
    return result


@dataclass(frozen=True, eq=False)
class Targets:
    """The maps of one sample, for one subset of sensors.

    Attributes:
        heat: (classes, CELLS, CELLS) float32, 1 at centres, Gaussian around them.
        care: (CELLS, CELLS) float32, 0 around objects that this subset cannot be asked for.
        weight: (CELLS, CELLS) float32, how much each cell's box counts.
        box: (8, CELLS, CELLS) float32: offset x y [m], z [m], log length width height, sine and
            cosine of twice the yaw.
        count: objects asked for.
    """

    heat: NDArray[np.float32]
    care: NDArray[np.float32]
    weight: NDArray[np.float32]
    box: NDArray[np.float32]
    count: int


def draw(
    boxes: NDArray[np.float32],
    class_index: NDArray[np.int64],
    asked: NDArray[np.bool_],
) -> Targets:
    """Draws objects.

    Args:
        boxes: (k, 7), as in `Scene`.
        class_index: (k,).
        asked: (k,), False for what this subset of sensors cannot see: neither wanted nor punished.
    """
    heat = np.zeros((len(CLASSES), CELLS, CELLS), np.float32)
    care = np.ones((CELLS, CELLS), np.float32)
    weight = np.zeros((CELLS, CELLS), np.float32)
    box = np.zeros((8, CELLS, CELLS), np.float32)
    centres = cell_centres()
    inside = (np.abs(boxes[:, :2]) < EXTENT_M).all(axis=1)
    # A loop over objects, of which there are at most a few dozen.
    for index in np.flatnonzero(inside):
        x, y, z, length, width, height, yaw = boxes[index]
        column = int((x + EXTENT_M) / CELL_M), int((y + EXTENT_M) / CELL_M)
        spread = 0.6 + 0.12 * min(float(np.sqrt(length * width)), 5.0)  # [m]
        reach = 3
        low = [max(c - reach, 0) for c in column]
        high = [min(c + reach + 1, CELLS) for c in column]
        window = np.s_[low[0] : high[0], low[1] : high[1]]
        dx = x - centres[low[0] : high[0], None]
        dy = y - centres[None, low[1] : high[1]]
        if not asked[index]:
            care[window] = np.where(dx**2 + dy**2 < (2 * CELL_M) ** 2, 0.0, care[window])
            continue
        # Distances from the cell that holds the centre, so that this cell is exactly 1.
        gx = centres[column[0]] - centres[low[0] : high[0], None]
        gy = centres[column[1]] - centres[None, low[1] : high[1]]
        gauss = np.exp(-(gx**2 + gy**2) / (2.0 * (spread * 0.75) ** 2)).astype(np.float32)
        kind = class_index[index]
        heat[kind][window] = np.maximum(heat[kind][window], gauss)
        near = (np.abs(gx) < (REACH_CELLS + 0.5) * CELL_M) & (
            np.abs(gy) < (REACH_CELLS + 0.5) * CELL_M
        )
        own = near & (gauss > weight[window])
        weight[window] = np.where(own, gauss, weight[window])
        values = np.broadcast_arrays(
            dx, dy, z, np.log(length), np.log(width), np.log(height),
            np.sin(2 * yaw), np.cos(2 * yaw), own,
        )[:8]  # fmt: skip
        for channel, value in enumerate(values):
            box[channel][window] = np.where(own, value, box[channel][window])
    return Targets(heat, care, weight, box, int((inside & asked).sum()))
