"""Camera images and lidar sweeps by ray casting (Open3D, Embree)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import open3d as o3d
from numpy.typing import NDArray

from mm_fusion_ros.samples import Float
from mm_fusion_ros.sim import materials, shading
from mm_fusion_ros.sim.ground import Ground
from mm_fusion_ros.sim.lighting import Lighting
from mm_fusion_ros.sim.mesh import Mesh, instantiate
from mm_fusion_ros.sim.primitives import Array, Index
from mm_fusion_ros.sim.sensors import CameraSpec, LidarSpec
from mm_fusion_ros.sim.shading import Seen, Shader
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
        seen, _ = self._cast(origin[:, None], direction)
        open_sky = self._open_sky(seen, origin, shape)
        pixel_angle = np.float32(np.radians(spec.fov_deg) / spec.width)
        linear = self._shader.surfaces(seen, origin, open_sky, pixel_angle)
        above = np.flatnonzero(seen.sky)
        if len(above):
            linear[:, above] = shading.sky(self.world.lighting, direction.take(above, axis=1))
        under = self._mesh.object_id.take(self._mesh.part.take(seen.triangle))
        ids = np.where(seen.sky, np.int32(-1), under).reshape(shape)
        image = np.asarray(cv2.merge([plane.reshape(shape) for plane in linear]), np.float32)
        return expose(image, spec, self.world.lighting, rng), ids

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
        late = (column.astype(np.float32) + 1 - spec.columns) / spec.columns * spec.turn_s  # <= 0
        origin = map_from_lidar[:3, 3:].astype(np.float32)
        direction = rotation @ local.T
        if twist is not None:
            turn = late * np.float32(twist[5])
            cosine, sine = np.cos(turn), np.sin(turn)
            turned = np.stack(
                [
                    cosine * local[:, 0] - sine * local[:, 1],
                    sine * local[:, 0] + cosine * local[:, 1],
                    local[:, 2],
                ]
            )
            direction = rotation @ turned
            moved = np.asarray(late * twist[:3, None], np.float32)
            origin = np.asarray(origin + rotation @ moved, np.float32)
        found, flat = self._cast(origin, direction)
        far = found.distance
        met = ~found.sky & (far < spec.max_range_m) & (far > spec.min_range_m)
        rows = np.flatnonzero(met)
        distance, triangle = far.take(rows), found.triangle.take(rows)
        part = self._mesh.part[triangle]
        table = self.world.parts
        along = direction.take(rows, axis=1)
        # Smooth things are met by their flat triangles too: a laser knows no shading.
        round_ = self._mesh.smooth.take(triangle)
        normal = self._mesh.face_normals.take(triangle, axis=0)
        normal[round_] = flat[rows[round_]]
        facing = np.abs((normal.T * along).sum(axis=0))
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
        start = origin.astype(np.float32)[:, None]
        found, _ = self._cast(start, np.ascontiguousarray(targets.T - start))
        part = self._mesh.part.take(found.triangle)
        return np.where(found.sky, np.int32(-1), self._mesh.object_id.take(part))

    def nearest(self, origin: Float, directions: Float) -> float:
        """The shortest way from a point (3,) to anything along unit directions (N, 3) [m]."""
        found, _ = self._cast(origin.astype(np.float32)[:, None], directions.T.astype(np.float32))
        return float(np.where(found.sky, np.inf, found.distance).min())

    def _build(self, time_s: float) -> None:
        self._mesh = instantiate(self.world.parts, self.world.frames, time_s)
        self._scene = o3d.t.geometry.RaycastingScene(nthreads=self._threads)
        self._ground = Ground(self.world.parts, self._mesh)
        triangles = self._mesh.triangles.take(self._ground.others, axis=0)
        self._scene.add_triangles(_tensor(self._mesh.vertices), _tensor(triangles))
        self._shader = Shader(self.world, self._mesh)
        self._time_s = time_s

    def _cast(self, origin: Array, direction: Array) -> tuple[Seen, Array]:
        """What rays meet first, and the flat normals (N, 3) of what is not ground.

        Args:
            origin: (3, 1) or (3, N) float32, map [m].
            direction: (3, N) float32.
        """
        rays = np.empty((direction.shape[1], 6), np.float32)
        rays[:, :3], rays[:, 3:] = origin.T, direction.T
        answer = self._scene.cast_rays(_tensor(rays), nthreads=self._threads)
        found = answer["primitive_ids"].numpy()
        sky = found == _MISS
        triangle = np.asarray(self._ground.others.take(found, mode="clip"))
        distance = answer["t_hit"].numpy()  # infinite where nothing was met
        rows, down, flat = self._ground.meet(origin, direction)
        first = np.flatnonzero(down < distance.take(rows))
        rows = rows[first]
        distance[rows], triangle[rows], sky[rows] = down[first], flat[first], False
        distance[sky] = 1.0
        seen = Seen(triangle, distance, answer["primitive_uvs"].numpy(), direction, sky)
        return seen, answer["primitive_normals"].numpy()

    def _open_sky(self, seen: Seen, origin: Array, shape: tuple[int, int]) -> Array:
        """How far (N,), 0 to 1, the sun reaches each place; without a sun, the sky above it.

        Found for every other pixel of every other row.
        """
        lighting = self.world.lighting
        sparse = np.arange(shape[0] * shape[1]).reshape(shape)[::2, ::2]
        some = seen.take(sparse.ravel())
        normal, _ = self._shader.normals(some)
        rays = np.empty((sparse.size, 6), np.float32)
        start = some.direction * some.distance + origin[:, None] + normal * np.float32(0.02)
        rays[:, :3] = start.T
        rays[:, 3:] = lighting.sun_direction
        far = float(3.0 if lighting.occlusion > 0 else np.inf)
        blocked = self._scene.test_occlusions(
            _tensor(rays), tnear=0.0, tfar=far, nthreads=self._threads
        ).numpy()
        lit = (~blocked).astype(np.float32).reshape(sparse.shape)
        if lighting.occlusion > 0:
            lit = np.asarray(cv2.blur(lit, (9, 9)), np.float32)
        wide = cv2.resize(lit, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
        return np.asarray(wide, np.float32).reshape(-1)


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
    tone = _tone_curve(spec.gamma)
    balance = np.array([spec.white_balance[0], 1.0, spec.white_balance[1]])
    scale = (balance * (gain * (len(tone) - 1))).astype(np.float32)
    level = 1 - np.float32(spec.vignetting) * _from_middle(spec.width, spec.height)
    level *= radiance.reshape(spec.height, -1)
    level *= np.tile(scale, spec.width)
    np.clip(level, 0, len(tone) - 1, out=level)
    image = tone.take(level.astype(np.intp), mode="clip").reshape(radiance.shape)
    # Fresh normal numbers cost more than all the rest: a drawn stretch of a pool stands for them.
    if image.size < _NOISE_POOL:
        shift = int(rng.integers(_NOISE_POOL - image.size))
        pool = _noise_pool()[shift : shift + image.size]
    else:
        pool = rng.standard_normal(image.size, dtype=np.float32)
    image += pool.reshape(image.shape) * np.float32(255 * lighting.noise)
    return np.clip(image, 0, 255, out=image).astype(np.uint8)


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
def _from_middle(width: int, height: int) -> Array:
    """(H, W * 3) float32, squared distance from the middle, 1 in the corners, for each channel."""
    u = (np.arange(width) - (width - 1) / 2) / (width / 2)
    v = (np.arange(height) - (height - 1) / 2) / (width / 2)
    square = u[None] ** 2 + v[:, None] ** 2
    return np.repeat(square / square.max(), 3, axis=1).astype(np.float32)


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
