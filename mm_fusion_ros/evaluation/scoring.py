"""All figures of an exam, from the records of its scenes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mm_fusion_ros.evaluation.average_precision import (
    MeanAveragePrecision,
    mean_average_precision,
)
from mm_fusion_ros.evaluation.bootstrap import Estimate, draws
from mm_fusion_ros.evaluation.metrics import (
    BoxErrors,
    Calibration,
    Offsets,
    box_errors,
    calibration,
    ellipse_coverage,
    errors_follow_sigmas,
    offsets,
)
from mm_fusion_ros.evaluation.protocol import Protocol
from mm_fusion_ros.evaluation.records import Findings, Index, Truths

BOTH, LIDAR, CAMERA = "both", "lidar", "camera"
SUBSETS = (BOTH, LIDAR, CAMERA)


@dataclass(frozen=True, eq=False)
class SceneRecord:
    """One scene's truth, the answer of each subset of sensors, and what each stage took.

    Attributes:
        seed: of the scene.
        found: subset to its answer.
        milliseconds: stage to the durations of its runs [ms].
    """

    seed: int
    truths: Truths
    found: Mapping[str, Findings]
    milliseconds: Mapping[str, Sequence[float]]


@dataclass(frozen=True, eq=False)
class SubsetScore:
    """One subset of sensors.

    Attributes:
        precision: figure's key in the protocol to its mean average precision.
        calibration: of the class probability.
        coverage: part of the 90 % ellipses that hold the true centre.
        follows: rank correlation of errors on sigmas, by deciles.
        boxes: errors of the answers that hit.
    """

    precision: Mapping[str, MeanAveragePrecision]
    calibration: Calibration
    coverage: Estimate
    follows: Estimate
    boxes: BoxErrors


@dataclass(frozen=True, eq=False)
class Bar:
    """One gain that must be reached.

    Attributes:
        over: the subset that is compared with.
        gain: of both over it in the primary figure, paired.
        least: what must be reached.
    """

    over: str
    gain: Estimate
    least: float

    @property
    def reached(self) -> bool:
        """Whether the figure itself reaches the bar."""
        return self.gain.value >= self.least


@dataclass(frozen=True, eq=False)
class Score:
    """The exam's clean table.

    Attributes:
        scenes: how many.
        asked: figure's key to the true objects that were asked for.
        subsets: by name.
        gains: figure's key to the gain of both over each other subset, paired.
        bars: of the primary figure.
        stages: stage to median and 99th percentile [ms] and count of its runs.
    """

    scenes: int
    asked: Mapping[str, int]
    subsets: Mapping[str, SubsetScore]
    gains: Mapping[str, Mapping[str, Estimate]]
    bars: Sequence[Bar]
    stages: Mapping[str, Mapping[str, float]]


def score(records: Sequence[SceneRecord], protocol: Protocol) -> Score:
    """Scores records; every subset shares the scenes and the bootstrap's draws.

    Args:
        records: one a scene, all with the same subsets.
        protocol: regions, radii, cut-offs.
    """
    rule = protocol.bootstrap
    drawn = draws(len(records), rule.replicates, rule.seed)
    truths = [record.truths for record in records]
    names = [name for name in SUBSETS if records and name in records[0].found]
    subsets = {}
    for name in names:
        found = [record.found[name] for record in records]
        placed = placed_by(protocol, truths, found, name)
        subsets[name] = SubsetScore(
            precision={
                key: mean_average_precision(
                    truths, found, drawn, region=protocol.regions[figure.region],
                    with_colour=figure.with_colour, rule=protocol.precision,
                )
                for key, figure in protocol.figures.items()
            },
            calibration=calibrated_by(protocol, truths, found, drawn),
            coverage=ellipse_coverage(placed, drawn),
            follows=errors_follow_sigmas(placed, drawn),
            boxes=box_errors(
                truths, found, drawn, region=protocol.regions[protocol.boxes.region],
                radius_m=protocol.boxes.radius_m,
                min_probability=protocol.boxes.min_probability,
            ),
        )  # fmt: skip
    gains = {
        key: {
            other: subsets[BOTH].precision[key].overall.minus(subsets[other].precision[key].overall)
            for other in names
            if other != BOTH and BOTH in subsets
        }
        for key in protocol.figures
    }
    return Score(
        scenes=len(records),
        asked={
            key: sum(
                int((truth.counts & protocol.regions[figure.region].contains(truth)).sum())
                for truth in truths
            )
            for key, figure in protocol.figures.items()
        },
        subsets=subsets,
        gains=gains,
        bars=[
            Bar(other, gains["primary"][other], least)
            for other, least in protocol.bars.items()
            if other in gains["primary"]
        ],
        stages=stage_figures(records),
    )


def calibrated_by(
    protocol: Protocol, truths: Sequence[Truths], found: Sequence[Findings], drawn: Index
) -> Calibration:
    """The class probability's calibration, as the protocol has it."""
    rule = protocol.calibration
    return calibration(
        truths, found, drawn, region=protocol.regions[rule.region], radius_m=rule.radius_m,
        min_probability=rule.min_probability, bins=rule.bins,
    )  # fmt: skip


def placed_by(
    protocol: Protocol, truths: Sequence[Truths], found: Sequence[Findings], subset: str
) -> Offsets:
    """How far a subset's answers are off their objects, assigned as the protocol has it."""
    rule = protocol.position
    return offsets(
        truths, found, region=protocol.regions[rule.region], min_probability=rule.min_probability,
        gate=gate_of(subset, protocol), by_bearing=subset == CAMERA,
    )  # fmt: skip


def gate_of(subset: str, protocol: Protocol) -> float:
    """How far an answer may be from its object: metres, or radians for a camera alone."""
    if subset == CAMERA:
        return float(np.deg2rad(protocol.position.bearing_gate_deg))
    return protocol.position.gate_m


def stage_figures(records: Sequence[SceneRecord]) -> dict[str, dict[str, float]]:
    """Median and 99th percentile of every stage [ms]."""
    durations: dict[str, list[float]] = {}
    for record in records:
        for stage, values in record.milliseconds.items():
            durations.setdefault(stage, []).extend(values)
    return {
        stage: {
            "median_ms": float(np.median(values)),
            "p99_ms": float(np.percentile(values, 99)),
            "count": float(len(values)),
        }
        for stage, values in durations.items()
        if values
    }
