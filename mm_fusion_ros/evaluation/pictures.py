"""The scenes that went worst, drawn: what was there, what was answered, and what became of it.

Of the clean exam the worst scenes; of the exam under faults one scene of each of the worst cells.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros.evaluation.archive import FaultedRecord
from mm_fusion_ros.evaluation.conditions import CLEAN_NAME, Condition, limited
from mm_fusion_ros.evaluation.matching import HIT, WRONG, Matches, match
from mm_fusion_ros.evaluation.protocol import Protocol
from mm_fusion_ros.evaluation.records import Findings, Truths
from mm_fusion_ros.evaluation.robustness import SPECIALISTS, Cell
from mm_fusion_ros.evaluation.scoring import BOTH, SceneRecord
from mm_fusion_ros.evaluation.sensing import SensedScene
from mm_fusion_ros.geometry import apply, box_corners, inverse
from mm_fusion_ros.outputs import CLASSES, COLOURS
from mm_fusion_ros.samples import CameraFrame, LidarScan
from mm_fusion_ros.view import bev, canvas, overlay

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]
# Green and vermilion that colour-blind readers can tell apart, after Okabe and Ito.
HIT_COLOUR: Colour = (0, 200, 140)
WRONG_COLOUR: Colour = (255, 110, 40)
MISSED_COLOUR: Colour = (255, 225, 60)
LEFT_OUT_COLOUR: Colour = (140, 145, 160)
# Only answers that anyone would act on are drawn and judged.
LIKELY = 0.3
EXTENT_M, BIRD_EYE_PX, CAMERA_PX = 41.0, 480, 480


@dataclass(frozen=True)
class Example:
    """One scene as a picture.

    Attributes:
        seed: of the scene.
        caption: what went right and wrong.
        jpeg: the picture, base64.
    """

    seed: int
    caption: str
    jpeg: str


def worst(records: Sequence[SceneRecord], protocol: Protocol, count: int) -> list[SceneRecord]:
    """The records with the lowest F1 in the primary figure's terms, worst first.

    Scenes that ask for fewer than three objects are passed over: one miss would make them worst.
    """
    rated = [(f1(record, protocol), record.seed, record) for record in records]
    rated = [item for item in rated if np.isfinite(item[0])]
    return [record for _, _, record in sorted(rated, key=lambda item: item[:2])[:count]]


def f1(record: SceneRecord, protocol: Protocol, subset: str = BOTH) -> float:
    """Harmonic mean of precision and recall of likely answers; NaN where little is asked."""
    matches, found = judged(record, protocol, subset)
    likely = found.probability >= LIKELY
    asked = int(matches.asked.sum())
    if asked < 3:
        return float("nan")
    hits = int(((matches.outcome == HIT) & likely).sum())
    wrong = int(((matches.outcome == WRONG) & likely).sum())
    return 2.0 * hits / (asked + hits + wrong)


def judged(record: SceneRecord, protocol: Protocol, subset: str = BOTH) -> tuple[Matches, Findings]:
    """A subset's answer, matched at 1 m as the primary figure has it."""
    figure = protocol.figures["primary"]
    found = record.found[subset]
    matches = match(
        record.truths, found, radius_m=1.0, region=protocol.regions[figure.region],
        with_colour=figure.with_colour,
    )  # fmt: skip
    return matches, found


def examples(records: Sequence[SceneRecord], protocol: Protocol) -> list[Example]:
    """Draws scenes anew from their seeds."""
    from mm_fusion_ros.sim.drive import scene

    drawn = []
    for record in records:
        sample = scene(record.seed, image_size=protocol.image_size)
        drawn.append(example(record, protocol, sample.cameras, sample.lidar))
    return drawn


def worst_under_faults(
    cells: Sequence[Cell], records: Sequence[FaultedRecord], protocol: Protocol, count: int
) -> list[tuple[Condition, SceneRecord]]:
    """Of each of the first cells, the scene in which fusion falls farthest below the best sensor.

    Args:
        cells: of the exam under faults, the worst first.
        records: of its scenes.
        protocol: that it was taken by.
        count: how many cells.

    Returns:
        the condition, and the scene's answers under it.
    """
    radius_m = max(protocol.precision.radii_m)
    result = []
    for cell in cells[:count]:
        best, lost = cell.best("primary"), []
        for record in records:
            worse = {**record.found[CLEAN_NAME], **record.found[cell.condition.name]}
            truths, found = limited(record.truths, worse, cell.condition, radius_m)
            struck = SceneRecord(record.seed, truths, found, {})
            fallen = f1(struck, protocol, best) - f1(struck, protocol)
            if np.isfinite(fallen):
                lost.append((-fallen, record.seed, struck))
        if lost:
            result.append((cell.condition, min(lost, key=lambda item: item[:2])[2]))
    return result


def examples_under_faults(
    chosen: Sequence[tuple[Condition, SceneRecord]], protocol: Protocol
) -> list[Example]:
    """Draws scenes anew from their seeds, as the struck sensors show them."""
    drawn = []
    for condition, record in chosen:
        sensed = SensedScene(record.seed, protocol).under(condition)
        plain = example(record, protocol, sensed.frames, sensed.scan)
        alone = ", ".join(f"{name} alone {f1(record, protocol, name):.2f}" for name in SPECIALISTS)
        drawn.append(replace(plain, caption=f"{condition.name}, {plain.caption}; {alone}"))
    return drawn


