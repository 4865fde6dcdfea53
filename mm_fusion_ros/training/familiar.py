"""Fits what is familiar: the densities of both encoders' features on training scenes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mm_fusion_ros.model.export import Densities, content
from mm_fusion_ros.model.fusion_net import FusionNet
from mm_fusion_ros.training.dataset import PLAIN, Needs, SceneDataset, collate
from mm_fusion_ros.training.train import to_device

ROWS_A_SCENE = 300
NEEDS = Needs(taught=False, grid=False, subsets=())


@torch.no_grad()
def fit_densities(net: FusionNet, cache: Path, seeds: Sequence[int]) -> Densities:
    """The densities of a trained network.

    Args:
        net: trained.
        cache: of training scenes.
        seeds: of those to take.
    """
    densities = Densities.untrained()
    dataset = SceneDataset(cache, seeds, PLAIN, needs=NEEDS)
    draw = np.random.default_rng(0)
    of_camera, of_lidar = [], []
    for index in range(len(dataset)):
        batch = to_device(collate([dataset[index]]), torch.device("cpu"))
        images = net.camera_encoder(batch.cameras.image, batch.cameras.rays)
        of_camera.append(_some(densities.camera.pooled(densities.seen(images)), None, draw))
        pooled = densities.lidar.pooled(net.lidar(batch.raster))
        of_lidar.append(_some(pooled, content(batch.raster), draw))
    densities.camera.fit(torch.cat(of_camera))
    densities.lidar.fit(torch.cat(of_lidar))
    return densities


def _some(pooled: Tensor, where: Tensor | None, draw: np.random.Generator) -> Tensor:
    """At most so many rows (n, channels) of those places that count."""
    rows = pooled.permute(0, 2, 3, 1).reshape(-1, pooled.shape[1])
    if where is not None:
        rows = rows[where.reshape(-1) > 0]
    return rows[torch.from_numpy(draw.permutation(len(rows))[:ROWS_A_SCENE])]
