"""The deadline synchronizer: which samples belong to one instant, without waiting for the dead.

It is polled: `push` takes samples in, `tick` gives sets out, and `next_deadline_ns` says when to
ask again. There is no clock, no thread, no lock and no callback inside, so the same pushes and
ticks give the same sets.

When a tick fires:

* The anchor's arrival makes a tick at its stamp. It goes out at once where every companion that
  is alive has a sample within its tolerance. Where one has none, and its next sample is due within
  its tolerance and before the deadline, the tick waits for it, at most until the deadline. A
  sample that would merely be nearer is never waited for: latency is worth more than a few
  milliseconds of age, which ego-motion compensation takes out. A camera or lidar never heard is
  dead, but for the first tick with one in it, which gives the others until its deadline to turn
  up. Event streams (odometry, fixes, commands) are never waited for.
* Where the anchor does not come, the tick fires at the deadline: predicted stamp, plus the
  anchor's usual transport delay, plus `deadline_ms`. A dead anchor therefore costs latency and
  never rate; a dead companion costs neither, after two of its periods.
* Where the anchor never came at all, instants are counted from the first sample of any source,
  or, before that, from the first call of `tick`, at the anchor's configured rate.

An anchor sample that comes after the deadline fired its instant makes no tick of its own; the
next tick may still take it, if it is within tolerance of that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

from mm_fusion_ros.config import SourceConfig, SyncConfig
from mm_fusion_ros.sync.stream import Stream, nanoseconds
from mm_fusion_ros.sync.tick import Entry, Outcome, TickSet, Verdict

__all__ = ["DeadlineSynchronizer", "Entry", "Outcome", "TickSet", "Verdict"]

T = TypeVar("T")

# A companion this many periods late is dead, and no longer waited for.
PATIENCE_PERIODS = 2


class _Candidate(NamedTuple):
    """The next tick: its instant, when it goes out, and whether the anchor is there."""

    stamp_ns: int
    due_ns: int
    by_deadline: bool


class DeadlineSynchronizer(Generic[T]):
    """Groups samples of several sources by instant; see the module's description.

    Args:
        sources: the sources to group, the anchor among them. Event streams (GPS, odometry, IMU,
            commands) may be given too: their samples serve every tick within tolerance.
        config: deadline, horizon, allowances and capacity.

    Raises:
        ValueError: the anchor is not among the sources, or a name is used twice.
    """

    def __init__(self, sources: Sequence[SourceConfig], config: SyncConfig) -> None:
        names = [source.name for source in sources]
        if len(set(names)) != len(names):
            raise ValueError(f"sources {names}: names must be unique")
        if config.anchor not in names:
            raise ValueError(
                f"sync.anchor = {config.anchor!r} is not among the sources to synchronize {names}; "
                "name one of them"
            )
        self._streams: dict[str, Stream[T]] = {s.name: Stream(s, config) for s in sources}
        self._anchor = self._streams[config.anchor]
        self._companions = [
            stream
            for stream in self._streams.values()
            if stream is not self._anchor and not stream.reusable
        ]
        self._deadline_ns = nanoseconds(config.deadline_ms)
        self._horizon_ns = nanoseconds(config.horizon_ms)
        self._future_ns = nanoseconds(config.future_ms)
        self._jump_ns = nanoseconds(config.jump_ms)
        self._zero_is_arrival = config.zero_stamp == "arrival_time"
        self._totals: dict[str, int] = {}
        self._epoch = 0
        self._clear()

    def _clear(self) -> None:
        self._clock_ns = 0
        self._last_ns: int | None = None  # the newest instant emitted or skipped
        self._floor_ns = 0  # an anchor sample at or below this makes no tick of its own
        self._seed_ns: int | None = None  # where instants are counted from without an anchor
        self._seed_is_sample = False
        self._is_first = True  # until a tick with a sample in it went out
        self._next: _Candidate | None = None
        self._is_current = False  # whether `_next` still holds

    @property
    def epoch(self) -> int:
        """How often the clock has jumped back; whoever keeps state over time resets with it."""
        return self._epoch

    def push(self, source: str, stamp_ns: int, payload: T, now_ns: int) -> Verdict:
        """Takes one sample in.

        Args:
            source: its configured name.
            stamp_ns: its header's stamp [ns].
            payload: anything; handed out again, never looked into.
            now_ns: the time at its arrival, on the clock that stamped it [ns].

        Returns:
            ACCEPTED, or why the sample was dropped.
        """
        stream = self._streams.get(source)
        if stream is None:
            self._count(Verdict.UNKNOWN_SOURCE)
            return Verdict.UNKNOWN_SOURCE
        self._advance(now_ns)
        verdict = self._admit(stream, stamp_ns, payload, now_ns)
        if verdict is Verdict.ACCEPTED:
            self._is_current = False
        stream.count(verdict)
        return verdict

    def tick(self, now_ns: int) -> TickSet[T] | None:
        """The oldest tick that is due, or None; call it until it gives None.

        Instants older than the horizon are skipped and counted, so that a clock that jumps ahead,
        or an owner that was busy, gets the newest and no procession of old ones.

        Args:
            now_ns: the time [ns].
        """
        self._advance(now_ns)
        if self._seed_ns is None and self._clock_ns > 0:
            self._seed_ns, self._seed_is_sample = self._clock_ns, False
            self._is_current = False
        candidate = self._skip_missed()
        if candidate is None or candidate.due_ns > self._clock_ns:
            return None
        return self._emit(candidate)

    def next_deadline_ns(self) -> int | None:
        """When `tick` should next be called [ns]; in the past when a tick is due now.

        None before the first sample and the first call of `tick`: nothing can be predicted yet.
        A push may bring it forward, so ask again after each.
        """
        candidate = self._candidate()
        return None if candidate is None else candidate.due_ns

    def expected_stamp_ns(self) -> int | None:
        """The predicted stamp of the next tick [ns]; None where nothing can be predicted."""
        candidate = self._candidate()
        return None if candidate is None else candidate.stamp_ns

    def stamp_of(self, source: str, stamp_ns: int, now_ns: int) -> int:
        """The stamp under which `push` files such a sample: zero replaced, offset added [ns].

        Raises:
            KeyError: no such source is configured.
        """
        if stamp_ns <= 0 and self._zero_is_arrival:
            stamp_ns = now_ns
        return stamp_ns + self._streams[source].offset_ns

    def is_wanted(self, source: str, stamp_ns: int) -> bool:
        """Whether the next tick will probably take this sample: worth preparing ahead of it.

        True for the nearest to the tick of those that will be there when the anchor's sample is,
        going by the source's own period and delay.

        Args:
            source: its configured name.
            stamp_ns: the sample's stamp, offset added [ns].

        Raises:
            KeyError: no such source is configured.
        """
        stream = self._streams[source]
        candidate = self._candidate()
        if candidate is None or stream is self._anchor:
            return True
        tick_ns, period_ns = candidate.stamp_ns, stream.rhythm.period_ns
        distance_ns = abs(stamp_ns - tick_ns)
        if distance_ns > stream.tolerance_ns:
            return False
        if abs(stamp_ns - period_ns - tick_ns) < distance_ns:
            return False  # the one before was nearer
        next_arrival_ns = stamp_ns + period_ns + (stream.rhythm.delay_ns or 0)
        if next_arrival_ns > tick_ns + self._delay_ns():
            return True
        return abs(stamp_ns + period_ns - tick_ns) >= distance_ns

    def counters(self) -> Mapping[str, Mapping[str, int]]:
        """Counts since construction: source name -> reason -> number."""
        return {name: stream.all_counts() for name, stream in self._streams.items()}

    def totals(self) -> Mapping[str, int]:
        """Counts that belong to no source: ticks by their cause, skipped instants, resets."""
        return dict(self._totals)

    def reset(self) -> None:
        """Forgets all samples, rhythms and ticks; keeps the counts and the epoch."""
        for stream in self._streams.values():
            stream.reset()
        self._clear()

    def _count(self, reason: Verdict | Outcome, number: int = 1) -> None:
        self._totals[reason.value] = self._totals.get(reason.value, 0) + number

    def _advance(self, now_ns: int) -> None:
        """Follows the clock: small steps back are jitter, a large one begins a new epoch."""
        if now_ns < self._clock_ns - self._jump_ns:
            self.reset()
            self._epoch += 1
            self._count(Verdict.CLOCK_RESET)
        self._clock_ns = max(self._clock_ns, now_ns)

    def _admit(self, stream: Stream[T], stamp_ns: int, payload: T, now_ns: int) -> Verdict:
        """Checks one sample and files it; what is refused leaves no trace but its count."""
        if stamp_ns <= 0 and not self._zero_is_arrival:
            return Verdict.ZERO_STAMP
        stamp_ns = self.stamp_of(stream.name, stamp_ns, now_ns)
        if stamp_ns > self._clock_ns + self._future_ns:
            return Verdict.FUTURE
        if stamp_ns < self._clock_ns - stream.oldest_ns:
            return Verdict.TOO_OLD
        newest_ns = stream.buffer.newest_ns
        # Measured from the clock where the newest stamp is ahead of it: an early stamp within the
        # allowance must not shut out the honest ones after it.
        if newest_ns is not None and stamp_ns < min(newest_ns, self._clock_ns) - self._horizon_ns:
            return Verdict.TOO_OLD
        verdict = stream.buffer.insert(stamp_ns, payload)
        if verdict is not Verdict.ACCEPTED:
            return verdict
        if newest_ns is None or stamp_ns > newest_ns:
            stream.rhythm.observe(stamp_ns, now_ns)
        if stream is self._anchor and stamp_ns <= self._floor_ns:
            stream.count(Outcome.LATE_ANCHOR)
        if not self._seed_is_sample:
            self._seed_ns, self._seed_is_sample = stamp_ns, True
        return verdict

    def _delay_ns(self) -> int:
        """How long after its stamp a tick's evidence is usually here [ns].

        The anchor's transport delay. Where it never came, the slowest companion's, so that none is
        lost by the anchor's absence, but no more than a period behind the quickest.
        """
        delay_ns = self._anchor.rhythm.delay_ns
        if delay_ns is not None:
            return delay_ns
        heard = (stream.rhythm.delay_ns for stream in self._companions)
        delays = [delay for delay in heard if delay is not None]
        if not delays:
            return 0
        return min(max(delays), min(delays) + self._anchor.rhythm.period_ns)

    def _candidate(self) -> _Candidate | None:
        """The next tick, due or not; None where nothing can be predicted."""
        if not self._is_current:
            self._next, self._is_current = self._predict(), True
        return self._next

    def _predict(self) -> _Candidate | None:
        phase_ns = self._anchor.rhythm.phase_ns
        if phase_ns is None:
            phase_ns = self._seed_ns
        if phase_ns is None:
            return None
        period_ns = self._anchor.rhythm.period_ns
        half_ns = period_ns // 2
        predicted_ns = phase_ns
        if self._last_ns is not None:
            periods = (self._last_ns + half_ns - phase_ns) // period_ns + 1
            predicted_ns = phase_ns + periods * period_ns
        delay_ns = self._delay_ns()
        anchor_ns = self._anchor.buffer.first_after(self._floor_ns)
        deadline_ns = predicted_ns + delay_ns + self._deadline_ns
        if anchor_ns is None:
            return _Candidate(predicted_ns, deadline_ns, by_deadline=True)
        # A stamp ahead of the clock keeps its place in time, unless this sensor's always are.
        ready_ns = anchor_ns + min(0, delay_ns)
        if self._last_ns is not None and anchor_ns >= self._last_ns + period_ns + half_ns:
            # Overtaken by its successor: the predicted sample is lost, and waiting is in vain.
            return _Candidate(predicted_ns, min(deadline_ns, ready_ns), by_deadline=True)
        deadline_ns = anchor_ns + delay_ns + self._deadline_ns
        complete = self._is_complete(anchor_ns, deadline_ns)
        return _Candidate(anchor_ns, ready_ns if complete else deadline_ns, by_deadline=False)

    def _is_complete(self, stamp_ns: int, deadline_ns: int) -> bool:
        """Whether every companion has a sample, or none that could come before the deadline."""
        for stream in self._companions:
            if stream.buffer.reusable:
                # A state holds until the next one comes: there is nothing to wait for.
                continue
            newest_ns = stream.buffer.newest_ns
            if newest_ns is None:
                if self._is_first:
                    return False
                continue
            if stream.buffer.nearest(stamp_ns, stream.tolerance_ns) is not None:
                continue
            period_ns = stream.rhythm.period_ns
            gap_ns = stamp_ns - stream.tolerance_ns - newest_ns
            periods = max(1, -(-gap_ns // period_ns))
            expected_ns = newest_ns + periods * period_ns
            delay_ns = stream.rhythm.delay_ns or 0
            if (
                periods <= PATIENCE_PERIODS
                and expected_ns <= stamp_ns + stream.tolerance_ns
                and expected_ns + delay_ns <= deadline_ns
            ):
                return False
        return True

    def _left_to_the_next_ns(self, stream: Stream[T], stamp_ns: int) -> int | None:
        """Samples after this stamp are left to the next tick; None where all may be taken.

        A source about as slow as the ticks and out of step with them has one sample on either side
        of each. To take now the one, now the other, as jitter decides which is already here, would
        use up two samples on one tick and leave another with none. So a newer sample that is here
        only because the tick went out late is left to the next one, where an older one serves.
        """
        if stream is self._anchor:
            return self._floor_ns
        period_ns = self._anchor.rhythm.period_ns
        if stream.rhythm.period_ns <= period_ns // 2:
            return None
        # What the anchor's arrival, had it come, would have found.
        found_ns = stamp_ns + max(0, self._delay_ns() - (stream.rhythm.delay_ns or 0))
        nearest_ns = stream.buffer.nearest(stamp_ns, stream.tolerance_ns)
        if nearest_ns is None or nearest_ns <= found_ns:
            return None
        serves_the_next = stamp_ns + period_ns - nearest_ns <= stream.tolerance_ns
        is_the_last = nearest_ns == stream.buffer.newest_ns
        older_ns = stream.buffer.nearest(stamp_ns, stream.tolerance_ns, found_ns)
        return found_ns if serves_the_next and is_the_last and older_ns is not None else None

    def _skip_missed(self) -> _Candidate | None:
        """Gives up instants that are overdue by more than the horizon; returns the next tick."""
        while (candidate := self._candidate()) is not None:
            period_ns = self._anchor.rhythm.period_ns
            overdue_ns = self._clock_ns - candidate.due_ns
            if overdue_ns <= max(self._horizon_ns, period_ns):
                break
            skipped = 1
            if candidate.by_deadline:
                # All but the newest; where an anchor sample waits, its tick is the next.
                skipped = overdue_ns // period_ns
                anchor_ns = self._anchor.buffer.first_after(self._floor_ns)
                if anchor_ns is not None:
                    before_anchor_ns = anchor_ns - period_ns // 2 - candidate.stamp_ns
                    skipped = max(1, before_anchor_ns // period_ns + 1)
            self._last_ns = candidate.stamp_ns + (skipped - 1) * period_ns
            self._floor_ns = self._last_ns
            self._is_current = False
            self._count(Outcome.SKIPPED, skipped)
        return candidate

    def _emit(self, candidate: _Candidate) -> TickSet[T]:
        stamp_ns = candidate.stamp_ns
        self._last_ns = self._floor_ns = stamp_ns
        if candidate.by_deadline:
            # An anchor sample nearer to this instant than to the next one belongs to this one.
            self._floor_ns += self._anchor.rhythm.period_ns // 2
        entries: dict[str, Entry[T]] = {}
        missing: list[str] = []
        for name, stream in self._streams.items():
            limit_ns = self._left_to_the_next_ns(stream, stamp_ns)
            taken = stream.buffer.take(stamp_ns, stream.tolerance_ns, limit_ns)
            if taken is None:
                missing.append(name)
                stream.count(Outcome.MISSED)
            else:
                sample_ns, payload = taken
                entries[name] = Entry(name, sample_ns, payload, stamp_ns - sample_ns)
                stream.count(Outcome.EMITTED)
        seen = any(not self._streams[name].reusable for name in entries)
        self._is_first = self._is_first and not seen
        self._is_current = False
        self._count(Outcome.BY_DEADLINE if candidate.by_deadline else Outcome.BY_ANCHOR)
        return TickSet(stamp_ns, entries, tuple(missing), candidate.by_deadline)
