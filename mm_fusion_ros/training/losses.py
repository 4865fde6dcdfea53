"""What is minimised: detection, boxes with their own variance, and what images show.

All of it is worked out in float32, however the networks ran.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mm_fusion_ros.perception import maps
from mm_fusion_ros.perception.grid import cell_centres

VARIANCE_POWER = 0.5
"""Beta of the beta-NLL (Seitzer et al., 2022): keeps hard samples from being explained away."""
REGION_DEPTH_WEIGHT = 0.5


@dataclass
class TargetBatch:
    """`Targets`, stacked: a leading batch axis on each map."""

    heat: Tensor
    care: Tensor
    weight: Tensor
    box: Tensor


def bearings(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """(n,) cosine and sine of each cell's bearing from base_link, by its indices."""
    centres = torch.from_numpy(cell_centres()).to(x.device)
    ahead, left = centres[x], centres[y]
    radius = torch.sqrt(ahead**2 + left**2).clamp(min=1e-3)
    return ahead / radius, left / radius


def focal(logits: Tensor, heat: Tensor, care: Tensor | None = None) -> Tensor:
    """Penalty-reduced focal loss over centres (Law and Deng, 2018), per object.

    A batch that shows hardly any object counts as if it had one for each of its maps; its false
    alarms would else outweigh all other terms.

    Args:
        logits, heat: (B, classes, H, W); centres are where the heat is 1.
        care: (B, H, W) or None, 0 where false alarms are not punished.
    """
    positive = heat >= 0.999
    spared = (1.0 - heat).pow(4).masked_fill_(positive, 0.0)
    if care is not None:
        spared = spared * care.unsqueeze(1)
    log_p = torch.nn.functional.logsigmoid(logits)
    false = torch.exp(2.0 * log_p) * (logits - log_p) * spared  # -log(1 - p) = logit - log p
    at_centres = log_p[positive]
    found = at_centres * (1.0 - at_centres.exp()).square()
    return (false.sum() - found.sum()) / positive.sum().clamp(min=len(heat))


def beta_nll(error: Tensor, log_variance: Tensor) -> Tensor:
    """Gaussian negative log-likelihood, each term weighted by its variance to the power beta."""
    nll = 0.5 * (error.square() * torch.exp(-log_variance) + log_variance)
    return nll * torch.exp(VARIANCE_POWER * log_variance.detach())


