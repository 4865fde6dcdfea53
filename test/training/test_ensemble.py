"""The ensemble that is the reference for what is unfamiliar."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scenes import made_up

from mm_fusion_ros.evaluation import reference
from mm_fusion_ros.evaluation.protocol import load_protocol
from mm_fusion_ros.sensors.lidar import PreparedScan
from mm_fusion_ros.training import cache
from mm_fusion_ros.training.ensemble import Budget, categorical_information, information, trained
from mm_fusion_ros.training.train import TrainConfig


def test_information_is_what_the_members_do_not_agree_about() -> None:
    agree, differ = torch.tensor([[0.5], [0.5]]), torch.tensor([[0.0], [1.0]])
    assert float(information(agree)) == pytest.approx(0.0, abs=1e-5)
    assert float(information(differ)) == pytest.approx(math.log(2.0), abs=1e-4)
    half = torch.tensor([[[0.5, 0.5]], [[0.5, 0.5]]])
    split = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
    assert float(categorical_information(half)) == pytest.approx(0.0, abs=1e-5)
    assert float(categorical_information(split)) == pytest.approx(math.log(2.0), abs=1e-4)


def test_an_ensemble_is_trained_once_and_asked(tmp_path: Path) -> None:
    pytest.importorskip("open3d", reason="open3d is absent; `make setup` installs it")
    familiar = 200  # more than the lidar's features, twice
    for seed in range(familiar):
        cache.save(made_up(seed % 4, cameras=1, objects=5), cache.path_of(tmp_path, seed))
    budget = Budget(members=2, image=1, lidar=1, familiar=familiar)
    base = TrainConfig(scenes=4, batch=2, workers=0)
    out = tmp_path / "out"
    ensemble = trained(tmp_path, out, budget, base, start="")
    stamps = [path.stat().st_mtime_ns for path in sorted(out.glob("*/checkpoint.pt"))]
    assert len(stamps) == 2

    scan = PreparedScan(np.random.default_rng(0).normal(0, 8, (900, 4)).astype(np.float32), 0)
    judged = ensemble.lidar(scan, np.array([[3.0, -4.0, 0.5]]))
    assert judged.ensemble > 0.0  # of different seeds, they do not agree
    assert judged.ensemble_at.shape == judged.alone_at.shape == (1,)
    assert 0.0 <= judged.alone_at[0] <= 1.0

    protocol = replace(load_protocol(), image_size=(384, 288))
    seeds = protocol.chosen_seeds("validation", 2)
    result = reference.measured(ensemble, protocol, seeds)
    assert set(result) == {
        "camera, other surfaces", "lidar, one that does not spin", "lidar, things of no class",
    }  # fmt: skip
    assert all(0.0 <= ways[way].value <= 1.0 for ways in result.values() for way in ways)
    assert "other surfaces" in reference.text(result, "t")
    assert reference.plain_result(result)["camera, other surfaces"]["alone"]["scenes"] == 2
    # Taken up where it was left: nothing is trained again.
    trained(tmp_path, out, budget, base, start="")
    assert stamps == [path.stat().st_mtime_ns for path in sorted(out.glob("*/checkpoint.pt"))]
