"""One's own recordings as training scenes: a rosbag2, and a file that says what was where.

The labels are JSON Lines, an instant to a line, in the form in which `mm-fusion replay` writes its
answers, so that those can be corrected by hand and `mm-fusion sim --labels` shows an example:

    {"stamp_ns": 17..., "objects": [{"class": "car", "colour": "red",
     "centre": [x, y, z], "size": [length, width, height], "yaw": 0.1}, ...]}

(wrapped here). Boxes are in base_link at that stamp [m, rad]. A colour may be "unknown" or left
out; other fields are not read. Every object of the known classes within the grid must be labelled:
what is not, is taught to be nothing.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros.config import ConfigError, FusionConfig
from mm_fusion_ros.geometry import apply, inverse, planar
from mm_fusion_ros.outputs import CLASSES, COLOURS, UNKNOWN_COLOUR
from mm_fusion_ros.perception.grid import STRIDE
from mm_fusion_ros.replay.bag import BagSource
from mm_fusion_ros.samples import CameraFrame, Float, LidarScan, OdometrySample
from mm_fusion_ros.sensors.camera import NETWORK_SIZE, CameraIntake, PreparedImage
from mm_fusion_ros.sensors.lidar import LidarIntake, PreparedScan
from mm_fusion_ros.sensors.rectification import fit, scaled
from mm_fusion_ros.sensors.rejection import Rejected
from mm_fusion_ros.training.cache import (
    CAMERA_MIN_PIXELS,
    CAMERA_MIN_VISIBLE,
    IMAGE_SIZE,
    Scene,
)
from mm_fusion_ros.training.dataset import image_depth
from mm_fusion_ros.training.targets import object_depth

TOLERANCE_NS = 50_000_000
"""Samples farther than this from a label's stamp show another instant."""
PATIENCE_NS = 500_000_000
"""So late after its stamp a sample may still come."""
NEARER = 0.15
"""What the lidar sees nearer than a box by this much of a natural logarithm hides it."""
MARGIN_M = 0.05
"""Points this far outside a box still belong to it."""
REFERENCE_PIXELS = 640 * 480
NOTHING_KNOWN = -1
"""Row of a colour that nobody told."""


class LabelError(ConfigError):
    """A label file that cannot be used: names the line and what is wrong with it."""


@dataclass(frozen=True, eq=False)
class Labelled:
    """One instant.

    Attributes:
        stamp_ns: of the labels.
        class_index: (k,) int64, into `CLASSES`.
        colour_index: (k,) int64, into `COLOURS`; -1 where unknown.
        boxes: (k, 7) float32, as in `Scene`.
    """

    stamp_ns: int
    class_index: NDArray[np.int64]
    colour_index: NDArray[np.int64]
    boxes: NDArray[np.float32]


@dataclass
class Tally:
    """What became of the labels: how many gave a scene, and why others gave none.

    Attributes:
        made: scenes.
        skipped: why a label gave none, to how many.
        refused: source and reason to how many of its messages could not be used.
    """

    made: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)


