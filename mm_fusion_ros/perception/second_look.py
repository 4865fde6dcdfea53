"""A second look: what the images say of each object that was found, and what that makes of it.

On the grid a cell is wider than a ball, and what a camera knows best is blurred there; colours are
not asked of it at all. Once it is known where an object is, its piece of each image is judged at
the image's own resolution, and the answers are combined as evidence is: probabilities multiply,
and what an image cannot see changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros.outputs import CLASSES, COLOURS
from mm_fusion_ros.perception import maps
from mm_fusion_ros.perception.decode import Calibration, Found, apart
from mm_fusion_ros.perception.regions import NEAREST_M
from mm_fusion_ros.samples import Float

SMALLEST = 1e-4
SURE = 1e-3
"""An image is never surer than this that it shows an object, or none."""
LARGEST_PROBABILITY = 0.999
LEAST_VARIANCE = 0.05
"""Of a class that is certain; keeps one sure voice from outweighing all others for ever."""
NO_COLOUR = -1
MOST_LOG_DEPTH = 0.5
"""No image is heard to move an object by more: training shows it no more either."""


@dataclass(frozen=True, eq=False)
class Looks:
    """What one image says of each of n objects; an object out of its view is none of the classes.

    Attributes:
        classes: (n, classes + 1) probabilities, the last of "none of these".
        colours: (n, colours) probabilities.
        in_view: (n,) whether the image reaches where the object is.
        claimed: (n,) whether a stronger object has nearly the same piece of the image.
        depth: (n, 2) mean and log-scale of the logarithm of how many times farther it stands.
        eye: (n, 2) from where each was seen, in base_link [m].
    """

    classes: Float
    colours: Float
    in_view: NDArray[np.bool_]
    claimed: NDArray[np.bool_]
    depth: Float
    eye: Float

    @classmethod
    def blind(cls, count: int) -> Looks:
        """Those of an image that shows none of the objects."""
        classes = np.zeros((count, len(CLASSES) + 1))
        classes[:, -1] = 1.0
        colours = np.full((count, len(COLOURS)), 1.0 / len(COLOURS))
        nowhere = np.zeros(count, bool), np.zeros(count, bool)
        return cls(classes, colours, *nowhere, np.zeros((count, 2)), np.zeros((count, 2)))


@dataclass(frozen=True, eq=False)
class Judgement:
    """What grid and images together make of n objects.

    Attributes:
        kind: (n,) int64, index of the class.
        probability: (n,) calibrated, that an object of this class is there.
        colour: (n,) int64, index; `NO_COLOUR` where none stands out.
        colour_probability: (n,), 0 without a colour.
        classes: (n, classes), as `probability`, of each class; in all below 1.
        colours: (n, colours), probabilities of each; even where no image sees the object.
        shares: by image, (n,) its part in what the object is said to be; the rest is the grid's.
    """

    kind: NDArray[np.int64]
    probability: Float
    colour: NDArray[np.int64]
    colour_probability: Float
    classes: Float
    colours: Float
    shares: Mapping[str, Float]


def sigmoid(logit: Float) -> Float:
    """The logistic function."""
    result: Float = 1.0 / (1.0 + np.exp(-np.clip(logit, -40.0, 40.0)))
    return result


def softmax(logits: Float) -> Float:
    """Probabilities over the last axis."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    result: Float = shifted / shifted.sum(axis=-1, keepdims=True)
    return result


def evidence(probabilities: Float, none: Float, prior: Sequence[float]) -> Float:
    """Log-likelihoods (n, k) of what is in the image, up to a constant.

    With probability `none` the image shows something else, which speaks for nothing: so however
    sure the rest is, an image that does not see the object has no say.

    Args:
        probabilities: (n, k) of each answer; their sum is 1 - `none`.
        none: (n,) probability that it is none of them.
        prior: (k,) how often each is the answer; empty for all alike.
    """
    count = probabilities.shape[-1]
    share = np.asarray(prior) if len(prior) else np.full(count, 1.0 / count)
    ratio = probabilities / np.maximum(share / share.sum(), SMALLEST)
    result: Float = np.log(np.maximum(ratio + none[:, None], SMALLEST))
    return result


def class_evidence(looks: Looks, calibration: Calibration) -> Float:
    """(n, classes) log-likelihoods of one image."""
    return evidence(looks.classes[:, :-1], looks.classes[:, -1], calibration.class_prior)


