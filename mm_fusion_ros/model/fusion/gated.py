"""Gated fusion: each modality is believed, cell by cell, as far as it deserves at that moment."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mm_fusion_ros.model.fusion.strategy import present_in
from mm_fusion_ros.model.fusion.weighing import ABSENT, MAX_LOG_RATIO, WeighingFusion
from mm_fusion_ros.perception import maps

LEAST_TRUST = 1e-3
LEAST_PRECISION = 1e-9
CLASS, OFFSET, LOG_VARIANCE = (
    maps.packed(channels) for channels in (maps.CLASS, maps.OFFSET, maps.LOG_VARIANCE)
)
BOX = maps.packed(slice(maps.OFFSET.start, maps.LOG_VARIANCE.start))


class GatedFusion(WeighingFusion):
    """Inverse-variance fusion of the modalities' own answers, with trust above and a way back.

    The logarithm of each modality's weight is that of its trust, less that of the variance which
    it predicts itself, plus a correction that is learned from what both say: their features, their
    variances, their trust, and how far they disagree. There are two weights in each cell, one for
    what (the class) and one for where (the box), since one may know the one and not the other.
    Independent errors make the fused variance less than either (the precisions add), and what only
    both together can say is added to the answer; both as far as the less trusted one deserves.

    Where the fusion is less certain of a place than one modality alone, that modality's answer
    stands. Where one modality alone is present its weight is 1 and nothing is added: then the
    answer is, by construction, exactly the one which that modality gives alone.
    """

    gate_channels, gate_outputs = 24, 3

    def __init__(self, camera_channels: int, lidar_channels: int, fused_channels: int) -> None:
        super().__init__(camera_channels, lidar_channels, fused_channels)
        self.figures = nn.Conv2d(FIGURES, self.gate_channels, 1)

    def forward(
        self, camera: Tensor, lidar: Tensor, trust: Tensor, by_camera: Tensor, by_lidar: Tensor
    ) -> tuple[Tensor, Tensor]:
        """See `FusionStrategy`; the share is the mean of the weights for what and where."""
        has_camera, has_lidar = present_in(trust).split(1, dim=1)
        both = has_camera * has_lidar
        heard = self.camera(camera * has_camera) + self.lidar(lidar * has_lidar)
        said, spoken = heard.split(self.split, dim=1)
        log_trust = trust.clamp(min=LEAST_TRUST).log()
        log_variance_camera = by_camera[:, LOG_VARIANCE].clamp(*maps.LOG_VARIANCE_RANGE)
        log_variance_lidar = by_lidar[:, LOG_VARIANCE].clamp(*maps.LOG_VARIANCE_RANGE)
        uncertain_camera = log_variance_camera.mean(dim=1, keepdim=True)
        uncertain_lidar = log_variance_lidar.mean(dim=1, keepdim=True)
        apart = disagreement(by_camera, by_lidar)
        figures = torch.cat([log_trust, uncertain_camera, uncertain_lidar, apart], dim=1) * both
        evidence = torch.relu(spoken + self.figures(figures))
        correction = self.gate(evidence)

        ratio = (uncertain_lidar - uncertain_camera).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
        ratio = ratio + log_trust[:, :1] - log_trust[:, 1:]
        logit = ratio + correction[:, :2] + ABSENT * (has_camera - has_lidar)
        camera_weight = torch.sigmoid(logit) * has_camera
        lidar_weight = torch.sigmoid(-logit) * has_lidar

        # As far as the one deserves that is trusted less, and the gate agrees.
        agreed = both * trust.amin(dim=1, keepdim=True) * torch.sigmoid(correction[:, 2:] + 2.0)
        added = self.answer(torch.relu(said))
        precision = trust[:, :1] * torch.exp(-log_variance_camera) + trust[:, 1:] * torch.exp(
            -log_variance_lidar
        )
        log_variance = agreed * added[:, LOG_VARIANCE] - torch.log(precision + LEAST_PRECISION)

        # The way back: what is less certain than one alone, gives way to that one.
        uncertain = log_variance.mean(dim=1, keepdim=True)
        of_camera = uncertain_camera - log_trust[:, :1]
        of_lidar = uncertain_lidar - log_trust[:, 1:]
        camera_better = (of_camera < of_lidar).to(both)
        better = camera_better * of_camera + (1.0 - camera_better) * of_lidar
        one_stands = both * (better < uncertain).to(both)
        camera_stands = has_camera * (1.0 - has_lidar) + one_stands * camera_better
        lidar_stands = has_lidar * (1.0 - has_camera) + one_stands * (1.0 - camera_better)
        together = both * (1.0 - one_stands)

        camera_part = together * camera_weight + camera_stands
        lidar_part = together * lidar_weight + lidar_stands
        added = together * agreed * added
        output = torch.cat(
            [
                camera_part[:, :1] * by_camera[:, CLASS]
                + lidar_part[:, :1] * by_lidar[:, CLASS]
                + added[:, CLASS]
                + (1.0 - present_in(trust).amax(dim=1, keepdim=True)) * maps.UNSEEN,
                camera_part[:, 1:] * by_camera[:, BOX]
                + lidar_part[:, 1:] * by_lidar[:, BOX]
                + added[:, BOX],
                together * log_variance
                + camera_stands * by_camera[:, LOG_VARIANCE]
                + lidar_stands * by_lidar[:, LOG_VARIANCE],
            ],
            dim=1,
        )
        parts = (camera_part, lidar_part)
        return output, torch.cat([part.mean(dim=1, keepdim=True) for part in parts], dim=1)


FIGURES = 8
"""Of each cell: log-trust and log-variance of both, how probable each makes any object, and how
far their answers are apart in class and in place."""


MOST_APART = 8.0
"""Log-odds that are apart by more are no farther apart."""


def disagreement(by_camera: Tensor, by_lidar: Tensor) -> Tensor:
    """(B, 4, h, w): how probable each makes any object, and how far apart they are.

    First in class, as a difference of log-odds over MOST_APART, then in place [m].
    """
    class_camera, class_lidar = by_camera[:, CLASS], by_lidar[:, CLASS]
    apart = (by_camera[:, OFFSET] - by_lidar[:, OFFSET]).abs().mean(dim=1, keepdim=True)
    in_class = (class_camera - class_lidar).abs().amax(dim=1, keepdim=True)
    return torch.cat(
        [
            torch.sigmoid(class_camera.amax(dim=1, keepdim=True)),
            torch.sigmoid(class_lidar.amax(dim=1, keepdim=True)),
            in_class.clamp(max=MOST_APART) / MOST_APART,
            apart.clamp(max=4.0),
        ],
        dim=1,
    )
