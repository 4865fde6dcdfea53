"""How far found objects are off, and what that makes of distances and variances."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize

from mm_fusion_ros.evaluation.matching import assign
from mm_fusion_ros.evaluation.protocol import Protocol
from mm_fusion_ros.perception import maps
from mm_fusion_ros.perception.decode import Calibration, evidence_of_variance
from mm_fusion_ros.perception.second_look import (
    judge,
    moved_along_rays,
)
from mm_fusion_ros.samples import Float
from mm_fusion_ros.training.cases import Case, findings_of

SLOPES_RIDGE = 0.01
"""What a slope must earn: where nothing varies, none is drawn."""
MIN_ERRORS = 50
LEAST_ERROR_M = 0.02
DEPTH_WEIGHTS = (0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 102.4)
WORST_DEPTH_M = 5.0
"""A distance that is off by more is wrong, and no more than that."""


def fit_depth(cases: Sequence[Case], protocol: Protocol) -> float:
    """How much the images' word on distances counts where nothing else measures them.

    The weight of `DEPTH_WEIGHTS` with the least mean error of distance, of answers assigned to
    objects by their bearing.
    """
    gate = float(np.radians(protocol.position.bearing_gate_deg))
    errors: dict[float, list[Float]] = {weight: [] for weight in DEPTH_WEIGHTS}
    for case in cases:
        truths = case.truths()
        for weight in DEPTH_WEIGHTS:
            # All in rows of their own: which of them are the same is another question.
            found = moved_along_rays(case.found, case.looks, weight, merge=False)
            raw = found.class_logits
            findings = findings_of(found, raw.argmax(axis=1), raw.max(axis=1).astype(np.float64))
            owner = assign(truths, findings, gate=gate, by_bearing=True)
            rows = np.flatnonzero(owner >= 0)
            rows = rows[case.asked[owner[rows]]]
            away, true = (np.linalg.norm(c[:, :2], axis=1) for c in (found.centre, truths.centre))
            errors[weight].append(np.abs(away[rows] - true[owner[rows]]))
    means = {
        weight: float(np.minimum(np.concatenate(each), WORST_DEPTH_M).mean())
        for weight, each in errors.items()
        if sum(map(len, each))
    }
    return min(means, key=lambda weight: means[weight]) if means else 0.0


def fit_slopes(error: Float, evidence: Float) -> Float:
    """How the variance grows with what speaks for it, so that the mean error follows the sigma.

    By the likelihood of errors of exponential distribution, a proper score of their mean: that of
    normal ones would heed little but the few that are about another object.

    Args:
        error: (n,) distances in the ground plane [m].
        evidence: (n, 3) from `evidence_of_variance`, the first of which is what the network says.

    Returns:
        (3,), for `Calibration.variance_slopes`.
    """
    centred = evidence - evidence.mean(axis=0)
    error = np.maximum(error, LEAST_ERROR_M)

    def loss(parameters: Float) -> float:
        log_sigma = parameters[0] + 0.5 * (centred[:, 0] + centred @ parameters[1:])
        fit = float(np.mean(log_sigma + error * np.exp(-log_sigma)))
        return fit + SLOPES_RIDGE * float(np.square(parameters[1:]).mean())

    start = np.append(np.log(max(float(error.mean()), 1e-3)), np.zeros(3))
    found: Float = minimize(loss, start, method="L-BFGS-B").x[1:]
    return found


def position_errors(
    cases: Sequence[Case], calibration: Calibration, by_bearing: bool, protocol: Protocol
) -> tuple[Float, Float, Float]:
    """Position errors of detections, also of those that are badly placed, and raw sigmas.

    Only near misses would make every covariance look honest, so answers are assigned to objects as
    the exam does it.

    Returns:
        errors, sigmas: (k, 3) each: along the ray, across it, z [m].
        evidence: (k, 3) from `evidence_of_variance`.
    """
    rule = protocol.position
    gate = float(np.radians(rule.bearing_gate_deg)) if by_bearing else rule.gate_m
    errors, sigmas, evidence, sure = [], [], [], []
    for case in cases:
        truths = case.truths()
        found, judged = case.found, judge(case.found.class_logits, case.looks, calibration)
        findings = findings_of(found, judged.kind, judged.probability)
        owner = assign(truths, findings, gate=gate, by_bearing=by_bearing)
        rows = np.flatnonzero(owner >= 0)
        rows = rows[case.asked[owner[rows]]]
        centre = found.centre[rows]
        error = truths.centre[owner[rows]] - centre
        radius = np.maximum(np.hypot(centre[:, 0], centre[:, 1]), 1e-3)
        cosine, sine = centre[:, 0] / radius, centre[:, 1] / radius
        along = error[:, 0] * cosine + error[:, 1] * sine
        across = error[:, 1] * cosine - error[:, 0] * sine
        errors.append(np.column_stack([along, across, error[:, 2]]))
        raw = found.log_variance[rows].astype(np.float64)
        sigmas.append(np.exp(0.5 * np.clip(raw, *maps.LOG_VARIANCE_RANGE)))
        evidence.append(
            evidence_of_variance(found.log_variance[rows], centre, judged.probability[rows])
        )
        sure.append(judged.probability[rows] >= rule.min_probability)
    chosen = np.concatenate(sure)
    if chosen.sum() < MIN_ERRORS:
        chosen[:] = True
    joined = [np.concatenate(each)[chosen] for each in (errors, sigmas, evidence)]
    return joined[0], joined[1], joined[2]