def colour_evidence(looks: Looks, calibration: Calibration) -> Float:
    """(n, colours) log-likelihoods of one image."""
    none = looks.classes[:, -1]
    return evidence(looks.colours * (1.0 - none)[:, None], none, calibration.colour_prior)


def exists_evidence(looks: Looks) -> Float:
    """(n, 3) what one image says of any object being there; its parts are weighed apart.

    The log-odds that it shows one, where no stronger object claims that piece of the image; the
    same where one does, for what it shows is then explained already: an image cannot tell which of
    two places along a ray an object stands in. Last, as a negative number, the log-odds that speak
    against one: what shows nothing may also show what stands before it. 0 out of its view.
    """
    none = np.clip(looks.classes[:, -1], SURE, 1.0 - SURE)
    odds = np.where(looks.in_view, np.log((1.0 - none) / none), 0.0)
    shown = np.maximum(odds, 0.0)
    return np.column_stack(
        [np.where(looks.claimed, 0.0, shown), np.where(looks.claimed, shown, 0.0),
         np.minimum(odds, 0.0)]
    )  # fmt: skip


def on_grid(class_logits: NDArray[np.float32], calibration: Calibration) -> tuple[Float, Float]:
    """(n,) how probable the grid makes objects of any class, (n, classes) which they would be."""
    z = calibration.class_scale * class_logits.astype(np.float64) + calibration.class_bias
    each = sigmoid(z)
    total = each.sum(axis=1)
    return np.minimum(total, LARGEST_PROBABILITY), each / np.maximum(total, 1e-12)[:, None]


def combined(
    class_logits: NDArray[np.float32], by_image: Float, calibration: Calibration
) -> tuple[NDArray[np.int64], Float]:
    """The class that grid and images make most probable, and all log-odds before the last step.

    Args:
        class_logits: (n, classes), of the grid.
        by_image: (n, classes), `class_evidence` of all images together.

    Returns:
        (n,) index, (n, classes) log-odds.
    """
    exists, which = on_grid(class_logits, calibration)
    both = softmax(np.log(np.maximum(which, 1e-9)) + calibration.look_weight * by_image)
    probability = np.clip(exists[:, None] * both, 1e-6, LARGEST_PROBABILITY)
    return both.argmax(axis=1), np.log(probability / (1.0 - probability))


def moved_along_rays(
    found: Found, looks: Mapping[str, Looks], weight: float,
    trust: Mapping[str, float] | None = None, *, merge: bool = True,
) -> Found:  # fmt: skip
    """Objects moved along the rays of the images that see them, by what those say of distances.

    Grid and images by the inverse of their variances, an image's as far as it shows any object.
    Along a ray the grid of a camera often proposes one object several times.

    Args:
        found: as the grid has them, strongest first.
        looks: by image, at the places that the grid gave.
        weight: `Calibration.depth_weight`.
        trust: how far each image is believed, 0..1; fully where nothing is said.
        merge: of those that then are in one place, as `decode.apart` has it, the first stays.
    """
    centre = found.centre.copy()
    along = np.clip(found.log_variance[:, 0].astype(np.float64), *maps.LOG_VARIANCE_RANGE)
    precision = np.exp(-along)
    for name, each in looks.items():
        ray = centre[:, :2] - each.eye
        away, cut = (
            np.maximum(np.linalg.norm(place[:, :2] - each.eye, axis=1), NEAREST_M)
            for place in (centre, found.centre)
        )
        # Of a Laplace distribution; the scale is relative.
        variance = 2.0 * (cut * np.exp(each.depth[:, 1])) ** 2
        shows = each.in_view * (1.0 - each.classes[:, -1])
        said = weight * (trust or {}).get(name, 1.0) * shows / variance
        precision += said
        # It is told of the box that was cut out; another image may have moved that since.
        depth = np.clip(each.depth[:, 0], -MOST_LOG_DEPTH, MOST_LOG_DEPTH) + np.log(cut / away)
        centre[:, :2] = each.eye + ray * np.exp(said / precision * depth)[:, None]
    log_variance = found.log_variance.copy()
    log_variance[:, 0] = -np.log(precision)
    moved = replace(found, centre=centre, log_variance=log_variance)
    if not merge:
        return moved
    return moved.take(apart(centre[:, :2], found.size[:, :2].min(axis=1), len(found)))


