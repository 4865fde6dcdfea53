"""From what rays met to the light that comes back along them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros.sim import materials
from mm_fusion_ros.sim.lighting import Lighting
from mm_fusion_ros.sim.mesh import Mesh
from mm_fusion_ros.sim.primitives import Array, Index
from mm_fusion_ros.sim.world import World


@dataclass(frozen=True, eq=False)
class Seen:
    """What the rays of some pixels met; the last axis is the pixel.

    Attributes:
        triangle: (N,) int32; 0 where there is only sky.
        distance: (N,) float32 [m]; 1 where there is only sky.
        uv: (N, 2) float32, place on the triangle.
        direction: (3, N) float32, unit, map.
        sky: (N,) bool.
    """

    triangle: Index
    distance: Array
    uv: Array
    direction: Array
    sky: NDArray[np.bool_]

    def take(self, pixels: slice | NDArray[Any]) -> Seen:
        """Some of the pixels."""
        return Seen(
            self.triangle[pixels], self.distance[pixels], self.uv[pixels],
            self.direction[:, pixels], self.sky[pixels],
        )  # fmt: skip


class Shader:
    """Lights the surfaces of a world as it stands at an instant."""

    def __init__(self, world: World, mesh: Mesh) -> None:
        self._parts = world.parts
        self._lighting = world.lighting
        self._mesh = mesh
        # Map from part: multiplied from the left it leads back to the part's axes.
        shift = np.matmul(mesh.part_centre[:, None], mesh.part_rotation)[:, 0]
        self._on_part_table = np.concatenate([mesh.part_rotation.reshape(-1, 9), shift], axis=1)
        self._look_table = materials.look_table(world.parts)

    def radiance(
        self,
        seen: Seen,
        origin: Array,
        open_sky: Array,
        pixel_angle: np.float32,
        shape: tuple[int, int],
    ) -> Array:
        """Linear light (3, N) along each ray.

        Args:
            seen: what the rays met.
            origin: (3,) float32, where they start, map [m].
            open_sky: (N,) float32, how far sun or sky reach each place, 0 to 1.
            pixel_angle: what a pixel spans [rad].
            shape: rows and columns, with N = rows * columns.
        """
        place = seen.direction * seen.distance + origin[:, None]
        normal, facing = self.normals(seen)
        part = self._mesh.part[seen.triangle]
        footprint = np.asarray(
            seen.distance * pixel_angle / np.maximum(facing, np.float32(0.08)), np.float32
        )
        axis = self._mesh.axis[seen.triangle]
        on_part = self._on_part(part, place)
        plane = np.stack(
            [
                np.where(axis == 0, on_part[1], on_part[0]),
                np.where(axis == 2, on_part[1], on_part[2]),
            ]
        )
        light = materials.albedo(
            self._parts, self._look_table, part, plane, on_part, axis, footprint, shape
        )
        light *= self._falling(normal, open_sky)
        self._add_gloss(light, self._parts.material[part], normal, seen.direction, facing)
        air = np.exp(seen.distance * np.float32(-1 / self._lighting.haze_m))
        horizon = column(self._lighting.horizon)
        light -= horizon
        light *= air
        light += horizon
        above = np.flatnonzero(seen.sky)
        if len(above):
            light[:, above] = _sky(self._lighting, seen.direction[:, above])
        return light

    def normals(self, seen: Seen) -> tuple[Array, Array]:
        """Unit normals (3, N) towards the viewer, and the cosine (N,) at which they are seen.

        They are bent over the triangles of round things.
        """
        normal = self._mesh.face_normals.take(seen.triangle, axis=0)
        rows = np.flatnonzero(self._mesh.smooth[seen.triangle])
        if len(rows):
            corner = self._mesh.corner_normals.reshape(-1, 9)
            three = corner.take(seen.triangle[rows], axis=0).T  # (9, n)
            u, v = seen.uv[rows, 0], seen.uv[rows, 1]
            mixed = three[:3] * (1 - u - v) + three[3:6] * u + three[6:] * v
            mixed /= np.maximum(np.sqrt((mixed * mixed).sum(axis=0)), 1e-6)
            normal[rows] = mixed.T
        towards = np.ascontiguousarray(normal.T)
        facing = (towards * seen.direction).sum(axis=0)
        towards *= np.where(facing > 0, np.float32(-1), np.float32(1))
        return towards, np.abs(facing)

    def _on_part(self, part: Index, place: Array) -> Array:
        """Places (3, N) of the map in their parts' own axes."""
        c = np.ascontiguousarray(self._on_part_table.take(part, axis=0).T)
        result = np.empty_like(place)
        for axis in range(3):
            result[axis] = place[0] * c[axis] + place[1] * c[3 + axis] + place[2] * c[6 + axis]
        result -= c[9:]
        return result

    def _falling(self, normal: Array, open_sky: Array) -> Array:
        """Light (3, N) that falls on surfaces: sky from above, sun where it reaches."""
        lighting = self._lighting
        upward: Array = np.float32(0.68) + np.float32(0.32) * normal[2]
        if lighting.occlusion > 0:
            upward *= 1 - np.float32(lighting.occlusion) * (1 - open_sky)
        light: Array = upward * column(lighting.ambient)
        if lighting.occlusion > 0:
            return light
        towards = np.array(lighting.sun_direction, np.float32)
        light += np.maximum(towards @ normal, 0) * open_sky * column(lighting.sun)
        return light

    def _add_gloss(
        self, light: Array, material: Index, normal: Array, direction: Array, facing: Array
    ) -> None:
        """Adds mirror light to (3, N): the sky seen in paint and glass, and the sun's glint."""
        gloss = materials.LOOK[:, 3].take(material)
        lighting = self._lighting
        rows = np.flatnonzero(gloss > 0.05)
        if not len(rows):
            return
        along, cosine, gloss = direction[:, rows], facing[rows], gloss[rows]
        mirrored = along + 2 * cosine * normal[:, rows]
        fresnel = gloss * (np.float32(0.04) + np.float32(0.6) * (1 - cosine) ** 4)
        up = np.clip(mirrored[2] * 1.5 + 0.2, 0, 1).astype(np.float32)
        below = (1 - up) * np.float32(0.12) * column(lighting.ambient)
        added = fresnel * (up * column(lighting.horizon) + below)
        if sum(lighting.sun) > 0:
            towards = np.array(lighting.sun_direction, np.float32)
            glint = np.maximum(towards @ mirrored, 0) ** 60
            added += np.float32(1.2) * gloss * glint * column(lighting.sun)
        light[:, rows] += added


def column(colour: tuple[float, float, float]) -> Array:
    """A colour as (3, 1) float32."""
    return np.array(colour, np.float32)[:, None]


def _sky(lighting: Lighting, direction: Array) -> Array:
    """Light (3, N) of the sky along unit directions (3, N), with clouds and the sun's glare."""
    up = np.clip(direction[2], 0, 1)
    zenith = column(lighting.zenith)
    horizon = column(lighting.horizon)
    sky: Array = horizon + (zenith - horizon) * np.sqrt(up)
    flat = direction[:2] * (60 / (up + np.float32(0.15)))
    atlas = materials.noise_atlas()
    u, v = np.mod(flat.astype(np.int32), len(atlas))
    cloud = np.clip(atlas[v, u, 0] + 0.2, 0, 1) * np.float32(0.7 * lighting.cloud)
    sky += (np.float32(max(lighting.horizon)) - sky) * cloud
    if sum(lighting.sun) > 0:
        glare = np.maximum(np.array(lighting.sun_direction, np.float32) @ direction, 0) ** 200
        sky += 3 * glare * column(lighting.sun)
    return sky
