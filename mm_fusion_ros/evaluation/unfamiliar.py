"""Whether what was never trained on is noticed: other surfaces, another lidar, unknown things.

    scene of a seed, as ever and changed -> encoders, answers -> how unfamiliar each sample is, and
    how sure of a class each place where something stands -> AUROC of changed against as ever

A sample's unfamiliarity tells surfaces and lidars. Things of no class are told by the answer, which
should give no class to them, against the places of things that have one: among the whole sample's
features one thing is lost. Every seed's record is a file of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mm_fusion_ros.config import CameraConfig, LidarConfig
from mm_fusion_ros.evaluation import archive
from mm_fusion_ros.evaluation.bootstrap import Estimate, draws
from mm_fusion_ros.evaluation.exam import code_digest, exam_detector
from mm_fusion_ros.evaluation.faulted import CODE_OF_CONDITIONS, make_missing
from mm_fusion_ros.evaluation.metrics import area
from mm_fusion_ros.evaluation.protocol import Protocol
from mm_fusion_ros.evaluation.records import Index
from mm_fusion_ros.evaluation.scoring import BOTH, CAMERA, LIDAR
from mm_fusion_ros.evaluation.table import plain
from mm_fusion_ros.inference.model_folder import ModelFolder
from mm_fusion_ros.perception.detector import Detections
from mm_fusion_ros.samples import Float
from mm_fusion_ros.sensors.camera import CameraIntake
from mm_fusion_ros.sensors.lidar import LidarIntake
from mm_fusion_ros.sim.unfamiliar import PATTERN, TEXTURE, THING

if TYPE_CHECKING:
    from mm_fusion_ros.sim.drive import SceneSample

SEEDS, USUAL = "seeds", "usual"
QUESTIONS = {
    "camera, other surfaces": (CAMERA, TEXTURE),
    "lidar, one that does not spin": (LIDAR, PATTERN),
    "lidar, things of no class": (LIDAR, THING),
    "both, things of no class": (BOTH, THING),
}
"""What is asked, of which sensor, and what is changed."""
REACH_M = 1.5
"""An answer this near to a place is about what stands there."""
Values = Mapping[str, Sequence[float]]


@dataclass(frozen=True, eq=False)
class Record:
    """One seed.

    Attributes:
        samples: "camera|texture" and the like to the unfamiliarity of each sample.
        places: "both|thing" and the like, and "both|usual", to the doubt at each place.
    """

    seed: int
    samples: Values
    places: Values


def changed(seed: int, protocol: Protocol) -> Iterator[tuple[str, SceneSample, Float]]:
    """The scene of a seed, as it is and in every way changed.

    Returns:
        the change; the scene; (n, 3) the places of base_link [m] where what is asked for stands:
            the things of no class where there are any, else those that have one.
    """
    from mm_fusion_ros.sim.drive import scene

    for change in (USUAL, TEXTURE, PATTERN, THING):
        strange = "" if change == USUAL else change
        sample = scene(seed, image_size=protocol.image_size, strange=strange)
        wanted = [
            label.centre for label in sample.labels
            if label.counts and (label.object_id in sample.strange) == (change == THING)
        ]  # fmt: skip
        yield change, sample, np.array(wanted).reshape(-1, 3)


class UnfamiliarExaminer:
    """Looks at the scene of a seed as it is, and changed; writes how unfamiliar each is."""

    def __init__(self, model: str, protocol: Protocol, folder: Path) -> None:
        """Loads the model.

        Raises:
            ModelError, BackendError: the model cannot be used.
        """
        self._protocol, self._folder = protocol, folder
        self._detector = exam_detector(model, protocol)
        self._camera_intake = CameraIntake(CameraConfig())
        self._lidar_intake = LidarIntake(LidarConfig())

    def __call__(self, seed: int) -> int:
        """Examines one seed; returns it."""
        samples: dict[str, list[float]] = {}
        places: dict[str, list[float]] = {}
        for change, sample, centres in changed(seed, self._protocol):
            cameras = [
                self._detector.encode_camera(self._camera_intake.accept(frame)[0], frame.source)
                for frame in sample.cameras
            ]
            lidar = self._detector.encode_lidar(self._lidar_intake.accept(sample.lidar)[0])
            samples[f"{CAMERA}|{change}"] = [camera.epistemic for camera in cameras]
            samples[f"{LIDAR}|{change}"] = [lidar.epistemic]
            if change not in (USUAL, THING):
                continue
            places[f"{LIDAR}|{change}"] = doubts(self._detector.detect([], [lidar]), centres)
            places[f"{BOTH}|{change}"] = doubts(self._detector.detect(cameras, [lidar]), centres)
        content = {"seed": seed, "samples": samples, "places": places}
        archive.write_json(content, archive.json_path(self._folder, seed))
        return seed


def doubts(said: Detections, centres: Float) -> list[float]:
    """At each of (n, 3) places of base_link, the part of certainty that no class has there."""
    if not said.objects:
        return [1.0] * len(centres)
    found = np.array([thing.centre[:2] for thing in said.objects])
    sure = np.array([thing.class_probability for thing in said.objects])
    away = np.linalg.norm(centres[:, None, :2] - found, axis=2)
    return [float(value) for value in 1.0 - np.where(away < REACH_M, sure, 0.0).max(axis=1)]


def run_unfamiliar(
    model: str, protocol: Protocol, out: Path, *, count: int, split: str = "test",
    processes: int = 2,
) -> list[Record]:  # fmt: skip
    """Looks at the first scenes of a split; what is already in `out` is not looked at again.

    Raises:
        ModelError: the model cannot be used.
        ConfigError: the split has fewer scenes.
        ValueError: the folder holds records of another model, protocol or code.
    """
    seeds = list(protocol.chosen_seeds(split, count))
    folder = out / SEEDS
    make = partial(UnfamiliarExaminer, model, protocol, folder)
    make_missing(
        make,
        seeds,
        folder,
        archive.json_path,
        fingerprint(ModelFolder.open(model), protocol),
        processes,
    )
    return [
        Record(**json.loads(archive.json_path(folder, seed).read_text("utf-8"))) for seed in seeds
    ]


def fingerprint(folder: ModelFolder, protocol: Protocol) -> dict[str, Any]:
    """What the records depend on beside the seed."""
    return {
        "protocol": protocol.digest,
        "model": dict(folder.manifest.files),
        "calibration": dict(folder.manifest.calibration),
        "code": code_digest(*CODE_OF_CONDITIONS, "evaluation/unfamiliar.py"),
    }


def score(records: Sequence[Record], protocol: Protocol) -> dict[str, Estimate]:
    """AUROC of each question, with the bootstrap over scenes."""
    rule = protocol.bootstrap
    drawn = draws(len(records), rule.replicates, rule.seed)
    result = {}
    for question, (sensor, change) in QUESTIONS.items():
        of = [record.places if change == THING else record.samples for record in records]
        usual, strange = (
            [values.get(f"{sensor}|{key}", []) for values in of] for key in (USUAL, change)
        )
        result[question] = told_apart(usual, strange, drawn)
    return result


def told_apart(
    usual: Sequence[Sequence[float]], strange: Sequence[Sequence[float]], drawn: Index
) -> Estimate:
    """AUROC of the values of what is strange against those of what is usual.

    Args:
        usual, strange: scene by scene.
        drawn: (B, scenes) from `draws`.
    """
    (low, of_low), (high, of_high) = _joined(usual), _joined(strange)
    replicates = [area(low, high, row[of_low], row[of_high]) for row in drawn]
    return Estimate(area(low, high), np.array(replicates), len(usual))


def _joined(values: Sequence[Sequence[float]]) -> tuple[Float, Index]:
    """All values, and the scene that each is of."""
    scene = np.repeat(np.arange(len(values)), [len(each) for each in values])
    return np.array([value for each in values for value in each], np.float64), scene


def text(result: Mapping[str, Estimate], protocol: Protocol, title: str) -> str:
    """As plain text, with the bar."""
    least = protocol.unfamiliar.least
    lines = [title, "", f"AUROC of what training never showed against what it did, bar {least:g}"]
    for question, estimate in result.items():
        verdict = "reached" if estimate.value >= least else "NOT reached"
        lines.append(f"  {question:<32}{estimate!s:>24}  {verdict}")
    return "\n".join(lines)


def plain_unfamiliar(result: Mapping[str, Estimate], protocol: Protocol) -> dict[str, Any]:
    """As plain values, for JSON."""
    return {
        "least": protocol.unfamiliar.least,
        "auroc": {question: plain(estimate) for question, estimate in result.items()},
    }
