"""What every fusion strategy is: features and answers of both modalities in, output maps out.

All strategies have the same frozen encoders, the same head and the same budget, so that the exam
compares how they fuse and nothing else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from mm_fusion_ros.model.blocks import Pyramid, convolution
from mm_fusion_ros.model.heads import DetectionHead

CONTEXT = 48


class FusionStrategy(nn.Module, ABC):
    """Fuses on the grid of features; any subset of modalities may be present in each cell.

    Attributes:
        subset_shares: how often training shows it a sample with the camera only, the lidar only,
            and both.
        reads_points: whether it fuses before the encoders. Then `camera` is (B, IMAGE_FEATURES + 1,
            RASTER, RASTER), what the points are painted with, and `lidar` is (B, LIDAR_CHANNELS,
            RASTER, RASTER), the points themselves; see `perception.painting`.
    """

    subset_shares: ClassVar[tuple[float, float, float]] = (0.15, 0.15, 0.7)
    reads_points: ClassVar[bool] = False

    def __init__(self, camera_channels: int, lidar_channels: int, fused_channels: int) -> None:
        """How many channels come in, and how many it works with."""
        del camera_channels, lidar_channels, fused_channels
        super().__init__()

    def start_from(self, lidar_encoder: nn.Module, lidar_head: nn.Module) -> None:
        """Before training: takes over what it can of the lidar's network, if anything."""
        del lidar_encoder, lidar_head

    @abstractmethod
    def forward(
        self, camera: Tensor, lidar: Tensor, trust: Tensor, by_camera: Tensor, by_lidar: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Fuses; all maps are FEATURE_CELLS to an edge.

        Args:
            camera, lidar: (B, their channels, h, w), features; ignored where not present.
            trust: (B, 2, h, w), 0..1, how far camera / lidar is believed there; exactly 0 where
                it does not see the cell or is missing.
            by_camera, by_lidar: (B, maps.PACKED, h, w), what each says alone.

        Returns:
            output: (B, maps.PACKED, h, w).
            share: (B, 2, h, w); sums to 1 where at least one modality covers the cell.
        """


class Answering(nn.Module):
    """From mixed features to output maps: some context, what lies within the cell, a head."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.entry = convolution(channels, CONTEXT, kernel=1)
        self.pyramid = Pyramid((CONTEXT, 64), (0, 1))
        # As in the lidar's encoder, what lies within a cell goes past the context.
        self.merge = convolution(CONTEXT + channels, channels, kernel=1)
        self.head = DetectionHead(channels)

    def forward(self, mixed: Tensor) -> Tensor:
        """(B, channels, h, w) to (B, maps.PACKED, h, w)."""
        context = self.pyramid(self.entry(mixed))
        result: Tensor = self.head(self.merge(torch.cat([context, mixed], dim=1)))
        return result


def present_in(trust: Tensor) -> Tensor:
    """(B, 2, h, w), 1 where a modality covers the cell, however little it is believed, else 0."""
    return (trust > 0).to(trust)


def equal_share(present: Tensor) -> Tensor:
    """(B, 2, h, w): what is present shares alike, for strategies that do not weigh."""
    return present / present.sum(dim=1, keepdim=True).clamp(min=1.0)
