"""How fast the gate reacts: a robot drives, a fault sets in and ends, and trust is watched.

    frames of a drive -> figures of each sample -> for each fault: the gate, with struck figures for
    as long as the fault holds -> trust, and share of what is fused with it, frame by frame

What is not struck is encoded once. Every sequence's record is a file of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mm_fusion_ros.config import CameraConfig, LidarConfig, ReliabilityConfig, SourceConfig
from mm_fusion_ros.evaluation import archive
from mm_fusion_ros.evaluation.bootstrap import Estimate, draws, mean_estimate
from mm_fusion_ros.evaluation.conditions import Condition, conditions_of, moved
from mm_fusion_ros.evaluation.exam import code_digest, exam_detector
from mm_fusion_ros.evaluation.faulted import (
    CODE_OF_CONDITIONS,
    Seen,
    Watched,
    encoded,
    make_missing,
)
from mm_fusion_ros.evaluation.protocol import Protocol
from mm_fusion_ros.evaluation.records import Index
from mm_fusion_ros.evaluation.scoring import CAMERA, LIDAR
from mm_fusion_ros.inference.model_folder import ModelFolder
from mm_fusion_ros.perception.features import PlacedCameras
from mm_fusion_ros.reliability.gate import Gate
from mm_fusion_ros.samples import CameraFrame, LidarScan, Modality
from mm_fusion_ros.sensors.camera import CameraIntake
from mm_fusion_ros.sensors.lidar import LidarIntake

SEQUENCES = "sequences"
# Nothing has to be noticed about what does not come; a time offset is no fault of one sensor.
NOT_ASKED = frozenset({"absent"})
GROUPS = (CAMERA, LIDAR)
Frames = Sequence[Watched]
Placed = dict[Seen, PlacedCameras]


@dataclass(frozen=True, eq=False)
class Traces:
    """Trust and share in one sequence, frame by frame.

    Attributes:
        clean: "camera" and "lidar" to (frames,) trust without any fault.
        struck: condition's name to (frames,) trust in the sensor that it strikes.
        clean_share, struck_share: the same of its share in the objects.
    """

    seed: int
    clean: Mapping[str, Sequence[float]]
    struck: Mapping[str, Sequence[float]]
    clean_share: Mapping[str, Sequence[float]]
    struck_share: Mapping[str, Sequence[float]]


@dataclass(frozen=True, eq=False)
class Reaction:
    """How the gate takes one kind of fault.

    Attributes:
        notice, recover: frames until trust is down, and until it is back, at the protocol's
            quantile of the sequences; infinite where it never is.
        noticed, recovered: part of the sequences that are within the bars.
        trace: (frames,) mean trust; clean: the same without the fault.
        share, clean_share: (frames,) mean share in the objects, with and without it.
        cost: what part of its accuracy the fault costs the sensor; NaN where that is not known.
    """

    condition: Condition
    notice: float
    recover: float
    noticed: Estimate
    recovered: Estimate
    trace: Sequence[float]
    clean: Sequence[float]
    share: Sequence[float]
    clean_share: Sequence[float]
    cost: float = float("nan")


@dataclass(frozen=True, eq=False)
class Reactions:
    """The whole part of the exam.

    Attributes:
        faults: the slowest first.
        asked: those of them that the bars hold for.
        false_alarms: "camera" and "lidar" to the part of the clean frames that are false alarms.
    """

    sequences: int
    faults: Sequence[Reaction]
    asked: Sequence[Reaction]
    false_alarms: Mapping[str, Estimate]


def conditions(protocol: Protocol) -> list[Condition]:
    """What strikes: each kind of camera and lidar fault at the protocol's severity."""
    severity = protocol.reactions.severity
    return [
        each for each in conditions_of(protocol)
        if each.group in GROUPS and each.kind not in NOT_ASKED
        and (each.severity == severity or ":" not in each.name)
    ]  # fmt: skip


