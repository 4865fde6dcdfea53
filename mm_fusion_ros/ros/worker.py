"""The one thread that owns the pipeline. Plain Python: no ROS here, and the clocks are passed in.

ROS callbacks `offer` a message and return. The thread takes what has come, converts it, pushes it,
ticks when the pipeline's deadline has passed, and hands the answer on. Queues are bounded, the
latest message wins, and every message lost on the way is counted with its reason.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from mm_fusion_ros.outputs import FusedOutput
from mm_fusion_ros.samples import Sample
from mm_fusion_ros.sensors.rejection import Rejected

# The longest the thread sleeps without looking at the clock again: ROS time may run faster than
# steady time, or stand still, so that no sleep can be computed from it alone.
LONGEST_WAIT_S = 0.05
SHORTEST_WAIT_S = 0.001
SNAPSHOT_NS = 250_000_000
# For what comes often, weighs little and loses meaning with every gap: odometry, IMU, fixes.
SMALL_DEPTH = 128


class Pending(Exception):
    """What a conversion needs (a transform, a `CameraInfo`) has not come yet; ask again soon."""


class Owned(Protocol):
    """What the worker needs of a pipeline."""

    def push(self, sample: Sample, now_ns: int, *, ahead: bool = True) -> None:
        """Takes one sample; `ahead` lets work on it begin at once."""

    def next_deadline_ns(self) -> int | None:
        """When the next tick is due."""

    def tick(self, now_ns: int) -> FusedOutput | None:
        """The answer of a tick, if one is due."""

    def reject(self, source: str, reason: str, detail: str = "") -> None:
        """Counts a message that never became a sample."""

    def counters(self) -> Mapping[str, Mapping[str, int]]:
        """Drops so far, by source and reason."""


@dataclass(frozen=True)
class Snapshot:
    """What others may read of the pipeline, copied by the thread that owns it.

    Attributes:
        counters: drops by source and reason, since the start.
        stages: figures of each stage, as `scheduling.Stopwatch.summary` gives them.
    """

    counters: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    stages: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Arrival:
    """One message as it came.

    Attributes:
        stamp_ns: ROS time at arrival [ns], for messages that carry no stamp.
        steady_ns: steady time at arrival [ns], for latency.
    """

    source: str
    message: Any
    stamp_ns: int
    steady_ns: int


class Worker:
    """Queues in front of a pipeline, and the thread behind them.

    Args:
        pipeline: touched by the worker's thread only.
        convert: makes a sample of an arrival. Its second argument is False once patience has run
            out; before that it may raise `Pending`. It raises `Rejected` for a bad message.
        on_output: takes each answer and its arrival-to-answer latency [ns], None for a tick by
            deadline.
        ros_ns: ROS time [ns]; may jump and may stand still.
        steady_ns: steady time [ns].
        on_reject: told of a message that is left out: source, reason, detail.
        on_error: told of an exception: where, and the exception.
        durations: figures of each stage; asked by the worker's thread.
        anchor: the source whose arrival makes a tick; latency counts from it.
        depth: messages kept for a source, by its name; for one that is not named `SMALL_DEPTH`.
        patience_ns: how long a message waits for what its conversion needs.
    """

    def __init__(
        self,
        pipeline: Owned,
        convert: Callable[[Arrival, bool], Sample | None],
        on_output: Callable[[FusedOutput, int | None], None],
        *,
        ros_ns: Callable[[], int],
        steady_ns: Callable[[], int],
        on_reject: Callable[[str, str, str], None],
        on_error: Callable[[str, Exception], None],
        durations: Callable[[], Mapping[str, Mapping[str, float]]] = dict,
        anchor: str = "lidar",
        depth: Mapping[str, int] | None = None,
        patience_ns: int = 200_000_000,
    ) -> None:
        self._pipeline = pipeline
        self._convert = convert
        self._on_output = on_output
        self._ros_ns = ros_ns
        self._steady_ns = steady_ns
        self._on_reject = on_reject
        self._on_error = on_error
        self._durations = durations
        self._anchor = anchor
        self._depth = dict(depth or {})
        self._patience_ns = patience_ns
        self._changed = threading.Condition()
        self._queue: deque[Arrival] = deque()
        self._queued: dict[str, int] = {}
        self._overflowed: list[str] = []
        self._woken = False
        self._stopping = False
        self._thread: threading.Thread | None = None
        # Below: the worker's thread only.
        self._parked: dict[str, Arrival] = {}
        self._waiting_since_ns: dict[str, int] = {}
        self._anchor_steady_ns: int | None = None
        self._snapshot_ns = 0
        self._snapshot = Snapshot()

    def offer(self, source: str, message: Any) -> None:
        """Enqueues a message and returns at once; from any thread."""
        arrival = Arrival(source, message, self._ros_ns(), self._steady_ns())
        with self._changed:
            if self._queued.get(source, 0) >= self._depth.get(source, SMALL_DEPTH):
                oldest = next(item for item in self._queue if item.source == source)
                self._queue.remove(oldest)
                self._overflowed.append(source)
            else:
                self._queued[source] = self._queued.get(source, 0) + 1
            self._queue.append(arrival)
            self._changed.notify()

    def wake(self) -> None:
        """Makes the thread look again: the clock moved, or a transform came; from any thread."""
        with self._changed:
            self._woken = True
            self._changed.notify()

    def start(self) -> None:
        """Starts the thread."""
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="pipeline", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 1.5) -> bool:
        """Ends the thread; False when it is still busy after `timeout_s` [s]."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def step(self) -> float:
        """One pass: convert and push all that has come, then tick if it is time.

        Returns:
            how long to wait before the next pass, unless something comes [s].
        """
        arrivals, overflowed = self._drain()
        for source in overflowed:
            self._reject(source, "overflow", "the queue was full; the latest wins")
        arrivals = self._retried() + arrivals
        # What came up to the last anchor but one is for an instant that will be passed over.
        anchors = [k for k, arrival in enumerate(arrivals) if arrival.source == self._anchor]
        passed = anchors[-2] if len(anchors) > 1 else -1
        for k, arrival in enumerate(arrivals):
            self._take(arrival, ahead=k > passed)
        self._tick()
        if self._steady_ns() - self._snapshot_ns >= SNAPSHOT_NS:
            self._snapshot_ns = self._steady_ns()
            counters = self._pipeline.counters()
            self._snapshot = Snapshot(
                {source: dict(reasons) for source, reasons in counters.items()}, self._durations()
            )
        return self._wait_s()

    def snapshot(self) -> Snapshot:
        """Counters and durations of a moment ago; from any thread."""
        return self._snapshot

    def _drain(self) -> tuple[list[Arrival], list[str]]:
        with self._changed:
            arrivals, overflowed = list(self._queue), self._overflowed
            self._queue.clear()
            self._queued.clear()
            self._overflowed = []
            self._woken = False
        return arrivals, overflowed

    def _retried(self) -> list[Arrival]:
        retried = sorted(self._parked.values(), key=lambda arrival: arrival.steady_ns)
        self._parked = {}
        return retried

    def _take(self, arrival: Arrival, *, ahead: bool) -> None:
        source = arrival.source
        now_ns = self._steady_ns()
        # Patience is the source's, not the message's: where a transform never comes, only the
        # first message waits, and those after it are refused at once with the true reason.
        patient = now_ns - self._waiting_since_ns.get(source, now_ns) < self._patience_ns
        try:
            sample = self._convert(arrival, patient)
            self._waiting_since_ns.pop(source, None)
            if sample is None:
                return
            if source == self._anchor:
                self._anchor_steady_ns = arrival.steady_ns
            self._pipeline.push(sample, self._ros_ns(), ahead=ahead)
        except Pending as pending:
            self._waiting_since_ns.setdefault(source, now_ns)
            if source in self._parked:
                self._reject(source, "waiting", str(pending))
            self._parked[source] = arrival
        except Rejected as rejected:
            self._reject(source, rejected.reason, rejected.detail)
        except Exception as error:  # noqa: BLE001 - one sensor's failure must not stop the others
            self._reject(source, "exception", repr(error))
            self._on_error(source, error)

    def _reject(self, source: str, reason: str, detail: str) -> None:
        self._pipeline.reject(source, reason, detail)
        self._on_reject(source, reason, detail)

    def _tick(self) -> None:
        now_ns = self._ros_ns()
        deadline_ns = self._pipeline.next_deadline_ns()
        if deadline_ns is None or now_ns < deadline_ns:
            return
        try:
            output = self._pipeline.tick(now_ns)
            if output is None:
                return
            latency_ns = None
            if not output.by_deadline and self._anchor_steady_ns is not None:
                latency_ns = self._steady_ns() - self._anchor_steady_ns
            self._on_output(output, latency_ns)
        except Exception as error:  # noqa: BLE001 - the next tick may succeed, the watchdog holds
            self._on_error("tick", error)

    def _wait_s(self) -> float:
        deadline_ns = self._pipeline.next_deadline_ns()
        if deadline_ns is None:
            return LONGEST_WAIT_S
        remaining_s = (deadline_ns - self._ros_ns()) / 1e9
        return min(max(remaining_s, SHORTEST_WAIT_S), LONGEST_WAIT_S)

    def _run(self) -> None:
        while True:
            wait_s = self.step()
            with self._changed:
                if not (self._queue or self._woken or self._stopping):
                    self._changed.wait(wait_s)
                if self._stopping:
                    return
