import numpy as np
import pytest

from mm_fusion_ros.localization.vertical import Vertical


def climbed(slope, metres, sigma=0.2, seed=0):
    rng = np.random.default_rng(seed)
    state = Vertical.started(0.0, 1.0, sigma)
    for index in range(1, metres + 1):
        state = state.predicted(0.0, 1.0, 1.0, 1.0, 40.0)
        state = state.updated(slope * index + rng.normal(0.0, 2.0 * sigma), sigma)
    return state


def test_the_height_follows_a_slope_that_wheels_do_not_see():
    state = climbed(0.08, 150)
    sigma = np.sqrt(state.covariance[0, 0])
    assert state.mean[0] == pytest.approx(0.08 * 150, abs=3.0 * sigma)
    assert sigma < 2.5


def test_a_wild_height_hardly_counts():
    calm = climbed(0.0, 60)
    wild = calm.updated(300.0, 0.2)
    # Noise is taken to be as large as the residual: at most a third of its sigma squared moves it.
    assert abs(wild.mean[0] - calm.mean[0]) < 5.0


def test_what_odometry_says_of_climbing_is_believed():
    state = Vertical.started(0.0, 1.0, 0.3).predicted(2.5, 10.0, 5.0, 1.0, 40.0)
    assert state.mean[0] == pytest.approx(2.5)


def test_the_covariance_stays_positive():
    state = climbed(0.1, 200)
    assert np.linalg.eigvalsh(state.covariance).min() > 0.0
