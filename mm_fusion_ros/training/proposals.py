"""Boxes that a detector might propose, and what the images show there.

The region head is shown true boxes, displaced and resized as a detector errs, boxes whose object is
hidden, boxes where nothing stands, and what the lidar took for objects, rightly or not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros.geometry import apply
from mm_fusion_ros.outputs import CLASSES
from mm_fusion_ros.perception.regions import ABOUT, CROP, NEAREST_M, Regions, cut, squares
from mm_fusion_ros.perception.second_look import MOST_LOG_DEPTH
from mm_fusion_ros.training.cache import Scene

NOTHING = len(CLASSES)
"""Index of "none of these"."""
EMPTY_BOXES = 2
"""Boxes on nothing for each camera."""
WRONG_BOXES = 5
"""Boxes for each camera where the lidar found something that is not there."""
RIGHT_M, WRONG_M = 1.0, 2.5
"""What is nearer to an object is about it; what is farther from the edges of all, about none."""
SIGMA_M, SIGMA_PER_M = 0.12, 0.008
"""A detector's error of place: at hand, and for each metre of distance."""
SIGMA_SIZE = 0.15
SIGMA_LOG_DEPTH = 0.2
"""A camera's error of the logarithm of the distance; no more is shown than `MOST_LOG_DEPTH`."""
HIDDEN_CELLS = 3.5
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
        depth: (k,) float32, logarithm of the object's distance from the camera in the ground plane
            as a multiple of its box's, of boxes that err as a camera does; NaN for all others.
    """

    crops: NDArray[np.uint8]
    about: NDArray[np.float32]
    class_index: NDArray[np.int64]
    colour_index: NDArray[np.int64]
    depth: NDArray[np.float32]

    @classmethod
    def none(cls) -> Proposals:
        """No crop at all."""
        empty = np.zeros(0, np.int64)
        return cls(
            np.zeros((0, CROP, CROP, 3), np.uint8), np.zeros((0, ABOUT), np.float32), empty, empty,
            np.zeros(0, np.float32),
        )  # fmt: skip


def propose(scene: Scene, rng: np.random.Generator) -> Proposals:
    """Draws proposals and cuts them out of the images."""
    parts = [_of_camera(scene, camera, rng) for camera in range(len(scene.images))]
    parts = [part for part in parts if len(part.crops)]
    if not parts:
        return Proposals.none()
    return Proposals(
        *[
            np.concatenate([getattr(part, name) for part in parts])
            for name in Proposals.__dataclass_fields__
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
    certain = seen | (~shows & (found[:, 2] > HIDDEN_CELLS * _cell(scene)))
    true = np.flatnonzero(certain)
    classes = np.where(seen, scene.class_index, NOTHING)
    colours = np.where(seen, scene.colour_index, -1)

    proposed = scene.proposed.astype(np.float64)
    about, wrong = _told_apart(proposed, boxes)
    right = np.flatnonzero(about >= 0)
    right = right[certain[about[right]]]
    owners = np.concatenate([true, true, about[right]])
    nothing = np.concatenate([
        _showing_nothing(scene, camera, rng.permutation(proposed[wrong]), WRONG_BOXES),
        _showing_nothing(scene, camera, _elsewhere(scene, camera, rng), EMPTY_BOXES),
    ])  # fmt: skip
    classes = np.append(classes[owners], np.full(len(nothing), NOTHING))
    colours = np.append(colours[owners], np.full(len(nothing), -1))
    # Each true box as a camera alone might place it, and as a lidar might.
    displaced = _displaced(boxes[true], placed[1], rng)
    along = _along_rays(displaced, placed[1], rng)
    shown = np.concatenate([along, displaced, proposed[right], nothing])
    farther = np.full(len(shown), np.nan)
    eye = placed[1][:2, 3]
    of_true, of_box = (np.linalg.norm(b[:, :2] - eye, axis=1) for b in (boxes[true], along))
    farther[: len(true)] = np.log(of_true / np.maximum(of_box, NEAREST_M))
    farther[classes == NOTHING] = np.nan
    regions: Regions = cut(scene.images[camera], *placed, valid, shown)
    rows = regions.rows
    return Proposals(
        regions.crops, regions.about, classes[rows].astype(np.int64),
        colours[rows].astype(np.int64), farther[rows].astype(np.float32),
    )  # fmt: skip


def _cell(scene: Scene) -> float:
    """Pixels of an image along an edge of a cell of `Scene.under`."""
    return float(scene.images.shape[2] / scene.under.shape[2])


def _told_apart(
    proposed: NDArray[np.float64], boxes: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """For each proposal the row of the object that it is about, -1 for none; whether it is wrong.

    Of some, neither can be said.
    """
    if not len(boxes) or not len(proposed):
        return np.full(len(proposed), -1), np.ones(len(proposed), bool)
    away = np.linalg.norm(proposed[:, None, :2] - boxes[:, :2], axis=2)
    nearest = away.argmin(axis=1)
    about = np.where(away.min(axis=1) < RIGHT_M, nearest, -1)
    return about, (away > WRONG_M + boxes[:, 3:5].max(axis=1) / 2.0).all(axis=1)


def _displaced(
    boxes: NDArray[np.float64], base_from_camera: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    result = boxes.copy()
    away = np.linalg.norm(boxes[:, :2] - base_from_camera[:2, 3], axis=1)
    sigma = (SIGMA_M + SIGMA_PER_M * away)[:, None]
    result[:, :3] += rng.normal(0.0, 1.0, (len(boxes), 3)) * sigma * (1.0, 1.0, 0.5)
    result[:, 3:6] *= np.exp(rng.normal(0.0, SIGMA_SIZE, (len(boxes), 3)))
    return result


def _along_rays(
    boxes: NDArray[np.float64], base_from_camera: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Boxes nearer or farther than they are; their height stays, for it is the ground's."""
    result = boxes.copy()
    error = rng.normal(0.0, SIGMA_LOG_DEPTH, len(boxes))
    factor = np.exp(np.clip(error, -MOST_LOG_DEPTH, MOST_LOG_DEPTH))
    eye = base_from_camera[:2, 3]
    result[:, :2] = eye + (boxes[:, :2] - eye) * factor[:, None]
    return result


