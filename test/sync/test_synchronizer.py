"""Which samples belong to one instant, when the set goes out, and what each kind of fault gets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from regular_streams import (
    CAMERA,
    CONFIG,
    LIDAR,
    MS,
    PERIOD,
    T0,
    Play,
    inclusions,
    stamps_of,
    stream,
    synchronizer,
)

from mm_fusion_ros.config import SourceConfig
from mm_fusion_ros.sync.synchronizer import Verdict

# --- the plain case -----------------------------------------------------------------------------


def test_the_anchors_arrival_makes_a_tick_with_the_nearest_of_each_source() -> None:
    sync = synchronizer()
    for offset in (-40, -7):
        sync.push("camera", T0 + offset * MS, offset, T0)
    sync.push("lidar", T0, 0, T0 + 2 * MS)
    tick = sync.tick(T0 + 2 * MS)
    assert tick is not None
    assert (tick.stamp_ns, tick.by_deadline, tick.missing) == (T0, False, ())
    assert list(tick.entries) == ["camera", "lidar"]  # configured order
    assert tick.entries["camera"].payload == -7
    assert tick.entries["camera"].age_ns == 7 * MS
    assert sync.tick(T0 + 2 * MS) is None


def test_a_sample_newer_than_the_tick_has_a_negative_age() -> None:
    sync = synchronizer()
    sync.push("camera", T0 + 10 * MS, 1, T0 + 12 * MS)
    sync.push("lidar", T0, 2, T0 + 13 * MS)
    tick = sync.tick(T0 + 13 * MS)
    assert tick is not None
    assert tick.entries["camera"].age_ns == -10 * MS


def test_the_offset_is_added_to_every_stamp() -> None:
    sync = synchronizer(replace(CAMERA, offset_ms=-30.0), LIDAR)
    sync.push("camera", T0 + 30 * MS, 1, T0 + 31 * MS)
    sync.push("lidar", T0, 2, T0 + 32 * MS)
    tick = sync.tick(T0 + 32 * MS)
    assert tick is not None
    assert tick.entries["camera"].stamp_ns == T0


def test_event_streams_serve_several_ticks_and_pictures_only_one(play: Play) -> None:
    gps = SourceConfig("gps", "gps", rate_hz=5.0, tolerance_ms=150.0)
    slow = SourceConfig("slow", "camera", rate_hz=5.0, tolerance_ms=150.0)
    arrivals = sorted(
        stream("lidar", PERIOD, 20)
        + stream("gps", 2 * PERIOD, 10, delay=MS)
        + stream("slow", 2 * PERIOD, 10, delay=MS)
    )
    played = play(synchronizer(LIDAR, gps, slow), arrivals)
    assert len(played) == 20
    assert inclusions(played, "gps") == 20
    assert inclusions(played, "slow") == 10


def test_the_next_tick_is_predicted_from_the_anchors_own_rhythm(play: Play) -> None:
    sync = synchronizer()
    play(sync, stream("lidar", 103 * MS, 20, delay=20 * MS))
    last = T0 + 19 * 103 * MS
    assert sync.expected_stamp_ns() == last + 103 * MS
    # Its own usual delay, then the deadline.
    assert sync.next_deadline_ns() == last + (103 + 20 + 40) * MS


def test_nothing_is_predicted_before_anything_came() -> None:
    sync = synchronizer()
    assert sync.next_deadline_ns() is None
    assert sync.expected_stamp_ns() is None
    assert sync.tick(0) is None


def test_a_missing_anchor_or_a_doubled_name_is_refused() -> None:
    with pytest.raises(ValueError, match="not among the sources"):
        synchronizer(CAMERA)
    with pytest.raises(ValueError, match="unique"):
        synchronizer(LIDAR, LIDAR)


def test_an_unknown_source_is_refused_and_counted() -> None:
    sync = synchronizer()
    assert sync.push("nobody", T0, 1, T0) is Verdict.UNKNOWN_SOURCE
    assert sync.totals()["unknown_source"] == 1


# --- waiting, and not waiting -------------------------------------------------------------------


def test_a_live_companion_still_in_flight_is_waited_for_until_the_deadline(play: Play) -> None:
    # A camera at the anchor's rate, 35 ms after it: at the anchor's arrival the last frame is
    # 65 ms old, out of tolerance, and the next one comes 30 ms later, before the deadline.
    camera = replace(CAMERA, rate_hz=10.0)
    arrivals = sorted(stream("lidar", PERIOD, 20) + stream("camera", PERIOD, 20, T0 + 35 * MS))
    played = play(synchronizer(camera, LIDAR), arrivals)
    assert inclusions(played, "camera") == 20
    assert all(tick.entries["camera"].age_ns == -35 * MS for _, tick in played)
    assert all(now - tick.stamp_ns == 40 * MS for now, tick in played)  # when the camera came


def test_a_companion_that_cannot_make_it_is_not_waited_for(play: Play) -> None:
    # As above, but the camera's transport takes 50 ms: 85 ms after the anchor's stamp, where the
    # deadline is at 5 + 40.
    camera = replace(CAMERA, rate_hz=10.0)
    arrivals = sorted(
        stream("lidar", PERIOD, 20) + stream("camera", PERIOD, 20, T0 + 35 * MS, delay=50 * MS)
    )
    played = play(synchronizer(camera, LIDAR), arrivals)
    assert len(played) == 20
    assert all(now - tick.stamp_ns == 5 * MS for now, tick in played[1:])


def test_a_dead_companion_delays_two_ticks_and_then_none(play: Play) -> None:
    arrivals = sorted(stream("lidar", PERIOD, 40) + stream("camera", PERIOD / 3, 60))
    played = play(synchronizer(), arrivals)
    assert len(played) == 40
    assert all(now - tick.stamp_ns <= 45 * MS for now, tick in played)
    waited = [tick.stamp_ns for now, tick in played[1:] if now - tick.stamp_ns > 5 * MS]
    assert len(waited) <= 2


def test_the_first_tick_gives_every_source_until_the_deadline(play: Play) -> None:
    # The camera's message of the same instant comes after the lidar's, as bags have it.
    camera = replace(CAMERA, rate_hz=10.0)
    arrivals = sorted(
        stream("lidar", PERIOD, 5, delay=MS) + stream("camera", PERIOD, 5, delay=3 * MS)
    )
    played = play(synchronizer(camera, LIDAR), arrivals)
    assert inclusions(played, "camera") == inclusions(played, "lidar") == 5


def test_event_streams_are_never_waited_for(play: Play) -> None:
    # Commands come when they come, here once in 12 s, and are kept for 10 s.
    command = SourceConfig("command", "command", rate_hz=0.1, tolerance_ms=10_000.0)
    fixes = SourceConfig("gps", "gps", rate_hz=5.0, tolerance_ms=20.0)
    arrivals = sorted([*stream("lidar", PERIOD, 200), (T0 + 1, "command", T0)])
    arrivals = sorted(arrivals + stream("gps", 200 * MS, 100, T0 + 41 * MS))
    played = play(synchronizer(LIDAR, command, fixes), arrivals)
    assert all(now - tick.stamp_ns == 5 * MS for now, tick in played)


def test_the_wanted_frame_is_the_nearest_that_will_be_there_in_time(play: Play) -> None:
    # Frames every 33 1/3 ms that take 30 ms, sweeps that take 5 ms: at a sweep's arrival, 5 ms
    # past its stamp, the frame of its own stamp is still on its way, and the one before is taken.
    sync = synchronizer()
    frames = stream("camera", PERIOD / 3, 90, T0, delay=30 * MS)
    wanted = []
    taken: list[int] = []
    for now, source, stamp in sorted(stream("lidar", PERIOD, 30) + frames):
        sync.push(source, stamp, stamp, now)
        if source == "camera" and sync.is_wanted(source, stamp):
            wanted.append(stamp)
        while (tick := sync.tick(now)) is not None:
            taken += [e.stamp_ns for name, e in tick.entries.items() if name == "camera"]
    assert set(taken[5:]) <= set(wanted)
    assert len(wanted) <= 32  # about one of three


def test_a_stamp_is_filed_with_its_offset() -> None:
    sync = synchronizer(replace(CAMERA, offset_ms=-30.0), LIDAR)
    assert sync.stamp_of("camera", T0, T0 + MS) == T0 - 30 * MS
    arrival = synchronizer(config=replace(CONFIG, zero_stamp="arrival_time"))
    assert arrival.stamp_of("lidar", 0, T0) == T0


# --- row 12, 25, 26: sensors that are gone ------------------------------------------------------


def test_an_anchor_that_dies_costs_latency_and_no_rate(play: Play) -> None:
    arrivals = sorted(stream("lidar", PERIOD, 20) + stream("camera", PERIOD / 3, 180))
    played = play(synchronizer(), arrivals, T0 + 60 * PERIOD)
    assert stamps_of(played) == [T0 + step * PERIOD for step in range(60)]
    assert [tick.by_deadline for _, tick in played] == [False] * 20 + [True] * 40
    assert all(now - tick.stamp_ns == 45 * MS for now, tick in played[20:])
    assert inclusions(played, "camera") == 60


def test_an_anchor_that_never_comes_leaves_its_nominal_rate(play: Play) -> None:
    played = play(synchronizer(), stream("camera", PERIOD / 3, 90), T0 + 30 * PERIOD)
    assert stamps_of(played) == [T0 + step * PERIOD for step in range(30)]
    assert inclusions(played, "camera") == 30
    assert all(tick.missing == ("lidar",) for _, tick in played)


def test_a_companion_that_never_comes_leaves_everything_else_as_it_is(play: Play) -> None:
    played = play(synchronizer(), stream("lidar", PERIOD, 30))
    assert stamps_of(played) == [T0 + step * PERIOD for step in range(30)]
    assert all(now - tick.stamp_ns == 5 * MS for now, tick in played[1:])  # never waited for


def test_with_every_sensor_lost_empty_ticks_go_on(play: Play) -> None:
    sync = synchronizer()
    arrivals = sorted(stream("lidar", PERIOD, 5) + stream("camera", PERIOD / 3, 15))
    played = play(sync, arrivals, T0 + 50 * PERIOD)
    assert len(played) == 50
    assert all(not tick.entries for _, tick in played[6:])


def test_with_no_sensor_from_the_start_ticks_begin_with_the_clock(play: Play) -> None:
    sync = synchronizer()
    assert sync.tick(T0) is None
    played = play(sync, [], T0 + 10 * PERIOD)
    assert stamps_of(played) == [T0 + step * PERIOD for step in range(10)]
    assert all(tick.missing == ("camera", "lidar") for _, tick in played)


def test_an_anchor_after_its_deadline_makes_no_second_tick_and_can_serve_the_next() -> None:
    # Tolerance wide enough for the late sample to serve the next instant, 100 ms on.
    sync = synchronizer(CAMERA, replace(LIDAR, tolerance_ms=120.0))
    for step in range(3):
        sync.push("lidar", T0 + step * PERIOD, step, T0 + step * PERIOD)
        assert sync.tick(T0 + step * PERIOD + 40 * MS) is not None
    late = T0 + 3 * PERIOD
    fired = sync.tick(late + 40 * MS)
    assert fired is not None
    assert fired.by_deadline and fired.stamp_ns == late and "lidar" in fired.missing
    assert sync.push("lidar", late, 3, late + 50 * MS) is Verdict.ACCEPTED
    assert sync.tick(late + 50 * MS) is None
    assert sync.counters()["lidar"]["late_anchor"] == 1
    after = sync.tick(late + PERIOD + 40 * MS)
    assert after is not None
    assert after.by_deadline and after.stamp_ns == late + PERIOD
    assert after.entries["lidar"].payload == 3


def test_an_anchor_that_returns_at_another_phase_is_followed(play: Play) -> None:
    returns = T0 + 40 * PERIOD + 37 * MS
    arrivals = stream("lidar", PERIOD, 20) + stream("lidar", PERIOD, 20, returns)
    played = play(synchronizer(), arrivals)
    stamps = stamps_of(played)
    assert stamps[-19:] == [returns + step * PERIOD for step in range(1, 20)]
    assert max(np.diff(stamps)) <= 1.5 * PERIOD
    assert inclusions(played, "lidar") >= 39  # at most the first of the returned is lost


def test_a_deadline_tick_never_takes_the_next_instants_anchor() -> None:
    # At 20 Hz the successor of a lost sample lies 50 ms on: within tolerance of the lost instant.
    sync = synchronizer(CAMERA, replace(LIDAR, rate_hz=20.0))
    for step in (0, 1, 3):
        now = T0 + step * 50 * MS
        sync.push("lidar", now, step, now)
    ticks = []
    while (tick := sync.tick(T0 + 150 * MS)) is not None:
        ticks.append(tick)
    assert [tick.stamp_ns - T0 for tick in ticks] == [0, 50 * MS, 100 * MS, 150 * MS]
    assert [tick.by_deadline for tick in ticks] == [False, False, True, False]
    assert ticks[2].missing == ("camera", "lidar")
    assert ticks[3].entries["lidar"].payload == 3


# --- rows 14 to 17: stamps ----------------------------------------------------------------------


def test_out_of_order_within_the_horizon_is_inserted_and_beyond_it_counted() -> None:
    sync = synchronizer(replace(CAMERA, timeout_ms=5000.0), LIDAR)
    now = T0 + 2000 * MS
    assert sync.push("camera", now, 1, now) is Verdict.ACCEPTED
    assert sync.push("camera", now - 1000 * MS, 2, now) is Verdict.ACCEPTED
    assert sync.push("camera", now - 1001 * MS, 3, now) is Verdict.TOO_OLD
    assert sync.counters()["camera"]["too_old"] == 1


def test_a_sample_that_is_stale_on_arrival_is_refused() -> None:
    sync = synchronizer()  # stale after 500 ms, horizon 1000 ms: the larger counts
    assert sync.push("camera", T0, 1, T0 + 1001 * MS) is Verdict.TOO_OLD
    assert sync.push("camera", T0 + 2 * MS, 1, T0 + 1001 * MS) is Verdict.ACCEPTED


def test_duplicate_stamps_are_idempotent_before_and_after_their_tick(play: Play) -> None:
    once = sorted(stream("lidar", PERIOD, 10) + stream("camera", PERIOD, 10))
    thrice = [arrival for arrival in once for _ in range(3)]
    camera = replace(CAMERA, rate_hz=10.0)
    sync = synchronizer(camera, LIDAR)
    doubled = [tick for _, tick in play(sync, thrice)]
    plain = [tick for _, tick in play(synchronizer(camera, LIDAR), once)]
    assert doubled == plain
    assert sync.counters()["lidar"]["duplicate"] == 20


def test_future_stamps_are_refused_and_block_nothing(play: Play) -> None:
    hour = 3_600_000 * MS
    sync = synchronizer()
    ahead = [(T0, "lidar", T0 + hour + step * PERIOD) for step in range(10)]
    ahead += [(T0, "camera", T0 + hour + step * PERIOD) for step in range(10)]
    assert play(sync, ahead) == []
    assert sync.counters()["lidar"] == {"future": 10}
    later = sorted(stream("lidar", PERIOD, 30) + stream("camera", PERIOD / 3, 90))
    played = play(sync, later)
    assert inclusions(played, "lidar") == inclusions(played, "camera") == 30


def test_the_future_allowance_is_exact() -> None:
    sync = synchronizer()
    assert sync.push("camera", T0 + 100 * MS, 1, T0) is Verdict.ACCEPTED
    assert sync.push("camera", T0 + 100 * MS + 1, 1, T0) is Verdict.FUTURE


def test_an_early_anchor_within_the_allowance_does_not_shut_out_the_honest_ones(play: Play) -> None:
    honest = stream("lidar", PERIOD, 20)
    rogue = (honest[10][0] + MS, "lidar", honest[10][0] + 95 * MS)
    played = play(synchronizer(), sorted([*honest, rogue]))
    assert {T0 + step * PERIOD for step in range(20)} <= set(stamps_of(played))


def test_an_anchor_whose_clock_is_ahead_is_not_held_back(play: Play) -> None:
    played = play(synchronizer(), stream("lidar", PERIOD, 20, delay=-30 * MS))
    assert all(now == tick.stamp_ns - 30 * MS for now, tick in played[1:])


def test_stamp_zero_is_rejected_or_becomes_the_arrival_time() -> None:
    assert synchronizer().push("lidar", 0, 1, T0) is Verdict.ZERO_STAMP
    arrival = synchronizer(config=replace(CONFIG, zero_stamp="arrival_time"))
    assert arrival.push("lidar", 0, 1, T0) is Verdict.ACCEPTED
    tick = arrival.tick(T0 + 40 * MS)
    assert tick is not None
    assert tick.stamp_ns == T0
