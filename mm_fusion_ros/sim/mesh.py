"""Primitive parts and the one merged triangle mesh that the rays meet.

A world is a table of parts (boxes, cylinders, spheres), each placed in a frame; every frame is
one thing standing on the ground (a car, a tree, the street itself). `instantiate` turns the whole
table into triangles with array operations only, one batch for each kind of primitive, so that a
world of a thousand parts costs milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros.sim.primitives import Array, Index, Primitive, unit_mesh

# Boxes of this thickness in the map's own frame are slabs of ground.
SLAB_M = 0.5
# What moves turns round after so many seconds.
PACE_S = 6.0


class Material(IntEnum):
    """How a surface looks and what a laser pulse gets back from it."""

    PLAIN = 0
    PAINT = 1
    GLASS = 2
    RUBBER = 3
    CLOTH = 4
    ASPHALT = 5
    GRASS = 6
    CONCRETE = 7
    PAVING = 8
    BRICK = 9
    PLASTER = 10
    FACADE = 11
    WOOD = 12
    FOLIAGE = 13
    METAL = 14
    CONE = 15
    BARREL = 16
    CARTON = 17
    BALL = 18
    POSTER = 19
    DIRT = 20
    SLATS = 21
    LAMP = 22
    CABINET = 23
    STONE = 24
    CHEQUERED = 25  # for `unfamiliar` alone


@dataclass(frozen=True, eq=False)
class PartTable:
    """All parts of a world; row = part.

    Attributes:
        kind: (P,) int32, `Primitive`.
        frame: (P,) int32, row of the frame table.
        centre: (P, 3) float32, in its frame [m].
        size: (P, 3) float32 [m].
        taper: (P, 3) float32, scale of x and y at the top, and shift of the top along x as a
            fraction of the size.
        rotation: (P, 3, 3) float32, frame from part.
        colour, accent: (P, 3) float32, linear reflectance of the surface and of its pattern.
        material: (P,) int32, `Material`.
        reflectivity: (P,) float32, 0..1 at the laser's wavelength.
        lump: (P,) float32, radial roughness of spheres.
        phase: (P,) float32, 0..1, shifts and varies the pattern.
    """

    kind: Index
    frame: Index
    centre: Array
    size: Array
    taper: Array
    rotation: Array
    colour: Array
    accent: Array
    material: Index
    reflectivity: Array
    lump: Array
    phase: Array


@dataclass(frozen=True, eq=False)
class FrameTable:
    """Where things stand in the map; row 0 is the map itself.

    Attributes:
        position: (F, 3) float32 [m].
        yaw: (F,) float32 [rad].
        velocity: (F, 3) float32 [m/s].
        object_id: (F,) int32, 0 for scenery.
    """

    position: Array
    yaw: Array
    velocity: Array
    object_id: Index


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles of all parts.

    Attributes:
        vertices: (V, 3) float32, map [m].
        triangles: (T, 3) uint32, rows of `vertices`.
        part: (T,) int32, row of the part table.
        corner_normals: (T, 3, 3) float32, unit, outward.
        face_normals: (T, 3) float32, unit, of the first corner.
        smooth: (T,) bool, whether the corner normals differ over the triangle.
        axis: (T,) int8, the part's axis that the face looks along (texture plane).
        part_rotation: (P, 3, 3) float32, map from part.
        part_centre: (P, 3) float32, map [m].
        object_id: (P,) int32, of the part's frame.
    """

    vertices: Array
    triangles: NDArray[np.uint32]
    part: Index
    corner_normals: Array
    face_normals: Array
    smooth: NDArray[np.bool_]
    axis: NDArray[np.int8]
    part_rotation: Array
    part_centre: Array
    object_id: Index