def read_labels(path: Path) -> list[Labelled]:
    """The instants of a label file, by their stamps.

    Raises:
        LabelError: it cannot be read, is empty, or a line is not as described above.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LabelError(f"{path} cannot be read: {error}") from error
    instants = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            instant = _parse(json.loads(line))
        except (ValueError, KeyError, TypeError) as error:
            what = f"field {error} is missing" if isinstance(error, KeyError) else str(error)
            raise LabelError(f"{path}, line {number}: {what}") from error
        if instant.stamp_ns in instants:
            raise LabelError(f"{path}, line {number}: stamp_ns {instant.stamp_ns} was there before")
        instants[instant.stamp_ns] = instant
    if not instants:
        raise LabelError(f"{path} holds no labels")
    return [instants[stamp] for stamp in sorted(instants)]


def _parse(content: Any) -> Labelled:
    if not isinstance(content, Mapping):
        raise ValueError("expected an object")
    stamp = content["stamp_ns"]
    if not isinstance(stamp, int) or stamp <= 0:
        raise ValueError(f"stamp_ns {stamp!r}: expected nanoseconds as a positive integer")
    kinds, colours, boxes = [], [], []
    for item in content["objects"]:
        kind, colour = item["class"], item.get("colour", UNKNOWN_COLOUR)
        if kind not in CLASSES:
            raise ValueError(f"class {kind!r} is not one of {', '.join(CLASSES)}")
        if colour not in (*COLOURS, UNKNOWN_COLOUR):
            raise ValueError(f"colour {colour!r} is not one of {', '.join(COLOURS)}")
        box = [*_numbers(item["centre"], 3), *_numbers(item["size"], 3), float(item["yaw"])]
        if not all(map(math.isfinite, box)) or min(box[3:6]) <= 0.0:
            raise ValueError(f"box {box}: expected finite numbers, and sizes above 0")
        kinds.append(CLASSES.index(kind))
        colours.append(COLOURS.index(colour) if colour in COLOURS else NOTHING_KNOWN)
        boxes.append(box)
    return Labelled(
        stamp,
        np.array(kinds, np.int64),
        np.array(colours, np.int64),
        np.array(boxes, np.float32).reshape(-1, 7),
    )


def _numbers(value: Any, count: int) -> list[float]:
    if not isinstance(value, Sequence) or len(value) != count:
        raise ValueError(f"{value!r}: expected {count} numbers")
    return [float(each) for each in value]


def scenes(
    bag: BagSource, labels: Sequence[Labelled], config: FusionConfig, tally: Tally
) -> Iterator[Scene]:
    """A scene for each labelled instant that the bag shows.

    Args:
        bag: open.
        labels: by their stamps.
        config: limits of the sensors.
        tally: counts what became of them.
    """
    waiting = [_Waiting(instant) for instant in labels]
    twist: Float | None = None
    lidar = LidarIntake(config.lidar)
    camera = CameraIntake(config.camera)
    for event in bag.events(config):
        sample = event.sample
        if sample is None:
            tally.refused[f"{event.source}, {event.reason}"] += 1
            continue
        if isinstance(sample, OdometrySample):
            twist = sample.twist
        if not isinstance(sample, CameraFrame | LidarScan):
            continue
        while waiting and waiting[0].labels.stamp_ns < sample.stamp_ns - PATIENCE_NS:
            yield from _made(waiting.pop(0), lidar, camera, tally)
        for each in waiting:
            if each.labels.stamp_ns > sample.stamp_ns + TOLERANCE_NS:
                break
            each.offer(sample, twist)
    for each in waiting:
        yield from _made(each, lidar, camera, tally)


class _Waiting:
    """The samples nearest to one instant, as far as they have come."""

    def __init__(self, labels: Labelled) -> None:
        self.labels = labels
        self.nearest: dict[str, int] = {}
        self.frames: dict[str, CameraFrame] = {}
        self.scan: tuple[LidarScan, Float | None] | None = None

    def offer(self, sample: CameraFrame | LidarScan, twist: Float | None) -> None:
        """Keeps what is nearer than what there is; with several lidars, the last one's."""
        away = abs(sample.stamp_ns - self.labels.stamp_ns)
        if away >= self.nearest.get(sample.source, TOLERANCE_NS + 1):
            return
        self.nearest[sample.source] = away
        if isinstance(sample, CameraFrame):
            self.frames[sample.source] = sample
        else:
            self.scan = sample, twist


def _made(
    waiting: _Waiting, lidar: LidarIntake, camera: CameraIntake, tally: Tally
) -> Iterator[Scene]:
    if waiting.scan is None:
        tally.skipped[f"no sweep within {TOLERANCE_NS // 1_000_000} ms of its stamp"] += 1
        return
    if not waiting.frames:
        tally.skipped[f"no image within {TOLERANCE_NS // 1_000_000} ms of its stamp"] += 1
        return
    scan, twist = waiting.scan
    try:
        prepared, _ = lidar.accept(scan, twist)
        images = [
            camera.accept(filling(waiting.frames[name]))[0] for name in sorted(waiting.frames)
        ]
    except Rejected as rejection:
        tally.skipped[rejection.reason] += 1
        return
    tally.made += 1
    yield scene_of(images, prepared, scan.base_from_lidar, waiting.labels)


