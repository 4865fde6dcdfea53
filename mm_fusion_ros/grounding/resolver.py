"""Which object a command means: class, colour and relation as one probability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from mm_fusion_ros.config import GroundingConfig
from mm_fusion_ros.grounding.command import ParsedCommand
from mm_fusion_ros.outputs import UNKNOWN_COLOUR, FusedObject, HoldReason, PoseEstimate

# Less probable than this, an object is no candidate at all.
_CANDIDATE = 0.1
# A rival counts when it is at least this probable, against the best.
_RIVAL = 0.5
# The chosen one must be the right one of the rivals this surely.
_DECIDED = 0.75
# An object this far to the other side contradicts "left" and "right" [rad].
_WRONG_SIDE = np.radians(10.0)


@dataclass(frozen=True, eq=False)
class Resolution:
    """The object that a command means.

    Attributes:
        object: None where there is no such object, or no telling which.
        probability: that it is there and is what was asked for.
        reason: why there is none.
    """

    object: FusedObject | None
    probability: float
    reason: HoldReason | None


def probability_of(parsed: ParsedCommand, candidate: FusedObject, config: GroundingConfig) -> float:
    """Probability that an object is there and has the class and colour asked for."""
    probability = candidate.probability
    if parsed.classes:
        probability = sum(candidate.probability_of_class(name) for name in parsed.classes)
    if parsed.colour is not None:
        probability *= _colour_probability(parsed.colour, candidate, config)
    return float(probability) if np.isfinite(probability) else 0.0


def resolve(
    parsed: ParsedCommand,
    objects: Sequence[FusedObject],
    pose: PoseEstimate | None,
    config: GroundingConfig | None = None,
) -> Resolution:
    """The object that a command means, if it is there and there is no other.

    Args:
        parsed: a known command with an object.
        objects: in base_link.
        pose: of the robot; relations are as seen from the robot, so it is not needed yet.
        config: grounding section; the defaults when None.
    """
    del pose
    config = config or GroundingConfig()
    scored = [(probability_of(parsed, each, config), each) for each in objects]
    scored = [
        pair for pair in scored if pair[0] >= _CANDIDATE and np.isfinite(pair[1].centre).all()
    ]
    if parsed.relation in {"left", "right"}:
        scored = [pair for pair in scored if not _contradicts(parsed.relation, pair[1])]
    if not scored:
        return Resolution(None, 0.0, HoldReason.ABSENT)
    scored.sort(key=lambda pair: -pair[0])
    best = scored[0][0]
    if best < config.min_probability:
        return Resolution(None, best, HoldReason.UNRELIABLE)
    rivals = [
        pair
        for pair in scored
        if pair[0] >= _RIVAL * best and pair[0] >= config.min_probability / 2
    ]
    if len(rivals) == 1:
        return Resolution(rivals[0][1], best, None)
    if parsed.relation is None:
        return Resolution(None, best, HoldReason.AMBIGUOUS)
    return _related(parsed.relation, rivals, config)


def _related(
    relation: str, rivals: list[tuple[float, FusedObject]], config: GroundingConfig
) -> Resolution:
    """The one of several that a relation singles out, if the measurement can tell them apart."""
    measured = [(*_measure(relation, each), probability, each) for probability, each in rivals]
    measured.sort(key=lambda entry: entry[0])
    chosen_value, chosen_variance, probability, chosen = measured[0]
    value, variance, *_ = measured[1]
    spread = np.sqrt(chosen_variance + variance) + 1e-6
    decided = float(ndtr((value - chosen_value) / spread))
    if decided < _DECIDED:
        return Resolution(None, probability, HoldReason.AMBIGUOUS)
    if probability < config.min_probability:
        return Resolution(None, probability, HoldReason.UNRELIABLE)
    return Resolution(chosen, probability * decided, None)


def _measure(relation: str, candidate: FusedObject) -> tuple[float, float]:
    """What the relation orders by, smallest first, with its variance: metres, or radians."""
    x, y = float(candidate.centre[0]), float(candidate.centre[1])
    distance = max(float(np.hypot(x, y)), 0.1)
    radial = np.array([x, y]) / distance
    tangential = np.array([-radial[1], radial[0]])
    covariance = candidate.position_covariance[:2, :2]
    if relation in {"nearest", "farthest"}:
        variance = float(radial @ covariance @ radial)
        return (distance if relation == "nearest" else -distance), variance
    bearing = float(np.arctan2(y, x))
    variance = float(tangential @ covariance @ tangential) / distance**2
    return (-bearing if relation == "left" else bearing), variance


def _contradicts(relation: str, candidate: FusedObject) -> bool:
    """Whether an object is plainly on the other side."""
    bearing = float(np.arctan2(candidate.centre[1], candidate.centre[0]))
    return bool(bearing < -_WRONG_SIDE if relation == "left" else bearing > _WRONG_SIDE)


def _colour_probability(colour: str, candidate: FusedObject, config: GroundingConfig) -> float:
    """Probability that an object has a colour."""
    if candidate.colour == UNKNOWN_COLOUR:
        return config.unknown_colour
    return candidate.probability_of_colour(colour)
