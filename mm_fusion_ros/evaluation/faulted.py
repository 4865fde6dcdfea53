"""Runs the exam under faults: each scene once, each of its samples made worse in every way.

    scene of a seed -> for each condition: struck samples -> features -> answers of the sensors

What a fault does not strike is not worked out anew. Every scene's record is a file of its own, so
an interrupted run loses at most the scenes under way.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from mm_fusion_ros.config import CameraConfig, LidarConfig
from mm_fusion_ros.evaluation import archive
from mm_fusion_ros.evaluation.archive import FaultedRecord
from mm_fusion_ros.evaluation.conditions import CLEAN, Condition, conditions_of
from mm_fusion_ros.evaluation.exam import code_digest, exam_detector, examined
from mm_fusion_ros.evaluation.protocol import Protocol
from mm_fusion_ros.evaluation.records import Findings, findings_of, truths_of
from mm_fusion_ros.evaluation.scoring import BOTH, CAMERA, LIDAR
from mm_fusion_ros.evaluation.sensing import SensedScene
from mm_fusion_ros.evaluation.watching import watched
from mm_fusion_ros.faults.timing import Frozen
from mm_fusion_ros.inference.model_folder import ModelFolder
from mm_fusion_ros.perception.agreement import agreement, turned_image
from mm_fusion_ros.perception.features import CameraFeature, LidarFeature
from mm_fusion_ros.reliability.alignment import AS_MOUNTED, Agreement
from mm_fusion_ros.reliability.gate import Gate
from mm_fusion_ros.samples import CameraFrame, LidarScan, Modality
from mm_fusion_ros.sensors.camera import CameraIntake
from mm_fusion_ros.sensors.lidar import LidarIntake
from mm_fusion_ros.sensors.rejection import Rejected

SCENES, FINGERPRINT = "scenes", "fingerprint.json"
S = TypeVar("S", CameraFrame, LidarScan)
P = TypeVar("P")
CODE_OF_CONDITIONS = (
    "faults", "reliability", "evaluation/watching.py", "evaluation/conditions.py",
    "evaluation/faulted.py", "evaluation/sensing.py", "evaluation/archive.py",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Seen:
    """One encoded sample, and what its intake said of its quality."""

    feature: CameraFeature | LidarFeature
    quality: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Watched:
    """All encoded samples of one scene; None where a sensor gave nothing that can be used."""

    cameras: Sequence[Seen | None]
    lidars: Sequence[Seen | None]

    @cached_property
    def agreement(self) -> dict[str, Agreement]:
        """By camera, how well it agrees with the lidar, where that can be told."""
        result = {}
        for seen in self.cameras:
            for scanned in self.lidars[:1]:
                if seen is None or scanned is None:
                    continue
                assert isinstance(seen.feature, CameraFeature)
                assert isinstance(scanned.feature, LidarFeature)
                value = agreement(seen.feature, scanned.feature)
                if value is not None:
                    result[seen.feature.source] = value
        return result

    @property
    def epistemic(self) -> dict[str, float]:
        """By source, how unfamiliar its sample is."""
        there = [seen for seen in (*self.cameras, *self.lidars) if seen is not None]
        return {seen.feature.source: seen.feature.epistemic for seen in there}

    def quality(self) -> dict[str, Mapping[str, float]]:
        """By source."""
        return {
            seen.feature.source: seen.quality
            for seen in (*self.cameras, *self.lidars)
            if seen is not None
        }


class FaultedExaminer:
    """Examines one model, scene by scene, under every condition; writes each scene's record."""

    def __init__(
        self, model: str, protocol: Protocol, folder: Path,
        conditions: Sequence[Condition] | None = None,
    ) -> None:  # fmt: skip
        """Loads the model; without conditions those of the protocol hold.

        Raises:
            ModelError, BackendError: the model cannot be used.
        """
        self._protocol = protocol
        self._folder = folder
        self._conditions = conditions_of(protocol) if conditions is None else conditions
        self._detector = exam_detector(model, protocol)
        self._camera_intake = CameraIntake(CameraConfig())
        self._lidar_intake = LidarIntake(LidarConfig())

    def __call__(self, seed: int) -> int:
        """Examines one scene; returns its seed."""
        scene = SensedScene(seed, self._protocol)
        clean = Watched([self._camera(frame) for frame in scene.frames], [self._lidar(scene.scan)])
        answers: dict[str, dict[str, Findings]] = {}
        trust: dict[str, float] = {}
        for condition in self._conditions:
            struck = clean
            sensed = scene.under(condition)
            if condition.modality is Modality.LIDAR:
                struck = replace(clean, lidars=[self._lidar(sensed.scan)])
            elif condition != CLEAN:
                struck = replace(clean, cameras=[self._camera(frame) for frame in sensed.frames])
            gate, now_ns = self._gate(condition, clean, struck)
            seeing = struck.quality().keys()
            weight = {name: gate.trust(name, now_ns) for name in gate.believed(seeing, now_ns)}
            turn = {name: gate.turn(name, now_ns) for name in struck.agreement}
            answers[condition.name] = self._answers(
                condition, clean, struck, weight, turn, gate.apart(turn, now_ns), scene.frames
            )
            trust |= self._trust(condition, gate, now_ns, scene)
        truths = truths_of(scene.labels, scene.frames)
        archive.write(FaultedRecord(seed, truths, answers, trust), self._folder)
        return seed

    def _answers(
        self,
        condition: Condition,
        clean: Watched,
        struck: Watched,
        weight: Mapping[str, float],
        turn: Mapping[str, tuple[float, float]],
        apart: Collection[str],
        frames: Sequence[CameraFrame],
    ) -> dict[str, Findings]:
        """What all sensors say together, and each kind alone that was struck.

        Args:
            condition: that holds.
            clean, struck: what the sensors gave without it and give now.
            weight: trust in each source that has a say.
            turn: how each camera has to be turned to agree with the lidar.
            apart: cameras that do not.
            frames: of the clean scene.
        """
        cameras = [seen.feature for seen in struck.cameras if seen is not None]
        lidars = [seen.feature for seen in struck.lidars if seen is not None]
        result = {
            BOTH: self._detect(
                [self._turned(each, turn) for each in cameras if each.source in weight],
                [lidar for lidar in lidars if lidar.source in weight],
                frames,
                weight,
                apart,
            )
        }
        if struck.cameras is not clean.cameras or condition == CLEAN:
            result[CAMERA] = self._detect(cameras, [], frames)
        if struck.lidars is not clean.lidars or condition == CLEAN:
            result[LIDAR] = self._detect([], lidars, frames)
        return result

    def _turned(self, camera: Any, turn: Mapping[str, tuple[float, float]]) -> Any:
        """The camera's feature as the pipeline would have encoded it, once that was known."""
        image = turned_image(camera.image, turn.get(camera.source, AS_MOUNTED))
        if image is camera.image:
            return camera
        return self._detector.encode_camera(image, camera.source)

    def _trust(
        self, condition: Condition, gate: Gate, now_ns: int, scene: SensedScene
    ) -> dict[str, float]:
        """The mean trust in the sensors that were struck; of the clean scene, in either kind."""
        names = {CAMERA: [frame.source for frame in scene.frames], LIDAR: [scene.scan.source]}
        if condition == CLEAN:
            asked = {f"{condition.name}{archive.SEPARATOR}{kind}": of for kind, of in names.items()}
        else:
            asked = {condition.name: names[condition.modality.value]}
        return {
            key: float(np.mean([gate.trust(name, now_ns) for name in of]))
            for key, of in asked.items()
        }

    def _gate(self, condition: Condition, clean: Watched, struck: Watched) -> tuple[Gate, int]:
        before, after = clean.quality(), struck.quality()
        kinds = {seen.feature.source: CAMERA for seen in clean.cameras if seen is not None}
        kinds |= {seen.feature.source: LIDAR for seen in clean.lidars if seen is not None}
        changed = {} if struck is clean else {n: after.get(n) for n in self._changed(clean, struck)}
        frozen = condition.kind == Frozen.name
        agreement, epistemic = (
            (getattr(clean, name), getattr(struck, name)) for name in ("agreement", "epistemic")
        )
        return watched(before, changed, kinds, frozen, agreement, epistemic)

    @staticmethod
    def _changed(clean: Watched, struck: Watched) -> list[str]:
        pairs = [(clean.cameras, struck.cameras), (clean.lidars, struck.lidars)]
        return [
            seen.feature.source
            for before, after in pairs
            if before is not after
            for seen in before
            if seen is not None
        ]

    def _camera(self, frame: CameraFrame | None) -> Seen | None:
        return encoded(frame, self._camera_intake.accept, self._detector.encode_camera)

    def _lidar(self, scan: LidarScan | None) -> Seen | None:
        return encoded(scan, self._lidar_intake.accept, self._detector.encode_lidar)

    def _detect(
        self, cameras: Sequence[Any], lidars: Sequence[Any], frames: Sequence[CameraFrame],
        weight: Mapping[str, float] | None = None, apart: Collection[str] = (),
    ) -> Findings:  # fmt: skip
        said = self._detector.detect(cameras, lidars, trust=weight, apart=apart)
        return findings_of(said.objects, frames)


