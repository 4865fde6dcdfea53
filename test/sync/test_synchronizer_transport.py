"""What the synchronizer makes of a clock that jumps, and of a transport that loses and delays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from regular_streams import (
    CONFIG,
    MS,
    PERIOD,
    T0,
    Play,
    inclusions,
    stamps_of,
    stream,
    synchronizer,
)

from mm_fusion_ros.sync.synchronizer import TickSet, Verdict

# --- rows 18 and 19: the clock ------------------------------------------------------------------


@pytest.mark.parametrize("dies", ["lidar", "camera", "nobody"])
def test_three_bag_loops_give_three_times_the_same_ticks(play: Play, dies: str) -> None:
    loop = sorted(
        arrival
        for arrival in stream("lidar", PERIOD, 100) + stream("camera", PERIOD / 3, 300)
        if arrival[1] != dies or arrival[2] < T0 + 85 * PERIOD
    )
    sync = synchronizer()
    end = T0 + 100 * PERIOD + 20 * MS
    loops = [[tick for _, tick in play(sync, loop, end)] for _ in range(3)]
    assert sync.epoch == 2
    assert sync.totals()["clock_reset"] == 2
    assert loops[0] == loops[1] == loops[2]
    assert len(loops[0]) == 100
    # Output resumes with the first sample, and the first tick is complete.
    assert loops[1][0].missing == ()


def test_a_reset_drops_what_was_held_and_counts_it() -> None:
    sync = synchronizer()
    sync.push("camera", T0 + 60_000 * MS, 1, T0 + 60_000 * MS)
    assert sync.push("lidar", T0, 2, T0) is Verdict.ACCEPTED  # the sample itself is kept
    assert sync.epoch == 1
    assert sync.counters()["camera"]["clock_reset"] == 1
    tick = sync.tick(T0 + 40 * MS)
    assert tick is not None
    assert list(tick.entries) == ["lidar"]


def test_a_tick_alone_notices_that_the_clock_went_back() -> None:
    sync = synchronizer()
    sync.push("lidar", T0 + 60_000 * MS, 1, T0 + 60_000 * MS)
    sync.tick(T0)
    assert sync.epoch == 1


def test_a_small_step_back_is_jitter() -> None:
    sync = synchronizer()
    sync.push("lidar", T0, 1, T0)
    sync.push("lidar", T0 - 900 * MS, 1, T0 - 1000 * MS)
    assert sync.epoch == 0


def test_samples_of_the_old_loop_that_come_after_the_reset_are_refused() -> None:
    sync = synchronizer()
    sync.push("lidar", T0 + 60_000 * MS, 1, T0 + 60_000 * MS)
    sync.push("lidar", T0, 2, T0)
    assert sync.push("lidar", T0 + 60_100 * MS, 3, T0 + MS) is Verdict.FUTURE


def test_a_clock_that_jumps_ahead_gives_the_newest_tick_and_no_procession(play: Play) -> None:
    sync = synchronizer()
    play(sync, stream("camera", PERIOD / 3, 30))
    hour = 3_600_000 * MS
    ticks: list[TickSet[int]] = []
    while (tick := sync.tick(T0 + hour)) is not None:
        ticks.append(tick)
    assert len(ticks) <= 1
    assert sync.totals()["skipped"] > 35_000
    due = sync.next_deadline_ns()
    assert due is not None
    assert T0 + hour < due <= T0 + hour + PERIOD


def test_after_a_jump_ahead_the_waiting_anchor_makes_the_first_tick() -> None:
    sync = synchronizer()
    for step in range(5):
        sync.push("lidar", T0 + step * PERIOD, step, T0 + step * PERIOD)
        sync.tick(T0 + step * PERIOD + 40 * MS)
    later = T0 + 3_600_000 * MS + 33 * MS
    sync.push("lidar", later, 99, later)
    tick = sync.tick(later)
    assert tick is not None
    assert (tick.stamp_ns, tick.by_deadline) == (later, False)


def test_an_owner_that_was_busy_gets_no_instant_older_than_the_horizon() -> None:
    sync = synchronizer()
    for step in range(50):  # 5 s without a single call of tick
        sync.push("lidar", T0 + step * PERIOD, step, T0 + step * PERIOD)
    now = T0 + 49 * PERIOD
    stamps = []
    while (tick := sync.tick(now)) is not None:
        stamps.append(tick.stamp_ns)
    assert stamps == [T0 + step * PERIOD for step in range(39, 50)]  # 1 s back, and now
    assert sync.counters()["lidar"]["passed_over"] == 39


def test_the_buffer_is_bounded_when_nobody_asks() -> None:
    sync = synchronizer(config=replace(CONFIG, capacity=16))
    for step in range(1000):
        sync.push("camera", T0 + step * MS, step, T0 + step * MS)
    assert sync.counters()["camera"] == {"accepted": 1000, "overflow": 984}  # 1000 - 16


# --- row 43: loss, bursts, jitter ---------------------------------------------------------------


def test_bursts_leave_no_growing_delay(play: Play) -> None:
    arrivals = []
    for now, source, stamp in stream("lidar", PERIOD, 300) + stream("camera", PERIOD / 3, 900):
        blocked = (stamp - T0) % (20 * PERIOD)  # every 2 s the network holds all for 500 ms
        held = max(0, 5 * PERIOD - blocked)
        arrivals.append((now + held, source, stamp))
    played = play(synchronizer(), sorted(arrivals, key=lambda arrival: arrival[0]))
    first, last = played[100:120], played[280:300]
    for begin, end in zip(first, last, strict=True):
        assert end[0] - end[1].stamp_ns == begin[0] - begin[1].stamp_ns
    assert stamps_of(played) == [T0 + step * PERIOD for step in range(300)]


def test_jitter_of_stamp_and_arrival_costs_no_tick(play: Play) -> None:
    generator = np.random.default_rng(11)
    arrivals = []
    for source, period, count in (("lidar", PERIOD, 300), ("camera", PERIOD / 3, 900)):
        for _, _, stamp in stream(source, period, count):
            jittered = stamp + round(generator.uniform(-8, 8) * MS)
            arrivals.append((jittered + round(generator.uniform(2, 25) * MS), source, jittered))
    played = play(synchronizer(), sorted(arrivals))
    assert len(played) == 300
    assert inclusions(played, "lidar") == inclusions(played, "camera") == 300
    assert not any(tick.by_deadline for _, tick in played)


def test_half_the_anchors_samples_lost_costs_no_rate(play: Play) -> None:
    generator = np.random.default_rng(5)
    lidar = [a for a in stream("lidar", PERIOD, 300) if generator.random() < 0.5]
    played = play(synchronizer(), sorted(lidar + stream("camera", PERIOD / 3, 900)))
    stamps = stamps_of(played)
    assert stamps == [T0 + step * PERIOD for step in range(len(stamps))]
    assert len(stamps) >= 299
    assert inclusions(played, "camera") == len(stamps)
    assert inclusions(played, "lidar") == len(lidar)


def test_a_transport_that_becomes_slower_than_the_deadline_is_learned(play: Play) -> None:
    slow = stream("lidar", PERIOD, 40, T0 + 20 * PERIOD, delay=90 * MS)
    played = play(synchronizer(), stream("lidar", PERIOD, 20) + slow)
    stamps = stamps_of(played)
    assert len(stamps) == len(set(stamps)) == 60
    assert not any(tick.by_deadline for _, tick in played[-30:])
    assert sum(tick.by_deadline for _, tick in played) <= 5


def test_every_accepted_sample_is_accounted_for(play: Play) -> None:
    sync = synchronizer()
    play(sync, sorted(stream("lidar", PERIOD, 50) + stream("camera", PERIOD / 3, 150)))
    camera = sync.counters()["camera"]
    # 150 frames, 50 given out, and at most those after the last tick still held.
    assert camera["accepted"] == 150
    assert camera["emitted"] == 50
    assert 96 <= camera["passed_over"] <= 100
