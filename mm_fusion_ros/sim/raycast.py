"""Camera images and lidar sweeps by ray casting (Open3D, Embree)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import open3d as o3d
from numpy.typing import NDArray

from mm_fusion_ros.samples import Float
from mm_fusion_ros.sim import materials
from mm_fusion_ros.sim.lighting import Lighting
from mm_fusion_ros.sim.mesh import Mesh, instantiate
from mm_fusion_ros.sim.primitives import Array, Index
from mm_fusion_ros.sim.sensors import CameraSpec, LidarSpec
from mm_fusion_ros.sim.world import World

_MISS = np.uint32(0xFFFFFFFF)
_NOISE_POOL = 1 << 20


class Renderer:
    """All that light can tell of a world.

    The triangles are rebuilt when an image or a sweep of another instant is asked for and
    something moves.
    """

    def __init__(self, world: World, threads: int = 1) -> None:
        self.world = world
        self._threads = threads
        self._moves = bool(np.any(world.frames.velocity))
        self._time_s = 0.0
        self._build(0.0)

    @property
    def mesh(self) -> Mesh:
        """The triangles as they stand."""
        return self._mesh

    def at(self, time_s: float) -> None:
        """Moves what moves to an instant [s]."""
        if self._moves and time_s != self._time_s:
            self._build(time_s)

    def camera(
        self, map_from_camera: Float, spec: CameraSpec, time_s: float, rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], Index]:
        """One image.

        Args:
            map_from_camera: (4, 4) float64, optical frame to map.
            spec: the camera.
            time_s: the instant [s].
            rng: sensor noise.

        Returns:
            image: (H, W, 3) uint8, RGB.
            ids: (H, W) int32, object under each pixel; 0 is scenery, -1 sky.
        """
        self.at(time_s)
        shape = (spec.height, spec.width)
        local = _pixel_rays(spec.width, spec.height, spec.fov_deg)
        direction = map_from_camera[:3, :3].astype(np.float32) @ local  # (3, N)
        origin = map_from_camera[:3, 3].astype(np.float32)
        rays = np.empty((local.shape[1], 6), np.float32)
        rays[:, :3], rays[:, 3:] = origin, direction.T
        answer = self._scene.cast_rays(_tensor(rays), nthreads=self._threads)
        triangle = answer["primitive_ids"].numpy()
        sky = triangle == _MISS
        triangle = np.where(sky, 0, triangle).astype(np.int32)
        distance = np.where(sky, np.float32(1.0), answer["t_hit"].numpy())
        place = direction * distance + origin[:, None]
        normal = self._normals(triangle, answer["primitive_uvs"].numpy())
        facing = (normal * direction).sum(axis=0)
        normal *= np.where(facing > 0, np.float32(-1), np.float32(1))
        facing = np.abs(facing)
        part = self._mesh.part[triangle]
        pixel_angle = np.float32(np.radians(spec.fov_deg) / spec.width)
        footprint = distance * pixel_angle / np.maximum(facing, np.float32(0.08))
        axis = self._mesh.axis[triangle]
        on_part = self._on_part(part, place)
        plane = np.stack(
            [
                np.where(axis == 0, on_part[1], on_part[0]),
                np.where(axis == 2, on_part[1], on_part[2]),
            ]
        )
        table = self.world.parts
        radiance = materials.albedo(table, part, plane, on_part, axis, footprint, shape)
        radiance *= self._light(place, normal, shape)
        self._add_gloss(radiance, table.material[part], normal, direction, facing)
        lighting = self.world.lighting
        air = np.exp(distance * np.float32(-1 / lighting.haze_m))
        horizon = np.array(lighting.horizon, np.float32)[:, None]
        radiance -= horizon
        radiance *= air
        radiance += horizon
        rows = np.flatnonzero(sky)
        if len(rows):
            radiance[:, rows] = _sky(lighting, direction[:, rows])
        ids = np.where(sky, np.int32(-1), self._mesh.object_id[part]).reshape(shape)
        linear = np.ascontiguousarray(radiance.T).reshape(*shape, 3)
        return expose(linear, spec, lighting, rng), ids

    def lidar(
        self,
        map_from_lidar: Float,
        spec: LidarSpec,
        time_s: float,
        rng: np.random.Generator,
        twist: Float | None = None,
    ) -> tuple[Array, NDArray[np.int64], Index]:
        """One sweep, whose stamp is its last firing.

        Args:
            map_from_lidar: (4, 4) float64, at the stamp.
            spec: the lidar.
            time_s: the instant [s].
            rng: noise and dropouts.
            twist: (6,) float64, vx vy vz [m/s] wx wy wz [rad/s] of the lidar in its own frame;
                with it each column is fired from where the lidar was then, and the points come
                distorted by the motion.

        Returns:
            points: (N, 4) float32, x y z [m] in the lidar frame, intensity 0..1.
            time_offset_ns: (N,) int64, relative to the stamp, zero or before.
            ids: (N,) int32, object met by each point; 0 is scenery, -1 nothing.
        """
        self.at(time_s)
        local, column = _beam_rays(tuple(spec.elevation_deg.tolist()), spec.columns)
        rotation = map_from_lidar[:3, :3].astype(np.float32)
        rays = np.empty((len(local), 6), np.float32)
        late = (column.astype(np.float32) + 1 - spec.columns) / spec.columns * spec.turn_s  # <= 0
        if twist is None:
            rays[:, 3:] = local @ rotation.T
            rays[:, :3] = map_from_lidar[:3, 3]
        else:
            turn = late * np.float32(twist[5])
            cosine, sine = np.cos(turn), np.sin(turn)
            turned = np.stack(
                [
                    cosine * local[:, 0] - sine * local[:, 1],
                    sine * local[:, 0] + cosine * local[:, 1],
                    local[:, 2],
                ],
                axis=1,
            )
            rays[:, 3:] = turned @ rotation.T
            moved = late[:, None] * twist[None, :3].astype(np.float32)
            rays[:, :3] = map_from_lidar[:3, 3].astype(np.float32) + moved @ rotation.T
        answer = self._scene.cast_rays(_tensor(rays), nthreads=self._threads)
        triangle = answer["primitive_ids"].numpy()
        distance = answer["t_hit"].numpy()
        met = (triangle != _MISS) & (distance < spec.max_range_m) & (distance > spec.min_range_m)
        rows = np.flatnonzero(met)
        distance, triangle = distance[rows], triangle[rows].astype(np.int32)
        part = self._mesh.part[triangle]
        table = self.world.parts
        facing = np.abs(
            np.einsum("ij,ij->i", answer["primitive_normals"].numpy()[rows], rays[rows, 3:])
        )
        draw = rng.random((3, len(rows)), dtype=np.float32)
        grain = 1 + 0.3 * (draw[2] - 0.5)
        power = table.reflectivity[part] * (0.15 + 0.85 * facing) * grain
        intensity = np.clip(spec.gain * power**spec.gamma - spec.black, 0.0, 1.0)
        # A weak echo is lost more often: half of them at the reach of a surface of 0.1.
        signal = power / 0.1 * (spec.reach_m / np.maximum(distance, 1.0)) ** 2
        lost = materials.DROPOUT[table.material[part]]
        seen = (draw[0] < signal / (1 + signal) * 1.03) & (draw[1] > lost)
        seen &= rng.random(len(rows), dtype=np.float32) > spec.dropout
        ids = self._mesh.object_id[part]
        beam = rows // spec.columns
        bias = np.broadcast_to(spec.beam_bias_m, (spec.beams,)).astype(np.float32)
        noise = rng.standard_normal(len(rows), dtype=np.float32) * np.float32(spec.range_noise_m)
        distance = distance + bias[beam] + noise
        ghosts = np.flatnonzero(rng.random(len(rows), dtype=np.float32) < spec.spurious)
        distance[ghosts] *= rng.random(len(ghosts), dtype=np.float32)
        ids[ghosts] = -1
        seen &= distance > spec.min_range_m
        kept = rows[seen]
        points = np.empty((len(kept), 4), np.float32)
        points[:, :3] = local[kept] * distance[seen][:, None]
        points[:, 3] = intensity[seen]
        offset = np.round(late[kept].astype(np.float64) * 1e9).astype(np.int64)
        return points, offset, ids[seen]

    def first_hits(self, origin: Float, targets: Array) -> Index:
        """The object first met on the way from a point to others.

        Args:
            origin: (3,) map [m].
            targets: (N, 3) float32, map [m].

        Returns:
            (N,) int32, object ids; 0 is scenery, -1 nothing.
        """
        rays = np.empty((len(targets), 6), np.float32)
        rays[:, :3] = origin
        rays[:, 3:] = targets - rays[:, :3]
        answer = self._scene.cast_rays(_tensor(rays), nthreads=self._threads)
        triangle = answer["primitive_ids"].numpy()
        met = triangle != _MISS
        part = self._mesh.part[np.where(met, triangle, 0).astype(np.int32)]
        return np.where(met, self._mesh.object_id[part], np.int32(-1))

    def nearest(self, origin: Float, directions: Float) -> float:
        """The shortest way from a point (3,) to anything along unit directions (N, 3) [m]."""
        rays = np.empty((len(directions), 6), np.float32)
        rays[:, :3], rays[:, 3:] = origin, directions
        answer = self._scene.cast_rays(_tensor(rays), nthreads=self._threads)
        return float(answer["t_hit"].numpy().min())

    def _build(self, time_s: float) -> None:
        self._mesh = instantiate(self.world.parts, self.world.frames, time_s)
        self._scene = o3d.t.geometry.RaycastingScene(nthreads=self._threads)
        self._scene.add_triangles(_tensor(self._mesh.vertices), _tensor(self._mesh.triangles))
        self._time_s = time_s

    def _normals(self, triangle: Index, uv: Array) -> Array:
        """Unit normals (3, N), bent over the triangles of round things."""
        corner = self._mesh.corner_normals.reshape(-1, 9)
        normal = self._mesh.face_normals.take(triangle, axis=0)
        rows = np.flatnonzero(self._mesh.smooth[triangle])
        if len(rows):
            three = corner.take(triangle[rows], axis=0).T  # (9, n)
            u, v = uv[rows, 0], uv[rows, 1]
            mixed = three[:3] * (1 - u - v) + three[3:6] * u + three[6:] * v
            mixed /= np.maximum(np.sqrt((mixed * mixed).sum(axis=0)), 1e-6)
            normal[rows] = mixed.T
        return np.ascontiguousarray(normal.T)

    def _on_part(self, part: Index, place: Array) -> Array:
        """Places (3, N) of the map in their parts' own axes."""
        rotation = self._mesh.part_rotation  # map from part, so its transpose leads back
        shift = np.matmul(self._mesh.part_centre[:, None], rotation)[:, 0]
        table = np.concatenate([rotation.reshape(-1, 9), shift], axis=1)
        c = np.ascontiguousarray(table.take(part, axis=0).T)
        result = np.empty_like(place)
        for axis in range(3):
            result[axis] = place[0] * c[axis] + place[1] * c[3 + axis] + place[2] * c[6 + axis]
        result -= c[9:]
        return result

    def _light(self, place: Array, normal: Array, shape: tuple[int, int]) -> Array:
        """Light (3, N) that falls on surfaces: sky from above, sun where it reaches."""
        lighting = self.world.lighting
        towards = np.array(lighting.sun_direction, np.float32)
        # Shadows (of the sun, or of the sky's brightest part) at half the resolution.
        start = place.reshape(3, *shape)[:, ::2, ::2]
        out = normal.reshape(3, *shape)[:, ::2, ::2]
        half = start.shape[1:]
        rays = np.empty((half[0] * half[1], 6), np.float32)
        rays[:, :3] = (start + out * np.float32(0.02)).reshape(3, -1).T
        rays[:, 3:] = towards
        far = float(3.0 if lighting.occlusion > 0 else np.inf)
        blocked = self._scene.test_occlusions(
            _tensor(rays), tnear=0.0, tfar=far, nthreads=self._threads
        ).numpy()
        lit = (~blocked).astype(np.float32).reshape(half)
        if lighting.occlusion > 0:
            lit = cv2.blur(lit, (9, 9))
        lit = cv2.resize(lit, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR).reshape(-1)
        upward: Array = np.float32(0.68) + np.float32(0.32) * normal[2]
        ambient = np.array(lighting.ambient, np.float32)[:, None]
        if lighting.occlusion > 0:
            upward *= 1 - np.float32(lighting.occlusion) * (1 - lit)
        light: Array = upward * ambient
        if lighting.occlusion > 0:
            return light
        sunlit = np.maximum(towards @ normal, 0) * lit
        light += sunlit * np.array(lighting.sun, np.float32)[:, None]
        return light

    def _add_gloss(
        self, radiance: Array, material: Index, normal: Array, direction: Array, facing: Array
    ) -> None:
        """Adds mirror light to (3, N): the sky seen in paint and glass, and the sun's glint."""
        gloss = materials.LOOK[:, 3].take(material)
        lighting = self.world.lighting
        rows = np.flatnonzero(gloss > 0.05)
        if not len(rows):
            return
        along, cosine, gloss = direction[:, rows], facing[rows], gloss[rows]
        mirrored = along + 2 * cosine * normal[:, rows]
        fresnel = gloss * (np.float32(0.04) + np.float32(0.6) * (1 - cosine) ** 4)
        up = np.clip(mirrored[2] * 1.5 + 0.2, 0, 1).astype(np.float32)
        horizon = np.array(lighting.horizon, np.float32)[:, None]
        ambient = np.array(lighting.ambient, np.float32)[:, None]
        added = fresnel * (up * horizon + (1 - up) * np.float32(0.12) * ambient)
        if sum(lighting.sun) > 0:
            towards = np.array(lighting.sun_direction, np.float32)
            glint = np.maximum(towards @ mirrored, 0) ** 60
            added += np.float32(1.2) * gloss * glint * np.array(lighting.sun, np.float32)[:, None]
        radiance[:, rows] += added


