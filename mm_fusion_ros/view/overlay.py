"""The camera's picture with what is believed about it drawn over it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from mm_fusion_ros import geometry
from mm_fusion_ros.outputs import (
    UNKNOWN_COLOUR,
    ActionTarget,
    FusedObject,
    PoseEstimate,
    Reliability,
)
from mm_fusion_ros.samples import Float
from mm_fusion_ros.view import canvas, palette
from mm_fusion_ros.view.canvas import Box, Picture

NEAR_M = 0.1
# Keeps the ends within what cv2 takes as integers; 1e8 pixels bend no visible line.
FARTHEST_PIXEL = 1e8

EDGES = np.array(
    [[0, 1], [1, 2], [2, 3], [3, 0], [4, 5], [5, 6], [6, 7], [7, 4], [0, 4], [1, 5], [2, 6], [3, 7]]
)
# Corners 0 and 3 have the largest x in the box's own axes: they and those above are its front.
FRONT = np.array([[0, 7], [3, 4]])


def overlay(
    image: Picture,
    intrinsics: Float,
    base_from_camera: Float,
    objects: Sequence[FusedObject],
    target: ActionTarget,
    reliability: Mapping[str, Reliability],
    pose: PoseEstimate | None = None,
    text_growth: float = 1.0,
) -> Picture:
    """Boxes in 3D, labels, trust bars, the target and the GO or HOLD line.

    Objects are drawn where they are at the tick; the picture may be some milliseconds older.

    Args:
        image: (H, W, 3) uint8, RGB, rectified; not written to.
        intrinsics: (3, 3) K [pixels].
        base_from_camera: (4, 4), optical frame to base_link.
        objects: in base_link, most probable first.
        target: in `map`.
        reliability: by source name.
        pose: needed to draw the target, which is in `map`; without it only its line is shown.
        text_growth: makes text larger, for a picture that will be shown smaller.

    Returns:
        (H, W, 3) uint8, RGB.
    """
    picture = np.ascontiguousarray(image).copy()
    scale = canvas.text_scale(picture.shape[0]) * text_growth
    camera_from_base = geometry.inverse(base_from_camera)
    anchors = [
        draw_box(picture, item, intrinsics, camera_from_base, item.track_id == locked(target))
        for item in reversed(objects)
    ][::-1]
    panel = canvas.trust_panel(picture, reliability, scale)
    draw_labels(picture, objects, anchors, panel, scale)
    if target.go and target.map_from_target is not None and pose is not None:
        base_from_target = geometry.inverse(pose.map_from_base) @ target.map_from_target
        draw_target(picture, camera_from_base @ base_from_target, intrinsics, scale)
    canvas.target_banner(picture, target, max(scale, 0.45))
    return picture


def locked(target: ActionTarget) -> int:
    """The track the target is locked on, or a number that no track has."""
    return target.track_id if target.go and target.track_id >= 0 else -2


def draw_box(
    picture: Picture, item: FusedObject, intrinsics: Float, camera_from_base: Float, chosen: bool
) -> tuple[int, int] | None:
    """Draws one box, cut at the near plane.

    Returns:
        Where its label belongs (x, y of the uppermost visible pixel), or None when no part of
        the box is in the picture.
    """
    if not np.isfinite([*item.centre, *item.size, item.yaw]).all():
        return None
    corners = geometry.box_corners(item.centre, item.size, item.yaw)
    in_camera = geometry.apply(camera_from_base, corners)
    colour = palette.class_colour(item.class_name)
    visible = draw_segments(picture, in_camera[EDGES], intrinsics, colour, 3 if chosen else 2)
    draw_segments(picture, in_camera[FRONT], intrinsics, colour, 1)
    if len(visible) == 0:
        return None
    left, right = visible[:, :, 0].min(), visible[:, :, 0].max()
    return int((left + right) / 2), int(visible[:, :, 1].min())


def clip_to_near(segments: Float, near_m: float = NEAR_M) -> Float:
    """Cuts line segments at the plane z = near and drops those wholly before it.

    Args:
        segments: (N, 2, 3), camera optical frame [m].
        near_m: metres.

    Returns:
        (M, 2, 3) with M <= N, every z >= near.
    """
    depth = segments[:, :, 2]
    keep = (depth >= near_m).any(axis=1)
    segments, depth = segments[keep], depth[keep]
    span = depth[:, 1] - depth[:, 0]
    fraction = (near_m - depth[:, 0]) / np.where(span == 0.0, 1.0, span)
    crossing = segments[:, 0] + fraction[:, None] * (segments[:, 1] - segments[:, 0])
    crossing[:, 2] = near_m
    return np.where((depth < near_m)[:, :, None], crossing[:, None, :], segments)


def draw_segments(
    picture: Picture, segments: Float, intrinsics: Float, colour: palette.Colour, thickness: int
) -> Float:
    """Draws line segments of the camera frame.

    Args:
        picture: (H, W, 3) uint8, RGB, drawn on.
        segments: (N, 2, 3), camera optical frame [m].
        intrinsics: (3, 3) K [pixels].
        colour: RGB.
        thickness: pixels.

    Returns:
        (M, 2, 2) the ends [pixels] of those that are in the picture, cut at its border.
    """
    clipped = clip_to_near(np.asarray(segments, dtype=np.float64))
    pixels, _ = geometry.project(clipped.reshape(-1, 3), intrinsics)
    ends = np.clip(pixels, -FARTHEST_PIXEL, FARTHEST_PIXEL).reshape(-1, 2, 2)
    height, width = picture.shape[:2]
    inside: list[tuple[tuple[int, int], tuple[int, int]]] = []
    for start, end in ends.round().astype(int).tolist():
        seen, first, second = cv2.clipLine((0, 0, width, height), start, end)
        if seen:
            cv2.line(picture, first, second, colour, thickness, cv2.LINE_AA)
            inside.append(((first[0], first[1]), (second[0], second[1])))
    return np.array(inside, dtype=np.float64).reshape(-1, 2, 2)


def draw_labels(
    picture: Picture,
    objects: Sequence[FusedObject],
    anchors: Sequence[tuple[int, int] | None],
    panel: Box,
    scale: float,
) -> None:
    """Labels above their boxes, the most probable first; one that finds no free place is left."""
    taken = [panel]
    height, width = picture.shape[:2]
    for item, anchor in zip(objects, anchors, strict=True):
        if anchor is None:
            continue
        text = label_of(item)
        chip = palette.ATTRIBUTE_COLOURS.get(item.colour)
        _, _, wide, tall = canvas.label_box(text, 0, 0, scale, chip is not None)
        x = int(np.clip(anchor[0] - wide // 2, 0, max(width - wide, 0)))
        for step in range(7):
            y = int(np.clip(anchor[1] - tall - 3 - step * (tall + 1), 0, height - tall))
            if not any(canvas.overlaps((x, y, x + wide, y + tall), other) for other in taken):
                colour = palette.class_colour(item.class_name)
                taken.append(canvas.label(picture, text, x, y, colour, scale, chip))
                break


def label_of(item: FusedObject) -> str:
    """Class and its probability, colour and its probability, track id."""
    colour = ""
    if item.colour != UNKNOWN_COLOUR:
        colour = f" {item.colour} {item.colour_probability:.2f}"
    track = f" #{item.track_id}" if item.track_id >= 0 else ""
    return f"{item.class_name} {item.class_probability:.2f}{colour}{track}"


def draw_target(
    picture: Picture, camera_from_target: Float, intrinsics: Float, scale: float
) -> None:
    """A ring on the ground with its heading, at the pose to reach."""
    angles = np.linspace(0.0, 2.0 * np.pi, 33)
    ring = np.column_stack([0.45 * np.cos(angles), 0.45 * np.sin(angles), np.zeros(33)])
    heading = np.array([[0.0, 0.0, 0.0], [0.9, 0.0, 0.0]])
    mast = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.8]])
    paths = [np.stack([ring[:-1], ring[1:]], axis=1), heading[None], mast[None]]
    ends = geometry.apply(camera_from_target, np.concatenate(paths).reshape(-1, 3))
    segments = np.asarray(ends, dtype=np.float64).reshape(-1, 2, 3)
    visible = draw_segments(picture, segments, intrinsics, palette.GO, 2)
    if len(visible):
        x, y = int(visible[:, :, 0].mean()), int(visible[:, :, 1].min())
        canvas.label(picture, "target", x + 6, max(y - 8, 0), palette.GO, scale)
