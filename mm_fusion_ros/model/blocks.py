"""The building blocks of every network here.

There is no batch normalisation: the weights are standardised instead (Qiao et al., 2019; Brock et
al., 2021). It trains as well on the small batches that fit a CPU, costs a third less time there,
behaves the same in training and at run time, and leaves plain convolutions in the export.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

FIRST_SIZE = (1.0 / 3.0) ** 0.5
"""Root of the sum of squares of a filter as PyTorch begins it."""
RELU_GAIN = (2.0 / (1.0 - 1.0 / torch.pi)) ** 0.5
"""Keeps the variance of standard normal inputs through a ReLU."""


class StandardizedConvolution(nn.Conv2d):
    """A convolution whose filters have zero mean and unit variance times a learned gain."""

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int = 3, stride: int = 1
    ) -> None:
        super().__init__(channels_in, channels_out, kernel, stride, kernel // 2)
        self.gain = nn.Parameter(torch.ones(channels_out, 1, 1, 1))
        nn.init.zeros_(self.bias)  # type: ignore[arg-type]

    def effective_weight(self) -> Tensor:
        """The filters that are convolved with; constant once training has ended."""
        fan_in = self.weight[0].numel()
        centred = self.weight - self.weight.mean(dim=(1, 2, 3), keepdim=True)
        spread = (centred.square().mean(dim=(1, 2, 3), keepdim=True) * fan_in + 1e-4).rsqrt()
        return centred * (spread * self.gain)

    @torch.no_grad()
    def renew(self) -> None:
        """Gives the weights the size back that they began with; what is computed stays the same.

        The size of standardised weights means nothing, but it grows with every step, and the larger
        they are the less a step turns them (van Laarhoven, 2017): trained on, they hardly learn.
        """
        fan_in = self.weight[0].numel()
        centred = self.weight - self.weight.mean(dim=(1, 2, 3), keepdim=True)
        size = (centred.square().mean(dim=(1, 2, 3), keepdim=True) * fan_in).sqrt()
        self.weight.copy_(centred * (FIRST_SIZE / size.clamp(min=1e-8)))

    def forward(self, x: Tensor) -> Tensor:
        """Convolves (B, in, H, W)."""
        weight = self.effective_weight()
        return nn.functional.conv2d(x, weight, self.bias, self.stride, self.padding)


def convolution(
    channels_in: int, channels_out: int, *, stride: int = 1, kernel: int = 3
) -> nn.Sequential:
    """Standardised convolution and ReLU."""
    layer = StandardizedConvolution(channels_in, channels_out, kernel, stride)
    nn.init.constant_(layer.gain, RELU_GAIN)
    return nn.Sequential(layer, nn.ReLU(inplace=True))


class Residual(nn.Module):
    """Two convolutions beside an identity (He et al., 2016), quiet at the start."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = convolution(channels, channels)
        self.second = StandardizedConvolution(channels, channels)
        nn.init.constant_(self.second.gain, 0.2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to the same shape."""
        return torch.relu(x + self.second(self.first(x)))


class Pyramid(nn.Module):
    """Down, for context, and up again with skips, for detail (Lin et al., 2017).

    Takes (B, channels[0], H, W) and gives the same shape. Each further entry of `channels` is a
    level at half the resolution of the one before, with `depths` residual blocks.
    """

    def __init__(self, channels: tuple[int, ...], depths: tuple[int, ...]) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        for level, (width, depth) in enumerate(zip(channels, depths, strict=True)):
            entry = [convolution(channels[level - 1], width, stride=2)] if level else []
            self.stages.append(nn.Sequential(*entry, *[Residual(width) for _ in range(depth)]))
        self.lateral = nn.ModuleList(
            StandardizedConvolution(deep, shallow, 1) for shallow, deep in pairwise(channels)
        )
        self.smooth = nn.ModuleList(convolution(width, width) for width in channels[:-1])

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels[0], H, W) to the same shape."""
        levels = []
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        for level in reversed(range(len(levels) - 1)):
            up = nn.functional.interpolate(self.lateral[level](x), scale_factor=2.0, mode="nearest")
            x = self.smooth[level](levels[level] + up)
        return x
