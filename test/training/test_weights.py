"""Weights are kept small, with how they came about, and training starts from them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mm_fusion_ros.config import ConfigError
from mm_fusion_ros.inference.model_folder import ModelError, ModelFolder, write_manifest
from mm_fusion_ros.training import weights
from mm_fusion_ros.training.train import STAGES, TrainConfig, Trainer

RECORD = {"config": {"seed": 3, "strategy": "gated"}, "steps_done": {"lidar": 7}}


def trainer(folder: Path) -> Trainer:
    return Trainer(TrainConfig(steps=dict.fromkeys(STAGES, 0)), folder, folder / "run")


def test_what_is_saved_comes_back_to_a_thousandth_with_its_record(tmp_path: Path) -> None:
    given = {"a.b": torch.randn(4, 3), "c": torch.tensor(2.0)}
    weights.save(given, RECORD, tmp_path / weights.FILE)
    back, record = weights.load(tmp_path / weights.FILE)
    assert record == RECORD and back.keys() == given.keys()
    for name, value in given.items():
        assert back[name].dtype == torch.float32
        assert torch.allclose(back[name], value, rtol=1e-3, atol=1e-6)


def test_training_starts_from_a_model_folder_and_says_whose_it_was(tmp_path: Path) -> None:
    first = trainer(tmp_path / "first")
    folder = tmp_path / "model"
    folder.mkdir()
    weights.save(first.average, RECORD, folder / weights.FILE)
    write_manifest(
        folder, name="m", version="1", files=[weights.FILE], inputs={}, provenance={},
        calibration={},
    )  # fmt: skip
    torch.manual_seed(5)
    second = trainer(tmp_path / "second")
    assert "fusion" in second.start_from(folder)
    assert second.start["steps_done"] == {"lidar": 7}
    for name, value in first.average.items():
        assert torch.allclose(second.average[name], value, rtol=2e-3, atol=1e-5), name


def test_a_part_that_has_grown_since_is_taken_over_and_another_strategy_is_not(
    tmp_path: Path,
) -> None:
    first = trainer(tmp_path / "first")
    old = {k: v for k, v in first.average.items() if not k.startswith("region_head.depth")}
    assert len(old) < len(first.average)
    file = tmp_path / weights.FILE
    weights.save(old, {"config": {"strategy": "gated"}}, file)
    torch.manual_seed(5)
    second = trainer(tmp_path / "second")
    fresh = second.average["region_head.depth.0.weight"].clone()
    assert {"region_head", "fusion"} <= set(second.start_from(file))
    name = "region_head.output.weight"
    assert torch.allclose(second.average[name], first.average[name], rtol=2e-3, atol=1e-5)
    assert torch.equal(second.average["region_head.depth.0.weight"], fresh)
    # Even where all its weights would fit, fusion of another kind begins anew.
    weights.save(old, {"config": {"strategy": "concat"}}, file)
    assert "fusion" not in trainer(tmp_path / "third").start_from(file)


def test_a_checkpoint_of_another_network_is_refused_by_name(tmp_path: Path) -> None:
    first = trainer(tmp_path)
    first.save(None)
    state = torch.load(first.checkpoint, weights_only=True)
    state["net"] = {k: v for k, v in state["net"].items() if not k.startswith("region_head")}
    torch.save(state, first.checkpoint)
    with pytest.raises(ConfigError, match="--start"):
        trainer(tmp_path).resume()


def test_what_ships_can_be_started_from(tmp_path: Path) -> None:
    if weights.FILE not in ModelFolder.open().manifest.files:
        pytest.fail("the shipped model folder holds no weights to start from")
    taken = trainer(tmp_path).start_from(weights.SHIPPED)
    assert {"camera_encoder", "lidar_encoder", "fusion"} <= set(taken)


def test_what_is_no_weights_is_refused(tmp_path: Path) -> None:
    for name in ("a.pt", "a.safetensors"):
        (tmp_path / name).write_bytes(b"nothing of the kind")
        with pytest.raises(ConfigError, match="holds no"):
            weights.load(tmp_path / name)
        with pytest.raises(ConfigError, match="holds no"):
            weights.load(tmp_path / f"missing_{name}")
    with pytest.raises(ModelError):
        weights.load(tmp_path)
