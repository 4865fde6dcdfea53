"""Calibration on validation scenes: probabilities that mean what they say, honest covariances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track
from scipy.optimize import minimize, minimize_scalar

from mm_fusion_ros.config import PerceptionConfig
from mm_fusion_ros.evaluation.matching import assign
from mm_fusion_ros.evaluation.records import Truths, findings_of
from mm_fusion_ros.inference.model_folder import ModelFolder
from mm_fusion_ros.outputs import CLASSES
from mm_fusion_ros.perception.decode import LOG_VARIANCE_RANGE, Calibration, Detection
from mm_fusion_ros.perception.detector import Detector
from mm_fusion_ros.sensors.camera import PreparedImage
from mm_fusion_ros.sensors.lidar import PreparedScan
from mm_fusion_ros.training import cache
from mm_fusion_ros.training.cache import Scene

SUBSETS = ("both", "lidar", "camera")
MATCH_M = 1.0
ASSIGN_M, ASSIGN_RAD = 6.0, float(np.radians(5.0))
"""An answer is about an object of its class as far away as this; by bearing for cameras alone."""
MIN_ERRORS = 50
SURE = 0.3
"""Positions of answers less probable than this do not enter."""
COVERAGE = 0.9
COVERAGE_SIGMAS = 1.6449
"""A standard normal lies within so many sigmas with probability COVERAGE."""
COVERAGE_ELLIPSE = 4.6052
"""The same for the squared Mahalanobis distance in two dimensions."""


@dataclass
class Samples:
    """What detections said and what was true.

    Attributes:
        logits, right: class logit, and whether an object of that class stood within MATCH_M.
        colour_logits, colours: of matched detections.
        errors, sigmas: (k, 3) of assigned detections: along the ray, across it, z [m].
        assigned_logits: class logits of the same.
        asked: how many objects these sensors could be asked for.
    """

    logits: list[float] = field(default_factory=list)
    right: list[bool] = field(default_factory=list)
    colour_logits: list[NDArray[np.float32]] = field(default_factory=list)
    colours: list[int] = field(default_factory=list)
    errors: list[NDArray[np.float64]] = field(default_factory=list)
    sigmas: list[NDArray[np.float64]] = field(default_factory=list)
    assigned_logits: list[float] = field(default_factory=list)
    asked: int = 0


def prepare(scene: Scene) -> tuple[list[PreparedImage], PreparedScan]:
    """A cached scene as the detector takes it; cached images have the network's size."""
    height, width = scene.images.shape[1:3]
    images = [
        PreparedImage(image, k, (0, 0, width, height), extrinsics)
        for image, k, extrinsics in zip(
            scene.images, scene.intrinsics, scene.base_from_camera, strict=True
        )
    ]
    return images, PreparedScan(points=scene.points, invalid=0)


def gather(
    found: Sequence[Detection], scene: Scene, asked: NDArray[np.bool_], into: Samples
) -> None:
    """Matches detections, strongest first, to the nearest free object of their class.

    Detections on objects that these sensors cannot be asked for do not count either way.
    """
    into.asked += int(asked.sum())
    free = np.ones(len(scene.boxes), bool)
    for item in found:
        centre = item.object.centre
        distance = np.linalg.norm(scene.boxes[:, :2] - centre[:2], axis=1)
        kind = CLASSES.index(item.object.class_name)
        near = (distance < MATCH_M) & free & (scene.class_index == kind)
        if not near.any():
            if not ((distance < 2.0) & ~asked).any():
                into.logits.append(item.logit)
                into.right.append(False)
            continue
        index = int(np.argmin(np.where(near, distance, np.inf)))
        free[index] = False
        if not asked[index]:
            continue
        into.logits.append(item.logit)
        into.right.append(True)
        into.colour_logits.append(item.colour_logits)
        into.colours.append(int(scene.colour_index[index]))


def gather_positions(
    found: Sequence[Detection],
    scene: Scene,
    asked: NDArray[np.bool_],
    by_bearing: bool,
    into: Samples,
) -> None:
    """Position errors of detections, also of those that are badly placed.

    Only near misses would make every covariance look honest, so answers are assigned to objects as
    the exam does it.
    """  # fmt: skip
    boxes = scene.boxes.astype(np.float64)
    truths = Truths(
        scene.class_index, scene.colour_index, boxes[:, :3], boxes[:, 3:6], boxes[:, 6], asked,
        np.zeros(len(boxes), bool),
    )  # fmt: skip
    findings = findings_of((item.object for item in found), ())
    gate = ASSIGN_RAD if by_bearing else ASSIGN_M
    owner = assign(truths, findings, gate=gate, by_bearing=by_bearing)
    for item, index in zip(found, owner, strict=True):
        if index < 0 or not asked[index]:
            continue
        centre = item.object.centre
        error = boxes[index, :3] - centre
        radius = max(float(np.hypot(centre[0], centre[1])), 1e-3)
        cosine, sine = centre[0] / radius, centre[1] / radius
        into.errors.append(
            np.array(
                [error[0] * cosine + error[1] * sine, error[1] * cosine - error[0] * sine, error[2]]
            )
        )
        into.assigned_logits.append(item.logit)
        into.sigmas.append(np.exp(0.5 * np.clip(item.log_variance, *LOG_VARIANCE_RANGE)))


