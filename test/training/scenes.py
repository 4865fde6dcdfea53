"""Made-up cached scenes, so that training can be tested without the simulator."""

from __future__ import annotations

import numpy as np

from mm_fusion_ros.geometry import transform
from mm_fusion_ros.training.cache import Scene

OPTICAL = np.array([[0, 0, 1, 0.0], [-1, 0, 0, 0.0], [0, -1, 0, 1.2], [0, 0, 0, 1.0]])
K = np.array([[320.0, 0.0, 319.5], [0.0, 320.0, 239.5], [0.0, 0.0, 1.0]])


def made_up(seed: int, cameras: int = 2, objects: int = 6) -> Scene:
    """Boxes of points on a flat ground, under random images."""
    rng = np.random.default_rng(seed)
    boxes = np.zeros((objects, 7), np.float32)
    boxes[:, :2] = rng.uniform(-30, 30, (objects, 2))
    boxes[:, 2] = 0.6
    boxes[:, 3:6] = rng.uniform(0.6, 2.5, (objects, 3))
    boxes[:, 6] = rng.uniform(-3, 3, objects)
    clouds = [rng.uniform((-20, -20, -0.05, 0), (20, 20, 0.05, 1), (3000, 4))]
    for box in boxes:
        inside = rng.uniform(-0.5, 0.5, (80, 3)) * box[3:6] + box[:3]
        clouds.append(np.column_stack([inside, rng.random(80)]))
    return Scene(
        images=rng.integers(0, 255, (cameras, 480, 640, 3), dtype=np.uint8),
        intrinsics=np.stack([K] * cameras),
        base_from_camera=np.stack([OPTICAL] * cameras),
        base_from_lidar=transform(np.eye(3), np.array([0.0, 0.0, 1.5])),
        points=np.vstack(clouds).astype(np.float32),
        class_index=rng.integers(0, 8, objects),
        colour_index=rng.integers(0, 9, objects),
        boxes=boxes,
        lidar_points=np.full(objects, 80),
        seen=np.ones((objects, cameras), bool),
        under=rng.integers(-1, objects, (cameras, 72, 96), dtype=np.int16),
    )
