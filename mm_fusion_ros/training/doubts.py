"""How much less probable what doubted sensors say is, fitted on struck validation scenes.

The kinds of fault are those of training. Those that the exam holds out stay held out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.optimize import minimize

from mm_fusion_ros.config import CameraConfig, ReliabilityConfig
from mm_fusion_ros.perception.decode import Calibration
from mm_fusion_ros.perception.second_look import doubts, judge
from mm_fusion_ros.samples import CameraFrame, Float
from mm_fusion_ros.sensors.camera import CameraIntake, PreparedImage
from mm_fusion_ros.sensors.lidar import PreparedScan
from mm_fusion_ros.training.cache import Scene
from mm_fusion_ros.training.cases import LIDAR, NOT_ASKED, Case, camera_name, owners
from mm_fusion_ros.training.struck import STAMP_NS, strike

Given = tuple[list[PreparedImage], PreparedScan, dict[str, float]]
BELIEVED = ReliabilityConfig().fuse_above


def struck(scene: Scene, rng: np.random.Generator) -> Given:
    """What the sensors of a scene give under a fault, and how far those that speak are believed."""
    given = strike(scene, 1.0, rng)
    intake = CameraIntake(CameraConfig())
    placed = zip(
        given.scene.images, given.scene.intrinsics, given.scene.base_from_camera, strict=True
    )
    images = [
        intake.accept(CameraFrame(STAMP_NS, "", camera_name(row), *each))[0]
        for row, each in enumerate(placed)
    ]
    trust = {camera_name(row): float(value) for row, value in enumerate(given.trust_camera)}
    scan = PreparedScan(given.scene.points, 0, scene.base_from_lidar[:3, 3])
    # A scan that met nothing says nothing.
    return images, scan, trust | ({LIDAR: given.trust_lidar} if len(scan.points) else {})


def heard(trust: Mapping[str, float], subset: str) -> set[str]:
    """Which sources of a subset have a say, as the gate has it; none where not all kinds do."""
    cameras, lidars = trust.keys() - {LIDAR}, trust.keys() & {LIDAR}
    if subset != "both":
        return cameras if subset == "camera" else lidars
    believed = {name for name, value in trust.items() if value >= BELIEVED}
    return believed if believed & cameras and believed & lidars else set()


def fit_doubts(
    cases: Sequence[Case], calibration: Calibration, radius_m: float
) -> tuple[float, float]:
    """The weights of doubt in cameras and in lidars that explain struck cases best.

    By likelihood, beside what the calibration of clean scenes makes of them; never negative, or
    doubt would make an object more probable.

    Args:
        cases: under faults, each with its trust.
        calibration: of the same subset of sensors, fitted on clean scenes.
        radius_m: farthest apart that an answer is about an object [m].
    """
    logits, doubted, rights = [np.zeros(0)], [np.zeros((0, 2))], [np.zeros(0, bool)]
    for case in cases:
        by_lidar = case.trust.get(LIDAR, 1.0)
        judged = judge(case.found.class_logits, case.looks, calibration, case.trust, by_lidar)
        owner = owners(case, judged.probability, judged.kind, radius_m)
        asked = owner != NOT_ASKED
        p = np.clip(judged.probability, 1e-6, 1.0 - 1e-6)
        logits.append(np.log(p / (1.0 - p))[asked])
        doubted.append(doubts(case.looks, case.trust, by_lidar, len(p))[asked])
        rights.append(owner[asked] >= 0)
    logit, doubt, right = (np.concatenate(each) for each in (logits, doubted, rights))
    if not doubt.any():
        return 0.0, 0.0

    def loss(weights: Float) -> tuple[float, Float]:
        z = logit - doubt @ weights
        error = 1.0 / (1.0 + np.exp(-np.clip(z, -40.0, 40.0))) - right
        return float(np.mean(np.logaddexp(0.0, z) - right * z)), -(error @ doubt) / len(z)

    found = minimize(
        loss, np.zeros(2), jac=True, method="L-BFGS-B", bounds=[(0.0, None)] * 2
    ).x  # fmt: skip
    return round(float(found[0]), 5), round(float(found[1]), 5)
