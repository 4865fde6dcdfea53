"""The scene from above: forward is up, left is left."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros import geometry
from mm_fusion_ros.outputs import ActionTarget, FusedObject, ObstacleGrid, PoseEstimate
from mm_fusion_ros.samples import Float
from mm_fusion_ros.view import canvas, palette
from mm_fusion_ros.view.canvas import Picture

# 90 % of a two-dimensional normal lies within this squared Mahalanobis distance (chi-square).
CHI2_90 = 4.605
LOWEST_M, GROUND_M, HIGHEST_M = -0.3, 0.25, 3.0
# A shift of 4 bits gives cv2 sixteenths of a pixel, so that small motion is seen as smooth.
SUBPIXEL_BITS = 4


def bird_eye(
    points: NDArray[np.floating] | None,
    objects: Sequence[FusedObject],
    pose: PoseEstimate | None,
    target: ActionTarget,
    obstacles: ObstacleGrid | None,
    extent_m: float = 40.0,
    size_px: int = 640,
    fixes: Float | None = None,
    trail: Float | None = None,
) -> Picture:
    """Lidar points by height, boxes with heading, covariance and velocity, robot and target.

    Args:
        points: (N, 3) or (N, 4), x y z [m] (intensity unused) in base_link, or None.
        objects: in base_link.
        pose: places what is in `map`; without it neither target, fixes nor trail are drawn.
        target: in `map`.
        obstacles: in base_link, or None.
        extent_m: from the robot to the picture's edge [m].
        size_px: edge of the picture [pixels].
        fixes: (M, 2) east north [m] in `map`.
        trail: (K, 2) east north [m] in `map`, where the robot has been.

    Returns:
        (size_px, size_px, 3) uint8, RGB.
    """
    view = GroundView(extent_m, size_px)
    picture = np.full((size_px, size_px, 3), (16, 18, 24), dtype=np.uint8)
    if obstacles is not None:
        draw_obstacles(picture, view, obstacles)
    draw_rings(picture, view)
    if points is not None:
        draw_points(picture, view, np.asarray(points))
    base_from_map = None if pose is None else geometry.inverse(pose.map_from_base)
    if pose is not None and base_from_map is not None:
        if trail is not None and len(trail) > 1:
            draw_trail(picture, view, on_ground(base_from_map, trail, pose))
        if fixes is not None and len(fixes):
            draw_fixes(picture, view, on_ground(base_from_map, fixes, pose))
    for item in reversed(objects):
        draw_object(picture, view, item, target.go and item.track_id == target.track_id)
    draw_robot(picture, view)
    if base_from_map is not None and target.go and target.map_from_target is not None:
        draw_target(picture, view, base_from_map @ target.map_from_target)
    return picture


class GroundView:
    """Metres in base_link to pixels: x is up, y is left, the robot is in the middle."""

    def __init__(self, extent_m: float, size_px: int) -> None:
        self.extent_m = extent_m
        self.size_px = size_px
        self.scale = size_px / (2.0 * extent_m)

    def pixels(self, places: NDArray[np.floating]) -> Float:
        """(N, 2) column and row of (N, 2) x y [m]."""
        u = (self.extent_m - places[:, 1]) * self.scale
        v = (self.extent_m - places[:, 0]) * self.scale
        return np.stack([u, v], axis=1).astype(np.float64)

    def path(self, places: NDArray[np.floating]) -> NDArray[np.int32]:
        """(N, 2) as cv2's drawing takes it with `SUBPIXEL_BITS`."""
        far = 16.0 * self.size_px
        pixels = np.clip(self.pixels(places), -far, far)
        return np.asarray((pixels * (1 << SUBPIXEL_BITS)).round(), dtype=np.int32)


def on_ground(base_from_map: Float, places: Float, pose: PoseEstimate) -> Float:
    """(N, 2) of `map` in base_link, taken at the robot's own height."""
    height = np.full(len(places), pose.map_from_base[2, 3])
    in_base = geometry.apply(base_from_map, np.column_stack([places, height]))
    return np.asarray(in_base[:, :2], dtype=np.float64)


