"""Watches the node on steady time: `/diagnostics`, one log line per cause, and the watchdog."""

from __future__ import annotations

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
from mm_fusion_ros.ros.diagnostics import CauseLog, Counters, Health, Stages

REPORT_S = 1.0
NO_CLOCK_S = 3.0


@dataclass(frozen=True)
class Status:
    """What the node can say of itself since the last report.

    Attributes:
        arrivals: messages that came, by source.
        counters: drops by source and reason, since the start.
        stages: durations of late [ms], by stage.
    """

    arrivals: dict[str, int] = field(default_factory=dict)
    counters: Counters = field(default_factory=dict)
    stages: Stages = field(default_factory=dict)


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
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        node.create_timer(REPORT_S, self._report, clock=steady)
        node.create_timer(watchdog_s / 4, self._watch, clock=steady)

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
        self._causes.note(source, reason, detail, time.monotonic())

    def failed(self, where: str, error: Exception) -> None:
        """Logs an exception with its trace, once for each cause; from any thread."""
        if not rclpy.ok(context=self._node.context):
            return  # at the end of the process publishers close under the worker's hands
        if self._causes.note(where, "exception", repr(error), time.monotonic()):
            trace = traceback.format_exception(type(error), error, error.__traceback__)
            self._node.get_logger().error("".join(trace))

    def _watch(self) -> None:
        if not self._active:
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
        now_s = time.monotonic()
        status = self._status()
        self._causes.follow(status.counters, now_s)
        self._publisher.publish(
            self._health.report(
                self._now_ns(), now_s - self._reported_s, arrivals=status.arrivals,
                counters=status.counters, stages=status.stages, alarm=self._alarm,
            )  # fmt: skip
        )
        self._reported_s = now_s

    def _now_ns(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)
