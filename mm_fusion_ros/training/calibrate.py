"""Calibration on validation scenes: probabilities that mean what they say, honest covariances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track
from scipy.optimize import minimize, minimize_scalar

from mm_fusion_ros.config import CameraConfig, LidarConfig, PerceptionConfig
from mm_fusion_ros.evaluation.matching import assign
from mm_fusion_ros.evaluation.protocol import Protocol, load_protocol
from mm_fusion_ros.evaluation.records import Truths, findings_of
from mm_fusion_ros.inference.model_folder import ModelFolder
from mm_fusion_ros.outputs import CLASSES, COLOURS
from mm_fusion_ros.perception.decode import LOG_VARIANCE_RANGE, Calibration, Detection
from mm_fusion_ros.perception.detector import Detector
from mm_fusion_ros.perception.second_look import (
    class_evidence,
    colour_evidence,
    combined_logit,
    on_grid,
    settled,
)
from mm_fusion_ros.sensors.camera import CameraIntake, PreparedImage
from mm_fusion_ros.sensors.lidar import LidarIntake, PreparedScan
from mm_fusion_ros.training import cache
from mm_fusion_ros.training.cache import Scene

SUBSETS = ("both", "lidar", "camera")
MIN_ERRORS = 50
COVERAGE = 0.9
COVERAGE_SIGMAS = 1.6449
"""A standard normal lies within so many sigmas with probability COVERAGE."""
COVERAGE_ELLIPSE = 4.6052
"""The same for the squared Mahalanobis distance in two dimensions."""
NO_TRUTH, NOT_ASKED = -1, -2


@dataclass(frozen=True, eq=False)
class Case:
    """What was found in one scene by one subset of sensors.

    Attributes:
        found: in any order.
        asked: (k,) which of the scene's objects these sensors can be asked for.
    """

    found: Sequence[Detection]
    scene: Scene
    asked: NDArray[np.bool_]


def prepare(seed: int, protocol: Protocol) -> tuple[Scene, list[PreparedImage], PreparedScan]:
    """A scene as the exam sees it, through the sensors' own intakes."""
    from mm_fusion_ros.sim.drive import scene  # open3d stays out of a process that only fits

    sample = scene(seed, image_size=protocol.image_size)
    camera_intake, lidar_intake = CameraIntake(CameraConfig()), LidarIntake(LidarConfig())
    images = [camera_intake.accept(frame)[0] for frame in sample.cameras]
    return cache.of_sample(sample), images, lidar_intake.accept(sample.lidar)[0]


def owners(
    case: Case, scores: NDArray[np.float64], kinds: NDArray[np.int64] | None, radius_m: float
) -> NDArray[np.int64]:
    """The object that each detection is about: strongest first, the nearest that is free.

    Args:
        case: the detections and the truth.
        scores: (n,) the strongest is matched first.
        kinds: (n,) classes that must agree, or None for any.
        radius_m: farthest apart [m].

    Returns:
        (n,) row of the object; `NO_TRUTH` where none is near, `NOT_ASKED` where it is near one
        that counts neither way.
    """
    scene = case.scene
    result = np.full(len(case.found), NO_TRUTH)
    free = np.ones(len(scene.boxes), bool)
    for row in np.argsort(-scores, kind="stable"):
        centre = case.found[row].object.centre
        distance = np.linalg.norm(scene.boxes[:, :2] - centre[:2], axis=1)
        near = (distance < radius_m) & free
        if kinds is not None:
            near &= scene.class_index == kinds[row]
        if near.any():
            index = int(np.argmin(np.where(near, distance, np.inf)))
            free[index] = False
            result[row] = index if case.asked[index] else NOT_ASKED
        elif ((distance < 2.0 * radius_m) & ~case.asked).any():
            result[row] = NOT_ASKED
    return result


def platt(logits: NDArray[np.float64], right: NDArray[np.bool_]) -> tuple[float, float]:
    """Scale and bias that make the sigmoid of logits the probability of being right."""

    def loss(parameters: NDArray[np.float64]) -> float:
        z = parameters[0] * logits + parameters[1]
        return float(np.mean(np.logaddexp(0.0, z) - right * z))

    scale, bias = minimize(loss, np.array([1.0, 0.0]), method="Nelder-Mead").x
    return round(float(scale), 5), round(float(bias), 5)


def log_loss(logits: NDArray[np.float64], truth: NDArray[np.int64]) -> float:
    """Mean negative log-likelihood of the true answers under the softmax of (n, k) logits."""
    z = logits - logits.max(axis=1, keepdims=True)
    chosen = z[np.arange(len(z)), truth]
    return float(np.mean(np.log(np.exp(z).sum(axis=1)) - chosen))


