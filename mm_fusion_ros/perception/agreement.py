"""How well a camera's sample and a lidar's agree, each brought to the tick."""

from __future__ import annotations

from collections.abc import Callable

from mm_fusion_ros.geometry import inverse
from mm_fusion_ros.perception.features import CameraFeature, LidarFeature
from mm_fusion_ros.reliability.alignment import alignment
from mm_fusion_ros.scheduling import Pending, Scheduler

Agreement = Callable[[CameraFeature, LidarFeature], float | None]


def agreement(camera: CameraFeature, lidar: LidarFeature) -> float | None:
    """See `alignment`; the motion between the two instants is taken out."""
    image = camera.image
    tick_from_camera = camera.tick_from_base @ image.base_from_camera
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


class Comparisons:
    """Works out agreements beside the tick that has the samples; the next one takes them.

    Args:
        scheduler: who does the work.
        compare: `agreement`, or a stand-in for it.
    """

    def __init__(self, scheduler: Scheduler, compare: Agreement) -> None:
        self._scheduler, self._compare = scheduler, compare
        self.reset()

    def reset(self) -> None:
        """Forgets what is under way."""
        self._pending: dict[str, Pending[float | None]] = {}

    def begin(self, camera: CameraFeature, lidar: LidarFeature) -> None:
        """Begins to compare two samples."""
        self._pending[camera.source] = self._scheduler.submit(lambda: self._compare(camera, lidar))

    def take(self) -> dict[str, Pending[float | None]]:
        """What was begun since the last call, by camera."""
        pending, self._pending = self._pending, {}
        return pending
