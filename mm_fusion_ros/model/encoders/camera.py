"""Camera: image -> features with a depth of their own -> lifted onto the grid -> features there."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mm_fusion_ros.model.blocks import Pyramid, convolution
from mm_fusion_ros.perception.grid import FEATURE_CELLS, LIFT_POINTS_M
from mm_fusion_ros.perception.rays import RAY_CHANNELS

IMAGE_FEATURES = 24


class CameraEncoder(nn.Module):
    """One image to features at a quarter of its resolution, and how far away each pixel is.

    The depth (mean and scale of a Laplace distribution over log-depth) is learned from lidar
    points projected into the image, so it needs no labels. An image alone does not tell it: the
    same picture is twice as far through a lens of half the width. So the network is also shown
    where each pixel looks (after CAM-Convs, Facil et al., 2019).
    """

    def __init__(self) -> None:
        super().__init__()
        # The first convolution is not standardised: filters of zero mean cannot tell white from
        # black.
        first = nn.Conv2d(3, 16, 3, 2, 1)
        self.stem = nn.Sequential(first, nn.ReLU(inplace=True), convolution(16, 32, stride=2))
        self.looks = nn.Conv2d(RAY_CHANNELS, 32, 1)
        self.pyramid = Pyramid((32, 48, 96, 96), (0, 2, 2, 1))
        self.features = nn.Conv2d(32, IMAGE_FEATURES, 1)
        self.depth = nn.Sequential(
            nn.Conv2d(32 + RAY_CHANNELS, 32, 1), nn.ReLU(inplace=True), nn.Conv2d(32, 2, 1)
        )
        last = self.depth[2]
        nn.init.constant_(last.bias[0], 2.3)  # type: ignore[index]
        nn.init.constant_(last.bias[1], -1.0)  # type: ignore[index]

    def forward(self, image: Tensor, rays: Tensor) -> Tensor:
        """Encodes images.

        Args:
            image: (N, 3, 288, 384) float, RGB 0..255.
            rays: (N, RAY_CHANNELS, 72, 96), from `perception.rays`.

        Returns:
            (N, IMAGE_FEATURES + 2, 72, 96): features, mean and log-scale of log-depth.
        """
        seen = self.stem(image * (1.0 / 127.5) - 1.0)
        x = self.pyramid(torch.relu(seen + self.looks(rays)))
        depth = self.depth(torch.cat([x, rays], dim=1))
        scale = depth[:, 1:].clamp(-3.0, 1.0)
        return torch.cat([self.features(x), depth[:, :1], scale], dim=1)


class CameraGrid(nn.Module):
    """Features of any number of images to features on the grid."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        points = len(LIFT_POINTS_M)
        self.reduce = convolution(points * (IMAGE_FEATURES + 1), channels, kernel=1)
        self.pyramid = Pyramid((channels, 96), (1, 1))

    def forward(self, lifted: Tensor) -> Tensor:
        """(B, points * (IMAGE_FEATURES + 1), FEATURE_CELLS, FEATURE_CELLS) to channels."""
        return self.pyramid(self.reduce(lifted))  # type: ignore[no-any-return]


def lift(features: Tensor, sampling: Tensor, log_depth: Tensor, valid: Tensor) -> Tensor:
    """Samples each image's features where the cells project to (lifting by projection).

    A feature counts in a cell as far as the pixel's own depth agrees with the cell's, which is
    what keeps a car from being smeared along its whole ray.

    Args:
        features: (N, IMAGE_FEATURES + 2, h, w), from `CameraEncoder`.
        sampling, log_depth, valid: (N, LIFT_ROWS, FEATURE_CELLS[, 2]), from `lift_geometry`.

    Returns:
        (N, points * (IMAGE_FEATURES + 1), FEATURE_CELLS, FEATURE_CELLS): gated features and the
        gate itself, for each of `LIFT_POINTS_M`.
    """
    count = features.shape[0]
    sampled = nn.functional.grid_sample(
        features, sampling, mode="bilinear", padding_mode="zeros", align_corners=False
    )  # (N, F + 2, LIFT_ROWS, FEATURE_CELLS)
    content = sampled[:, :IMAGE_FEATURES]
    mean = sampled[:, IMAGE_FEATURES : IMAGE_FEATURES + 1]
    scale = sampled[:, IMAGE_FEATURES + 1 :].exp()
    gate = torch.exp(-(log_depth.unsqueeze(1) - mean).abs() / (scale + 0.05)) * valid.unsqueeze(1)
    # A part of each feature passes whatever the depth says: a wrong depth must not blind the grid.
    gated = torch.cat([content * (0.1 + gate) * valid.unsqueeze(1), gate], dim=1)
    points, cells = len(LIFT_POINTS_M), FEATURE_CELLS
    gated = gated.reshape(count, IMAGE_FEATURES + 1, points, cells, cells)
    return gated.transpose(1, 2).reshape(count, points * (IMAGE_FEATURES + 1), cells, cells)
