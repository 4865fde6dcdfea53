"""Mean average precision, for all bootstrap replicates at once.

Average precision as nuScenes defines it: precision, interpolated linearly over 101 recall levels;
levels up to a smallest recall are left out, a smallest precision is taken off, and what remains is
scaled to 0..1 (Caesar et al., 2020). Averaged over the matching radii, then over the classes. A
class of which no true object was asked for has no average precision and does not enter the mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mm_fusion_ros.evaluation.bootstrap import Estimate
from mm_fusion_ros.evaluation.matching import HIT, LEFT_OUT, Matches, Region, match
from mm_fusion_ros.evaluation.records import Findings, Flags, Index, Truths
from mm_fusion_ros.outputs import CLASSES
from mm_fusion_ros.samples import Float

LEVELS = 101
# Elements of one block of replicates x answers: keeps the working set in the cache.
BLOCK = 250_000


@dataclass(frozen=True)
class PrecisionRule:
    """How average precision is taken.

    Attributes:
        radii_m: matching radii [m].
        min_recall: levels up to this are left out.
        min_precision: taken off; what falls below is 0.
    """

    radii_m: tuple[float, ...] = (0.5, 1.0, 2.0)
    min_recall: float = 0.1
    min_precision: float = 0.1


@dataclass(frozen=True, eq=False)
class Ranking:
    """All answers of one class at one radius, best score first.

    Attributes:
        score: (D,) float64, descending.
        hit: (D,) bool.
        scene: (D,) int64.
        asked: (S,) int64, true objects asked for in each scene.
    """

    score: Float
    hit: Flags
    scene: Index
    asked: Index


@dataclass(frozen=True, eq=False)
class MeanAveragePrecision:
    """The figure, and what it is made of.

    Attributes:
        overall: mean over the classes.
        by_class: for each class that was asked for.
        rankings: class name to its ranking at each radius, for the curves.
    """

    overall: Estimate
    by_class: Mapping[str, Estimate]
    rankings: Mapping[str, Mapping[float, Ranking]]


def mean_average_precision(
    truths: Sequence[Truths],
    findings: Sequence[Findings],
    drawn: Index,
    *,
    region: Region,
    with_colour: bool,
    rule: PrecisionRule,
) -> MeanAveragePrecision:
    """Mean average precision over scenes.

    Args:
        truths: labels, one table a scene.
        findings: answers, one table a scene.
        drawn: (B, S) from `bootstrap.draws`.
        region: what is compared.
        with_colour: class and colour must both be right (`mAP_attr`).
        rule: radii and cut-offs.
    """
    scenes = len(truths)
    once = np.ones((1, scenes), dtype=np.int64)
    rankings: dict[str, dict[float, Ranking]] = {name: {} for name in CLASSES}
    for radius in rule.radii_m:
        matched = [
            match(truth, found, radius_m=radius, region=region, with_colour=with_colour)
            for truth, found in zip(truths, findings, strict=True)
        ]
        for index, name in enumerate(CLASSES):
            rankings[name][radius] = rank(matched, truths, findings, index)
    by_class: dict[str, Estimate] = {}
    for name, of_radius in rankings.items():
        if not of_radius or next(iter(of_radius.values())).asked.sum() == 0:
            continue
        value = np.mean([average_precision(r, once, rule) for r in of_radius.values()], axis=0)
        spread = np.mean([average_precision(r, drawn, rule) for r in of_radius.values()], axis=0)
        by_class[name] = Estimate(float(value[0]), spread, scenes)
    return MeanAveragePrecision(
        mean_over_classes(list(by_class.values()), drawn),
        by_class,
        {name: rankings[name] for name in by_class},
    )


def mean_over_classes(classes: Sequence[Estimate], drawn: Index) -> Estimate:
    """The mean; in a replicate without a class, over the rest."""
    if not classes:
        return Estimate(float("nan"), np.full(len(drawn), np.nan), drawn.shape[1])
    spread = np.stack([estimate.replicates for estimate in classes])
    present = np.isfinite(spread)
    counts = present.sum(axis=0)
    totals = np.where(present, spread, 0.0).sum(axis=0)
    replicates = np.where(counts > 0, totals / np.maximum(counts, 1), np.nan)
    value = float(np.mean([estimate.value for estimate in classes]))
    return Estimate(value, replicates, drawn.shape[1])


def rank(
    matched: Sequence[Matches], truths: Sequence[Truths], findings: Sequence[Findings], kind: int
) -> Ranking:
    """The answers of one class over all scenes, best score first; those left out are gone."""
    scores, hits, scenes, asked = [], [], [], []
    for scene, (matches, truth, found) in enumerate(zip(matched, truths, findings, strict=True)):
        chosen = (found.kind == kind) & (matches.outcome != LEFT_OUT)
        scores.append(matches.score[chosen])
        hits.append(matches.outcome[chosen] == HIT)
        scenes.append(np.full(int(chosen.sum()), scene, dtype=np.int64))
        asked.append(int((matches.asked & (truth.kind == kind)).sum()))
    score = np.concatenate(scores) if scores else np.zeros(0)
    hit = np.concatenate(hits) if hits else np.zeros(0, dtype=np.bool_)
    scene_of = np.concatenate(scenes) if scenes else np.zeros(0, dtype=np.int64)
    order = np.argsort(-score, kind="stable")
    return Ranking(score[order], hit[order], scene_of[order], np.array(asked, dtype=np.int64))


def average_precision(ranking: Ranking, drawn: Index, rule: PrecisionRule) -> Float:
    """Average precision of each replicate.

    Args:
        ranking: S scenes, D answers.
        drawn: (B, S), how often each scene is drawn.
        rule: cut-offs.

    Returns:
        (B,) float64; NaN where no object was asked for.
    """
    result = np.empty(len(drawn))
    step = max(1, BLOCK // max(1, len(ranking.score)))
    for start in range(0, len(drawn), step):
        block = drawn[start : start + step]
        curve = interpolated_precision(*precision_recall(ranking, block))
        first = round((LEVELS - 1) * rule.min_recall) + 1
        kept = np.clip(curve[:, first:] - rule.min_precision, 0.0, None)
        value = kept.mean(axis=1) / (1.0 - rule.min_precision)
        result[start : start + step] = np.where(block @ ranking.asked > 0, value, np.nan)
    return result


def precision_recall(ranking: Ranking, drawn: Index) -> tuple[Float, Float]:
    """Precision and recall after each answer, each (B, D) float64, for (B, S) draws."""
    weight = drawn[:, ranking.scene].astype(np.float64)
    hits = np.cumsum(weight * ranking.hit, axis=1)
    total = np.cumsum(weight, axis=1)
    asked = (drawn @ ranking.asked).astype(np.float64)
    recall = hits / np.maximum(asked, 1.0)[:, None]
    precision = hits / np.maximum(total, 1.0)
    # Before the first answer drawn there is no precision: the first one's reaches back.
    before = total == 0.0
    if before.any():
        first = np.take_along_axis(
            precision, np.minimum(before.sum(axis=1), precision.shape[1] - 1)[:, None], axis=1
        )
        precision = np.where(before, first, precision)
    return precision, recall


def interpolated_precision(precision: Float, recall: Float) -> Float:
    """Precision at 101 recall levels, (B, 101), linear between answers and 0 beyond the last.

    Args:
        precision: (B, D) float64.
        recall: (B, D) float64, never falling along a row.
    """
    rows, answers = recall.shape
    levels = np.linspace(0.0, 1.0, LEVELS)
    if answers == 0:
        return np.zeros((rows, LEVELS))
    # One search for all rows: each row's recall is shifted above the row before it.
    shift = 2.0 * np.arange(rows)[:, None]
    place = np.searchsorted((recall + shift).ravel(), (levels + shift).ravel(), side="right")
    left = place.reshape(rows, LEVELS) - 1 - np.arange(rows)[:, None] * answers
    low = np.clip(left, 0, answers - 1)
    high = np.clip(left + 1, 0, answers - 1)
    recall_low = np.take_along_axis(recall, low, axis=1)
    recall_high = np.take_along_axis(recall, high, axis=1)
    precision_low = np.take_along_axis(precision, low, axis=1)
    precision_high = np.take_along_axis(precision, high, axis=1)
    gap = recall_high - recall_low
    fraction = np.where(gap > 0.0, (levels - recall_low) / np.where(gap > 0.0, gap, 1.0), 0.0)
    fraction = np.clip(fraction, 0.0, 1.0)
    inside = precision_low + fraction * (precision_high - precision_low)
    return np.where(levels <= recall[:, -1:], inside, 0.0)
