"""Calibration on validation scenes: probabilities that mean what they say, honest covariances."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track
from scipy.optimize import minimize, minimize_scalar

from mm_fusion_ros.config import PerceptionConfig
from mm_fusion_ros.evaluation.protocol import Protocol, load_protocol
from mm_fusion_ros.inference.model_folder import ModelFolder
from mm_fusion_ros.perception.decode import Calibration
from mm_fusion_ros.perception.detector import Detector
from mm_fusion_ros.perception.features import CameraFeature, LidarFeature
from mm_fusion_ros.perception.second_look import (
    combined,
    judge,
    on_grid,
)
from mm_fusion_ros.training import cache
from mm_fusion_ros.training.cache import Scene
from mm_fusion_ros.training.cases import NOT_ASKED, Case, case_of, owners, prepare
from mm_fusion_ros.training.positions import fit_depth, fit_slopes, position_errors

SUBSETS = ("camera", "lidar", "both")
"""In this order they are fitted: where both are combined late, it is what each alone is calibrated
to say."""
COVERAGE = 0.9
COVERAGE_SIGMAS = 1.6449
"""A standard normal lies within so many sigmas with probability COVERAGE."""
COVERAGE_ELLIPSE = 4.6052
"""The same for the squared Mahalanobis distance in two dimensions."""


def platt(logits: NDArray[np.float64], right: NDArray[np.bool_]) -> tuple[float, float]:
    """Scale and bias that make the sigmoid of logits the probability of being right."""

    def loss(parameters: NDArray[np.float64]) -> float:
        z = parameters[0] * logits + parameters[1]
        return float(np.mean(np.logaddexp(0.0, z) - right * z))

    scale, bias = minimize(loss, np.array([1.0, 0.0]), method="Nelder-Mead").x
    return round(float(scale), 5), round(float(bias), 5)


def regression(
    evidence: NDArray[np.float64], right: NDArray[np.bool_]
) -> tuple[float, float, tuple[float, ...]]:
    """Scale, bias and weights that make the sigmoid of their sum the probability of being right.

    Args:
        evidence: (n, 1 + k), a logit and what else speaks for and against an object.
        right: (n,).

    Returns:
        scale and bias of the logit, and the k weights of the others, which are never negative.
    """
    others = evidence.shape[1] - 1

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        z = evidence @ parameters[:-1] + parameters[-1]
        error = 1.0 / (1.0 + np.exp(-np.clip(z, -40.0, 40.0))) - right
        slope = np.append(error @ evidence, error.sum()) / len(z)
        return float(np.mean(np.logaddexp(0.0, z) - right * z)), slope

    bounds = [(None, None), *[(0.0, None)] * others, (None, None)]
    start = np.append(1.0, np.zeros(others + 1))
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    scale, *weights, bias = (round(float(value), 5) for value in found)
    return scale, bias, tuple(weights)


def log_loss(logits: NDArray[np.float64], truth: NDArray[np.int64]) -> float:
    """Mean negative log-likelihood of the true answers under the softmax of (n, k) logits."""
    z = logits - logits.max(axis=1, keepdims=True)
    chosen = z[np.arange(len(z)), truth]
    return float(np.mean(np.log(np.exp(z).sum(axis=1)) - chosen))


def priors(cases: Sequence[Case]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """How often the images say each class and colour, of what they see at all."""
    looks = [each for case in cases for each in case.looks.values()]
    classes = np.concatenate([each.classes for each in looks]) if looks else np.zeros((0, 1))
    if not len(classes):
        return (), ()
    colours = np.concatenate([each.colours for each in looks])
    of_class = classes[:, :-1].sum(axis=0)
    of_colour = (colours * (1.0 - classes[:, -1:])).sum(axis=0)
    return (
        tuple(round(float(v), 5) for v in of_class / of_class.sum()),
        tuple(round(float(v), 5) for v in of_colour / of_colour.sum()),
    )


def fit(
    cases: Sequence[Case], by_bearing: bool, protocol: Protocol, depth_weight: float = 0.0
) -> Calibration:
    """The calibration that explains the cases best.

    Probabilities by likelihood: first of the grid alone, then how much the images' word counts
    beside it, then of both together. Variances so that the central 90 % interval of each axis
    holds 90 %, and then both axes of the ground plane alike, so that their 90 % ellipse does.
    Of sensors that find nothing without the others, nothing is known: theirs stays as it is.
    """
    radius_m = protocol.calibration.radius_m
    if not any(len(case.found) for case in cases):
        return Calibration(depth_weight=depth_weight)

    # The grid alone.
    tops, rights = [], []
    for case in cases:
        raw = case.found.class_logits
        top = raw.max(axis=1).astype(np.float64)
        owner = owners(case, top, raw.argmax(axis=1), radius_m)
        tops.append(top[owner != NOT_ASKED])
        rights.append(owner[owner != NOT_ASKED] >= 0)
    scale, bias = platt(np.concatenate(tops), np.concatenate(rights))
    class_prior, colour_prior = priors(cases)
    result = Calibration(
        class_scale=scale, class_bias=bias, class_prior=class_prior, colour_prior=colour_prior,
        depth_weight=depth_weight,
    )  # fmt: skip

    # The images beside it, where there is an object, whatever it is.
    result = fit_looks(cases, result, radius_m)

    # Both together.
    finals, parts, rights = [], [], []
    for case in cases:
        by_images, _ = case.by_images(result)
        kinds, logits = combined(case.found.class_logits, by_images, result)
        logits = logits[np.arange(len(kinds)), kinds]
        owner = owners(case, logits, kinds, radius_m)
        finals.append(logits[owner != NOT_ASKED])
        parts.append(case.exists()[owner != NOT_ASKED])
        rights.append(owner[owner != NOT_ASKED] >= 0)
    scale, bias, (first, others, against) = regression(
        np.column_stack([np.concatenate(finals), np.concatenate(parts)]), np.concatenate(rights)
    )
    result = replace(
        result,
        final_scale=scale,
        final_bias=bias,
        exists_weights=(first, others, against),
    )

    errors, sigmas, evidence = position_errors(cases, result, by_bearing, protocol)
    if not len(errors):
        return result
    slopes = fit_slopes(np.hypot(errors[:, 0], errors[:, 1]), evidence)
    sigmas = sigmas * np.exp(0.5 * (evidence @ slopes))[:, None]
    ratio = np.abs(errors) / sigmas
    spread = (np.quantile(ratio, COVERAGE, axis=0) / COVERAGE_SIGMAS) ** 2
    squared = (ratio[:, :2] ** 2 / spread[:2]).sum(axis=1)
    spread[:2] *= np.quantile(squared, COVERAGE) / COVERAGE_ELLIPSE
    along, across, up = (round(float(value), 5) for value in spread)
    first, second, third = (round(float(value), 5) for value in slopes)
    return replace(
        result, variance_scale=(along, across, up), variance_slopes=(first, second, third)
    )


def fit_looks(cases: Sequence[Case], calibration: Calibration, radius_m: float) -> Calibration:
    """With the weights of the images' word on class and colour."""
    which, kinds, by_class, colours, by_colour = [], [], [], [], []
    for case in cases:
        logits = case.found.class_logits
        owner = owners(case, logits.max(axis=1).astype(np.float64), None, radius_m)
        known = owner >= 0
        of_classes, of_colours = case.by_images(calibration)
        which.append(np.log(np.maximum(on_grid(logits[known], calibration)[1], 1e-9)))
        by_class.append(of_classes[known])
        by_colour.append(of_colours[known])
        kinds.append(case.scene.class_index[owner[known]])
        colours.append(case.scene.colour_index[owner[known]])
    if not any(map(len, kinds)):
        return calibration
    grid, images, truth = (np.concatenate(parts) for parts in (which, by_class, kinds))
    weight = minimize_scalar(
        lambda w: log_loss(grid + w * images, truth), bounds=(0.0, 2.0), method="bounded"
    ).x
    looks, named = np.concatenate(by_colour), np.concatenate(colours)
    scale = minimize_scalar(
        lambda w: log_loss(w * looks, named), bounds=(0.0, 3.0), method="bounded"
    ).x
    return replace(
        calibration, look_weight=round(float(weight), 5), colour_scale=round(float(scale), 5)
    )


