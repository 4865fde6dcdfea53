"""Mean average precision, for all bootstrap replicates at once.

Average precision as nuScenes defines it: precision, interpolated linearly over 101 recall levels;
levels up to a smallest recall are left out, a smallest precision is taken off, and what remains is
scaled to 0..1 (Caesar et al., 2020). Averaged over the matching radii, then over the classes. A
class of which no true object was asked for has no average precision and does not enter the mean.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros.evaluation.bootstrap import Estimate
from mm_fusion_ros.evaluation.matching import HIT, LEFT_OUT, Matches, Region, match
from mm_fusion_ros.evaluation.records import Findings, Flags, Index, Truths
from mm_fusion_ros.outputs import CLASSES
from mm_fusion_ros.samples import Float

LEVELS = 101
# Elements of one block of replicates x answers: bounds the memory.
BLOCK = 4_000_000


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
    levels = np.linspace(0.0, 1.0, LEVELS)[round((LEVELS - 1) * rule.min_recall) + 1 :]
    result = np.empty(len(drawn))
    step = max(1, BLOCK // max(1, len(ranking.score)))
    for start in range(0, len(drawn), step):
        block = drawn[start : start + step]
        kept = np.clip(precision_at(ranking, block, levels) - rule.min_precision, 0.0, None)
        value = kept.mean(axis=1) / (1.0 - rule.min_precision)
        result[start : start + step] = np.where(block @ ranking.asked > 0, value, np.nan)
    return result


def precision_at(ranking: Ranking, drawn: Index, levels: Float) -> Float:
    """Precision at recall levels: linear between answers, 0 beyond the last hit.

    Recall stands still between hits while precision falls, so a level lies between two points:
    just before a hit, and at it. Only these are computed.

    Args:
        ranking: S scenes, D answers, H of them hits.
        drawn: (B, S), how often each scene is drawn.
        levels: (N,) recall, ascending.

    Returns:
        (B, N) float64.
    """
    hits = np.flatnonzero(ranking.hit)
    if len(hits) == 0:
        return np.zeros((len(drawn), len(levels)))
    weight = np.ascontiguousarray(drawn.T.astype(np.int32))[ranking.scene]  # (D, B)
    found = running_sum(weight[hits])  # (H, B)
    total = running_sum(weight)
    at_hit = total[hits]
    # Answers before the first hit, between hits, and after the last: row k + 1 follows hit k.
    nothing = np.zeros((1, len(drawn)), dtype=np.int32)
    before_next = np.concatenate([nothing, total])[np.append(hits, len(total))]
    found_before = np.concatenate([nothing, found])

    asked = np.maximum(drawn @ ranking.asked, 1)
    recall = np.ascontiguousarray((found / asked).T)  # (B, H), never falling along a row
    # One search for all rows: each row's recall is shifted above the row before it.
    rows = np.arange(len(drawn))[:, None]
    shifted = np.searchsorted(
        (recall + 2.0 * rows).ravel(), (levels + 2.0 * rows).ravel(), side="right"
    )
    passed = shifted.reshape(len(drawn), len(levels)) - rows * len(hits)  # hits up to the level
    following = np.minimum(passed, len(hits) - 1)

    precision_after = found[following, rows] / np.maximum(at_hit[following, rows], 1)
    answers = before_next[passed, rows]
    # Before the first answer drawn there is no precision: that of the first hit reaches back.
    precision_before = np.where(
        answers > 0, found_before[passed, rows] / np.maximum(answers, 1), precision_after
    )
    recall_before = found_before[passed, rows] / asked[:, None]
    gap = recall[rows, following] - recall_before
    fraction = np.where(gap > 0.0, (levels - recall_before) / np.where(gap > 0.0, gap, 1.0), 0.0)
    inside = precision_before + fraction * (precision_after - precision_before)
    return np.where(levels <= recall[:, -1:], inside, 0.0)


def running_sum(rows: NDArray[np.int32]) -> NDArray[np.int32]:
    """Sums of all rows up to each, in place; by rows, which is ten times faster than `cumsum`."""
    for before, row in itertools.pairwise(rows):
        np.add(before, row, out=row)
    return rows
