"""What a sweep tells of its lidar, on sweeps whose noise and strays are known."""

from __future__ import annotations

import numpy as np
import pytest

from mm_fusion_ros.sensors.scan_quality import scan_quality

BEAMS, COLUMNS, HEIGHT_M = 32, 720, 1.5


def room(noise_m: float = 0.0, strays: float = 0.0, seed: int = 0) -> np.ndarray:
    """(BEAMS, COLUMNS, 4): flat ground under the lidar and a round wall 15 m away."""
    rng = np.random.default_rng(seed)
    elevation = np.radians(np.linspace(12.0, -20.0, BEAMS))[:, None]
    azimuth = np.linspace(-np.pi, np.pi, COLUMNS, endpoint=False)[None, :]
    wall = 15.0 / np.cos(elevation)
    ground = np.where(elevation < 0, HEIGHT_M / np.maximum(-np.sin(elevation), 1e-9), np.inf)
    distance = np.broadcast_to(np.minimum(wall, ground), (BEAMS, COLUMNS)).copy()
    distance += rng.normal(0.0, noise_m, distance.shape) if noise_m else 0.0
    distance = np.where(rng.random(distance.shape) < strays, 0.3 * distance, distance)
    ray = np.stack(
        np.broadcast_arrays(
            np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth),
            np.sin(elevation), np.zeros((BEAMS, COLUMNS)),
        ),
        axis=-1,
    )  # fmt: skip
    return np.asarray(ray * distance[..., None], np.float32)


def judged(points: np.ndarray) -> dict[str, float]:
    points = np.ascontiguousarray(points.reshape(-1, 4))
    in_base = points + np.array([0, 0, HEIGHT_M, 0], np.float32)
    return scan_quality(points, np.linalg.norm(points[:, :3], axis=1), in_base)


@pytest.mark.parametrize("noise_m", [0.02, 0.1, 0.4])
@pytest.mark.parametrize("by_firing", [False, True])
def test_the_noise_of_ranges_is_measured_in_either_order(noise_m: float, by_firing: bool) -> None:
    points = room(noise_m)
    quality = judged(points.transpose(1, 0, 2) if by_firing else points)
    # A tenth, as a surface is not quite straight and only some thousand places are looked at.
    assert quality["range_noise"] == pytest.approx(noise_m, rel=0.1)


def test_points_without_order_tell_nothing_of_noise() -> None:
    shuffled = np.random.default_rng(0).permutation(room(0.1).reshape(-1, 4))
    quality = judged(shuffled)
    assert "range_noise" not in quality and "stray_fraction" not in quality
    assert quality["coverage"] == 1.0


def test_points_in_the_air_are_strays_and_make_directions_rough() -> None:
    clear, rainy = judged(room(0.02)), judged(room(0.02, strays=0.05))
    assert clear["stray_fraction"] == 0.0
    # Two of three neighbours must be no strays themselves: 0.05 * 0.95^2 = 0.045.
    assert rainy["stray_fraction"] == pytest.approx(0.045, abs=0.012)
    assert rainy["rough_fraction"] > clear["rough_fraction"] + 0.03


def test_ghosts_are_noticed_wherever_they_stand_in_the_order() -> None:
    rng = np.random.default_rng(1)
    true = room(0.02).reshape(-1, 4)
    count = len(true) // 10
    angle, distance = rng.uniform(-np.pi, np.pi, count), rng.uniform(1.0, 14.0, count)
    ghosts = np.column_stack(
        [distance * np.cos(angle), distance * np.sin(angle), rng.uniform(-1.5, 0.5, count),
         np.zeros(count)]
    )  # fmt: skip
    quality = judged(np.concatenate([true, ghosts.astype(np.float32)]))
    assert quality["rough_fraction"] > judged(true)["rough_fraction"] + 0.1
    assert quality["range_noise"] == pytest.approx(0.02, rel=0.2)


def test_a_sweep_without_points_has_no_figures_but_that() -> None:
    assert judged(np.zeros((0, 4), np.float32)) == {
        "points": 0.0, "coverage": 0.0, "mean_range": 0.0,
    }  # fmt: skip