def _elsewhere(scene: Scene, camera: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Boxes of objects of this scene, anywhere before the camera, on the ground."""
    if not len(scene.boxes):
        return np.zeros((0, 7))
    boxes = scene.boxes[rng.integers(len(scene.boxes), size=4 * EMPTY_BOXES)].astype(np.float64)
    away, side = rng.uniform(3.0, 35.0, len(boxes)), rng.uniform(-1.0, 1.0, len(boxes))
    slope = scene.images.shape[2] / 2.0 / scene.intrinsics[camera, 0, 0]
    places = apply(
        scene.base_from_camera[camera],
        np.column_stack([side * slope * away, np.zeros(len(boxes)), away]),
    )
    boxes[:, :2] = places[:, :2]
    return boxes


def _showing_nothing(
    scene: Scene, camera: int, boxes: NDArray[np.float64], limit: int
) -> NDArray[np.float64]:
    """The first boxes in view where the image shows no object."""
    height, width = scene.images.shape[1:3]
    placed = scene.intrinsics[camera], scene.base_from_camera[camera]
    found, seen = squares(boxes, *placed, (0, 0, width, height))
    under = scene.under[camera] >= 0
    keep: list[int] = []
    for row in np.flatnonzero(seen).tolist():
        if len(keep) == limit:
            break
        u, v, edge, _ = found[row] / _cell(scene)
        half = max(edge / 2.0, 1.0)
        window = under[
            int(max(v - half, 0)) : int(v + half) + 1, int(max(u - half, 0)) : int(u + half) + 1
        ]
        if window.size and window.mean() < HIDDEN_FRACTION:
            keep.append(row)
    return boxes[keep]
