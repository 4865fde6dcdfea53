"""Concatenation: features side by side, zeros for what is missing, and let the network see."""

from __future__ import annotations

import torch
from torch import Tensor

from mm_fusion_ros.model.blocks import convolution
from mm_fusion_ros.model.fusion.strategy import Answering, FusionStrategy, equal_share, present_in


class ConcatFusion(FusionStrategy):
    """The usual way (as in BEVFusion, Liu et al., 2023): what others are measured against."""

    def __init__(self, camera_channels: int, lidar_channels: int, fused_channels: int) -> None:
        super().__init__(camera_channels, lidar_channels, fused_channels)
        together = camera_channels + lidar_channels + 2
        self.mix = convolution(together, fused_channels, kernel=1)
        self.answer = Answering(fused_channels)

    def forward(
        self, camera: Tensor, lidar: Tensor, trust: Tensor, by_camera: Tensor, by_lidar: Tensor
    ) -> tuple[Tensor, Tensor]:
        """See `FusionStrategy`; the answers of the modalities alone are not used."""
        del by_camera, by_lidar
        present = present_in(trust)
        seen = torch.cat([camera * present[:, :1], lidar * present[:, 1:], present], dim=1)
        return self.answer(self.mix(seen)), equal_share(present)
