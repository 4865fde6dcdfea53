"""Each way a sensor goes bad costs it its trust, for the reason that is true."""

from __future__ import annotations

import itertools
import math

import pytest

from mm_fusion_ros.config import ReliabilityConfig, SourceConfig
from mm_fusion_ros.outputs import Reason
from mm_fusion_ros.reliability.monitors import SourceMonitor, rising, strongest

MS = 1_000_000
T0 = 1_700_000_000_000 * MS
LIMITS = ReliabilityConfig()
CAMERA = SourceConfig("front", "camera", rate_hz=30.0, timeout_ms=500.0)
LIDAR = SourceConfig("top", "lidar", rate_hz=10.0, timeout_ms=500.0)
GOOD_IMAGE = {
    "brightness": 0.4,
    "contrast": 0.5,
    "dark_fraction": 0.0,
    "saturated_fraction": 0.01,
    "sharpness": 0.005,
    "noise_sigma": 0.005,
}
GOOD_SCAN = {"points": 30_000.0, "invalid_fraction": 0.02, "coverage": 1.0, "mean_range": 12.0}


def watched(
    source: SourceConfig, figures: dict[str, float], samples: int = 1, moving: bool | None = True
) -> tuple[SourceMonitor, int]:
    """A monitor after some samples of different content, and the stamp of the last."""
    monitor = SourceMonitor(source, LIMITS)
    period_ns = round(1e9 / source.rate_hz)
    stamp_ns = T0
    for step in range(samples):
        stamp_ns = T0 + step * period_ns
        monitor.observe(stamp_ns, {**figures, "checksum": float(step)}, moving)
    return monitor, stamp_ns


def camera(**changed: float) -> tuple[float, Reason]:
    monitor, now = watched(CAMERA, {**GOOD_IMAGE, **changed})
    return monitor.judge(now)


def lidar(**changed: float) -> tuple[float, Reason]:
    monitor, now = watched(LIDAR, {**GOOD_SCAN, **changed})
    return monitor.judge(now)


def test_a_good_sensor_is_trusted_wholly() -> None:
    assert camera() == (1.0, Reason.OK)
    assert lidar() == (1.0, Reason.OK)


def test_what_never_came_is_missing() -> None:
    assert SourceMonitor(CAMERA, LIMITS).judge(T0) == (0.0, Reason.MISSING)


# --- age ----------------------------------------------------------------------------------------


def test_trust_falls_with_age_and_is_gone_at_the_timeout() -> None:
    monitor, now = watched(LIDAR, GOOD_SCAN, samples=3)
    # Two periods of 100 ms are free; from there it falls to 0 at 500 ms.
    assert monitor.judge(now + 200 * MS) == (1.0, Reason.OK)
    trust, reason = monitor.judge(now + 350 * MS)
    assert trust == pytest.approx(0.5)
    assert reason is Reason.STALE
    assert monitor.judge(now + 500 * MS) == (0.0, Reason.STALE)
    assert monitor.judge(now + 60_000 * MS) == (0.0, Reason.STALE)


def test_a_sample_from_a_little_ahead_of_the_clock_is_fresh() -> None:
    monitor, now = watched(LIDAR, GOOD_SCAN)
    assert monitor.judge(now - 50 * MS) == (1.0, Reason.OK)


def test_a_command_is_believed_until_its_timeout() -> None:
    command = SourceConfig("command", "command", rate_hz=0.1, timeout_ms=10_000.0)
    monitor, now = watched(command, {})
    assert monitor.judge(now + 9_900 * MS) == (1.0, Reason.OK)
    assert monitor.judge(now + 10_000 * MS) == (0.0, Reason.STALE)


def test_an_older_sample_changes_neither_age_nor_figures() -> None:
    monitor, now = watched(LIDAR, GOOD_SCAN, samples=5)
    monitor.observe(now - 150 * MS, {"points": 0.0, "coverage": 0.0}, True)
    assert monitor.newest_ns == now
    assert monitor.judge(now) == (1.0, Reason.OK)


def test_the_rate_is_measured() -> None:
    monitor, _ = watched(LIDAR, GOOD_SCAN, samples=20)
    assert monitor.rate_hz == pytest.approx(10.0)
    assert SourceMonitor(LIDAR, LIMITS).rate_hz is None


