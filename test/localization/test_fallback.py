"""Odometry from the lidar, only where nobody else gives any."""

from __future__ import annotations

import numpy as np
import pytest

from mm_fusion_ros.geometry import planar
from mm_fusion_ros.localization.fallback import PATIENCE_NS, OdometryFallback
from mm_fusion_ros.samples import OdometrySample

POINTS = np.zeros((10, 4), np.float32)


class Registration:
    """Gives one pose a scan."""

    made = 0

    def __init__(self) -> None:
        type(self).made += 1
        self.stamps: list[int] = []
        self.is_closed = False

    def push(self, points: np.ndarray, stamp_ns: int) -> None:
        self.stamps.append(stamp_ns)

    def poll(self) -> list[OdometrySample]:
        stamps, self.stamps = self.stamps, []
        zero = np.zeros((6, 6))
        return [
            OdometrySample(s, "odom", "lidar", planar(0, 0, 0), np.zeros(6), zero, zero)
            for s in stamps
        ]

    def reset(self) -> None:
        self.stamps = []

    def close(self) -> None:
        self.is_closed = True


def fallback(mode: str, *, is_expected: bool) -> OdometryFallback:
    Registration.made = 0
    return OdometryFallback(mode, is_expected=is_expected, make=Registration)  # type: ignore[arg-type]


def test_without_an_odometry_topic_every_scan_gives_a_pose() -> None:
    one = fallback("auto", is_expected=False)
    assert [s.stamp_ns for s in one.push(POINTS, 5)] == [5]
    assert one.is_active


def test_a_topic_that_is_expected_gets_two_seconds_to_begin() -> None:
    one = fallback("auto", is_expected=True)
    assert one.push(POINTS, 0) == []
    assert one.push(POINTS, PATIENCE_NS - 1) == []
    assert len(one.push(POINTS, PATIENCE_NS)) == 1


def test_a_topic_that_speaks_ends_it_and_says_that_the_frame_changed() -> None:
    one = fallback("auto", is_expected=True)
    assert not one.hear()  # nothing came from the lidar yet
    assert one.push(POINTS, 0) == [] and one.push(POINTS, 10 * PATIENCE_NS) == []
    other = fallback("auto", is_expected=False)
    other.push(POINTS, 0)
    assert other.hear()
    assert not other.is_active


@pytest.mark.parametrize(("mode", "poses"), [("never", 0), ("always", 1)])
def test_always_and_never_mean_it(mode: str, poses: int) -> None:
    one = fallback(mode, is_expected=True)
    one.hear()
    assert len(one.push(POINTS, 0)) == poses


def test_where_it_cannot_be_made_it_is_tried_once_and_nothing_breaks() -> None:
    tries = []

    def broken() -> Registration:
        tries.append(1)
        raise RuntimeError("kiss-icp is not installed")

    one = OdometryFallback("always", is_expected=False, make=broken)  # type: ignore[arg-type]
    assert one.push(POINTS, 0) == [] and one.push(POINTS, 1) == []
    assert len(tries) == 1
