"""A pipeline small enough to reason about: it ticks on its anchor, or at a deadline without it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

from mm_fusion_ros import geometry
from mm_fusion_ros.config import FusionConfig
from mm_fusion_ros.localization.enu import LocalPlane
from mm_fusion_ros.outputs import (
    ActionTarget,
    FusedObject,
    FusedOutput,
    HoldReason,
    Intent,
    ObstacleGrid,
    PoseEstimate,
    Reason,
    Reliability,
)
from mm_fusion_ros.samples import Command, GpsFix, Modality, OdometrySample, Sample


def car(track_id: int = 1, x: float = 8.0, y: float = 1.0, probability: float = 0.8) -> FusedObject:
    """A white car ahead."""
    return FusedObject(
        track_id=track_id,
        class_name="car",
        class_probability=probability,
        colour="white",
        colour_probability=0.6,
        centre=np.array([x, y, 0.75]),
        size=np.array([4.2, 1.8, 1.5]),
        yaw=0.1,
        velocity=np.array([1.0, 0.0, 0.0]),
        position_covariance=np.diag([0.2, 0.1, 0.1]),
        support={"lidar": 1.0},
    )


class FakeFusion:
    """Ticks once for each sample of the anchor, or `DEADLINE_NS` after it should have come."""

    DEADLINE_NS = 40_000_000

    def __init__(self, config: FusionConfig) -> None:
        self.config = config
        self.plane: LocalPlane | None = None
        self.pushed: list[tuple[Sample, int]] = []
        self.ticked_at: list[int] = []
        self._period_ns = round(1e9 / config.source(config.sync.anchor).rate_hz)
        self._counts: dict[str, Counter[str]] = {}
        self._forget()

    def _forget(self) -> None:
        self._now_ns = 0
        self._due_ns: int | None = None
        self._last_tick_ns: int | None = None
        self._newest: dict[str, int] = {}
        self._pose: PoseEstimate | None = None
        self._text = ""

    def push(self, sample: Sample, now_ns: int) -> None:
        """Takes a sample in."""
        if now_ns < self._now_ns:
            self._forget()
        self._now_ns = now_ns
        self.pushed.append((sample, now_ns))
        self._counts.setdefault(sample.source, Counter())["accepted"] += 1
        self._newest[sample.source] = sample.stamp_ns
        if isinstance(sample, OdometrySample):
            self._pose = PoseEstimate(
                sample.stamp_ns, sample.odom_from_base, np.eye(4), np.eye(6) * 0.04, sample.twist
            )
        if isinstance(sample, GpsFix) and self.plane is None:
            self.plane = LocalPlane.about(sample)
        if isinstance(sample, Command):
            self._text = sample.text
        if sample.source == self.config.sync.anchor:
            self._due_ns = sample.stamp_ns

    def next_deadline_ns(self) -> int | None:
        """Now when the anchor came, else when it is given up."""
        if self._due_ns is not None:
            return self._due_ns
        if self._last_tick_ns is None:
            return None
        return self._last_tick_ns + self._period_ns + self.DEADLINE_NS

    def tick(self, now_ns: int) -> FusedOutput | None:
        """One car, and full trust in what came within half a second."""
        deadline_ns = self.next_deadline_ns()
        if deadline_ns is None or deadline_ns > now_ns:
            return None
        self.ticked_at.append(now_ns)
        by_deadline = self._due_ns is None
        stamp_ns = deadline_ns - self.DEADLINE_NS if by_deadline else deadline_ns
        self._due_ns = None
        self._last_tick_ns = stamp_ns
        return FusedOutput(
            stamp_ns=stamp_ns,
            objects=(car(),),
            reliability={
                source.name: self._judged(source.name, stamp_ns) for source in self.config.sources
            },
            pose=self._pose,
            target=self._target(),
            obstacles=ObstacleGrid(np.zeros((8, 8), np.int8), 1.0, np.array([-4.0, -4.0])),
            by_deadline=by_deadline,
        )

    def _judged(self, name: str, stamp_ns: int) -> Reliability:
        modality = Modality(self.config.source(name).modality)
        if name not in self._newest:
            return Reliability(name, modality, 0.0, 0.0, Reason.MISSING)
        age_ns = stamp_ns - self._newest[name]
        fresh = age_ns < 500_000_000
        return Reliability(
            name, modality, 1.0 if fresh else 0.2, 0.5, Reason.OK if fresh else Reason.STALE, age_ns
        )

    def _target(self) -> ActionTarget:
        if not self._text:
            return ActionTarget(go=False, intent=Intent.NONE)
        if self._pose is None:
            return ActionTarget(False, Intent.GO_TO, self._text, reason=HoldReason.UNRELIABLE)
        place = self._pose.map_from_base @ geometry.planar(5.0, 1.0, 0.0)
        return ActionTarget(True, Intent.GO_TO, self._text, place, 0.8, self._now_ns, None, 1)

    def reject(self, source: str, reason: str) -> None:
        """Counts."""
        self._counts.setdefault(source, Counter())[reason] += 1

    def counters(self) -> Mapping[str, Mapping[str, int]]:
        """All counts."""
        return self._counts
