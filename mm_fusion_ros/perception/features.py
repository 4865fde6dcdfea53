"""What the detector keeps of a sample between its arrival and the tick."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros.perception import maps
from mm_fusion_ros.perception.grid import LiftGeometry
from mm_fusion_ros.perception.window import Window
from mm_fusion_ros.samples import Float
from mm_fusion_ros.sensors.camera import PreparedImage
from mm_fusion_ros.sensors.lidar import PreparedScan

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class CameraFeature:
    """One encoded image.

    Attributes:
        features: (1, F + 2, 72, 96) float32, from `camera_encoder`; the last two are log-depth
            and its log-scale.
        image: what was encoded; its `base_from_camera` is at the image's own stamp.
        epistemic: how unfamiliar it is, see `Familiar`.
        tick_from_base: (4, 4), base_link at the image's stamp to base_link at the tick.
    """

    source: str
    features: Array
    image: PreparedImage
    epistemic: float = 0.0
    tick_from_base: Float = field(default_factory=lambda: np.eye(4))


@dataclass(frozen=True, eq=False)
class LidarFeature:
    """One encoded scan.

    Attributes:
        grid: (1, channels, FEATURE_CELLS, FEATURE_CELLS) float32, from `lidar_encoder`.
        answer: (1, maps.PACKED, FEATURE_CELLS, FEATURE_CELLS) float32, what the lidar alone says.
        scan: what was encoded, in base_link at the scan's own stamp.
        epistemic: how unfamiliar it is, see `Familiar`.
        tick_from_base: (4, 4), base_link at the scan's stamp to base_link at the tick.
    """

    source: str
    grid: Array
    answer: Array
    scan: PreparedScan
    epistemic: float = 0.0
    tick_from_base: Float = field(default_factory=lambda: np.eye(4))


@dataclass(frozen=True)
class Familiar:
    """What the unfamiliarity of an encoder's samples is on validation scenes.

    Attributes:
        usual: the median of the samples.
        high: what one in a hundred exceeds.
    """

    usual: float = 0.0
    high: float = 1.0

    def epistemic(self, distance: float) -> float:
        """Of a sample so far off: 0 is as usual, 1 as far as one in a hundred, and up."""
        return max(0.0, (distance - self.usual) / (self.high - self.usual))


@dataclass(frozen=True, eq=False)
class PlacedCameras:
    """Images on the grid.

    Attributes:
        lifts: source name to where its image lies.
        window: the cells that the rest is about; holds all that any image sees.
        grid: (1, channels, h, w) float32, from `camera_grid`.
        answer: (1, maps.PACKED, h, w) float32, what the cameras alone say.
    """

    lifts: Mapping[str, LiftGeometry]
    window: Window
    grid: Array
    answer: Array

    @property
    def covered(self) -> NDArray[np.bool_]:
        """(FEATURE_CELLS, FEATURE_CELLS), which cells any image sees."""
        return any_covered(self.lifts)


def any_covered(lifts: Mapping[str, LiftGeometry]) -> NDArray[np.bool_]:
    """(FEATURE_CELLS, FEATURE_CELLS), which cells any of the images sees."""
    return np.asarray(np.stack([lift.covered for lift in lifts.values()]).any(axis=0))


def predicted_variance(
    cells: NDArray[np.int64], placed: PlacedCameras | None, lidar: LidarFeature | None,
    lidars: Sequence[str],
) -> dict[str, float]:  # fmt: skip
    """What each modality alone predicts for its variance at the objects that it sees.

    Args:
        cells: (n, 2), of the objects.
        placed, lidar: what they say.
        lidars: names of those.
    """
    result: dict[str, float] = {}
    if placed:
        x, y = (cells // maps.FINER).T
        first = np.array([placed.window.x0, placed.window.y0]) * maps.FINER
        seen = cells[placed.covered[x, y]] - first
        if len(seen):
            result |= dict.fromkeys(placed.lifts, _variance(placed.answer, seen))
    if lidar and len(cells):
        result |= dict.fromkeys(lidars, _variance(lidar.answer, cells))
    return result


def _variance(answer: Array, cells: NDArray[np.int64]) -> float:
    """Mean in the ground plane over some fine cells of packed maps (1, ...) [m^2]."""
    said = maps.columns(answer[0], cells)[:, maps.LOG_VARIANCE][:, :2]
    return float(np.exp(np.clip(said, *maps.LOG_VARIANCE_RANGE)).mean())
