"""The ground's slabs, met by rays without a mesh.

A few rectangles as large as the world spoil the tree that sorts all other triangles: with them in
it each ray takes twice as long. A plane is met with one division.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros.sim.mesh import SLAB_M, Mesh, PartTable
from mm_fusion_ros.sim.primitives import Array

# A slab that rises by less above the lowest has no sides to speak of.
_KERB_M = 0.03
_PORTION = 8192  # rays


@dataclass(frozen=True, eq=False)
class _Rectangle:
    """A face of a slab: where `normal` . p = `offset`, within the bounds along two axes."""

    normal: Array  # (3,) unit
    offset: np.float32
    axes: Array  # (2, 3) unit
    low: Array  # (2,) along the axes [m]
    high: Array
    triangle: int


class Ground:
    """All slabs of a world.

    Attributes:
        others: (C,) int64, the mesh's triangles that are left for ray casting.
    """

    def __init__(self, parts: PartTable, mesh: Mesh) -> None:
        slab = (parts.frame == 0) & (parts.size[:, 2] == np.float32(SLAB_M))
        mine = slab[mesh.part]
        self.others = np.flatnonzero(~mine)
        top = parts.size[:, 2] / 2 + mesh.part_centre[:, 2]
        raised = top > (top[slab].min() + _KERB_M if slab.any() else np.inf)
        # Of the two triangles of each face one stands for both: they differ in place alone.
        upper = mine & (mesh.face_normals[:, 2] > 0.5)
        side = mine & (mesh.axis == 1) & raised[mesh.part]
        self._faces = [_face(parts, mesh, int(row)) for row in np.flatnonzero(upper | side)[::2]]

    def meet(
        self, origin: Array, direction: Array
    ) -> tuple[NDArray[np.intp], Array, NDArray[np.int64]]:
        """Which rays meet the ground, where first, and on which triangle.

        Args:
            origin: (3, 1) or (3, N) float32, map [m].
            direction: (3, N) float32.

        Returns:
            rows: (M,) of the rays that meet it.
            distance: (M,) float32, in lengths of `direction`.
            triangle: (M,) int64, of the mesh.
        """
        # What does not look down sees no ground: the viewer is always above it.
        rows = np.flatnonzero(direction[2] < -1e-5)
        distance = np.empty(len(rows), np.float32)
        triangle = np.zeros(len(rows), np.int64)
        # In portions that stay in the processor's cache.
        for first in range(0, len(rows), _PORTION):
            some = slice(first, first + _PORTION)
            start = origin if origin.shape[1] == 1 else origin.take(rows[some], axis=1)
            along = direction.take(rows[some], axis=1)
            distance[some] = self._nearest(start, along, triangle[some])
        met = np.flatnonzero(np.isfinite(distance))
        return rows[met], distance[met], triangle[met]

    def _nearest(self, start: Array, along: Array, triangle: NDArray[np.int64]) -> Array:
        """Distance (N,) to the nearest face, infinite without one; fills in its `triangle`."""
        best = np.full(along.shape[1], np.inf, np.float32)
        for face in self._faces:
            with np.errstate(divide="ignore", invalid="ignore"):
                distance = (face.offset - face.normal @ start) / (face.normal @ along)
            inside = (distance > 0) & (distance < best)
            for axis, low, high in zip(face.axes, face.low, face.high, strict=True):
                place = axis @ start + distance * (axis @ along)
                inside &= (place >= low) & (place <= high)
            np.copyto(best, distance, where=inside)
            triangle[inside] = face.triangle
        return best


def _face(parts: PartTable, mesh: Mesh, triangle: int) -> _Rectangle:
    part = int(mesh.part[triangle])
    normal = mesh.face_normals[triangle]
    rotation, centre = mesh.part_rotation[part], mesh.part_centre[part]
    own = int(mesh.axis[triangle])
    others = [axis for axis in range(3) if axis != own]
    axes = np.ascontiguousarray(rotation[:, others].T)
    half = parts.size[part] / 2
    middle = axes @ centre
    return _Rectangle(
        normal, np.float32(normal @ centre + half[own]), axes, middle - half[others],
        middle + half[others], triangle,
    )  # fmt: skip
