"""Images lifted onto the grid before the tick that takes them.

When the scan comes, its own way through the network is all that should be waited for. The images
were there before it, and the tick's instant is predicted: so is the motion in between, and with it
where each image lies on the grid. If the tick takes other images, or the robot moved otherwise
than was predicted, the images are lifted anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mm_fusion_ros.geometry import inverse
from mm_fusion_ros.perception.features import CameraFeature, PlacedCameras
from mm_fusion_ros.samples import Float
from mm_fusion_ros.scheduling import Pending, Scheduler

TOLERANCE_M = 0.06
"""A tenth of a cell: the images need not be lifted anew for less."""
TOLERANCE_RAD = 0.004
"""Moves what is 15 m away by as much."""


@dataclass(frozen=True, eq=False)
class _Offer:
    """One encoded image, and where it is predicted to lie at the tick."""

    stamp_ns: int
    feature: Pending[CameraFeature]
    tick_from_base: Float


class LiftAhead:
    """Collects the images of the next tick and lifts them once all are there.

    Args:
        scheduler: who does the work; it must begin works in the order in which it got them.
        place: lifts images onto the grid.
    """

    def __init__(
        self, scheduler: Scheduler, place: Callable[[Sequence[CameraFeature]], PlacedCameras]
    ) -> None:
        self._scheduler = scheduler
        self._place = place
        self._expected: frozenset[str] = frozenset()
        self.reset()

    def reset(self) -> None:
        """Forgets what was offered."""
        self._offers: dict[str, _Offer] = {}
        self._placed: Pending[PlacedCameras] | None = None

    def offer(
        self, source: str, stamp_ns: int, feature: Pending[CameraFeature], tick_from_base: Float
    ) -> None:
        """Takes an image that the next tick will probably want.

        Args:
            source: the camera.
            stamp_ns: the image's stamp [ns].
            feature: encoded, or under way.
            tick_from_base: (4, 4), base_link at the image's stamp to base_link at the next tick,
                as predicted.
        """
        self._offers[source] = _Offer(stamp_ns, feature, tick_from_base)
        self._placed = None
        # All that the last tick saw; one that died in between delays one tick, not for ever.
        if self._expected and self._expected <= self._offers.keys():
            offers = dict(self._offers)
            self._placed = self._scheduler.submit(lambda: self._place(_features(offers)))

    def take(
        self, cameras: Sequence[CameraFeature], stamps_ns: Mapping[str, int]
    ) -> PlacedCameras | None:
        """What was lifted of just these images, or None; forgets what was offered.

        Args:
            cameras: of the tick, with their true `tick_from_base`.
            stamps_ns: source name to the stamp of its image.

        Raises:
            Exception: what the lifting raised.
        """
        offers, placed = self._offers, self._placed
        self.reset()
        self._expected = frozenset(camera.source for camera in cameras)
        if placed is None or offers.keys() != self._expected:
            return None
        for camera in cameras:
            offer = offers[camera.source]
            if offer.stamp_ns != stamps_ns[camera.source]:
                return None
            if not is_near(offer.tick_from_base, camera.tick_from_base):
                return None
        return placed.result()


def _features(offers: dict[str, _Offer]) -> list[CameraFeature]:
    """In the order of the sources' names, so that the order of arrival changes nothing."""
    return [
        replace(offers[name].feature.result(), tick_from_base=offers[name].tick_from_base)
        for name in sorted(offers)
    ]


def is_near(predicted: Float, actual: Float) -> bool:
    """Whether two (4, 4) motions differ by less than can be seen on the grid."""
    apart = inverse(predicted) @ actual
    if float(np.linalg.norm(apart[:3, 3])) > TOLERANCE_M:
        return False
    # The angle of a small rotation is the length of its skew part.
    skew = 0.5 * (apart[:3, :3] - apart[:3, :3].T)
    turn = float(np.linalg.norm([skew[2, 1], skew[0, 2], skew[1, 0]]))
    return turn <= TOLERANCE_RAD and float(np.trace(apart[:3, :3])) > 0.0
