"""How familiar a sample is: a Gaussian over what the features of whole samples were in training.

A sample is told by the mean and the spread of its features over the places that hold anything; one
product and a sum of squares in the same forward pass tell how far that lies from all that the
encoder was trained on (Lee et al., "A Simple Unified Framework for Detecting Out-of-Distribution
Samples", 2018; without labels, as what is unfamiliar here has none). Single places tell less: among
thousands, those that are strange are lost, and those that are merely rare are not.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

SHRINKAGE = 0.02
"""Part of the mean variance that every direction has at least: rare directions are no alarm."""
LEAST_VARIANCE = 1e-6


class Density(nn.Module):
    """Squared Mahalanobis distance of a sample's features, about 1 for familiar ones.

    Args:
        channels: of the features.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(2 * channels))
        self.register_buffer("whiten", torch.zeros(2 * channels, 2 * channels))

    mean: Tensor
    whiten: Tensor

    @staticmethod
    def told(features: Tensor, weight: Tensor) -> Tensor:
        """(B, 2 * channels), mean and standard deviation of (B, channels, h, w).

        Args:
            features: of the encoder.
            weight: (B, 1, h, w), 1 for places that count, else 0.
        """
        total = weight.sum(dim=(2, 3)).clamp(min=1.0)
        mean = (features * weight).sum(dim=(2, 3)) / total
        apart = (features - mean[:, :, None, None]) * weight
        variance = apart.square().sum(dim=(2, 3)) / total
        return torch.cat([mean, (variance + LEAST_VARIANCE).sqrt()], dim=1)

    def forward(self, features: Tensor, weight: Tensor) -> Tensor:
        """(B, channels, h, w) and (B, 1, h, w) to (B,); 0 before it was fitted."""
        z = (self.told(features, weight) - self.mean) @ self.whiten.T
        return z.square().mean(dim=1)

    def fit(self, rows: Tensor) -> None:
        """Takes (n, 2 * channels) of `told` for familiar.

        Raises:
            ValueError: no more rows than columns.
        """
        count, columns = rows.shape
        if count <= columns:
            raise ValueError(f"{count} samples cannot tell how {columns} figures vary")
        rows = rows.double()
        self.mean = rows.mean(dim=0).float()
        covariance = torch.cov(rows.T)
        floor = SHRINKAGE * covariance.diagonal().mean().clamp(min=1e-12)
        factor = torch.linalg.cholesky(covariance + floor * torch.eye(columns).double())
        self.whiten = torch.linalg.inv(factor).float()
