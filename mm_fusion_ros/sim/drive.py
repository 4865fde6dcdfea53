"""Samples with their truth: single scenes for training, and a robot that drives through a world."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from mm_fusion_ros import geometry
from mm_fusion_ros.samples import CameraFrame, Float, LidarScan
from mm_fusion_ros.sim.labels import Label, label_objects
from mm_fusion_ros.sim.raycast import Renderer
from mm_fusion_ros.sim.sensors import Rig, random_rig
from mm_fusion_ros.sim.simulation import Simulation, SimulationOptions, Truth, demo_rig
from mm_fusion_ros.sim.world import WorldOptions, generate

__all__ = [
    "SCENE_STAMP_NS", "SceneSample", "Simulation", "SimulationOptions", "Truth", "bench",
    "demo_rig", "scene",
]  # fmt: skip

# A scene's samples carry this stamp: any but zero, which means "no stamp".
SCENE_STAMP_NS = 1_000_000_000


@dataclass(frozen=True, eq=False)
class SceneSample:
    """One instant, seen by all cameras and the lidar, with the truth.

    Attributes:
        odom_from_base: (4, 4) float64, the true pose (the odometry frame is the map here).
        lighting: "sun", "shade" or "dusk".
        kind: "yard" or "street".
    """

    cameras: tuple[CameraFrame, ...]
    lidar: LidarScan
    labels: tuple[Label, ...]
    odom_from_base: Float
    seed: int
    lighting: str
    kind: str


def scene(
    seed: int,
    *,
    image_size: tuple[int, int] = (384, 288),
    rig: Rig | None = None,
    options: WorldOptions | None = None,
) -> SceneSample:
    """One labelled sample at a drawn pose in the world of a seed; deterministic in the seed.

    Args:
        seed: of the world, the rig and the noise.
        image_size: width and height [pixels]; a given rig has its own.
        rig: the sensors; None draws them too.
        options: of the world; None takes the defaults.
    """
    world = generate(seed, options or WorldOptions())
    rng = np.random.default_rng([seed, 2])
    rig = rig or random_rig(rng, image_size)
    start = world.starts[int(rng.integers(len(world.starts)))]
    tilt = np.clip(rng.normal(0.0, 0.006, 2), -0.015, 0.015)
    map_from_base = geometry.from_euler(
        np.array([start[0], start[1], 0.0]), float(tilt[0]), float(tilt[1]), float(start[2])
    )
    renderer = Renderer(world)
    frames, ids = [], []
    for spec in rig.cameras:
        image, under = renderer.camera(map_from_base @ spec.base_from_camera, spec, 0.0, rng)
        ids.append(under)
        frames.append(
            CameraFrame(
                SCENE_STAMP_NS, f"{spec.name}_optical", spec.name, image, spec.intrinsics,
                spec.base_from_camera,
            )
        )  # fmt: skip
    points, offset, met = renderer.lidar(
        map_from_base @ rig.lidar.base_from_lidar, rig.lidar, 0.0, rng
    )
    scan = LidarScan(
        SCENE_STAMP_NS, "lidar", rig.lidar.name, points, rig.lidar.base_from_lidar, offset
    )
    labels = label_objects(renderer, map_from_base, rig.cameras, tuple(ids), met, 0.0)
    return SceneSample(
        tuple(frames), scan, labels, map_from_base, seed, world.lighting.name, world.kind
    )


def bench(count: int = 60, first_seed: int = 900_000) -> float:
    """Prints and returns labelled samples a second, one camera and 32x1024 lidar, one process."""
    rng = np.random.default_rng(0)
    spent = 0.0
    for index in range(count + 2):
        rig = random_rig(rng, cameras=1, beams=32)
        begin = time.perf_counter()
        scene(first_seed + index, rig=rig)
        # The first two pay for tables that all later ones share.
        spent += time.perf_counter() - begin if index >= 2 else 0.0
    rate = count / spent
    print(f"{rate:.1f} labelled samples/s (384x288 camera, 32-beam lidar, one process)")
    return rate
