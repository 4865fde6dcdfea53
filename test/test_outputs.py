"""What an object may be, where all of it is known and where only the most probable is."""

from __future__ import annotations

import numpy as np
import pytest

from mm_fusion_ros.outputs import COLOURS, UNKNOWN_COLOUR, FusedObject


def thing(colour: str = "red", **known: dict[str, float]) -> FusedObject:
    return FusedObject(
        track_id=1, class_name="box", class_probability=0.6, colour=colour,
        colour_probability=0.0 if colour == UNKNOWN_COLOUR else 0.8, centre=np.zeros(3),
        size=np.ones(3), yaw=0.0, velocity=np.zeros(3), position_covariance=np.eye(3), **known,
    )  # fmt: skip


def test_of_an_object_that_says_all_everything_is_known() -> None:
    full = thing(classes={"box": 0.6, "barrel": 0.3}, colours={"red": 0.8, "orange": 0.2})
    assert full.probability == pytest.approx(0.9)
    assert [full.probability_of_class(name) for name in ("box", "barrel", "car")] == [0.6, 0.3, 0.0]
    assert [full.probability_of_colour(c) for c in ("red", "orange", "blue")] == [0.8, 0.2, 0.0]


def test_of_one_that_says_the_most_probable_the_rest_is_taken_as_even() -> None:
    plain = thing()
    assert plain.probability == 0.6
    assert [plain.probability_of_class(name) for name in ("box", "barrel")] == [0.6, 0.0]
    assert plain.probability_of_colour("red") == 0.8
    assert sum(map(plain.probability_of_colour, COLOURS)) == pytest.approx(1.0)
    unknown = thing(UNKNOWN_COLOUR)
    assert unknown.probability_of_colour("red") == pytest.approx(1.0 / len(COLOURS))
