"""Fixes (fault rows 3 and 4)."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mm_fusion_ros.config import GpsConfig
from mm_fusion_ros.samples import GpsFix, GpsStatus
from mm_fusion_ros.sensors.gps import GpsIntake
from mm_fusion_ros.sensors.rejection import Rejected

INTAKE = GpsIntake(GpsConfig(default_sigma_m=2.5))
DECLARED = np.diag([0.8, 1.2, 4.0])


def fix(**changes: object) -> GpsFix:
    return dataclasses.replace(GpsFix(1, "gps", "gps", 48.1, 11.5, 520.0, DECLARED), **changes)


def test_a_declared_covariance_is_kept() -> None:
    accepted, quality = INTAKE.accept(fix())
    assert np.array_equal(accepted.covariance, DECLARED)
    # Root mean square of east and north: sqrt((0.8 + 1.2) / 2) = 1.
    assert quality["sigma_m"] == pytest.approx(1.0)
    assert quality["declared"] == 1.0


@pytest.mark.parametrize("covariance", [None, np.zeros((3, 3)), np.diag([-1.0, 0.0, 0.0])])
def test_an_undeclared_covariance_is_the_configured_sigma(covariance: np.ndarray | None) -> None:
    accepted, quality = INTAKE.accept(fix(covariance=covariance))
    assert np.array_equal(accepted.covariance, np.diag([6.25, 6.25, 6.25]))
    assert quality["sigma_m"] == pytest.approx(2.5)
    assert quality["declared"] == 0.0


def test_one_undeclared_axis_is_filled_and_the_others_kept() -> None:
    covariance = np.array([[1.0, 0.5, 0.3], [0.5, 2.0, 0.0], [0.3, 0.0, 0.0]])
    accepted, quality = INTAKE.accept(fix(covariance=covariance))
    expected = [[1.0, 0.5, 0.0], [0.5, 2.0, 0.0], [0.0, 0.0, 6.25]]
    assert np.allclose(accepted.covariance, expected)
    assert quality["declared"] == 1.0
    # What came in is not written to.
    assert covariance[2, 2] == 0.0


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("field", ["latitude_deg", "longitude_deg", "altitude_m"])
def test_a_position_that_is_not_finite_is_refused(field: str, value: float) -> None:
    with pytest.raises(Rejected, match="finite") as verdict:
        INTAKE.accept(fix(**{field: value}))
    assert verdict.value.reason == "nan"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_covariance_that_is_not_finite_is_refused(value: float) -> None:
    covariance = DECLARED.copy()
    covariance[1, 1] = value
    with pytest.raises(Rejected) as verdict:
        INTAKE.accept(fix(covariance=covariance))
    assert verdict.value.reason == "nan"


@pytest.mark.parametrize(
    "covariance",
    [
        np.diag([1.0, -2.0, 1.0]),
        np.eye(2),
        # A correlation of 2 between east and north.
        np.array([[1.0, 2.0, 0.0], [2.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
    ],
)
def test_an_impossible_covariance_is_refused(covariance: np.ndarray) -> None:
    with pytest.raises(Rejected) as verdict:
        INTAKE.accept(fix(covariance=covariance))
    assert verdict.value.reason == "covariance"


def test_a_receiver_without_fix_is_refused() -> None:
    with pytest.raises(Rejected, match="no fix") as verdict:
        INTAKE.accept(fix(status=GpsStatus.NO_FIX, latitude_deg=np.nan))
    assert verdict.value.reason == "status"


@pytest.mark.parametrize(("latitude", "longitude"), [(90.1, 0.0), (0.0, -180.1), (481.0, 11.0)])
def test_degrees_that_are_nowhere_are_refused(latitude: float, longitude: float) -> None:
    with pytest.raises(Rejected) as verdict:
        INTAKE.accept(fix(latitude_deg=latitude, longitude_deg=longitude))
    assert verdict.value.reason == "position"


def test_an_antenna_that_is_nowhere_is_refused() -> None:
    with pytest.raises(Rejected) as verdict:
        INTAKE.accept(fix(base_from_antenna=np.array([0.0, np.nan, 0.0])))
    assert verdict.value.reason == "transform"


def test_the_checksum_is_of_the_position_alone() -> None:
    first = INTAKE.accept(fix())[1]["checksum"]
    assert INTAKE.accept(fix(stamp_ns=2, covariance=None))[1]["checksum"] == first
    assert INTAKE.accept(fix(altitude_m=520.001))[1]["checksum"] != first
