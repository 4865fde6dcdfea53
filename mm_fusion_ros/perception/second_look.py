"""A second look: what the images say of each object that was found, and what that makes of it.

On the grid a cell is wider than a ball, and what a camera knows best is blurred there. Once it is
known where an object is, its piece of each image is judged at the image's own resolution, and the
two answers are combined as evidence is: probabilities multiply, and what an image cannot see
changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros.outputs import CLASSES, COLOURS
from mm_fusion_ros.perception.decode import (
    Calibration,
    Detection,
    Look,
    name_colour,
    sigmoid,
    softmax,
)

SMALLEST = 1e-4
LARGEST_PROBABILITY = 0.999
LEAST_VARIANCE = 0.05
"""Of a class that is certain; keeps one sure voice from outweighing all others for ever."""


def evidence(
    log_probabilities: NDArray[np.floating], none: float, prior: Sequence[float]
) -> NDArray[np.float64]:
    """Log-likelihoods of what is in the image, up to a constant.

    With probability `none` the image shows something else, which speaks for nothing: so however
    sure the rest is, an image that does not see the object has no say.

    Args:
        log_probabilities: (k,) of each answer; their sum is 1 - `none`.
        none: probability that it is none of them.
        prior: (k,) how often each is the answer; empty for all alike.
    """
    share = np.asarray(prior) if len(prior) else np.full(len(log_probabilities), 1.0)
    share = share / share.sum()
    ratio = np.exp(log_probabilities.astype(np.float64)) / np.maximum(share, SMALLEST)
    result: NDArray[np.float64] = np.log(np.maximum(ratio + none, SMALLEST))
    return result


def class_evidence(looks: Mapping[str, Look], calibration: Calibration) -> NDArray[np.float64]:
    """(classes,) log-likelihoods of all images together."""
    total = np.zeros(len(CLASSES))
    for look in looks.values():
        none = float(np.exp(look.classes[-1]))
        total += evidence(look.classes[:-1], none, calibration.class_prior)
    return total


def colour_evidence(looks: Mapping[str, Look], calibration: Calibration) -> NDArray[np.float64]:
    """(colours,) log-likelihoods of all images together."""
    total = np.zeros(len(COLOURS))
    for look in looks.values():
        none = float(np.exp(look.classes[-1]))
        seen = look.colours + np.log(max(1.0 - none, SMALLEST))
        total += evidence(seen, none, calibration.colour_prior)
    return total


def on_grid(item: Detection, calibration: Calibration) -> tuple[float, NDArray[np.float64]]:
    """How probable the grid makes an object of any class, and (classes,) which it would be."""
    z = calibration.class_scale * item.class_logits.astype(np.float64) + calibration.class_bias
    each = 1.0 / (1.0 + np.exp(-np.clip(z, -40.0, 40.0)))
    total = float(each.sum())
    return min(total, LARGEST_PROBABILITY), each / max(total, 1e-12)


def combined_logit(item: Detection, calibration: Calibration) -> tuple[int, float]:
    """The class that grid and images make most probable, and its log-odds before the last step."""
    exists, which = on_grid(item, calibration)
    log_which = np.log(np.maximum(which, 1e-9))
    both = softmax(log_which + calibration.look_weight * class_evidence(item.looks, calibration))
    best = int(np.argmax(both))
    probability = float(np.clip(exists * both[best], 1e-6, LARGEST_PROBABILITY))
    return best, float(np.log(probability / (1.0 - probability)))


def combined_colours(item: Detection, calibration: Calibration) -> NDArray[np.float64]:
    """(colours,) logits of grid and images together."""
    of_grid, of_images = calibration.colour_weights
    said: NDArray[np.float64] = of_grid * item.colour_logits.astype(
        np.float64
    ) + of_images * colour_evidence(item.looks, calibration)
    return said


def look_shares(item: Detection, calibration: Calibration) -> dict[str, float]:
    """Each image's part in what the object is said to be; the rest is the grid's.

    In proportion to the inverse of each voice's variance (one less the sum of its squared
    probabilities), counted from that of a voice which knows nothing.
    """
    if not item.looks:
        return {}
    ignorant = 1.0 / (1.0 - 1.0 / len(CLASSES) + LEAST_VARIANCE)

    def precision(probabilities: NDArray[np.floating]) -> float:
        variance = 1.0 - float((probabilities**2).sum())
        return max(1.0 / (variance + LEAST_VARIANCE) - ignorant, 0.0)

    voices = {
        name: precision(
            softmax(calibration.look_weight * class_evidence({name: look}, calibration))
        )
        for name, look in item.looks.items()
    }
    total = sum(voices.values()) + precision(on_grid(item, calibration)[1])
    return {name: value / total for name, value in voices.items()} if total > 0.0 else {}


def settled(item: Detection, calibration: Calibration) -> Detection:
    """The detection with the class, the colour and the probabilities that all evidence gives."""
    kind, logit = combined_logit(item, calibration)
    probability = sigmoid(calibration.final_scale * logit + calibration.final_bias)
    colour, colour_probability = name_colour(combined_colours(item, calibration), calibration)
    seen = replace(
        item.object,
        class_name=CLASSES[kind],
        class_probability=probability,
        colour=colour,
        colour_probability=colour_probability,
    )
    return replace(item, object=seen)
