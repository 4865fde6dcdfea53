"""Camera: image -> features with a depth of their own -> lifted onto the grid -> features there."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mm_fusion_ros.model.blocks import Pyramid, convolution
from mm_fusion_ros.perception.grid import LIFT_POINTS_M
from mm_fusion_ros.perception.rays import RAY_CHANNELS

IMAGE_FEATURES = 24
PASSING = 0.1


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
        self.pyramid = Pyramid((32, 48, 96, 96), (0, 1, 1, 1))
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
        self.reduce = nn.Sequential(
            nn.Linear(len(LIFT_POINTS_M) * (IMAGE_FEATURES + 1), channels), nn.ReLU(inplace=True)
        )
        self.pyramid = Pyramid((channels, 96), (0, 1))

    def forward(self, lifted: Tensor) -> Tensor:
        """(B, h, w, points * (IMAGE_FEATURES + 1)) to (B, channels, h, w); h and w are even."""
        features: Tensor = self.pyramid(self.reduce(lifted).permute(0, 3, 1, 2))
        return features


def lift(features: Tensor, pixel: Tensor, log_depth: Tensor, valid: Tensor) -> Tensor:
    """Reads each image's features where the cells project to (lifting by projection).

    A feature counts in a cell as far as the pixel's own depth agrees with the cell's, which is
    what keeps a car from being smeared along its whole ray.

    Args:
        features: (N, IMAGE_FEATURES + 2, h, w), from `CameraEncoder`.
        pixel, log_depth, valid: (N, h, w, points), from `lift_geometry`, of all cells or of a
            rectangle of them.

    Returns:
        (N, h, w, points * (IMAGE_FEATURES + 1)): gated features and the gate itself, for each of
        `LIFT_POINTS_M`.
    """
    pixels, index = _flat(features, pixel)
    seen = pixels[index].reshape(*pixel.shape, features.shape[1])
    lifted = _passed(seen, log_depth.unsqueeze(-1), valid.unsqueeze(-1))
    return lifted.flatten(3)


def lift_seen(features: Tensor, pixel: Tensor, log_depth: Tensor, valid: Tensor) -> Tensor:
    """The same as `lift`, worked out only where something is seen: cheaper, but no plain graph."""
    pixels, index = _flat(features, pixel)
    rows = valid.flatten().nonzero()[:, 0]
    seen = pixels.index_select(0, index[rows])
    depth, visible = (each.flatten()[rows].unsqueeze(1) for each in (log_depth, valid))
    passed = _passed(seen, depth, visible)
    lifted = passed.new_zeros((len(index), passed.shape[1])).index_copy(0, rows, passed)
    return lifted.reshape(*pixel.shape, -1).flatten(3)


def _flat(features: Tensor, pixel: Tensor) -> tuple[Tensor, Tensor]:
    """All images' pixels (k, IMAGE_FEATURES + 2), and which of them each point is shown by."""
    count, channels = features.shape[:2]
    pixels = features.flatten(2).transpose(1, 2)
    first = torch.arange(count, device=pixel.device).view(-1, 1, 1, 1) * pixels.shape[1]
    return pixels.reshape(-1, channels), (pixel + first).reshape(-1)


def _passed(seen: Tensor, log_depth: Tensor, visible: Tensor) -> Tensor:
    """(..., IMAGE_FEATURES + 1) what passes of pixels (..., IMAGE_FEATURES + 2), and the gate."""
    mean = seen[..., IMAGE_FEATURES : IMAGE_FEATURES + 1]
    scale = seen[..., IMAGE_FEATURES + 1 :].exp()
    gate = torch.exp(-(log_depth - mean).abs() / (scale + 0.05)) * visible
    # A part of each feature passes whatever the depth says: a wrong depth must not blind the grid.
    passing = (gate + PASSING) * visible
    return torch.cat([seen[..., :IMAGE_FEATURES] * passing, gate], dim=-1)
