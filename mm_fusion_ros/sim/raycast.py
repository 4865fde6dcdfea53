"""Camera images and lidar sweeps by ray casting (Open3D, Embree)."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import open3d as o3d
from numpy.typing import NDArray

from mm_fusion_ros.samples import Float
from mm_fusion_ros.sim import materials
from mm_fusion_ros.sim.lighting import Lighting
from mm_fusion_ros.sim.materials import Hits
from mm_fusion_ros.sim.mesh import Array, Index, Mesh, instantiate
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
        direction = local @ map_from_camera[:3, :3].T.astype(np.float32)
        origin = map_from_camera[:3, 3].astype(np.float32)
        rays = np.empty((len(direction), 6), np.float32)
        rays[:, :3], rays[:, 3:] = origin, direction
        answer = self._scene.cast_rays(o3d.core.Tensor(rays), nthreads=self._threads)
        triangle = answer["primitive_ids"].numpy()
        sky = triangle == _MISS
        triangle = np.where(sky, 0, triangle).astype(np.int32)
        distance = np.where(sky, np.float32(1.0), answer["t_hit"].numpy())
        normal = self._normals(triangle, answer["primitive_uvs"].numpy())
        facing = np.einsum("ij,ij->i", normal, direction)
        normal = normal * np.where(facing > 0, np.float32(-1), np.float32(1))[:, None]
        place = rays[:, :3] + direction * distance[:, None]
        part = self._mesh.part[triangle]
        pixel_angle = np.float32(np.radians(spec.fov_deg) / spec.width)
        hits = self._hits(triangle, part, place, distance, np.abs(facing), pixel_angle, shape)
        table = self.world.parts
        material = table.material[part]
        surface = materials.albedo(table.colour[part], material, hits)
        light = self._light(place, normal, shape)
        radiance = surface * light
        radiance += self._gloss(material, normal, direction, np.abs(facing))
        lighting = self.world.lighting
        air = np.exp(-distance / np.float32(lighting.haze_m))[:, None]
        horizon = np.array(lighting.horizon, np.float32)
        radiance = radiance * air + horizon * (1 - air)
        rows = np.flatnonzero(sky)
        if len(rows):
            radiance[rows] = _sky(lighting, direction[rows])
        ids = np.where(sky, np.int32(-1), self._mesh.object_id[part]).reshape(shape)
        return expose(radiance.reshape(*shape, 3), spec, lighting, rng), ids

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
            twist: (6,) float64, vx vy vz [m/s] wx wy wz [rad/s] of the lidar in its own frame; with it
                each column is fired from where the lidar was then, and the points come distorted.

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
        answer = self._scene.cast_rays(o3d.core.Tensor(rays), nthreads=self._threads)
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
        intensity = np.clip(spec.gain * power**spec.gamma, 0.0, 1.0)
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
        answer = self._scene.cast_rays(o3d.core.Tensor(rays), nthreads=self._threads)
        triangle = answer["primitive_ids"].numpy()
        met = triangle != _MISS
        part = self._mesh.part[np.where(met, triangle, 0).astype(np.int32)]
        return np.where(met, self._mesh.object_id[part], np.int32(-1))

    def _build(self, time_s: float) -> None:
        self._mesh = instantiate(self.world.parts, self.world.frames, time_s)
        self._scene = o3d.t.geometry.RaycastingScene(nthreads=self._threads)
        self._scene.add_triangles(
            o3d.core.Tensor(self._mesh.vertices), o3d.core.Tensor(self._mesh.triangles)
        )
        self._time_s = time_s

    def _normals(self, triangle: Index, uv: Array) -> Array:
        corner = self._mesh.corner_normals
        normal: Array = corner[triangle, 0]
        rows = np.flatnonzero(self._mesh.smooth[triangle])
        if len(rows):
            three = corner[triangle[rows]]
            u, v = uv[rows, :1], uv[rows, 1:]
            mixed = three[:, 0] * (1 - u - v) + three[:, 1] * u + three[:, 2] * v
            length = np.sqrt(np.einsum("ij,ij->i", mixed, mixed))
            normal[rows] = mixed / np.maximum(length, 1e-6)[:, None]
        return normal

    def _hits(
        self,
        triangle: Index,
        part: Index,
        place: Array,
        distance: Array,
        facing: Array,
        pixel_angle: np.float32,
        shape: tuple[int, int],
    ) -> Hits:
        table = self.world.parts
        from_centre = place - self._mesh.part_centre[part]
        local = np.matmul(from_centre[:, None, :], self._mesh.part_rotation[part])[:, 0]
        axis = self._mesh.axis[triangle]
        plane = np.empty((len(part), 2), np.float32)
        plane[:, 0] = np.where(axis == 0, local[:, 1], local[:, 0])
        plane[:, 1] = np.where(axis == 2, local[:, 1], local[:, 2])
        footprint = distance * pixel_angle / np.maximum(facing, np.float32(0.08))
        phase = table.phase[part]
        scale = materials.LOOK[table.material[part], 0]
        noise = materials.noise_at(plane, scale, phase, shape)
        return Hits(local, plane, table.size[part], axis, footprint, phase, table.accent[part], noise)

    def _light(self, place: Array, normal: Array, shape: tuple[int, int]) -> Array:
        """Light (N, 3) that falls on surfaces: sky from above, sun where it reaches."""
        lighting = self.world.lighting
        towards = np.array(lighting.sun_direction, np.float32)
        # Shadows (of the sun, or of the sky's brightest part) at half the resolution.
        grid = place.reshape(*shape, 3)[::2, ::2]
        out = normal.reshape(*shape, 3)[::2, ::2]
        start = (grid + out * np.float32(0.02)).reshape(-1, 3)
        rays = np.empty((len(start), 6), np.float32)
        rays[:, :3], rays[:, 3:] = start, towards
        far = float(3.0 if lighting.occlusion > 0 else np.inf)
        blocked = self._scene.test_occlusions(
            o3d.core.Tensor(rays), tnear=0.0, tfar=far, nthreads=self._threads
        ).numpy()
        open_ = (~blocked).astype(np.float32).reshape(grid.shape[:2])
        if lighting.occlusion > 0:
            open_ = cv2.blur(open_, (9, 9))
        size = (shape[1], shape[0])
        open_ = cv2.resize(open_, size, interpolation=cv2.INTER_LINEAR).reshape(-1)
        upward = 0.68 + 0.32 * normal[:, 2]
        ambient = np.array(lighting.ambient, np.float32)
        if lighting.occlusion > 0:
            upward = upward * (1 - np.float32(lighting.occlusion) * (1 - open_))
            return upward[:, None] * ambient
        sunlit = np.maximum(normal @ towards, 0.0) * open_
        return upward[:, None] * ambient + sunlit[:, None] * np.array(lighting.sun, np.float32)

    def _gloss(self, material: Index, normal: Array, direction: Array, facing: Array) -> Array:
        """Mirror light (N, 3): the sky seen in paint and glass, and the sun's glint."""
        gloss = materials.LOOK[material, 3]
        lighting = self.world.lighting
        result = np.zeros_like(normal)
        rows = np.flatnonzero(gloss > 0.05)
        if not len(rows):
            return result
        along, out, cosine = direction[rows], normal[rows], facing[rows]
        mirrored = along + 2 * cosine[:, None] * out
        fresnel = gloss[rows] * (0.04 + 0.6 * (1 - cosine) ** 4)
        up = np.clip(mirrored[:, 2] * 1.5 + 0.2, 0, 1)[:, None]
        seen = up * np.array(lighting.horizon, np.float32) + (1 - up) * np.float32(0.12) * np.array(
            lighting.ambient, np.float32
        )
        result[rows] = fresnel[:, None] * seen
        if sum(lighting.sun) > 0:
            glint = np.maximum(mirrored @ np.array(lighting.sun_direction, np.float32), 0) ** 60
            result[rows] += (1.2 * gloss[rows] * glint)[:, None] * np.array(lighting.sun, np.float32)
        return result


