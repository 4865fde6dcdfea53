"""Masked fusion: any subset of modalities, cell by cell, the missing ones with a weight of 0."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mm_fusion_ros.model.blocks import RELU_GAIN, Pyramid, StandardizedConvolution, convolution

ABSENT = 1e4
"""Taken from the logit of what is not there: its weight is exactly 0 in float32."""
GATE_CHANNELS = 16
ASPECTS = 2
"""Each modality is weighed anew for each: the lidar may know where while the camera knows what."""


class MaskedFusion(nn.Module):
    """Softmaxes over the two modalities, where present, weigh their features in each cell."""

    def __init__(self, channels: int, fused_channels: int) -> None:
        super().__init__()
        self.split = (fused_channels, GATE_CHANNELS)
        self.repeats = fused_channels // ASPECTS
        # One convolution a modality gives both what it says and what speaks for or against it.
        self.camera = StandardizedConvolution(channels, sum(self.split), 1)
        self.lidar = StandardizedConvolution(channels, sum(self.split), 1)
        self.gate = nn.Conv2d(GATE_CHANNELS, ASPECTS, 1)
        self.context = nn.Conv2d(2, fused_channels, 1)
        self.entry = convolution(fused_channels, fused_channels, kernel=1)
        self.pyramid = Pyramid((fused_channels, 96), (1, 1))
        nn.init.constant_(self.camera.gain, RELU_GAIN)
        nn.init.constant_(self.lidar.gain, RELU_GAIN)

    def forward(self, camera: Tensor, lidar: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Fuses; all maps are FEATURE_CELLS to an edge.

        Args:
            camera, lidar: (B, channels, h, w); ignored where not present.
            present: (B, 2, h, w), 1 where camera / lidar covers the cell, else 0.

        Returns:
            fused: (B, fused_channels, h, w).
            share: (B, 2, h, w), mean over the aspects; sums to 1 where at least one modality
                covers the cell.
        """
        has_camera, has_lidar = present[:, :1], present[:, 1:]
        said_camera, spoken_camera = self.camera(camera).split(self.split, dim=1)
        said_lidar, spoken_lidar = self.lidar(lidar).split(self.split, dim=1)
        evidence = torch.relu(spoken_camera * has_camera + spoken_lidar * has_lidar)
        logit = self.gate(evidence) + ABSENT * (has_camera - has_lidar)
        camera_weight = torch.sigmoid(logit) * has_camera
        lidar_weight = torch.sigmoid(-logit) * has_lidar
        mixed = (
            self._spread(camera_weight) * said_camera
            + self._spread(lidar_weight) * said_lidar
            + self.context(present)
        )
        fused: Tensor = self.pyramid(self.entry(torch.relu(mixed)))
        share = [weight.mean(dim=1, keepdim=True) for weight in (camera_weight, lidar_weight)]
        return fused, torch.cat(share, dim=1)

    def _spread(self, weight: Tensor) -> Tensor:
        """(B, ASPECTS, h, w) to (B, fused_channels, h, w): an equal run of channels for each."""
        return torch.cat([w.expand(-1, self.repeats, -1, -1) for w in weight.split(1, dim=1)], 1)
