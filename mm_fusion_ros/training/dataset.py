"""Cached scenes to batches: choose cameras, turn and mirror the world, draw the targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from mm_fusion_ros.geometry import apply, inverse, planar, project
from mm_fusion_ros.model.fusion_net import CameraBatch, PaintBatch
from mm_fusion_ros.outputs import CLASSES
from mm_fusion_ros.perception.grid import LIFT_SHAPE, RASTER, STRIDE, lift_geometry, rasterize
from mm_fusion_ros.perception.painting import painted_points
from mm_fusion_ros.perception.rays import RAY_CHANNELS, ray_planes
from mm_fusion_ros.sensors.camera import NETWORK_SIZE
from mm_fusion_ros.sensors.rectification import fit, scaled
from mm_fusion_ros.training import cache
from mm_fusion_ros.training.cache import Scene
from mm_fusion_ros.training.losses import TargetBatch
from mm_fusion_ros.training.proposals import Proposals, propose
from mm_fusion_ros.training.struck import Struck, strike
from mm_fusion_ros.training.targets import Targets, draw, draw_image, object_depth

SUBSETS = ("camera", "lidar", "both")


@dataclass(frozen=True)
class Augmentation:
    """How scenes are varied beyond what the simulator drew."""

    turn_rad: float = np.pi
    mirror: bool = True
    gain: float = 0.25
    drop_points: float = 0.5
    max_cameras: int = 2


@dataclass(frozen=True)
class Needs:
    """What of a scene is worth preparing; what is not needed has no elements.

    Attributes:
        images: what the cameras give.
        taught: what is to be told of each pixel of them.
        regions: pieces of them, with what they are taught.
        grid: where the images lie on the grid.
        raster: the lidar's.
        paint: which points the images see.
        subsets: of sensors, whose targets are drawn on the grid.
    """

    images: bool = True
    taught: bool = True
    regions: bool = False
    grid: bool = True
    raster: bool = True
    paint: bool = False
    subsets: tuple[str, ...] = SUBSETS


@dataclass(frozen=True)
class Faults:
    """How many samples are struck by faults.

    Attributes:
        share: of the samples, in the end.
        ramp: over so many samples the share grows from 0.
    """

    share: float
    ramp: int


EVERYTHING = Needs()
PLAIN = Augmentation(turn_rad=0.0, mirror=False, gain=0.0, drop_points=0.0, max_cameras=8)


@dataclass(frozen=True, eq=False)
class Item:
    """One sample, as arrays; shapes as in `CameraBatch` and `Targets` without the batch axis."""

    images: NDArray[np.uint8]
    rays: NDArray[np.float32]
    pixel: NDArray[np.int64]
    log_depth: NDArray[np.float32]
    valid: NDArray[np.float32]
    trust_camera: NDArray[np.float32]
    trust_lidar: np.float32
    image_depth: NDArray[np.float32]
    image_heat: NDArray[np.float32]
    image_shown: NDArray[np.int64]
    image_weight: NDArray[np.float32]
    raster: NDArray[np.float32]
    paint_pixel: NDArray[np.int64]
    paint_cell: NDArray[np.int64]
    regions: Proposals
    targets: dict[str, Targets]


def augment(scene: Scene, options: Augmentation, rng: np.random.Generator) -> Scene:
    """The same scene in another base frame, under another light, with fewer points.

    Turning and mirroring the base frame moves points, boxes and extrinsics alike, so camera and
    lidar stay consistent.
    """
    images, intrinsics = scene.images, scene.intrinsics.copy()
    extrinsics, points = scene.base_from_camera.copy(), scene.points.copy()
    base_from_lidar = scene.base_from_lidar
    boxes, proposed, under = scene.boxes.copy(), scene.proposed.copy(), scene.under
    turn = planar(0.0, 0.0, rng.uniform(-options.turn_rad, options.turn_rad))
    points[:, :3] = apply(turn, points[:, :3])
    for each in (boxes, proposed):
        each[:, :3] = apply(turn, each[:, :3])
        each[:, 6] += np.float32(np.arctan2(turn[1, 0], turn[0, 0]))
    extrinsics, base_from_lidar = turn @ extrinsics, turn @ base_from_lidar
    if options.mirror and rng.random() < 0.5:
        points[:, 1] *= -1.0
        for each in (boxes, proposed):
            each[:, [1, 6]] *= -1.0
        images, under = images[:, :, ::-1], under[:, :, ::-1]
        intrinsics[:, 0, 2] = images.shape[2] - 1 - intrinsics[:, 0, 2]
        across = np.diag([1.0, -1.0, 1.0, 1.0])
        extrinsics = across @ extrinsics @ np.diag([-1.0, 1.0, 1.0, 1.0])
        base_from_lidar = across @ base_from_lidar @ across
    if options.gain:
        gains = rng.uniform(1.0 - options.gain, 1.0 + options.gain, len(images))
        brighter = [cv2.convertScaleAbs(i, alpha=g) for i, g in zip(images, gains, strict=True)]
        images = _stack(brighter, images.shape[1:], np.uint8)
    if options.drop_points and rng.random() < 0.3:
        share = rng.uniform(0.0, options.drop_points)
        points = points[rng.random(len(points)) >= share]
    return replace(
        scene, images=images, intrinsics=intrinsics, base_from_camera=extrinsics,
        base_from_lidar=base_from_lidar, points=points, boxes=boxes, proposed=proposed,
        under=under,
    )  # fmt: skip


def as_network_takes(scene: Scene) -> Scene:
    """The scene with images and intrinsics at the size of the network's input.

    Raises:
        ValueError: the images are of another shape than that input.
    """
    height, width = scene.images.shape[1:3]
    fitted = fit((width, height), NETWORK_SIZE)
    if fitted.size != NETWORK_SIZE:
        raise ValueError(f"images of {width} x {height}: expected the shape of {NETWORK_SIZE}")
    return replace(
        scene,
        images=_stack(
            [scaled(image, fitted) for image in scene.images],
            (NETWORK_SIZE[1], NETWORK_SIZE[0], 3), np.uint8,
        ),
        intrinsics=_stack(list(map(fitted.intrinsics, scene.intrinsics)), (3, 3), np.float64),
    )  # fmt: skip


def image_depth(
    points: NDArray[np.float32],
    intrinsics: NDArray[np.float64],
    base_from_camera: NDArray[np.float64],
    size: tuple[int, int],
) -> NDArray[np.float32]:
    """Lidar points as log-depth on the camera's feature map.

    Returns:
        (height / STRIDE, width / STRIDE) float32, log metres of the nearest point; 0 where none.
    """
    width, height = size[0] // STRIDE, size[1] // STRIDE
    camera = apply(inverse(base_from_camera), points[:, :3])
    camera = camera[camera[:, 2] > 1.05]  # log-depth 0 means "none"
    pixels, depth = project(camera, intrinsics)
    column = np.floor((pixels + 0.5) / STRIDE).astype(np.int64)
    inside = ((column >= 0) & (column < [width, height])).all(axis=1)
    column, depth = column[inside], depth[inside]
    order = np.argsort(-depth)  # the nearest is written last
    result = np.zeros((height, width), np.float32)
    result[column[order, 1], column[order, 0]] = np.log(depth[order])
    return result


def known_depth(
    scene: Scene,
    under: NDArray[np.int16],
    intrinsics: NDArray[np.float64],
    base_from_camera: NDArray[np.float64],
) -> NDArray[np.float32]:
    """(h, w) log-depth that is known of an image, 0 where none: of its objects, else by lidar.

    What the lidar sees past the edge of an object, the camera may not.
    """
    camera = intrinsics, base_from_camera
    size = (scene.images.shape[2], scene.images.shape[1])
    of_objects = object_depth(scene.boxes, under, *camera)
    return np.where(of_objects > 0, of_objects, image_depth(scene.points, *camera, size))


def _stack(
    arrays: Sequence[NDArray[Any]], shape: tuple[int, ...], kind: type[np.generic] = np.float32
) -> NDArray[Any]:
    """The arrays of that shape and kind, along a new first axis; there may be none."""
    return np.stack(arrays) if arrays else np.zeros((0, *shape), kind)


def _joined(parts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """One after the other; there may be none."""
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def shown_classes(scene: Scene) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The class of the object that each cell of the image features shows.

    Returns:
        shown: (n, h, w), class index; the number of classes where there is no object.
        weight: (n, h, w), how much each cell counts: the root of an object's area, spread over
            it, or a truck beside the camera would outweigh all else. All that shows no object
            counts as much as all that does.
    """
    count = len(scene.boxes)
    shown = np.append(scene.class_index, len(CLASSES))[scene.under]  # the last for row -1
    weight = np.zeros(scene.under.shape, np.float32)
    for image, under in zip(weight, scene.under, strict=True):
        area = np.bincount(under[under >= 0], minlength=count)
        each = 1.0 / np.sqrt(np.maximum(area, 1.0))
        of_none = max(float(np.sqrt(area).sum()), 1.0) / max(int((under < 0).sum()), 1)
        image[:] = np.append(each, of_none)[under]
    return shown.astype(np.int64), weight