# --- frozen -------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", [CAMERA, LIDAR])
def test_the_third_equal_sample_of_a_moving_robot_is_frozen(source: SourceConfig) -> None:
    figures = GOOD_IMAGE if source is CAMERA else GOOD_SCAN
    monitor, now = watched(source, figures, samples=5)
    verdicts = []
    for step in range(1, 4):
        monitor.observe(now + step * MS, {**figures, "checksum": 77.0}, True)
        verdicts.append(monitor.judge(now + step * MS))
    assert verdicts == [(1.0, Reason.OK), (1.0, Reason.OK), (0.0, Reason.FROZEN)]
    # One new sample, and it lives again.
    monitor.observe(now + 10 * MS, {**figures, "checksum": 78.0}, True)
    assert monitor.judge(now + 10 * MS) == (1.0, Reason.OK)


@pytest.mark.parametrize("moving", [False, None])
def test_equal_frames_of_a_standing_robot_are_no_fault(moving: bool | None) -> None:
    monitor, now = watched(CAMERA, GOOD_IMAGE, samples=50, moving=False)
    for step in range(1, 50):
        monitor.observe(now + step * MS, {**GOOD_IMAGE, "checksum": 77.0}, moving)
    assert monitor.judge(now + 49 * MS) == (1.0, Reason.OK)


def test_equal_frames_of_a_sensor_known_to_have_noise_are_a_fault_at_rest_too() -> None:
    noisy = SourceConfig("front", "camera", rate_hz=30.0, noisy=True)
    monitor, now = watched(noisy, GOOD_IMAGE, samples=2, moving=False)
    for step in range(1, 4):
        monitor.observe(now + step * MS, {**GOOD_IMAGE, "checksum": 77.0}, False)
    assert monitor.judge(now + 3 * MS) == (0.0, Reason.FROZEN)


def test_equal_fixes_are_left_to_the_filter() -> None:
    gps = SourceConfig("gps", "gps", rate_hz=5.0, timeout_ms=3000.0)
    monitor, now = watched(gps, {"sigma_m": 1.0})
    for step in range(1, 10):
        monitor.observe(now + step * MS, {"sigma_m": 1.0, "checksum": 77.0}, True)
    assert monitor.judge(now + 9 * MS) == (1.0, Reason.OK)


# --- camera -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"brightness": 0.0, "contrast": 0.0, "sharpness": 0.0, "dark_fraction": 1.0}, Reason.DARK),
        ({"brightness": 0.04, "contrast": 0.5, "dark_fraction": 0.9}, Reason.DARK),
        ({"brightness": 1.0, "contrast": 0.0, "saturated_fraction": 1.0}, Reason.SATURATED),
        ({"saturated_fraction": 0.7}, Reason.SATURATED),
        ({"sharpness": 0.0001}, Reason.BLURRED),
        ({"contrast": 0.04, "brightness": 0.75}, Reason.BLURRED),  # dense fog
        ({"blockiness": 6.0}, Reason.BLURRED),
        ({"noise_sigma": 0.2}, Reason.NOISY),
    ],
)
def test_a_bad_image_is_named_by_its_true_cause(changed: dict[str, float], reason: Reason) -> None:
    trust, named = camera(**changed)
    assert named is reason
    assert trust < 0.6


def test_what_is_not_white_keeps_its_say_until_hardly_anything_is_left() -> None:
    trusts = [camera(saturated_fraction=white)[0] for white in (0.2, 0.5, 0.9, 0.97, 1.0)]
    assert trusts == sorted(trusts, reverse=True)
    assert trusts[0] == 1.0 and trusts[1] > 0.6 and trusts[2] > 0.2 and trusts[-1] == 0.0


def test_a_black_image_is_dark_and_has_no_trust() -> None:
    assert camera(
        brightness=0.0, contrast=0.0, sharpness=0.0, dark_fraction=1.0, noise_sigma=0.0
    ) == (0.0, Reason.DARK)


def test_trust_falls_smoothly_and_never_rises_as_it_gets_darker() -> None:
    levels = [0.12 * step / 40 for step in range(41)]
    trusts = [camera(brightness=level)[0] for level in levels]
    steps = [later - earlier for earlier, later in itertools.pairwise(trusts)]
    assert min(steps) >= 0.0
    assert max(steps) < 0.1  # a slope of 1 in 0.06, in steps of 0.003
    assert trusts[0] == 0.0
    assert trusts[-1] == 1.0


