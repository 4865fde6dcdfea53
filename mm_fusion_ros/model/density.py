"""How familiar features are: a Gaussian over those of the training scenes.

One product and a sum of squares in the same forward pass tell how far a place's features lie from
all that the encoder was trained on (Lee et al., "A Simple Unified Framework for Detecting
Out-of-Distribution Samples", 2018; without labels, as what is unfamiliar here has none).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

SHRINKAGE = 0.02
"""Part of the mean variance that every direction has at least: rare directions are no alarm."""


class Density(nn.Module):
    """Squared Mahalanobis distance of pooled features, about 1 for familiar ones.

    Args:
        channels: of the features.
        pool: cells along an edge that are taken together.
    """

    def __init__(self, channels: int, pool: int) -> None:
        super().__init__()
        self.pool = pool
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("whiten", torch.zeros(channels, channels))

    mean: Tensor
    whiten: Tensor

    def pooled(self, features: Tensor) -> Tensor:
        """(B, channels, h, w) to (B, channels, h / pool, w / pool)."""
        return nn.functional.avg_pool2d(features, self.pool)

    def forward(self, features: Tensor) -> Tensor:
        """(B, channels, h, w) to (B, 1, h / pool, w / pool); 0 before it was fitted."""
        centred = self.pooled(features) - self.mean.view(1, -1, 1, 1)
        z = nn.functional.conv2d(centred, self.whiten[:, :, None, None])
        return z.square().mean(dim=1, keepdim=True)

    def fit(self, rows: Tensor) -> None:
        """Takes (n, channels) pooled features for familiar.

        Raises:
            ValueError: fewer rows than channels.
        """
        count, channels = rows.shape
        if count <= channels:
            raise ValueError(f"{count} places cannot tell how {channels} features vary")
        rows = rows.double()
        self.mean = rows.mean(dim=0).float()
        covariance = torch.cov(rows.T)
        floor = SHRINKAGE * covariance.diagonal().mean().clamp(min=1e-12)
        factor = torch.linalg.cholesky(covariance + floor * torch.eye(channels).double())
        self.whiten = torch.linalg.inv(factor).float()
