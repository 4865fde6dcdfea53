"""Output maps to objects."""

from __future__ import annotations

import numpy as np
import pytest

from mm_fusion_ros.outputs import CLASSES
from mm_fusion_ros.perception import maps
from mm_fusion_ros.perception.decode import (
    Calibration,
    Found,
    apart,
    calibrated_log_variance,
    covariances,
    peaks,
)
from mm_fusion_ros.perception.decode import decode as decode_packed
from mm_fusion_ros.perception.grid import CELLS, FEATURE_CELLS, cell_centres


def pack(output: np.ndarray) -> np.ndarray:
    """Fine maps as networks give them: the fine cells of a coarse one along the channels."""
    n, finer = FEATURE_CELLS, maps.FINER
    parts = output.reshape(-1, n, finer, n, finer).transpose(0, 2, 4, 1, 3)
    return np.ascontiguousarray(parts.reshape(maps.PACKED, n, n))


def decode(output: np.ndarray, calibration: Calibration, threshold: float, limit: int) -> Found:
    return decode_packed(pack(output), calibration, threshold, limit)


def empty() -> np.ndarray:
    output = np.zeros((maps.CHANNELS, CELLS, CELLS), np.float32)
    output[maps.CLASS] = -8.0
    return output


def put(output: np.ndarray, name: str, ix: int, iy: int, logit: float) -> None:
    column = output[:, ix, iy]
    column[maps.CLASS][CLASSES.index(name)] = logit
    column[maps.OFFSET] = (0.1, -0.2)
    column[maps.HEIGHT] = 0.5
    column[maps.SIZE] = np.log((1.0, 0.5, 2.0))
    column[maps.YAW] = (np.sin(2 * 0.3), np.cos(2 * 0.3))
    column[maps.LOG_VARIANCE] = np.log((0.04, 0.01, 0.09))


def test_one_peak_becomes_the_object_written_into_it() -> None:
    output = empty()
    put(output, "box", 80, 64, 2.0)
    found = decode(output, Calibration(), 0.1, 10)
    assert found.cells.tolist() == [[80, 64]]
    assert found.class_logits[0].argmax() == CLASSES.index("box")
    assert found.class_logits[0].max() == 2.0
    centres = cell_centres()
    place = [centres[80] + 0.1, centres[64] - 0.2, 0.5]
    assert found.boxes[0] == pytest.approx([*place, 1.0, 0.5, 2.0, 0.3], abs=1e-5)


def test_the_weaker_of_two_overlapping_peaks_is_dropped_and_a_far_one_kept() -> None:
    output = empty()
    put(output, "box", 80, 64, 2.0)
    put(output, "barrel", 80, 64, 1.0)
    put(output, "barrel", 90, 64, 0.5)
    found = decode(output, Calibration(), 0.1, 10)
    kinds = [CLASSES[kind] for kind in found.class_logits.argmax(axis=1)]
    assert kinds == ["box", "barrel"]
    assert found.cells.tolist() == [[80, 64], [90, 64]]


def test_what_was_dropped_drops_nothing_else() -> None:
    """A row of neighbours, each too near to the next alone: every second one stays."""
    place = np.column_stack([np.arange(5) * 0.3, np.zeros(5)])
    assert apart(place, np.full(5, 0.1), 10).tolist() == [0, 2, 4]
    assert apart(place, np.full(5, 0.1), 2).tolist() == [0, 2]
    # Boxes of 2 m are 0.405 * (2 + 2) apart at least.
    assert apart(place * 4, np.full(5, 2.0), 10).tolist() == [0, 2, 4]


def test_the_threshold_holds_after_calibration() -> None:
    output = empty()
    put(output, "box", 80, 64, 0.0)
    assert len(decode(output, Calibration(), 0.4, 10)) == 1
    # sigmoid(0 - 1) = 0.27 is below it
    assert not len(decode(output, Calibration(class_bias=-1.0), 0.4, 10))


def test_peaks_at_the_border_are_found() -> None:
    heat = np.full((len(CLASSES), CELLS, CELLS), -8.0, np.float32)
    heat[0, 0, 0] = heat[1, CELLS - 1, CELLS - 1] = 1.0
    assert peaks(heat, 0.0, 10).tolist() == [[0, 0, 0], [1, CELLS - 1, CELLS - 1]]


def test_the_covariance_is_long_along_the_ray() -> None:
    # Along the ray is x for what stands ahead, y for what stands to the left.
    said = np.log([[4.0, 0.25, 0.09]] * 2)
    ahead_and_left = np.array([[10.0, 0.0, 0.0], [0.0, 10.0, 0.0]])
    ahead, left = covariances(said, ahead_and_left)
    assert ahead == pytest.approx(np.diag([4.0, 0.25, 0.09]), abs=1e-9)
    assert left == pytest.approx(np.diag([0.25, 4.0, 0.09]), abs=1e-9)


def test_what_is_improbable_or_far_is_less_certain_where_it_was_found_to_be() -> None:
    said = np.log([[0.04, 0.01, 0.09]] * 3)
    centre = np.array([[5.0, 0.0, 0.0], [5.0, 0.0, 0.0], [20.0, 0.0, 0.0]])
    sure = np.array([0.9, 0.5, 0.9])
    plain = Calibration(variance_scale=(2.0, 1.0, 1.0))
    assert np.exp(calibrated_log_variance(said, centre, sure, plain)) == pytest.approx(
        np.array([[0.08, 0.01, 0.09]] * 3)
    )
    fitted = Calibration(variance_slopes=(0.0, -0.5, 0.3))
    first, doubtful, far = calibrated_log_variance(said, centre, sure, fitted)
    # Odds of 9 to 1; all axes grow alike.
    assert doubtful - first == pytest.approx(np.full(3, 0.5 * np.log(9.0)))
    assert far - first == pytest.approx(np.full(3, 0.3 * np.log(4.0)))
    flat = Calibration(variance_slopes=(-1.0, 0.0, 0.0))
    other = np.log([[0.4, 0.1, 0.9]])
    one, same = (
        calibrated_log_variance(each, centre[:1], sure[:1], flat)[0] for each in (said[:1], other)
    )
    assert one == pytest.approx(same)


def test_nothing_on_the_maps_is_no_object() -> None:
    assert len(decode(empty(), Calibration(), 0.1, 10)) == 0