@pytest.mark.parametrize(
    ("figure", "usual", "now", "reason"),
    [
        ("flat_fraction", 0.1, 0.8, Reason.BLURRED),  # dirt on the lens
        ("contrast", 0.6, 0.25, Reason.BLURRED),  # haze, as far as this camera is concerned
        ("red", 0.05, 0.85, Reason.OUT_OF_DISTRIBUTION),
        ("blue", 0.05, -0.75, Reason.OUT_OF_DISTRIBUTION),
    ],
)
def test_a_camera_is_held_against_what_it_usually_shows(
    figure: str, usual: float, now: float, reason: Reason
) -> None:
    monitor, at = watched(CAMERA, {**GOOD_IMAGE, figure: usual}, samples=30)
    assert monitor.judge(at) == (1.0, Reason.OK)
    for step in range(1, 4):
        monitor.observe(at + step * 33 * MS, {**GOOD_IMAGE, figure: now, "checksum": step}, True)
    trust, named = monitor.judge(at + 99 * MS)
    assert trust < 0.5 and named is reason
    # And it is itself again at once.
    monitor.observe(at + 132 * MS, {**GOOD_IMAGE, figure: usual}, True)
    assert monitor.judge(at + 132 * MS)[0] > 0.95


# --- lidar --------------------------------------------------------------------------------------


def test_an_empty_scan_is_sparse_and_has_no_trust() -> None:
    assert lidar(points=0.0, coverage=0.0) == (0.0, Reason.SPARSE)


def test_a_lidar_that_goes_on_sending_empty_scans_is_sparse_and_not_frozen() -> None:
    monitor, now = watched(LIDAR, GOOD_SCAN, samples=5)
    for step in range(1, 10):
        empty = {"points": 0.0, "coverage": 0.0, "checksum": 0.0}
        monitor.observe(now + step * 100 * MS, empty, True)
    assert monitor.judge(now + 900 * MS) == (0.0, Reason.SPARSE)


def test_trust_falls_with_the_fraction_of_invalid_points() -> None:
    assert lidar(invalid_fraction=0.5)[0] == 1.0  # as where half of the sky returns nothing
    trust, reason = lidar(invalid_fraction=0.8)
    assert trust == pytest.approx(0.4)  # 0.2 of the way left, of 0.5
    assert reason is Reason.NOISY
    assert lidar(invalid_fraction=1.0)[0] == 0.0


def test_a_lidar_that_loses_most_of_its_usual_points_is_sparse_at_once() -> None:
    monitor, now = watched(LIDAR, GOOD_SCAN, samples=30)
    monitor.observe(now + 100 * MS, {**GOOD_SCAN, "points": 6_000.0}, True)
    trust, reason = monitor.judge(now + 100 * MS)
    # The root of a fifth, where 0.7 would do. The usual has followed a little.
    assert trust == pytest.approx(math.sqrt(0.2) / 0.7, abs=0.01)
    assert reason is Reason.SPARSE


def test_a_narrow_lidar_is_held_against_its_own_view_and_not_a_full_circle() -> None:
    narrow = {**GOOD_SCAN, "coverage": 0.33}
    monitor, now = watched(LIDAR, narrow, samples=30)
    assert monitor.judge(now) == (1.0, Reason.OK)
    monitor.observe(now + 100 * MS, {**narrow, "coverage": 0.17}, True)
    assert monitor.judge(now + 100 * MS)[1] is Reason.SPARSE


def test_what_is_usual_follows_into_the_open_field() -> None:
    monitor, now = watched(LIDAR, GOOD_SCAN, samples=30)
    for step in range(1, 400):  # 40 s with a third of the points
        now += 100 * MS
        monitor.observe(now, {**GOOD_SCAN, "points": 10_000.0, "checksum": float(-step)}, True)
    assert monitor.judge(now) == (1.0, Reason.OK)


def test_white_balance_may_settle_at_the_start() -> None:
    monitor, now = watched(CAMERA, {**GOOD_IMAGE, "red": 0.5}, samples=1)
    for step in range(1, 31):
        now += 100 * MS
        red = 0.5 * 0.7**step
        monitor.observe(now, {**GOOD_IMAGE, "red": red, "checksum": float(now)}, True)
    trust, reason = monitor.judge(now)
    assert trust > 0.8 and reason is Reason.OK
    # But not later.
    for _ in range(5):
        now += 100 * MS
        monitor.observe(now, {**GOOD_IMAGE, "red": 1.1, "checksum": float(now)}, True)
    assert monitor.judge(now)[0] < 0.5


