"""Masked fusion: any subset of modalities, cell by cell, the missing ones with a weight of 0."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mm_fusion_ros.model.blocks import Pyramid, convolution

ABSENT = -1e4
"""Added to the logit of what is not there: its weight is exactly 0 in float32."""


class MaskedFusion(nn.Module):
    """A softmax over the modalities that are present weighs their features in each cell."""

    def __init__(self, channels: int, fused_channels: int) -> None:
        super().__init__()
        self.project = nn.ModuleList(nn.Conv2d(channels, fused_channels, 1) for _ in range(2))
        self.weigh = nn.Sequential(convolution(2 * channels, 16, kernel=1), nn.Conv2d(16, 2, 1))
        self.entry = convolution(fused_channels + 2, fused_channels, kernel=1)
        self.pyramid = Pyramid((fused_channels, 64), (0, 2))

    def forward(self, camera: Tensor, lidar: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Fuses.

        Args:
            camera, lidar: (B, channels, CELLS, CELLS); ignored where not present.
            present: (B, 2, CELLS, CELLS), 1 where camera / lidar covers the cell, else 0.

        Returns:
            fused: (B, fused_channels, CELLS, CELLS).
            share: (B, 2, CELLS, CELLS), sums to 1 over the modalities that cover the cell.
        """
        features = [camera * present[:, :1], lidar * present[:, 1:]]
        logits = self.weigh(torch.cat(features, dim=1)) + (1.0 - present) * ABSENT
        share = torch.softmax(logits, dim=1) * present
        mixed = sum(
            share[:, i : i + 1] * layer(feature)
            for i, (layer, feature) in enumerate(zip(self.project, features))
        )
        return self.pyramid(self.entry(torch.cat([mixed, present], dim=1))), share
