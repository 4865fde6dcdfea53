"""What is said of the machine."""

from __future__ import annotations

from itertools import count

from mm_fusion_ros.evaluation.machine import PRODUCT, described, machine, speed


def test_the_speed_is_the_work_over_the_time() -> None:
    # A clock that goes on by a millisecond each time it is read.
    ticks = count(0, 1_000_000)
    assert speed(lambda: next(ticks)) == 2.0 * PRODUCT**3 / 1e6


def test_the_line_names_processor_and_cores() -> None:
    facts = machine()
    assert facts["processor"] in described(facts)
    assert f"{facts['cores']} cores" in described(facts)
