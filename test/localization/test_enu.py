import numpy as np
import pytest
from simulated_drive import EARTH, fix_at

from mm_fusion_ros.localization.enu import LocalPlane, declared_sigma_m, is_usable
from mm_fusion_ros.samples import GpsFix


def fix(latitude, longitude, altitude=0.0, covariance=None, antenna=(0.0, 0.0, 0.0)):
    return GpsFix(
        0, "gps", "gps", latitude, longitude, altitude, covariance,
        base_from_antenna=np.array(antenna),
    )  # fmt: skip


def test_the_datum_is_the_origin():
    plane = LocalPlane.about(fix(48.0, 11.0, 500.0))
    assert plane.enu(fix(48.0, 11.0, 500.0)) == pytest.approx([0.0, 0.0, 0.0], abs=1e-9)


def test_north_and_east_have_the_length_of_the_ellipsoid():
    plane = LocalPlane.about(fix(0.0, 0.0))
    # At the equator one degree of longitude is 6378137 x pi / 180 = 111319.5 m and one of latitude
    # 111319.5 x (1 - e^2) = 110574.3 m: with 1e-5 degrees, 1.1132 m and 1.1057 m.
    assert plane.enu(fix(0.0, 1e-5)) == pytest.approx([1.113195, 0.0, 0.0], abs=1e-5)
    assert plane.enu(fix(1e-5, 0.0)) == pytest.approx([0.0, 1.105743, 0.0], abs=1e-5)


def test_there_and_back_is_where_it_was():
    place = np.array([123.4, -56.7, 8.9])
    assert EARTH.enu(fix_at(0, place)) == pytest.approx(place, abs=1e-6)


@pytest.mark.parametrize(
    "broken",
    [
        fix(np.nan, 11.0),
        fix(48.0, np.inf),
        fix(48.0, 11.0, np.nan),
        fix(95.0, 11.0),
        fix(48.0, 11.0, covariance=np.full((3, 3), np.nan)),
        fix(48.0, 11.0, covariance=-np.eye(3)),
        fix(48.0, 11.0, antenna=(np.nan, 0.0, 0.0)),
    ],
)
def test_what_is_no_place_is_not_usable(broken):
    assert not is_usable(broken)


def test_an_undeclared_covariance_is_usable_and_says_nothing():
    for covariance in (None, np.zeros((3, 3))):
        assert is_usable(fix(48.0, 11.0, covariance=covariance))
        assert declared_sigma_m(fix(48.0, 11.0, covariance=covariance)) is None
    assert declared_sigma_m(fix(48.0, 11.0, covariance=np.diag([4.0, 4.0, 9.0]))) == 2.0
