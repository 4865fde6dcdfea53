"""A small ensemble: the reference for what is unfamiliar, too dear to run on a robot.

Networks that were trained alike from different seeds agree about what training showed and not about
what it did not (Lakshminarayanan et al., "Simple and Scalable Predictive Uncertainty Estimation
using Deep Ensembles", 2017). So that they are good at all within minutes, they begin from weights
that were trained, and part from there with large steps. How far they disagree is the mutual
information between the answer and which network gives it. Beside it stands what one of them tells
in its one pass, by `Density`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mm_fusion_ros.evaluation.reference import Judged
from mm_fusion_ros.model.encoders.camera import IMAGE_FEATURES
from mm_fusion_ros.model.export import Densities, content
from mm_fusion_ros.model.fusion_net import FusionNet
from mm_fusion_ros.outputs import CLASSES
from mm_fusion_ros.perception import maps
from mm_fusion_ros.perception.grid import EXTENT_M, FEATURE_CELLS, rasterize
from mm_fusion_ros.perception.rays import ray_planes
from mm_fusion_ros.samples import Float
from mm_fusion_ros.sensors.camera import PreparedImage
from mm_fusion_ros.sensors.lidar import PreparedScan
from mm_fusion_ros.training import cache, weights
from mm_fusion_ros.training.familiar import fit_densities
from mm_fusion_ros.training.train import STAGES, TrainConfig, Trainer

LEARNS = ("image", "lidar")
SMALLEST = 1e-6


@dataclass(frozen=True)
class Budget:
    """How many networks, the steps of each, and the scenes that say what is familiar."""

    members: int = 3
    image: int = 60
    lidar: int = 120
    familiar: int = 300


class Ensemble:
    """Several specialists of either sensor; see `trained`."""

    def __init__(self, members: Sequence[FusionNet], densities: Densities) -> None:
        """Takes trained networks, and what is familiar to the first of them."""
        self._members, self._densities = members, densities

    @torch.no_grad()
    def camera(self, image: PreparedImage) -> Judged:
        """Judges an image as a whole."""
        height, width = image.image.shape[:2]
        rays = ray_planes(image.intrinsics, image.base_from_camera, (width, height))
        pixels = torch.from_numpy(image.image)[None].permute(0, 3, 1, 2).float()
        features = [m.camera_encoder(pixels, torch.from_numpy(rays)[None]) for m in self._members]
        shown = torch.stack(
            [
                member.image_head(each[:, :IMAGE_FEATURES])[:, len(CLASSES) :].softmax(dim=1)
                for member, each in zip(self._members, features, strict=True)
            ]
        )
        seen = self._densities.seen(features[0])
        distance = self._densities.camera(seen, torch.ones_like(seen[:, :1]))
        # Classes that exclude each other: the entropy is over all of them.
        apart = categorical_information(shown)
        return Judged(float(apart.mean()), float(distance[0]))

    @torch.no_grad()
    def lidar(self, scan: PreparedScan, places: Float) -> Judged:
        """Judges a scan, and (n, 3) places of base_link in it."""
        raster = torch.from_numpy(rasterize(scan.points))[None]
        features = [member.lidar(raster) for member in self._members]
        sure = torch.stack(
            [
                torch.sigmoid(member.lidar_head(each)[:, maps.packed(maps.CLASS)])
                for member, each in zip(self._members, features, strict=True)
            ]
        )
        filled = content(raster)
        apart = information(sure).sum(dim=1, keepdim=True)
        mean = float((apart * filled).sum() / filled.sum().clamp(min=1.0))
        distance = float(self._densities.lidar(features[0], filled)[0])
        near = [
            torch.nn.functional.max_pool2d(grid, 3, 1, 1)[0, 0].numpy().astype(np.float64)
            for grid in (apart, sure[0].amax(dim=1, keepdim=True))
        ]
        x, y = ((places[:, :2] + EXTENT_M) * (FEATURE_CELLS / (2.0 * EXTENT_M))).T.astype(np.int64)
        return Judged(mean, distance, near[0][x, y], 1.0 - near[1][x, y])


def information(p: Tensor) -> Tensor:
    """Mutual information of (members, ...) probabilities, each of a yes or no; [nat]."""
    mean = _entropy(p.mean(dim=0))
    result: Tensor = mean - _entropy(p).mean(dim=0)
    return result


def categorical_information(p: Tensor) -> Tensor:
    """The same of (members, B, classes, ...) that sum to 1 over the classes: (B, ...)."""
    of_each = -(p * p.clamp(min=SMALLEST).log()).sum(dim=2)
    mean = p.mean(dim=0)
    of_mean = -(mean * mean.clamp(min=SMALLEST).log()).sum(dim=1)
    result: Tensor = of_mean - of_each.mean(dim=0)
    return result


def _entropy(p: Tensor) -> Tensor:
    other = 1.0 - p
    return -(p * p.clamp(min=SMALLEST).log() + other * other.clamp(min=SMALLEST).log())


def trained(
    folder: Path, out: Path, budget: Budget | None = None, base: TrainConfig | None = None,
    device: str = "cpu", processes: int = 2, start: str = weights.SHIPPED,
) -> Ensemble:  # fmt: skip
    """Trains the members, or takes them up where they were left.

    Args:
        folder: cached training scenes; those that are missing are made.
        out: checkpoints.
        budget: members and steps.
        base: scenes, batch and workers; its seed is the first member's.
        device: to train on.
        processes: that make scenes.
        start: weights that all begin from; empty for random ones.
    """
    budget, base = budget or Budget(), base or TrainConfig()
    cache.fill(folder, range(max(base.scenes, budget.familiar)), processes)
    steps = dict.fromkeys(STAGES, 0) | {stage: getattr(budget, stage) for stage in LEARNS}
    members = []
    for number in range(budget.members):
        config = replace(
            base, seed=base.seed + number, steps=steps, faults=dict.fromkeys(STAGES, 0.0)
        )
        trainer = Trainer(config, folder, out / f"member{number}", device)
        if start and not trainer.checkpoint.exists():
            trainer.start_from(start)
        trainer.resume()
        trainer.run(LEARNS)
        members.append(trainer.averaged())
    return Ensemble(members, fit_densities(members[0], folder, range(budget.familiar)))
