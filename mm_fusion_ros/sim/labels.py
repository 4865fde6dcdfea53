"""Ground truth of one instant: which objects there are, and how much each sensor got of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros import geometry
from mm_fusion_ros.samples import Float
from mm_fusion_ros.sim.primitives import Array, Index
from mm_fusion_ros.sim.raycast import Renderer
from mm_fusion_ros.sim.sensors import CameraSpec

# What counts: at least this much of it was measured.
MIN_LIDAR_POINTS = 5
MIN_PIXELS = 100
MIN_VISIBLE = 0.2
REFERENCE_PIXELS = 640 * 480

_PROBES = 64


@dataclass(frozen=True, eq=False)
class Label:
    """The truth about one object.

    Attributes:
        centre: (3,) float64, box centre in base_link [m].
        size: (3,) float64, length, width, height [m].
        yaw: heading of the length in base_link [rad].
        velocity: (3,) float64, over ground, base_link axes [m/s].
        lidar_points: how many returns came from it.
        camera_pixels: camera's name to its pixels, scaled to an image of 640x480.
        visible_fraction: camera's name to the share of it that the image shows, 0..1.
        counts: whether a detector can be asked for it: at least 5 lidar points, or at least 100
            pixels with 20 % visible in one camera.
        in_view: whether its centre lies inside some camera's image.
    """

    class_name: str
    colour: str
    centre: Float
    size: Float
    yaw: float
    velocity: Float
    object_id: int
    lidar_points: int
    camera_pixels: Mapping[str, int]
    visible_fraction: Mapping[str, float]
    counts: bool
    in_view: bool


def label_objects(
    renderer: Renderer,
    map_from_base: Float,
    cameras: tuple[CameraSpec, ...],
    camera_ids: tuple[Index, ...],
    lidar_ids: Index,
    time_s: float,
) -> tuple[Label, ...]:
    """Labels of all objects of the world.

    Args:
        renderer: at the instant of the images.
        map_from_base: (4, 4) float64, the robot's true pose.
        cameras: the cameras.
        camera_ids: for each camera (H, W) int32, object under each pixel.
        lidar_ids: (N,) int32, object met by each lidar point.
        time_s: the instant [s].
    """
    world = renderer.world
    count = len(world.objects)
    renderer.at(time_s)
    points = np.bincount(lidar_ids[lidar_ids > 0], minlength=count + 1)
    base_from_map = geometry.inverse(map_from_base)
    map_yaw = geometry.yaw_of(map_from_base)
    centres = np.array([o.centre_at(time_s) for o in world.objects]).reshape(-1, 3)
    in_base = geometry.apply(base_from_map, centres)
    pixels: list[NDArray[np.int64]] = []
    visible: list[NDArray[np.float64]] = []
    in_view = np.zeros(count, bool)
    for spec, ids in zip(cameras, camera_ids, strict=True):
        scale = REFERENCE_PIXELS / (spec.width * spec.height)
        seen = np.bincount(ids[ids > 0].ravel(), minlength=count + 1)
        pixels.append(np.round(seen * scale).astype(np.int64))
        visible.append(_visible(renderer, map_from_base, spec, seen))
        in_view |= _inside(in_base, spec)
    labels = []
    for row, thing in enumerate(world.objects):
        key = thing.object_id
        counts = points[key] >= MIN_LIDAR_POINTS or any(
            p[key] >= MIN_PIXELS and v[key] >= MIN_VISIBLE
            for p, v in zip(pixels, visible, strict=True)
        )
        labels.append(
            Label(
                class_name=thing.class_name,
                colour=thing.colour,
                centre=in_base[row].astype(np.float64),
                size=thing.size,
                yaw=geometry.wrap_angle(thing.yaw_at(time_s) - map_yaw),
                velocity=base_from_map[:3, :3] @ thing.velocity_at(time_s),
                object_id=key,
                lidar_points=int(points[key]),
                camera_pixels={s.name: int(p[key]) for s, p in zip(cameras, pixels, strict=True)},
                visible_fraction={
                    s.name: float(v[key]) for s, v in zip(cameras, visible, strict=True)
                },
                counts=bool(counts),
                in_view=bool(in_view[row]),
            )
        )
    return tuple(labels)


def _inside(points: NDArray[np.floating], spec: CameraSpec) -> NDArray[np.bool_]:
    """Which points (N, 3) of base_link [m] a camera's image holds."""
    optical = geometry.apply(geometry.inverse(spec.base_from_camera), points)
    pixel, depth = geometry.project(optical, spec.intrinsics)
    inside = (pixel >= -0.5) & (pixel < np.array([spec.width, spec.height]) - 0.5)
    result: NDArray[np.bool_] = np.all(inside, axis=1) & (depth > 0.1)
    return result


def _visible(
    renderer: Renderer, map_from_base: Float, spec: CameraSpec, seen: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The visible share of each object, by rays to places spread over its surface."""
    result = np.zeros(len(seen))
    wanted = np.flatnonzero(seen[1:] > 0) + 1
    if not len(wanted):
        return result
    probes = np.concatenate([surface_places(renderer, int(key)) for key in wanted])
    map_from_camera = map_from_base @ spec.base_from_camera
    met = renderer.first_hits(map_from_camera[:3, 3], probes)
    owner = np.repeat(wanted, _PROBES)
    in_base = geometry.apply(geometry.inverse(map_from_base), probes)
    shown = (met == owner) & _inside(in_base, spec)
    result[wanted] = shown.reshape(len(wanted), _PROBES).mean(axis=1)
    return result


def surface_places(renderer: Renderer, object_id: int, count: int = _PROBES) -> Array:
    """Places (count, 3) float32 spread evenly over an object's surface, in the map [m]."""
    mesh = renderer.mesh
    rows = np.flatnonzero(mesh.object_id[mesh.part] == object_id)
    corner = mesh.vertices[mesh.triangles[rows]]
    one, two = corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]
    area = np.linalg.norm(np.cross(one, two), axis=1)
    share = np.cumsum(area) / area.sum()
    # A golden-ratio sequence spreads better than random numbers, and needs none.
    step = np.arange(count)
    row = np.searchsorted(share, (step + 0.5) / count).clip(0, len(rows) - 1)
    u, v = (step * 0.7548777) % 1.0, (step * 0.5698403) % 1.0
    fold = u + v > 1
    u, v = np.where(fold, 1 - u, u), np.where(fold, 1 - v, v)
    place = corner[row, 0] + u[:, None] * one[row] + v[:, None] * two[row]
    result: Array = place.astype(np.float32)
    return result
