"""What the synchronizer says: the fate of each sample, and the set that belongs to one instant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

T = TypeVar("T")


class Verdict(str, Enum):
    """What became of a pushed sample; also the reason under which a drop is counted."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"  # this source already gave a sample of this stamp
    TOO_OLD = "too_old"  # further out of order than the horizon, or stale on arrival
    FUTURE = "future"  # further ahead of the clock than the allowance
    ZERO_STAMP = "zero_stamp"  # the driver did not fill the stamp
    UNKNOWN_SOURCE = "unknown_source"  # no such source is configured
    OVERFLOW = "overflow"  # the buffer is full of newer samples
    CLOCK_RESET = "clock_reset"  # held when the clock jumped back (counted, never returned)


class Outcome(str, Enum):
    """What became of an accepted sample, or of a tick: counted, never returned."""

    EMITTED = "emitted"  # entries given out
    PASSED_OVER = "passed_over"  # accepted, but a nearer or newer sample was given out instead
    MISSED = "missed"  # ticks that went out without this source
    LATE_ANCHOR = "late_anchor"  # came after the deadline had fired its instant
    BY_ANCHOR = "by_anchor"  # ticks fired by the anchor's sample
    BY_DEADLINE = "by_deadline"  # ticks fired without it
    SKIPPED = "skipped"  # instants given up because nobody asked in time


@dataclass(frozen=True)
class Entry(Generic[T]):
    """One source's sample in a tick.

    Attributes:
        stamp_ns: the sample's own stamp, with the source's offset added.
        age_ns: tick stamp minus sample stamp [ns]; negative for a sample newer than the tick.
    """

    source: str
    stamp_ns: int
    payload: T
    age_ns: int


@dataclass(frozen=True)
class TickSet(Generic[T]):
    """What belongs to one instant.

    Attributes:
        stamp_ns: the instant; strictly increasing within an epoch.
        entries: by source name, in configured order; each within its source's tolerance.
        missing: the configured sources that are not in `entries`.
        by_deadline: True when the anchor did not come and the deadline fired the tick.
    """

    stamp_ns: int
    entries: Mapping[str, Entry[T]]
    missing: tuple[str, ...]
    by_deadline: bool
