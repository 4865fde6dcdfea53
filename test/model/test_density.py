"""What is familiar and what is not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mm_fusion_ros.config import ReliabilityConfig, SourceConfig
from mm_fusion_ros.model.density import Density
from mm_fusion_ros.model.export import CAMERA_POOL, Densities, content
from mm_fusion_ros.outputs import Reason
from mm_fusion_ros.perception.features import Familiar, mean_distance
from mm_fusion_ros.perception.grid import FEATURE_CELLS, LIDAR_CHANNELS, RASTER
from mm_fusion_ros.reliability.monitors import SourceMonitor


def features(count: int, shift: float = 0.0) -> torch.Tensor:
    """Two directions that vary together, and a third that hardly varies."""
    torch.manual_seed(0)
    x = torch.randn(count, 1)
    y = torch.randn(count, 1)
    return torch.cat([3.0 * x, 3.0 * x + 0.5 * y, 0.3 * torch.randn(count, 1) + shift], dim=1)


def distance(density: Density, rows: torch.Tensor) -> torch.Tensor:
    return density(rows.T.reshape(1, 3, len(rows), 1))[0, 0, :, 0]


def test_what_it_was_fitted_on_is_nearer_than_what_it_never_saw() -> None:
    density = Density(3, pool=1)
    density.fit(features(5000))
    # About 1, less what the directions that hardly vary are given on top.
    assert 0.5 < float(distance(density, features(5000)).mean()) < 1.0
    # As far out as the first direction often is, in one that never is.
    assert float(distance(density, features(100, shift=3.0)).mean()) > 8.0
    across = torch.tensor([[3.0, -3.0, 0.0]])
    along = torch.tensor([[3.0, 3.0, 0.0]])
    assert distance(density, across) > 5.0 * distance(density, along)


def test_before_it_was_fitted_nothing_is_unfamiliar() -> None:
    untrained = Densities.untrained()
    said = untrained.camera(torch.randn(1, 24, 72, 96))
    assert said.shape == (1, 1, 72 // CAMERA_POOL, 96 // CAMERA_POOL) and not said.any()
    with pytest.raises(ValueError, match="cannot tell"):
        untrained.camera.fit(torch.randn(20, 24))


def test_only_places_with_points_are_judged() -> None:
    raster = torch.zeros(1, LIDAR_CHANNELS, RASTER, RASTER)
    raster[0, -1, 17, 200] = 0.2
    where = content(raster)
    assert where.shape == (1, 1, FEATURE_CELLS // 2, FEATURE_CELLS // 2)
    assert torch.nonzero(where[0, 0]).tolist() == [[2, 25]]
    assert mean_distance(np.array([0.0, 2.0, 4.0], np.float32)) == 3.0
    assert mean_distance(np.zeros(3, np.float32)) == 0.0


def test_the_measure_is_zero_as_usual_and_one_where_one_in_a_hundred_is() -> None:
    familiar = Familiar(usual=1.0, high=1.5)
    for value, expected in ((0.5, 0.0), (1.0, 0.0), (1.5, 1.0), (2.5, 3.0)):
        assert familiar.epistemic(np.full(4, value, np.float32)) == pytest.approx(expected)


def test_an_unfamiliar_sample_is_believed_less_and_says_why() -> None:
    monitor = SourceMonitor(SourceConfig("front", "camera", rate_hz=10.0), ReliabilityConfig())
    monitor.observe(1, {}, None)
    for value, trusted in ((0.0, True), (1.9, True), (7.0, False), (50.0, False)):
        monitor.note_epistemic(value)
        trust, reason = monitor.judge(1)
        assert (trust == 1.0) == trusted, value
        assert reason is (Reason.OK if trusted else Reason.OUT_OF_DISTRIBUTION)