class SequenceExaminer:
    """Drives through the scene of a seed; writes trust in each sensor, and its share."""

    def __init__(self, model: str, protocol: Protocol, folder: Path) -> None:
        """Loads the model.

        Raises:
            ModelError, BackendError: the model cannot be used.
        """
        self._protocol = protocol
        self._folder = folder
        self._detector = exam_detector(model, protocol)
        self._camera_intake = CameraIntake(CameraConfig())
        self._lidar_intake = LidarIntake(LidarConfig())

    def __call__(self, seed: int) -> int:
        """Examines one sequence; returns its seed."""
        from mm_fusion_ros.sim.drive import sequence

        rule, motion = self._protocol.reactions, self._protocol.motion
        before_s = [(rule.frames - 1 - k) * rule.period_s for k in range(rule.frames)]
        arcs = [(-t, moved(t, motion)) for t in before_s]
        samples = list(sequence(seed, arcs, image_size=self._protocol.image_size))
        frames = [
            Watched([self._camera(each.cameras[0])], [self._lidar(each.lidar)]) for each in samples
        ]
        names = {CAMERA: samples[0].cameras[0].source, LIDAR: samples[0].lidar.source}
        placed: Placed = {}
        clean, clean_share = self._watch(frames, names, placed)
        struck: dict[str, list[float]] = {}
        struck_share: dict[str, list[float]] = {}
        for condition in conditions(self._protocol):
            fault = condition.fault(seed, names[condition.group])
            worse = list(frames)
            # Before it sets in it has already seen the frame that a frozen sensor then repeats.
            for k in range(rule.onset - 1, rule.end):
                sample: Any
                if condition.modality is Modality.CAMERA:
                    sample = samples[k].cameras[0]
                else:
                    sample = samples[k].lidar
                given = fault.apply(sample)
                if k >= rule.onset:
                    worse[k] = self._seen(condition, given[-1] if given else None, frames[k])
            trust, share = self._watch(worse, names, placed, fused_from=rule.onset)
            struck[condition.name] = trust[condition.group]
            before = clean_share[condition.group][: rule.onset]
            struck_share[condition.name] = before + share[condition.group]
        content = {
            "seed": seed, "clean": clean, "struck": struck, "clean_share": clean_share,
            "struck_share": struck_share,
        }  # fmt: skip
        archive.write_json(content, archive.json_path(self._folder, seed))
        return seed

    def _seen(self, condition: Condition, sample: Any, clean: Watched) -> Watched:
        if condition.modality is Modality.CAMERA:
            return Watched([self._camera(sample)], clean.lidars)
        return Watched(clean.cameras, [self._lidar(sample)])

    def _camera(self, frame: CameraFrame | None) -> Seen | None:
        return encoded(frame, self._camera_intake.accept, self._detector.encode_camera)

    def _lidar(self, scan: LidarScan | None) -> Seen | None:
        return encoded(scan, self._lidar_intake.accept, self._detector.encode_lidar)

    def _watch(
        self, frames: Frames, names: Mapping[str, str], placed: Placed, fused_from: int = 0
    ) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
        """Trust in camera and lidar by a gate that sees these, and their shares, frame by frame.

        Args:
            frames: of the sequence.
            names: "camera" and "lidar" to the source.
            placed: what was put on the grid already; what is now is added.
            fused_from: the first frame that is fused, and that has a share.
        """
        rule = self._protocol.reactions
        rate_hz = 1.0 / rule.period_s
        gate = Gate(
            [SourceConfig(name, kind, rate_hz=rate_hz) for kind, name in names.items()],
            ReliabilityConfig(),
        )
        trust: dict[str, list[float]] = {kind: [] for kind in names}
        share: dict[str, list[float]] = {kind: [] for kind in names}
        for index, frame in enumerate(frames, start=1):
            now_ns = round(index * rule.period_s * 1e9)
            there = frame.quality()
            for name in names.values():
                if name in there:
                    gate.observe(name, now_ns, there[name], moving=True)
                    gate.note_epistemic(name, frame.epistemic[name])
                else:
                    gate.reject(name)
            camera, lidar = names[CAMERA], names[LIDAR]
            if camera in frame.agreement and gate.is_comparable(camera, lidar, now_ns):
                gate.note_alignment(camera, frame.agreement[camera], now_ns)
            for kind, name in names.items():
                trust[kind].append(gate.trust(name, now_ns))
            if index > fused_from:
                believed = {n: gate.trust(n, now_ns) for n in gate.believed(there, now_ns)}
                taken = self._shares(frame, believed, placed)
                for kind, name in names.items():
                    share[kind].append(taken.get(name, 0.0))
        return trust, share

    def _shares(
        self, frame: Watched, believed: Mapping[str, float], placed: Placed
    ) -> Mapping[str, float]:
        """By source, its part in the objects of this frame."""
        cameras, lidars = (
            [seen for seen in of_kind if seen is not None and seen.feature.source in believed]
            for of_kind in (frame.cameras, frame.lidars)
        )
        features: Any = [seen.feature for seen in cameras]
        if cameras and cameras[0] not in placed:
            placed[cameras[0]] = self._detector.place(features)
        on_grid = placed[cameras[0]] if cameras else None
        scans: Any = [seen.feature for seen in lidars]
        return self._detector.detect(features, scans, on_grid, believed).share


def read(folder: Path, seed: int) -> Traces:
    """Reads what `SequenceExaminer` wrote."""
    return Traces(**json.loads(archive.json_path(folder, seed).read_text(encoding="utf-8")))


def run_sequences(
    model: str, protocol: Protocol, out: Path, *, count: int, split: str = "test",
    processes: int = 2,
) -> list[Traces]:  # fmt: skip
    """Drives through the first scenes of a split; sequences already in `out` are not made again.

    Raises:
        ModelError: the model cannot be used.
        ConfigError: the split has fewer scenes.
        ValueError: the folder holds records of another model, protocol or code.
    """
    seeds = list(protocol.chosen_seeds(split, count))
    folder = out / SEQUENCES
    make = partial(SequenceExaminer, model, protocol, folder)
    depends_on = fingerprint(ModelFolder.open(model), protocol)
    make_missing(make, seeds, folder, archive.json_path, depends_on, processes)
    return [read(folder, seed) for seed in seeds]


