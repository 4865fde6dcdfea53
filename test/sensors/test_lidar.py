"""Scans to points in base_link (fault rows 1 and 2)."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import expm

from mm_fusion_ros import geometry
from mm_fusion_ros.config import LidarConfig
from mm_fusion_ros.samples import LidarScan
from mm_fusion_ros.sensors.lidar import LidarIntake, deskew, exponentials
from mm_fusion_ros.sensors.rejection import Rejected

INTAKE = LidarIntake(LidarConfig(min_range_m=0.5, max_range_m=60.0))
BASE_FROM_LIDAR = geometry.from_euler(np.array([0.3, -0.1, 1.2]), 0.02, -0.05, 2.0)


def scan_of(points: np.ndarray, **changes: object) -> LidarScan:
    scan = LidarScan(5, "lidar", "top", np.asarray(points, np.float32), np.eye(4))
    return dataclasses.replace(scan, **changes)


def ring(count: int = 720, radius: float = 10.0) -> np.ndarray:
    azimuth = np.arange(count) * (2 * np.pi / count) + 0.001
    return np.column_stack(
        [radius * np.cos(azimuth), radius * np.sin(azimuth), np.zeros(count), np.full(count, 0.5)]
    ).astype(np.float32)


def test_points_are_brought_to_base_link_with_their_intensity() -> None:
    points = ring()
    prepared, _ = INTAKE.accept(scan_of(points, base_from_lidar=BASE_FROM_LIDAR))
    expected = points[:, :3].astype(np.float64) @ BASE_FROM_LIDAR[:3, :3].T + BASE_FROM_LIDAR[:3, 3]
    assert prepared.points.dtype == np.float32
    assert np.abs(prepared.points[:, :3] - expected).max() < 1e-5
    assert np.array_equal(prepared.points[:, 3], points[:, 3])


def test_points_that_are_not_finite_are_masked_and_counted() -> None:
    points = ring(100)
    points[3, 0], points[10, 1], points[20, 2], points[21, 2] = np.nan, np.inf, -np.inf, np.nan
    prepared, quality = INTAKE.accept(scan_of(points))
    assert len(prepared.points) == 96 and np.isfinite(prepared.points).all()
    assert prepared.invalid == 4
    assert quality["invalid_fraction"] == pytest.approx(0.04)


def test_an_intensity_that_is_not_a_number_is_zero_and_costs_no_point() -> None:
    points = ring(4)
    points[:, 3] = [np.nan, -1.0, 7.0, 0.25]
    prepared, quality = INTAKE.accept(scan_of(points))
    assert prepared.points[:, 3].tolist() == [0.0, 0.0, 1.0, 0.25]
    assert quality["invalid_fraction"] == 0.0


def test_range_is_measured_from_the_lidar_not_from_the_robot() -> None:
    # The lidar sits 5 m up: a point 0.6 m from it stays, one 0.4 m from it goes.
    mounting = geometry.from_euler(np.array([0.0, 0.0, 5.0]), 0.0, 0.0, 0.0)
    points = np.array([[0.6, 0, 0, 0], [0.4, 0, 0, 0], [0, 59.9, 0, 0], [0, 60.1, 0, 0]])
    prepared, quality = INTAKE.accept(scan_of(points, base_from_lidar=mounting))
    assert np.allclose(prepared.points[:, :3], [[0.6, 0, 5], [0, 59.9, 5]])
    assert prepared.invalid == 0
    assert quality["mean_range"] == pytest.approx((0.6 + 59.9) / 2)


def test_beams_without_return_are_near_points_not_invalid_ones() -> None:
    points = np.vstack([ring(50), np.zeros((50, 4))])
    prepared, quality = INTAKE.accept(scan_of(points))
    assert len(prepared.points) == 50 and quality["invalid_fraction"] == 0.0
    # Even where no near limit is set.
    open_intake = LidarIntake(LidarConfig(min_range_m=0.0))
    assert len(open_intake.accept(scan_of(points))[0].points) == 50


@pytest.mark.parametrize(
    ("points", "invalid_fraction"),
    [(np.zeros((0, 4)), 0.0), (np.full((10, 4), np.nan), 1.0), (np.full((10, 4), 1e30), 1.0)],
)
def test_a_scan_without_usable_points_is_present_and_useless(
    points: np.ndarray, invalid_fraction: float
) -> None:
    offsets = np.zeros(len(points), np.int64)
    twist = np.array([1.0, 0, 0, 0, 0, 1.0])
    prepared, quality = INTAKE.accept(scan_of(points, time_offset_ns=offsets), twist)
    assert prepared.points.shape == (0, 4)
    assert quality["points"] == 0.0 and quality["coverage"] == 0.0
    assert quality["mean_range"] == 0.0
    assert quality["invalid_fraction"] == invalid_fraction


def test_coverage_is_the_part_of_the_circle_that_is_seen() -> None:
    full = INTAKE.accept(scan_of(ring()))[1]
    quarter = INTAKE.accept(scan_of(ring()[:180]))[1]
    assert full["coverage"] == 1.0
    # 90 degrees hold 45 of 180 bins.
    assert quarter["coverage"] == pytest.approx(45 / 180)


def test_the_checksum_is_equal_for_equal_scans_only() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(0, 10, (50_000, 4)).astype(np.float32)
    noisy = points + rng.normal(0, 0.01, points.shape).astype(np.float32)
    checksums = [INTAKE.accept(scan_of(p))[1]["checksum"] for p in (points, points.copy(), noisy)]
    assert checksums[0] == checksums[1] != checksums[2]
    assert checksums[0] == int(checksums[0]) and 0 <= checksums[0] < 2**32


def test_a_static_world_seen_from_a_moving_robot_is_put_together_again() -> None:
    twist = np.array([8.0, 0.5, 0.1, 0.02, -0.03, 1.2])
    world = ring(3600, 15.0)[:, :3].astype(np.float64)
    offsets = np.linspace(-20_000_000, 80_000_000, len(world)).astype(np.int64)
    # By the matrix exponential of the twist, point by point, as an independent reference.
    generator = np.zeros((4, 4))
    generator[:3, :3] = np.cross(np.eye(3), twist[3:])
    generator[:3, 3] = twist[:3]
    poses = expm(generator * (offsets[:, None, None] * 1e-9))
    in_base = np.einsum("nij,nj->ni", np.linalg.inv(poses)[:, :3, :3], world - poses[:, :3, 3])
    in_lidar = geometry.apply(geometry.inverse(BASE_FROM_LIDAR), in_base)
    scan = scan_of(
        np.column_stack([in_lidar, np.zeros(len(world))]),
        base_from_lidar=BASE_FROM_LIDAR,
        time_offset_ns=offsets,
    )
    skewed, _ = INTAKE.accept(scan)
    straight, _ = INTAKE.accept(scan, twist)
    assert np.abs(skewed.points[:, :3] - world).max() > 1.0
    # Half of a step of 0.1 s / 127 is 0.4 ms: 3 mm at 8 m/s, and 7 mm at 15 m and 1.2 rad/s.
    assert np.abs(straight.points[:, :3] - world).max() < 0.011


def test_motion_may_be_asked_for_by_stamp() -> None:
    asked = []

    def motion(stamp_ns: int) -> np.ndarray:
        asked.append(stamp_ns)
        return np.array([10.0, 0, 0, 0, 0, 0])

    scan = scan_of([[5.0, 0, 0, 0], [5.0, 0, 0, 0]], time_offset_ns=np.array([0, 50_000_000]))
    prepared, _ = INTAKE.accept(scan, motion)
    # The second was seen 0.05 s later, 0.5 m farther on.
    assert np.allclose(prepared.points[:, 0], [5.0, 5.5], atol=1e-5)
    assert asked == [5]


def test_without_known_motion_or_times_points_stay_where_they_are() -> None:
    scan = scan_of([[5.0, 0, 0, 0]], time_offset_ns=np.array([50_000_000]))
    for prepared, _ in (
        INTAKE.accept(scan, None),
        INTAKE.accept(scan, lambda stamp_ns: None),
        INTAKE.accept(scan, np.zeros(6)),
        INTAKE.accept(scan_of([[5.0, 0, 0, 0]]), np.ones(6)),
    ):
        assert prepared.points[0, 0] == 5.0


@given(st.lists(st.floats(-3.0, 3.0), min_size=6, max_size=6), st.floats(-1.0, 1.0))
def test_exponentials_are_the_matrix_exponential(values: list[float], time_s: float) -> None:
    twist = np.array(values)
    generator = np.zeros((4, 4))
    generator[:3, :3] = np.cross(np.eye(3), twist[3:])
    generator[:3, 3] = twist[:3]
    found = exponentials(twist, np.array([time_s]))[0]
    assert np.abs(found - expm(generator * time_s)).max() < 1e-6


def test_a_motion_that_is_not_finite_is_refused() -> None:
    with pytest.raises(Rejected) as verdict:
        deskew(ring(3), np.array([0, 1, 2]), np.full(6, np.nan))
    assert verdict.value.reason == "nan"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"points": np.zeros((5, 3), np.float32)}, "field"),
        ({"points": np.zeros((5, 4), np.float64)}, "field"),
        ({"points": np.broadcast_to(np.zeros(4, np.float32), (1_000_001, 4))}, "size"),
        ({"base_from_lidar": np.zeros((4, 4))}, "transform"),
        ({"base_from_lidar": np.full((4, 4), np.nan)}, "nan"),
        ({"time_offset_ns": np.zeros(3, np.int64)}, "field"),
        ({"time_offset_ns": np.full(4, 2_000_000_000)}, "stamp"),
        ({"time_offset_ns": np.full(4, np.iinfo(np.int64).min)}, "stamp"),
    ],
)
def test_a_scan_that_makes_no_sense_is_refused(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(Rejected) as verdict:
        INTAKE.accept(dataclasses.replace(scan_of(ring(4)), **changes))
    assert verdict.value.reason == reason


def test_the_message_s_memory_is_left_alone() -> None:
    points = ring(100)
    points[:, 3] = 3.0
    points.flags.writeable = False
    before = points.copy()
    prepared, _ = INTAKE.accept(scan_of(points, base_from_lidar=BASE_FROM_LIDAR))
    prepared.points[:] = 0.0
    assert np.array_equal(points, before)
