"""Which answer belongs to which true object, worked out by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mm_fusion_ros.evaluation.matching import HIT, LEFT_OUT, WRONG, Region, assign, match
from mm_fusion_ros.evaluation.records import Findings, Truths


def test_the_more_probable_of_two_answers_takes_the_object(
    truths: Callable[..., Truths], findings: Callable[..., Findings], everywhere: Region
) -> None:
    # Both are within 1 m of the car at x = 10; the better score goes first, though farther off.
    matches = match(
        truths({"x": 10.0}), findings({"x": 10.1, "p": 0.5}, {"x": 10.8, "p": 0.9}),
        radius_m=1.0, region=everywhere, with_colour=False,
    )  # fmt: skip
    assert matches.outcome.tolist() == [WRONG, HIT]
    assert matches.truth.tolist() == [-1, 0]


def test_an_answer_takes_the_nearest_free_object(
    truths: Callable[..., Truths], findings: Callable[..., Findings], everywhere: Region
) -> None:
    # First answer (0.9 at 10.4): objects at 10 (0.4 m) and 10.5 (0.1 m), takes the second.
    # Second answer (0.8 at 10.6): the second is taken, the first is 0.6 m off: takes that.
    matches = match(
        truths({"x": 10.0}, {"x": 10.5}), findings({"x": 10.4, "p": 0.9}, {"x": 10.6, "p": 0.8}),
        radius_m=1.0, region=everywhere, with_colour=False,
    )  # fmt: skip
    assert matches.truth.tolist() == [1, 0]


def test_the_radius_itself_is_too_far_and_height_does_not_matter(
    truths: Callable[..., Truths], findings: Callable[..., Findings], everywhere: Region
) -> None:
    found = findings({"x": 11.0, "p": 0.9})
    found.centre[0, 2] = 5.0
    for radius, outcome in [(1.0, WRONG), (1.001, HIT)]:
        matches = match(
            truths({"x": 10.0}), found, radius_m=radius, region=everywhere, with_colour=False
        )
        assert matches.outcome.tolist() == [outcome]


def test_another_class_is_wrong_and_leaves_the_object_free(
    truths: Callable[..., Truths], findings: Callable[..., Findings], everywhere: Region
) -> None:
    matches = match(
        truths({"x": 10.0}),
        findings({"x": 10.0, "p": 0.9, "kind": "truck"}, {"x": 10.0, "p": 0.2}),
        radius_m=1.0, region=everywhere, with_colour=False,
    )  # fmt: skip
    assert matches.outcome.tolist() == [WRONG, HIT]


def test_the_wrong_colour_is_wrong_only_where_colour_is_asked(
    truths: Callable[..., Truths], findings: Callable[..., Findings], everywhere: Region
) -> None:
    true = truths({"x": 10.0, "colour": "red"})
    found = findings(
        {"x": 10.0, "p": 0.9, "colour": "blue"}, {"x": 10.2, "p": 0.8, "colour": "red"}
    )
    with_colour = match(true, found, radius_m=1.0, region=everywhere, with_colour=True)
    assert with_colour.outcome.tolist() == [WRONG, HIT]  # blue left the object free
    without = match(true, found, radius_m=1.0, region=everywhere, with_colour=False)
    assert without.outcome.tolist() == [HIT, WRONG]


def test_with_colour_answers_are_ranked_by_the_product(
    truths: Callable[..., Truths], findings: Callable[..., Findings], everywhere: Region
) -> None:
    # 0.9 x 0.5 = 0.45 < 0.6 x 0.9 = 0.54: the second goes first.
    matches = match(
        truths({"x": 10.0}),
        findings({"x": 10.0, "p": 0.9, "q": 0.5}, {"x": 10.0, "p": 0.6, "q": 0.9}),
        radius_m=1.0, region=everywhere, with_colour=True,
    )  # fmt: skip
    np.testing.assert_allclose(matches.score, [0.45, 0.54])
    assert matches.outcome.tolist() == [WRONG, HIT]


def test_unknown_matches_no_colour_not_even_an_unlisted_one(
    truths: Callable[..., Truths], findings: Callable[..., Findings], everywhere: Region
) -> None:
    found = findings({"x": 10.0, "p": 0.9, "colour": "unknown", "q": 0.0})
    for colour in ("red", "pink"):
        matches = match(
            truths({"x": 10.0, "colour": colour}), found,
            radius_m=1.0, region=everywhere, with_colour=True,
        )  # fmt: skip
        assert matches.outcome.tolist() == [WRONG]


def test_an_object_that_does_not_count_absorbs_answers_of_any_class(
    truths: Callable[..., Truths], findings: Callable[..., Findings], everywhere: Region
) -> None:
    matches = match(
        truths({"x": 10.0, "counts": False}),
        findings(
            {"x": 10.1, "p": 0.9}, {"x": 9.9, "p": 0.8, "kind": "truck"}, {"x": 11.5, "p": 0.7}
        ),
        radius_m=1.0, region=everywhere, with_colour=False,
    )  # fmt: skip
    assert matches.outcome.tolist() == [LEFT_OUT, LEFT_OUT, WRONG]
    assert matches.asked.tolist() == [False]


def test_an_object_that_counts_goes_before_one_that_does_not(
    truths: Callable[..., Truths], findings: Callable[..., Findings], everywhere: Region
) -> None:
    # Nearest is the one that does not count; the answer is still a hit on the other.
    matches = match(
        truths({"x": 10.0, "counts": False}, {"x": 10.9}), findings({"x": 10.2, "p": 0.9}),
        radius_m=1.0, region=everywhere, with_colour=False,
    )  # fmt: skip
    assert matches.truth.tolist() == [1]


def test_one_region_serves_truth_and_answers(
    truths: Callable[..., Truths], findings: Callable[..., Findings], seen: Region
) -> None:
    matches = match(
        truths({"x": 10.0, "in_view": False}, {"x": 20.0}, {"x": 50.0}),
        findings(
            {"x": 10.0, "p": 0.9, "in_view": False},  # on an object out of view
            {"x": 15.0, "p": 0.8, "in_view": False},  # on nothing, out of view
            {"x": 20.0, "p": 0.7, "in_view": False},  # out of view, hits the one in view
            {"x": 50.0, "p": 0.6},  # beyond 40 m
            {"x": 30.0, "p": 0.5},  # in view, on nothing
        ),
        radius_m=1.0, region=seen, with_colour=False,
    )  # fmt: skip
    assert matches.asked.tolist() == [False, True, False]
    assert matches.outcome.tolist() == [LEFT_OUT, LEFT_OUT, HIT, LEFT_OUT, WRONG]


def test_no_answers_and_no_truth_give_empty_matches(
    truths: Callable[..., Truths], findings: Callable[..., Findings], everywhere: Region
) -> None:
    nothing = match(truths(), findings(), radius_m=1.0, region=everywhere, with_colour=True)
    assert len(nothing.outcome) == 0
    found = match(
        truths(), findings({"x": 3.0, "p": 0.5}), radius_m=1.0, region=everywhere, with_colour=True
    )
    assert found.outcome.tolist() == [WRONG]


def test_position_is_assigned_to_the_same_class_within_the_gate(
    truths: Callable[..., Truths], findings: Callable[..., Findings]
) -> None:
    true = truths({"x": 10.0}, {"x": 12.0, "kind": "truck"}, {"x": 30.0, "counts": False})
    found = findings({"x": 12.0, "p": 0.9}, {"x": 29.0, "p": 0.8}, {"x": 20.0, "p": 0.7})
    # The first is a car at 12 m: 2 m from the car, 0 m from the truck: the car's. The third is
    # 10 m from any free car: nobody's.
    assert assign(true, found, gate=6.0, by_bearing=False).tolist() == [0, 2, -1]


def test_position_by_bearing_forgives_range_and_wraps_around(
    truths: Callable[..., Truths], findings: Callable[..., Findings]
) -> None:
    # Both behind the robot, just either side of 180 degrees: 0.2 m / 10 m twice = 0.04 rad.
    true = truths({"x": -10.0, "y": 0.2})
    found = findings({"x": -20.0, "y": -0.4, "p": 0.9})
    assert assign(true, found, gate=0.05, by_bearing=True).tolist() == [0]
    assert assign(true, found, gate=0.03, by_bearing=True).tolist() == [-1]
    assert assign(true, found, gate=6.0, by_bearing=False).tolist() == [-1]


def test_assignment_survives_scenes_without_objects(
    truths: Callable[..., Truths], findings: Callable[..., Findings]
) -> None:
    assert assign(truths(), findings({"x": 1.0, "p": 0.9}), gate=6.0, by_bearing=False)[0] == -1
