"""Cross-attention: each cell asks its neighbourhood in both modalities.

A query made from what is present in the cell attends to keys of the camera and of the lidar in a
small window around it, so that features that were lifted a cell beside their object are found.
After Vaswani et al., 2017; in local windows, as attention over the whole grid is neither needed
nor affordable.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mm_fusion_ros.model.fusion.strategy import Answering, FusionStrategy, present_in

HEADS, HEAD_CHANNELS = 4, 12
WINDOW = 3
ABSENT = 1e4


class CrossAttentionFusion(FusionStrategy):
    """Multi-head attention over a window of cells in each modality; the weights are the share."""

    def __init__(self, camera_channels: int, lidar_channels: int, fused_channels: int) -> None:
        super().__init__(camera_channels, lidar_channels, fused_channels)
        width = HEADS * HEAD_CHANNELS
        channels = {"camera": camera_channels, "lidar": lidar_channels}
        self.embed = nn.ModuleDict({k: nn.Conv2d(v, width, 1) for k, v in channels.items()})
        self.keys = nn.ModuleDict({k: nn.Conv2d(v, width, 1) for k, v in channels.items()})
        self.values = nn.ModuleDict({k: nn.Conv2d(v, width, 1) for k, v in channels.items()})
        self.query = nn.Conv2d(width + 2, width, 1)
        # Where in the window, and which modality, a key stands for.
        self.place = nn.Parameter(torch.zeros(2, HEADS, WINDOW * WINDOW))
        self.merge = nn.Conv2d(2 * width, fused_channels, 1)
        self.answer = Answering(fused_channels)

    def forward(
        self, camera: Tensor, lidar: Tensor, trust: Tensor, by_camera: Tensor, by_lidar: Tensor
    ) -> tuple[Tensor, Tensor]:
        """See `FusionStrategy`; the answers of the modalities alone are not used."""
        del by_camera, by_lidar
        present = present_in(trust)
        batch, _, height, width = present.shape
        features = {"camera": camera * present[:, :1], "lidar": lidar * present[:, 1:]}
        own = self.embed["camera"](features["camera"]) + self.embed["lidar"](features["lidar"])
        query = self.query(torch.cat([torch.relu(own), present], dim=1))

        # Neighbour by neighbour: stacking all of them first costs more than attending to them.
        logits, values = [], []
        for index, (name, x) in enumerate(features.items()):
            there = neighbours(present[:, index : index + 1])
            for cell, key in enumerate(neighbours(self.keys[name](x))):
                logit = by_head(query * key).sum(dim=2) * HEAD_CHANNELS**-0.5
                logit = logit + self.place[index, :, cell].reshape(1, HEADS, 1, 1)
                logits.append(logit - ABSENT * (1.0 - there[cell]))
            values += neighbours(self.values[name](x))
        stacked = torch.stack(logits, dim=2)  # (B, HEADS, 2 WINDOW^2, h, w)
        # Where nothing at all is near, softmax would still choose.
        anything = (stacked.amax(dim=2, keepdim=True) > -0.5 * ABSENT).float()
        weights = torch.softmax(stacked, dim=2) * anything
        said = torch.zeros_like(by_head(query))
        for cell, value in enumerate(values):
            said = said + by_head(value) * weights[:, :, cell : cell + 1]
        mixed = self.merge(torch.cat([said.flatten(1, 2), torch.relu(own)], dim=1))
        by_modality = weights.reshape(batch, HEADS, 2, WINDOW * WINDOW, height, width)
        share = by_modality.sum(dim=3).mean(dim=1) * present
        share = share / share.sum(dim=1, keepdim=True).clamp(min=1e-6)
        return self.answer(torch.relu(mixed)), share


def neighbours(x: Tensor) -> list[Tensor]:
    """(B, c, h, w) to WINDOW^2 of these, shifted over the window row by row; 0 outside the grid."""
    reach = WINDOW // 2
    height, width = x.shape[-2:]
    padded = nn.functional.pad(x, (reach, reach, reach, reach))
    return [
        padded[:, :, row : row + height, column : column + width]
        for row in range(WINDOW)
        for column in range(WINDOW)
    ]


def by_head(x: Tensor) -> Tensor:
    """(B, HEADS * HEAD_CHANNELS, h, w) to (B, HEADS, HEAD_CHANNELS, h, w)."""
    return x.reshape(x.shape[0], HEADS, HEAD_CHANNELS, *x.shape[-2:])
