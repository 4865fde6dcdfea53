"""Boxes that a detector might propose, and what the images show there.

The region head is trained before there is a detector to propose anything: true boxes, displaced and
resized as a detector errs, boxes whose object is hidden, and boxes where nothing stands.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros.geometry import apply
from mm_fusion_ros.outputs import CLASSES
from mm_fusion_ros.perception.grid import STRIDE
from mm_fusion_ros.perception.regions import ABOUT, CROP, Regions, cut, squares
from mm_fusion_ros.training.cache import Scene

NOTHING = len(CLASSES)
"""Index of "none of these"."""
EMPTY_BOXES = 2
"""Boxes on nothing for each camera."""
SIGMA_M, SIGMA_PER_M = 0.12, 0.008
"""A detector's error of place: at hand, and for each metre of distance."""
SIGMA_SIZE = 0.15
HIDDEN_PX = 14.0
"""A square of this edge holds a dozen cells of `Scene.under`; of smaller ones none may show."""
HIDDEN_FRACTION = 0.1
"""Where less of a box's square shows an object, it stands for nothing."""


@dataclass(frozen=True, eq=False)
class Proposals:
    """Crops of all cameras with their labels.

    Attributes:
        crops: (k, CROP, CROP, 3) uint8; about: (k, ABOUT) float32, as in `Regions`.
        class_index: (k,) int64, `NOTHING` where none of the classes is to be seen.
        colour_index: (k,) int64, -1 there.
    """

    crops: NDArray[np.uint8]
    about: NDArray[np.float32]
    class_index: NDArray[np.int64]
    colour_index: NDArray[np.int64]

    @classmethod
    def none(cls) -> Proposals:
        """No crop at all."""
        empty = np.zeros(0, np.int64)
        return cls(
            np.zeros((0, CROP, CROP, 3), np.uint8), np.zeros((0, ABOUT), np.float32), empty, empty
        )


def propose(scene: Scene, rng: np.random.Generator) -> Proposals:
    """Draws proposals and cuts them out of the images."""
    parts = [_of_camera(scene, camera, rng) for camera in range(len(scene.images))]
    parts = [part for part in parts if len(part.crops)]
    if not parts:
        return Proposals.none()
    return Proposals(
        *[
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("crops", "about", "class_index", "colour_index")
        ]
    )


def _of_camera(scene: Scene, camera: int, rng: np.random.Generator) -> Proposals:
    height, width = scene.images.shape[1:3]
    valid = (0, 0, width, height)
    placed = scene.intrinsics[camera], scene.base_from_camera[camera]
    boxes = scene.boxes.astype(np.float64)
    shows = np.bincount(
        scene.under[camera][scene.under[camera] >= 0], minlength=len(boxes)
    ) > 0  # fmt: skip
    seen = scene.seen[:, camera]
    # Neither clearly seen nor clearly hidden, or so small that it may hide between the cells:
    # nobody can say what the right answer is.
    found, _ = squares(boxes, *placed, valid)
    certain = seen | (~shows & (found[:, 2] > HIDDEN_PX))
    boxes, seen, rows = boxes[certain], seen[certain], np.flatnonzero(certain)
    classes = np.where(seen, scene.class_index[rows], NOTHING)
    colours = np.where(seen, scene.colour_index[rows], -1)

    empty = _empty_boxes(scene, camera, rng)
    nothing = np.full(len(empty), NOTHING)
    classes = np.concatenate([classes, nothing])
    colours = np.concatenate([colours, np.full(len(empty), -1)])
    regions: Regions = cut(
        scene.images[camera],
        *placed,
        valid,
        np.concatenate([_displaced(boxes, placed[1], rng), empty]),
    )
    return Proposals(
        regions.crops, regions.about, classes[regions.rows].astype(np.int64),
        colours[regions.rows].astype(np.int64),
    )  # fmt: skip


def _displaced(
    boxes: NDArray[np.float64], base_from_camera: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    result = boxes.copy()
    away = np.linalg.norm(boxes[:, :2] - base_from_camera[:2, 3], axis=1)
    sigma = (SIGMA_M + SIGMA_PER_M * away)[:, None]
    result[:, :3] += rng.normal(0.0, 1.0, (len(boxes), 3)) * sigma * (1.0, 1.0, 0.5)
    result[:, 3:6] *= np.exp(rng.normal(0.0, SIGMA_SIZE, (len(boxes), 3)))
    return result


def _empty_boxes(scene: Scene, camera: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Boxes of objects of this scene, elsewhere, where the image shows no object."""
    if not len(scene.boxes):
        return np.zeros((0, 7))
    height, width = scene.images.shape[1:3]
    boxes = scene.boxes[rng.integers(len(scene.boxes), size=4 * EMPTY_BOXES)].astype(np.float64)
    # Somewhere in view: a place before the camera, on the ground.
    away, side = rng.uniform(3.0, 35.0, len(boxes)), rng.uniform(-1.0, 1.0, len(boxes))
    slope = width / 2.0 / scene.intrinsics[camera, 0, 0]
    places = apply(
        scene.base_from_camera[camera],
        np.column_stack([side * slope * away, np.zeros(len(boxes)), away]),
    )
    boxes[:, :2] = places[:, :2]
    placed = scene.intrinsics[camera], scene.base_from_camera[camera]
    found, seen = squares(boxes, *placed, (0, 0, width, height))
    under = scene.under[camera] >= 0
    keep = []
    for row in np.flatnonzero(seen):
        u, v, edge, _ = found[row] / STRIDE
        half = max(edge / 2.0, 1.0)
        window = under[
            int(max(v - half, 0)) : int(v + half) + 1, int(max(u - half, 0)) : int(u + half) + 1
        ]
        if window.size and window.mean() < HIDDEN_FRACTION:
            keep.append(row)
    return boxes[keep[:EMPTY_BOXES]]
