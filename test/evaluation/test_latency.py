"""The benches' own arithmetic, with a made-up clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from mm_fusion_ros.config import FusionConfig
from mm_fusion_ros.evaluation.bench_samples import BenchSamples, load, save, standing
from mm_fusion_ros.evaluation.latency import (
    BEGIN_NS,
    SECOND_NS,
    Timing,
    bench_pipeline,
    bench_synchronizer,
    stream,
)
from mm_fusion_ros.outputs import ActionTarget, FusedOutput, Intent
from mm_fusion_ros.samples import CameraFrame, LidarScan, OdometrySample, Sample

MS = 1_000_000


@pytest.fixture
def samples() -> BenchSamples:
    """Three frames and one scan, as small as they come."""
    frames = tuple(
        CameraFrame(
            0, "camera_optical", "camera", np.full((2, 3, 3), k, np.uint8), np.eye(3), np.eye(4)
        )
        for k in range(3)
    )
    points = np.array([[1.0, 2, 3, 0.5]], np.float32)
    scans = (LidarScan(0, "lidar", "lidar", points, np.eye(4), np.array([7], np.int64)),)
    return BenchSamples(frames, scans)


class Clock:
    """Stands still unless work is done."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


class Working:
    """A pipeline whose pushes take 3 ms for a scan and whose ticks take 5 ms."""

    def __init__(self, clock: Clock, *, silent_after: int = 1_000_000) -> None:
        self.clock = clock
        self.waiting: list[int] = []
        self.left = silent_after

    def push(self, sample: Sample, now_ns: int) -> None:
        assert sample.stamp_ns == now_ns
        if isinstance(sample, LidarScan):
            self.clock.now_ns += 3 * MS
            self.waiting.append(sample.stamp_ns)

    def next_deadline_ns(self) -> int | None:
        return self.waiting[0] if self.waiting else None

    def tick(self, now_ns: int) -> FusedOutput | None:
        assert now_ns >= self.waiting[0]
        self.clock.now_ns += 5 * MS
        stamp_ns = self.waiting.pop(0)
        self.left -= 1
        if self.left < 0:
            return None
        return FusedOutput(stamp_ns, (), {}, None, ActionTarget(False, Intent.NONE), None, False)

    def counters(self) -> Mapping[str, Mapping[str, int]]:
        return {"lidar": {"accepted": 1}}


def test_durations_are_summed_up() -> None:
    timing = Timing.of([1 * MS, 2 * MS, 6 * MS])
    # The 99th percentile of three lies 0.98 of the way from the second to the third.
    assert (timing.median_ms, timing.max_ms, timing.count) == (2.0, 6.0, 3)
    assert timing.p99_ms == pytest.approx(2 + 0.98 * 4)
    assert np.isnan(Timing.of([]).median_ms)


def test_the_stream_has_every_sensor_at_its_rate_and_in_order(samples: BenchSamples) -> None:
    events = list(stream(samples, 2.0))
    stamps = [stamp_ns for stamp_ns, _ in events]
    assert stamps == sorted(stamps)
    assert stamps[0] == BEGIN_NS
    kinds = Counter(type(sample) for _, sample in events)
    # 1 kHz of bare instants beside 30, 10 and 30 Hz, for 2 s.
    assert kinds == {CameraFrame: 60, LidarScan: 20, OdometrySample: 60, type(None): 2000}
    for stamp_ns, sample in events:
        assert sample is None or sample.stamp_ns == stamp_ns


def test_latency_is_from_the_scan_given_to_the_objects_out(samples: BenchSamples) -> None:
    clock = Clock()
    figures = bench_pipeline(Working(clock), samples, seconds=2.0, clock_ns=clock)
    assert figures.latency == Timing(8.0, 8.0, 8.0, 20)  # 3 ms + 5 ms, each time
    assert (figures.sweeps, figures.answers) == (20, 20)
    # 20 sweeps of 8 ms in 2 s; the second of warm-up does not count.
    assert figures.load == pytest.approx(0.08)


def test_sweeps_without_an_answer_are_counted(samples: BenchSamples) -> None:
    clock = Clock()
    # 10 answers go to the warm-up, 5 more are given.
    figures = bench_pipeline(Working(clock, silent_after=15), samples, 2.0, clock)
    assert (figures.sweeps, figures.answers) == (20, 5)
    assert figures.latency.count == 5


def test_the_synchronizer_is_timed_once_for_each_sample() -> None:
    config = FusionConfig()
    clock = Clock()

    def ticking() -> int:
        clock.now_ns += 1000
        return clock.now_ns

    push, tick = bench_synchronizer(config.sources, config.sync, ticking, seconds=10.0)
    count = sum(int(10 * source.rate_hz) for source in config.sources)
    assert push == Timing(0.001, 0.001, 0.001, count)
    assert tick.count == count


def test_samples_survive_their_file(samples: BenchSamples, tmp_path: Path) -> None:
    save(samples, tmp_path / "samples.npz")
    back = load(tmp_path / "samples.npz")
    assert len(back.frames) == 3
    np.testing.assert_array_equal(back.frames[2].image, samples.frames[2].image)
    np.testing.assert_array_equal(back.scans[0].points, samples.scans[0].points)
    assert back.scans[0].time_offset_ns is not None
    assert back.scans[0].time_offset_ns.tolist() == [7]
    # Round and round: the fourth frame is the first again.
    assert back.frame(3, 55).image[0, 0, 0] == 0
    assert back.frame(3, 55).stamp_ns == 55


def test_a_standing_robot_does_not_move() -> None:
    sample = standing(3 * SECOND_NS)
    assert not sample.twist.any()
    np.testing.assert_array_equal(sample.odom_from_base, np.eye(4))
