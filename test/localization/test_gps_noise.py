import numpy as np
import pytest

from mm_fusion_ros.config import LocalizationConfig
from mm_fusion_ros.localization.gps_noise import GpsNoise, hypotheses_of
from mm_fusion_ros.samples import GpsStatus

CONFIG = LocalizationConfig()


def heard(sigma, count=60, wild=0.0, seed=0):
    """Noise after `count` fixes with white errors; a share of them wild."""
    rng = np.random.default_rng(seed)
    errors = rng.normal(0.0, sigma, (count, 2))
    errors[rng.random(count) < wild] += 50.0
    noise = GpsNoise()
    for step in np.diff(errors, axis=0):
        noise = noise.with_step(step)
    return noise


@pytest.mark.parametrize("sigma", [0.05, 0.4, 2.0])
def test_the_white_noise_is_read_off_the_second_differences(sigma):
    # 40 differences of two axes, overlapping: good to some 15 %.
    assert heard(sigma).white_sigma_m(CONFIG) == pytest.approx(sigma, rel=0.3)


def test_a_few_wild_fixes_do_not_spoil_it():
    assert heard(0.4, wild=0.05).white_sigma_m(CONFIG) < 1.0


def test_before_any_measurement_it_is_a_part_of_the_usual_sigma():
    assert GpsNoise().white_sigma_m(CONFIG) == pytest.approx(0.3 * CONFIG.gps_sigma_m)


def test_a_gap_between_fixes_is_no_step():
    noise = GpsNoise().with_step(np.zeros(2)).with_step(None).with_step(np.ones(2))
    assert noise.seconds == ()


def test_the_declared_sigma_is_one_opinion_among_others():
    beliefs = hypotheses_of(CONFIG)

    def mean_sigma(declared):
        noise = GpsNoise().with_declared(declared, GpsStatus.FIX)
        return float(noise.prior(beliefs, CONFIG) @ beliefs.gps_sigma_m)

    assert mean_sigma(0.15) < mean_sigma(1.5) < mean_sigma(15.0)
    # A hundred times the declared sigma moves the expectation by far less than a hundred.
    assert mean_sigma(15.0) / mean_sigma(0.15) < 10.0


def test_a_carrier_phase_fix_may_be_as_good_as_it_says_and_no_other():
    usual = hypotheses_of(CONFIG).gps_sigma_m
    carrier = hypotheses_of(CONFIG, GpsStatus.GBAS).gps_sigma_m
    assert usual.min() > 0.3
    assert carrier.min() < 0.05
    noise = GpsNoise().with_declared(0.02, GpsStatus.GBAS)
    assert noise.prior(hypotheses_of(CONFIG, GpsStatus.GBAS), CONFIG).sum() == pytest.approx(1.0)