class PartBuilder:
    """Collects parts and frames while a world is laid out."""

    def __init__(self) -> None:
        self._parts: list[tuple[float, ...]] = []
        self._frames: list[tuple[float, ...]] = []
        self.frame(0.0, 0.0, 0.0)

    def frame(
        self,
        x: float,
        y: float,
        yaw: float,
        *,
        z: float = 0.0,
        velocity: tuple[float, float] = (0.0, 0.0),
        object_id: int = 0,
    ) -> int:
        """Opens a frame at x, y, z [m], yaw [rad] in the map; returns its row."""
        self._frames.append((x, y, z, yaw, velocity[0], velocity[1], object_id))
        return len(self._frames) - 1

    def add(
        self,
        frame: int,
        kind: Primitive,
        centre: tuple[float, float, float],
        size: tuple[float, float, float],
        colour: tuple[float, float, float],
        material: Material,
        *,
        reflectivity: float = 0.3,
        yaw: float = 0.0,
        pitch: float = 0.0,
        roll: float = 0.0,
        taper: tuple[float, float, float] = (1.0, 1.0, 0.0),
        accent: tuple[float, float, float] = (0.0, 0.0, 0.0),
        lump: float = 0.0,
        phase: float = 0.0,
    ) -> None:
        """Adds one part; see `PartTable` for what the values mean."""
        self._parts.append(
            (kind, frame, *centre, *size, *taper, yaw, pitch, roll, *colour, *accent,
             material, reflectivity, lump, phase)
        )  # fmt: skip

    def tables(self) -> tuple[PartTable, FrameTable]:
        """The finished tables."""
        rows = np.array(self._parts, dtype=np.float32)
        frames = np.array(self._frames, dtype=np.float32)
        parts = PartTable(
            kind=rows[:, 0].astype(np.int32),
            frame=rows[:, 1].astype(np.int32),
            centre=rows[:, 2:5],
            size=rows[:, 5:8],
            taper=rows[:, 8:11],
            rotation=_rotations(rows[:, 11], rows[:, 12], rows[:, 13]),
            colour=rows[:, 14:17],
            accent=rows[:, 17:20],
            material=rows[:, 20].astype(np.int32),
            reflectivity=rows[:, 21],
            lump=rows[:, 22],
            phase=rows[:, 23],
        )
        velocity = np.zeros((len(frames), 3), np.float32)
        velocity[:, :2] = frames[:, 4:6]
        return parts, FrameTable(
            position=frames[:, :3],
            yaw=frames[:, 3],
            velocity=velocity,
            object_id=frames[:, 6].astype(np.int32),
        )


def pace(time_s: float) -> tuple[float, int]:
    """How far along its way a moving thing is at an instant, and which way it faces.

    It goes ahead for `PACE_S`, turns on the spot and comes back, so that no world runs empty.

    Returns:
        walked: seconds of its velocity from its first place, 0 to `PACE_S`.
        direction: 1 on the way out, -1 on the way back.
    """
    phase = time_s % (2 * PACE_S)
    return (phase, 1) if phase < PACE_S else (2 * PACE_S - phase, -1)


def instantiate(parts: PartTable, frames: FrameTable, time_s: float = 0.0) -> Mesh:
    """The mesh at an instant [s]: what moves paces to and fro (see `pace`)."""
    walked, direction = pace(time_s)
    moves = np.any(frames.velocity != 0, axis=1)
    yaw = frames.yaw + np.where(moves & (direction < 0), np.float32(np.pi), np.float32(0))
    frame_rotation = _rotations(yaw, np.zeros_like(yaw), np.zeros_like(yaw))
    frame_position = frames.position + frames.velocity * np.float32(walked)
    rotation = np.matmul(frame_rotation[parts.frame], parts.rotation)
    centre = (
        frame_position[parts.frame]
        + np.matmul(frame_rotation[parts.frame], parts.centre[:, :, None])[:, :, 0]
    )
    vertices: list[Array] = []
    triangles: list[NDArray[np.uint32]] = []
    owner: list[Index] = []
    normals: list[Array] = []
    smooth: list[NDArray[np.bool_]] = []
    axis: list[NDArray[np.int8]] = []
    offset = 0
    for kind in Primitive:
        rows = np.flatnonzero(parts.kind == kind).astype(np.int32)
        if not len(rows):
            continue
        unit = unit_mesh(kind)
        shaped = _shape(unit.vertices, parts, rows)
        placed = np.matmul(shaped, rotation[rows].transpose(0, 2, 1)) + centre[rows][:, None]
        count = unit.vertices.shape[0]
        base = (np.arange(len(rows)) * count + offset).astype(np.uint32)
        faces = unit.triangles[None].astype(np.uint32) + base[:, None, None]
        vertices.append(placed.reshape(-1, 3))
        triangles.append(faces.reshape(-1, 3))
        owner.append(np.repeat(rows, len(unit.triangles)))
        axis.append(np.tile(unit.axis, len(rows)))
        if unit.corner_normals is None:
            corners = placed[:, unit.triangles]  # (B, T, 3, 3)
            edge = corners[:, :, 1:] - corners[:, :, :1]
            normal = np.repeat(_cross(edge[:, :, 0], edge[:, :, 1])[:, :, None], 3, axis=2)
        else:
            slope = (1.0 - parts.taper[rows, 0]) * 0.5 * parts.size[rows, 0]
            local = np.broadcast_to(unit.corner_normals, (len(rows), *unit.corner_normals.shape))
            local = local / parts.size[rows][:, None, None]
            if kind in (Primitive.CYLINDER, Primitive.POLE):
                # A tapered side looks upwards by its slope; the caps have no radial part.
                radial = np.hypot(local[..., 0], local[..., 1])
                lift = radial * (slope / parts.size[rows, 2])[:, None, None]
                local = np.concatenate([local[..., :2], local[..., 2:] + lift[..., None]], axis=-1)
            normal = np.matmul(local, rotation[rows].transpose(0, 2, 1)[:, None])
        length = np.linalg.norm(normal, axis=-1, keepdims=True)
        normal = normal / np.maximum(length, 1e-12)
        normals.append(normal.reshape(-1, 3, 3).astype(np.float32))
        is_smooth = unit.corner_normals is not None
        smooth.append(np.full(len(rows) * len(unit.triangles), is_smooth))
        offset += len(rows) * count
    corner_normals = np.concatenate(normals)
    return Mesh(
        vertices=np.ascontiguousarray(np.concatenate(vertices), dtype=np.float32),
        triangles=np.concatenate(triangles),
        part=np.concatenate(owner),
        corner_normals=corner_normals,
        face_normals=np.ascontiguousarray(corner_normals[:, 0]),
        smooth=np.concatenate(smooth),
        axis=np.concatenate(axis),
        part_rotation=rotation,
        part_centre=centre,
        object_id=frames.object_id[parts.frame],
    )


