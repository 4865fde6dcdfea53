"""Figures beside average precision: calibration, coverage of the covariance, box errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros.evaluation.bootstrap import Estimate, mean_estimate
from mm_fusion_ros.evaluation.matching import HIT, LEFT_OUT, Region, assign, match
from mm_fusion_ros.evaluation.records import Findings, Index, Truths
from mm_fusion_ros.outputs import CLASSES
from mm_fusion_ros.samples import Float

# Chi-square with 2 degrees of freedom holds 90 % of its mass below this.
ELLIPSE_90 = 4.605
DECILES = 10
Offsets = tuple[Float, Float, Index]
# Heading is asked only of what visibly has one: a barrel has none, a box four.
HEADED = tuple(CLASSES.index(name) for name in ("car", "truck", "cyclist"))


@dataclass(frozen=True, eq=False)
class Calibration:
    """Whether 0.8 is right 8 times in 10.

    Attributes:
        error: expected calibration error.
        confidence: (K,) float64, mean probability of each bin.
        accuracy: (K,) float64, part of each bin that is right.
        count: (K,) int64, answers of each bin.
    """

    error: Estimate
    confidence: Float
    accuracy: Float
    count: Index


@dataclass(frozen=True, eq=False)
class BoxErrors:
    """Errors of the answers that hit.

    Attributes:
        position_m: mean ground distance of the centres [m].
        size: mean of 1 - overlap / union of the two boxes laid centre on centre, axes aligned.
        yaw_rad: mean heading error of cars, trucks and cyclists, in 0..pi [rad].
        colour: part whose colour is right.
    """

    position_m: Estimate
    size: Estimate
    yaw_rad: Estimate
    colour: Estimate


def calibration(
    truths: Sequence[Truths],
    findings: Sequence[Findings],
    drawn: Index,
    *,
    region: Region,
    radius_m: float,
    min_probability: float,
    bins: int,
) -> Calibration:
    """Expected calibration error of the class probability, in bins of equal mass.

    An answer is right when it hits an object of its class within `radius_m`; those left out by
    the matching do not enter. A replicate's error is never below what chance makes of few
    answers, so the interval may lie above the value.
    """
    probability, right, scene = [], [], []
    for index, (truth, found) in enumerate(zip(truths, findings, strict=True)):
        outcome = match(truth, found, radius_m=radius_m, region=region, with_colour=False).outcome
        chosen = (outcome != LEFT_OUT) & (found.probability >= min_probability)
        probability.append(found.probability[chosen])
        right.append(outcome[chosen] == HIT)
        scene.append(np.full(int(chosen.sum()), index, dtype=np.int64))
    p = numbers(probability)
    hit = numbers(right)
    of = indices(scene)
    order = np.argsort(p, kind="stable")
    p, hit, of = p[order], hit[order], of[order]
    once = np.ones(len(p))
    confidence, accuracy, mass = binned(p, hit, once, bins)
    replicates = np.array(
        [calibration_error(*binned(p, hit, row[of].astype(np.float64), bins)) for row in drawn]
    )
    error = Estimate(calibration_error(confidence, accuracy, mass), replicates, len(truths))
    filled = mass > 0
    return Calibration(
        error, confidence[filled], accuracy[filled], mass[filled].round().astype(np.int64)
    )


def binned(p: Float, right: Float, weight: Float, bins: int) -> tuple[Float, Float, Float]:
    """Bins of equal mass over answers in ascending order of probability.

    Args:
        p: (N,) probabilities, ascending.
        right: (N,) 1 where right, else 0.
        weight: (N,) how often each answer counts.
        bins: how many.

    Returns:
        confidence, accuracy, mass: (bins,), means and summed weight; 0 where a bin is empty.
    """
    total = weight.sum()
    if total == 0.0:
        return np.zeros(bins), np.zeros(bins), np.zeros(bins)
    # An answer belongs to the bin that holds the middle of its share of the mass.
    middle = np.cumsum(weight) - weight / 2.0
    place = np.minimum((middle * bins / total).astype(np.int64), bins - 1)
    mass = np.bincount(place, weights=weight, minlength=bins).astype(np.float64)
    safe = np.maximum(mass, 1e-12)
    confidence = np.bincount(place, weights=weight * p, minlength=bins) / safe
    accuracy = np.bincount(place, weights=weight * right, minlength=bins) / safe
    return confidence, accuracy, mass


def calibration_error(confidence: Float, accuracy: Float, mass: Float) -> float:
    """Mean distance of accuracy from confidence, by mass; NaN without answers."""
    total = float(mass.sum())
    if total == 0.0:
        return float("nan")
    return float((np.abs(confidence - accuracy) * mass).sum() / total)


def ellipse_coverage(placed: Offsets, drawn: Index) -> Estimate:
    """Part of the answers whose 90 % ellipse in the ground plane holds the true centre.

    Args:
        placed: from `offsets`.
        drawn: (B, S) from `bootstrap.draws`.
    """
    offset, covariance, scene = placed
    inside = squared_mahalanobis(offset, covariance) <= ELLIPSE_90
    return mean_estimate(inside.astype(np.float64), scene, drawn)


def errors_follow_sigmas(placed: Offsets, drawn: Index) -> Estimate:
    """Spearman's rank correlation of the mean error on the mean sigma of the deciles of sigma.

    1 where those that say they are less certain are, decile by decile, farther off.

    Args:
        placed: from `offsets`.
        drawn: (B, S) from `bootstrap.draws`.
    """
    offset, covariance, scene = placed
    error = np.linalg.norm(offset, axis=1)
    sigma = np.sqrt(np.trace(covariance, axis1=1, axis2=2) / 2.0)
    order = np.argsort(sigma, kind="stable")
    sigma, error, scene = sigma[order], error[order], scene[order]

    def correlation(weight: Float) -> float:
        mean_sigma, mean_error, mass = binned(sigma, error, weight, DECILES)
        if (mass > 0.0).sum() < DECILES:
            return float("nan")
        return float(np.corrcoef(_ranks(mean_sigma), _ranks(mean_error))[0, 1])

    replicates = np.array([correlation(row[scene].astype(np.float64)) for row in drawn])
    return Estimate(correlation(np.ones(len(error))), replicates, drawn.shape[1])


def _ranks(values: Float) -> Float:
    """Places in ascending order."""
    return values.argsort(kind="stable").argsort(kind="stable").astype(np.float64)


def offsets(
    truths: Sequence[Truths],
    findings: Sequence[Findings],
    *,
    region: Region,
    min_probability: float,
    gate: float,
    by_bearing: bool,
) -> Offsets:
    """How far the answers are from the objects that they are about.

    Args:
        truths: labels, one table a scene.
        findings: answers, one table a scene.
        region: where the true objects lie.
        min_probability: less probable answers do not enter.
        gate: farthest an answer may be from its object, metres or radians (`assign`).
        by_bearing: for a camera alone.

    Returns:
        offset: (N, 2), answer minus object in the ground plane [m].
        covariance: (N, 2, 2), as the answers say [m^2].
        scene: (N,), of each.
    """
    offset, covariance, scene = [np.zeros((0, 2))], [np.zeros((0, 2, 2))], []
    for index, (truth, found) in enumerate(zip(truths, findings, strict=True)):
        owner = assign(truth, found, gate=gate, by_bearing=by_bearing)
        asked = truth.counts & region.contains(truth)
        rows = np.flatnonzero((owner >= 0) & (found.probability >= min_probability))
        rows = rows[asked[owner[rows]]]
        offset.append((found.centre[rows] - truth.centre[owner[rows]])[:, :2])
        covariance.append(found.covariance[rows])
        scene.append(np.full(len(rows), index, dtype=np.int64))
    return np.concatenate(offset), np.concatenate(covariance), indices(scene)


def squared_mahalanobis(offset: Float, covariance: Float) -> Float:
    """(N,) squared distances of (N, 2) offsets [m] under (N, 2, 2) covariances [m^2].

    A covariance without an inverse covers nothing: the distance is infinite.
    """
    a, b = covariance[:, 0, 0], covariance[:, 0, 1]
    c, d = covariance[:, 1, 0], covariance[:, 1, 1]
    determinant = a * d - b * c
    x, y = offset[:, 0], offset[:, 1]
    valid = (determinant > 0.0) & (a > 0.0)
    value = (d * x * x - (b + c) * x * y + a * y * y) / np.where(valid, determinant, 1.0)
    return np.where(valid, value, np.inf)


def box_errors(
    truths: Sequence[Truths],
    findings: Sequence[Findings],
    drawn: Index,
    *,
    region: Region,
    radius_m: float,
    min_probability: float,
) -> BoxErrors:
    """Errors of the answers that hit an object of their class within `radius_m`."""
    position, size, colour, scene = [], [], [], []
    yaw, yaw_scene = [], []
    for index, (truth, found) in enumerate(zip(truths, findings, strict=True)):
        matches = match(truth, found, radius_m=radius_m, region=region, with_colour=False)
        rows = np.flatnonzero((matches.outcome == HIT) & (found.probability >= min_probability))
        owner = matches.truth[rows]
        offset = (found.centre[rows] - truth.centre[owner])[:, :2]
        position.append(np.hypot(offset[:, 0], offset[:, 1]))
        size.append(1.0 - aligned_overlap(found.size[rows], truth.size[owner]))
        colour.append(found.colour[rows] == truth.colour[owner])
        scene.append(np.full(len(rows), index, dtype=np.int64))
        headed = np.isin(truth.kind[owner], HEADED)
        turn = (found.yaw[rows] - truth.yaw[owner])[headed]
        yaw.append(np.abs((turn + np.pi) % (2.0 * np.pi) - np.pi))
        yaw_scene.append(np.full(int(headed.sum()), index, dtype=np.int64))
    of = indices(scene)
    return BoxErrors(
        position_m=mean_estimate(numbers(position), of, drawn),
        size=mean_estimate(numbers(size), of, drawn),
        yaw_rad=mean_estimate(numbers(yaw), indices(yaw_scene), drawn),
        colour=mean_estimate(numbers(colour), of, drawn),
    )


def aligned_overlap(first: Float, second: Float) -> Float:
    """(N,) overlap / union of (N, 3) boxes [m] laid centre on centre, axes aligned."""
    overlap = np.minimum(first, second).prod(axis=1)
    union = first.prod(axis=1) + second.prod(axis=1) - overlap
    return np.asarray(overlap / np.maximum(union, 1e-12))


def numbers(parts: Sequence[NDArray[Any]]) -> Float:
    """The parts of all scenes end to end, float64; also when there are none."""
    return np.concatenate([*parts, np.zeros(0)]).astype(np.float64)


def indices(parts: Sequence[Index]) -> Index:
    """The parts of all scenes end to end, int64; also when there are none."""
    return np.concatenate([*parts, np.zeros(0, dtype=np.int64)])


def area(
    usual: Float, strange: Float, usual_weight: Float | None = None,
    strange_weight: Float | None = None,
) -> float:  # fmt: skip
    """Area under the receiver's curve: how often the strange is above the usual; ties are half.

    Args:
        usual, strange: (n,), (m,) values.
        usual_weight, strange_weight: how often each counts; once by default.
    """
    weight = np.ones(len(usual)) if usual_weight is None else usual_weight.astype(np.float64)
    counted = np.ones(len(strange)) if strange_weight is None else strange_weight
    total = float(weight.sum() * counted.sum())
    if total <= 0.0:
        return float("nan")
    order = np.argsort(usual, kind="stable")
    below = np.append(0.0, np.cumsum(weight[order]))
    left = below[np.searchsorted(usual[order], strange, side="left")]
    right = below[np.searchsorted(usual[order], strange, side="right")]
    return float((counted * (left + right) / 2.0).sum() / total)