def without_images(scene: Scene) -> Scene:
    """The same, as if it had no cameras."""
    return replace(
        scene, images=scene.images[:0], intrinsics=scene.intrinsics[:0],
        base_from_camera=scene.base_from_camera[:0], seen=scene.seen[:, :0], under=scene.under[:0],
    )  # fmt: skip


def prepare(
    scene: Scene, needs: Needs, rng: np.random.Generator, struck: Struck | None = None
) -> Item:
    """Network inputs and targets of a scene.

    Args:
        scene: clean; the targets are those of this one.
        needs: what to prepare.
        rng: draws the proposals.
        struck: what the sensors give of it; None for the scene itself.
    """
    struck = struck or Struck.untouched(scene)
    by_camera = np.asarray(scene.seen.any(axis=1))
    regions = propose(struck.scene, rng) if needs.regions else Proposals.none()
    if not needs.images:
        scene = without_images(scene)
        struck = replace(
            struck, scene=without_images(struck.scene), trust_camera=struck.trust_camera[:0]
        )
    scene, given = as_network_takes(scene), as_network_takes(struck.scene)
    size = (scene.images.shape[2], scene.images.shape[1])
    shape = (size[1] // STRIDE, size[0] // STRIDE)
    region = (0.0, 0.0, float(size[0]), float(size[1]))
    placed = list(zip(scene.intrinsics, scene.base_from_camera, strict=True))
    told = list(zip(given.intrinsics, given.base_from_camera, strict=True))
    lifts = [lift_geometry(*camera, region, size) for camera in told if needs.grid]
    seen = [painted_points(given.points, *camera, region, size) for camera in told if needs.paint]
    area = shape[0] * shape[1]
    by_lidar = scene.lidar_points >= cache.LIDAR_MIN_POINTS
    asked = {"camera": by_camera, "lidar": by_lidar, "both": by_camera | by_lidar}
    # Nothing is drawn of what nobody is taught.
    pictured = placed if needs.taught else []
    shown, weight = shown_classes(scene if needs.taught else without_images(scene))
    return Item(
        images=given.images,
        rays=_stack([ray_planes(*camera, size) for camera in told], (RAY_CHANNELS, *shape)),
        pixel=_stack([lift.pixel for lift in lifts], LIFT_SHAPE, np.int64),
        log_depth=_stack([lift.log_depth for lift in lifts], LIFT_SHAPE),
        valid=_stack([lift.valid for lift in lifts], LIFT_SHAPE),
        trust_camera=struck.trust_camera,
        trust_lidar=np.float32(struck.trust_lidar),
        image_depth=_stack(
            [
                known_depth(scene, under, *camera)
                for under, camera in zip(scene.under, pictured, strict=False)
            ],
            shape,
        ),
        image_heat=_stack(
            [
                draw_image(scene.boxes, scene.class_index, seen, *camera, shape, STRIDE)
                for seen, camera in zip(scene.seen.T, pictured, strict=False)
            ],
            (len(CLASSES), *shape),
        ),
        image_shown=shown,
        image_weight=weight,
        raster=rasterize(given.points) if needs.raster else np.zeros((0, 0, 0), np.float32),
        paint_pixel=_joined([index * area + pixel for index, (pixel, _) in enumerate(seen)]),
        paint_cell=_joined([cell for _, cell in seen]),
        regions=regions,
        targets={name: draw(scene.boxes, scene.class_index, asked[name]) for name in needs.subsets},
    )


class SceneDataset(Dataset[Item]):
    """Cached scenes by index; each epoch augments them anew, reproducibly."""

    def __init__(
        self, folder: Path, seeds: Sequence[int], options: Augmentation, seed: int = 0,
        needs: Needs = EVERYTHING, faults: Faults | None = None,
        proposed: Sequence[NDArray[np.float32]] | None = None,
    ) -> None:  # fmt: skip
        """Over the scenes of `seeds`; `proposed` holds for each what a detector gave."""
        self.paths = [cache.path_of(folder, s) for s in seeds]
        self.options = options
        self.seed = seed
        self.needs = needs
        self.faults = faults
        self.proposed = proposed

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, chosen: int | tuple[int, int]) -> Item:
        """A sample by its key, or by its key and how many came before it."""
        key, place = chosen if isinstance(chosen, tuple) else (chosen, chosen)
        # The sampler counts on past the length, so that every epoch draws other augmentations.
        rng = np.random.default_rng([self.seed, key])
        most = self.options.max_cameras if self.needs.images or self.needs.regions else 0
        index = key % len(self.paths)
        scene = cache.load(self.paths[index], lambda n: np.sort(rng.permutation(n)[:most]))
        if self.proposed is not None:
            scene = replace(scene, proposed=self.proposed[index])
        scene = augment(scene, self.options, rng)
        if self.faults is None:
            return prepare(scene, self.needs, rng)
        share = self.faults.share * min(1.0, place / max(self.faults.ramp, 1))
        looked_at = self.needs.images or self.needs.regions, self.needs.raster
        return prepare(scene, self.needs, rng, strike(scene, share, rng, looked_at))


