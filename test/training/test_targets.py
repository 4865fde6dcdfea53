"""Objects drawn as maps, and the decoder that reads them back."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mm_fusion_ros.outputs import CLASSES
from mm_fusion_ros.perception import maps
from mm_fusion_ros.perception.decode import Calibration, decode
from mm_fusion_ros.perception.grid import CELLS
from mm_fusion_ros.training.targets import draw

CAR = [10.2, -4.7, 0.8, 4.2, 1.8, 1.5, 0.4]
CONE = [-20.0, 15.1, 0.35, 0.4, 0.4, 0.7, 0.0]


def drawn(asked: tuple[bool, bool]):
    return draw(
        np.array([CAR, CONE], np.float32),
        np.array([CLASSES.index("car"), CLASSES.index("cone")]),
        np.array(asked),
    )


def test_a_network_that_says_exactly_the_targets_is_decoded_to_the_objects() -> None:
    targets = drawn((True, True))
    output = np.zeros((maps.CHANNELS, CELLS, CELLS), np.float32)
    heat = np.clip(targets.heat, 1e-4, 1 - 1e-4)
    output[maps.CLASS] = np.log(heat / (1 - heat))
    output[maps.OFFSET], output[maps.HEIGHT] = targets.box[0:2], targets.box[2:3]
    output[maps.SIZE], output[maps.YAW] = targets.box[3:6], targets.box[6:8]
    packed = torch.nn.functional.pixel_unshuffle(torch.from_numpy(output), maps.FINER).numpy()
    found = decode(packed, Calibration(), 0.5, 10)
    found = found.take(np.argsort(-found.centre[:, 0]))
    kinds = [CLASSES[kind] for kind in found.class_logits.argmax(axis=1)]
    assert kinds == ["car", "cone"]
    assert found.boxes[0] == pytest.approx(CAR, abs=1e-4)
    assert found.boxes[1] == pytest.approx(CONE, abs=1e-4)


def test_the_cell_of_a_centre_is_exactly_one_so_that_it_counts_as_positive() -> None:
    heat = drawn((True, True)).heat
    assert (heat.max(axis=(1, 2)) == 1.0).sum() == 2
    assert (heat == 1.0).sum() == 2


def test_what_a_sensor_cannot_see_is_neither_wanted_nor_punished() -> None:
    targets = drawn((True, False))
    assert targets.count == 1
    assert not targets.heat[CLASSES.index("cone")].any()
    # 2 cells of 0.625 m around the cone are left out of the loss: pi * 1.25^2 / 0.625^2 = 12.6.
    assert 9 <= (targets.care == 0).sum() <= 16
    assert targets.weight[targets.care == 0].sum() == 0.0


def test_objects_outside_the_grid_are_left_out() -> None:
    far = np.array([[50.0, 0.0, 0.5, 1, 1, 1, 0]], np.float32)
    targets = draw(far, np.array([0]), np.array([True]))
    assert targets.count == 0 and not targets.heat.any()
