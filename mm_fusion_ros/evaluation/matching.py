"""Which answer belongs to which true object.

Greedy by descending score, by centre distance in the ground plane (Caesar et al., nuScenes: A
multimodal dataset for autonomous driving, 2020). Three rules are ours:

* Where the task asks for colour, an answer fits a true object only if class and colour are both
  right. An answer of the right class and the wrong colour is wrong, and leaves the object free
  for a better one, exactly as an answer of another class does.
* A true object that is not asked for (too little of it shows, or it lies outside the region) is
  neither a hit nor a miss, and an answer near it, of whatever class, is left out: the evidence
  was too thin to hold the answer against anyone. It absorbs any number of them.
* An answer outside the region is left out too, unless it hits an object inside: an object on the
  border is not lost because its answer fell just beyond.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mm_fusion_ros.evaluation.records import UNKNOWN, Findings, Flags, Index, Truths
from mm_fusion_ros.samples import Float

HIT, WRONG, LEFT_OUT = 1, 0, -1


@dataclass(frozen=True)
class Region:
    """Where truth and answers are compared.

    Attributes:
        in_view: only inside a camera's image.
        max_range_m: farthest ground distance from base_link [m].
    """

    in_view: bool
    max_range_m: float

    def contains(self, table: Truths | Findings) -> Flags:
        """(N,) bool, which rows lie inside."""
        near = np.hypot(table.centre[:, 0], table.centre[:, 1]) <= self.max_range_m
        return np.asarray(near & table.in_view if self.in_view else near, dtype=np.bool_)


@dataclass(frozen=True, eq=False)
class Matches:
    """What became of each answer of one scene.

    Attributes:
        outcome: (D,) int64, HIT, WRONG or LEFT_OUT.
        truth: (D,) int64, the object that was hit; -1 where none was.
        score: (D,) float64, what the answers were ranked by.
        asked: (L,) bool, the true objects that were asked for.
    """

    outcome: Index
    truth: Index
    score: Float
    asked: Flags


def match(
    truths: Truths, findings: Findings, *, radius_m: float, region: Region, with_colour: bool
) -> Matches:
    """Matches the answers of one scene to its true objects.

    Args:
        truths: all labels of the scene, asked for or not.
        findings: all answers.
        radius_m: an answer this far or farther from an object does not belong to it [m].
        region: what is compared.
        with_colour: the colour must be right too, and its probability multiplies the score.
    """
    score = findings.probability
    fits = findings.kind[:, None] == truths.kind[None, :]
    if with_colour:
        score = score * findings.colour_probability
        fits &= findings.colour[:, None] == truths.colour[None, :]
        # "unknown" is right about nothing, not even about an object of unlisted colour.
        fits &= findings.colour[:, None] != UNKNOWN
    distance = ground_distance(findings.centre, truths.centre)
    near = distance < radius_m
    asked = truths.counts & region.contains(truths)
    inside = region.contains(findings)

    free = asked.copy()
    outcome = np.full(len(score), WRONG, dtype=np.int64)
    hit = np.full(len(score), -1, dtype=np.int64)
    for row in np.argsort(-score, kind="stable"):
        candidates = fits[row] & near[row] & free
        if candidates.any():
            best = int(np.argmin(np.where(candidates, distance[row], np.inf)))
            free[best] = False
            outcome[row], hit[row] = HIT, best
        elif not inside[row] or (near[row] & ~asked).any():
            outcome[row] = LEFT_OUT
    return Matches(outcome, hit, score, asked)


def assign(truths: Truths, findings: Findings, *, gate: float, by_bearing: bool) -> Index:
    """The true object that each answer is about, however badly placed: for position errors.

    Greedy by descending probability among objects of the same class, asked for or not.

    Args:
        truths: all labels.
        findings: all answers.
        gate: farthest an answer may be, in metres, or in radians when by bearing.
        by_bearing: compares directions from base_link: a camera alone errs along its ray.

    Returns:
        (D,) int64, row of `truths`; -1 where there is none.
    """
    if by_bearing:
        found = np.arctan2(findings.centre[:, 1], findings.centre[:, 0])
        true = np.arctan2(truths.centre[:, 1], truths.centre[:, 0])
        turn = found[:, None] - true[None, :]
        distance = np.abs((turn + np.pi) % (2.0 * np.pi) - np.pi)
    else:
        distance = ground_distance(findings.centre, truths.centre)
    distance = np.where(findings.kind[:, None] == truths.kind[None, :], distance, np.inf)
    result = np.full(len(findings.kind), -1, dtype=np.int64)
    for row in np.argsort(-findings.probability, kind="stable"):
        if not distance.shape[1]:
            break
        best = int(np.argmin(distance[row]))
        if distance[row, best] <= gate:
            result[row] = best
            distance[:, best] = np.inf
    return result


def ground_distance(first: Float, second: Float) -> Float:
    """(A, B) distances [m] between (A, 3) and (B, 3) points, height left out."""
    offset = first[:, None, :2] - second[None, :, :2]
    return np.asarray(np.hypot(offset[..., 0], offset[..., 1]))
