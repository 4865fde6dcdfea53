"""What an ensemble notices of what training never showed, beside what one pass does.

The same questions and scenes as `unfamiliar`, asked of small networks that were trained for this
alone: which way of telling is better is a question of the way and not of the weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from typing import Protocol as Interface

import numpy as np
from rich.progress import track

from mm_fusion_ros.config import CameraConfig, LidarConfig
from mm_fusion_ros.evaluation.bootstrap import Estimate, draws
from mm_fusion_ros.evaluation.protocol import Protocol
from mm_fusion_ros.evaluation.scoring import CAMERA, LIDAR
from mm_fusion_ros.evaluation.table import plain
from mm_fusion_ros.evaluation.unfamiliar import QUESTIONS, USUAL, changed, told_apart
from mm_fusion_ros.samples import Float
from mm_fusion_ros.sensors.camera import CameraIntake, PreparedImage
from mm_fusion_ros.sensors.lidar import LidarIntake, PreparedScan
from mm_fusion_ros.sim.unfamiliar import THING

WAYS = ("ensemble", "alone")
Result = Mapping[str, Mapping[str, Estimate]]


@dataclass(frozen=True, eq=False)
class Judged:
    """What is doubted of a sample, by an ensemble and by one member alone.

    Attributes:
        ensemble: mutual information, mean over the places that hold anything [nat].
        alone: squared Mahalanobis distance of the first member's features, about 1 for familiar.
        ensemble_at: (n,) mutual information at the places that were asked for [nat].
        alone_at: (n,) the part of certainty that the first member gives to no class there.
    """

    ensemble: float
    alone: float
    ensemble_at: Float = field(default_factory=lambda: np.zeros(0))
    alone_at: Float = field(default_factory=lambda: np.zeros(0))


class Judge(Interface):
    """Whoever is asked."""

    def camera(self, image: PreparedImage) -> Judged:
        """Of an image as a whole."""

    def lidar(self, scan: PreparedScan, places: Float) -> Judged:
        """Of a scan, and of (n, 3) places of base_link in it [m]."""


def measured(judge: Judge, protocol: Protocol, seeds: Sequence[int]) -> Result:
    """AUROC of each question that a single sensor is asked, in either way.

    Args:
        judge: the ensemble.
        protocol: image size and bootstrap.
        seeds: of the scenes.

    Returns:
        question to "ensemble" and "alone" to the area.
    """
    camera_intake, lidar_intake = CameraIntake(CameraConfig()), LidarIntake(LidarConfig())
    values: dict[str, list[list[float]]] = {}
    for seed in track(seeds, description="unfamiliar"):
        for change, sample, centres in changed(seed, protocol):
            scan = judge.lidar(lidar_intake.accept(sample.lidar)[0], centres)
            images = [judge.camera(camera_intake.accept(frame)[0]) for frame in sample.cameras]
            for way in WAYS:
                told = {
                    f"{CAMERA}|{change}": [getattr(each, way) for each in images],
                    f"{LIDAR}|{change}": [getattr(scan, way)],
                    f"at|{change}": getattr(scan, f"{way}_at").tolist(),
                }
                for key, these in told.items():
                    values.setdefault(f"{way}|{key}", []).append(these)
    drawn = draws(len(seeds), protocol.bootstrap.replicates, protocol.bootstrap.seed)
    result: dict[str, dict[str, Estimate]] = {}
    for question, (sensor, change) in QUESTIONS.items():
        if sensor not in (CAMERA, LIDAR):
            continue
        of = "at" if change == THING else sensor
        result[question] = {
            way: told_apart(values[f"{way}|{of}|{USUAL}"], values[f"{way}|{of}|{change}"], drawn)
            for way in WAYS
        }
    return result


def text(result: Result, title: str) -> str:
    """As plain text."""
    heads = "".join(f"{head:>26}" for head in ("ensemble", "one pass of one of it"))
    lines = [title, "", f"{'AUROC':34}{heads}"]
    for question, ways in result.items():
        lines.append(f"{question:34}" + "".join(f"{ways[way]!s:>26}" for way in WAYS))
    return "\n".join(lines)


def plain_result(result: Result) -> dict[str, Any]:
    """As plain values, for JSON."""
    return {
        question: {way: plain(value) for way, value in ways.items()}
        for question, ways in result.items()
    }
