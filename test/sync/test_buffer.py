"""The buffer keeps order, gives each sample out once, and forgets in bounds."""

from __future__ import annotations

from mm_fusion_ros.sync.buffer import SampleBuffer
from mm_fusion_ros.sync.tick import Verdict


def buffer(capacity: int = 8, memory_ns: int = 1000, reusable: bool = False) -> SampleBuffer[str]:
    return SampleBuffer(capacity, memory_ns, reusable)


def test_a_sample_out_of_order_is_inserted_where_it_belongs() -> None:
    samples = buffer()
    for stamp_ns in (100, 300, 200):
        assert samples.insert(stamp_ns, f"at {stamp_ns}") is Verdict.ACCEPTED
    assert samples.take(210, 50) == (200, "at 200")
    assert samples.newest_ns == 300


def test_the_nearest_stamp_wins_and_the_older_of_equals() -> None:
    samples = buffer()
    samples.insert(100, "a")
    samples.insert(200, "b")
    assert samples.nearest(149, 100) == 100
    assert samples.nearest(150, 100) == 100  # 50 to either side
    assert samples.nearest(151, 100) == 200
    assert samples.nearest(251, 50) is None  # 51 away


def test_the_tolerance_is_inclusive() -> None:
    samples = buffer()
    samples.insert(100, "a")
    assert samples.nearest(140, 40) == 100
    assert samples.nearest(141, 40) is None


def test_a_taken_sample_is_never_given_out_again_and_neither_is_an_older_one() -> None:
    samples = buffer()
    samples.insert(100, "a")
    samples.insert(110, "b")
    assert samples.take(111, 50) == (110, "b")
    assert samples.take(112, 50) is None
    assert samples.passed_over == 1  # "a"
    assert samples.held == 0


def test_a_duplicate_of_a_taken_sample_is_still_recognised() -> None:
    samples = buffer()
    samples.insert(100, "a")
    samples.take(100, 0)
    assert samples.insert(100, "again") is Verdict.DUPLICATE
    assert samples.take(100, 0) is None


def test_a_late_sample_below_a_taken_one_is_counted_as_passed_over() -> None:
    samples = buffer()
    samples.insert(100, "a")
    samples.take(100, 0)
    assert samples.insert(90, "late") is Verdict.ACCEPTED
    assert samples.passed_over == 1
    assert samples.held == 0


def test_later_samples_can_be_kept_for_later_ticks() -> None:
    samples = buffer()
    samples.insert(90, "mine")
    samples.insert(105, "the next one's")
    assert samples.take(100, 20, not_after_ns=102) == (90, "mine")
    assert samples.take(106, 20) == (105, "the next one's")


def test_a_full_buffer_drops_its_oldest_and_counts_it() -> None:
    samples = buffer(capacity=3)
    for stamp_ns in (10, 20, 30, 40):
        assert samples.insert(stamp_ns, "x") is Verdict.ACCEPTED
    assert len(samples) == 3
    assert samples.overflowed == 1
    assert samples.nearest(10, 5) is None
    assert samples.insert(10, "again") is Verdict.TOO_OLD  # never taken in twice


def test_a_sample_older_than_all_in_a_full_buffer_is_refused() -> None:
    samples = buffer(capacity=2)
    samples.insert(20, "a")
    samples.insert(30, "b")
    assert samples.insert(10, "c") is Verdict.OVERFLOW
    assert samples.overflowed == 0  # counted by the verdict


def test_stamps_beyond_the_memory_are_forgotten_and_not_taken_again() -> None:
    samples = buffer(memory_ns=100)
    samples.insert(50, "a")
    samples.insert(151, "b")  # 101 newer
    assert len(samples) == 1
    assert samples.passed_over == 1
    assert samples.insert(50, "a") is Verdict.TOO_OLD


def test_a_reusable_sample_serves_several_ticks() -> None:
    samples = buffer(reusable=True)
    samples.insert(100, "state")
    assert samples.take(100, 50) == (100, "state")
    assert samples.take(140, 50) == (100, "state")
    assert samples.take(151, 50) is None


def test_a_payload_of_none_is_a_payload() -> None:
    samples: SampleBuffer[None] = SampleBuffer(4, 1000, reusable=False)
    samples.insert(100, None)
    samples.insert(200, None)
    assert samples.take(200, 10) == (200, None)
    assert samples.passed_over == 1


def test_clearing_says_how_many_samples_were_held_and_takes_old_stamps_again() -> None:
    samples = buffer()
    samples.insert(500, "a")
    samples.insert(600, "b")
    samples.take(500, 0)
    assert samples.clear() == 1
    assert samples.insert(100, "after") is Verdict.ACCEPTED
    assert samples.take(100, 0) == (100, "after")
