"""Watches the node on steady time: `/diagnostics`, one log line per cause, and the watchdog."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.node import Node

from mm_fusion_ros.outputs import FusedOutput
from mm_fusion_ros.ros import qos
from mm_fusion_ros.ros.diagnostics import CauseLog, Health
from mm_fusion_ros.ros.worker import Snapshot

REPORT_S = 1.0
NO_CLOCK_S = 3.0
LIBRARY = "mm_fusion_ros"


@dataclass(frozen=True)
class Status:
    """What the node can say of itself since the last report.

    Attributes:
        arrivals: messages that came, by source.
        snapshot: of the pipeline.
    """

    arrivals: dict[str, int] = field(default_factory=dict)
    snapshot: Snapshot = field(default_factory=Snapshot)


class CauseHandler(logging.Handler):
    """Takes what the library logs, so that a fault in every message makes one line, not a flood."""

    def __init__(self, note: Callable[[str, str, str], None]) -> None:
        super().__init__(logging.WARNING)
        self._note = note

    def emit(self, record: logging.LogRecord) -> None:
        """Notes the record as a cause; an exception's trace is its detail."""
        trace = (
            "" if record.exc_info is None else "".join(traceback.format_exception(*record.exc_info))
        )
        self._note(record.name, record.getMessage(), trace)


class Monitor:
    """Timers on steady time, so that it works whatever ROS time does.

    Args:
        node: publisher and timers are made on it.
        watchdog_s: silence after which the answer is withdrawn [s].
        status: asked once a report.
        withdraw: called once when the silence begins.
    """

    def __init__(
        self,
        node: Node,
        watchdog_s: float,
        *,
        status: Callable[[], Status],
        withdraw: Callable[[], None],
    ) -> None:
        self._node = node
        self._watchdog_s = watchdog_s
        self._status = status
        self._withdraw = withdraw
        self._causes = CauseLog(node.get_logger().warning)
        self._health = Health(node.get_name(), node.get_fully_qualified_name())
        self._active = False
        self._alarm = ""
        self._born_s = self._answered_s = self._reported_s = time.monotonic()
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", qos.reliable())
        self._handler = CauseHandler(self.note)
        logging.getLogger(LIBRARY).addHandler(self._handler)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        node.create_timer(REPORT_S, self._report, clock=steady)
        node.create_timer(watchdog_s / 4, self._watch, clock=steady)

    def close(self) -> None:
        """Takes the library's log no longer."""
        logging.getLogger(LIBRARY).removeHandler(self._handler)

    def activate(self) -> None:
        """From now on answers are expected."""
        self._answered_s = time.monotonic()
        self._alarm = ""
        self._active = True

    def deactivate(self) -> None:
        """From now on none are."""
        self._active = False
        self._alarm = ""

    def alarm(self, why: str) -> None:
        """Shows an error in the diagnostics until the node is activated."""
        self._alarm = why
        self._node.get_logger().error(why)

    def answered(self, output: FusedOutput, latency_ns: int | None) -> None:
        """Takes an answer; from any thread."""
        self._answered_s = time.monotonic()
        self._health.observe(output, latency_ns)

    def note(self, source: str, reason: str, detail: str) -> None:
        """Logs a cause, once; from any thread."""
        if self._living():
            self._causes.note(source, reason, detail, time.monotonic())

    def failed(self, where: str, error: Exception) -> None:
        """Logs an exception with its trace, once for each cause; from any thread."""
        # At the end of the process publishers close under the worker's hands.
        if self._living() and self._causes.note(where, "exception", repr(error), time.monotonic()):
            trace = traceback.format_exception(type(error), error, error.__traceback__)
            self._node.get_logger().error("".join(trace))

    def _watch(self) -> None:
        if not self._active or not self._living():
            return
        now_s = time.monotonic()
        if self._now_ns() == 0 and now_s - self._born_s > NO_CLOCK_S:
            self.note("clock", "missing", "use_sim_time is true and nothing is on /clock")
        silent_s = now_s - self._answered_s
        if silent_s < self._watchdog_s:
            self._alarm = ""
        elif not self._alarm:
            self._alarm = "no answer: no sensor is heard, or the clock stands still"
            self.note("fusion", "watchdog", f"no answer for {silent_s:.1f} s; HOLD")
            self._withdraw()

    def _report(self) -> None:
        if not self._living():
            return
        now_s = time.monotonic()
        status = self._status()
        self._causes.follow(status.snapshot.counters, now_s)
        self._publisher.publish(
            self._health.report(
                self._now_ns(),
                now_s - self._reported_s,
                arrivals=status.arrivals,
                counters=status.snapshot.counters,
                stages=status.snapshot.stages,
                alarm=self._alarm,
            )
        )
        self._reported_s = now_s

    def _living(self) -> bool:
        return bool(rclpy.ok(context=self._node.context))

    def _now_ns(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)