def expose(
    radiance: Array, spec: CameraSpec, lighting: Lighting, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """A camera's image (H, W, 3) uint8 of linear light (H, W, 3): lens, exposure, noise, tone."""
    if spec.blur_px > 0.05:
        radiance = cv2.GaussianBlur(radiance, (0, 0), spec.blur_px)
    mean = float(np.minimum(radiance[::4, ::4], 1.5).mean())
    gain = lighting.exposure / max(mean, 1e-4)
    lens = _vignetting(spec.width, spec.height, spec.vignetting) * np.float32(gain)
    tone = _tone_curve()
    level = np.clip(radiance * lens * np.float32(len(tone) - 1), 0, len(tone) - 1)
    image = tone[level.astype(np.int32)]
    # Two pools of normal numbers stand for fresh ones, shifted by a drawn amount.
    shift = int(rng.integers(_NOISE_POOL - image.size)) if image.size < _NOISE_POOL else 0
    pool = np.resize(_noise_pool()[shift:], image.size) if shift == 0 else (
        _noise_pool()[shift : shift + image.size]
    )  # fmt: skip
    image = image + pool.reshape(image.shape) * np.float32(255 * lighting.noise)
    return np.clip(image, 0, 255).astype(np.uint8)


@lru_cache(maxsize=1)
def _noise_pool() -> Array:
    return np.random.default_rng(11).standard_normal(_NOISE_POOL, dtype=np.float32)


@lru_cache(maxsize=1)
def _tone_curve() -> Array:
    """(4096,) float32, 0..255: gamma with a soft shoulder at the top."""
    linear = np.linspace(0, 1, 4096)
    return (255 * np.power(linear, 1 / 2.2)).astype(np.float32)


@lru_cache(maxsize=16)
def _vignetting(width: int, height: int, strength: float) -> Array:
    u = (np.arange(width) - (width - 1) / 2) / (width / 2)
    v = (np.arange(height) - (height - 1) / 2) / (width / 2)
    square = u[None] ** 2 + v[:, None] ** 2
    return (1 - strength * square / square.max()).astype(np.float32)[..., None]


@lru_cache(maxsize=16)
def _pixel_rays(width: int, height: int, fov_deg: float) -> Array:
    """(H * W, 3) float32, unit, optical frame."""
    focal = width / 2 / np.tan(np.radians(fov_deg) / 2)
    u, v = np.meshgrid(np.arange(width) - (width - 1) / 2, np.arange(height) - (height - 1) / 2)
    rays = np.stack([u / focal, v / focal, np.ones_like(u)], axis=-1).reshape(-1, 3)
    return (rays / np.linalg.norm(rays, axis=1, keepdims=True)).astype(np.float32)


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
    """Light (N, 3) of the sky along unit directions (N, 3), with clouds and the sun's glare."""
    up = np.clip(direction[:, 2], 0, 1)
    height = np.sqrt(up)[:, None]
    zenith, horizon = np.array(lighting.zenith, np.float32), np.array(lighting.horizon, np.float32)
    sky = horizon + (zenith - horizon) * height
    flat = direction[:, :2] / (up[:, None] + 0.15) * 60
    atlas = materials.noise_atlas()
    u = (flat[:, 0].astype(np.int32)) % len(atlas)
    v = (flat[:, 1].astype(np.int32)) % len(atlas)
    cloud = np.clip(atlas[v, u, 0] + 0.2, 0, 1) * np.float32(lighting.cloud)
    bright = np.float32(max(lighting.horizon)) * np.ones(3, np.float32)
    sky = sky + (bright - sky) * (0.7 * cloud)[:, None]
    if sum(lighting.sun) > 0:
        glare = np.maximum(direction @ np.array(lighting.sun_direction, np.float32), 0) ** 200
        sky = sky + (3.0 * glare)[:, None] * np.array(lighting.sun, np.float32)
    return sky