def priors(cases: Sequence[Case]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """How often the images say each class and colour, of what they see at all."""
    looks = [look for case in cases for item in case.found for look in item.looks.values()]
    if not looks:
        return (), ()
    classes = np.exp(np.stack([look.classes for look in looks]).astype(np.float64))
    colours = np.exp(np.stack([look.colours for look in looks]).astype(np.float64))
    of_class = classes[:, :-1].sum(axis=0)
    of_colour = (colours * (1.0 - classes[:, -1:])).sum(axis=0)
    return (
        tuple(round(float(v), 5) for v in of_class / of_class.sum()),
        tuple(round(float(v), 5) for v in of_colour / of_colour.sum()),
    )


def fit(cases: Sequence[Case], by_bearing: bool, protocol: Protocol) -> Calibration:
    """The calibration that explains the cases best.

    Probabilities by likelihood: first of the grid alone, then how much the images' word counts
    beside it, then of both together. Variances so that the central 90 % interval of each axis
    holds 90 %, and then both axes of the ground plane alike, so that their 90 % ellipse does.
    """
    radius_m = protocol.calibration.radius_m

    # The grid alone.
    tops, rights = [], []
    for case in cases:
        raw = np.array([item.class_logits for item in case.found]).reshape(-1, len(CLASSES))
        top = raw.max(axis=1).astype(np.float64)
        owner = owners(case, top, raw.argmax(axis=1), radius_m)
        tops.append(top[owner != NOT_ASKED])
        rights.append(owner[owner != NOT_ASKED] >= 0)
    scale, bias = platt(np.concatenate(tops), np.concatenate(rights))
    class_prior, colour_prior = priors(cases)
    result = Calibration(
        class_scale=scale, class_bias=bias, class_prior=class_prior, colour_prior=colour_prior
    )

    # The images beside it, where there is an object, whatever it is.
    result = fit_looks(cases, result, radius_m)

    # Both together.
    finals, rights = [], []
    for case in cases:
        kinds, logits = _combined(case, result)
        owner = owners(case, logits, kinds, radius_m)
        finals.append(logits[owner != NOT_ASKED])
        rights.append(owner[owner != NOT_ASKED] >= 0)
    scale, bias = platt(np.concatenate(finals), np.concatenate(rights))
    result = replace(result, final_scale=scale, final_bias=bias)

    errors, sigmas = position_errors(cases, result, by_bearing, protocol)
    ratio = np.abs(errors) / sigmas
    spread = (np.quantile(ratio, COVERAGE, axis=0) / COVERAGE_SIGMAS) ** 2
    squared = (ratio[:, :2] ** 2 / spread[:2]).sum(axis=1)
    spread[:2] *= np.quantile(squared, COVERAGE) / COVERAGE_ELLIPSE
    along, across, up = (round(float(value), 5) for value in spread)
    return replace(result, variance_scale=(along, across, up))


def _combined(
    case: Case, calibration: Calibration
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    pairs = [combined_logit(item, calibration) for item in case.found]
    return np.array([k for k, _ in pairs], np.int64), np.array([z for _, z in pairs], np.float64)


def fit_looks(cases: Sequence[Case], calibration: Calibration, radius_m: float) -> Calibration:
    """With the weights of the images' word on class and colour, and of the grid's on colour."""
    which, said, kinds, on_cells, in_images, colours = [], [], [], [], [], []
    for case in cases:
        top = np.array([float(item.class_logits.max()) for item in case.found])
        for item, index in zip(case.found, owners(case, top, None, radius_m), strict=True):
            if index < 0:
                continue
            which.append(np.log(np.maximum(on_grid(item, calibration)[1], 1e-9)))
            said.append(class_evidence(item.looks, calibration))
            kinds.append(int(case.scene.class_index[index]))
            on_cells.append(item.colour_logits.astype(np.float64))
            in_images.append(colour_evidence(item.looks, calibration))
            colours.append(int(case.scene.colour_index[index]))
    grid, images, truth = np.stack(which), np.stack(said), np.array(kinds)
    weight = minimize_scalar(
        lambda w: log_loss(grid + w * images, truth), bounds=(0.0, 2.0), method="bounded"
    ).x
    cells, looks, named = np.stack(on_cells), np.stack(in_images), np.array(colours)
    both = minimize(
        lambda w: log_loss(abs(w[0]) * cells + abs(w[1]) * looks, named), np.array([1.0, 1.0]),
        method="Nelder-Mead",
    ).x  # fmt: skip
    of_grid, of_images = (round(float(abs(value)), 5) for value in both)
    return replace(
        calibration, look_weight=round(float(weight), 5), colour_weights=(of_grid, of_images)
    )


def position_errors(
    cases: Sequence[Case], calibration: Calibration, by_bearing: bool, protocol: Protocol
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Position errors of detections, also of those that are badly placed, and raw sigmas.

    Only near misses would make every covariance look honest, so answers are assigned to objects as
    the exam does it.

    Returns:
        (k, 3) each: along the ray, across it, z [m].
    """
    rule = protocol.position
    gate = float(np.radians(rule.bearing_gate_deg)) if by_bearing else rule.gate_m
    errors, sigmas, sure = [], [], []
    for case in cases:
        boxes = case.scene.boxes.astype(np.float64)
        truths = Truths(
            case.scene.class_index, case.scene.colour_index, boxes[:, :3], boxes[:, 3:6],
            boxes[:, 6], case.asked, np.zeros(len(boxes), bool),
        )  # fmt: skip
        found = [settled(item, calibration) for item in case.found]
        found.sort(key=lambda item: -item.object.class_probability)
        findings = findings_of((item.object for item in found), ())
        owner = assign(truths, findings, gate=gate, by_bearing=by_bearing)
        for item, index in zip(found, owner, strict=True):
            if index < 0 or not case.asked[index]:
                continue
            centre = item.object.centre
            error = boxes[index, :3] - centre
            radius = max(float(np.hypot(centre[0], centre[1])), 1e-3)
            cosine, sine = centre[0] / radius, centre[1] / radius
            along = error[0] * cosine + error[1] * sine
            errors.append([along, error[1] * cosine - error[0] * sine, error[2]])
            sigmas.append(np.exp(0.5 * np.clip(item.log_variance, *LOG_VARIANCE_RANGE)))
            sure.append(item.object.class_probability >= rule.min_probability)
    chosen = np.array(sure)
    if chosen.sum() < MIN_ERRORS:
        chosen[:] = True
    return np.array(errors)[chosen], np.stack(sigmas)[chosen].astype(np.float64)


def figures(
    cases: Sequence[Case], calibration: Calibration, by_bearing: bool, protocol: Protocol
) -> dict[str, float]:
    """What the manifest tells of the weights: how the answers fare that are sure enough.

    Returns:
        objects: asked for.
        recall, precision: within the protocol's radius and of the right class.
        colour_right: part of the matched whose most probable colour is right.
        position_error_m: median of the matched, in the ground plane.
    """
    sure = hits = asked = named = 0
    for case in cases:
        found = [settled(item, calibration) for item in case.found]
        found = [
            item for item in found
            if item.object.class_probability >= protocol.position.min_probability
        ]  # fmt: skip
        scores = np.array([item.object.class_probability for item in found])
        kinds = np.array([CLASSES.index(item.object.class_name) for item in found], np.int64)
        settled_case = replace(case, found=found)
        owner = owners(settled_case, scores, kinds, protocol.calibration.radius_m)
        asked += int(case.asked.sum())
        sure += int((owner != NOT_ASKED).sum())
        hits += int((owner >= 0).sum())
        named += sum(
            item.object.colour == COLOURS[case.scene.colour_index[index]]
            for item, index in zip(found, owner, strict=True)
            if index >= 0
        )
    errors, _ = position_errors(cases, calibration, by_bearing, protocol)
    away = np.linalg.norm(errors[:, :2], axis=1)
    return {
        "objects": asked,
        "recall": round(hits / max(asked, 1), 4),
        "precision": round(hits / max(sure, 1), 4),
        "colour_right": round(named / max(hits, 1), 4),
        "position_error_m": round(float(np.median(away[away < protocol.calibration.radius_m])), 4),
    }


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
    detector = Detector(
        ModelFolder.open(folder), PerceptionConfig(score_threshold=0.005, max_objects=100)
    )
    protocol = load_protocol()
    cases: dict[str, list[Case]] = {subset: [] for subset in SUBSETS}
    for seed in track(list(seeds), description="calibration"):
        scene, images, scan = prepare(seed, protocol)
        cameras = [detector.encode_camera(im, f"camera_{i}") for i, im in enumerate(images)]
        lidar = detector.encode_lidar(scan)
        by_lidar = scene.lidar_points >= cache.LIDAR_MIN_POINTS
        by_camera = np.asarray(scene.seen.any(axis=1))
        answers = {
            "both": (detector.detect(cameras, [lidar]).raw, by_camera | by_lidar),
            "lidar": (detector.detect([], [lidar]).raw, by_lidar),
            "camera": (detector.detect(cameras, []).raw, by_camera),
        }
        for subset, (found, asked) in answers.items():
            cases[subset].append(Case(found, scene, asked))
    detector.close()
    calibrations = {subset: fit(cases[subset], subset == "camera", protocol) for subset in SUBSETS}
    return (
        {subset: asdict(calibration) for subset, calibration in calibrations.items()},
        {
            subset: figures(cases[subset], calibrations[subset], subset == "camera", protocol)
            for subset in SUBSETS
        },
    )
