"""Scenes on disk: generated once, read many times.

Rendering beside training would halve both, so each scene is kept as one small file: its images as
JPEG, its points in base_link as float16, its labels as arrays.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from mm_fusion_ros.allocation import keep_freed_memory
from mm_fusion_ros.geometry import apply
from mm_fusion_ros.outputs import CLASSES, COLOURS
from mm_fusion_ros.perception.grid import STRIDE
from mm_fusion_ros.samples import Float
from mm_fusion_ros.sensors.camera import NETWORK_SIZE

if TYPE_CHECKING:
    from mm_fusion_ros.sim.drive import SceneSample
    from mm_fusion_ros.sim.labels import Label

TRAIN_SEEDS = range(100_000)
VALIDATION_SEEDS = range(100_000, 101_000)
IMAGE_SIZE = (640, 480)
"""Width and height at which scenes are rendered: as cameras give them, and as the exam has them. As
at run time, the network's input is scaled down from that, and the second look is cut out of it."""
CELLS = (NETWORK_SIZE[0] // STRIDE, NETWORK_SIZE[1] // STRIDE)
"""Width and height of the image features."""
CAMERA_MIN_PIXELS = 100
CAMERA_MIN_VISIBLE = 0.2
LIDAR_MIN_POINTS = 5


@dataclass(frozen=True, eq=False)
class Scene:
    """One labelled instant, as the cache holds it.

    Attributes:
        images: (n, H, W, 3) uint8 RGB, one for each camera, of `IMAGE_SIZE` from the cache.
        intrinsics: (n, 3, 3) float64 [pixels].
        base_from_camera: (n, 4, 4) float64.
        base_from_lidar: (4, 4) float64.
        points: (N, 4) float32, x y z [m] in base_link, intensity [0..1].
        class_index, colour_index: (k,) int64, into `CLASSES` and `COLOURS`.
        boxes: (k, 7) float32, centre x y z, length width height [m], yaw [rad], base_link.
        lidar_points: (k,) int64, returns from each object.
        seen: (k, n) bool, whether each camera sees enough of each object.
        under: (n, 72, 96) int16, row of the object that each cell of the image features shows in
            its middle; -1 where none.
        proposed: (m, 7) float32, boxes that a detector gave; not kept in the cache.
    """

    images: NDArray[np.uint8]
    intrinsics: Float
    base_from_camera: Float
    base_from_lidar: Float
    points: NDArray[np.float32]
    class_index: NDArray[np.int64]
    colour_index: NDArray[np.int64]
    boxes: NDArray[np.float32]
    lidar_points: NDArray[np.int64]
    seen: NDArray[np.bool_]
    under: NDArray[np.int16]
    proposed: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 7), np.float32))


def generate(seed: int) -> Scene:
    """The scene of that seed, fresh from the simulator."""
    from mm_fusion_ros.sim.drive import scene  # open3d stays out of a process that only reads

    return of_sample(scene(seed, image_size=IMAGE_SIZE))


def of_sample(sample: SceneSample) -> Scene:
    """What the cache keeps of a sample."""
    points = sample.lidar.points[np.isfinite(sample.lidar.points).all(axis=1)].copy()
    points[:, :3] = apply(sample.lidar.base_from_lidar, points[:, :3])
    labels = sample.labels
    boxes = [[*label.centre, *label.size, label.yaw] for label in labels]
    seen = [
        [
            label.camera_pixels.get(camera.source, 0) >= CAMERA_MIN_PIXELS
            and label.visible_fraction.get(camera.source, 0.0) >= CAMERA_MIN_VISIBLE
            for camera in sample.cameras
        ]
        for label in labels
    ]
    return Scene(
        images=np.stack([camera.image for camera in sample.cameras]),
        intrinsics=np.stack([camera.intrinsics for camera in sample.cameras]),
        base_from_camera=np.stack([camera.base_from_camera for camera in sample.cameras]),
        base_from_lidar=sample.lidar.base_from_lidar,
        points=points,
        class_index=np.array([CLASSES.index(label.class_name) for label in labels], np.int64),
        colour_index=np.array([COLOURS.index(label.colour) for label in labels], np.int64),
        boxes=np.array(boxes, np.float32).reshape(-1, 7),
        lidar_points=np.array([label.lidar_points for label in labels], np.int64),
        seen=np.array(seen, bool).reshape(len(labels), len(sample.cameras)),
        under=np.stack([rows_of(ids, labels) for ids in sample.object_ids]),
    )


