"""Masked fusion: any subset of modalities, cell by cell, the missing ones with a weight of 0."""

from __future__ import annotations

import torch
from torch import Tensor

from mm_fusion_ros.model.fusion.strategy import present_in
from mm_fusion_ros.model.fusion.weighing import ABSENT, MAX_LOG_RATIO, WeighingFusion
from mm_fusion_ros.perception import maps

WHAT = maps.packed(maps.CLASS)
WHERE = maps.packed(slice(maps.OFFSET.start, maps.CHANNELS))
"""Each modality is weighed anew for each: the lidar may know where while the camera knows what."""
LOG_VARIANCE = maps.packed(maps.LOG_VARIANCE)


class MaskedFusion(WeighingFusion):
    """What each modality says, weighed, and what only both together can say, added to it.

    The weights are softmaxes over the modalities that are present. Their logits begin as the
    logarithm of the ratio of the variances that the modalities themselves predict, which gives the
    inverse-variance mean, and are corrected by what speaks for or against each. Where one
    modality alone is present its weight is 1 and nothing is added: then the answer is, by
    construction, exactly the one which that modality gives alone.
    """

    gate_channels, gate_outputs = 16, 2

    def __init__(self, camera_channels: int, lidar_channels: int, fused_channels: int) -> None:
        super().__init__(camera_channels, lidar_channels, fused_channels)
        nothing = torch.zeros(1, maps.PACKED, 1, 1)
        nothing[:, maps.packed(maps.CLASS)] = maps.UNSEEN
        self.register_buffer("nothing", nothing, persistent=False)

    nothing: Tensor

    def forward(
        self, camera: Tensor, lidar: Tensor, trust: Tensor, by_camera: Tensor, by_lidar: Tensor
    ) -> tuple[Tensor, Tensor]:
        """See `FusionStrategy`; the share is the mean of the weights for what and where."""
        has_camera, has_lidar = present_in(trust).split(1, dim=1)
        said_camera, spoken_camera = self.camera(camera).split(self.split, dim=1)
        said_lidar, spoken_lidar = self.lidar(lidar).split(self.split, dim=1)
        evidence = torch.relu(spoken_camera * has_camera + spoken_lidar * has_lidar)
        ratio = by_lidar[:, LOG_VARIANCE] - by_camera[:, LOG_VARIANCE]
        ratio = ratio.mean(dim=1, keepdim=True).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
        logit = self.gate(evidence) + ratio + ABSENT * (has_camera - has_lidar)
        camera_weight = torch.sigmoid(logit) * has_camera
        lidar_weight = torch.sigmoid(-logit) * has_lidar

        mixed = torch.relu(said_camera * has_camera + said_lidar * has_lidar)
        added = self.answer(mixed)
        parts = [
            camera_weight[:, [aspect]] * by_camera[:, channels]
            + lidar_weight[:, [aspect]] * by_lidar[:, channels]
            for aspect, channels in enumerate((WHAT, WHERE))
        ]
        nobody = (1.0 - has_camera) * (1.0 - has_lidar)
        output = torch.cat(parts, dim=1) + has_camera * has_lidar * added + nobody * self.nothing
        share = [weight.mean(dim=1, keepdim=True) for weight in (camera_weight, lidar_weight)]
        return output, torch.cat(share, dim=1)
