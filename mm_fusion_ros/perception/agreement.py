"""How well a camera's sample and a lidar's agree, each brought to the tick."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from mm_fusion_ros.geometry import inverse
from mm_fusion_ros.perception.features import CameraFeature, LidarFeature
from mm_fusion_ros.reliability.alignment import AS_MOUNTED, Agreement, alignment, turned
from mm_fusion_ros.scheduling import Pending, Scheduler
from mm_fusion_ros.sensors.camera import PreparedImage

Compare = Callable[[CameraFeature, LidarFeature], Agreement | None]


def agreement(camera: CameraFeature, lidar: LidarFeature) -> Agreement | None:
    """See `alignment`; as mounted, and with the motion between the two instants taken out."""
    image = camera.image
    mounted = image.base_from_camera if image.as_mounted is None else image.as_mounted
    tick_from_camera = camera.tick_from_base @ mounted
    # Without the padding, whose border is an edge of its own.
    x0, y0, x1, y1 = image.valid
    intrinsics = image.intrinsics.copy()
    intrinsics[:2, 2] -= (x0, y0)
    return alignment(
        image.image[y0:y1, x0:x1],
        intrinsics,
        inverse(lidar.tick_from_base) @ tick_from_camera,
        lidar.scan.points[:, :3],
        lidar.scan.viewpoint,
    )


def turned_image(image: PreparedImage, turn: tuple[float, float]) -> PreparedImage:
    """An image as if its camera were turned so that it agrees with the lidar; see `Agreement.best`.

    Where it is `AS_MOUNTED` nothing is made of it.
    """
    if turn == AS_MOUNTED:
        return image
    mounted = image.base_from_camera
    return replace(image, base_from_camera=turned(mounted, turn), as_mounted=mounted)


class Comparisons:
    """Works out agreements beside the tick that has the samples; the next one takes them.

    Args:
        scheduler: who does the work.
        compare: `agreement`, or a stand-in for it.
    """

    def __init__(self, scheduler: Scheduler, compare: Compare) -> None:
        self._scheduler, self._compare = scheduler, compare
        self.reset()

    def reset(self) -> None:
        """Forgets what is under way."""
        self._pending: dict[str, Pending[Agreement | None]] = {}

    def begin(self, camera: CameraFeature, lidar: LidarFeature) -> None:
        """Begins to compare two samples."""
        self._pending[camera.source] = self._scheduler.submit(lambda: self._compare(camera, lidar))

    def take(self) -> dict[str, Pending[Agreement | None]]:
        """What was begun since the last call, by camera."""
        pending, self._pending = self._pending, {}
        return pending
