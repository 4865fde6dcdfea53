from __future__ import annotations

import numpy as np
import pytest

from mm_fusion_ros import geometry
from mm_fusion_ros.localization.enu import LocalPlane
from mm_fusion_ros.samples import Float
from mm_fusion_ros.sim.sensors import (
    CameraSpec,
    GpsModel,
    WheelOdometryModel,
    base_from_optical,
    random_rig,
)

PLANE = LocalPlane(52.52, 13.405, 40.0)
SECOND = 1_000_000_000


def gps_errors(seed: int, seconds: int, sigma_m: float = 0.9) -> tuple[Float, Float]:
    """Errors (N, 3) and declared variances (N, 3) of a standing receiver, once a second."""
    model = GpsModel(np.random.default_rng(seed), PLANE, sigma_m=sigma_m, correlation_s=60.0)
    place = geometry.planar(10.0, -4.0, 0.3)
    fixes = [model.fix(SECOND * (1 + k), place) for k in range(seconds)]
    errors = np.array([PLANE.enu(fix) for fix in fixes]) - place[:3, 3]
    return errors, np.array(
        [np.diag(fix.covariance) for fix in fixes if fix.covariance is not None]
    )


def test_gps_error_is_correlated_and_not_white() -> None:
    errors, _ = gps_errors(1, 1500)
    east = errors[:, 0]
    near = np.corrcoef(east[:-1], east[1:])[0, 1]
    far = np.corrcoef(east[:-300], east[300:])[0, 1]
    # exp(-1/60) = 0.983, less the white part: 0.81 / (0.81 + 0.0225) * 0.983 = 0.957.
    assert 0.9 < near < 0.99
    # exp(-300/60) = 0.007: nothing is left after five time constants.
    assert abs(far) < 0.5


def test_gps_error_has_the_size_that_is_asked_for_and_about_what_is_declared() -> None:
    errors = np.concatenate([gps_errors(seed, 60)[0] for seed in range(30)])
    # sqrt(0.9^2 + 0.15^2) = 0.912 m.
    assert 0.6 < errors[:, :2].std() < 1.25
    assert errors[:, 2].std() > errors[:, 0].std()
    declared = gps_errors(3, 50)[1]
    assert np.all((declared[:, 0] > 0.7**2 * 0.83) & (declared[:, 0] < 1.6**2 * 0.84))


def test_gps_knows_where_its_antenna_is() -> None:
    arm = np.array([1.0, 0.0, 2.0])
    model = GpsModel(
        np.random.default_rng(0), PLANE, sigma_m=0.0, white_m=0.0, base_from_antenna=arm
    )
    # The robot looks north at (5, 5): the antenna is a metre further north.
    fix = model.fix(SECOND, geometry.planar(5.0, 5.0, np.pi / 2))
    assert np.allclose(PLANE.enu(fix), [5.0, 6.0, 2.0], atol=1e-6)


def odometry_error(seed: int, metres: float) -> float:
    """Distance between odometry and truth after a gentle curve [m]."""
    model = WheelOdometryModel(np.random.default_rng(seed))
    speed, turn, step = 1.0, 0.02, 0.05
    truth = np.zeros(3)
    sample = model.advance(1, 0.0, 0.0, 0.0)
    for k in range(round(metres / speed / step)):
        middle = truth[2] + turn * step / 2
        truth += [speed * step * np.cos(middle), speed * step * np.sin(middle), turn * step]
        sample = model.advance(2 + k, speed, turn, step)
    return float(np.hypot(*(sample.odom_from_base[:2, 3] - truth[:2])))


def test_odometry_drift_grows_with_the_way() -> None:
    near = np.mean([odometry_error(seed, 10.0) for seed in range(10)])
    far = np.mean([odometry_error(seed, 100.0) for seed in range(10)])
    assert 0.01 < near < 0.5
    assert far > 4 * near
    assert far < 10.0


def test_odometry_declares_a_covariance_that_covers_its_error() -> None:
    inside = 0
    for seed in range(20):
        model = WheelOdometryModel(np.random.default_rng(seed))
        for k in range(400):
            sample = model.advance(1 + k, 1.0, 0.0, 0.1)
        error = sample.odom_from_base[:2, 3] - np.array([40.0, 0.0])
        inside += float(error @ np.linalg.inv(sample.pose_covariance[:2, :2]) @ error) < 9.21
    # 99 % of a correct one; these errors are constant over a run, so a few misses are allowed.
    assert inside >= 17


def test_odometry_of_a_standing_robot_stands() -> None:
    model = WheelOdometryModel(np.random.default_rng(0))
    for k in range(100):
        sample = model.advance(1 + k, 0.0, 0.0, 0.1)
    assert np.allclose(sample.odom_from_base, np.eye(4))


def test_a_camera_that_looks_ahead_sees_the_horizon_in_its_middle() -> None:
    spec = CameraSpec("c", 200, 100, 90.0, base_from_optical(np.array([0.0, 0, 1]), 0.0, 0.0))
    far = np.array([[1000.0, 0.0, 1.0], [1000.0, 10.0, 1.0]])
    optical = geometry.apply(geometry.inverse(spec.base_from_camera), far)
    pixels, depth = geometry.project(optical, spec.intrinsics)
    assert np.allclose(pixels[0], [99.5, 49.5])
    assert pixels[1, 0] < pixels[0, 0]  # what is left of the robot is left in the image
    assert np.allclose(depth, 1000.0)
    # 90 degrees over 200 pixels: f = 100 / tan(45 degrees).
    assert spec.intrinsics[0, 0] == pytest.approx(100.0)


def test_a_negative_pitch_looks_down() -> None:
    mount = base_from_optical(np.zeros(3), 0.0, np.radians(-10.0))
    assert mount[2, 2] == pytest.approx(-np.sin(np.radians(10.0)))
    mount = base_from_optical(np.zeros(3), np.pi / 2, 0.0)
    assert np.allclose(mount[:3, 2], [0.0, 1.0, 0.0], atol=1e-12)


def test_rigs_are_drawn_within_the_promised_bounds() -> None:
    rng = np.random.default_rng(5)
    rigs = [random_rig(rng) for _ in range(200)]
    assert {len(rig.cameras) for rig in rigs} == {1, 2, 3, 4}
    assert {rig.lidar.beams for rig in rigs} == {16, 32, 64}
    for rig in rigs:
        assert len({camera.name for camera in rig.cameras}) == len(rig.cameras)
        for camera in rig.cameras:
            assert 70.0 <= camera.fov_deg <= 110.0
            assert 0.3 < camera.base_from_camera[2, 3] < 2.2
        assert 0.5 <= rig.lidar.base_from_lidar[2, 3] <= 2.2
        assert np.all(np.diff(rig.lidar.elevation_deg) < 0.2)
