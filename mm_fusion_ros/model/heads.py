"""From features on the grid to the output maps (centre-based detection, Yin et al., 2021)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mm_fusion_ros.model.blocks import convolution
from mm_fusion_ros.outputs import CLASSES, COLOURS
from mm_fusion_ros.perception import maps
from mm_fusion_ros.perception.grid import STRIDE

COLOUR_CHANNELS = 48
IMAGE_CHANNELS = len(CLASSES) + len(COLOURS)


class ImageHead(nn.Module):
    """What stands at each pixel: class logits, then colour logits.

    The classes teach the features; they are linear, so that the features themselves must tell
    classes apart, where the picture is sharp, and not only after they were sampled onto the grid.
    The colours are also read at run time (`perception.colour`). What colour a thing has depends on
    the light, so they are judged from the pixels too: as they are, and against the mean of the
    image, which takes most of the light's own colour away (grey world).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.classes = nn.Conv2d(channels, len(CLASSES), 1)
        self.colours = nn.Sequential(
            nn.Conv2d(channels + 6, COLOUR_CHANNELS, 1), nn.ReLU(inplace=True),
            nn.Conv2d(COLOUR_CHANNELS, COLOUR_CHANNELS, 1), nn.ReLU(inplace=True),
            nn.Conv2d(COLOUR_CHANNELS, len(COLOURS), 1),
        )  # fmt: skip
        assert self.classes.bias is not None
        nn.init.constant_(self.classes.bias, -math.log(99.0))

    def forward(self, features: Tensor, image: Tensor) -> Tensor:
        """Class logits, then colour logits.

        Args:
            features: (N, channels, h, w).
            image: (N, 3, STRIDE h, STRIDE w) float, RGB 0..255.

        Returns:
            (N, IMAGE_CHANNELS, h, w).
        """
        # Logarithms: a light of another strength or colour adds a constant to each channel.
        pixels = torch.log(nn.functional.avg_pool2d(image, STRIDE) + 8.0) - 4.0
        relative = pixels - pixels.mean(dim=(2, 3), keepdim=True)
        colours = self.colours(torch.cat([features, pixels, relative], dim=1))
        return torch.cat([self.classes(features), colours], dim=1)


class DetectionHead(nn.Module):
    """Every modality has one, and so has the fusion; the layout is `perception.maps`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.shared = convolution(channels, channels, kernel=1)
        self.output = nn.Conv2d(channels, maps.CHANNELS, 1)
        with torch.no_grad():
            bias = self.output.bias
            assert bias is not None
            bias.zero_()
            # Objects are rare: start every class at a probability of one in a hundred.
            bias[maps.CLASS] = -math.log(99.0)

    def forward(self, features: Tensor) -> Tensor:
        """(B, channels, CELLS, CELLS) to (B, maps.CHANNELS, CELLS, CELLS)."""
        result: Tensor = self.output(self.shared(features))
        return result
