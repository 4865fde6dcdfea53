"""How well a camera's sample and a lidar's agree, each brought to the tick."""

from __future__ import annotations

from mm_fusion_ros.geometry import inverse
from mm_fusion_ros.perception.detector import CameraFeature, LidarFeature
from mm_fusion_ros.reliability.alignment import alignment


def agreement(camera: CameraFeature, lidar: LidarFeature) -> float | None:
    """See `alignment`; the motion between the two instants is taken out."""
    image = camera.image
    tick_from_camera = camera.tick_from_base @ image.base_from_camera
    return alignment(
        image.image,
        image.intrinsics,
        inverse(lidar.tick_from_base) @ tick_from_camera,
        lidar.scan.points[:, :3],
        lidar.scan.viewpoint,
    )