def figures(
    cases: Sequence[Case], calibration: Calibration, by_bearing: bool, protocol: Protocol
) -> dict[str, float]:
    """What the manifest tells of the weights: how the answers fare that are sure enough.

    Returns:
        objects: asked for.
        recall, precision: within the protocol's radius and of the right class.
        colour_right: part of the matched whose most probable colour is right.
        position_error_m: median of the matched, in the ground plane; absent without any.
    """
    sure = hits = asked = named = 0
    for case in cases:
        judged = judge(case.found.class_logits, case.looks, calibration)
        rows = np.flatnonzero(judged.probability >= protocol.position.min_probability)
        probable = replace(case, found=case.found.take(rows))
        owner = owners(
            probable, judged.probability[rows], judged.kind[rows], protocol.calibration.radius_m
        )
        asked += int(case.asked.sum())
        sure += int((owner != NOT_ASKED).sum())
        hit = owner >= 0
        hits += int(hit.sum())
        named += int((judged.colour[rows][hit] == case.scene.colour_index[owner[hit]]).sum())
    errors, _, _ = position_errors(cases, calibration, by_bearing, protocol)
    away = np.linalg.norm(errors[:, :2], axis=1)
    away = away[away < protocol.calibration.radius_m]
    result = {
        "objects": asked,
        "recall": round(hits / max(asked, 1), 4),
        "precision": round(hits / max(sure, 1), 4),
        "colour_right": round(named / max(hits, 1), 4),
    }
    if len(away):
        result["position_error_m"] = round(float(np.median(away)), 4)
    return result


