"""Packed maps and the fine ones that they stand for."""

from __future__ import annotations

import numpy as np
import torch

from mm_fusion_ros.perception import maps
from mm_fusion_ros.perception.grid import CELLS, FEATURE_CELLS


def test_packed_maps_are_what_a_pixel_shuffle_spreads() -> None:
    rng = np.random.default_rng(0)
    shape = (maps.PACKED, FEATURE_CELLS, FEATURE_CELLS)
    packed = rng.normal(size=shape).astype(np.float32)
    fine = torch.nn.functional.pixel_shuffle(torch.from_numpy(packed), maps.FINER).numpy()
    assert fine.shape == (maps.CHANNELS, CELLS, CELLS)
    for channels in (maps.CLASS, maps.SIZE, maps.LOG_VARIANCE):
        assert np.array_equal(maps.spread(packed, channels), fine[channels])
    cells = np.array([(0, 0), (1, 0), (0, 1), (77, 42), (CELLS - 1, CELLS - 1)])
    assert np.array_equal(maps.columns(packed, cells), fine[:, cells[:, 0], cells[:, 1]].T)
    assert maps.columns(packed, cells[:0]).shape == (0, maps.CHANNELS)
