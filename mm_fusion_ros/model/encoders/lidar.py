"""Lidar: rasterised points -> features on the grid."""

from __future__ import annotations

from torch import Tensor, nn

from mm_fusion_ros.model.blocks import Pyramid, convolution
from mm_fusion_ros.perception.grid import LIDAR_CHANNELS


class LidarEncoder(nn.Module):
    """Plain convolutions over the raster, in the manner of PIXOR (Yang et al., 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            convolution(LIDAR_CHANNELS, 24, stride=2), convolution(24, channels, stride=2)
        )
        self.pyramid = Pyramid((channels, 96), (1, 2))

    def forward(self, raster: Tensor) -> Tensor:
        """(B, LIDAR_CHANNELS, RASTER, RASTER) to (B, channels, FEATURE_CELLS, FEATURE_CELLS)."""
        return self.pyramid(self.stem(raster))  # type: ignore[no-any-return]