def judge(
    class_logits: NDArray[np.float32],
    looks: Mapping[str, Looks],
    calibration: Calibration,
    trust: Mapping[str, float] | None = None,
) -> Judgement:
    """Class, colour and probabilities that all evidence gives.

    Args:
        class_logits: (n, classes), of the grid.
        looks: by image.
        calibration: of the sensors that spoke.
        trust: how far each image is believed, 0..1: its word on classes counts for as much, and
            its word on colours is right with that probability; fully where nothing is said.
    """
    count = len(class_logits)
    weight = {name: (trust or {}).get(name, 1.0) for name in looks}
    voices = {n: weight[n] * class_evidence(each, calibration) for n, each in looks.items()}
    by_image = _total(voices.values(), (count, len(CLASSES)))
    kind, logits = combined(class_logits, by_image, calibration)

    there = _total((weight[n] * exists_evidence(each) for n, each in looks.items()), (count, 3))
    logits = calibration.final_scale * logits + calibration.final_bias
    by_images = there @ np.asarray(calibration.exists_weights)
    classes = sigmoid(logits + by_images[:, None])
    probability = classes[np.arange(count), kind]
    exists = np.log(on_grid(class_logits, calibration)[0])
    exists = exists - np.log1p(-np.exp(exists))
    any_class = sigmoid(calibration.final_scale * exists + calibration.final_bias + by_images)

    colours = _colours(looks, calibration, weight, count)
    clear = colours.max(axis=1) >= calibration.unknown_below
    return Judgement(
        kind=kind,
        probability=probability,
        colour=np.where(clear, colours.argmax(axis=1), NO_COLOUR),
        colour_probability=np.where(clear, colours.max(axis=1), 0.0),
        classes=_within(classes, kind, any_class),
        colours=colours,
        shares=_shares(class_logits, voices, calibration),
    )


def _within(classes: Float, best: NDArray[np.int64], exists: Float) -> Float:
    """What was calibrated for the best class, for all: together no more than that anything exists.

    Args:
        classes: (n, classes) probabilities, each as if it were the best.
        best: (n,) index of the best.
        exists: (n,) probability of any, calibrated as if it were the best class; at least as much
            as that of the best is believed.
    """
    rows = np.arange(len(classes))
    others = classes.copy()
    others[rows, best] = 0.0
    left = np.maximum(exists - classes[rows, best], 0.0)
    others *= np.minimum(1.0, left / np.maximum(others.sum(axis=1), 1e-12))[:, None]
    others[rows, best] = classes[rows, best]
    return others


def _colours(
    looks: Mapping[str, Looks], calibration: Calibration, trust: Mapping[str, float], count: int
) -> Float:
    """(n, colours) probabilities: as far as the best image is believed, what all of them say.

    Among themselves images count by their trust. That none of them may be right is a chance of its
    own, of which nothing follows: were their evidence only weakened, a doubted image would name no
    colour at all, and the ones it shows may well be right.
    """
    believed = [trust[name] * each.in_view for name, each in looks.items()]
    best = np.max(believed, axis=0) if believed else np.zeros(count)
    part = np.maximum(best, SMALLEST)
    voices = [
        (each / part)[:, None] * colour_evidence(look, calibration)
        for each, look in zip(believed, looks.values(), strict=True)
    ]
    said = softmax(calibration.colour_scale * _total(voices, (count, len(COLOURS))))
    result: Float = best[:, None] * said + (1.0 - best[:, None]) / len(COLOURS)
    return result


def _total(voices: Iterable[Float], shape: tuple[int, ...]) -> Float:
    return sum(voices, start=np.zeros(shape))


def _shares(
    class_logits: NDArray[np.float32], voices: Mapping[str, Float], calibration: Calibration
) -> dict[str, Float]:
    """Each image's part, in proportion to the inverse of its variance.

    That is one less the sum of its squared probabilities; its inverse is counted from that of a
    voice which knows nothing.
    """
    ignorant = 1.0 / (1.0 - 1.0 / len(CLASSES) + LEAST_VARIANCE)

    def precision(probabilities: Float) -> Float:
        variance = 1.0 - (probabilities**2).sum(axis=1)
        result: Float = np.maximum(1.0 / (variance + LEAST_VARIANCE) - ignorant, 0.0)
        return result

    of_images = {
        name: precision(softmax(calibration.look_weight * voice)) for name, voice in voices.items()
    }
    of_grid = precision(on_grid(class_logits, calibration)[1])
    total = np.maximum(_total(of_images.values(), of_grid.shape) + of_grid, 1e-12)
    return {name: value / total for name, value in of_images.items()}