def height_colours() -> NDArray[np.uint8]:
    """(256, 3) RGB, low to high: what lies on the ground is slate, what stands on it is bright."""
    ramp = np.linspace(70, 255, 256).astype(np.uint8)[:, None]
    colours = np.ascontiguousarray(cv2.applyColorMap(ramp, cv2.COLORMAP_VIRIDIS)[:, 0, ::-1])
    ground = round((GROUND_M - LOWEST_M) / (HIGHEST_M - LOWEST_M) * 255.0)
    colours[:ground] = (70, 80, 104)
    return np.asarray(colours, dtype=np.uint8)


HEIGHT_COLOURS = height_colours()


def draw_points(picture: Picture, view: GroundView, points: NDArray[np.floating]) -> None:
    """Each point as one pixel in the colour of its height; of several the highest is seen."""
    near = (np.abs(points[:, :2]) < view.extent_m).all(axis=1) & np.isfinite(points[:, 2])
    points = points[near]
    level = (points[:, 2] - LOWEST_M) * (255.0 / (HIGHEST_M - LOWEST_M))
    level = np.clip(level, 0.0, 255.0).astype(np.uint8)
    order = np.argsort(level, kind="stable")
    cells = view.pixels(points[:, :2]).astype(np.int32)[order].clip(0, view.size_px - 1)
    picture[cells[:, 1], cells[:, 0]] = HEIGHT_COLOURS[level[order]]


def draw_obstacles(picture: Picture, view: GroundView, grid: ObstacleGrid) -> None:
    """Occupied cells reddish, free cells a shade lighter than the unknown."""
    rows, columns = np.meshgrid(
        np.arange(view.size_px), np.arange(view.size_px), indexing="ij", sparse=True
    )
    x = view.extent_m - (rows + 0.5) / view.scale
    y = view.extent_m - (columns + 0.5) / view.scale
    column = np.floor((x - grid.origin_xy[0]) / grid.resolution_m).astype(np.int64)
    row = np.floor((y - grid.origin_xy[1]) / grid.resolution_m).astype(np.int64)
    height, width = grid.cells.shape
    known = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    cells = grid.cells[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)]
    picture[known & (cells == 0)] = (27, 31, 40)
    picture[known & (cells > 50)] = (84, 40, 44)


def draw_rings(picture: Picture, view: GroundView) -> None:
    """Circles of equal range with their metres."""
    step = ring_step(view.extent_m)
    centre = view.size_px // 2
    for metres in np.arange(step, view.extent_m * 1.01, step):
        cv2.circle(
            picture, (centre, centre), round(metres * view.scale), (52, 57, 68), 1, cv2.LINE_AA
        )
        top = centre - round(metres * view.scale)
        canvas.write(picture, f"{metres:g} m", centre + 4, max(top + 2, 2), palette.FAINT, 0.36)


def ring_step(extent_m: float) -> float:
    """A round number of metres that gives two to five rings."""
    rough = extent_m / 4.0
    power = 10.0 ** np.floor(np.log10(rough))
    return float(power * min((1.0, 2.0, 5.0, 10.0), key=lambda step: abs(step * power - rough)))


