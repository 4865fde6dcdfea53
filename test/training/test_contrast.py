"""Pretraining by contrast: the same place is recognised across modalities, without labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scenes import made_up

from mm_fusion_ros.model.fusion_net import CAMERA_FEATURES, LIDAR_FEATURES, FusionNet
from mm_fusion_ros.perception.grid import FEATURE_CELLS
from mm_fusion_ros.training import cache, pretraining
from mm_fusion_ros.training.contrast import PLACES, Contrast, at, places
from mm_fusion_ros.training.dataset import PLAIN, SceneDataset, collate
from mm_fusion_ros.training.train import NEEDS, STAGES, TrainConfig, Trainer

SCENES = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    for seed in [*range(SCENES), *cache.VALIDATION_SEEDS[:2]]:
        cache.save(made_up(seed, cameras=1, objects=20), cache.path_of(folder, seed))
    return folder


def test_places_are_seen_by_the_camera_and_touched_above_the_ground(folder: Path) -> None:
    dataset = SceneDataset(folder, range(2), PLAIN, needs=NEEDS["contrast"])
    batch = collate([dataset[0], dataset[1]])
    sample, cell = places(batch, torch.Generator().manual_seed(0))
    assert len(sample) > 10 and set(sample.tolist()) == {0, 1}
    assert (torch.bincount(sample) <= PLACES).all()
    x, y = np.divmod(cell.numpy(), FEATURE_CELLS)
    for index in (0, 1):
        points = cache.load(cache.path_of(folder, index)).points
        edge = 80.0 / FEATURE_CELLS
        for a, b in zip(x[sample == index], y[sample == index], strict=True):
            inside = np.floor((points[:, :2] + 40.0) / edge).astype(int) == [a, b]
            assert (points[inside.all(axis=1), 2] >= 0.15).any()
            assert a >= FEATURE_CELLS // 2  # the camera looks along x


def test_the_loss_is_least_where_each_is_most_like_its_own() -> None:
    torch.manual_seed(0)
    contrast = Contrast()
    one, other = torch.randn(20, CAMERA_FEATURES), torch.randn(20, LIDAR_FEATURES)
    optimizer = torch.optim.Adam([*contrast.parameters()], 0.05)
    before = contrast(one, other)
    for _ in range(60):
        optimizer.zero_grad()
        contrast(one, other)["total"].backward()
        optimizer.step()
    after = contrast(one, other)
    assert after["total"] < 0.2 * before["total"] and after["found"] == 1.0
    assert after["temperature"] != before["temperature"]
    # Unrelated pairs are told apart no better than by chance.
    assert contrast(one, torch.randn(20, LIDAR_FEATURES))["found"] < 0.4


@torch.no_grad()
def test_what_all_places_share_does_not_hide_what_tells_them_apart() -> None:
    torch.manual_seed(0)
    contrast = Contrast()
    told = 0.01 * torch.randn(20, CAMERA_FEATURES)
    plain, shifted = contrast.camera(told), contrast.camera(told + 7.0)
    assert torch.allclose(plain, shifted, atol=1e-3)
    assert torch.allclose(plain.norm(dim=1), torch.ones(20), atol=1e-5)
    assert float((plain @ plain.T).mean()) < 0.1  # spread over all directions


@torch.no_grad()
def test_the_scale_of_the_features_is_held() -> None:
    torch.manual_seed(0)
    contrast = Contrast()
    one, other = torch.randn(20, CAMERA_FEATURES), torch.randn(20, LIDAR_FEATURES)
    usual, large = contrast(0.5 * one, 0.5 * other), contrast(50.0 * one, 50.0 * other)
    assert torch.isclose(large["alike"], usual["alike"], atol=1e-3)
    assert large["total"] > usual["total"] + 5.0
    assert torch.isclose(usual["total"], usual["alike"], atol=0.05)


def test_features_are_read_at_their_places() -> None:
    grid = torch.arange(2 * 3 * 4 * 4).reshape(2, 3, 4, 4)
    got = at(grid, torch.tensor([1, 0]), torch.tensor([5, 15]))
    assert torch.equal(got, torch.stack([grid[1, :, 1, 1], grid[0, :, 3, 3]]))


def test_the_stage_trains_both_encoders_and_no_head(folder: Path, tmp_path: Path) -> None:
    steps = dict.fromkeys(STAGES, 0) | {"contrast": 2}
    trainer = Trainer(TrainConfig(scenes=SCENES, batch=2, steps=steps, workers=0), folder, tmp_path)
    before = {name: value.clone() for name, value in trainer.net.state_dict().items()}
    trainer.run(["contrast"])
    changed = {
        name.partition(".")[0]
        for name, value in trainer.net.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert changed == {"camera_encoder", "camera_grid", "lidar_encoder"}
    again = Trainer(trainer.config, folder, tmp_path)
    again.resume()
    for name, value in trainer.contrast.state_dict().items():
        assert torch.equal(again.contrast.state_dict()[name], value)


def test_few_labels_are_those_of_the_first_scenes(folder: Path, tmp_path: Path) -> None:
    config = TrainConfig(scenes=SCENES, batch=2, workers=0, labels=0.25)
    trainer = Trainer(config, folder, tmp_path)
    paths = {
        stage: trainer._batches(stage).dataset.paths  # type: ignore[attr-defined]
        for stage in ("contrast", "lidar")
    }
    assert len(paths["contrast"]) == SCENES and len(paths["lidar"]) == 1


def test_the_experiment_goes_on_where_it_stopped(folder: Path, tmp_path: Path) -> None:
    budget = pretraining.Budget(contrast=1, lidar=1, image=1, camera=1, validation=2)
    base = replace(TrainConfig(), scenes=SCENES, batch=2, workers=0)
    results = pretraining.run(folder, tmp_path, ("lidar", "camera"), budget, base)
    assert len(results) == 2 * 3 * 2
    assert all(0.0 <= row["low"] <= row["map"] <= row["high"] for row in results.values())
    assert all(np.isfinite(row["loss"]) and row["loss"] > 0.0 for row in results.values())
    written = (tmp_path / pretraining.RESULTS).stat().st_mtime_ns
    assert pretraining.run(folder, tmp_path, ("lidar", "camera"), budget, base) == results
    assert (tmp_path / pretraining.RESULTS).stat().st_mtime_ns == written
    text = pretraining.table({key: results[key] for key in list(results)[:1]})
    assert "lidar, 1 %" in text and "not run" in text


def test_an_untrained_specialist_finds_next_to_nothing_of_what_is_asked(folder: Path) -> None:
    seeds = cache.VALIDATION_SEEDS[:2]
    low = pretraining.specialist_precision(FusionNet(), folder, seeds, "lidar")
    assert low["map"] < 0.1
    truths = [pretraining._truths(cache.load(cache.path_of(folder, s)), "lidar") for s in seeds]
    assert all(truth.counts.all() and len(truth.kind) == 20 for truth in truths)
