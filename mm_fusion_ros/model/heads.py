"""From features on the grid to the output maps (centre-based detection, Yin et al., 2021)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mm_fusion_ros.model.blocks import convolution
from mm_fusion_ros.outputs import CLASSES
from mm_fusion_ros.perception import maps

HEAD_CHANNELS = 96
IMAGE_CHANNELS = 2 * len(CLASSES) + 1


class ImageHead(nn.Module):
    """What stands at each pixel; used in training alone.

    First the logits of each class having its centre there, then those of the pixel showing each
    class, or none. It is linear, so that the features themselves must tell the classes apart,
    where the picture is sharp, and not only after they were sampled onto the grid. Colours are not
    asked of them: the second look tells those, from the image itself.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.output = nn.Conv2d(channels, IMAGE_CHANNELS, 1)
        with torch.no_grad():
            bias = self.output.bias
            assert bias is not None
            bias.zero_()
            bias[: len(CLASSES)] = -math.log(99.0)

    def forward(self, features: Tensor) -> Tensor:
        """(N, channels, h, w) to (N, IMAGE_CHANNELS, h, w)."""
        result: Tensor = self.output(features)
        return result


class DetectionHead(nn.Module):
    """Every modality has one, and so has the fusion; the layout is `perception.maps`.

    Each feature cell answers for the fine cells within it (sub-pixel convolution, Shi et al.,
    2016): as fine as if all were computed there, at a quarter of the work. The answers stay packed
    as `maps` describes it, which only training needs to undo for all of them.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.shared = convolution(channels, HEAD_CHANNELS, kernel=1)
        self.output = nn.Conv2d(HEAD_CHANNELS, maps.PACKED, 1)
        with torch.no_grad():
            bias = self.output.bias
            assert bias is not None
            bias.zero_()
            # Objects are rare: start every class at a probability of one in a hundred.
            bias[maps.packed(maps.CLASS)] = -math.log(99.0)

    def forward(self, features: Tensor) -> Tensor:
        """(B, channels, h, w) to (B, maps.PACKED, h, w), FEATURE_CELLS to an edge."""
        result: Tensor = self.output(self.shared(features))
        return result