def test_a_covered_lens_does_not_become_what_is_usual() -> None:
    monitor, now = watched(CAMERA, {**GOOD_IMAGE, "red": 0.0}, samples=30)
    # Black, and its noise is of any colour and has much contrast for its light.
    black = {**GOOD_IMAGE, "brightness": 0.004, "dark_fraction": 1.0, "contrast": 1.2, "red": 0.6}
    for _ in range(100):
        now += 33 * MS
        monitor.observe(now, {**black, "checksum": float(now)}, True)
    assert monitor.judge(now) == (0.0, Reason.DARK)
    monitor.observe(now + 33 * MS, {**GOOD_IMAGE, "red": 0.0}, True)
    assert monitor.judge(now + 33 * MS) == (1.0, Reason.OK)


def test_a_lidar_whose_ranges_scatter_is_noisy() -> None:
    assert lidar(range_noise=0.05)[0] == 1.0
    trust, reason = lidar(range_noise=0.7)
    assert trust < 0.5 and reason is Reason.NOISY


@pytest.mark.parametrize("figure", ["stray_fraction", "rough_fraction"])
def test_what_hangs_in_the_air_is_held_against_what_usually_does(figure: str) -> None:
    # As many as where a robot lives among bushes, and no harm.
    usual = {"stray_fraction": 0.05, "rough_fraction": 0.2}[figure]
    scan = {**GOOD_SCAN, figure: usual}
    monitor, now = watched(LIDAR, scan, samples=30)
    assert monitor.judge(now) == (1.0, Reason.OK)
    monitor.observe(now + 100 * MS, {**scan, figure: usual + 0.4}, True)
    trust, reason = monitor.judge(now + 100 * MS)
    assert trust < 0.5 and reason is Reason.NOISY


# --- the rest -----------------------------------------------------------------------------------


def test_refused_messages_cost_trust_and_accepted_ones_earn_it_back() -> None:
    monitor, now = watched(CAMERA, GOOD_IMAGE, samples=10)
    for _ in range(10):
        monitor.reject()
    trust, reason = monitor.judge(now)
    assert trust < 0.2  # 0.8 to the 10th is 0.11, of the 0.7 wanted
    assert reason is Reason.NOISY
    for step in range(10):
        now += 33 * MS
        monitor.observe(now, {**GOOD_IMAGE, "checksum": float(100 + step)}, True)
    assert monitor.judge(now) == (1.0, Reason.OK)


def test_figures_that_are_absent_say_nothing_and_those_that_are_no_numbers_the_worst() -> None:
    monitor, now = watched(CAMERA, {})
    assert monitor.judge(now) == (1.0, Reason.OK)
    assert camera(sharpness=math.nan)[0] == 0.0
    assert lidar(points=math.nan)[0] == 0.0


def test_what_is_only_blurred_keeps_the_trust_that_its_colours_deserve() -> None:
    # Left out are cameras below 0.05 (`fuse_above`): without any sharpness 0.15 is left.
    assert camera(sharpness=0.0) == (pytest.approx(0.15), Reason.BLURRED)
    limit = ReliabilityConfig().blurred_sharpness
    # Half the limit: half of the other 0.85.
    assert camera(sharpness=0.5 * limit)[0] == pytest.approx(0.15 + 0.85 / 2)


def test_a_reset_forgets_everything() -> None:
    monitor, now = watched(LIDAR, GOOD_SCAN, samples=30)
    monitor.reset()
    assert monitor.judge(now) == (0.0, Reason.MISSING)
    assert monitor.rate_hz is None
    # Not sparse against the old usual.
    monitor.observe(now, {**GOOD_SCAN, "points": 5_000.0}, True)
    assert monitor.judge(now) == (1.0, Reason.OK)


def test_rising_works_either_way_and_gives_zero_for_what_is_no_number() -> None:
    assert rising(0.5, 0.0, 1.0) == 0.5
    assert rising(0.25, 1.0, 0.0) == 0.75
    assert rising(7.0, 0.0, 1.0) == 1.0
    assert rising(math.nan, 0.0, 1.0) == 0.0
    assert rising(math.nan, 1.0, 0.0) == 0.0


def test_the_smallest_factor_is_the_reason_and_trust_the_product() -> None:
    trust, reason = strongest({Reason.DARK: 0.5, Reason.NOISY: 0.6, Reason.STALE: 1.0})
    assert trust == pytest.approx(0.3)
    assert reason is Reason.DARK
    # 0.85 is no reason for anything.
    assert strongest({Reason.DARK: 0.85})[1] is Reason.OK
