"""When a source's next sample may be expected: its period, phase and transport delay."""

from __future__ import annotations

from collections import deque

# Intervals looked at; enough to outvote losses and to average jitter out (a dead anchor's instants
# drift by the error of its period), few enough to follow a new rate within 3 s at 10 Hz.
INTERVALS = 32
# Fewer intervals than this say nothing against the configured rate.
ENOUGH = 5
# Samples whose grid positions are compared for the phase, and delays for the usual delay.
PHASES = 5
DELAYS = 9
# An estimated rate may only be this much slower than before, unless the intervals are regular.
SLACK = 1.2
REGULAR = 0.7


class Rhythm:
    """Period, phase and delay of one source, robust against losses, bursts and outliers.

    Losses must never pass for a slower sensor: a sensor that dies packet by packet would drag the
    tick rate down with it. So the period is the sum of the intervals over the number of periods
    in them, counted with the shorter intervals as the unit, and it grows only where the intervals
    agree with each other, which a slow sensor's do and a losing one's do not. Rates between a
    quarter and three times the configured one are learned.

    Args:
        rate_hz: the configured rate.
    """

    def __init__(self, rate_hz: float) -> None:
        self._nominal_ns = round(1e9 / rate_hz)
        self._period_ns = self._nominal_ns
        self._intervals: deque[int] = deque(maxlen=INTERVALS)
        self._phases: deque[int] = deque(maxlen=PHASES)
        self._delays: deque[int] = deque(maxlen=DELAYS)
        self._last_arrival_ns: int | None = None
        self._phase_ns: int | None = None
        self._delay_ns: int | None = None
        self._is_current = True

    def observe(self, stamp_ns: int, arrival_ns: int) -> None:
        """Learns from one sample; samples must come in order of their stamps."""
        minimum_ns = self._nominal_ns // 3
        if not self._phases:
            self._phases.append(stamp_ns)
        elif (interval_ns := stamp_ns - self._phases[-1]) >= minimum_ns:
            # Shorter ones are jitter and double samples; longer ones are outages.
            if interval_ns <= 4 * self._nominal_ns:
                self._intervals.append(interval_ns)
            else:
                self._phases.clear()
            self._phases.append(stamp_ns)
        # The samples of a burst all waited for the same blockage: only its first one counts.
        if self._last_arrival_ns is None or arrival_ns - self._last_arrival_ns >= minimum_ns:
            self._delays.append(arrival_ns - stamp_ns)
        self._last_arrival_ns = arrival_ns
        self._is_current = False

    @property
    def period_ns(self) -> int:
        """Expected time from one sample to the next [ns]."""
        self._estimate()
        return self._period_ns

    @property
    def phase_ns(self) -> int | None:
        """The instant, on the regular grid, of the newest sample [ns]; None before the first."""
        self._estimate()
        return self._phase_ns

    @property
    def delay_ns(self) -> int | None:
        """Usual time from a sample's stamp to its arrival [ns]; None before the first."""
        self._estimate()
        return self._delay_ns

    def _estimate(self) -> None:
        """Brings the estimates up to date; put off until somebody asks."""
        if self._is_current:
            return
        self._is_current = True
        self._estimate_period()
        half_ns = self._period_ns // 2
        newest_ns = self._phases[-1]
        residuals = sorted(
            (stamp_ns - newest_ns + half_ns) % self._period_ns - half_ns
            for stamp_ns in self._phases
        )
        self._phase_ns = newest_ns + residuals[len(residuals) // 2]
        self._delay_ns = sorted(self._delays)[len(self._delays) // 2]

    def _estimate_period(self) -> None:
        if len(self._intervals) < ENOUGH:
            return
        unit_ns = sorted(self._intervals)[len(self._intervals) // 5]
        counts = [max(1, round(interval_ns / unit_ns)) for interval_ns in self._intervals]
        estimate_ns = sum(self._intervals) // sum(counts)
        regular = counts.count(1) >= REGULAR * len(counts)
        if regular or estimate_ns <= SLACK * self._period_ns:
            self._period_ns = estimate_ns
