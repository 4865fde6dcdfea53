"""Intervals over scenes."""

from __future__ import annotations

import numpy as np
import pytest

from mm_fusion_ros.evaluation.bootstrap import Estimate, draws, mean_estimate


def test_every_draw_has_as_many_scenes_as_there_are_and_is_reproducible() -> None:
    first = draws(20, 50, seed=4)
    assert (first.sum(axis=1) == 20).all()
    np.testing.assert_array_equal(first, draws(20, 50, seed=4))
    assert (first != draws(20, 50, seed=5)).any()


def test_the_interval_of_a_mean_agrees_with_the_normal_one() -> None:
    # 400 values of sigma 2: standard error 2 / 20 = 0.1, so the interval is about 0.39 wide.
    values = np.random.default_rng(0).normal(5.0, 2.0, 400)
    estimate = mean_estimate(values, np.arange(400), draws(400, 2000, 1))
    low, high = estimate.interval
    assert low < estimate.value < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)


def test_scenes_and_not_answers_are_drawn() -> None:
    # Scene 0 holds three ones, scene 1 one zero: a draw gives 1 (scene 0 twice), 3/4 or 0.
    estimate = mean_estimate(np.array([1.0, 1, 1, 0]), np.array([0, 0, 0, 1]), draws(2, 100, 1))
    assert estimate.value == 0.75
    assert set(estimate.replicates) == {0.0, 0.75, 1.0}


def test_a_paired_difference_is_surer_than_its_parts() -> None:
    generator = np.random.default_rng(2)
    common = generator.normal(0.0, 1.0, 200)
    drawn = draws(200, 500, 3)
    first = mean_estimate(common + 0.1, np.arange(200), drawn)
    second = mean_estimate(common, np.arange(200), drawn)
    # The same noise in both cancels draw by draw: the difference is 0.1 in each.
    low, high = first.minus(second).interval
    assert [low, high] == pytest.approx([0.1, 0.1])
    assert first.interval[1] - first.interval[0] > 0.2


def test_different_scenes_have_no_paired_difference() -> None:
    one = Estimate(0.5, np.zeros(10), scenes=5)
    with pytest.raises(ValueError, match="same draws"):
        one.minus(Estimate(0.5, np.zeros(10), scenes=6))


def test_nothing_measured_is_not_a_number() -> None:
    nothing = mean_estimate(np.zeros(0), np.zeros(0, dtype=np.int64), draws(3, 5, 0))
    assert np.isnan(nothing.value)
    assert np.isnan(nothing.interval[0])
