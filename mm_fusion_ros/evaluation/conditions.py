"""The cells of the exam under faults: which fault, how badly, and what it strikes."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from mm_fusion_ros.evaluation.matching import ground_distance
from mm_fusion_ros.evaluation.protocol import MotionRule, Protocol
from mm_fusion_ros.evaluation.records import Findings, Truths
from mm_fusion_ros.faults.held_out import Lag
from mm_fusion_ros.faults.injection import kinds
from mm_fusion_ros.faults.lidar import FieldOfView
from mm_fusion_ros.faults.timing import Frozen
from mm_fusion_ros.geometry import inverse, planar
from mm_fusion_ros.samples import Float, Modality, Sample

CLEAN_NAME = "clean"
S = TypeVar("S", bound=Sample)


@dataclass(frozen=True)
class Condition:
    """One cell.

    Attributes:
        group: "camera", "lidar", "both", or "clean".
        kind: of fault.
        severity: 1 to 5.
    """

    group: str
    kind: str = ""
    severity: int = 1

    @property
    def name(self) -> str:
        """As in "camera.fog:3"; kinds of one severity have no number; "clean"."""
        if not self.kind:
            return CLEAN_NAME
        levels = len(kinds(self.modality)[self.kind].levels)
        return f"{self.group}.{self.kind}" + (f":{self.severity}" if levels > 1 else "")

    @property
    def modality(self) -> Modality:
        """Whose samples are made worse; a fault between the two is one of the images' time."""
        return Modality.LIDAR if self.group == Modality.LIDAR.value else Modality.CAMERA

    def earlier_s(self, motion: MotionRule) -> float:
        """How old what the sensor shows is [s]; 0 where it is not."""
        if self.kind == Frozen.name:
            return motion.frozen_s
        if self.kind == Lag.name:
            return Lag.levels[self.severity - 1] / 1000.0
        return 0.0

    def fault(self, seed: int, source: str) -> Any:
        """The fault that strikes one source of the scene of a seed; it has seen nothing yet."""
        drawn = [seed, zlib.crc32(self.name.encode()), zlib.crc32(source.encode())]
        return kinds(self.modality)[self.kind](self.severity, drawn)

    def strike(
        self, sample: S, seed: int, motion: MotionRule, earlier: Callable[[float], S]
    ) -> S | None:
        """What the sensor gives instead of a sample.

        Args:
            sample: the clean one.
            seed: of the scene; each source of it is struck by a fault of its own.
            motion: how the robot moved.
            earlier: gives the sample of so many seconds before, with its own stamp.

        Returns:
            the worse sample, or None where nothing comes.
        """
        fault = self.fault(seed, sample.source)
        before_s = self.earlier_s(motion)
        history = [earlier(before_s)] if before_s > 0.0 else []
        given: list[S] = []
        for each in [*history, sample]:
            given = fault.apply(each)
        return given[-1] if given else None

    @property
    def sector_rad(self) -> float | None:
        """Half the sector about the x axis to which scoring is limited; None for all around."""
        if self.kind != FieldOfView.name:
            return None
        return float(np.radians(FieldOfView.levels[self.severity - 1] / 2.0))


CLEAN = Condition(CLEAN_NAME)


def conditions_of(protocol: Protocol) -> list[Condition]:
    """All cells, the clean one first.

    Raises:
        ValueError: the protocol names a fault that there is not, or more severities than it has.
    """
    found = [CLEAN]
    for group, of_group in protocol.faults.items():
        for kind, severities in of_group.items():
            condition = Condition(group, kind)
            known = kinds(condition.modality)
            if kind not in known:
                raise ValueError(f"{group} has no fault {kind!r}; there are {', '.join(known)}")
            if severities > len(known[kind].levels):
                raise ValueError(f"{group}.{kind} has {len(known[kind].levels)} severities")
            found += [Condition(group, kind, level) for level in range(1, severities + 1)]
    return found


def moved(before_s: float, motion: MotionRule) -> Float:
    """(4, 4), base_link so many seconds ago to base_link now, on the protocol's arc."""
    turn = motion.turn_radps * before_s
    if turn == 0.0:
        return planar(-motion.speed_mps * before_s, 0.0, 0.0)
    radius = motion.speed_mps / motion.turn_radps
    then_from_now = planar(radius * np.sin(turn), radius * (1.0 - np.cos(turn)), turn)
    return inverse(then_from_now)


def limited(
    truths: Truths, findings: Mapping[str, Findings], condition: Condition, radius_m: float
) -> tuple[Truths, dict[str, Findings]]:
    """Truth and answers as this condition scores them: a lidar is asked only where it looks.

    Args:
        radius_m: an answer so near to an object that is asked for is kept, wherever it fell.
    """
    half = condition.sector_rad
    if half is None:
        return truths, dict(findings)
    inside = np.abs(np.arctan2(truths.centre[:, 1], truths.centre[:, 0])) <= half
    asked = replace(truths, counts=truths.counts & inside)
    return asked, {n: _within(found, half, asked, radius_m) for n, found in findings.items()}


def _within(found: Findings, half: float, asked: Truths, radius_m: float) -> Findings:
    inside = np.abs(np.arctan2(found.centre[:, 1], found.centre[:, 0])) <= half
    near = ground_distance(found.centre, asked.centre[asked.counts]) < radius_m
    kept = inside | near.any(axis=1)
    return Findings(**{name: values[kept] for name, values in vars(found).items()})


def groups(conditions: Sequence[Condition]) -> dict[str, list[Condition]]:
    """The conditions of each group, the clean one left out."""
    result: dict[str, list[Condition]] = {}
    for condition in conditions:
        if condition.kind:
            result.setdefault(condition.group, []).append(condition)
    return result
