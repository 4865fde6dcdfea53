"""Objects, cameras and answers for pictures whose pixels can be said beforehand."""

from __future__ import annotations

import numpy as np

from mm_fusion_ros import geometry
from mm_fusion_ros.outputs import (
    ActionTarget,
    FusedObject,
    FusedOutput,
    HoldReason,
    Intent,
    ObstacleGrid,
    PoseEstimate,
    Reason,
    Reliability,
)
from mm_fusion_ros.samples import CameraFrame, LidarScan, Modality

K = np.array([[100.0, 0.0, 160.0], [0.0, 100.0, 120.0], [0.0, 0.0, 1.0]])
# A camera at base_link's origin that looks forward: its z is x, its x is -y, its y is -z.
BASE_FROM_CAMERA = np.array(
    [[0.0, 0.0, 1.0, 0.0], [-1.0, 0.0, 0.0, 0.0], [0.0, -1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
)
HOLD = ActionTarget(go=False, intent=Intent.GO_TO, text="go to the car", reason=HoldReason.ABSENT)


def item(
    centre: tuple[float, float, float],
    size: tuple[float, float, float] = (2.0, 2.0, 2.0),
    yaw: float = 0.0,
    velocity: tuple[float, float, float] = (0.0, 0.0, 0.0),
    track_id: int = 1,
    name: str = "car",
) -> FusedObject:
    """An object; its position is certain to 0.3 m."""
    return FusedObject(
        track_id, name, 0.8, "red", 0.7, np.array(centre), np.array(size), yaw,
        np.array(velocity), np.eye(3) * 0.09, {"lidar": 1.0},
    )  # fmt: skip


def pose(x: float = 0.0, y: float = 0.0, yaw: float = 0.0) -> PoseEstimate:
    """A pose in map."""
    return PoseEstimate(0, geometry.planar(x, y, yaw), np.eye(4), np.eye(6) * 0.01, np.zeros(6))


def go(x: float, y: float) -> ActionTarget:
    """A target at x, y of map."""
    return ActionTarget(
        True, Intent.GO_TO, "go to the car", geometry.planar(x, y, 0.0), 0.9, 1, None, 1
    )


def reliability(trust: float = 0.9, reason: Reason = Reason.OK) -> dict[str, Reliability]:
    """A camera and a lidar."""
    return {
        "camera": Reliability("camera", Modality.CAMERA, trust, 0.4, reason, 0),
        "lidar": Reliability("lidar", Modality.LIDAR, 1.0, 0.6, Reason.OK, 0),
    }


def output(stamp_ns: int = 10**18, target: ActionTarget = HOLD, x: float = 0.0) -> FusedOutput:
    """One tick with a car ahead."""
    grid = ObstacleGrid(np.zeros((40, 40), np.int8), 1.0, np.array([-20.0, -20.0]))
    return FusedOutput(
        stamp_ns, (item((10.0, 0.0, 0.0)),), reliability(), pose(x), target, grid, False
    )


def frame() -> CameraFrame:
    """A grey picture."""
    return CameraFrame(
        10**18, "camera", "camera", np.full((240, 320, 3), 90, np.uint8), K, BASE_FROM_CAMERA
    )


def scan() -> LidarScan:
    """A few points, one of them broken."""
    points = np.array([[5, 0, 0, 1], [0, 5, 1, 1], [np.nan, 0, 0, 1]], np.float32)
    return LidarScan(10**18, "lidar", "lidar", points, np.eye(4))
