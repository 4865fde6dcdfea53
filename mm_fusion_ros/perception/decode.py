"""Output maps -> what was found on the grid: peaks, boxes, covariances, a row for each object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros.perception import maps
from mm_fusion_ros.perception.grid import CELL_M, cell_centres
from mm_fusion_ros.samples import Float

MIN_SEPARATION_M = 0.4
"""Two objects are never nearer than this."""
OVERLAP = 0.405
"""Nor than this part of the sum of their widths."""
PROBABILITY_RANGE = (0.01, 0.995)
"""Beyond these no covariance grows or shrinks further."""


@dataclass(frozen=True)
class Calibration:
    """Corrections found on the validation scenes, for one subset of sensors.

    Attributes:
        class_scale, class_bias: probability of a class on the grid = sigmoid(scale * logit + bias)
            (Platt, 1999).
        final_scale, final_bias: the same, once the images were looked at too.
        look_weight: how much the images' word on the class counts; 0 is not at all.
        exists_weights: how much the images' word on whether anything is there counts, in the order
            of `second_look.exists_evidence`; added to the final logit.
        depth_weight: how much the images' word on distances counts; 0 is not at all.
        colour_scale: multiplies the evidence for a colour.
        class_prior, colour_prior: how often the region head sees each, so that what it says can be
            taken as evidence; empty for all alike.
        variance_scale: multiplies the variances along the ray, across it and of z.
        variance_slopes: what is added to the logarithm of all three, for each unit of the mean
            log-variance in the ground plane that the network predicts, of the class' log-odds, and
            of the logarithm of the range [m].
        unknown_below: a colour less probable than this is "unknown".
    """

    class_scale: float = 1.0
    class_bias: float = 0.0
    final_scale: float = 1.0
    final_bias: float = 0.0
    look_weight: float = 1.0
    exists_weights: tuple[float, float, float] = (0.0, 0.0, 0.0)
    depth_weight: float = 0.0
    colour_scale: float = 1.0
    class_prior: tuple[float, ...] = ()
    colour_prior: tuple[float, ...] = ()
    variance_scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    variance_slopes: tuple[float, float, float] = (0.0, 0.0, 0.0)
    unknown_below: float = 0.2

    @classmethod
    def from_dict(cls, content: Mapping[str, object]) -> Calibration:
        """From a manifest's entry; unknown keys raise TypeError."""
        values = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in content.items()
        }
        return cls(**values)  # type: ignore[arg-type]

    def without_grid(self) -> Calibration:
        """For objects whose logits and variances on the grid are calibrated already."""
        own = Calibration()
        names = ("class_scale", "class_bias", "variance_scale", "variance_slopes")
        return replace(self, **{name: getattr(own, name) for name in names})


@dataclass(frozen=True, eq=False)
class Found:
    """Objects as the grid has them, strongest first; n of them, a row each.

    Attributes:
        cells: (n, 2) int64, indices along x and y of the cell each was read from.
        class_logits: (n, classes) float32, raw.
        centre: (n, 3) float64, in base_link [m].
        size: (n, 3) float64, length, width, height [m].
        yaw: (n,) float64, up to half a turn [rad].
        log_variance: (n, 3) float32, raw: along the ray, across it, z.
    """

    cells: NDArray[np.int64]
    class_logits: NDArray[np.float32]
    centre: Float
    size: Float
    yaw: Float
    log_variance: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.cells)

    def take(self, rows: NDArray[np.int64]) -> Found:
        """Some of them, in that order."""
        return Found(*[getattr(self, name)[rows] for name in self.__dataclass_fields__])

    @classmethod
    def joined(cls, parts: Sequence[Found]) -> Found:
        """Those of all parts, of which there is at least one, one after the other."""
        return cls(
            *[np.concatenate([getattr(p, n) for p in parts]) for n in cls.__dataclass_fields__]
        )

    @property
    def boxes(self) -> Float:
        """(n, 7), centre x y z, length width height [m], yaw [rad]."""
        return np.column_stack([self.centre, self.size, self.yaw])


def evidence_of_variance(
    log_variance: NDArray[np.floating], centre: Float, probability: Float
) -> Float:
    """(n, 3), what `Calibration.variance_slopes` are for.

    The network learns how far a box is off that is about its object. How likely it is about
    another one, it does not say; but what is improbable, or far away, more often is.
    """
    raw = np.clip(log_variance[:, :2], *maps.LOG_VARIANCE_RANGE).astype(np.float64)
    p = np.clip(probability, *PROBABILITY_RANGE)
    away = np.hypot(centre[:, 0], centre[:, 1])
    return np.column_stack([raw.mean(axis=1), np.log(p / (1.0 - p)), np.log(np.maximum(away, 1.0))])


