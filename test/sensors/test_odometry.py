"""Odometry samples."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mm_fusion_ros import geometry
from mm_fusion_ros.config import OdometryConfig
from mm_fusion_ros.samples import OdometrySample
from mm_fusion_ros.sensors.odometry import OdometryIntake
from mm_fusion_ros.sensors.rejection import Rejected

INTAKE = OdometryIntake(
    OdometryConfig(
        default_position_sigma_m=0.2,
        default_angle_sigma_rad=0.1,
        default_velocity_sigma_mps=0.3,
        default_rate_sigma_radps=0.4,
    )
)
VARIANCE = np.diag([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]) * 1e-3


def sample(**changes: object) -> OdometrySample:
    base = OdometrySample(
        stamp_ns=1,
        frame_id="odom",
        source="wheels",
        odom_from_base=geometry.planar(3.0, 4.0, 0.5),
        twist=np.array([3.0, 4.0, 0.0, 0.0, 0.0, -0.5]),
        pose_covariance=VARIANCE,
        twist_covariance=VARIANCE,
    )
    return dataclasses.replace(base, **changes)


def test_a_declared_sample_is_kept_as_it_is() -> None:
    accepted, quality = INTAKE.accept(sample())
    assert np.array_equal(accepted.pose_covariance, VARIANCE)
    assert np.array_equal(accepted.twist_covariance, VARIANCE)
    assert quality["speed_mps"] == pytest.approx(5.0)
    assert quality["rate_radps"] == pytest.approx(0.5)
    assert quality["declared"] == 1.0


def test_undeclared_covariances_are_the_configured_sigmas() -> None:
    zero = np.zeros((6, 6))
    accepted, quality = INTAKE.accept(sample(pose_covariance=zero, twist_covariance=zero))
    assert np.allclose(np.diag(accepted.pose_covariance), [0.04] * 3 + [0.01] * 3)
    assert np.allclose(np.diag(accepted.twist_covariance), [0.09] * 3 + [0.16] * 3)
    assert quality["declared"] == 0.0


def test_a_planar_robot_s_undeclared_axes_alone_are_filled() -> None:
    planar = np.diag([0.001, 0.002, 0.0, 0.0, 0.0, 0.003])
    accepted, quality = INTAKE.accept(sample(twist_covariance=planar))
    expected = [0.001, 0.002, 0.09, 0.16, 0.16, 0.003]
    assert np.allclose(np.diag(accepted.twist_covariance), expected)
    assert quality["declared"] == 1.0


def test_the_variance_that_means_unknown_to_many_drivers_is_a_number_like_any_other() -> None:
    unknown = np.diag([0.001, 0.001, 1e6, 1e6, 1e6, 0.03])
    accepted, _ = INTAKE.accept(sample(pose_covariance=unknown))
    assert np.array_equal(accepted.pose_covariance, unknown)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"odom_from_base": np.full((4, 4), np.nan)}, "nan"),
        ({"odom_from_base": np.diag([1.1, 1.0, 1.0, 1.0])}, "transform"),
        ({"odom_from_base": np.eye(3)}, "transform"),
        ({"twist": np.array([np.nan, 0, 0, 0, 0, 0])}, "nan"),
        ({"twist": np.zeros(3)}, "field"),
        ({"pose_covariance": np.full((6, 6), np.nan)}, "nan"),
        ({"twist_covariance": np.diag([1.0, 1, 1, 1, 1, np.inf])}, "nan"),
        ({"pose_covariance": np.diag([1.0, 1, 1, 1, 1, -1.0])}, "covariance"),
    ],
)
def test_a_sample_that_makes_no_sense_is_refused(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(Rejected) as verdict:
        INTAKE.accept(sample(**changes))
    assert verdict.value.reason == reason


def test_the_checksum_changes_with_pose_or_twist() -> None:
    still = INTAKE.accept(sample())[1]["checksum"]
    assert INTAKE.accept(sample(stamp_ns=9))[1]["checksum"] == still
    moved = INTAKE.accept(sample(odom_from_base=geometry.planar(3.0, 4.0, 0.51)))
    assert moved[1]["checksum"] != still
