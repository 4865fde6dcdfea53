"""Average precision and its intervals, worked out by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_fusion_ros.evaluation.average_precision import (
    LEVELS,
    PrecisionRule,
    Ranking,
    average_precision,
    mean_average_precision,
    precision_at,
    running_sum,
)
from mm_fusion_ros.evaluation.bootstrap import draws
from mm_fusion_ros.evaluation.matching import Region
from mm_fusion_ros.evaluation.records import Findings, Truths

PLAIN = PrecisionRule(radii_m=(1.0,), min_recall=0.0, min_precision=0.0)
NUSCENES = PrecisionRule()


def ranking(hits: list[int], asked: list[int], scene: list[int] | None = None) -> Ranking:
    """Answers in order of falling score."""
    return Ranking(
        score=np.linspace(1.0, 0.5, len(hits)),
        hit=np.array(hits, dtype=bool),
        scene=np.array(scene or [0] * len(hits), dtype=np.int64),
        asked=np.array(asked, dtype=np.int64),
    )


ONCE = np.ones((1, 1), dtype=np.int64)


def test_all_found_and_nothing_else_is_one() -> None:
    assert average_precision(ranking([1, 1, 1, 1], [4]), ONCE, NUSCENES) == pytest.approx([1.0])


def test_half_found_and_nothing_else() -> None:
    # Precision is 1 up to recall 0.5. Levels 0.11 .. 1.00 are 90, of which 0.11 .. 0.50 are 40.
    assert average_precision(ranking([1, 1], [4]), ONCE, NUSCENES) == pytest.approx([40 / 90])
    # Without cut-offs only level 0 is left out: 0.01 .. 0.50 of 0.01 .. 1.00.
    assert average_precision(ranking([1, 1], [4]), ONCE, PLAIN) == pytest.approx([50 / 100])


def test_precision_falls_linearly_between_answers() -> None:
    # Right, wrong, right, with 2 asked. Recall 0.5 0.5 1, precision 1 1/2 2/3. Levels below 0.5
    # have precision 1; level 0.5 + d has 1/2 + (2/3 - 1/2) 2 d.
    levels = np.arange(11, 101) / 100
    curve = np.where(levels < 0.5, 1.0, 0.5 + (1 / 6) * 2 * (levels - 0.5))
    expected = np.mean(curve - 0.1) / 0.9
    assert average_precision(ranking([1, 0, 1], [2]), ONCE, NUSCENES) == pytest.approx([expected])


def test_precision_below_the_smallest_is_nothing() -> None:
    # One right among eleven, found last: precision 1/11 < 0.1 at every level.
    assert average_precision(ranking([0] * 10 + [1], [1]), ONCE, NUSCENES).tolist() == [0.0]


def test_no_answers_is_zero_and_nothing_asked_is_not_a_number() -> None:
    assert average_precision(ranking([], [3]), ONCE, NUSCENES).tolist() == [0.0]
    assert np.isnan(average_precision(ranking([0], [0]), ONCE, NUSCENES)).all()


def test_a_draw_counts_a_scene_as_often_as_it_was_drawn() -> None:
    # Scene 0: one asked, found. Scene 1: one asked, missed, one wrong answer of better score.
    two = ranking([0, 1], [1, 1], scene=[1, 0])
    drawn = np.array([[1, 1], [2, 0], [0, 2]])
    # Draw 0: wrong, right of 2: precision 0, 1/2 at recall 0.5, linear from (0, 0): precision =
    # recall, up to 0.5: sum of (0.11 .. 0.50) - 0.1 = 0.01 + ... + 0.40 = 8.2, / 90 / 0.9.
    # Draw 1: scene 0 twice: 2 of 2 found, nothing wrong: 1. Draw 2: nothing found: 0.
    expected = [8.2 / 90 / 0.9, 1.0, 0.0]
    assert average_precision(two, drawn, NUSCENES) == pytest.approx(expected)


def scattered(seed: int, answers: int, scenes: int) -> Ranking:
    """A ranking at random."""
    generator = np.random.default_rng(seed)
    scene = generator.integers(0, scenes, answers)
    hit = generator.random(answers) < 0.6
    asked = np.bincount(scene[hit], minlength=scenes) + generator.integers(0, 3, scenes)
    return Ranking(np.sort(generator.random(answers))[::-1], hit, scene, asked)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 60), st.integers(1, 12))
def test_the_weighted_figure_is_that_of_the_scenes_written_out(
    seed: int, answers: int, scenes: int
) -> None:
    # Independent way: repeat each scene's answers as often as drawn and use numpy's interpolation.
    original = scattered(seed, answers, scenes)
    drawn = draws(scenes, 5, seed)
    for row, value in zip(drawn, average_precision(original, drawn, NUSCENES), strict=False):
        times = row[original.scene]
        hit = np.repeat(original.hit, times)
        asked = int(row @ original.asked)
        if asked == 0:
            assert np.isnan(value)
            continue
        if len(hit) == 0:
            assert value == 0.0
            continue
        # Copies of one answer come in together: precision is known only after the last of them.
        last = np.cumsum(times)[times > 0] - 1
        found = np.cumsum(hit)[last]
        recall, precision = found / asked, found / (last + 1)
        levels = np.linspace(0, 1, LEVELS)
        curve = np.interp(levels, recall, precision, right=0)
        expected = np.clip(curve[11:] - 0.1, 0, None).mean() / 0.9
        assert value == pytest.approx(expected, abs=1e-9)


def test_blocks_of_replicates_give_what_one_by_one_gives() -> None:
    many = scattered(3, 3000, 40)
    drawn = draws(40, 3000, 5)  # 9 million elements: three blocks
    together = average_precision(many, drawn, NUSCENES)
    alone = [average_precision(many, row[None], NUSCENES)[0] for row in drawn[::100]]
    np.testing.assert_allclose(together[::100], alone, rtol=1e-12)


def test_the_curve_ends_where_recall_ends() -> None:
    levels = np.linspace(0.0, 1.0, LEVELS)
    curve = precision_at(ranking([1, 0], [4]), ONCE, levels)[0]
    assert curve[24] == 1.0
    assert curve[25] == 0.5  # after the wrong answer at the same recall
    assert (curve[26:] == 0.0).all()


def test_a_running_sum_is_over_rows() -> None:
    rows = np.array([[1, 2], [3, 4], [5, 6]], dtype=np.int32)
    assert running_sum(rows).tolist() == [[1, 2], [4, 6], [9, 12]]


def test_the_mean_is_over_classes_that_were_asked_for(
    truths: Callable[..., Truths], findings: Callable[..., Findings], everywhere: Region
) -> None:
    true = truths({"x": 5.0}, {"x": 10.0}, {"x": 15.0, "kind": "ball"})
    found = findings(
        {"x": 5.0, "p": 0.9},
        {"x": 10.0, "p": 0.8},  # both cars: 1.0
        {"x": 30.0, "p": 0.7, "kind": "cone"},  # no cone was asked for: not in the mean
    )  # fmt: skip; the ball is missed: 0.0
    result = mean_average_precision(
        [true], [found], draws(1, 10, 0), region=everywhere, with_colour=False, rule=NUSCENES
    )
    assert {name: e.value for name, e in result.by_class.items()} == pytest.approx(
        {"car": 1.0, "ball": 0.0}
    )
    assert result.overall.value == pytest.approx(0.5)
    assert result.overall.interval == pytest.approx((0.5, 0.5))


def test_the_figure_is_the_mean_over_the_radii(
    truths: Callable[..., Truths], findings: Callable[..., Findings], everywhere: Region
) -> None:
    # 0.7 m off: a hit at 1 m and 2 m, not at 0.5 m: (0 + 1 + 1) / 3.
    result = mean_average_precision(
        [truths({"x": 5.0})], [findings({"x": 5.7, "p": 0.9})], draws(1, 4, 0),
        region=everywhere, with_colour=False, rule=NUSCENES,
    )  # fmt: skip
    assert result.overall.value == pytest.approx(2 / 3)


def test_an_abstention_on_colour_costs_its_own_object_and_no_other(
    truths: Callable[..., Truths], findings: Callable[..., Findings], everywhere: Region
) -> None:
    # Two red cars; one answered red, the other "unknown": score 0, ranked last, so the first
    # half of the curve is untouched: as if half were found and nothing else.
    result = mean_average_precision(
        [truths({"x": 5.0}, {"x": 10.0})],
        [findings({"x": 5.0, "p": 0.6}, {"x": 10.0, "p": 0.9, "colour": "unknown", "q": 0.0})],
        draws(1, 4, 0), region=everywhere, with_colour=True, rule=NUSCENES,
    )  # fmt: skip
    # Level 0.50 itself has precision 1/2, after the abstention at the same recall.
    assert result.overall.value == pytest.approx((39 * 0.9 + 0.4) / 90 / 0.9)


def test_no_scenes_give_no_figure(everywhere: Region) -> None:
    result = mean_average_precision(
        [], [], draws(0, 4, 0), region=everywhere, with_colour=True, rule=NUSCENES
    )
    assert np.isnan(result.overall.value)
    assert np.isnan(result.overall.interval[0])
