"""Pretraining by contrast: the image features of a place and its lidar features tell each other.

Of a batch's places, the camera's view of one should be most like the lidar's view of the same, and
the other way round (InfoNCE with a learned temperature; van den Oord et al., 2018, in the symmetric
form of Radford et al., 2021). It needs recordings and no labels.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mm_fusion_ros.model.fusion_net import CAMERA_FEATURES, LIDAR_FEATURES, coverage
from mm_fusion_ros.perception.grid import FEATURE_CELLS, RASTER
from mm_fusion_ros.training.dataset import Batch

WIDTH = 32
PLACES = 96
"""Of each sample, at most; drawn anew at every step."""
MOST_SHARPNESS = math.log(100.0)


class Contrast(nn.Module):
    """Projects both modalities' features to a common space; used in pretraining alone."""

    def __init__(self) -> None:
        super().__init__()
        self.camera = nn.Linear(CAMERA_FEATURES, WIDTH)
        self.lidar = nn.Linear(LIDAR_FEATURES, WIDTH)
        self.sharpness = nn.Parameter(torch.tensor(math.log(1.0 / 0.07)))

    def forward(self, camera: Tensor, lidar: Tensor) -> dict[str, Tensor]:
        """Loss of (n, CAMERA_FEATURES) and (n, LIDAR_FEATURES), row by row of the same place.

        Returns:
            "total": mean of both directions' cross-entropies.
            "found": how often the other modality's view of a place is the most like.
            "temperature": as learned.
        """
        one = nn.functional.normalize(self.camera(camera), dim=1)
        other = nn.functional.normalize(self.lidar(lidar), dim=1)
        sharpness = self.sharpness.clamp(max=MOST_SHARPNESS)
        alike = one @ other.T * sharpness.exp()
        same = torch.arange(len(alike), device=alike.device)
        there = nn.functional.cross_entropy(alike, same)
        back = nn.functional.cross_entropy(alike.T, same)
        found = (alike.argmax(dim=1) == same).float().mean()
        return {
            "total": 0.5 * (there + back),
            "found": found.detach(),
            "temperature": (-sharpness).exp().detach(),
        }


def places(batch: Batch, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """Cells that an image covers and the lidar touches above the ground: samples and flat cells.

    Args:
        batch: with images on the grid, and rasters.
        draw: chooses among them.
    """
    cameras = batch.cameras
    seen = coverage(cameras.valid)
    covered = seen.new_zeros((cameras.batch, *seen.shape[1:])).index_add(0, cameras.sample, seen)
    pool = RASTER // FEATURE_CELLS
    # All but the lowest slice, the ground's; the last four channels are no slices.
    touched = nn.functional.max_pool2d(batch.raster[:, 1:-4], pool).amax(dim=1, keepdim=True)
    wanted = ((covered > 0) & (touched > 0)).flatten(1)
    order = torch.rand(wanted.shape, generator=draw).to(wanted.device)
    kept = torch.where(wanted, order, -1.0).topk(PLACES, dim=1)
    sample, place = torch.nonzero(kept.values >= 0.0, as_tuple=True)
    return sample, kept.indices[sample, place]


def at(grid: Tensor, sample: Tensor, cell: Tensor) -> Tensor:
    """(n, channels) of (B, channels, h, w) at flat cells of samples."""
    return grid.flatten(2).transpose(1, 2)[sample, cell]
