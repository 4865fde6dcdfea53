"""What the strategies share that weigh the modalities' own answers and add what both can say."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from mm_fusion_ros.model.blocks import RELU_GAIN, StandardizedConvolution
from mm_fusion_ros.model.fusion.strategy import Answering, FusionStrategy

ABSENT = 1e4
"""Taken from the logit of what is not there: its weight is exactly 0 in float32."""
MAX_LOG_RATIO = 6.0


class WeighingFusion(FusionStrategy):
    """The parts; to begin with nothing is added, and no evidence corrects the weights.

    Attributes:
        gate_channels: of the evidence for or against each modality.
        gate_outputs: what is made of that evidence in each cell.
    """

    subset_shares = (0.0, 0.0, 1.0)
    gate_channels: ClassVar[int]
    gate_outputs: ClassVar[int]

    def __init__(self, camera_channels: int, lidar_channels: int, fused_channels: int) -> None:
        super().__init__(camera_channels, lidar_channels, fused_channels)
        self.split = (fused_channels, self.gate_channels)
        # One convolution a modality gives both what it says and what speaks for or against it.
        self.camera = StandardizedConvolution(camera_channels, sum(self.split), 1)
        self.lidar = StandardizedConvolution(lidar_channels, sum(self.split), 1)
        self.gate = nn.Conv2d(self.gate_channels, self.gate_outputs, 1)
        self.answer = Answering(fused_channels)
        nn.init.constant_(self.camera.gain, RELU_GAIN)
        nn.init.constant_(self.lidar.gain, RELU_GAIN)
        with torch.no_grad():
            output = self.answer.head.output
            output.weight.mul_(0.1)
            self.gate.weight.zero_()
            for bias in (output.bias, self.gate.bias):
                assert bias is not None
                bias.zero_()
