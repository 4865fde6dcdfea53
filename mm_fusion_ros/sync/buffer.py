"""A bounded buffer of one source's samples, sorted by stamp, each given out at most once."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Generic, TypeVar

from mm_fusion_ros.sync.tick import Verdict

T = TypeVar("T")

# Below every stamp: all accepted stamps are positive.
_BEFORE_ALL = -(2**63)


class SampleBuffer(Generic[T]):
    """Samples by stamp.

    Stamps outlive their payloads: a sample that was given out leaves its stamp behind until it is
    older than the memory, so that a late duplicate is recognised. What falls off the end of that
    memory is remembered as one number, `_forgotten_ns`, below which nothing is taken again.

    Args:
        capacity: stamps kept; the oldest goes first.
        memory_ns: stamps further behind the newest than this are forgotten.
        reusable: True for event streams (odometry, fixes): one sample may serve several ticks.
            False for cameras and lidars: a sample is spent once it, or a newer one, was taken.

    Attributes:
        passed_over: accepted samples that were never taken because a newer one was.
        overflowed: accepted samples that made room for newer ones before anyone took them.
    """

    def __init__(self, capacity: int, memory_ns: int, reusable: bool) -> None:
        self._capacity = capacity
        self._memory_ns = memory_ns
        self.reusable = reusable
        self.passed_over = 0
        self.overflowed = 0
        self._stamps: list[int] = []
        self._payloads: dict[int, T] = {}
        self._forgotten_ns = _BEFORE_ALL  # at or below: forgotten, never taken again
        self._spent_ns = _BEFORE_ALL  # at or below: given out or passed over

    def clear(self) -> int:
        """Forgets everything but the counts; returns how many payloads were still held."""
        held = len(self._payloads)
        self._stamps.clear()
        self._payloads.clear()
        self._forgotten_ns = self._spent_ns = _BEFORE_ALL
        return held

    def __len__(self) -> int:
        """Stamps remembered."""
        return len(self._stamps)

    @property
    def held(self) -> int:
        """Payloads held."""
        return len(self._payloads)

    @property
    def newest_ns(self) -> int | None:
        """The newest stamp accepted and not forgotten; None when empty."""
        return self._stamps[-1] if self._stamps else None

    def insert(self, stamp_ns: int, payload: T) -> Verdict:
        """Takes a sample in, wherever in the order it belongs.

        Returns:
            ACCEPTED; DUPLICATE for a stamp already seen; TOO_OLD for one below the memory;
            OVERFLOW where the buffer is full of newer samples.
        """
        stamps = self._stamps
        if stamp_ns <= self._forgotten_ns:
            return Verdict.TOO_OLD
        if not stamps or stamp_ns > stamps[-1]:
            stamps.append(stamp_ns)
        else:
            index = bisect_left(stamps, stamp_ns)
            if stamps[index] == stamp_ns:
                return Verdict.DUPLICATE
            if index == 0 and len(stamps) >= self._capacity:
                return Verdict.OVERFLOW
            stamps.insert(index, stamp_ns)
        if stamp_ns > self._spent_ns:
            self._payloads[stamp_ns] = payload
        else:
            self.passed_over += 1
        if len(stamps) > self._capacity:
            self._forget(1, by_capacity=True)
        oldest_kept_ns = stamps[-1] - self._memory_ns
        if stamps[0] < oldest_kept_ns:
            self._forget(bisect_left(stamps, oldest_kept_ns), by_capacity=False)
        return Verdict.ACCEPTED

    def nearest(
        self, stamp_ns: int, tolerance_ns: int, not_after_ns: int | None = None
    ) -> int | None:
        """The unspent stamp nearest to `stamp_ns` and within the tolerance; the older of equals.

        Args:
            stamp_ns: the tick.
            tolerance_ns: how far from it the sample may lie.
            not_after_ns: later samples belong to later ticks; None for no such limit.
        """
        stamps = self._stamps
        first = 0 if self.reusable else bisect_right(stamps, self._spent_ns)
        end = len(stamps) if not_after_ns is None else bisect_right(stamps, not_after_ns)
        if first >= end:
            return None
        index = bisect_left(stamps, stamp_ns, first, end)
        best = stamps[index] if index < end else stamps[index - 1]
        if first < index < end and stamp_ns - stamps[index - 1] <= best - stamp_ns:
            best = stamps[index - 1]
        return best if abs(best - stamp_ns) <= tolerance_ns else None

    def take(
        self, stamp_ns: int, tolerance_ns: int, not_after_ns: int | None = None
    ) -> tuple[int, T] | None:
        """Gives out the sample that `nearest` names, as stamp and payload, or None.

        Ticks come in increasing order, so what is now out of reach is released.
        """
        found = self.nearest(stamp_ns, tolerance_ns, not_after_ns)
        if self.reusable:
            return None if found is None else (found, self._payloads[found])
        taken = None if found is None else (found, self._payloads.pop(found))
        self._spend(stamp_ns - tolerance_ns - 1 if found is None else found)
        return taken

    def first_after(self, stamp_ns: int) -> int | None:
        """The oldest unspent stamp above `stamp_ns`."""
        after_ns = stamp_ns if self.reusable else max(stamp_ns, self._spent_ns)
        index = bisect_right(self._stamps, after_ns)
        return self._stamps[index] if index < len(self._stamps) else None

    def _spend(self, up_to_ns: int) -> None:
        """Releases what is at or below `up_to_ns` and was never given out."""
        if up_to_ns <= self._spent_ns:
            return
        stamps = self._stamps
        for index in range(bisect_right(stamps, self._spent_ns), bisect_right(stamps, up_to_ns)):
            if stamps[index] in self._payloads:
                del self._payloads[stamps[index]]
                self.passed_over += 1
        self._spent_ns = up_to_ns

    def _forget(self, count: int, by_capacity: bool) -> None:
        """Drops the `count` oldest stamps, and their payloads where still held."""
        for stamp_ns in self._stamps[:count]:
            if stamp_ns in self._payloads:
                del self._payloads[stamp_ns]
                if by_capacity:
                    self.overflowed += 1
                elif not self.reusable:
                    self.passed_over += 1
        self._forgotten_ns = self._stamps[count - 1]
        del self._stamps[:count]
