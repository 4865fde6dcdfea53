"""What `/diagnostics` and the log say: levels with hysteresis, rates, latencies, drops by reason.

No clock is read here: the caller passes steady time.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus

from mm_fusion_ros.outputs import FusedOutput, Reason, Reliability
from mm_fusion_ros.ros import answers
from mm_fusion_ros.sync.tick import Outcome, Verdict

OK: bytes = DiagnosticStatus.OK
WARN: bytes = DiagnosticStatus.WARN
ERROR: bytes = DiagnosticStatus.ERROR
STALE: bytes = DiagnosticStatus.STALE
# A level worsens at the first figure and recovers only at the second, so that a trust that
# wavers about a threshold does not make an alarm flicker.
WARN_BELOW, OK_ABOVE = 0.5, 0.6
ERROR_BELOW, WARN_ABOVE = 0.05, 0.15
# A cause is logged again when it comes back after this long.
QUIET_S = 60.0
CAUSES_KEPT = 1000
LATENCIES_KEPT = 600
# Counted, but no fault: a camera is faster than the ticks, and a frame passed over is no loss.
HARMLESS = frozenset(
    [Verdict.ACCEPTED.value, Verdict.DUPLICATE.value, *(outcome.value for outcome in Outcome)]
)

Counters = Mapping[str, Mapping[str, int]]
# Figures of each stage, as `scheduling.Stopwatch.summary` gives them.
Stages = Mapping[str, Mapping[str, float]]


def next_level(level: bytes, trust: float) -> bytes:
    """The diagnostic level after a trust of 0..1, given the level before it."""
    if trust < (WARN_ABOVE if level == ERROR else ERROR_BELOW):
        return ERROR
    return WARN if trust < (WARN_BELOW if level == OK else OK_ABOVE) else OK


class CauseLog:
    """One log line per cause, not one per message. Thread-safe.

    Args:
        write: takes a line.
    """

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._lock = threading.Lock()
        self._last_s: dict[tuple[str, str], float] = {}
        self._counted: dict[tuple[str, str], int] = {}

    def note(self, source: str, reason: str, detail: str, now_s: float) -> bool:
        """Writes a line, unless this cause was noted within the last minute; True if written."""
        cause = (source, reason)
        with self._lock:
            if len(self._last_s) >= CAUSES_KEPT:
                self._last_s.clear()
            last_s = self._last_s.get(cause)
            self._last_s[cause] = now_s
        if last_s is not None and now_s - last_s < QUIET_S:
            return False
        self._write(f"{source}: {reason}" + (f": {detail}" if detail else ""))
        return True

    def follow(self, counters: Counters, now_s: float) -> None:
        """Notes every cause whose counter grew since the last call, but for `HARMLESS` ones."""
        for source, reasons in counters.items():
            for reason, count in reasons.items():
                cause = (source, reason)
                if reason not in HARMLESS and count > self._counted.get(cause, 0):
                    self.note(source, reason, "messages are being dropped; see /diagnostics", now_s)
                self._counted[cause] = count


class Health:
    """Gathers what happened between two reports, and makes the report. Thread-safe.

    Args:
        name: the node's name, the prefix of every status.
        hardware_id: what the diagnostics call the robot's part; the node's name will do.
    """

    def __init__(self, name: str, hardware_id: str) -> None:
        self._name = name
        self._hardware_id = hardware_id
        self._lock = threading.Lock()
        self._levels: dict[str, bytes] = {}
        self._trust: dict[str, list[float]] = {}
        self._last: FusedOutput | None = None
        self._ticks = 0
        self._deadline_ticks = 0
        self._latencies_ms: deque[float] = deque(maxlen=LATENCIES_KEPT)

    def observe(self, output: FusedOutput, latency_ns: int | None) -> None:
        """Takes the answer of a tick and how long after its anchor it was out [ns]."""
        with self._lock:
            self._last = output
            self._ticks += 1
            self._deadline_ticks += output.by_deadline
            if latency_ns is not None:
                self._latencies_ms.append(latency_ns / 1e6)
            for name, source in output.reliability.items():
                self._trust.setdefault(name, []).append(source.trust)

    def report(
        self,
        stamp_ns: int,
        seconds: float,
        *,
        arrivals: Mapping[str, int],
        counters: Counters,
        stages: Stages,
        alarm: str = "",
    ) -> DiagnosticArray:
        """The report since the last one.

        Args:
            stamp_ns: ROS time [ns].
            seconds: steady time since the last report [s].
            arrivals: messages that came since the last report, by source.
            counters: drops by source and reason, since the start.
            stages: figures of each stage.
            alarm: what the watchdog has to say; empty when all is well.
        """
        message = DiagnosticArray(header=answers.header(stamp_ns, ""))
        with self._lock:
            message.status.append(self._fusion(seconds, stages, alarm))
            sources = {} if self._last is None else self._last.reliability
            for name in sorted({*sources, *counters, *arrivals}):
                rate = arrivals.get(name, 0) / max(seconds, 1e-3)
                message.status.append(
                    self._source(name, sources.get(name), rate, counters.get(name, {}))
                )
            self._trust = {}
            self._ticks = self._deadline_ticks = 0
        return message

    def _fusion(self, seconds: float, stages: Stages, alarm: str) -> DiagnosticStatus:
        rate = self._ticks / max(seconds, 1e-3)
        values: dict[str, object] = {
            "rate_hz": f"{rate:.2f}", "ticks_by_deadline": self._deadline_ticks,
            **_percentiles("latency", self._latencies_ms),
        }  # fmt: skip
        for stage, figures in stages.items():
            values |= {f"stage.{stage}.{name}": f"{value:.2f}" for name, value in figures.items()}
        level = OK
        text = f"{rate:.1f} answers a second"
        if alarm:
            level, text = ERROR, alarm
        elif self._ticks and self._deadline_ticks == self._ticks:
            level, text = WARN, f"{text}, all by deadline: the anchor is silent"
        return self._status("fusion", level, text, values)

    def _source(
        self, name: str, source: Reliability | None, rate: float, counts: Mapping[str, int]
    ) -> DiagnosticStatus:
        values: dict[str, object] = {"rate_hz": f"{rate:.2f}"}
        values |= {f"count.{reason}": count for reason, count in sorted(counts.items())}
        level, text = STALE, "no answer yet"
        if source is not None:
            trust = float(np.mean(self._trust.get(name) or [source.trust]))
            level = next_level(self._levels.get(name, OK), trust)
            self._levels[name] = level
            # The reason of the moment may be `ok` while the level still recovers.
            text = source.reason.value
            if source.reason is Reason.OK and level != OK:
                text = "recovering"
            values |= {
                "trust": f"{trust:.3f}",
                "share": source.share,
                "reason": source.reason.value,
            }
        return self._status(name, level, text, values)

    def _status(
        self, part: str, level: bytes, text: str, values: Mapping[str, object]
    ) -> DiagnosticStatus:
        return DiagnosticStatus(
            level=level, name=f"{self._name}: {part}", hardware_id=self._hardware_id, message=text,
            values=answers.key_values(values),
        )  # fmt: skip


def _percentiles(name: str, durations_ms: deque[float]) -> dict[str, object]:
    if not durations_ms:
        return {}
    median, high = np.percentile(np.asarray(durations_ms), [50, 99])
    return {f"{name}.median_ms": f"{median:.2f}", f"{name}.p99_ms": f"{high:.2f}"}
