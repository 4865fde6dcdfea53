"""Runs the exam under faults: each scene once, each of its samples made worse in every way.

    scene of a seed -> for each condition: struck samples -> features -> answers of the sensors

What a fault does not strike is not worked out anew. Every scene's record is a file of its own, so
an interrupted run loses at most the scenes under way.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from mm_fusion_ros.config import CameraConfig, LidarConfig, PerceptionConfig
from mm_fusion_ros.evaluation import archive
from mm_fusion_ros.evaluation.archive import FaultedRecord
from mm_fusion_ros.evaluation.conditions import CLEAN, LIDAR_GROUP, Condition, conditions_of, moved
from mm_fusion_ros.evaluation.exam import code_digest, examined
from mm_fusion_ros.evaluation.protocol import Protocol
from mm_fusion_ros.evaluation.records import Findings, findings_of, truths_of
from mm_fusion_ros.evaluation.scoring import BOTH, CAMERA, LIDAR
from mm_fusion_ros.inference.model_folder import ModelFolder
from mm_fusion_ros.perception.detector import CameraFeature, Detector, LidarFeature
from mm_fusion_ros.samples import CameraFrame, LidarScan
from mm_fusion_ros.sensors.camera import CameraIntake
from mm_fusion_ros.sensors.lidar import LidarIntake
from mm_fusion_ros.sensors.rejection import Rejected

SCENES, FINGERPRINT = "scenes", "fingerprint.json"
NS = 1_000_000_000
CODE_OF_CONDITIONS = (
    "faults", "evaluation/conditions.py", "evaluation/faulted.py", "evaluation/archive.py",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Sensed:
    """What all sensors of one scene gave.

    Attributes:
        frames: of the cameras.
        scan: of the lidar.
    """

    frames: tuple[CameraFrame, ...]
    scan: LidarScan


class FaultedExaminer:
    """Examines one model, scene by scene, under every condition; writes each scene's record."""

    def __init__(self, model: str, protocol: Protocol, folder: Path) -> None:
        """Loads the model, with one thread: the scenes themselves are what runs in parallel.

        Raises:
            ModelError, BackendError: the model cannot be used.
        """
        config = PerceptionConfig(
            model=model, threads=1, score_threshold=protocol.min_probability,
            max_objects=protocol.max_objects,
        )  # fmt: skip
        self._protocol = protocol
        self._folder = folder
        self._conditions = conditions_of(protocol)
        self._detector = Detector(ModelFolder.open(model), config)
        self._camera_intake = CameraIntake(CameraConfig())
        self._lidar_intake = LidarIntake(LidarConfig())

    def __call__(self, seed: int) -> int:
        """Examines one scene; returns its seed."""
        from mm_fusion_ros.sim.drive import scene

        sample = scene(seed, image_size=self._protocol.image_size)
        now = Sensed(sample.cameras, sample.lidar)
        before: dict[float, Sensed] = {}

        def earlier(seconds: float) -> Sensed:
            if seconds not in before:
                old = scene(
                    seed, image_size=self._protocol.image_size,
                    seen_from=moved(seconds, self._protocol.motion), seen_at_s=-seconds,
                )  # fmt: skip
                shift_ns = round(seconds * NS)
                before[seconds] = Sensed(
                    tuple(replace(f, stamp_ns=f.stamp_ns - shift_ns) for f in old.cameras),
                    replace(old.lidar, stamp_ns=old.lidar.stamp_ns - shift_ns),
                )
            return before[seconds]

        cameras = [self._camera(frame) for frame in now.frames]
        lidar = self._lidar(now.scan)
        answers: dict[str, dict[str, Findings]] = {}
        for condition in self._conditions:
            if condition is CLEAN:
                answers[condition.name] = {
                    BOTH: self._answer(cameras, [lidar], sample.cameras),
                    CAMERA: self._answer(cameras, [], sample.cameras),
                    LIDAR: self._answer([], [lidar], sample.cameras),
                }
            elif condition.group == LIDAR_GROUP:
                scan = condition.strike(
                    now.scan, seed, self._protocol.motion, lambda s: earlier(s).scan
                )
                struck = [self._lidar(scan)]
                answers[condition.name] = {
                    BOTH: self._answer(cameras, struck, sample.cameras),
                    LIDAR: self._answer([], struck, sample.cameras),
                }
            else:
                worse = [
                    self._camera(self._struck(condition, index, now, seed, earlier))
                    for index in range(len(now.frames))
                ]
                answers[condition.name] = {
                    BOTH: self._answer(worse, [lidar], sample.cameras),
                    CAMERA: self._answer(worse, [], sample.cameras),
                }
        truths = truths_of(sample.labels, sample.cameras)
        archive.write(FaultedRecord(seed, truths, answers), self._folder)
        return seed

    def _struck(
        self, condition: Condition, index: int, now: Sensed, seed: int, earlier: Any
    ) -> CameraFrame | None:
        return condition.strike(
            now.frames[index], seed, self._protocol.motion, lambda s: earlier(s).frames[index]
        )

    def _camera(self, frame: CameraFrame | None) -> CameraFeature | None:
        """Encoded; None where nothing came or the intake refuses it."""
        if frame is None:
            return None
        try:
            prepared, _ = self._camera_intake.accept(frame)
        except Rejected:
            return None
        return self._detector.encode_camera(prepared, frame.source)

    def _lidar(self, scan: LidarScan | None) -> LidarFeature | None:
        if scan is None:
            return None
        try:
            prepared, _ = self._lidar_intake.accept(scan)
        except Rejected:
            return None
        return self._detector.encode_lidar(prepared, scan.source)

    def _answer(
        self,
        cameras: Sequence[CameraFeature | None],
        lidars: Sequence[LidarFeature | None],
        frames: Sequence[CameraFrame],
    ) -> Findings:
        found = self._detector.detect(
            [camera for camera in cameras if camera is not None],
            [lidar for lidar in lidars if lidar is not None],
        )
        return findings_of(found.objects, frames)


