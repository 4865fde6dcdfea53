"""What was found in validation scenes, beside what is there: what calibration is fitted to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros.config import CameraConfig, LidarConfig
from mm_fusion_ros.evaluation.protocol import Protocol
from mm_fusion_ros.evaluation.records import Findings, Truths
from mm_fusion_ros.outputs import CLASSES, COLOURS
from mm_fusion_ros.perception.decode import Calibration, Found
from mm_fusion_ros.perception.detector import Detector
from mm_fusion_ros.perception.features import CameraFeature, LidarFeature
from mm_fusion_ros.perception.second_look import (
    Looks,
    class_evidence,
    colour_evidence,
    exists_evidence,
)
from mm_fusion_ros.samples import Float
from mm_fusion_ros.sensors.camera import CameraIntake, PreparedImage
from mm_fusion_ros.sensors.lidar import LidarIntake, PreparedScan
from mm_fusion_ros.training import cache
from mm_fusion_ros.training.cache import Scene

NO_TRUTH, NOT_ASKED = -1, -2


@dataclass(frozen=True, eq=False)
class Case:
    """What was found in one scene by one subset of sensors.

    Attributes:
        found: on the grid, in any order.
        looks: what each image says of them.
        asked: (k,) which of the scene's objects these sensors can be asked for.
    """

    found: Found
    looks: Mapping[str, Looks]
    scene: Scene
    asked: NDArray[np.bool_]

    def by_images(self, calibration: Calibration) -> tuple[Float, Float]:
        """Evidence of all images together on what is there, (n, classes) and (n, colours)."""
        classes = np.zeros((len(self.found), len(CLASSES)))
        colours = np.zeros((len(self.found), len(COLOURS)))
        for looks in self.looks.values():
            classes += class_evidence(looks, calibration)
            colours += colour_evidence(looks, calibration)
        return classes, colours

    def truths(self) -> Truths:
        """The scene's objects."""
        return truths_of(self.scene, self.asked)

    def exists(self) -> Float:
        """(n, 3), `exists_evidence` of all images together."""
        return sum(
            (exists_evidence(looks) for looks in self.looks.values()),
            start=np.zeros((len(self.found), 3)),
        )


def truths_of(scene: Scene, asked: NDArray[np.bool_]) -> Truths:
    """The objects of a scene, of which those are asked for, as the exam has them."""
    boxes = scene.boxes.astype(np.float64)
    return Truths(
        scene.class_index, scene.colour_index, boxes[:, :3], boxes[:, 3:6], boxes[:, 6], asked,
        np.zeros(len(boxes), bool),
    )  # fmt: skip


def findings_of(found: Found, kind: NDArray[np.int64], probability: Float) -> Findings:
    """What was found, as the exam has it; without colours and covariances."""
    none, count = np.zeros(len(found)), len(found)
    return Findings(
        kind, probability, np.full(count, -1), none, found.centre, found.size, found.yaw,
        np.zeros((count, 2, 2)), none > 0.0,
    )  # fmt: skip


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
        distance = np.linalg.norm(scene.boxes[:, :2] - case.found.centre[row, :2], axis=1)
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


def case_of(
    detector: Detector, subset: str, scene: Scene, cameras: Sequence[CameraFeature],
    lidar: LidarFeature,
) -> Case:  # fmt: skip
    """What a subset of sensors makes of a scene."""
    by_lidar = scene.lidar_points >= cache.LIDAR_MIN_POINTS
    by_camera = np.asarray(scene.seen.any(axis=1))
    asked = {"both": by_camera | by_lidar, "lidar": by_lidar, "camera": by_camera}
    said = detector.detect(
        [] if subset == "lidar" else cameras, [] if subset == "camera" else [lidar]
    )
    assert said.found is not None
    return Case(said.found, said.looks, scene, asked[subset])
