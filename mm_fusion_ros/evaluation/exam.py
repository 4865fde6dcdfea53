"""Runs the exam: generated scenes through the detector, in parallel, and again where it left off.

    scene of a seed -> prepared images and scan -> features -> one answer for each subset of sensors

Every scene's record is one line of a file, so an interrupted run loses at most the scenes under
way. A record depends on the seed, the protocol and the model alone; order and number of processes
change nothing.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import cv2
from rich.progress import track

from mm_fusion_ros.allocation import keep_freed_memory
from mm_fusion_ros.config import CameraConfig, LidarConfig, PerceptionConfig
from mm_fusion_ros.evaluation.protocol import Protocol
from mm_fusion_ros.evaluation.records import (
    Findings,
    Truths,
    findings_of,
    from_plain,
    to_plain,
    truths_of,
)
from mm_fusion_ros.evaluation.scoring import BOTH, CAMERA, LIDAR, SUBSETS, SceneRecord
from mm_fusion_ros.inference.model_folder import ModelFolder
from mm_fusion_ros.perception.detector import Detector
from mm_fusion_ros.sensors.camera import CameraIntake
from mm_fusion_ros.sensors.lidar import LidarIntake

RECORDS = "scenes.jsonl"
CODE_OF_RECORDS = ("sim", "sensors", "perception", "inference")
FILES_OF_RECORDS = (
    "config.py", "geometry.py", "outputs.py", "samples.py", "evaluation/exam.py",
    "evaluation/records.py",
)  # fmt: skip
Examine = Callable[[int], SceneRecord]
Asked = TypeVar("Asked")
T = TypeVar("T")
_examine: Callable[[Any], Any] | None = None


@dataclass
class Stages:
    """Durations of one scene, by stage.

    Attributes:
        milliseconds: stage to its durations [ms].
    """

    milliseconds: dict[str, list[float]] = field(default_factory=dict)

    def timed(self, stage: str, work: Callable[..., Any], *arguments: Any) -> Any:
        """Runs the work and keeps how long it took."""
        began = time.perf_counter_ns()
        result = work(*arguments)
        self.milliseconds.setdefault(stage, []).append((time.perf_counter_ns() - began) / 1e6)
        return result


class Examiner:
    """Examines one model, scene by scene."""

    def __init__(self, model: str, protocol: Protocol, subsets: Sequence[str]) -> None:
        """Loads the model, with one thread: the scenes themselves are what runs in parallel.

        Raises:
            ModelError, BackendError: the model cannot be used.
        """
        self._protocol = protocol
        self._subsets = tuple(subsets)
        self._detector = exam_detector(model, protocol)
        self._camera_intake = CameraIntake(CameraConfig())
        self._lidar_intake = LidarIntake(LidarConfig())

    def __call__(self, seed: int) -> SceneRecord:
        """The record of one scene."""
        # Only here, so that reading records needs no ray caster.
        from mm_fusion_ros.sim.drive import scene

        stages = Stages()
        make = partial(scene, seed, image_size=self._protocol.image_size)
        sample = stages.timed("simulate", make)
        cameras, lidars = [], []
        for frame in sample.cameras:
            prepared, _ = stages.timed("prepare camera", self._camera_intake.accept, frame)
            cameras.append(
                stages.timed("encode camera", self._detector.encode_camera, prepared, frame.source)
            )
        scan, _ = stages.timed("prepare lidar", self._lidar_intake.accept, sample.lidar)
        lidars.append(
            stages.timed("encode lidar", self._detector.encode_lidar, scan, sample.lidar.source)
        )
        evidence = {BOTH: (cameras, lidars), LIDAR: ([], lidars), CAMERA: (cameras, [])}
        found = {}
        for subset in self._subsets:
            answer = stages.timed(f"detect ({subset})", self._detector.detect, *evidence[subset])
            found[subset] = findings_of(answer.objects, sample.cameras)
        return SceneRecord(
            seed, truths_of(sample.labels, sample.cameras), found, stages.milliseconds
        )


def exam_detector(model: str, protocol: Protocol) -> Detector:
    """The model as it is examined, with one thread: scenes are what runs in parallel.

    Raises:
        ModelError, BackendError: the model cannot be used.
    """
    config = PerceptionConfig(
        model=model,
        threads=1,
        score_threshold=protocol.min_probability,
        max_objects=protocol.max_objects,
    )
    return Detector(ModelFolder.open(model), config)


def run_clean(
    model: str,
    protocol: Protocol,
    out: Path,
    *,
    count: int,
    split: str = "test",
    subsets: Sequence[str] = SUBSETS,
    processes: int = 2,
    make_examiner: Callable[[], Examine] | None = None,
) -> list[SceneRecord]:
    """Examines a model on the clean scenes of a split.

    Args:
        model: folder; empty takes the weights that ship.
        protocol: what is asked.
        out: folder for the records; those already in it are not made again.
        count: how many scenes, from the split's first on.
        split: "test", or "validation" while a model is still being chosen.
        subsets: of `SUBSETS`.
        processes: how many scenes at once.
        make_examiner: called once in each process; None takes `Examiner`.

    Returns:
        The records in the order of their seeds.

    Raises:
        ModelError: the model cannot be used.
        ConfigError: the split has fewer scenes.
        ValueError: the folder holds records of another model, protocol or code.
    """
    seeds = protocol.chosen_seeds(split, count)
    if make_examiner is None:
        fingerprint = fingerprint_of(ModelFolder.open(model), protocol, subsets)
        make_examiner = partial(Examiner, model, protocol, subsets)
    else:
        fingerprint = {"protocol": protocol.digest, "subsets": list(subsets)}
    out.mkdir(parents=True, exist_ok=True)
    path = out / RECORDS
    done = {record.seed: record for record in read_records(path, fingerprint)}
    wanted = [seed for seed in seeds if seed not in done]
    if wanted:
        with path.open("a", encoding="utf-8") as stream:
            for record in examined(make_examiner, wanted, processes):
                stream.write(json.dumps(plain_record(record)) + "\n")
                stream.flush()
                done[record.seed] = record
    return [done[seed] for seed in seeds]


def examined(
    make_examiner: Callable[[], Callable[[Asked], T]], asked: Sequence[Asked], processes: int,
    what: str = "scenes",
) -> Iterator[T]:  # fmt: skip
    """Records as they get done, in the order asked, with a progress bar that says of `what`."""
    if processes <= 1:
        examine = make_examiner()
        yield from track(map(examine, asked), description=what, total=len(asked))
        return
    # Spawned and not forked: a fork copies the ray caster's and the runtime's locks mid-use.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, _begin, (make_examiner,)) as pool:
        try:
            work = pool.map(_run, asked, chunksize=1)
            yield from track(work, description=what, total=len(asked))
        finally:
            pool.shutdown(cancel_futures=True)


def _begin(make_examiner: Callable[[], Callable[[Any], Any]]) -> None:
    """Prepares a process for `_run`."""
    global _examine  # noqa: PLW0603 - one examiner for each process is the point
    cv2.setNumThreads(1)
    keep_freed_memory()
    _examine = make_examiner()


def _run(asked: Any) -> Any:
    """One scene, in a process that `_begin` prepared."""
    assert _examine is not None
    return _examine(asked)


def fingerprint_of(
    folder: ModelFolder, protocol: Protocol, subsets: Sequence[str]
) -> dict[str, Any]:
    """What records depend on beside the seed: with another, they cannot be continued."""
    return {
        "protocol": protocol.digest,
        "model": dict(folder.manifest.files),
        "calibration": dict(folder.manifest.calibration),
        "subsets": list(subsets),
        "code": code_digest(),
    }


def code_digest(*more: str) -> str:
    """SHA-256 of the code that makes records: simulator, intake, network, decoding.

    Args:
        more: further rooms and files of the package that belong to it.
    """
    return digest_of_code((*CODE_OF_RECORDS, *FILES_OF_RECORDS, *more))


def digest_of_code(names: Sequence[str]) -> str:
    """SHA-256 of rooms and files of the package."""
    package = Path(__file__).resolve().parents[1]
    files: list[Path] = []
    for name in names:
        place = package / name
        files += [place] if name.endswith(".py") else sorted(place.rglob("*.py"))
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def read_records(path: Path, fingerprint: dict[str, Any]) -> list[SceneRecord]:
    """The records of a file, which is begun if it is not there.

    A last line cut short, by a kill or a full disk, is dropped.

    Raises:
        ValueError: the records are of another model, protocol or code.
    """
    head = json.dumps(fingerprint, sort_keys=True)
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    lines = text.split("\n")
    whole, cut = lines[:-1], lines[-1]
    if not whole:
        path.write_text(head + "\n", encoding="utf-8")
        return []
    if whole[0] != head:
        raise ValueError(
            f"{path} holds scenes of another model, protocol, code or set of sensors; "
            "name another folder with --out, or remove that file"
        )
    if cut:
        path.write_text("\n".join(whole) + "\n", encoding="utf-8")
    return [record_of(json.loads(line)) for line in whole[1:]]


def plain_record(record: SceneRecord) -> dict[str, Any]:
    """The record as plain values, for JSON."""
    return {
        "seed": record.seed,
        "truths": to_plain(record.truths),
        "found": {subset: to_plain(found) for subset, found in record.found.items()},
        "milliseconds": {stage: list(values) for stage, values in record.milliseconds.items()},
    }


def record_of(content: dict[str, Any]) -> SceneRecord:
    """The record of `plain_record`, bit for bit."""
    return SceneRecord(
        content["seed"],
        from_plain(Truths, content["truths"]),
        {subset: from_plain(Findings, found) for subset, found in content["found"].items()},
        content["milliseconds"],
    )
