"""A pipeline that answers by the clock, for tests of the node around it."""

from __future__ import annotations

import threading
import time
from collections import Counter

import numpy as np

from mm_fusion_ros.config import FusionConfig
from mm_fusion_ros.outputs import (
    ActionTarget,
    FusedObject,
    FusedOutput,
    HoldReason,
    Intent,
    PoseEstimate,
    Reason,
    Reliability,
)
from mm_fusion_ros.ros.assembly import Assembly
from mm_fusion_ros.samples import Modality, Sample

PERIOD_NS = 100_000_000


class ScriptedPipeline:
    """Ticks with the lidar or every 100 ms, and lists the sources heard within half a second.

    Args:
        config: names the sources.
        inference_s: how long a tick blocks, as a network would [s].
    """

    def __init__(self, config: FusionConfig, inference_s: float = 0.0) -> None:
        self.config = config
        self.samples: list[Sample] = []
        self.rejected: Counter[tuple[str, str]] = Counter()
        self._inference_s = inference_s
        self._last: dict[str, Sample] = {}
        self._deadline_ns: int | None = None
        self._anchored = False
        self._now_ns = 0

    def push(self, sample: Sample, now_ns: int, *, ahead: bool = True) -> None:
        if now_ns < self._now_ns - PERIOD_NS:
            self._last.clear()
            self._deadline_ns = None
        self._now_ns = now_ns
        self.samples.append(sample)
        self._last[sample.source] = sample
        if sample.source == self.config.sync.anchor:
            self._deadline_ns, self._anchored = now_ns, True
        elif self._deadline_ns is None:
            self._deadline_ns = now_ns + PERIOD_NS

    def next_deadline_ns(self) -> int | None:
        return self._deadline_ns

    def tick(self, now_ns: int) -> FusedOutput | None:
        time.sleep(self._inference_s)
        by_deadline, self._anchored = not self._anchored, False
        self._deadline_ns = now_ns + PERIOD_NS
        reliability = {}
        for source in self.config.sources:
            sample = self._last.get(source.name)
            fresh = sample is not None and now_ns - sample.stamp_ns < 500_000_000
            reliability[source.name] = Reliability(
                source.name, Modality(source.modality), float(fresh), float(fresh),
                Reason.OK if fresh else Reason.MISSING,
            )  # fmt: skip
        objects = (red_box(),) if reliability[self.config.sync.anchor].trust else ()
        pose = PoseEstimate(now_ns, np.eye(4), np.eye(4), np.eye(6), np.zeros(6))
        commanded = "command" in self._last and bool(objects)
        target = ActionTarget(
            go=commanded, intent=Intent.GO_TO if commanded else Intent.NONE,
            map_from_target=np.eye(4) if commanded else None, track_id=3 if commanded else -1,
            reason=None if commanded else HoldReason.NO_COMMAND,
            expires_ns=now_ns + 10 * PERIOD_NS if commanded else None,
        )  # fmt: skip
        return FusedOutput(now_ns, objects, reliability, pose, target, None, by_deadline)

    def reject(self, source: str, reason: str, detail: str = "") -> None:
        self.rejected[source, reason] += 1

    def counters(self) -> dict[str, dict[str, int]]:
        counters: dict[str, dict[str, int]] = {}
        for (source, reason), count in self.rejected.items():
            counters.setdefault(source, {})[reason] = count
        return counters


class Script:
    """Makes scripted pipelines, and says when one was made."""

    def __init__(self) -> None:
        self.made = threading.Event()
        self.pipeline: ScriptedPipeline

    def __call__(self, config: FusionConfig) -> Assembly:
        self.pipeline = ScriptedPipeline(config)
        self.made.set()
        return Assembly(self.pipeline)


def red_box() -> FusedObject:
    return FusedObject(
        track_id=3, class_name="box", class_probability=0.9, colour="red", colour_probability=0.8,
        centre=np.array([4.0, 0.0, 0.5]), size=np.ones(3), yaw=0.0, velocity=np.zeros(3),
        position_covariance=0.01 * np.eye(3),
    )  # fmt: skip