def calibrated_log_variance(
    log_variance: NDArray[np.floating], centre: Float, probability: Float, calibration: Calibration
) -> Float:
    """(n, 3) of [m^2], along the ray, across it, z.

    Args:
        log_variance: (n, 3), raw, as in `Found`.
        centre: (n, 3), in base_link [m].
        probability: (n,) of the class.
        calibration: of the sensors that said it.
    """
    raw = np.clip(log_variance, *maps.LOG_VARIANCE_RANGE).astype(np.float64)
    evidence = evidence_of_variance(log_variance, centre, probability)
    more: Float = evidence @ np.asarray(calibration.variance_slopes)
    result: Float = raw + np.log(calibration.variance_scale) + more[:, None]
    return result


def covariances(log_variance: NDArray[np.floating], centre: Float) -> Float:
    """The (n, 3, 3) covariances [m^2] in base_link of centres (n, 3) [m] seen from base_link.

    The log-variances (n, 3) are those along and across the ray, because that is how sensors err,
    and of z.
    """
    variance = np.exp(log_variance).astype(np.float64)
    radius = np.maximum(np.hypot(centre[:, 0], centre[:, 1]), 1e-3)
    turn = np.zeros((len(centre), 3, 3))
    turn[:, 0, 0] = turn[:, 1, 1] = centre[:, 0] / radius
    turn[:, 1, 0] = centre[:, 1] / radius
    turn[:, 0, 1] = -turn[:, 1, 0]
    turn[:, 2, 2] = 1.0
    result: Float = (turn * variance[:, None, :]) @ turn.transpose(0, 2, 1)
    return result


def peaks(heat: NDArray[np.float32], threshold: float, limit: int) -> NDArray[np.int64]:
    """The (k, 3) class, x and y indices of local maxima above a logit, strongest first.

    A peak is a cell that no neighbour of its own class exceeds.
    """
    candidates = np.argwhere(heat > threshold)
    if len(candidates) == 0:
        return candidates
    padded = np.pad(heat, ((0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    kind, x, y = candidates.T
    value = heat[kind, x, y]
    highest = np.full(len(candidates), -np.inf, np.float32)
    for dx in range(3):
        for dy in range(3):
            highest = np.maximum(highest, padded[kind, x + dx, y + dy])
    chosen = candidates[value >= highest]
    values = value[value >= highest]
    # A stable sort: equal peaks keep the order of the grid, so that replays agree.
    order = np.argsort(-values, kind="stable")[:limit]
    return chosen[order]


def apart(
    place: NDArray[np.floating], width: NDArray[np.floating], limit: int
) -> NDArray[np.int64]:
    """Rows of which no two overlap: each row unless a kept one before it does.

    Args:
        place: (n, 2) [m]; width: (n,) at the narrowest [m].
        limit: at most so many.
    """
    gap = place[:, None] - place
    reach = np.maximum(MIN_SEPARATION_M, OVERLAP * (width[:, None] + width))
    overlap = (gap**2).sum(axis=2) < reach**2
    kept: list[int] = []
    free = np.ones(len(place), bool)
    for row in range(len(place)):
        if free[row]:
            kept.append(row)
            if len(kept) == limit:
                break
            free &= ~overlap[row]
    return np.array(kept, np.int64)


def decode(
    output: NDArray[np.float32],
    calibration: Calibration,
    score_threshold: float,
    max_objects: int,
) -> Found:
    """Objects in one set of maps.

    Args:
        output: (maps.PACKED, FEATURE_CELLS, FEATURE_CELLS).
        calibration: of the sensors that made it.
        score_threshold: least calibrated class probability.
        max_objects: at most so many.
    """
    probability = min(max(score_threshold, 1e-6), 1.0 - 1e-6)
    logit = (np.log(probability / (1 - probability)) - calibration.class_bias) / max(
        calibration.class_scale, 1e-6
    )
    cells = peaks(maps.spread(output, maps.CLASS), float(logit), 4 * max_objects)[:, 1:]
    said = maps.columns(output, cells)
    offset = np.clip(said[:, maps.OFFSET], -3.0 * CELL_M, 3.0 * CELL_M)
    centre = np.column_stack([cell_centres()[cells] + offset, said[:, maps.HEIGHT]])
    size = np.exp(np.clip(said[:, maps.SIZE], -3.0, 3.0)).astype(np.float64)
    sine, cosine = said[:, maps.YAW].T
    found = Found(
        cells=cells,
        class_logits=said[:, maps.CLASS],
        centre=centre.astype(np.float64),
        size=size,
        yaw=np.arctan2(sine, cosine).astype(np.float64) / 2.0,
        log_variance=said[:, maps.LOG_VARIANCE],
    )
    return found.take(apart(found.centre[:, :2], size[:, :2].min(axis=1), max_objects))
