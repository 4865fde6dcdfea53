"""Early fusion: points painted with what the images show there, then the lidar's own network.

After PointPainting (Vora et al., "PointPainting: Sequential Fusion for 3D Object Detection", 2020),
with image features for paint. What the lidar does not touch has no place to be painted, so a camera
alone says nothing: that is what early fusion is measured for.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from mm_fusion_ros.model.blocks import StandardizedConvolution
from mm_fusion_ros.model.encoders.lidar import FINE, LidarEncoder
from mm_fusion_ros.model.fusion.strategy import FusionStrategy, equal_share, present_in
from mm_fusion_ros.model.heads import DetectionHead
from mm_fusion_ros.perception import maps
from mm_fusion_ros.perception.grid import FEATURE_CELLS, RASTER


class EarlyFusion(FusionStrategy):
    """A lidar encoder of its own, whose first layer is shown the paint as well."""

    reads_points: ClassVar[bool] = True
    subset_shares: ClassVar[tuple[float, float, float]] = (0.0, 0.2, 0.8)

    def __init__(self, camera_channels: int, lidar_channels: int, fused_channels: int) -> None:
        super().__init__(camera_channels, lidar_channels, fused_channels)
        self.paint = StandardizedConvolution(camera_channels, FINE, stride=2)
        self.encoder = LidarEncoder(fused_channels, lidar_channels)
        self.head = DetectionHead(fused_channels)
        nn.init.constant_(self.paint.gain, 0.1)

    def start_from(self, lidar_encoder: nn.Module, lidar_head: nn.Module) -> None:
        """Begins as the lidar's network, to which the paint is new."""
        self.encoder.load_state_dict(lidar_encoder.state_dict())
        self.head.load_state_dict(lidar_head.state_dict())

    def forward(
        self, camera: Tensor, lidar: Tensor, trust: Tensor, by_camera: Tensor, by_lidar: Tensor
    ) -> tuple[Tensor, Tensor]:
        """See `FusionStrategy`; the answers of the modalities alone are not used."""
        del by_camera, by_lidar
        present = present_in(trust)
        finer = RASTER // FEATURE_CELLS
        there = nn.functional.interpolate(present, scale_factor=float(finer), mode="nearest")
        fine = self.encoder.fine[0](lidar * there[:, 1:])
        fine = fine + self.paint(camera * there.prod(dim=1, keepdim=True))
        said = self.head(self.encoder.beyond(torch.relu(fine)))
        # Without points there is nothing to paint, and nothing is said.
        spoken = present[:, 1:]
        output = said * spoken
        unseen = (1.0 - spoken) * maps.UNSEEN
        classes = maps.packed(maps.CLASS)
        output = torch.cat([output[:, classes] + unseen, output[:, classes.stop :]], dim=1)
        return output, equal_share(present)
