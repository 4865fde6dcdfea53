"""How sure a figure is: 95 % bootstrap intervals over scenes.

A replicate draws as many scenes as there are, with replacement; it is kept as how often each
scene was drawn, so every figure is computed for all replicates at once from lists made once.
Figures of the same scenes share the draws, so their differences are paired.

Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993 (percentile interval).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mm_fusion_ros.evaluation.records import Index
from mm_fusion_ros.samples import Float

LOW_PERCENT, HIGH_PERCENT = 2.5, 97.5


@dataclass(frozen=True, eq=False)
class Estimate:
    """A figure with its replicates.

    Attributes:
        value: over all scenes, each once; NaN where nothing could be measured.
        replicates: (B,) float64, over each draw.
        scenes: how many scenes stand behind it.
    """

    value: float
    replicates: Float
    scenes: int

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval; NaN where no replicate could be measured."""
        measured = self.replicates[np.isfinite(self.replicates)]
        if len(measured) == 0:
            return float("nan"), float("nan")
        low, high = np.percentile(measured, [LOW_PERCENT, HIGH_PERCENT])
        return float(low), float(high)

    def minus(self, other: Estimate) -> Estimate:
        """The paired difference; both must come from the same draws.

        Raises:
            ValueError: different scenes or draws.
        """
        if self.scenes != other.scenes or self.replicates.shape != other.replicates.shape:
            raise ValueError(
                f"a paired difference needs the same draws; got {self.scenes} and "
                f"{other.scenes} scenes, {self.replicates.shape} and {other.replicates.shape}"
            )
        return Estimate(self.value - other.value, self.replicates - other.replicates, self.scenes)

    def __str__(self) -> str:
        if not np.isfinite(self.value):
            return "-"
        low, high = self.interval
        return f"{self.value:.3f} [{low:.3f}, {high:.3f}]"


def draws(scenes: int, replicates: int, seed: int) -> Index:
    """How often each scene is drawn in each replicate, (B, S) int64; rows sum to S."""
    if scenes == 0:
        return np.zeros((replicates, 0), dtype=np.int64)
    generator = np.random.default_rng(seed)
    return generator.multinomial(scenes, np.full(scenes, 1.0 / scenes), size=replicates)


def mean_estimate(values: Float, scene: Index, drawn: Index) -> Estimate:
    """The mean of values that belong to scenes.

    Args:
        values: (N,) one for each object or answer.
        scene: (N,) the scene each came from.
        drawn: (B, S) from `draws`.
    """
    scenes = drawn.shape[1]
    totals = np.bincount(scene, weights=values, minlength=scenes)
    counts = np.bincount(scene, minlength=scenes).astype(np.float64)
    with np.errstate(invalid="ignore"):
        value = totals.sum() / counts.sum() if len(values) else float("nan")
        replicates = (drawn @ totals) / (drawn @ counts)
    return Estimate(float(value), replicates, scenes)
