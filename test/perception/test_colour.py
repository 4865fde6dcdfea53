"""Colours are looked up in the image where the object stands."""

from __future__ import annotations

import numpy as np
import pytest

from mm_fusion_ros.outputs import COLOURS
from mm_fusion_ros.perception.colour import read_colours

OPTICAL = np.array([[0, 0, 1, 0.0], [-1, 0, 0, 0.0], [0, -1, 0, 1.0], [0, 0, 0, 1.0]])
K = np.array([[200.0, 0.0, 191.5], [0.0, 200.0, 143.5], [0.0, 0.0, 1.0]])
WHOLE = (0, 0, 384, 288)
RED, BLUE = COLOURS.index("red"), COLOURS.index("blue")


def picture() -> tuple[np.ndarray, np.ndarray]:
    """Red on the left half, blue on the right, everything at 10 m."""
    colours = np.full((len(COLOURS), 72, 96), -5.0, np.float32)
    colours[RED, :, :48] = colours[BLUE, :, 48:] = -0.1
    return colours, np.full((72, 96), np.log(10.0), np.float32)


def read(*centres: tuple[float, float, float]) -> np.ndarray:
    colours, depth = picture()
    places = [np.array(centre) for centre in centres]
    return read_colours(colours, depth, K, OPTICAL, WHOLE, 4, places, [0.5] * len(places))


def test_an_object_takes_the_colour_of_the_pixels_that_it_projects_to() -> None:
    left, right = read((10.0, 2.0, 1.0), (10.0, -2.0, 1.0))
    assert np.argmax(left) == RED and np.argmax(right) == BLUE
    assert left[RED] == pytest.approx(-0.1)


def test_what_no_camera_sees_gets_no_colour() -> None:
    behind, aside, none = (-10.0, 0.0, 1.0), (1.0, 30.0, 1.0), read()
    assert not read(behind, aside).any()
    assert none.shape == (0, len(COLOURS))


def test_what_is_hidden_behind_something_near_gets_no_colour_from_it() -> None:
    # The picture is at 10 m; ln(40 / 10) = 1.39 is more than 0.7, ln(15 / 10) = 0.41 is less.
    assert not read((40.0, 2.0, 1.0)).any()
    assert read((15.0, 2.0, 1.0)).any()
