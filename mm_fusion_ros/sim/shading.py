"""From what rays met to the light that comes back along them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros.sim import materials
from mm_fusion_ros.sim.lighting import Lighting
from mm_fusion_ros.sim.materials import Hits
from mm_fusion_ros.sim.mesh import Material, Mesh
from mm_fusion_ros.sim.primitives import Array
from mm_fusion_ros.sim.world import World

_PORTION = 20_000  # pixels
_LARGE = 1500


@dataclass(frozen=True, eq=False)
class Seen:
    """What the rays of some pixels met; the last axis is the pixel.

    Attributes:
        triangle: (N,) int64; 0 where there is only sky.
        distance: (N,) float32 [m]; 1 where there is only sky.
        uv: (N, 2) float32, place on the triangle.
        direction: (3, N) float32, unit, map.
        sky: (N,) bool.
    """

    triangle: NDArray[np.int64]
    distance: Array
    uv: Array
    direction: Array
    sky: NDArray[np.bool_]

    def take(self, pixels: NDArray[np.intp]) -> Seen:
        """Some of the pixels."""
        # `take` is twice as fast as indexing.
        return Seen(
            self.triangle.take(pixels), self.distance.take(pixels), self.uv.take(pixels, axis=0),
            self.direction.take(pixels, axis=1), self.sky.take(pixels),
        )  # fmt: skip


class Shader:
    """Lights the surfaces of a world as it stands at an instant."""

    def __init__(self, world: World, mesh: Mesh) -> None:
        self._parts = world.parts
        self._lighting = world.lighting
        self._mesh = mesh
        self._face_normals = np.ascontiguousarray(mesh.face_normals.T)
        self._corner_normals = mesh.corner_normals.reshape(-1, 9)
        # Map from part: multiplied from the left it leads back to the part's axes.
        shift = np.matmul(mesh.part_centre[:, None], mesh.part_rotation)[:, 0]
        parts = world.parts
        self._table = np.column_stack(
            [mesh.part_rotation.reshape(-1, 9), shift, parts.phase, parts.colour]
        )

    def surfaces(
        self, seen: Seen, origin: Array, open_sky: Array, pixel_angle: np.float32
    ) -> Array:
        """Linear light (3, N) along each ray; zero where there is only sky.

        Args:
            seen: what the rays met.
            origin: (3,) float32, where they start, map [m].
            open_sky: (N,) float32, how far sun or sky reach each place, 0 to 1.
            pixel_angle: what a pixel spans [rad].
        """
        light = np.zeros((3, len(seen.triangle)), np.float32)
        hit = np.flatnonzero(~seen.sky)
        part = self._mesh.part.take(seen.triangle.take(hit))
        # Sorted into groups of one material, or of one part where it fills much of the image.
        large = np.flatnonzero(np.bincount(part, minlength=len(self._table)) > _LARGE)
        group_of_part = self._parts.material.astype(np.uint16)
        group_of_part[large] = len(Material) + np.arange(len(large))
        group = group_of_part.take(part)
        hit = hit[np.argsort(group, kind="stable")]
        end = np.cumsum(np.bincount(group, minlength=len(Material) + len(large)))
        for key, stop in enumerate(end.tolist()):
            start = int(end[key - 1]) if key else 0
            only = int(large[key - len(Material)]) if key >= len(Material) else None
            kind = Material(key if only is None else self._parts.material[only])
            # In portions that stay in the processor's cache.
            for first in range(start, stop, _PORTION):
                rows = hit[first : min(first + _PORTION, stop)]
                some = seen.take(rows)
                lit = self._group(kind, only, some, origin, open_sky.take(rows), pixel_angle)
                for channel in range(3):
                    light[channel, rows] = lit[channel]
        return light

    def _group(
        self,
        material: Material,
        only: int | None,
        seen: Seen,
        origin: Array,
        open_sky: Array,
        pixel_angle: np.float32,
    ) -> Array:
        """Linear light (3, N) from surfaces of one material, or `only` of one part."""
        place = seen.direction * seen.distance + origin[:, None]
        normal, facing = self.normals(seen)
        part = self._mesh.part.take(seen.triangle) if only is None else np.array([only])
        footprint = np.asarray(
            seen.distance * pixel_angle / np.maximum(facing, np.float32(0.08)), np.float32
        )
        axis = self._mesh.axis.take(seen.triangle)
        table = np.ascontiguousarray(self._table.take(part, axis=0).T)  # (16, N or 1)
        on_part = _on_part(table, place)
        plane = np.stack(
            [
                np.where(axis == 0, on_part[1], on_part[0]),
                np.where(axis == 2, on_part[1], on_part[2]),
            ]
        )
        phase = table[12]
        noise = materials.noise_at(plane, materials.LOOK[material, 0], phase)
        hits = Hits(
            on_part, plane, axis, footprint, noise, self._parts.size.take(part, axis=0).T, phase,
            self._parts.accent.take(part, axis=0).T,
        )  # fmt: skip
        light = materials.albedo(material, table[13:], hits)
        light *= self._falling(normal, open_sky)
        gloss = materials.LOOK[material, 3]
        if gloss > 0.05:
            light += self._gloss(gloss, normal, seen.direction, facing)
        air = np.exp(seen.distance * np.float32(-1 / self._lighting.haze_m))
        horizon = column(self._lighting.horizon)
        light -= horizon
        light *= air
        light += horizon
        return light

    def normals(self, seen: Seen) -> tuple[Array, Array]:
        """Unit normals (3, N) towards the viewer, and the cosine (N,) at which they are seen.

        They are bent over the triangles of round things.
        """
        normal = self._face_normals.take(seen.triangle, axis=1)
        rows = np.flatnonzero(self._mesh.smooth.take(seen.triangle))
        if len(rows):
            corners = self._corner_normals.take(seen.triangle[rows], axis=0)
            three = np.ascontiguousarray(corners.T)  # (9, n)
            u, v = np.ascontiguousarray(seen.uv.take(rows, axis=0).T)
            mixed = three[:3] * (1 - u - v) + three[3:6] * u + three[6:] * v
            mixed /= np.maximum(np.sqrt((mixed * mixed).sum(axis=0)), 1e-6)
            normal[:, rows] = mixed
        facing = (normal * seen.direction).sum(axis=0)
        normal *= np.where(facing > 0, np.float32(-1), np.float32(1))
        return normal, np.abs(facing)

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

    def _gloss(self, gloss: np.float32, normal: Array, along: Array, cosine: Array) -> Array:
        """Mirror light (3, N): the sky seen in paint and glass, and the sun's glint."""
        lighting = self._lighting
        mirrored = along + 2 * cosine * normal
        fresnel = gloss * (np.float32(0.04) + np.float32(0.6) * (1 - cosine) ** 4)
        up = np.clip(mirrored[2] * 1.5 + 0.2, 0, 1).astype(np.float32)
        below = (1 - up) * np.float32(0.12) * column(lighting.ambient)
        added: Array = fresnel * (up * column(lighting.horizon) + below)
        if sum(lighting.sun) > 0:
            towards = np.array(lighting.sun_direction, np.float32)
            glint = np.maximum(towards @ mirrored, 0) ** 60
            added += np.float32(1.2) * gloss * glint * column(lighting.sun)
        return added


def _on_part(table: Array, place: Array) -> Array:
    """Places (3, N) of the map in their parts' own axes; `table` is (16, N or 1) of `Shader`."""
    result = np.empty_like(place)
    for axis in range(3):
        x, y, z = table[axis], table[3 + axis], table[6 + axis]
        result[axis] = place[0] * x + place[1] * y + place[2] * z
    result -= table[9:12]
    return result


def column(colour: tuple[float, float, float]) -> Array:
    """A colour as (3, 1) float32."""
    return np.array(colour, np.float32)[:, None]


def sky(lighting: Lighting, direction: Array) -> Array:
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
