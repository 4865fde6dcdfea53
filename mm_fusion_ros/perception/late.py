"""Late fusion: what each modality found alone, matched and combined.

What everybody builds first, and what the fusion on the grid is measured against: objects of camera
and lidar are matched by how far apart they are for their covariances, and matched ones combined by
inverse variance. Neither learns anything from the other's features. So it is also what is left
where the two see the world in different places: features of one cell are then of two things, but
what each of them says may still be right.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from mm_fusion_ros.perception import maps
from mm_fusion_ros.perception.decode import (
    Calibration,
    Found,
    apart,
    calibrated_log_variance,
    covariances,
)
from mm_fusion_ros.samples import Float

GATE = 9.21
"""Squared Mahalanobis distance in the ground plane beyond which two are not the same object: what
one in a hundred true pairs exceeds (chi-square, 2 degrees)."""
PRIOR_LOGIT = -2.2
"""Log-odds of a class where one modality found anything, before the other is asked: one in ten."""


def found_by_both(
    found: tuple[Found, Found],
    calibrations: tuple[Calibration, Calibration],
    trust: tuple[NDArray[np.floating], NDArray[np.floating]],
    share: NDArray[np.float32],
    limit: int,
) -> tuple[Found, NDArray[np.float32]]:
    """Objects of cameras, and of lidars with or without other cameras, together.

    Args:
        found: what each of the two found.
        calibrations: of each.
        trust: (FEATURE_CELLS, FEATURE_CELLS) in each, above 0 where it found anything.
        share: (2, FEATURE_CELLS, FEATURE_CELLS) of cameras and of lidars in what the second found.
        limit: at most so many.

    Returns:
        as `combine`; the same shares in what both found, 0 where no object is.
    """
    of_first, of_second = (
        each[tuple((objects.cells // maps.FINER).T)].astype(np.float64)
        for objects, each in zip(found, trust, strict=True)
    )
    objects, part = combine(*found, calibrations, (of_first, of_second), limit)
    x, y = (objects.cells // maps.FINER).T
    result = np.zeros_like(share)
    result[:, x, y] = (1.0 - part) * share[:, x, y]
    result[0, x, y] += part
    return objects, result


def combine(
    camera: Found,
    lidar: Found,
    calibrations: tuple[Calibration, Calibration],
    trust: tuple[Float, Float],
    limit: int,
) -> tuple[Found, Float]:
    """The objects of both.

    Args:
        camera, lidar: what each found.
        calibrations: of camera alone and lidar alone.
        trust: (n,) in each of the cameras' and of the lidar's objects, above 0. Variances grow by
            its inverse; evidence for what both found counts for as much; and what one alone found
            is as probable as it says, times its trust.
        limit: at most so many.

    Returns:
        objects, strongest first, with calibrated logits and variances; (n,) the cameras' part in
        where each is.
    """
    seen, touched = (
        _calibrated(found, calibration, each)
        for found, calibration, each in zip((camera, lidar), calibrations, trust, strict=True)
    )
    of_camera, of_lidar = matched(seen, touched)
    both, part = _merged(
        _weighed(seen.take(of_camera), trust[0][of_camera]),
        _weighed(touched.take(of_lidar), trust[1][of_lidar]),
    )
    only_camera = np.setdiff1d(np.arange(len(seen)), of_camera)
    only_lidar = np.setdiff1d(np.arange(len(touched)), of_lidar)
    alone = [
        _doubted(seen.take(only_camera), trust[0][only_camera]),
        _doubted(touched.take(only_lidar), trust[1][only_lidar]),
    ]
    union = Found.joined([both, *alone])
    share = np.concatenate([part, np.ones(len(only_camera)), np.zeros(len(only_lidar))])
    order = np.argsort(-union.class_logits.max(axis=1), kind="stable")
    union, share = union.take(order), share[order]
    kept = apart(union.centre[:, :2], union.size[:, :2].min(axis=1), limit)
    return union.take(kept), share[kept]


def matched(camera: Found, lidar: Found) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of the objects that are the same one, each at most once; the sum of distances is least.

    Args:
        camera, lidar: with calibrated variances.
    """
    spread = [covariances(each.log_variance, each.centre)[:, :2, :2] for each in (camera, lidar)]
    offset = camera.centre[:, None, :2] - lidar.centre[:, :2]
    together = np.linalg.inv(spread[0][:, None] + spread[1])
    squared = np.einsum("ijk,ijkl,ijl->ij", offset, together, offset)
    rows, columns = linear_sum_assignment(np.minimum(squared, GATE))
    near = squared[rows, columns] < GATE
    return rows[near], columns[near]


def _calibrated(found: Found, calibration: Calibration, trust: Float) -> Found:
    """With calibrated logits, and variances that trust lets grow."""
    logits = calibration.class_scale * found.class_logits + calibration.class_bias
    probability = 1.0 / (1.0 + np.exp(-logits.max(axis=1, initial=-40.0).astype(np.float64)))
    variance = calibrated_log_variance(found.log_variance, found.centre, probability, calibration)
    variance -= np.log(trust)[:, None]
    return replace(
        found,
        class_logits=logits.astype(np.float32),
        log_variance=variance.astype(np.float32),
    )


def _weighed(found: Found, trust: Float) -> Found:
    """With evidence that counts as far as it is trusted.

    That something is found at all, however weakly, does not speak against its being there.
    """
    highest = found.class_logits.max(axis=1, keepdims=True, initial=-np.inf)
    raised = found.class_logits + np.maximum(PRIOR_LOGIT - highest, 0.0)
    logits = PRIOR_LOGIT + trust[:, None] * (raised - PRIOR_LOGIT)
    return replace(found, class_logits=logits.astype(np.float32))


def _doubted(found: Found, trust: Float) -> Found:
    """With probabilities times the trust."""
    each = trust[:, None]
    unlikely = np.exp(-np.maximum(found.class_logits.astype(np.float64), -40.0))
    logits = np.log(each) - np.log(np.maximum(unlikely + 1.0 - each, 1e-12))
    return replace(found, class_logits=logits.astype(np.float32))


def _merged(camera: Found, lidar: Found) -> tuple[Found, Float]:
    """Pairs as one object each, and the cameras' part in where it is.

    Variances are along and across the rays, which of a pair are nearly the same.
    """
    precision = [np.exp(-each.log_variance.astype(np.float64)) for each in (camera, lidar)]
    total = precision[0] + precision[1]
    weight = precision[0] / total  # (n, 3), of the camera
    radius = np.maximum(np.hypot(lidar.centre[:, 0], lidar.centre[:, 1]), 1e-3)
    cosine, sine = lidar.centre[:, 0] / radius, lidar.centre[:, 1] / radius
    x, y, z = (camera.centre - lidar.centre).T
    along, across = weight[:, 0] * (cosine * x + sine * y), weight[:, 1] * (cosine * y - sine * x)
    shift = np.column_stack(
        [cosine * along - sine * across, sine * along + cosine * across, weight[:, 2] * z]
    )
    part = weight[:, :2].mean(axis=1)
    size = np.exp(part[:, None] * np.log(camera.size) + (1 - part)[:, None] * np.log(lidar.size))
    return (
        Found(
            lidar.cells,
            camera.class_logits + lidar.class_logits - np.float32(PRIOR_LOGIT),
            lidar.centre + shift,
            size,
            np.where(part > 0.5, camera.yaw, lidar.yaw),
            -np.log(total).astype(np.float32),
        ),
        part,
    )
