"""Inertial samples."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mm_fusion_ros.samples import ImuSample
from mm_fusion_ros.sensors.imu import ImuIntake
from mm_fusion_ros.sensors.rejection import Rejected

INTAKE = ImuIntake()


def sample(**changes: object) -> ImuSample:
    base = ImuSample(1, "imu", "imu", np.array([0.0, 0.3, 0.4]), np.array([0.0, 0.0, 9.81]))
    return dataclasses.replace(base, **changes)


def test_figures_are_the_norms() -> None:
    accepted, quality = INTAKE.accept(sample())
    assert accepted.orientation is None
    assert quality["rate_radps"] == pytest.approx(0.5)
    assert quality["acceleration_mps2"] == pytest.approx(9.81)


def test_an_orientation_is_normalised() -> None:
    accepted, _ = INTAKE.accept(sample(orientation=np.array([0.0, 0.0, 0.0, 1.001])))
    assert np.allclose(accepted.orientation, [0, 0, 0, 1], atol=1e-15)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"angular_velocity": np.array([np.nan, 0, 0])}, "nan"),
        ({"linear_acceleration": np.array([0, np.inf, 0])}, "nan"),
        ({"linear_acceleration": np.zeros(2)}, "field"),
        ({"orientation": np.zeros(4)}, "quaternion"),
        ({"orientation": np.full(4, np.nan)}, "quaternion"),
        ({"orientation": np.array([0.0, 0.0, 0.0, 1.5])}, "quaternion"),
        ({"orientation": np.array([0.0, 0.0, 1.0])}, "quaternion"),
    ],
)
def test_a_sample_that_makes_no_sense_is_refused(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(Rejected) as verdict:
        INTAKE.accept(sample(**changes))
    assert verdict.value.reason == reason
