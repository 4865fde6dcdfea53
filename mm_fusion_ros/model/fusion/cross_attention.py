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
        query = query.reshape(batch, HEADS, HEAD_CHANNELS, 1, height, width)

        logits, values = [], []
        for index, (name, x) in enumerate(features.items()):
            keys = window(self.keys[name](x), HEADS)
            logit = (query * keys).sum(dim=2) * HEAD_CHANNELS**-0.5
            logit = logit + self.place[index].reshape(1, HEADS, -1, 1, 1)
            there = window(present[:, index : index + 1], 1)[:, :, 0]
            logits.append(logit - ABSENT * (1.0 - there))
            values.append(window(self.values[name](x), HEADS))
        weights = torch.softmax(torch.cat(logits, dim=2), dim=2)  # (B, HEADS, 2 window, h, w)
        # Where nothing at all is near, softmax would still choose.
        anything = (torch.cat(logits, dim=2).amax(dim=2, keepdim=True) > -0.5 * ABSENT).float()
        weights = weights * anything
        said = (weights.unsqueeze(2) * torch.cat(values, dim=3)).sum(dim=3)
        mixed = self.merge(torch.cat([said.flatten(1, 2), torch.relu(own)], dim=1))
        by_modality = weights.reshape(batch, HEADS, 2, WINDOW * WINDOW, height, width)
        share = by_modality.sum(dim=3).mean(dim=1) * present
        share = share / share.sum(dim=1, keepdim=True).clamp(min=1e-6)
        return self.answer(torch.relu(mixed)), share


def window(x: Tensor, heads: int) -> Tensor:
    """(B, heads * c, h, w) to (B, heads, c, WINDOW^2, h, w): each cell's neighbours, 0 outside."""
    batch, channels, height, width = x.shape
    reach = WINDOW // 2
    padded = nn.functional.pad(x, (reach, reach, reach, reach))
    shifted = [
        padded[:, :, row : row + height, column : column + width]
        for row in range(WINDOW)
        for column in range(WINDOW)
    ]
    stacked = torch.stack(shifted, dim=2)
    return stacked.reshape(batch, heads, channels // heads, WINDOW * WINDOW, height, width)
