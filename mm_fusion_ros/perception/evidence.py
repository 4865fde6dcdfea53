"""Samples of cameras and lidars on their way to the tick, and what of them is under way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Union

import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros.geometry import apply
from mm_fusion_ros.outputs import ObstacleGrid
from mm_fusion_ros.perception.features import CameraFeature, LidarFeature
from mm_fusion_ros.perception.seen_points import seen_points
from mm_fusion_ros.samples import CameraFrame, Float
from mm_fusion_ros.scheduling import Pending
from mm_fusion_ros.sensors.camera import PreparedImage
from mm_fusion_ros.sensors.lidar import PreparedScan

Feature = Union[CameraFeature, LidarFeature]


@dataclass
class Evidence:
    """One camera's or lidar's sample on its way to the tick.

    Attributes:
        frame: a camera's, checked; None of a lidar.
        prepared: model-ready; of most frames of a fast camera nobody ever wants it.
        feature: under way or done; None while nobody has asked for it.
        obstacles: the same for the obstacle grid of a scan, in base_link at its own stamp.
    """

    frame: CameraFrame | None = None
    prepared: PreparedImage | PreparedScan | None = None
    feature: Pending[Feature] | None = None
    obstacles: Pending[ObstacleGrid] | None = None

    def met_anything(self) -> bool:
        """Whether it is a scan with points."""
        return isinstance(self.prepared, PreparedScan) and len(self.prepared.points) > 0


Scans = Sequence[tuple[Evidence, Float]]
"""Scans with `tick_from_base`, (4, 4), of each."""


def obstacle_points(
    scans: Scans, cameras: Sequence[CameraFeature]
) -> NDArray[np.floating] | Pending[ObstacleGrid] | None:
    """What the obstacle grid of a tick is made of.

    Args:
        scans: of the tick.
        cameras: without a scan that met anything, what the images show takes its place.

    Returns:
        (n, 3) points in base_link at the tick [m]; or the grid itself, where it was made of the
        only scan already; or None without any.
    """
    if cameras and not any(evidence.met_anything() for evidence, _ in scans):
        return np.concatenate([_seen_by(camera) for camera in cameras])
    if not scans:
        return None
    evidence, tick_from_base = scans[0]
    if len(scans) == 1 and evidence.obstacles and np.array_equal(tick_from_base, np.eye(4)):
        return evidence.obstacles
    clouds = []
    for evidence, tick_from_base in scans:
        assert isinstance(evidence.prepared, PreparedScan)
        clouds.append(apply(tick_from_base, evidence.prepared.points[:, :3]))
    return np.concatenate(clouds)


def _seen_by(camera: CameraFeature) -> NDArray[np.floating]:
    image = camera.image
    base_from_camera = camera.tick_from_base @ image.base_from_camera
    return seen_points(camera.features[0], image.intrinsics, base_from_camera, image.valid)