def encoded(
    sample: S | None,
    accept: Callable[[S], tuple[P, Mapping[str, float]]],
    encode: Callable[[P, str], CameraFeature | LidarFeature],
) -> Seen | None:
    """The sample as the network takes it; None where nothing came or the intake refuses it."""
    if sample is None:
        return None
    try:
        prepared, quality = accept(sample)
    except Rejected:
        return None
    return Seen(encode(prepared, sample.source), quality)


def run_faulted(
    model: str,
    protocol: Protocol,
    out: Path,
    *,
    count: int,
    split: str = "test",
    processes: int = 2,
    conditions: Sequence[Condition] | None = None,
) -> list[int]:
    """Examines a model under every condition; scenes already in `out` are not made again.

    Args:
        model: folder; empty takes the weights that ship.
        protocol: what is asked.
        out: folder for the records.
        count: how many scenes, from the split's first on.
        split: "test", or "validation" while a model is still being chosen.
        processes: how many scenes at once.
        conditions: the clean one first; None takes all of the protocol's.

    Returns:
        the seeds; `archive.read` gives their records.

    Raises:
        ModelError: the model cannot be used.
        ConfigError: the split has fewer scenes.
        ValueError: the folder holds records of another model, protocol or code.
    """
    seeds = list(protocol.chosen_seeds(split, count))
    folder = out / SCENES
    asked = {} if conditions is None else {"conditions": [each.name for each in conditions]}
    fingerprint = faulted_fingerprint(ModelFolder.open(model), protocol) | asked
    make = partial(FaultedExaminer, model, protocol, folder, conditions)
    make_missing(make, seeds, folder, archive.path_of, fingerprint, processes)
    return seeds


def make_missing(
    make_examiner: Callable[[], Callable[[int], int]], seeds: Sequence[int], folder: Path,
    path_of: Callable[[Path, int], Path], fingerprint: dict[str, Any], processes: int,
) -> None:  # fmt: skip
    """Examines the seeds whose records are not there yet; each writes a file of its own.

    Args:
        make_examiner: called once in each process.
        seeds: all that are wanted.
        folder: for the records; the fingerprint lies beside it.
        path_of: where in it the record of a seed is kept.
        fingerprint: what the records depend on beside the seed.
        processes: how many at once.

    Raises:
        ValueError: the records are of another fingerprint.
    """
    folder.mkdir(parents=True, exist_ok=True)
    check_fingerprint(folder.parent / FINGERPRINT, fingerprint)
    wanted = [seed for seed in seeds if not path_of(folder, seed).exists()]
    if wanted:
        for _ in examined(make_examiner, wanted, processes):
            pass


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