def object_extents(parts: PartTable, frames: FrameTable) -> tuple[Array, Array]:
    """The axis-aligned bounds of each object's parts, in its frame.

    Returns:
        low, high: (F, 3) float32 [m], row = frame; +-inf where a frame is no object's.
    """
    low = np.full((len(frames.yaw), 3), np.inf, np.float32)
    high = np.full((len(frames.yaw), 3), -np.inf, np.float32)
    wanted = frames.object_id[parts.frame] > 0
    for kind in Primitive:
        rows = np.flatnonzero(wanted & (parts.kind == kind)).astype(np.int32)
        if not len(rows):
            continue
        shaped = _shape(unit_mesh(kind).vertices, parts, rows)
        placed = np.matmul(shaped, parts.rotation[rows].transpose(0, 2, 1))
        placed = placed + parts.centre[rows][:, None]
        np.minimum.at(low, parts.frame[rows], placed.min(axis=1))
        np.maximum.at(high, parts.frame[rows], placed.max(axis=1))
    return low, high


def _cross(one: Array, two: Array) -> Array:
    """The cross product along the last axis; `np.cross` takes several times as long."""
    result = np.empty_like(one)
    for axis, (after, last) in enumerate(((1, 2), (2, 0), (0, 1))):
        result[..., axis] = one[..., after] * two[..., last] - one[..., last] * two[..., after]
    return result


def _shape(unit: Array, parts: PartTable, rows: Index) -> Array:
    """Unit vertices (U, 3) tapered, roughened and scaled for each row: (B, U, 3)."""
    up = unit[None, :, 2] + np.float32(0.5)
    taper = parts.taper[rows]
    x = unit[None, :, 0] * (1 + (taper[:, 0:1] - 1) * up) + taper[:, 2:3] * up
    y = unit[None, :, 1] * (1 + (taper[:, 1:2] - 1) * up)
    z = np.broadcast_to(unit[None, :, 2], x.shape)
    shaped = np.stack([x, y, z], axis=-1)
    lump = parts.lump[rows]
    if np.any(lump > 0):
        spread = np.arange(len(unit), dtype=np.float32)[None] * 12.9898 + (
            parts.phase[rows][:, None] * 78.233 + rows[:, None] % 97
        ).astype(np.float32)
        rough = np.modf(np.sin(spread) * 4375.85)[0]
        shaped = shaped * (1 + lump[:, None] * (rough - 1) * 0.5)[..., None]
    result: Array = (shaped * parts.size[rows][:, None]).astype(np.float32)
    return result


def _rotations(yaw: Array, pitch: Array, roll: Array) -> Array:
    """(N, 3, 3) float32, Rz(yaw) Ry(pitch) Rx(roll)."""
    cz, sz = np.cos(yaw), np.sin(yaw)
    cy, sy = np.cos(pitch), np.sin(pitch)
    cx, sx = np.cos(roll), np.sin(roll)
    rows = [
        cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx,
        sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx,
        -sy, cy * sx, cy * cx,
    ]  # fmt: skip
    return np.stack(rows, axis=-1).reshape(-1, 3, 3).astype(np.float32)