def example(
    record: SceneRecord,
    protocol: Protocol,
    cameras: Sequence[CameraFrame | None],
    lidar: LidarScan | None,
) -> Example:
    """One scene: its cameras side by side, and the view from above."""
    matches, found = judged(record, protocol)
    likely = found.probability >= LIKELY
    hit_rows = np.flatnonzero((matches.outcome == HIT) & likely)
    missed = matches.asked.copy()
    missed[matches.truth[hit_rows]] = False
    boxes = shown_boxes(record.truths, missed, found, matches, likely)
    pictures = [camera_picture(camera, boxes) for camera in cameras if camera is not None]
    pictures.append(bird_eye_picture(lidar, boxes))
    height = max(picture.shape[0] for picture in pictures)
    padded = [
        cv2.copyMakeBorder(p, 0, height - p.shape[0], 0, 4, cv2.BORDER_CONSTANT, value=(16, 18, 24))
        for p in pictures
    ]
    wide = cv2.cvtColor(np.hstack(padded), cv2.COLOR_RGB2BGR)
    done, encoded = cv2.imencode(".jpg", wide, [cv2.IMWRITE_JPEG_QUALITY, 82])
    if not done:
        raise OSError(f"cannot encode the picture of scene {record.seed}")
    hits, wrong = len(hit_rows), int(((matches.outcome == WRONG) & likely).sum())
    caption = (
        f"scene {record.seed}: {hits} of {int(matches.asked.sum())} objects right, "
        f"{int(missed.sum())} missed, {wrong} wrong answers (F1 {f1(record, protocol):.2f})"
    )
    return Example(record.seed, caption, base64.b64encode(encoded.tobytes()).decode("ascii"))


@dataclass(frozen=True, eq=False)
class ShownBox:
    """A box to draw: its (8, 3) corners in base_link [m], colour and text."""

    corners: NDArray[np.float64]
    colour: Colour
    text: str


def shown_boxes(
    truths: Truths, missed: NDArray[np.bool_], found: Findings, matches: Matches,
    likely: NDArray[np.bool_],
) -> list[ShownBox]:  # fmt: skip
    """Missed objects, then answers."""
    boxes = [
        ShownBox(
            box_corners(truths.centre[row], truths.size[row], float(truths.yaw[row])),
            MISSED_COLOUR,
            f"missed {named(int(truths.kind[row]), int(truths.colour[row]))}",
        )
        for row in np.flatnonzero(missed)
    ]
    colours = {HIT: HIT_COLOUR, WRONG: WRONG_COLOUR}
    boxes += [
        ShownBox(
            box_corners(found.centre[row], found.size[row], float(found.yaw[row])),
            colours.get(int(matches.outcome[row]), LEFT_OUT_COLOUR),
            f"{named(int(found.kind[row]), int(found.colour[row]))} {matches.score[row]:.2f}",
        )
        for row in np.flatnonzero(likely)
    ]
    return boxes


def named(kind: int, colour: int) -> str:
    """Colour and class, as one says them."""
    return f"{COLOURS[colour] if colour >= 0 else 'unknown'} {CLASSES[kind]}"


def camera_picture(camera: CameraFrame, boxes: Sequence[ShownBox]) -> Picture:
    """A camera's image with the boxes over it, scaled to the report's width."""
    scale = CAMERA_PX / camera.image.shape[1]
    size = (CAMERA_PX, round(camera.image.shape[0] * scale))
    picture = np.asarray(cv2.resize(camera.image, size, interpolation=cv2.INTER_AREA), np.uint8)
    intrinsics = np.diag([scale, scale, 1.0]) @ camera.intrinsics
    camera_from_base = inverse(camera.base_from_camera)
    for box in boxes:
        edges = apply(camera_from_base, box.corners)[overlay.EDGES]
        ends = overlay.draw_segments(picture, edges, intrinsics, box.colour, 1)
        if len(ends):
            x, y = int(ends[:, :, 0].min()), int(ends[:, :, 1].min())
            canvas.write(picture, box.text, x, max(y - 12, 0), box.colour, 0.36)
    return picture


def bird_eye_picture(lidar: LidarScan | None, boxes: Sequence[ShownBox]) -> Picture:
    """Points and boxes from above; forward is up."""
    view = bev.GroundView(EXTENT_M, BIRD_EYE_PX)
    picture = np.full((BIRD_EYE_PX, BIRD_EYE_PX, 3), (16, 18, 24), dtype=np.uint8)
    bev.draw_rings(picture, view)
    if lidar is not None:
        points = lidar.points[np.isfinite(lidar.points).all(axis=1), :3]
        bev.draw_points(picture, view, apply(lidar.base_from_lidar, points))
    for box in boxes:
        bev.outline(picture, view, box.corners[:4, :2], box.colour, 1, closed=True)
    bev.draw_robot(picture, view)
    return picture
