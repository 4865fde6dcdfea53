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
USUAL = 0.5
"""Root mean square that trained features have."""
HOLDING = 0.1
PLACES = 96
"""Of each sample, at most; drawn anew at every step."""
MOST_SHARPNESS = math.log(100.0)


class Projection(nn.Module):
    """Features of places to directions in a space of WIDTH.

    They are standardised over the places first: what all places have in common tells none of them
    from another, and untrained features are almost nothing else. Without it all directions fall
    together and nothing is ever learned.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.map = nn.Linear(channels, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels) to (n, WIDTH) of length 1."""
        centred = x - x.mean(dim=0)
        spread = centred.square().mean(dim=0)
        # A channel that hardly varies is not blown up.
        mapped = self.map(centred / (spread + 1e-3 * spread.mean() + 1e-8).sqrt())
        return nn.functional.normalize(mapped - mapped.mean(dim=0), dim=1)


class Contrast(nn.Module):
    """Projects both modalities' features to a common space; used in pretraining alone."""

    def __init__(self) -> None:
        super().__init__()
        self.camera = Projection(CAMERA_FEATURES)
        self.lidar = Projection(LIDAR_FEATURES)
        self.sharpness = nn.Parameter(torch.tensor(math.log(1.0 / 0.07)))

    def forward(self, camera: Tensor, lidar: Tensor) -> dict[str, Tensor]:
        """Loss of (n, CAMERA_FEATURES) and (n, LIDAR_FEATURES), row by row of the same place.

        Returns:
            "total": mean of both directions' cross-entropies, and what holds the features' scale:
                directions have none, so that it would go anywhere, and no head could start from it.
            "alike": those cross-entropies alone.
            "found": how often the other modality's view of a place is the most like.
            "temperature": as learned.
        """
        one, other = self.camera(camera), self.lidar(lidar)
        sharpness = self.sharpness.clamp(max=MOST_SHARPNESS)
        alike = one @ other.T * sharpness.exp()
        same = torch.arange(len(alike), device=alike.device)
        there = nn.functional.cross_entropy(alike, same)
        back = nn.functional.cross_entropy(alike.T, same)
        found = (alike.argmax(dim=1) == same).float().mean()
        held = sum((x.square().mean() / USUAL**2 + 1e-8).log().square() for x in (camera, lidar))
        return {
            "total": 0.5 * (there + back) + HOLDING * held,
            "alike": (0.5 * (there + back)).detach(),
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
