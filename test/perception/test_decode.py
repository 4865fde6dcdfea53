"""Output maps to objects."""

from __future__ import annotations

import numpy as np
import pytest

from mm_fusion_ros.outputs import CLASSES, COLOURS
from mm_fusion_ros.perception import maps
from mm_fusion_ros.perception.decode import Calibration, Detection, covariance, peaks
from mm_fusion_ros.perception.decode import decode as decode_packed
from mm_fusion_ros.perception.grid import CELLS, FEATURE_CELLS, cell_centres


def pack(output: np.ndarray) -> np.ndarray:
    """Fine maps as networks give them: the fine cells of a coarse one along the channels."""
    n, finer = FEATURE_CELLS, maps.FINER
    parts = output.reshape(-1, n, finer, n, finer).transpose(0, 2, 4, 1, 3)
    return np.ascontiguousarray(parts.reshape(maps.PACKED, n, n))


def decode(
    output: np.ndarray, calibration: Calibration, threshold: float, limit: int
) -> list[Detection]:
    return decode_packed(pack(output), calibration, threshold, limit)


def empty() -> np.ndarray:
    output = np.zeros((maps.CHANNELS, CELLS, CELLS), np.float32)
    output[maps.CLASS] = -8.0
    return output


def put(output: np.ndarray, name: str, ix: int, iy: int, logit: float) -> None:
    column = output[:, ix, iy]
    column[maps.CLASS][CLASSES.index(name)] = logit
    column[maps.COLOUR] = 0.0
    column[maps.COLOUR][COLOURS.index("red")] = 6.0
    column[maps.OFFSET] = (0.1, -0.2)
    column[maps.HEIGHT] = 0.5
    column[maps.SIZE] = np.log((1.0, 0.5, 2.0))
    column[maps.YAW] = (np.sin(2 * 0.3), np.cos(2 * 0.3))
    column[maps.LOG_VARIANCE] = np.log((0.04, 0.01, 0.09))


def test_one_peak_becomes_the_object_written_into_it() -> None:
    output = empty()
    put(output, "box", 80, 64, 2.0)
    (item,) = decode(output, Calibration(), 0.1, 10)
    found = item.object
    centres = cell_centres()
    assert found.class_name == "box"
    assert found.class_probability == pytest.approx(1 / (1 + np.exp(-2.0)))
    assert found.colour == "red"
    # softmax of one 6 among eight 0s: e^6 / (e^6 + 8)
    assert found.colour_probability == pytest.approx(np.exp(6) / (np.exp(6) + 8), rel=1e-5)
    assert found.centre == pytest.approx([centres[80] + 0.1, centres[64] - 0.2, 0.5], abs=1e-5)
    assert found.size == pytest.approx([1.0, 0.5, 2.0], rel=1e-5)
    assert found.yaw == pytest.approx(0.3, abs=1e-5)


def test_an_unsure_colour_is_unknown() -> None:
    output = empty()
    put(output, "box", 80, 64, 2.0)
    output[maps.COLOUR] = 0.0  # one in nine each
    (item,) = decode(output, Calibration(), 0.1, 10)
    assert (item.object.colour, item.object.colour_probability) == ("unknown", 0.0)


def test_the_weaker_of_two_overlapping_peaks_is_dropped_and_a_far_one_kept() -> None:
    output = empty()
    put(output, "box", 80, 64, 2.0)
    put(output, "barrel", 80, 64, 1.0)
    put(output, "barrel", 90, 64, 0.5)
    found = decode(output, Calibration(), 0.1, 10)
    assert [item.object.class_name for item in found] == ["box", "barrel"]


def test_the_threshold_holds_after_calibration() -> None:
    output = empty()
    put(output, "box", 80, 64, 0.0)
    assert decode(output, Calibration(), 0.4, 10)
    # sigmoid(0 - 1) = 0.27 is below it
    assert not decode(output, Calibration(class_bias=-1.0), 0.4, 10)


def test_peaks_at_the_border_are_found() -> None:
    heat = np.full((len(CLASSES), CELLS, CELLS), -8.0, np.float32)
    heat[0, 0, 0] = heat[1, CELLS - 1, CELLS - 1] = 1.0
    assert peaks(heat, 0.0, 10).tolist() == [[0, 0, 0], [1, CELLS - 1, CELLS - 1]]


def test_the_covariance_is_long_along_the_ray() -> None:
    # Seen to the left: along the ray is y, across it is x.
    matrix = covariance(np.log([4.0, 0.25, 0.09]), 0.0, 10.0, np.ones(3))
    assert matrix == pytest.approx(np.diag([0.25, 4.0, 0.09]), abs=1e-9)


def test_nothing_on_the_maps_is_no_object() -> None:
    assert decode(empty(), Calibration(), 0.1, 10) == []
