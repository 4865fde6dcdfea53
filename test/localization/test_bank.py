import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_fusion_ros.localization import bank as filters
from mm_fusion_ros.localization.bank import Bank, Hypotheses
from mm_fusion_ros.localization.path import PathDrift

BELIEFS = Hypotheses(
    gps_sigma_m=np.array([0.5, 1.5, 10.0]),
    drift_scale=np.array([1.0, 3.0, 1.0]),
    correlation_s=np.full(3, 40.0),
    dragged=np.array([False, True, False]),
    drag_mps=1.0,
    drag_s=100.0,
    dwell_s=60.0,
)
PRIOR = np.array([0.3, 0.6, 0.1])


def fresh(heading=0.4):
    return filters.started(
        BELIEFS, PRIOR, np.array([3.0, 4.0]), np.array([0.5, 0.0]), heading, 0.3, 0.4
    )


def drift(x, y, scale=1.0):
    return PathDrift(np.array([x, y]), 0.0, float(np.hypot(x, y)), np.eye(3) * 1e-3 * scale)


def is_sound(bank: Bank) -> bool:
    """Finite, symmetric, positive, probabilities."""
    values = np.linalg.eigvalsh(bank.covariance)
    return bool(
        np.isfinite(bank.mean).all()
        and np.allclose(bank.covariance, np.swapaxes(bank.covariance, 1, 2))
        and (values > -1e-9 * np.abs(values).max()).all()
        and (bank.weight >= 0.0).all()
        and bank.weight.sum() == pytest.approx(1.0)
    )


def test_the_first_fix_says_where_the_antenna_is_and_not_which_part_is_its_error():
    bank = fresh()
    antenna = bank.mean[:, :2] + filters.rotations(bank.mean[:, 2]) @ np.array([0.5, 0.0])
    assert antenna == pytest.approx(np.tile([3.0, 4.0], (3, 1)))
    # Place and slow error each have its variance, their sum only the white one: 0.4^2.
    total = bank.covariance[:, 0, 0] + 2.0 * bank.covariance[:, 0, 3] + bank.covariance[:, 3, 3]
    swing = 0.3**2 * (0.5 * np.sin(0.4)) ** 2  # what the arm's unknown heading adds, eastwards
    assert total == pytest.approx(np.full(3, 0.4**2 + swing))


def test_one_hypothesis_is_a_plain_kalman_filter():
    single = Hypotheses(
        np.array([1e-6]), np.array([1.0]), np.array([40.0]), np.array([False]), 0.0, 100.0, 60.0
    )
    bank = Bank(np.zeros((1, 7)), np.diag([4.0, 4.0, 0, 0, 0, 0, 0])[None], np.ones(1))
    bank = filters.predicted(bank, drift(1.0, 0.0), 1.0, 0.0, single)
    noise = np.eye(2)
    seen = filters.innovation(bank, np.array([3.0, 0.0]), np.zeros(2), noise)
    after = filters.updated(bank, seen, noise)
    # Predicted 1 with variance 4.001, measured 3 with 1: gain 0.80004, so 2.60008.
    gain = 4.001 / 5.001
    assert after.mean[0, 0] == pytest.approx(1.0 + gain * 2.0, abs=1e-6)
    assert after.covariance[0, 0, 0] == pytest.approx(4.001 * (1.0 - gain), abs=1e-6)
    assert seen.nis == pytest.approx(4.0 / 5.001)


def test_mixing_keeps_mean_and_covariance_of_the_mixture():
    bank = fresh()
    bank = filters.Bank(
        bank.mean + np.random.default_rng(1).normal(0.0, 0.2, bank.mean.shape),
        bank.covariance,
        np.array([0.2, 0.5, 0.3]),
    )
    before = filters.moments(bank)
    after = filters.moments(filters.mixed(bank, PRIOR, 5.0, 60.0))
    assert after[0] == pytest.approx(before[0])
    assert after[1] == pytest.approx(before[1])


def test_mixing_for_long_forgets_the_evidence():
    bank = filters.Bank(fresh().mean, fresh().covariance, np.array([1.0 - 2e-6, 1e-6, 1e-6]))
    assert filters.mixed(bank, PRIOR, 1e4, 60.0).weight == pytest.approx(PRIOR)


def test_headings_are_averaged_across_the_seam():
    mean = np.zeros((3, 7))
    mean[:, 2] = [np.pi - 0.1, -np.pi + 0.1, np.pi - 0.1]
    bank = Bank(mean, np.tile(np.eye(7) * 0.01, (3, 1, 1)), np.array([0.25, 0.5, 0.25]))
    heading = filters.moments(bank)[0][2]
    assert abs(filters.wrap(np.array([heading - np.pi]))[0]) < 1e-9


def test_large_innovations_shift_belief_to_the_larger_error():
    bank = fresh()
    for _ in range(20):
        bank = filters.predicted(bank, drift(0.0, 0.0), 1.0, 0.0, BELIEFS)
        seen = filters.innovation(
            bank, bank.weight @ bank.mean[:, :2] + 4.0, np.zeros(2), np.eye(2)
        )
        bank = filters.reweighted(bank, seen, 1e-3)
    assert bank.weight[2] > 0.9


def test_one_wild_fix_says_little():
    bank = fresh()
    seen = filters.innovation(bank, np.array([1e4, 1e4]), np.zeros(2), np.eye(2))
    assert filters.reweighted(bank, seen, 1e-3).weight == pytest.approx(bank.weight, abs=1e-6)


def test_a_wider_bias_takes_weight_from_the_next_fix():
    bank = fresh()
    noise, arm = np.eye(2) * 0.16, np.array([0.5, 0.0])
    where = np.array([3.0, 4.0]) + 2.0

    def moved(start):
        seen = filters.innovation(start, where, arm, noise)
        after = filters.moments(filters.updated(start, seen, noise))[0]
        return float(np.linalg.norm((after - filters.moments(start)[0])[:2]))

    assert moved(filters.with_wider_bias(bank, np.eye(2) * 400.0)) < 0.1 * moved(bank) + 0.1


steps = st.tuples(
    st.floats(-5, 5), st.floats(-5, 5), st.floats(0, 10), st.floats(-50, 50), st.floats(-50, 50)
)


@given(st.lists(steps, max_size=12), st.floats(-4, 4))
@settings(max_examples=60, deadline=None)
def test_covariances_stay_symmetric_and_positive(moves, heading):
    bank = fresh(heading)
    for x, y, seconds, east, north in moves:
        bank = filters.mixed(bank, PRIOR, seconds, 60.0)
        bank = filters.predicted(bank, drift(x, y, seconds), seconds, 0.1 * seconds, BELIEFS)
        assert is_sound(bank)
        noise = np.eye(2) * 0.2
        seen = filters.innovation(bank, np.array([east, north]), np.array([0.3, 0.1]), noise)
        bank = filters.updated(filters.reweighted(bank, seen, 1e-3), seen, noise)
        assert is_sound(bank)
        _, covariance = filters.moments(bank)
        assert np.linalg.eigvalsh(covariance).min() > -1e-9