def filling(frame: CameraFrame) -> CameraFrame:
    """The middle of a frame, of the shape of the network's images: a scene knows no borders."""
    height, width = frame.image.shape[:2]
    wide, high = NETWORK_SIZE
    kept_width, kept_height = min(width, height * wide // high), min(height, width * high // wide)
    x, y = (width - kept_width) // 2, (height - kept_height) // 2
    intrinsics = frame.intrinsics.copy()
    intrinsics[:2, 2] -= x, y
    image = frame.image[y : y + kept_height, x : x + kept_width]
    return replace(frame, image=np.ascontiguousarray(image), intrinsics=intrinsics)


def scene_of(
    images: Sequence[PreparedImage], scan: PreparedScan, base_from_lidar: Float, labels: Labelled
) -> Scene:
    """A training scene; what each sensor sees of the objects follows from their boxes."""
    shown = [_shown(labels.boxes, scan.points, image) for image in images]
    pictures = [_of_cache_size(image) for image in images]
    return Scene(
        images=np.stack([image for image, _ in pictures]),
        intrinsics=np.stack([intrinsics for _, intrinsics in pictures]),
        base_from_camera=np.stack([image.base_from_camera for image in images]),
        base_from_lidar=base_from_lidar,
        points=scan.points,
        class_index=labels.class_index,
        colour_index=labels.colour_index,
        boxes=labels.boxes,
        lidar_points=np.array([_inside(scan.points, box) for box in labels.boxes], np.int64),
        seen=np.stack([seen for _, seen in shown], axis=1),
        under=np.stack([under for under, _ in shown]),
    )


def _of_cache_size(image: PreparedImage) -> tuple[NDArray[np.uint8], Float]:
    """The picture at `IMAGE_SIZE`, whose shape it has, and its intrinsics."""
    picture, intrinsics, _ = image.sharpest()
    fitted = fit((picture.shape[1], picture.shape[0]), IMAGE_SIZE)
    resized = np.asarray(cv2.resize(scaled(picture, fitted), IMAGE_SIZE), np.uint8)
    return resized, fitted.intrinsics(intrinsics)


def _inside(points: NDArray[np.float32], box: NDArray[np.float32]) -> int:
    """How many points lie in a box."""
    box_from_base = inverse(planar(float(box[0]), float(box[1]), float(box[6])))
    own = np.abs(apply(box_from_base, points[:, :3]) - [0.0, 0.0, box[2]])
    return int((own <= box[3:6] / 2.0 + MARGIN_M).all(axis=1).sum())


def _shown(
    boxes: NDArray[np.float32], points: NDArray[np.float32], image: PreparedImage
) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
    """What one image shows: `under` (h, w), and which objects it sees enough of (k,)."""
    height, width = (edge // STRIDE for edge in image.image.shape[:2])
    placed = image.intrinsics, image.base_from_camera
    measured = image_depth(points, *placed, (width * STRIDE, height * STRIDE))
    nearest = np.where(measured > 0.0, measured + NEARER, np.inf)
    under = np.full((height, width), -1, np.int16)
    whole = np.zeros(len(boxes))
    for row in range(len(boxes)):
        depth = object_depth(boxes, np.full((height, width), row, np.int16), *placed)
        met = depth > 0.0
        whole[row] = met.sum()
        # Nearer than the boxes before it, and than what the lidar sees there.
        before = met & (depth < nearest)
        under[before] = row
        nearest[before] = depth[before]
    left = np.bincount(under[under >= 0], minlength=len(boxes)).astype(float)
    pixels = left * REFERENCE_PIXELS / (height * width)
    return under, (pixels >= CAMERA_MIN_PIXELS) & (left >= CAMERA_MIN_VISIBLE * whole) & (left > 0)