def draw_object(picture: Picture, view: GroundView, item: FusedObject, chosen: bool) -> None:
    """The box from above, its heading, the 90 % ellipse of its place and one second of motion."""
    if not np.isfinite([*item.centre, *item.size, item.yaw]).all():
        return
    corners = geometry.box_corners(item.centre, item.size, item.yaw)
    colour = palette.class_colour(item.class_name)
    ring = corners[:4, :2]
    outline(picture, view, ring, colour, 3 if chosen else 2, closed=True)
    nose = (ring[0] + ring[3]) / 2.0
    outline(picture, view, np.stack([item.centre[:2], nose]), colour, 1)
    ellipse = covariance_ellipse(item.position_covariance[:2, :2])
    if ellipse is not None:
        outline(picture, view, item.centre[:2] + ellipse, palette.INK, 1, closed=True)
    if np.isfinite(item.velocity).all() and float(np.hypot(*item.velocity[:2])) > 0.2:
        arrow(picture, view, item.centre[:2], item.centre[:2] + item.velocity[:2], colour)
    if inside(view, item.centre[:2]):
        u, v = view.pixels(item.centre[None, :2])[0].astype(int)
        text = item.class_name + (f" #{item.track_id}" if item.track_id >= 0 else "")
        reach = round(float(np.hypot(item.size[0], item.size[1])) / 2.0 * view.scale)
        canvas.write(picture, text, int(u) + reach + 3, int(v) - 6, colour, 0.38)


def covariance_ellipse(covariance: Float) -> Float | None:
    """The (33, 2) outline [m] that holds 90 % of a (2, 2) covariance [m^2].

    None when the covariance is not finite or not positive definite.
    """
    if not np.isfinite(covariance).all():
        return None
    variances, axes = np.linalg.eigh((covariance + covariance.T) / 2.0)
    if variances[0] <= 0.0:
        return None
    angles = np.linspace(0.0, 2.0 * np.pi, 33)
    circle = np.stack([np.cos(angles), np.sin(angles)])
    return np.asarray((axes @ (np.sqrt(CHI2_90 * variances)[:, None] * circle)).T)


def inside(view: GroundView, place: Float) -> bool:
    """Whether x y [m] is in the picture."""
    return bool((np.abs(place) < view.extent_m).all())


def outline(
    picture: Picture,
    view: GroundView,
    places: NDArray[np.floating],
    colour: palette.Colour,
    thickness: int,
    closed: bool = False,
) -> None:
    """Draws a line through (N, 2) x y [m]."""
    cv2.polylines(
        picture, [view.path(places)], closed, colour, thickness, cv2.LINE_AA, SUBPIXEL_BITS
    )


def arrow(
    picture: Picture, view: GroundView, start: Float, end: Float, colour: palette.Colour
) -> None:
    """An arrow between two x y [m]."""
    ends = view.path(np.stack([start, end]))
    cv2.arrowedLine(
        picture, ends[0].tolist(), ends[1].tolist(), colour, 1, cv2.LINE_AA, SUBPIXEL_BITS, 0.25
    )


def draw_trail(picture: Picture, view: GroundView, places: Float) -> None:
    """Where the robot has been."""
    outline(picture, view, places, palette.FAINT, 1)


def draw_fixes(picture: Picture, view: GroundView, places: Float) -> None:
    """Each fix as a small ring."""
    near = (np.abs(places) < view.extent_m).all(axis=1)
    for centre in view.path(places[near]).tolist():
        cv2.circle(picture, centre, 3 << SUBPIXEL_BITS, palette.FIX, 1, cv2.LINE_AA, SUBPIXEL_BITS)


def draw_robot(picture: Picture, view: GroundView) -> None:
    """A triangle of fixed size in pixels, so that it is seen at any extent."""
    metres = 7.0 / view.scale
    shape = np.array([[1.5, 0.0], [-1.0, 1.0], [-0.5, 0.0], [-1.0, -1.0]]) * metres
    cv2.fillPoly(picture, [view.path(shape)], palette.ROBOT, cv2.LINE_AA, SUBPIXEL_BITS)


def draw_target(picture: Picture, view: GroundView, base_from_target: Float) -> None:
    """The pose to reach: a ring and its heading, and the way there."""
    place = base_from_target[:2, 3]
    outline(picture, view, np.stack([np.zeros(2), place]), palette.GO, 1)
    heading = base_from_target[:2, 0] * 14.0 / view.scale
    centre = view.path(place[None])[0].tolist()
    cv2.circle(picture, centre, 7 << SUBPIXEL_BITS, palette.GO, 2, cv2.LINE_AA, SUBPIXEL_BITS)
    arrow(picture, view, place, place + heading, palette.GO)
