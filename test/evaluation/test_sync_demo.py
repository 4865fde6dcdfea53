"""The demonstration shows what it says: the baseline stalls, the deadline synchronizer does not."""

from __future__ import annotations

import pytest

from mm_fusion_ros.evaluation.sync_demo import (
    ApproximateTimeBaseline,
    Tally,
    baseline_runner,
    deadline_runner,
    future_stamps,
    looped_bag,
    push_cost_us,
)


@pytest.mark.parametrize("dying", [0, 1])
def test_approximate_time_gives_nothing_after_the_first_loop(dying: int) -> None:
    # 30 s at 10 Hz are 300 pairs; 15 of them lack the stream that dies 1.5 s before the end.
    runner = baseline_runner()
    assert [runner(part).complete for part in looped_bag(dying)] == [285, 0, 0]


@pytest.mark.parametrize("dying", [0, 1])
def test_the_deadline_synchronizer_is_complete_in_every_loop(dying: int) -> None:
    runner = deadline_runner()
    assert [runner(part) for part in looped_bag(dying)] == [Tally(285, 300)] * 3


def test_ten_future_stamps_end_approximate_time_and_not_the_deadline_synchronizer() -> None:
    baseline, deadline = baseline_runner(), deadline_runner()
    assert [baseline(part).complete for part in future_stamps()] == [0, 0]
    assert [deadline(part).complete for part in future_stamps()] == [0, 100]


def test_the_baseline_matches_the_nearest_within_the_slop_once() -> None:
    matcher = ApproximateTimeBaseline(topics=2, queue_size=10, slop_ns=50)
    assert matcher.add(0, 100, "a") is None
    assert matcher.add(0, 130, "b") is None
    assert matcher.add(1, 120, "c") == ("b", "c")  # 10 away; "a" is 20 away
    assert matcher.add(1, 121, "d") == ("a", "d")
    assert matcher.add(1, 122, "e") is None  # both are used


def test_the_baseline_keeps_the_highest_stamps() -> None:
    matcher = ApproximateTimeBaseline(topics=2, queue_size=1, slop_ns=50)
    matcher.add(0, 1000, "later")
    assert matcher.add(0, 100, "now") is None
    assert matcher.add(1, 100, "now") is None  # its partner was thrown out as the oldest


def test_the_cost_of_a_push_is_measured() -> None:
    cost = push_cost_us(pushes=500)
    assert 0.0 < cost["push_median_us"] <= cost["push_p99_us"]
