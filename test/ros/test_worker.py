"""The worker by its `step`, with clocks that the tests turn themselves."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from mm_fusion_ros.outputs import ActionTarget, FusedOutput, Intent
from mm_fusion_ros.ros.worker import Arrival, Pending, Worker
from mm_fusion_ros.samples import Command, Sample
from mm_fusion_ros.sensors.rejection import Rejected

MS = 1_000_000


class Clocks:
    """ROS time and steady time, which move only when told."""

    def __init__(self) -> None:
        self.ros_ns = 10_000 * MS
        self.steady_ns = 500 * MS

    def advance(self, milliseconds: int) -> None:
        self.ros_ns += milliseconds * MS
        self.steady_ns += milliseconds * MS


class FakePipeline:
    """Ticks 100 ms after the last tick, and at once when the lidar comes."""

    def __init__(self) -> None:
        self.pushed: list[Sample] = []
        self.ahead: list[bool] = []
        self.rejected: list[tuple[str, str]] = []
        self.deadline_ns: int | None = None
        self.anchored = False
        self.fail = False

    def push(self, sample: Sample, now_ns: int, *, ahead: bool = True) -> None:
        self.pushed.append(sample)
        self.ahead.append(ahead)
        if sample.source == "lidar":
            self.deadline_ns = now_ns
            self.anchored = True

    def next_deadline_ns(self) -> int | None:
        return self.deadline_ns

    def tick(self, now_ns: int) -> FusedOutput | None:
        if self.fail:
            self.deadline_ns = now_ns + 100 * MS
            raise RuntimeError("the network broke")
        by_deadline, self.anchored = not self.anchored, False
        self.deadline_ns = now_ns + 100 * MS
        target = ActionTarget(go=False, intent=Intent.NONE)
        return FusedOutput(now_ns, (), {}, None, target, None, by_deadline)

    def reject(self, source: str, reason: str, detail: str = "") -> None:
        self.rejected.append((source, reason))

    def counters(self) -> dict[str, dict[str, int]]:
        return {"lidar": {"stamp": len(self.rejected)}}


class Bench:
    """A worker with everything about it in reach."""

    def __init__(self, convert: Callable[[Arrival, bool], Sample | None] | None = None) -> None:
        self.clocks = Clocks()
        self.pipeline = FakePipeline()
        self.outputs: list[tuple[FusedOutput, int | None]] = []
        self.errors: list[tuple[str, Exception]] = []
        self.rejects: list[tuple[str, str, str]] = []
        self.worker = Worker(
            self.pipeline,
            convert or (lambda arrival, patient: as_command(arrival)),
            lambda output, latency: self.outputs.append((output, latency)),
            ros_ns=lambda: self.clocks.ros_ns,
            steady_ns=lambda: self.clocks.steady_ns,
            on_reject=lambda *what: self.rejects.append(what),
            on_error=lambda where, error: self.errors.append((where, error)),
            anchor="lidar",
            depth={"camera": 2, "lidar": 2},
            patience_ns=200 * MS,
        )


def as_command(arrival: Arrival) -> Command:
    return Command(arrival.stamp_ns, "", arrival.source, str(arrival.message))


def texts(bench: Bench) -> list[str]:
    return [sample.text for sample in bench.pipeline.pushed if isinstance(sample, Command)]


def test_messages_are_pushed_in_the_order_in_which_they_came() -> None:
    bench = Bench()
    for source, text in [("camera", "a"), ("lidar", "b"), ("camera", "c")]:
        bench.worker.offer(source, text)
    bench.worker.step()
    assert texts(bench) == ["a", "b", "c"]


def test_nothing_is_begun_for_an_instant_that_will_be_passed_over() -> None:
    bench = Bench()
    for source in ["camera", "lidar", "lidar", "camera"]:
        bench.worker.offer(source, "a")
    bench.worker.step()
    # The second scan makes the tick; the first and the image before it are late already.
    assert bench.pipeline.ahead == [False, False, True, True]
    bench.worker.offer("camera", "b")
    bench.worker.offer("lidar", "b")
    bench.worker.step()
    assert bench.pipeline.ahead[4:] == [True, True]


def test_a_full_queue_keeps_the_latest_and_counts_the_rest() -> None:
    bench = Bench()
    for text in ["1", "2", "3", "4", "5"]:
        bench.worker.offer("camera", text)
    bench.worker.offer("gps", "6")
    bench.worker.step()
    # The depth is 2: of five camera messages the first three make room; gps is not touched.
    assert texts(bench) == ["4", "5", "6"]
    assert bench.pipeline.rejected == [("camera", "overflow")] * 3


def test_small_messages_are_kept_where_heavy_ones_give_way() -> None:
    bench = Bench()
    for number in range(100):
        bench.worker.offer("odom", number)
    bench.worker.step()
    assert len(texts(bench)) == 100
    assert bench.pipeline.rejected == []


def test_the_anchor_ticks_at_once_and_latency_counts_from_its_arrival() -> None:
    bench = Bench()
    bench.worker.offer("lidar", "scan")
    bench.clocks.steady_ns += 7 * MS
    bench.worker.step()
    ((output, latency_ns),) = bench.outputs
    assert not output.by_deadline
    assert latency_ns == 7 * MS


def test_a_tick_by_deadline_comes_without_the_anchor_and_has_no_latency() -> None:
    bench = Bench()
    bench.worker.offer("lidar", "scan")
    bench.worker.step()
    bench.clocks.advance(99)
    bench.worker.step()
    assert len(bench.outputs) == 1
    bench.clocks.advance(1)
    bench.worker.step()
    assert [latency for _, latency in bench.outputs] == [0, None]


def test_the_wait_reaches_to_the_deadline_and_no_farther_than_a_look_at_the_clock() -> None:
    bench = Bench()
    assert bench.worker.step() == 0.05  # nothing is due
    bench.worker.offer("lidar", "scan")
    assert bench.worker.step() == 0.05  # due in 100 ms
    bench.clocks.advance(90)
    assert abs(bench.worker.step() - 0.010) < 1e-9
    bench.pipeline.deadline_ns = bench.clocks.ros_ns - 1
    bench.pipeline.tick = lambda now_ns: None  # type: ignore[method-assign]
    assert bench.worker.step() == 0.001  # a pipeline that does not tick makes no busy loop


def test_a_late_transform_is_waited_for_without_holding_up_the_others() -> None:
    known = False

    def convert(arrival: Arrival, patient: bool) -> Sample:
        if arrival.source == "camera" and not known:
            assert patient
            raise Pending("no transform yet")
        return as_command(arrival)

    bench = Bench(convert)
    bench.worker.offer("camera", "image")
    bench.worker.offer("gps", "fix")
    bench.worker.step()
    assert texts(bench) == ["fix"]
    known = True
    bench.clocks.advance(50)
    bench.worker.step()
    assert texts(bench) == ["fix", "image"]
    assert bench.pipeline.rejected == []


def test_a_transform_that_never_comes_rejects_at_once_after_the_first_wait() -> None:
    def convert(arrival: Arrival, patient: bool) -> Sample:
        if patient:
            raise Pending("no transform yet")
        raise Rejected("transform", "no transform from 'cam' to 'base_link'")

    bench = Bench(convert)
    for _ in range(10):  # 33 ms apart: patience of 200 ms ends between the 7th and the 8th
        bench.worker.offer("camera", "image")
        bench.worker.step()
        bench.clocks.advance(33)
    bench.worker.step()
    reasons = [reason for _, reason in bench.pipeline.rejected]
    # Six give way to a later one while waiting. At 231 ms the 7th and the 8th run out together,
    # and the 9th and 10th do not wait.
    assert reasons == ["waiting"] * 6 + ["transform"] * 4


def test_a_bad_message_is_counted_with_its_reason_and_the_next_is_taken() -> None:
    def convert(arrival: Arrival, patient: bool) -> Sample:
        if arrival.message == "bad":
            raise Rejected("encoding", "step is 3, expected 6")
        return as_command(arrival)

    bench = Bench(convert)
    bench.worker.offer("camera", "bad")
    bench.worker.offer("camera", "good")
    bench.worker.step()
    assert bench.rejects == [("camera", "encoding", "step is 3, expected 6")]
    assert texts(bench) == ["good"]


def test_an_exception_in_one_sensors_path_leaves_the_others_working() -> None:
    def convert(arrival: Arrival, patient: bool) -> Sample:
        if arrival.source == "camera":
            raise ZeroDivisionError("bug")
        return as_command(arrival)

    bench = Bench(convert)
    bench.worker.offer("camera", "image")
    bench.worker.offer("lidar", "scan")
    bench.worker.step()
    assert bench.pipeline.rejected == [("camera", "exception")]
    assert [where for where, _ in bench.errors] == ["camera"]
    assert len(bench.outputs) == 1


def test_a_tick_that_fails_is_reported_and_the_next_one_answers() -> None:
    bench = Bench()
    bench.pipeline.fail = True
    bench.worker.offer("lidar", "scan")
    bench.worker.step()
    assert [where for where, _ in bench.errors] == ["tick"]
    bench.pipeline.fail = False
    bench.clocks.advance(100)
    bench.worker.step()
    assert len(bench.outputs) == 1


def test_the_counters_that_others_read_are_a_copy() -> None:
    bench = Bench()
    bench.worker.step()
    first = bench.worker.snapshot().counters
    bench.pipeline.reject("lidar", "stamp")
    bench.clocks.advance(300)
    bench.worker.step()
    assert first == {"lidar": {"stamp": 0}}
    assert bench.worker.snapshot().counters == {"lidar": {"stamp": 1}}


def test_the_thread_ends_when_told_and_wakes_for_a_message() -> None:
    pushed = threading.Event()
    bench = Bench()

    def convert(arrival: Arrival, patient: bool) -> Any:
        pushed.set()
        return as_command(arrival)

    bench.worker._convert = convert
    bench.worker.start()
    bench.worker.offer("lidar", np.zeros(3))
    assert pushed.wait(2.0)
    assert bench.worker.stop()