def fit(samples: Samples) -> Calibration:
    """The calibration that explains the samples best.

    Class probability by Platt scaling, colour by temperature (both by likelihood). Variances so
    that the central 90 % interval of each axis holds 90 %, and then both axes of the ground plane
    alike, so that their 90 % ellipse does.
    """
    logits, right = np.array(samples.logits), np.array(samples.right, float)

    def class_loss(parameters: NDArray[np.float64]) -> float:
        z = parameters[0] * logits + parameters[1]
        return float(np.mean(np.logaddexp(0.0, z) - right * z))

    scale, bias = minimize(class_loss, np.array([1.0, 0.0]), method="Nelder-Mead").x

    colour_logits, colours = np.stack(samples.colour_logits), np.array(samples.colours)

    def colour_loss(log_temperature: float) -> float:
        z = colour_logits / np.exp(log_temperature)
        z = z - z.max(axis=1, keepdims=True)
        chosen = z[np.arange(len(z)), colours]
        return float(np.mean(np.log(np.exp(z).sum(axis=1)) - chosen))

    temperature = float(np.exp(minimize_scalar(colour_loss, bounds=(-2, 2), method="bounded").x))

    sure = scale * np.array(samples.assigned_logits) + bias >= np.log(SURE / (1.0 - SURE))
    if sure.sum() < MIN_ERRORS:
        sure[:] = True
    ratio = np.abs(np.stack(samples.errors)[sure]) / np.stack(samples.sigmas)[sure]
    spread = (np.quantile(ratio, COVERAGE, axis=0) / COVERAGE_SIGMAS) ** 2
    squared = (ratio[:, :2] ** 2 / spread[:2]).sum(axis=1)
    spread[:2] *= np.quantile(squared, COVERAGE) / COVERAGE_ELLIPSE
    return Calibration(
        class_scale=round(float(scale), 5),
        class_bias=round(float(bias), 5),
        colour_temperature=round(temperature, 5),
        variance_scale=(
            round(float(spread[0]), 5), round(float(spread[1]), 5), round(float(spread[2]), 5),
        ),
    )  # fmt: skip


def figures(samples: Samples, calibration: Calibration) -> dict[str, float]:
    """What the manifest tells of the weights: how the answers fare that are surer than SURE.

    Returns:
        objects: asked for.
        recall, precision: within MATCH_M and of the right class.
        colour_right: part of the matched whose most probable colour is right.
        position_error_m: median of the matched, in the ground plane.
    """
    z = calibration.class_scale * np.array(samples.logits) + calibration.class_bias
    sure, right = z >= np.log(SURE / (1.0 - SURE)), np.array(samples.right, bool)
    hits = int((sure & right).sum())
    named = np.argmax(np.stack(samples.colour_logits), axis=1) == np.array(samples.colours)
    away = np.linalg.norm(np.stack(samples.errors)[:, :2], axis=1)
    return {
        "objects": samples.asked,
        "recall": round(hits / max(samples.asked, 1), 4),
        "precision": round(hits / max(int(sure.sum()), 1), 4),
        "colour_right": round(float(named.mean()), 4),
        "position_error_m": round(float(np.median(away[away < MATCH_M])), 4),
    }


def calibrate(
    folder: Path, scenes: Path, seeds: Sequence[int]
) -> tuple[dict[str, dict[str, object]], dict[str, dict[str, float]]]:
    """Fits all subsets on cached validation scenes.

    Args:
        folder: model folder whose manifest holds no calibration yet.
        scenes: the cache.
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
        ModelFolder.open(folder), PerceptionConfig(score_threshold=0.02, max_objects=100)
    )
    gathered = {subset: Samples() for subset in SUBSETS}
    for seed in track(list(seeds), description="calibration"):
        scene = cache.load(cache.path_of(scenes, seed))
        images, scan = prepare(scene)
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
            gather(found, scene, asked, gathered[subset])
            gather_positions(found, scene, asked, subset == "camera", gathered[subset])
    detector.close()
    fitted = {subset: fit(samples) for subset, samples in gathered.items()}
    return (
        {subset: asdict(calibration) for subset, calibration in fitted.items()},
        {subset: figures(gathered[subset], fitted[subset]) for subset in SUBSETS},
    )
