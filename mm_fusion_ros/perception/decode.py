"""Output maps -> objects: peaks, boxes, calibrated probabilities, covariances."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros.outputs import CLASSES, COLOURS, UNKNOWN_COLOUR, FusedObject
from mm_fusion_ros.perception import maps
from mm_fusion_ros.perception.grid import CELL_M, cell_centres
from mm_fusion_ros.samples import Float

LOG_VARIANCE_RANGE = (-7.0, 4.0)
MIN_SEPARATION_M = 0.4
"""Two objects are never nearer than this."""


@dataclass(frozen=True)
class Calibration:
    """Corrections found on the validation scenes, for one subset of sensors.

    Attributes:
        class_scale, class_bias: probability of a class on the grid = sigmoid(scale * logit + bias)
            (Platt, 1999).
        final_scale, final_bias: the same, once the images were looked at too.
        look_weight: how much the images' word on the class counts; 0 is not at all.
        colour_weights: what multiplies the colour logits of the grid and of the images.
        class_prior, colour_prior: how often the region head sees each, so that what it says can be
            taken as evidence; empty for all alike.
        variance_scale: multiplies the variances along the ray, across it and of z.
        unknown_below: a colour less probable than this is "unknown".
    """

    class_scale: float = 1.0
    class_bias: float = 0.0
    final_scale: float = 1.0
    final_bias: float = 0.0
    look_weight: float = 1.0
    colour_weights: tuple[float, float] = (1.0, 1.0)
    class_prior: tuple[float, ...] = ()
    colour_prior: tuple[float, ...] = ()
    variance_scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    unknown_below: float = 0.2

    @classmethod
    def from_dict(cls, content: Mapping[str, object]) -> Calibration:
        """From a manifest's entry; unknown keys raise TypeError."""
        values = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in content.items()
        }
        return cls(**values)  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False)
class Look:
    """What one image says of one object.

    Attributes:
        classes: (classes + 1,) log-probabilities, the last "none of these".
        colours: (colours,) log-probabilities.
    """

    classes: NDArray[np.float32]
    colours: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Detection:
    """One object with the cell it was read from and what calibration needs.

    Attributes:
        class_logits: (classes,) raw, of the cell.
        colour_logits: (colours,) raw, of the cell.
        cell: indices along x and y.
        log_variance: (3,) raw: along the ray, across it, z.
        looks: what each camera says of it, by source; see `perception.second_look`.
    """

    object: FusedObject
    class_logits: NDArray[np.float32]
    colour_logits: NDArray[np.float32]
    cell: tuple[int, int]
    log_variance: NDArray[np.float32] = field(default_factory=lambda: np.zeros(3, np.float32))
    looks: Mapping[str, Look] = field(default_factory=dict)


def sigmoid(logit: float) -> float:
    """The logistic function."""
    return float(1.0 / (1.0 + np.exp(-logit)))


def softmax(logits: NDArray[np.floating]) -> NDArray[np.floating]:
    """Probabilities over the last axis."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)  # type: ignore[no-any-return]


def name_colour(logits: NDArray[np.floating], calibration: Calibration) -> tuple[str, float]:
    """The most probable colour and its probability; "unknown" and 0 where none stands out."""
    probabilities = softmax(logits)
    best = int(np.argmax(probabilities))
    probability = float(probabilities[best])
    if probability < calibration.unknown_below:
        return UNKNOWN_COLOUR, 0.0
    return COLOURS[best], probability


def covariance(log_variance: NDArray[np.floating], x: float, y: float, scale: Float) -> Float:
    """The (3, 3) covariance [m^2] in base_link of a centre at x, y [m] seen from base_link.

    The variances are predicted along and across the ray, because that is how sensors err.
    """
    variance = np.exp(np.clip(log_variance, *LOG_VARIANCE_RANGE)).astype(np.float64) * scale
    radius = max(float(np.hypot(x, y)), 1e-3)
    cosine, sine = x / radius, y / radius
    turn = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    result: Float = turn @ np.diag(variance) @ turn.T
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


def decode(
    output: NDArray[np.float32],
    calibration: Calibration,
    score_threshold: float,
    max_objects: int,
) -> list[Detection]:
    """Objects in one set of maps, most probable first.

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
    centres = cell_centres()
    scale = np.asarray(calibration.variance_scale)
    found: list[Detection] = []
    taken = _Taken(max_objects)
    # At most a few hundred peaks, not cells.
    heat = maps.spread(output, maps.CLASS)
    for kind, ix, iy in peaks(heat, float(logit), 4 * max_objects):
        column = maps.column(output, int(ix), int(iy))
        offset = np.clip(column[maps.OFFSET], -3.0 * CELL_M, 3.0 * CELL_M)
        x, y = float(centres[ix] + offset[0]), float(centres[iy] + offset[1])
        size = np.exp(np.clip(column[maps.SIZE], -3.0, 3.0)).astype(np.float64)
        width = float(min(size[0], size[1]))
        if taken.holds(x, y, width):
            continue
        taken.add(x, y, width)
        colour, colour_probability = name_colour(
            column[maps.COLOUR] * calibration.colour_weights[0], calibration
        )
        sine, cosine = column[maps.YAW]
        item = FusedObject(
            track_id=-1,
            class_name=CLASSES[kind],
            class_probability=sigmoid(
                calibration.class_scale * float(column[kind]) + calibration.class_bias
            ),
            colour=colour,
            colour_probability=colour_probability,
            centre=np.array([x, y, float(column[maps.HEIGHT][0])]),
            size=size,
            yaw=float(np.arctan2(sine, cosine) / 2.0),
            velocity=np.zeros(3),
            position_covariance=covariance(column[maps.LOG_VARIANCE], x, y, scale),
        )
        found.append(
            Detection(
                item,
                column[maps.CLASS].copy(),
                column[maps.COLOUR].copy(),
                (int(ix), int(iy)),
                column[maps.LOG_VARIANCE].copy(),
            )
        )
        if len(found) == max_objects:
            break
    return found


class _Taken:
    """Where stronger detections stand: boxes of two objects do not overlap."""

    def __init__(self, limit: int) -> None:
        self._rows = np.empty((limit, 3))
        self._count = 0

    def add(self, x: float, y: float, width: float) -> None:
        """Takes a place [m], for a box as wide as this at its narrowest [m]."""
        self._rows[self._count] = x, y, width
        self._count += 1

    def holds(self, x: float, y: float, width: float) -> bool:
        """Whether a box there would overlap one that was taken."""
        rows = self._rows[: self._count]
        reach = np.maximum(MIN_SEPARATION_M, 0.405 * (width + rows[:, 2]))
        return bool(((rows[:, 0] - x) ** 2 + (rows[:, 1] - y) ** 2 < reach**2).any())
