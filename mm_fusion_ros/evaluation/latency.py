"""How long the pipeline and the synchronizer take, in one process and without ROS.

Time in the streams is made up and runs as fast as the work is done; durations are measured with
the clock that is passed in.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from mm_fusion_ros.config import SourceConfig, SyncConfig
from mm_fusion_ros.evaluation.bench_samples import (
    CAMERA_HZ,
    LIDAR_HZ,
    ODOMETRY_HZ,
    BenchSamples,
    standing,
)
from mm_fusion_ros.outputs import FusedOutput
from mm_fusion_ros.samples import LidarScan, Sample
from mm_fusion_ros.sync.synchronizer import DeadlineSynchronizer

SECOND_NS = 1_000_000_000
# Any instant but 0, which means "no stamp".
BEGIN_NS = 1_000 * SECOND_NS
# Where in its period each sensor measures, so that no two come at once.
LIDAR_PHASE_NS, ODOMETRY_PHASE_NS = 20_000_000, 7_000_000


@dataclass(frozen=True)
class Timing:
    """Durations, summed up [ms]."""

    median_ms: float
    p99_ms: float
    max_ms: float
    count: int

    @classmethod
    def of(cls, durations_ns: Sequence[int]) -> Timing:
        """Sums up durations [ns]; of none, all figures are NaN."""
        if not durations_ns:
            return cls(float("nan"), float("nan"), float("nan"), 0)
        values = np.asarray(durations_ns, dtype=np.float64) / 1e6
        return cls(
            float(np.median(values)),
            float(np.percentile(values, 99)),
            float(values.max()),
            len(values),
        )


class Driven(Protocol):
    """What the bench needs of a pipeline."""

    def push(self, sample: Sample, now_ns: int) -> None:
        """Takes one sample."""

    def next_deadline_ns(self) -> int | None:
        """When the next tick is due."""

    def tick(self, now_ns: int) -> FusedOutput | None:
        """The answer of a tick, if one is due."""

    def counters(self) -> Mapping[str, Mapping[str, int]]:
        """Samples by source and fate."""


@dataclass(frozen=True)
class PipelineFigures:
    """The pipeline's speed.

    Attributes:
        latency: from the scan given to the objects out, the work alone.
        sweeps: scans given.
        answers: of those, how many had an answer.
        load: time worked over time of the streams; below 1 keeps up.
        counters: samples by source and fate.
    """

    latency: Timing
    sweeps: int
    answers: int
    load: float
    counters: Mapping[str, Mapping[str, int]]


def bench_pipeline(
    pipeline: Driven,
    samples: BenchSamples,
    seconds: float,
    clock_ns: Callable[[], int],
    warm_up: float = 1.0,
) -> PipelineFigures:
    """Drives a pipeline with a camera, a lidar and odometry.

    Args:
        pipeline: with its scheduler inline.
        samples: sent round and round.
        seconds: of stream time that count.
        clock_ns: steady time [ns].
        warm_up: seconds of stream time before, that do not.
    """
    latencies: list[int] = []
    asked_ns: dict[int, int] = {}
    sweeps = answers = worked_ns = 0
    counted_from_ns = BEGIN_NS + round(warm_up * SECOND_NS)
    for now_ns, sample in stream(samples, warm_up + seconds):
        began_ns = clock_ns()
        counts = now_ns >= counted_from_ns
        if isinstance(sample, LidarScan):
            asked_ns[now_ns] = began_ns
            sweeps += counts
        if sample is not None:
            pipeline.push(sample, now_ns)
        deadline_ns = pipeline.next_deadline_ns()
        while deadline_ns is not None and deadline_ns <= now_ns:
            output = pipeline.tick(now_ns)
            if output is not None and output.stamp_ns in asked_ns and counts:
                latencies.append(clock_ns() - asked_ns[output.stamp_ns])
                answers += output.stamp_ns >= counted_from_ns
            # A pipeline that leaves its deadline in the past has nothing more to give now.
            following_ns = pipeline.next_deadline_ns()
            deadline_ns = following_ns if following_ns != deadline_ns else None
        worked_ns += (clock_ns() - began_ns) if counts else 0
    return PipelineFigures(
        Timing.of(latencies), sweeps, answers, worked_ns / (seconds * SECOND_NS),
        pipeline.counters(),
    )  # fmt: skip


def stream(samples: BenchSamples, seconds: float) -> Iterator[tuple[int, Sample | None]]:
    """Samples in the order of their stamps, each arriving at its stamp [ns].

    Between them come bare instants, so that deadlines are met to the millisecond.
    """
    end_ns = BEGIN_NS + round(seconds * SECOND_NS)

    def every(hz: int, phase_ns: int, make: Callable[[int, int], Sample | None]) -> Iterator[Any]:
        index = 0
        while (stamp_ns := BEGIN_NS + phase_ns + index * SECOND_NS // hz) < end_ns:
            yield stamp_ns, make(index, stamp_ns)
            index += 1

    streams = (
        every(CAMERA_HZ, 0, samples.frame),
        every(LIDAR_HZ, LIDAR_PHASE_NS, samples.scan),
        every(ODOMETRY_HZ, ODOMETRY_PHASE_NS, lambda _, stamp_ns: standing(stamp_ns)),
        every(1000, 500_000, lambda _, __: None),
    )
    yield from heapq.merge(*streams, key=lambda item: item[0])


def bench_synchronizer(
    sources: Sequence[SourceConfig], config: SyncConfig, clock_ns: Callable[[], int],
    seconds: float = 60.0,
) -> tuple[Timing, Timing]:  # fmt: skip
    """Durations of the synchronizer's `push` and `tick`, all sources at their nominal rates.

    Args:
        sources: as configured.
        config: as configured.
        clock_ns: steady time [ns].
        seconds: of stream time.
    """
    synchronizer: DeadlineSynchronizer[None] = DeadlineSynchronizer(sources, config)
    events = sorted(
        (BEGIN_NS + round((k + 0.1 * row) * SECOND_NS / source.rate_hz), source.name)
        for row, source in enumerate(sources)
        for k in range(int(seconds * source.rate_hz))
    )
    pushes, ticks = [], []
    for stamp_ns, name in events:
        began_ns = clock_ns()
        synchronizer.push(name, stamp_ns, None, stamp_ns)
        pushed_ns = clock_ns()
        synchronizer.tick(stamp_ns)
        pushes.append(pushed_ns - began_ns)
        ticks.append(clock_ns() - pushed_ns)
    return Timing.of(pushes), Timing.of(ticks)