def usual(distances: Sequence[float]) -> dict[str, float]:
    """The fields of `Familiar`, of samples that are as in training."""
    middle, high = np.quantile(distances, (0.5, 0.99))
    return {"usual": round(float(middle), 5), "high": round(float(max(high, middle + 1e-3)), 5)}


def calibrate(
    folder: Path, seeds: Sequence[int]
) -> tuple[dict[str, dict[str, object]], dict[str, dict[str, float]]]:
    """Fits all subsets on validation scenes.

    Args:
        folder: model folder whose manifest holds no calibration yet.
        seeds: validation seeds.

    Returns:
        calibration, figures: of each subset; the figures are of the same scenes.

    Raises:
        ValueError: a seed is not a validation seed.
    """
    for seed in seeds:
        if seed not in cache.VALIDATION_SEEDS:
            raise ValueError(f"seed {seed} is no validation seed {cache.VALIDATION_SEEDS}")
    opened = ModelFolder.open(folder)
    config = PerceptionConfig(score_threshold=0.005, max_objects=100)
    detector = Detector(opened, config, calibration={})
    protocol = load_protocol()
    encoded: list[tuple[Scene, list[CameraFeature], LidarFeature]] = []
    # Before it is known what is usual, an unfamiliarity is its mean distance itself.
    distances: dict[str, list[float]] = {"camera": [], "lidar": []}
    for seed in track(list(seeds), description="encoding"):
        scene, images, scan = prepare(seed, protocol)
        cameras = [detector.encode_camera(im, f"camera_{i}") for i, im in enumerate(images)]
        lidar = detector.encode_lidar(scan)
        distances["camera"] += [camera.epistemic for camera in cameras]
        distances["lidar"].append(lidar.epistemic)
        encoded.append((scene, cameras, lidar))
    familiar = {name: usual(values) for name, values in distances.items()}
    calibrations: dict[str, Calibration] = {}
    shown: dict[str, dict[str, float]] = {}
    for subset in SUBSETS:
        done = {name: asdict(each) for name, each in calibrations.items()}
        by_bearing, depth_weight = subset == "camera", 0.0
        if by_bearing and opened.manifest.inputs.get("fusion") != "late":
            # A lidar knows distances; without one, the images are asked for them first. Late
            # fusion combines what the grids alone find.
            with closing(Detector(opened, config, calibration=done)) as plain:
                first = [case_of(plain, subset, *each) for each in encoded]
            depth_weight = fit_depth(first, protocol)
            done[subset] = asdict(Calibration(depth_weight=depth_weight))
        with closing(Detector(opened, config, calibration=done)) as fitted:
            cases = [
                case_of(fitted, subset, *each)
                for each in track(encoded, description=f"calibration ({subset})")
            ]
        calibrations[subset] = fit(cases, by_bearing, protocol, depth_weight)
        shown[subset] = figures(cases, calibrations[subset], by_bearing, protocol)
    detector.close()
    return (
        {subset: asdict(each) for subset, each in calibrations.items()} | {"familiar": familiar},
        shown,
    )
