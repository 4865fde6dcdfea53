"""Unit shapes that every part is made of: box, cylinder, pole, sphere, blob."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Index = NDArray[np.int32]


class Primitive(IntEnum):
    """Unit shapes, all inside the cube from -0.5 to 0.5."""

    BOX = 0
    CYLINDER = 1
    POLE = 2
    SPHERE = 3
    BLOB = 4


@dataclass(frozen=True, eq=False)
class UnitMesh:
    """A shape inside the cube from -0.5 to 0.5.

    Attributes:
        vertices: (V, 3) float32.
        triangles: (T, 3) int32, rows of `vertices`, outward.
        corner_normals: (T, 3, 3) float32 of round shapes; None where faces are flat.
        axis: (T,) int8, the axis that each face looks along most.
    """

    vertices: Array
    triangles: Index
    corner_normals: Array | None
    axis: NDArray[np.int8]


@cache
def unit_mesh(kind: Primitive) -> UnitMesh:
    """The triangles of a unit shape."""
    if kind is Primitive.BOX:
        return _unit_box()
    if kind is Primitive.CYLINDER:
        return _unit_cylinder(16)
    if kind is Primitive.POLE:
        return _unit_cylinder(8)
    return _unit_sphere(2 if kind is Primitive.SPHERE else 1)


def _unit_box() -> UnitMesh:
    corners = np.array(
        [[x, y, z] for z in (-0.5, 0.5) for y in (-0.5, 0.5) for x in (-0.5, 0.5)], np.float32
    )
    quads = [
        (0, 4, 6, 2), (1, 3, 7, 5), (0, 1, 5, 4), (2, 6, 7, 3), (0, 2, 3, 1), (4, 5, 7, 6),
    ]  # fmt: skip
    faces = [face for q in quads for face in ((q[0], q[1], q[2]), (q[0], q[2], q[3]))]
    axis = np.repeat(np.array([0, 0, 1, 1, 2, 2], np.int8), 2)
    return UnitMesh(corners, np.array(faces, np.int32), None, axis)


def _unit_cylinder(segments: int) -> UnitMesh:
    angle = np.arange(segments) * (2 * np.pi / segments)
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1) * 0.5
    # Rows: bottom ring, top ring, bottom centre, top centre.
    vertices = np.zeros((2 * segments + 2, 3), np.float32)
    vertices[:segments, :2], vertices[segments : 2 * segments, :2] = ring, ring
    vertices[:segments, 2], vertices[segments : 2 * segments, 2] = -0.5, 0.5
    vertices[-2, 2], vertices[-1, 2] = -0.5, 0.5
    here = np.arange(segments)
    there = (here + 1) % segments
    low, high = 2 * segments, 2 * segments + 1
    side = np.concatenate(
        [
            np.stack([here, there, there + segments], axis=1),
            np.stack([here, there + segments, here + segments], axis=1),
        ]
    )
    bottom = np.stack([np.full(segments, low), there, here], axis=1)
    top = np.stack([np.full(segments, high), here + segments, there + segments], axis=1)
    faces = np.concatenate([side, bottom, top]).astype(np.int32)
    normals = np.zeros((len(faces), 3, 3), np.float32)
    radial = vertices.copy()
    radial[:, 2] = 0.0
    normals[: 2 * segments] = radial[side] * 2.0
    normals[2 * segments : 3 * segments, :, 2] = -1.0
    normals[3 * segments :, :, 2] = 1.0
    middle = normals[: 2 * segments].mean(axis=1)
    side_axis = np.where(np.abs(middle[:, 0]) > np.abs(middle[:, 1]), 0, 1)
    axis = np.concatenate([side_axis, np.full(2 * segments, 2)]).astype(np.int8)
    return UnitMesh(vertices, faces, normals, axis)


def _unit_sphere(level: int) -> UnitMesh:
    golden = (1 + 5**0.5) / 2
    points = [
        (-1, golden, 0), (1, golden, 0), (-1, -golden, 0), (1, -golden, 0),
        (0, -1, golden), (0, 1, golden), (0, -1, -golden), (0, 1, -golden),
        (golden, 0, -1), (golden, 0, 1), (-golden, 0, -1), (-golden, 0, 1),
    ]  # fmt: skip
    faces = np.array([
        (0, 11, 5), (0, 5, 1), (0, 1, 7), (0, 7, 10), (0, 10, 11), (1, 5, 9), (5, 11, 4),
        (11, 10, 2), (10, 7, 6), (7, 1, 8), (3, 9, 4), (3, 4, 2), (3, 2, 6), (3, 6, 8),
        (3, 8, 9), (4, 9, 5), (2, 4, 11), (6, 2, 10), (8, 6, 7), (9, 8, 1),
    ])  # fmt: skip
    vertices = np.array(points, np.float64)
    for _ in range(level):
        corners = vertices[faces]
        middles = (corners + np.roll(corners, -1, axis=1)) / 2  # ab, bc, ca
        merged, inverse = np.unique(
            np.round(middles.reshape(-1, 3), 9), axis=0, return_inverse=True
        )
        ab, bc, ca = (inverse.reshape(-1, 3) + len(vertices)).T
        a, b, c = faces.T
        vertices = np.concatenate([vertices, merged])
        faces = np.concatenate(
            [np.stack(f, axis=1) for f in ((a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca))]
        )
        vertices = vertices / np.linalg.norm(vertices, axis=1, keepdims=True)
    vertices = vertices / np.linalg.norm(vertices, axis=1, keepdims=True)
    normals = vertices[faces]
    axis = np.argmax(np.abs(normals.mean(axis=1)), axis=1).astype(np.int8)
    return UnitMesh(
        (vertices * 0.5).astype(np.float32), faces.astype(np.int32), normals.astype(np.float32),
        axis,
    )  # fmt: skip