def detection_loss(output: Tensor, targets: TargetBatch) -> dict[str, Tensor]:
    """All terms for one head.

    Args:
        output: (B, maps.PACKED, FEATURE_CELLS, FEATURE_CELLS).
        targets: what the head's sensors can be asked for.

    Returns:
        Unweighted scalars by name, and their weighted sum as "total".
    """
    # Boxes are taught in the few cells around objects, and read there alone.
    sample, x, y = torch.nonzero(targets.weight, as_tuple=True)
    weight = targets.weight[sample, x, y]
    box = targets.box[sample, :, x, y]
    finer = maps.FINER
    output = output.float()
    cells = output.unflatten(1, (maps.CHANNELS, finer**2))
    said = cells[sample, :, (x % finer) * finer + y % finer, x // finer, y // finer]
    total_weight = weight.sum().clamp(min=1.0)

    def mean(value: Tensor) -> Tensor:
        return (value * weight).sum() / total_weight

    cosine, sine = bearings(x, y)
    error = said[:, maps.OFFSET] - box[:, 0:2]
    along = error[:, 0] * cosine + error[:, 1] * sine
    across = error[:, 1] * cosine - error[:, 0] * sine
    vertical = said[:, maps.HEIGHT][:, 0] - box[:, 2]
    log_variance = said[:, maps.LOG_VARIANCE].clamp(*maps.LOG_VARIANCE_RANGE)
    position = sum(
        mean(beta_nll(part, log_variance[:, i]) + 0.5 * part.abs())
        for i, part in enumerate((along, across, vertical))
    )
    size = mean((said[:, maps.SIZE] - box[:, 3:6]).abs().sum(dim=1))
    # What is as long as wide has no heading.
    elongated = (box[:, 3] - box[:, 4]).abs().mul(3.0).clamp(max=1.0)
    yaw_error = (said[:, maps.YAW] - box[:, 6:8]).abs().sum(dim=1)
    yaw = mean(yaw_error * elongated) / mean(elongated).clamp(min=0.05)
    heat = torch.nn.functional.pixel_shuffle(output[:, maps.packed(maps.CLASS)], finer)
    terms = {
        "heat": focal(heat, targets.heat, targets.care),
        "position": torch.as_tensor(position),
        "size": size,
        "yaw": yaw,
    }
    weights = {"heat": 1.0, "position": 0.5, "size": 0.3, "yaw": 0.2}
    terms["total"] = torch.stack([terms[name] * weights[name] for name in weights]).sum()
    return terms


def depth_loss(features: Tensor, log_depth: Tensor, weight: Tensor) -> Tensor:
    """Laplace negative log-likelihood of the depth where it is known, weighted by scale.

    Args:
        features: (N, F + 2, h, w), from `CameraEncoder`; its last two channels are depth.
        log_depth: (N, h, w), natural log of metres; 0 where it is not known.
        weight: (N, h, w), how much each counts.
    """
    known = (log_depth > 0) * weight
    mean, log_scale = features[:, -2].float(), features[:, -1].float()
    loss = (log_depth - mean).abs() * torch.exp(-log_scale) + log_scale
    # As in `beta_nll`: else the few pixels that are sure and wrong shake all others.
    loss = loss * torch.exp(VARIANCE_POWER * log_scale.detach())
    return (loss * known).sum() / known.sum().clamp(min=1e-3)


def image_losses(
    output: Tensor, heat: Tensor, shown: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor]:
    """What the image head is taught: centres by class, and the class of what each cell shows.

    Args:
        output: (N, IMAGE_CHANNELS, h, w), from `ImageHead`.
        heat: (N, classes, h, w).
        shown: (N, h, w), class index, the last for none; weight: (N, h, w), how much it counts.

    Returns:
        focal loss of the centres, cross-entropy of what is shown.
    """
    classes, output = heat.shape[1], output.float()
    cross_entropy = torch.nn.functional.cross_entropy(output[:, classes:], shown, reduction="none")
    named = (cross_entropy * weight).sum() / weight.sum().clamp(min=1e-3)
    return focal(output[:, :classes], heat), named


def region_losses(
    said: tuple[Tensor, Tensor, Tensor], class_index: Tensor, colour_index: Tensor, depth: Tensor
) -> dict[str, Tensor]:
    """What the region head is taught.

    Args:
        said: from `RegionHead`.
        class_index: (n,), the last for "none of these".
        colour_index: (n,), -1 where nothing is to be named.
        depth: (n,), NaN where there is nothing to be told.

    Returns:
        cross-entropies and the Laplace distribution's negative log-likelihood by name, and as
        "total" their weighted sum.
    """
    classes, colours, place = (each.float() for each in said)
    told = torch.isfinite(depth)
    error = (place[:, 0] - torch.nan_to_num(depth)).abs()
    of_depth = (error * torch.exp(-place[:, 1]) + place[:, 1]) * told
    named = colour_index >= 0
    by_colour = (
        torch.nn.functional.nll_loss(colours, colour_index.clamp(min=0), reduction="none")
        * named.float()
    )
    terms = {
        # A sum, as the mean of nothing is no number.
        "region_class": torch.nn.functional.nll_loss(classes, class_index, reduction="sum")
        / max(len(classes), 1),
        "region_colour": by_colour.sum() / named.sum().clamp(min=1),
        "region_depth": of_depth.sum() / told.sum().clamp(min=1),
        "region_depth_error": ((error * told).sum() / told.sum().clamp(min=1)).detach(),
    }
    terms["total"] = terms["region_class"] + terms["region_colour"]
    terms["total"] = terms["total"] + REGION_DEPTH_WEIGHT * terms["region_depth"]
    return terms
