"""Calibration, coverage and box errors, worked out by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mm_fusion_ros.evaluation.bootstrap import draws
from mm_fusion_ros.evaluation.matching import Region
from mm_fusion_ros.evaluation.metrics import (
    ELLIPSE_90,
    aligned_overlap,
    binned,
    box_errors,
    calibration,
    calibration_error,
    ellipse_coverage,
    errors_follow_sigmas,
    offsets,
    squared_mahalanobis,
)
from mm_fusion_ros.evaluation.records import Findings, Truths

ONE = draws(1, 3, 0)


def test_bins_hold_equal_mass_and_not_equal_width() -> None:
    p = np.array([0.1, 0.11, 0.12, 0.9])
    confidence, accuracy, mass = binned(p, np.array([0.0, 1, 1, 1]), np.ones(4), 2)
    np.testing.assert_allclose(mass, [2, 2])
    np.testing.assert_allclose(confidence, [0.105, 0.51])
    np.testing.assert_allclose(accuracy, [0.5, 1.0])
    # (|0.105 - 0.5| 2 + |0.51 - 1| 2) / 4
    assert calibration_error(confidence, accuracy, mass) == pytest.approx(0.4425)


def test_calibration_counts_hits_at_the_radius_above_the_least_probability(
    truths: Callable[..., Truths], findings: Callable[..., Findings], everywhere: Region
) -> None:
    true = truths({"x": 5.0}, {"x": 10.0}, {"x": 20.0, "counts": False})
    found = findings(
        {"x": 5.2, "p": 0.8},  # right
        {"x": 12.0, "p": 0.6},  # 2 m off: wrong at 1 m
        {"x": 20.0, "p": 0.9},  # on an object that does not count: left out
        {"x": 30.0, "p": 0.05},  # too improbable to enter
    )
    result = calibration(
        [true], [found], ONE, region=everywhere, radius_m=1.0, min_probability=0.1, bins=2
    )
    np.testing.assert_allclose(result.confidence, [0.6, 0.8])
    np.testing.assert_allclose(result.accuracy, [0.0, 1.0])
    assert result.count.tolist() == [1, 1]
    assert result.error.value == pytest.approx((0.6 + 0.2) / 2)


def test_a_calibrated_source_has_an_error_near_zero(
    truths: Callable[..., Truths], findings: Callable[..., Findings], everywhere: Region
) -> None:
    # Probabilities drawn evenly, each right as often as it says. 200 answers a bin err by about
    # sqrt(2 / pi) x sqrt(p (1 - p) / 200) <= 0.028, about 0.02 on average.
    generator = np.random.default_rng(1)
    scenes = []
    for _ in range(100):
        p = generator.uniform(0.1, 1.0, 20)
        right = generator.random(20) < p
        x = np.arange(20) * 1.9 + 1.0
        scenes.append(
            (
                truths(*[{"x": x[i]} for i in np.flatnonzero(right)]),
                findings(*[{"x": x[i], "p": p[i]} for i in range(20)]),
            )
        )
    result = calibration(
        [t for t, _ in scenes], [f for _, f in scenes], draws(100, 50, 0),
        region=everywhere, radius_m=0.9, min_probability=0.1, bins=10,
    )  # fmt: skip
    assert result.error.value < 0.05
    assert result.count.tolist() == [200] * 10


def test_distance_under_a_covariance() -> None:
    # (3, 4) under diag(9, 16): 9/9 + 16/16 = 2. Under [[2, 1], [1, 2]], inverse
    # [[2, -1], [-1, 2]] / 3: (1, 1) gives (1 + 1) / 3 = 2/3.
    offset = np.array([[3.0, 4.0], [1.0, 1.0], [0.0, 0.0]])
    covariance = np.array([[[9.0, 0], [0, 16]], [[2.0, 1], [1, 2]], [[0.0, 0], [0, 0]]])
    np.testing.assert_allclose(squared_mahalanobis(offset, covariance), [2.0, 2 / 3, np.inf])


def test_honest_gaussians_are_covered_nine_times_in_ten(
    truths: Callable[..., Truths], findings: Callable[..., Findings], everywhere: Region
) -> None:
    generator = np.random.default_rng(5)
    n = 2000
    error = generator.normal(0.0, 0.3, (n, 2))
    true = [truths({"x": 10.0}) for _ in range(n)]

    def covered(sigma: float) -> float:
        found = [findings({"x": 10.0 + e[0], "y": e[1], "p": 0.9, "sigma": sigma}) for e in error]
        return ellipse_coverage(
            offsets(
                true, found,
                region=everywhere, min_probability=0.3, gate=6.0, by_bearing=False,
            ),
            draws(n, 10, 0),
        ).value  # fmt: skip

    # Standard error sqrt(0.9 x 0.1 / 2000) = 0.007.
    assert covered(0.3) == pytest.approx(0.9, abs=0.02)
    # Half the sigma: chi-square below 4.605 / 4 is 1 - exp(-4.605 / 8) = 0.438.
    assert covered(0.15) == pytest.approx(1 - np.exp(-ELLIPSE_90 / 8), abs=0.035)


def test_errors_that_grow_with_their_sigmas_follow_them_and_others_do_not(
    truths: Callable[..., Truths], findings: Callable[..., Findings], everywhere: Region
) -> None:
    rng = np.random.default_rng(5)
    n = 2000
    sigma = rng.uniform(0.05, 0.6, n)
    true = [truths({"x": 10.0})] * n

    def follows(error: np.ndarray) -> float:
        found = [
            findings({"x": 10.0 + e, "p": 0.9, "sigma": s})
            for e, s in zip(error, sigma, strict=True)
        ]
        return errors_follow_sigmas(
            offsets(
                true, found,
                region=everywhere, min_probability=0.3, gate=6.0, by_bearing=False,
            ),
            draws(n, 10, 0),
        ).value  # fmt: skip

    assert follows(rng.normal(0.0, sigma)) > 0.95
    assert abs(follows(rng.normal(0.0, 0.3, n))) < 0.75
    # One in twenty is about another object, whatever it says: the means no longer follow.
    astray = np.where(rng.random(n) < 0.05, 4.0, rng.normal(0.0, sigma))
    assert follows(astray) < follows(rng.normal(0.0, sigma))
    # Fewer answers than deciles say nothing.
    assert np.isnan(
        errors_follow_sigmas(
            offsets(
                true[:3], [findings({"x": 10.0, "p": 0.9, "sigma": 0.1})] * 3,
                region=everywhere, min_probability=0.3, gate=6.0, by_bearing=False,
            ),
            draws(3, 10, 0),
        ).value
    )  # fmt: skip


def test_coverage_leaves_out_what_does_not_count_is_improbable_or_far(
    truths: Callable[..., Truths], findings: Callable[..., Findings], everywhere: Region
) -> None:
    true = truths({"x": 5.0}, {"x": 15.0, "counts": False}, {"x": 35.0})
    found = findings(
        {"x": 5.1, "p": 0.9},  # inside its ellipse of sigma 1
        {"x": 15.0, "p": 0.9},  # does not count
        {"x": 25.0, "p": 0.9},  # 10 m from anything free
        {"x": 35.0, "p": 0.2},  # improbable
    )
    estimate = ellipse_coverage(
        offsets(
            [true], [found],
            region=everywhere, min_probability=0.3, gate=6.0, by_bearing=False,
        ),
        ONE,
    )  # fmt: skip
    assert estimate.value == 1.0


def test_box_errors_of_one_car(
    truths: Callable[..., Truths], findings: Callable[..., Findings], everywhere: Region
) -> None:
    result = box_errors(
        [
            truths(
                {"x": 10.0, "size": (4, 2, 1.5), "yaw": 3.0},
                {"x": 20.0, "kind": "barrel", "yaw": 1.0},
            )
        ],
        [
            findings(
                {"x": 10.3, "y": 0.4, "p": 0.9, "size": (2, 2, 1.5), "yaw": -3.0, "colour": "blue"},
                {"x": 20.0, "p": 0.8, "kind": "barrel", "yaw": 0.0},
            )
        ],
        ONE, region=everywhere, radius_m=2.0, min_probability=0.3,
    )  # fmt: skip
    # Car: hypot(0.3, 0.4) = 0.5 m; barrel 0: mean 0.25.
    assert result.position_m.value == pytest.approx(0.25)
    # Car: overlap 2 x 2 x 1.5 = 6 of 12: error 0.5; barrel 0: mean 0.25.
    assert result.size.value == pytest.approx(0.25)
    # From 3 to -3 the short way: 2 pi - 6. The barrel has no heading.
    assert result.yaw_rad.value == pytest.approx(2 * np.pi - 6)
    assert result.colour.value == 0.5


def test_overlap_of_boxes() -> None:
    first = np.array([[2.0, 2, 2], [1.0, 1, 1]])
    second = np.array([[1.0, 4, 2], [1.0, 1, 1]])
    # 1 x 2 x 2 = 4 shared of 8 + 8 - 4 = 12.
    np.testing.assert_allclose(aligned_overlap(first, second), [1 / 3, 1.0])


def test_no_answers_are_no_figure_and_no_crash(
    truths: Callable[..., Truths], findings: Callable[..., Findings], everywhere: Region
) -> None:
    nothing = calibration(
        [truths({"x": 5.0})], [findings()], ONE,
        region=everywhere, radius_m=1.0, min_probability=0.1, bins=5,
    )  # fmt: skip
    assert np.isnan(nothing.error.value)
    assert len(nothing.count) == 0
    errors = box_errors(
        [truths()], [findings()], ONE, region=everywhere, radius_m=2.0, min_probability=0.3
    )
    assert np.isnan(errors.position_m.value)
