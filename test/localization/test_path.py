import itertools

import numpy as np
import pytest
from simulated_drive import NS, odometry

from mm_fusion_ros.geometry import planar, yaw_of
from mm_fusion_ros.localization.bank import rotations, wrap
from mm_fusion_ros.localization.path import (
    DriftRates,
    TravelledPath,
    drift_between,
    nearest_psd,
)

RATES = DriftRates(position=0.03, heading=0.005, turning=0.03)


def driven(poses, step_s=0.1, rates=RATES):
    path = TravelledPath(rates)
    for index, pose in enumerate(poses):
        path.push(odometry(round(index * step_s * NS), pose, 1.0, 0.0))
    return path


def at(seconds):
    return round(seconds * NS)


def test_the_drift_of_a_straight_line_is_that_of_its_random_walks():
    path = driven([planar(0.1 * index, 0.0, 0.0) for index in range(101)], rates=RATES)
    drift = drift_between(path.at(at(0.0)), path.at(at(10.0)))
    assert drift.offset == pytest.approx([10.0, 0.0])
    assert drift.travelled == pytest.approx(10.0)
    assert drift.covariance[2, 2] == pytest.approx(0.005**2 * 10.0)
    assert drift.covariance[0, 0] == pytest.approx(0.03**2 * 10.0)
    # Across, a heading error at l swings the rest: s * integral of (10 - l)^2 = s * 1000 / 3.
    across = 0.03**2 * 10.0 + 0.005**2 * 1000.0 / 3.0
    assert drift.covariance[1, 1] == pytest.approx(across, rel=1e-3)
    # and with the heading: s * integral of (10 - l) = s * 50.
    assert drift.covariance[1, 2] == pytest.approx(0.005**2 * 50.0, rel=1e-3)


def test_the_running_sums_agree_with_drifting_many_times():
    rng = np.random.default_rng(5)
    heading, pose, poses = 0.0, planar(50.0, -20.0, 1.0), []
    for _ in range(60):
        heading = rng.normal(0.0, 0.2)
        poses.append(pose)
        pose = pose @ planar(0.3, 0.0, heading)
    path = driven(poses)
    told = drift_between(path.at(at(0.0)), path.at(at(5.9)))
    steps = [np.linalg.inv(a) @ b for a, b in itertools.pairwise(poses)]
    count = 4000
    place, angle = np.zeros((count, 2)), np.full(count, yaw_of(poses[0]))
    for step in steps:
        metres, turn = np.linalg.norm(step[:2, 3]), yaw_of(step)
        angle += rng.normal(0.0, np.sqrt(0.005**2 * metres + 0.03**2 * abs(turn)), count)
        slipped = step[:2, 3] + rng.normal(0.0, 0.03 * np.sqrt(metres), (count, 2))
        place += np.einsum("nij,nj->ni", rotations(angle), slipped)
        angle += turn
    heading_error = angle - np.arctan2(np.sin(angle).mean(), np.cos(angle).mean())
    ends = np.column_stack([place, wrap(heading_error)])
    measured = np.cov(ends.T)
    # 4000 draws: a variance is known to sqrt(2 / 4000) = 2 %.
    assert np.diag(told.covariance) == pytest.approx(np.diag(measured), rel=0.1)
    assert told.covariance == pytest.approx(measured, abs=0.1 * np.max(np.diag(measured)))


def test_drift_is_the_same_far_from_the_origin():
    near = driven([planar(0.1 * index, 0.0, 0.0) for index in range(51)])
    far = driven([planar(1e4 + 0.1 * index, -2e4, 0.0) for index in range(51)])
    first = drift_between(near.at(at(0.0)), near.at(at(5.0))).covariance
    second = drift_between(far.at(at(0.0)), far.at(at(5.0))).covariance
    assert second == pytest.approx(first, rel=1e-3, abs=1e-8)


def test_a_silent_odometry_holds_and_says_for_how_long():
    path = driven([planar(0.1 * index, 0.0, 0.0) for index in range(11)])
    point = path.at(at(3.0))
    assert point.path_from_base[0, 3] == pytest.approx(1.3)  # 1 m/s believed for 0.3 s
    assert point.silent_ns == at(1.7)
    assert path.at(at(1.2)).silent_ns == 0


def test_a_restarted_odometry_goes_on_where_it_was():
    path = driven([planar(100.0, 0.0, 0.0), planar(100.1, 0.0, 0.0), planar(0.0, 0.0, 1.0)])
    before, after = path.at(at(0.1)), path.at(at(0.2))
    # Followed at 1 m/s for the tenth of a second in between.
    assert after.path_from_base[0, 3] == pytest.approx(100.2)
    assert after.path_from_odom @ planar(0.0, 0.0, 1.0) == pytest.approx(after.path_from_base)
    assert drift_between(before, after).covariance[0, 0] > 0.02  # 1.5 m/s of unknown for 0.1 s


def test_an_empty_path_knows_nothing():
    path = TravelledPath(RATES)
    assert path.at(5) is None
    path.push(odometry(0, planar(np.nan, 0.0, 0.0), 0.0, 0.0))
    assert path.last is None


def test_a_matrix_a_hair_below_zero_is_mended_and_a_good_one_kept():
    good = np.diag([1.0, 2.0])
    assert np.array_equal(nearest_psd(good), good)
    assert np.linalg.eigvalsh(nearest_psd(np.diag([1.0, -1e-12]))).min() >= -1e-15
