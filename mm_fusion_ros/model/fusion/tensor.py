"""Tensor fusion: every product of a camera feature and a lidar feature.

The outer product of the two feature vectors, each with a 1 before it, holds what each says alone
and every interaction (Zadeh et al., 2017). As that is far too large, both vectors are first
projected to few dimensions, and a core mixes the products of those: a Tucker decomposition of the
full weight tensor (Ben-younes et al., 2017).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mm_fusion_ros.model.fusion.strategy import Answering, FusionStrategy, equal_share, present_in

RANK = 12


class OuterProduct(nn.Module):
    """W applied to the outer product of [1, x] and [1, y], in each cell.

    Args:
        x_channels, y_channels: of the inputs.
        channels_out: of the output.
        rank: dimensions that each input is projected to; None projects nothing, which makes it
            the full outer product: for tiny sizes.
    """

    def __init__(
        self, x_channels: int, y_channels: int, channels_out: int, rank: int | None = RANK
    ) -> None:
        super().__init__()
        self.x = nn.Conv2d(x_channels, rank, 1) if rank else nn.Identity()
        self.y = nn.Conv2d(y_channels, rank, 1) if rank else nn.Identity()
        self.sizes = (rank or x_channels, rank or y_channels)
        self.core = nn.Conv2d((self.sizes[0] + 1) * (self.sizes[1] + 1), channels_out, 1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """(B, x_channels, h, w) and (B, y_channels, h, w) to (B, channels_out, h, w)."""
        one = torch.ones_like(x[:, :1])
        left, right = torch.cat([one, self.x(x)], dim=1), torch.cat([one, self.y(y)], dim=1)
        products = left.unsqueeze(2) * right.unsqueeze(1)  # (B, 1 + rank, 1 + rank, h, w)
        result: Tensor = self.core(products.flatten(1, 2))
        return result


class TensorFusion(FusionStrategy):
    """All multiplicative interactions, with low-rank factors."""

    def __init__(self, camera_channels: int, lidar_channels: int, fused_channels: int) -> None:
        super().__init__(camera_channels, lidar_channels, fused_channels)
        self.product = OuterProduct(camera_channels, lidar_channels, fused_channels)
        # What each says in full, beside the products of few dimensions.
        self.camera = nn.Conv2d(camera_channels, fused_channels, 1)
        self.lidar = nn.Conv2d(lidar_channels, fused_channels, 1)
        self.context = nn.Conv2d(2, fused_channels, 1)
        self.answer = Answering(fused_channels)

    def forward(
        self, camera: Tensor, lidar: Tensor, trust: Tensor, by_camera: Tensor, by_lidar: Tensor
    ) -> tuple[Tensor, Tensor]:
        """See `FusionStrategy`; the answers of the modalities alone are not used."""
        del by_camera, by_lidar
        present = present_in(trust)
        camera, lidar = camera * present[:, :1], lidar * present[:, 1:]
        mixed = self.product(camera, lidar) + self.camera(camera) + self.lidar(lidar)
        return self.answer(torch.relu(mixed + self.context(present))), equal_share(present)
