"""Fits what is familiar: the densities of both encoders' features on training scenes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from rich.progress import track

from mm_fusion_ros.model.export import Densities, content
from mm_fusion_ros.model.fusion_net import FusionNet
from mm_fusion_ros.training.dataset import PLAIN, Needs, SceneDataset, collate
from mm_fusion_ros.training.train import to_device

NEEDS = Needs(taught=False, grid=False, subsets=())


@torch.no_grad()
def fit_densities(net: FusionNet, cache: Path, seeds: Sequence[int]) -> Densities:
    """The densities of a trained network.

    Args:
        net: trained.
        cache: of training scenes.
        seeds: of those to take; more than the lidar has features, twice.

    Raises:
        ValueError: too few scenes.
    """
    densities = Densities.untrained()
    dataset = SceneDataset(cache, seeds, PLAIN, needs=NEEDS)
    of_camera, of_lidar = [], []
    for index in track(range(len(dataset)), description="what is familiar"):
        batch = to_device(collate([dataset[index]]), torch.device("cpu"))
        images = densities.seen(net.camera_encoder(batch.cameras.image, batch.cameras.rays))
        of_camera.append(densities.camera.told(images, torch.ones_like(images[:, :1])))
        of_lidar.append(densities.lidar.told(net.lidar(batch.raster), content(batch.raster)))
    densities.camera.fit(torch.cat(of_camera))
    densities.lidar.fit(torch.cat(of_lidar))
    return densities
