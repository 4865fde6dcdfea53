"""Lidar: rasterised points -> features on the grid."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mm_fusion_ros.model.blocks import Pyramid, convolution
from mm_fusion_ros.perception.grid import LIDAR_CHANNELS

FINE, CONTEXT, DETAIL = 24, 48, 96


class LidarEncoder(nn.Module):
    """Plain convolutions over the raster, in the manner of PIXOR (Yang et al., 2018).

    What surrounds a cell is worked out on the coarse grid with few channels, where that is cheap.
    What lies within it goes past that in many: small things are told by it.
    """

    def __init__(self, channels: int, channels_in: int = LIDAR_CHANNELS) -> None:
        super().__init__()
        self.fine = convolution(channels_in, FINE, stride=2)
        self.detail = nn.Sequential(nn.Conv2d(FINE, DETAIL, 2, 2), nn.ReLU(inplace=True))
        self.coarse = convolution(FINE, CONTEXT, stride=2)
        self.pyramid = Pyramid((CONTEXT, 96), (0, 1))
        self.merge = convolution(CONTEXT + DETAIL, channels, kernel=1)

    def forward(self, raster: Tensor) -> Tensor:
        """(B, channels_in, RASTER, RASTER) to (B, channels, FEATURE_CELLS, FEATURE_CELLS)."""
        return self.beyond(self.fine(raster))

    def beyond(self, fine: Tensor) -> Tensor:
        """The same from (B, FINE, RASTER / 2, RASTER / 2), after the first layer."""
        context = self.pyramid(self.coarse(fine))
        result: Tensor = self.merge(torch.cat([context, self.detail(fine)], dim=1))
        return result
