"""Plays arrivals into a synchronizer as a node would: polled when it asks to be, never later."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import pytest

from mm_fusion_ros.sync.synchronizer import DeadlineSynchronizer, TickSet

# A sample: when it comes [ns], from where, and its stamp [ns].
Arrival = tuple[int, str, int]


class Played(NamedTuple):
    """A tick, and when it came out [ns]."""

    now_ns: int
    tick: TickSet[int]


Play = Callable[..., list[Played]]


def play_arrivals(
    synchronizer: DeadlineSynchronizer[int], arrivals: Iterable[Arrival], until_ns: int = 0
) -> list[Played]:
    """Pushes the arrivals (the payload is the stamp) and collects the ticks up to `until_ns`."""
    played: list[Played] = []

    def collect(now_ns: int) -> None:
        while (tick := synchronizer.tick(now_ns)) is not None:
            played.append(Played(now_ns, tick))

    previous_ns: int | None = None

    def wait(end_ns: int) -> None:
        while (due_ns := synchronizer.next_deadline_ns()) is not None and due_ns < end_ns:
            before = len(played)
            collect(due_ns)
            assert len(played) > before, "asked to be called and then gave nothing"

    for now_ns, source, stamp_ns in arrivals:
        if previous_ns is not None and now_ns > previous_ns:
            wait(now_ns)
        synchronizer.push(source, stamp_ns, stamp_ns, now_ns)
        collect(now_ns)
        previous_ns = now_ns
    if until_ns:
        wait(until_ns)
    return played


@pytest.fixture
def play() -> Play:
    """The player."""
    return play_arrivals