def fingerprint(folder: ModelFolder, protocol: Protocol) -> dict[str, Any]:
    """What the records depend on beside the seed."""
    return {
        "protocol": protocol.digest,
        "model": dict(folder.manifest.files),
        "calibration": dict(folder.manifest.calibration),
        "code": code_digest(*CODE_OF_CONDITIONS, "evaluation/reactions.py"),
    }


def frames_until(trust: Sequence[float], level: Sequence[float], first: int, up: bool) -> float:
    """Frames from `first` on, itself counted, until trust passes a level; infinite if never.

    Args:
        trust, level: (frames,).
        first: index.
        up: whether trust is to be at least the level, else at most.
    """
    for index in range(first, len(trust)):
        if trust[index] >= level[index] if up else trust[index] <= level[index]:
            return float(index - first + 1)
    return float("inf")


def score(
    traces: Sequence[Traces], protocol: Protocol, costs: Mapping[str, float | None] | None = None
) -> Reactions:
    """The figures of this part.

    Args:
        traces: of each sequence.
        protocol: the bars.
        costs: condition's name to what it costs its sensor, None where that is not known; without
            any, the bars hold for all faults.
    """
    rule = protocol.reactions
    drawn = draws(len(traces), protocol.bootstrap.replicates, protocol.bootstrap.seed)
    which = np.arange(len(traces))
    faults = []
    for condition in conditions(protocol):
        kind = condition.group
        notice, recover = [], []
        for trace in traces:
            trust, clean = trace.struck[condition.name], trace.clean[kind]
            low = [rule.half * float(np.median(clean))] * rule.frames
            notice.append(frames_until(trust[: rule.end], low, rule.onset, up=False))
            back = [rule.back * value for value in clean]
            recover.append(frames_until(trust, back, rule.end, up=True))
        faults.append(
            Reaction(
                condition,
                float(np.quantile(notice, rule.quantile, method="higher")),
                float(np.quantile(recover, rule.quantile, method="higher")),
                _part_within(notice, rule.notice, drawn),
                _part_within(recover, rule.recover, drawn),
                np.mean([trace.struck[condition.name] for trace in traces], axis=0).tolist(),
                np.mean([trace.clean[kind] for trace in traces], axis=0).tolist(),
                np.mean([trace.struck_share[condition.name] for trace in traces], axis=0).tolist(),
                np.mean([trace.clean_share[kind] for trace in traces], axis=0).tolist(),
                float(known if (known := (costs or {}).get(condition.name)) is not None else "nan"),
            )
        )
    faults.sort(key=lambda each: (each.noticed.value, -each.notice, each.recovered.value))
    asked = [each for each in faults if costs is None or each.cost >= rule.cost]
    alarms = {}
    for kind in GROUPS:
        every = np.array([trace.clean[kind] for trace in traces])
        alarm = every < rule.half * np.median(every, axis=1, keepdims=True)
        sequence = np.repeat(which, every.shape[1])
        alarms[kind] = mean_estimate(1.0 * alarm.ravel(), sequence, drawn)
    return Reactions(len(traces), faults, asked, alarms)


def _part_within(frames: Sequence[float], bar: int, drawn: Index) -> Estimate:
    """Of the sequences, those that took at most so many frames."""
    within = (np.array(frames) <= bar).astype(np.float64)
    return mean_estimate(within, np.arange(len(frames)), drawn)


def text(result: Reactions, protocol: Protocol, title: str) -> str:
    """The whole as plain text, the slowest faults first."""
    rule = protocol.reactions
    part, count = f"in {rule.quantile:.0%} of the sequences", len(result.asked)
    quick = sum(each.notice <= rule.notice for each in result.asked)
    back = sum(each.recover <= rule.recover for each in result.asked)
    lines = [title, ""]
    lines.append(f"noticed within {rule.notice} frames {part}: {quick} of {count} faults")
    lines.append(f"recovered within {rule.recover} frames {part}: {back} of {count} faults")
    for kind, value in result.false_alarms.items():
        verdict = "reached" if value.value <= rule.false_alarms else "NOT reached"
        lines.append(f"false alarms, {kind} = {value!s}, bar {rule.false_alarms:g}: {verdict}")
    heads = f"{'fault':28}{'frames to half':>16}{'back':>8}{'noticed in time':>26}"
    lines += ["", heads + f"{'back in time':>26}{'costs':>8}"]
    lines += [
        f"{each.condition.name:28}{each.notice:16.0f}{each.recover:8.0f}{each.noticed!s:>26}"
        f"{each.recovered!s:>26}{each.cost:8.2f}" + ("" if each in result.asked else "  not asked")
        for each in result.faults
    ]
    return "\n".join(lines)
