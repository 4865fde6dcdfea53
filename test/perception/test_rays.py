"""What a camera's geometry says of distances."""

from __future__ import annotations

import numpy as np
import pytest

from mm_fusion_ros.geometry import planar
from mm_fusion_ros.perception.rays import FARTHEST_M, RAY_CHANNELS, ray_planes

OPTICAL = np.array([[0, 0, 1, 0.2], [-1, 0, 0, 0.1], [0, -1, 0, 1.2], [0, 0, 0, 1.0]])
K = np.array([[190.0, 0.0, 191.5], [0.0, 190.0, 143.5], [0.0, 0.0, 1.0]])


def test_the_ground_is_as_deep_as_the_pinhole_says() -> None:
    planes = ray_planes(K, OPTICAL, (384, 288))
    assert planes.shape == (RAY_CHANNELS, 72, 96)
    # Row 60 looks at v = 241.5, which is 98 / 190 below the axis: 1.2 m of height last 2.33 m.
    assert np.exp(planes[0, 60] + 2.5) == pytest.approx(1.2 * 190.0 / 98.0, rel=1e-5)
    # Above the horizon there is no ground.
    assert np.exp(planes[0, 10] + 2.5) == pytest.approx(FARTHEST_M, rel=1e-5)
    assert planes[1, 10, 48] > 0.0 > planes[1, 60, 48]
    assert planes[3] == pytest.approx(0.2)


def test_a_longer_lens_sees_the_same_row_farther_away() -> None:
    longer = K.copy()
    longer[0, 0] = longer[1, 1] = 380.0
    near, far = (ray_planes(k, OPTICAL, (384, 288)) for k in (K, longer))
    assert far[0, 60] - near[0, 60] == pytest.approx(np.log(2.0), abs=1e-5)
    assert far[2] - near[2] == pytest.approx(2.0 * np.log(2.0), abs=1e-5)


def test_turning_the_robot_changes_nothing() -> None:
    turned = planar(3.0, -2.0, 1.0) @ OPTICAL
    assert ray_planes(K, turned, (384, 288)) == pytest.approx(
        ray_planes(K, OPTICAL, (384, 288)), abs=1e-5
    )


def test_a_camera_in_the_ground_sees_none_and_breaks_nothing() -> None:
    buried = OPTICAL.copy()
    buried[2, 3] = -0.5
    assert np.isfinite(ray_planes(K, buried, (384, 288))).all()
