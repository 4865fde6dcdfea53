"""From features on the grid to the output maps (centre-based detection, Yin et al., 2021)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mm_fusion_ros.model.blocks import convolution
from mm_fusion_ros.outputs import CLASSES, COLOURS
from mm_fusion_ros.perception import maps
from mm_fusion_ros.perception.grid import CELLS, FEATURE_CELLS

FINER = CELLS // FEATURE_CELLS
HEAD_CHANNELS = 64
IMAGE_CHANNELS = len(CLASSES) + len(COLOURS)


class ImageHead(nn.Module):
    """What stands at each pixel: class logits, then colour logits; used in training alone.

    It is linear, so that the features themselves must tell classes and colours apart, where the
    picture is sharp, and not only after they were sampled onto the grid.
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
    2016): as fine as before, at a quarter of the work.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.shared = convolution(channels, HEAD_CHANNELS, kernel=1)
        self.output = nn.Conv2d(HEAD_CHANNELS, maps.CHANNELS * FINER**2, 1)
        with torch.no_grad():
            bias = self.output.bias
            assert bias is not None
            bias.zero_()
            # Objects are rare: start every class at a probability of one in a hundred.
            bias[maps.CLASS.start * FINER**2 : maps.CLASS.stop * FINER**2] = -math.log(99.0)

    def forward(self, features: Tensor) -> Tensor:
        """(B, channels, FEATURE_CELLS, FEATURE_CELLS) to (B, maps.CHANNELS, CELLS, CELLS)."""
        fine = self.output(self.shared(features))
        return nn.functional.pixel_shuffle(fine, FINER)