def run_faulted(
    model: str,
    protocol: Protocol,
    out: Path,
    *,
    count: int,
    split: str = "test",
    processes: int = 2,
) -> list[int]:
    """Examines a model under every condition; scenes already in `out` are not made again.

    Args:
        model: folder; empty takes the weights that ship.
        protocol: what is asked.
        out: folder for the records.
        count: how many scenes, from the split's first on.
        split: "test", or "validation" while a model is still being chosen.
        processes: how many scenes at once.

    Returns:
        the seeds; `archive.read` gives their records.

    Raises:
        ModelError: the model cannot be used.
        ConfigError: the split has fewer scenes.
        ValueError: the folder holds records of another model, protocol or code.
    """
    seeds = list(protocol.chosen_seeds(split, count))
    folder = out / SCENES
    folder.mkdir(parents=True, exist_ok=True)
    check_fingerprint(out / FINGERPRINT, faulted_fingerprint(ModelFolder.open(model), protocol))
    wanted = [seed for seed in seeds if not archive.path_of(folder, seed).exists()]
    make: Any = partial(FaultedExaminer, model, protocol, folder)
    if wanted:
        for _ in examined(make, wanted, processes):
            pass
    return seeds


def faulted_fingerprint(folder: ModelFolder, protocol: Protocol) -> dict[str, Any]:
    """What the records depend on beside the seed."""
    return {
        "protocol": protocol.digest,
        "model": dict(folder.manifest.files),
        "calibration": dict(folder.manifest.calibration),
        "code": code_digest(*CODE_OF_CONDITIONS),
    }


def check_fingerprint(path: Path, fingerprint: dict[str, Any]) -> None:
    """Begins a folder of records, or makes sure that it may be continued.

    Raises:
        ValueError: it holds records of another model, protocol or code.
    """
    text = json.dumps(fingerprint, sort_keys=True)
    if not path.exists():
        path.write_text(text, encoding="utf-8")
    elif path.read_text(encoding="utf-8") != text:
        raise ValueError(
            f"{path.parent} holds scenes of another model, protocol or code; "
            "name another folder with --out, or remove it"
        )
