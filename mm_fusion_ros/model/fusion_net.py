"""The whole network on one page: encode each modality, lift, fuse, and answer three times.

Each modality also answers alone; those answers train the encoders, and are what the fused answer
is held against.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mm_fusion_ros.model.encoders.camera import IMAGE_FEATURES, CameraEncoder, CameraGrid, lift_seen
from mm_fusion_ros.model.encoders.lidar import LidarEncoder
from mm_fusion_ros.model.fusion.concat import ConcatFusion
from mm_fusion_ros.model.fusion.cross_attention import CrossAttentionFusion
from mm_fusion_ros.model.fusion.early import EarlyFusion
from mm_fusion_ros.model.fusion.gated import GatedFusion
from mm_fusion_ros.model.fusion.masked import MaskedFusion
from mm_fusion_ros.model.fusion.strategy import FusionStrategy
from mm_fusion_ros.model.fusion.tensor import TensorFusion
from mm_fusion_ros.model.heads import DetectionHead, ImageHead
from mm_fusion_ros.model.region_head import RegionHead
from mm_fusion_ros.perception.grid import LIDAR_CHANNELS, RASTER

STRATEGIES: Mapping[str, type[FusionStrategy]] = {
    "gated": GatedFusion,
    "masked": MaskedFusion,
    "concat": ConcatFusion,
    "tensor": TensorFusion,
    "cross_attention": CrossAttentionFusion,
    "early": EarlyFusion,
}
DEFAULT = "gated"
CAMERA_FEATURES, LIDAR_FEATURES, FUSED_FEATURES = 48, 96, 96
PAINT = IMAGE_FEATURES + 1
"""Channels that points are painted with: the features, and whether any image sees them."""


@dataclass
class CameraBatch:
    """The images of a batch, any number for each sample.

    Attributes:
        image: (N, 3, 288, 384) float, RGB 0..255.
        rays: (N, RAY_CHANNELS, 72, 96), from `ray_planes`.
        pixel, log_depth, valid: (N, *LIFT_SHAPE), from `lift_geometry`.
        sample: (N,) int64, which sample of the batch each image belongs to.
        trust: (N,) float, 0..1, above 0: how far each image is believed.
        batch: number of samples.
    """

    image: Tensor
    rays: Tensor
    pixel: Tensor
    log_depth: Tensor
    valid: Tensor
    sample: Tensor
    trust: Tensor
    batch: int


@dataclass
class PaintBatch:
    """The points of a batch that images see; all (k,) int64.

    Attributes:
        pixel: which pixel of all image features shows the point, counted through the batch.
        cell: which cell of all rasters it lies in, counted through the batch.
    """

    pixel: Tensor
    cell: Tensor

    def paint(self, features: Tensor, batch: int) -> Tensor:
        """Paint (batch, PAINT, RASTER, RASTER) from image features (N, F, h, w): their means."""
        pixels = features[:, :IMAGE_FEATURES].permute(0, 2, 3, 1).reshape(-1, IMAGE_FEATURES)
        shown = nn.functional.pad(pixels[self.pixel], (0, 1), value=1.0)
        total = shown.new_zeros((batch * RASTER * RASTER, PAINT)).index_add(0, self.cell, shown)
        count = total[:, -1:]
        mean = torch.cat([total[:, :-1] / count.clamp(min=1.0), count.clamp(max=1.0)], dim=1)
        return mean.reshape(batch, RASTER, RASTER, PAINT).permute(0, 3, 1, 2)


def coverage(valid: Tensor) -> Tensor:
    """Cells of which any point is seen, as (N, 1, h, w) of 0 and 1."""
    return valid.amax(dim=3).unsqueeze(1)


def per_cell(count: Tensor) -> Tensor:
    """(N, 1, h, w) counts, at least 1, as (N, h, w, 1)."""
    return count.permute(0, 2, 3, 1).clamp(min=1.0)


class FusionNet(nn.Module):
    """Camera and lidar encoders with a head each, the fusion, and the second look."""

    def __init__(self, strategy: str = DEFAULT) -> None:
        """A network that is not trained.

        Args:
            strategy: of `STRATEGIES`.
        """
        super().__init__()
        self.camera_encoder = CameraEncoder()
        self.camera_grid = CameraGrid(CAMERA_FEATURES)
        self.lidar_encoder = LidarEncoder(LIDAR_FEATURES)
        kind = STRATEGIES[strategy]
        inputs = (PAINT, LIDAR_CHANNELS) if kind.reads_points else (CAMERA_FEATURES, LIDAR_FEATURES)
        self.fusion = kind(*inputs, FUSED_FEATURES)
        self.image_head = ImageHead(IMAGE_FEATURES)
        self.camera_head = DetectionHead(CAMERA_FEATURES)
        self.lidar_head = DetectionHead(LIDAR_FEATURES)
        self.region_head = RegionHead()

    def camera(self, batch: CameraBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Grid features, trust (B, 1, h, w), 0 where nothing is seen, and the image features."""
        features = self.camera_encoder(batch.image, batch.rays)
        lifted = lift_seen(features, batch.pixel, batch.log_depth, batch.valid)
        seen = coverage(batch.valid)
        # Mean over the cameras that see a cell.
        total, count, trust = (
            each.new_zeros((batch.batch, *each.shape[1:])).index_add(0, batch.sample, each)
            for each in (lifted, seen, seen * batch.trust.view(-1, 1, 1, 1))
        )
        grid: Tensor = self.camera_grid(total / per_cell(count))
        return grid, trust / count.clamp(min=1.0), features

    def lidar(self, raster: Tensor) -> Tensor:
        """Grid features of (B, channels, RASTER, RASTER), from `rasterize`."""
        features: Tensor = self.lidar_encoder(raster)
        return features

    def fuse(
        self, camera: Tensor, lidar: Tensor, trust: Tensor,
        points: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Output maps and shares; see `FusionStrategy`.

        Args:
            camera, lidar: features on the grid.
            trust: (B, 2, h, w).
            points: their paint and their raster, for a strategy that reads those.
        """
        by_camera, by_lidar = self.camera_head(camera), self.lidar_head(lidar)
        if points is not None:
            camera, lidar = points
        output, share = self.fusion(camera, lidar, trust, by_camera, by_lidar)
        return output, share


def trust_map(camera: Tensor, lidar: Tensor) -> Tensor:
    """(B, 2, h, w) from the cameras' (B, 1, h, w) and the lidars' (B,)."""
    return torch.cat([camera, lidar.view(-1, 1, 1, 1).expand_as(camera)], dim=1)