def _tensor(array: NDArray[Any]) -> o3d.core.Tensor:
    """A tensor that shares the array's memory."""
    return o3d.core.Tensor.from_numpy(np.ascontiguousarray(array))


def expose(
    radiance: Array, spec: CameraSpec, lighting: Lighting, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """A camera's image (H, W, 3) uint8 of linear light (H, W, 3): lens, exposure, noise, tone."""
    if spec.blur_px > 0.05:
        radiance = np.asarray(cv2.GaussianBlur(radiance, (0, 0), spec.blur_px), np.float32)
    mean = float(np.minimum(radiance[::4, ::4], 1.5).mean())
    gain = lighting.exposure / max(mean, 1e-4)
    lens = _vignetting(spec.width, spec.height, spec.vignetting) * np.float32(gain)
    lens = lens * np.array([spec.white_balance[0], 1.0, spec.white_balance[1]], np.float32)
    tone = _tone_curve(spec.gamma)
    level = np.clip(radiance * lens * np.float32(len(tone) - 1), 0, len(tone) - 1)
    image = tone[level.astype(np.int32)]
    # Fresh normal numbers cost more than all the rest: a drawn stretch of a pool stands for them.
    if image.size < _NOISE_POOL:
        shift = int(rng.integers(_NOISE_POOL - image.size))
        pool = _noise_pool()[shift : shift + image.size]
    else:
        pool = rng.standard_normal(image.size, dtype=np.float32)
    image = image + pool.reshape(image.shape) * np.float32(255 * lighting.noise)
    return np.clip(image, 0, 255).astype(np.uint8)


@lru_cache(maxsize=1)
def _noise_pool() -> Array:
    return np.random.default_rng(11).standard_normal(_NOISE_POOL, dtype=np.float32)


@lru_cache(maxsize=16)
def _tone_curve(gamma: float) -> Array:
    """(4096,) float32, 0..255."""
    linear = np.linspace(0, 1, 4096)
    curve: Array = (255 * np.power(linear, 1 / gamma)).astype(np.float32)
    return curve


@lru_cache(maxsize=16)
def _vignetting(width: int, height: int, strength: float) -> Array:
    u = (np.arange(width) - (width - 1) / 2) / (width / 2)
    v = (np.arange(height) - (height - 1) / 2) / (width / 2)
    square = u[None] ** 2 + v[:, None] ** 2
    light: Array = (1 - strength * square / square.max()).astype(np.float32)[..., None]
    return light


@lru_cache(maxsize=16)
def _pixel_rays(width: int, height: int, fov_deg: float) -> Array:
    """(3, H * W) float32, unit, optical frame."""
    focal = width / 2 / np.tan(np.radians(fov_deg) / 2)
    u = ((np.arange(width) - (width - 1) / 2) / focal).astype(np.float32)[None]
    v = ((np.arange(height) - (height - 1) / 2) / focal).astype(np.float32)[:, None]
    depth = 1 / np.sqrt(u * u + v * v + 1)
    return np.stack([u * depth, v * depth, depth]).reshape(3, -1)


@lru_cache(maxsize=8)
def _beam_rays(elevation_deg: tuple[float, ...], columns: int) -> tuple[Array, Index]:
    """Unit rays (B * C, 3) of the lidar frame, row by row, and their column.

    A turn begins behind and runs clockwise, as spinning lidars do.
    """
    azimuth = np.pi - 2 * np.pi * np.arange(columns) / columns
    elevation = np.radians(np.array(elevation_deg))[:, None]
    rays = np.stack(
        [
            np.cos(elevation) * np.cos(azimuth),
            np.cos(elevation) * np.sin(azimuth),
            np.broadcast_to(np.sin(elevation), (len(elevation_deg), columns)),
        ],
        axis=-1,
    )
    column = np.tile(np.arange(columns, dtype=np.int32), len(elevation_deg))
    return rays.reshape(-1, 3).astype(np.float32), column


def _sky(lighting: Lighting, direction: Array) -> Array:
    """Light (3, N) of the sky along unit directions (3, N), with clouds and the sun's glare."""
    up = np.clip(direction[2], 0, 1)
    zenith = np.array(lighting.zenith, np.float32)[:, None]
    horizon = np.array(lighting.horizon, np.float32)[:, None]
    sky: Array = horizon + (zenith - horizon) * np.sqrt(up)
    flat = direction[:2] * (60 / (up + np.float32(0.15)))
    atlas = materials.noise_atlas()
    u, v = np.mod(flat.astype(np.int32), len(atlas))
    cloud = np.clip(atlas[v, u, 0] + 0.2, 0, 1) * np.float32(0.7 * lighting.cloud)
    sky += (np.float32(max(lighting.horizon)) - sky) * cloud
    if sum(lighting.sun) > 0:
        glare = np.maximum(np.array(lighting.sun_direction, np.float32) @ direction, 0) ** 200
        sky += 3 * glare * np.array(lighting.sun, np.float32)[:, None]
    return sky