@dataclass
class RegionBatch:
    """`Proposals` of all samples, as tensors: any number along the first axis."""

    crops: Tensor
    about: Tensor
    class_index: Tensor
    colour_index: Tensor
    depth: Tensor


@dataclass
class Batch:
    """What one training step reads."""

    cameras: CameraBatch
    image_depth: Tensor
    image_heat: Tensor
    image_shown: Tensor
    image_weight: Tensor
    trust_lidar: Tensor
    raster: Tensor
    paint: PaintBatch
    regions: RegionBatch
    targets: dict[str, TargetBatch]


def _paint_batch(items: Sequence[Item]) -> PaintBatch:
    """Pixels and cells counted through the batch."""
    pixels, cells, images = [], [], 0
    for index, item in enumerate(items):
        area = int(np.prod(item.rays.shape[2:]))
        pixels.append(images * area + item.paint_pixel)
        cells.append(index * RASTER * RASTER + item.paint_cell)
        images += len(item.images)
    return PaintBatch(*[torch.from_numpy(np.concatenate(each)) for each in (pixels, cells)])


def collate(items: Sequence[Item]) -> Batch:
    """Stacks samples; images of all samples lie in one list with their sample's index."""

    def stack(values: Sequence[NDArray[np.generic]]) -> Tensor:
        return torch.from_numpy(np.stack(values))

    def joined(name: str) -> Tensor:
        return torch.from_numpy(np.concatenate([getattr(item, name) for item in items]))

    images = joined("images").permute(0, 3, 1, 2)
    counts = torch.tensor([len(item.images) for item in items])
    cameras = CameraBatch(
        image=images,
        rays=joined("rays"),
        pixel=joined("pixel"),
        log_depth=joined("log_depth"),
        valid=joined("valid"),
        sample=torch.repeat_interleave(torch.arange(len(items)), counts),
        trust=joined("trust_camera"),
        batch=len(items),
    )
    targets = {
        name: TargetBatch(
            *[
                stack([getattr(item.targets[name], part) for item in items])
                for part in ("heat", "care", "weight", "box")
            ]
        )
        for name in items[0].targets
    }
    return Batch(
        cameras,
        joined("image_depth"),
        joined("image_heat"),
        joined("image_shown"),
        joined("image_weight"),
        torch.tensor([item.trust_lidar for item in items]),
        stack([item.raster for item in items]),
        _paint_batch(items),
        RegionBatch(
            *[
                torch.from_numpy(np.concatenate([getattr(item.regions, name) for item in items]))
                for name in Proposals.__dataclass_fields__
            ]
        ),
        targets,
    )
