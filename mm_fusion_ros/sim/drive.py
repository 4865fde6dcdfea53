"""Samples with their truth: single scenes for training, and a robot that drives through a world."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mm_fusion_ros import geometry
from mm_fusion_ros.allocation import keep_freed_memory
from mm_fusion_ros.samples import CameraFrame, Float, LidarScan
from mm_fusion_ros.sim.labels import Label, label_objects
from mm_fusion_ros.sim.primitives import Index
from mm_fusion_ros.sim.raycast import Renderer
from mm_fusion_ros.sim.sensors import Rig, random_rig
from mm_fusion_ros.sim.simulation import Simulation, SimulationOptions, Truth, demo_rig
from mm_fusion_ros.sim.unfamiliar import strange_lidar, strange_world, thinned
from mm_fusion_ros.sim.world import WorldOptions, generate

__all__ = [
    "SCENE_STAMP_NS", "SceneSample", "Simulation", "SimulationOptions", "Truth", "bench",
    "demo_rig", "scene", "sequence",
]  # fmt: skip

# A scene's samples carry this stamp: any but zero, which means "no stamp".
SCENE_STAMP_NS = 1_000_000_000


@dataclass(frozen=True, eq=False)
class SceneSample:
    """One instant, seen by all cameras and the lidar, with the truth.

    Attributes:
        object_ids: for each camera (H, W) int32, the `object_id` of the label under each pixel; 0
            is scenery, -1 sky.
        odom_from_base: (4, 4) float64, the true pose (the odometry frame is the map here).
        lighting: "sun", "shade" or "dusk".
        kind: "yard" or "street".
        strange: `object_id` of the things that are of no known class.
    """

    cameras: tuple[CameraFrame, ...]
    lidar: LidarScan
    labels: tuple[Label, ...]
    object_ids: tuple[Index, ...]
    odom_from_base: Float
    seed: int
    lighting: str
    kind: str
    strange: tuple[int, ...] = ()


def scene(
    seed: int,
    *,
    image_size: tuple[int, int] = (384, 288),
    rig: Rig | None = None,
    options: WorldOptions | None = None,
    seen_from: Float | None = None,
    seen_at_s: float = 0.0,
    strange: str = "",
) -> SceneSample:
    """One labelled sample at a drawn pose in the world of a seed; deterministic in the seed.

    Args:
        seed: of the world, the rig and the noise.
        image_size: width and height [pixels]; a given rig has its own.
        rig: the sensors; None draws them too.
        options: of the world; None takes the defaults.
        seen_from: (4, 4), base_link where the sensors looked to base_link at the drawn pose: what
            sensors show that lag behind a robot that moves. Such a sample has no labels.
        seen_at_s: when the sensors looked; what moves is then elsewhere on its way [s].
        strange: of `unfamiliar.KINDS`, or empty for what training shows too.
    """
    stage = _Stage(seed, rig, image_size, options, strange)
    map_from_base = stage.map_from_base
    if seen_from is not None:
        map_from_base = map_from_base @ seen_from
    sample, met = stage.look(map_from_base, seen_at_s, SCENE_STAMP_NS)
    if seen_from is not None:
        return sample
    labels = label_objects(
        stage.renderer, map_from_base, stage.rig.cameras, sample.object_ids, met, 0.0
    )
    return replace(sample, labels=labels, strange=stage.strange)


def sequence(
    seed: int,
    arcs: Sequence[tuple[float, Float]],
    *,
    image_size: tuple[int, int] = (384, 288),
) -> Iterator[SceneSample]:
    """The scene of a seed, seen again and again by a robot that moves; without labels.

    Args:
        seed: as for `scene`.
        arcs: for each sample, in the order of time: when [s], and from where: (4, 4), base_link
            then to base_link of the scene's own sample, which is that of 0 s.
        image_size: width and height [pixels].
    """
    stage = _Stage(seed, None, image_size, None)
    for at_s, seen_from in arcs:
        stamp_ns = SCENE_STAMP_NS + round((at_s - arcs[0][0]) * 1e9)
        yield stage.look(stage.map_from_base @ seen_from, at_s, stamp_ns)[0]


class _Stage:
    """The world, the rig and the pose of a seed, and what the rig sees of it."""

    def __init__(
        self, seed: int, rig: Rig | None, image_size: tuple[int, int],
        options: WorldOptions | None, strange: str = "",
    ) -> None:  # fmt: skip
        self.seed = seed
        world = generate(seed, options or WorldOptions())
        self.world, self.strange = strange_world(world, strange, seed)
        self._kind = strange
        self._rng = np.random.default_rng([seed, 2])
        drawn = rig or random_rig(self._rng, image_size)
        self.rig = replace(drawn, lidar=strange_lidar(drawn.lidar, strange))
        start = self.world.starts[int(self._rng.integers(len(self.world.starts)))]
        tilt = np.clip(self._rng.normal(0.0, 0.006, 2), -0.015, 0.015)
        self.map_from_base = geometry.from_euler(
            np.array([start[0], start[1], 0.0]), float(tilt[0]), float(tilt[1]), float(start[2])
        )
        self.renderer = Renderer(self.world)

    def look(self, map_from_base: Float, at_s: float, stamp_ns: int) -> tuple[SceneSample, Index]:
        """What is seen from a pose, without labels, and which object each point met."""
        frames, ids = [], []
        for spec in self.rig.cameras:
            image, under = self.renderer.camera(
                map_from_base @ spec.base_from_camera, spec, at_s, self._rng
            )
            ids.append(under)
            frames.append(
                CameraFrame(
                    stamp_ns, f"{spec.name}_optical", spec.name, image, spec.intrinsics,
                    spec.base_from_camera,
                )
            )  # fmt: skip
        lidar = self.rig.lidar
        points, offset, met = self.renderer.lidar(
            map_from_base @ lidar.base_from_lidar, lidar, at_s, self._rng
        )
        kept = thinned(points, self._kind, self.seed)
        if not kept.all():
            points, offset, met = points[kept], offset[kept], met[kept]
        scan = LidarScan(stamp_ns, "lidar", lidar.name, points, lidar.base_from_lidar, offset)
        sample = SceneSample(
            tuple(frames), scan, (), tuple(ids), map_from_base, self.seed,
            self.world.lighting.name, self.world.kind,
        )  # fmt: skip
        return sample, met


def bench(count: int = 40, processes: int = 2, first_seed: int = 900_000) -> float:
    """Prints and returns labelled samples a second: 384x288 camera and 32-beam lidar.

    Args:
        count: samples of each process.
        processes: how many work side by side.
        first_seed: of the worlds.
    """
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes, initializer=keep_freed_memory) as pool:
        tasks = [(count, first_seed + 10_000 * index) for index in range(processes)]
        measured = pool.starmap(_bench_one, tasks, chunksize=1)
    rate = sum(count / wall for wall, _ in measured)
    busy = sum(cpu for _, cpu in measured) / (processes * count)
    print(
        f"{rate:.1f} labelled samples/s in {processes} processes, {1e3 * busy:.0f} ms of processor "
        "time each (camera 384x288, 32-beam lidar of 720 to 1800 columns, world included)"
    )
    return rate


def _bench_one(count: int, first_seed: int) -> tuple[float, float]:
    """Wall and processor seconds of so many samples."""
    rng = np.random.default_rng(first_seed)
    rigs = [random_rig(rng, cameras=1, beams=32) for _ in range(count + 2)]
    # The first two pay for tables that all later ones share.
    for index in range(2):
        scene(first_seed + index, rig=rigs[index])
    wall, cpu = time.perf_counter(), time.process_time()
    for index in range(2, count + 2):
        scene(first_seed + index, rig=rigs[index])
    return time.perf_counter() - wall, time.process_time() - cpu
