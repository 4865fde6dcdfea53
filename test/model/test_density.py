"""What is familiar and what is not."""

from __future__ import annotations

import pytest
import torch

from mm_fusion_ros.config import ReliabilityConfig, SourceConfig
from mm_fusion_ros.model.density import Density
from mm_fusion_ros.model.export import Densities, content
from mm_fusion_ros.outputs import Reason
from mm_fusion_ros.perception.features import Familiar
from mm_fusion_ros.perception.grid import FEATURE_CELLS, LIDAR_CHANNELS, RASTER
from mm_fusion_ros.reliability.monitors import SourceMonitor


def samples(count: int, shift: float = 0.0, spread: float = 1.0) -> torch.Tensor:
    """(count, 2, 8, 8): two channels whose means vary together from sample to sample."""
    torch.manual_seed(0)
    level = torch.randn(count, 1)
    means = torch.cat([3.0 * level, 3.0 * level + 0.3 * torch.randn(count, 1) + shift], dim=1)
    return means[:, :, None, None] + spread * torch.randn(count, 2, 8, 8)


EVERYWHERE = torch.ones(1, 1, 8, 8)


@pytest.fixture(scope="module")
def density() -> Density:
    fitted = Density(2)
    fitted.fit(fitted.told(samples(2000), EVERYWHERE))
    return fitted


def test_what_it_was_fitted_on_is_nearer_than_what_it_never_saw(density: Density) -> None:
    # About 1, less what the directions that hardly vary are given on top.
    usual = density(samples(500), EVERYWHERE)
    assert usual.shape == (500,) and 0.3 < float(usual.mean()) < 1.0
    # A mean as often seen, but not beside that of the other channel.
    assert float(density(samples(100, shift=3.0), EVERYWHERE).mean()) > 5.0 * float(usual.mean())
    # As often seen in the mean, but never so even.
    assert float(density(samples(100, spread=0.1), EVERYWHERE).mean()) > 1.5 * float(usual.mean())


def test_only_places_that_count_are_judged(density: Density) -> None:
    given = samples(1)
    weight = torch.zeros(1, 1, 8, 8)
    weight[:, :, :, :4] = 1.0
    other = given.clone()
    other[:, :, :, 4:] = 100.0
    assert torch.allclose(density(given, weight), density(other, weight), atol=1e-4)
    assert density.told(given, weight)[0, :2].tolist() == pytest.approx(
        given[0, :, :, :4].mean(dim=(1, 2)).tolist(), abs=1e-4
    )
    # Nothing at all is a mean of 0, and no division by it.
    assert torch.isfinite(density(given, torch.zeros(1, 1, 8, 8))).all()


def test_before_it_was_fitted_nothing_is_unfamiliar() -> None:
    untrained = Densities.untrained()
    said = untrained.camera(torch.randn(1, 24, 72, 96), torch.ones(1, 1, 72, 96))
    assert said.shape == (1,) and not said.any()
    with pytest.raises(ValueError, match="cannot tell"):
        untrained.camera.fit(torch.randn(40, 48))


def test_content_is_where_points_lie() -> None:
    raster = torch.zeros(1, LIDAR_CHANNELS, RASTER, RASTER)
    raster[0, -1, 17, 200] = 0.2
    where = content(raster)
    assert where.shape == (1, 1, FEATURE_CELLS, FEATURE_CELLS)
    assert torch.nonzero(where[0, 0]).tolist() == [[4, 50]]


def test_the_measure_is_zero_as_usual_and_one_where_one_in_a_hundred_is() -> None:
    familiar = Familiar(usual=1.0, high=1.5)
    for value, expected in ((0.5, 0.0), (1.0, 0.0), (1.5, 1.0), (2.5, 3.0)):
        assert familiar.epistemic(value) == pytest.approx(expected)


def test_an_unfamiliar_sample_is_believed_less_and_says_why() -> None:
    monitor = SourceMonitor(SourceConfig("front", "camera", rate_hz=10.0), ReliabilityConfig())
    monitor.observe(1, {}, None)
    for value, trusted in ((0.0, True), (1.9, True), (7.0, False), (50.0, False)):
        monitor.note_epistemic(value)
        trust, reason = monitor.judge(1)
        assert (trust == 1.0) == trusted, value
        assert reason is (Reason.OK if trusted else Reason.OUT_OF_DISTRIBUTION)