def rows_of(object_ids: NDArray[np.int32], labels: Sequence[Label]) -> NDArray[np.int16]:
    """The object under each cell of the image features, as a row of the labels."""
    row_of = np.full(max([0, *(label.object_id for label in labels)]) + 1, -1, np.int16)
    for row, label in enumerate(labels):
        row_of[label.object_id] = row
    middle = object_ids[np.ix_(*map(_middles, object_ids.shape, reversed(CELLS)))]
    return np.where(middle > 0, row_of[np.maximum(middle, 0)], np.int16(-1))


def _middles(edge: int, cells: int) -> NDArray[np.int64]:
    """The pixels along an edge that the middles of the cells fall on."""
    network = np.arange(cells) * STRIDE + STRIDE // 2
    return np.rint((network + 0.5) * edge / (cells * STRIDE) - 0.5).astype(np.int64)


def path_of(folder: Path, seed: int) -> Path:
    """Where the scene of that seed is kept."""
    return folder / f"{seed // 1000:03d}" / f"{seed:06d}.npz"


def save(scene: Scene, path: Path) -> None:
    """Writes a scene; a file is either whole or absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    images = {}
    for index, image in enumerate(scene.images):
        done, encoded = cv2.imencode(
            ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 92]
        )
        if not done:
            raise OSError(f"cannot encode an image for {path}")
        images[f"image_{index}"] = encoded
    arrays: dict[str, Any] = images
    partial = path.with_suffix(".partial")
    with open(partial, "wb") as stream:
        np.savez(
            stream,
            intrinsics=scene.intrinsics,
            base_from_camera=scene.base_from_camera,
            base_from_lidar=scene.base_from_lidar,
            points=scene.points.astype(np.float16),
            class_index=scene.class_index,
            colour_index=scene.colour_index,
            boxes=scene.boxes,
            lidar_points=scene.lidar_points,
            seen=scene.seen,
            under=scene.under,
            image_size=scene.images.shape[2:0:-1],
            **arrays,
        )
    partial.replace(path)


def decoded(data: NDArray[np.uint8], path: Path) -> NDArray[np.uint8]:
    """One JPEG as (H, W, 3) RGB.

    Raises:
        ValueError: it is damaged.
    """
    image = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise ValueError(f"{path}: an image is damaged; delete the file to have it made anew")
    return np.asarray(image, dtype=np.uint8)


def load(path: Path, choose: Callable[[int], NDArray[np.intp]] = np.arange) -> Scene:
    """Reads what `save` wrote.

    Args:
        path: of the file.
        choose: gives the indices of the cameras that are wanted, of so many; the others' images,
            which take longest, are not decoded.
    """
    with np.load(path, allow_pickle=False) as data:
        intrinsics = data["intrinsics"]
        keep = choose(len(intrinsics))
        images = [decoded(data[f"image_{i}"], path) for i in keep]
        width, height = IMAGE_SIZE
        return Scene(
            images=np.stack(images) if images else np.zeros((0, height, width, 3), np.uint8),
            intrinsics=intrinsics[keep],
            base_from_camera=data["base_from_camera"][keep],
            base_from_lidar=data["base_from_lidar"],
            points=data["points"].astype(np.float32),
            class_index=data["class_index"],
            colour_index=data["colour_index"],
            boxes=data["boxes"],
            lidar_points=data["lidar_points"],
            seen=data["seen"][:, keep],
            under=data["under"][keep],
        )


def is_whole(path: Path) -> bool:
    """Whether the file is there and holds all that is kept of a scene today."""
    if not path.exists():
        return False
    with np.load(path, allow_pickle=False) as data:
        return "image_size" in data.files


def _make(job: tuple[Path, int]) -> None:
    folder, seed = job
    save(generate(seed), path_of(folder, seed))


def first_free(folder: Path) -> int:
    """One above the highest training seed of which a folder holds a scene; 0 without any."""
    seeds = [int(path.stem) for path in folder.glob("*/*.npz") if path.stem.isdigit()]
    return max((seed for seed in seeds if seed in TRAIN_SEEDS), default=-1) + 1


def fill(folder: Path, seeds: Iterable[int], processes: int) -> int:
    """Generates the scenes that are not there yet; returns how many it made.

    Raises:
        ValueError: a seed outside the training and validation ranges. Test seeds never come here.
    """
    wanted = list(seeds)
    for seed in wanted:
        if seed not in TRAIN_SEEDS and seed not in VALIDATION_SEEDS:
            raise ValueError(f"seed {seed} is neither a training nor a validation seed")
    jobs = [(folder, seed) for seed in wanted if not is_whole(path_of(folder, seed))]
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes, initializer=keep_freed_memory) as pool:
        work = pool.imap_unordered(_make, jobs, chunksize=8)
        for _ in track(work, description="scenes", total=len(jobs)):
            pass
    return len(jobs)
