"""Training learns, resumes, and calibrates."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scenes import made_up

from mm_fusion_ros.outputs import CLASSES, FusedObject
from mm_fusion_ros.perception.decode import Calibration, Detection
from mm_fusion_ros.training import cache, calibrate
from mm_fusion_ros.training.command import steps_of
from mm_fusion_ros.training.train import STAGES, CountingSampler, TrainConfig, Trainer, rate

SCENES = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    for seed in range(SCENES):
        cache.save(made_up(seed, cameras=1), cache.path_of(folder, seed))
    return folder


def config(**steps: int) -> TrainConfig:
    every = dict.fromkeys(STAGES, 0) | steps
    return TrainConfig(scenes=SCENES, batch=2, steps=every, workers=0)


def test_every_stage_runs_and_changes_only_its_own_part(folder: Path, tmp_path: Path) -> None:
    trainer = Trainer(config(image=2, lidar=2, camera=2, fusion=2, joint=1), folder, tmp_path)

    def state(prefix: str) -> torch.Tensor:
        state = trainer.net.state_dict()
        return torch.cat([v.flatten() for k, v in state.items() if k.startswith(prefix)]).clone()

    before = {p: state(p) for p in ("image", "lidar", "camera_encoder", "camera_grid", "fus")}
    trainer.run(["image"])
    assert not torch.equal(state("camera_encoder"), before["camera_encoder"])
    assert not torch.equal(state("image"), before["image"])
    assert torch.equal(state("camera_grid"), before["camera_grid"])
    trainer.run(["lidar"])
    assert not torch.equal(state("lidar"), before["lidar"])
    assert torch.equal(state("camera_grid"), before["camera_grid"])
    trainer.run(["camera"])
    assert not torch.equal(state("camera_grid"), before["camera_grid"])
    encoders = state("lidar"), state("camera")
    trainer.run(["fusion"])
    assert torch.equal(state("lidar"), encoders[0]) and torch.equal(state("camera"), encoders[1])
    assert not torch.equal(state("fus"), before["fus"])
    trainer.run(["joint"])
    assert not torch.equal(state("camera"), encoders[1])


def test_the_lidar_stage_learns_a_few_scenes_by_heart(folder: Path, tmp_path: Path) -> None:
    trainer = Trainer(config(lidar=50), folder, tmp_path)
    torch.manual_seed(0)
    trainer.run(["lidar"])
    (entry,) = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    # Untrained, each of eight classes and all cells at a probability of 0.01 cost more than 8.
    assert entry["heat"] < 6.0


def test_a_cut_off_run_goes_on_from_its_checkpoint(folder: Path, tmp_path: Path) -> None:
    trainer = Trainer(config(lidar=4), folder, tmp_path)
    trainer.done["lidar"] = 2
    trainer.save(None)
    other = Trainer(config(lidar=4), folder, tmp_path)
    other.resume()
    assert other.done["lidar"] == 2
    for name, value in trainer.net.state_dict().items():
        assert torch.equal(other.net.state_dict()[name], value), name
    other.run(["lidar"])
    assert other.done["lidar"] == 4


def test_every_epoch_sees_every_scene_once_and_counts_on() -> None:
    keys = list(CountingSampler(5, seed=1, start=0, total=15))
    assert len(set(keys)) == 15
    for epoch in range(3):
        assert sorted(key % 5 for key in keys[epoch * 5 : epoch * 5 + 5]) == [0, 1, 2, 3, 4]
    assert list(CountingSampler(5, seed=1, start=7, total=15)) == keys[7:]


def test_the_rate_warms_up_and_cools_down() -> None:
    # 100 steps: 3 of warm-up, then a cosine to 1 %.
    assert [round(rate(step, 100, 3.0), 6) for step in range(3)] == [1.0, 2.0, 3.0]
    assert rate(99, 100, 3.0) == pytest.approx(0.03, abs=0.01)


def test_steps_are_parsed_and_nonsense_is_refused() -> None:
    assert steps_of("camera=7", {"lidar": 1, "camera": 2}) == {"lidar": 1, "camera": 7}
    with pytest.raises(ValueError, match="radar"):
        steps_of("radar=1", {})


def detection(logit: float, x: float, sigma: float) -> Detection:
    item = FusedObject(
        -1, "box", 0.5, "red", 0.9, np.array([x, 0.0, 0.5]), np.ones(3), 0.0, np.zeros(3), np.eye(3)
    )
    colours = np.zeros(9, np.float32)
    colours[0] = 3.0
    return Detection(item, logit, colours, (0, 0), np.full(3, 2 * np.log(sigma), np.float32))


def test_calibration_finds_the_scale_that_was_put_in() -> None:
    """Logits twice too bold and sigmas half too small are found and undone."""
    rng = np.random.default_rng(0)
    samples = calibrate.Samples()
    for _ in range(6000):
        logit = rng.normal(0.0, 3.0)
        samples.logits.append(logit)
        samples.right.append(bool(rng.random() < 1 / (1 + np.exp(-0.5 * logit))))
        samples.colour_logits.append(np.eye(9, dtype=np.float32)[0] * 3.0)
        # softmax(3 / T) = 0.5 with T = 3 / ln 8 = 1.4427
        samples.colours.append(0 if rng.random() < 0.5 else int(rng.integers(1, 9)))
        samples.errors.append(rng.normal(0.0, 0.2, 3))
        samples.sigmas.append(np.full(3, 0.1))
        samples.assigned_logits.append(logit)
    found = calibrate.fit(samples)
    assert found.class_scale == pytest.approx(0.5, abs=0.04)
    assert found.class_bias == pytest.approx(0.0, abs=0.08)
    assert found.colour_temperature == pytest.approx(1.4427, abs=0.08)
    assert found.variance_scale == pytest.approx((4.0, 4.0, 4.0), rel=0.08)


def test_matching_takes_the_nearest_free_object_and_spares_what_cannot_be_seen() -> None:
    scene = made_up(0, objects=2)
    scene.class_index[:] = CLASSES.index("box")
    scene.boxes[0, :3], scene.boxes[1, :3] = (10.0, 0.0, 0.5), (20.0, 0.0, 0.5)
    found = [detection(2.0, 10.3, 0.1), detection(1.0, 10.4, 0.1), detection(0.0, 20.5, 0.1)]
    samples = calibrate.Samples()
    calibrate.gather(found, scene, np.array([True, False]), samples)
    # The first is right, the second finds its object taken, the third is on an unseen object.
    assert samples.right == [True, False]
    calibrate.gather_positions(found, scene, np.array([True, False]), False, samples)
    # The first of them has the object; no other is within reach of the second.
    assert len(samples.errors) == 1
    assert samples.errors[0] == pytest.approx([-0.3, 0.0, 0.0], abs=1e-5)


def test_figures_count_sure_answers_against_what_was_asked_for() -> None:
    samples = calibrate.Samples(
        logits=[3.0, 2.0, 1.0, -3.0], right=[True, True, False, True],
        colour_logits=[np.eye(9, dtype=np.float32)[i] for i in (0, 1, 2)], colours=[0, 1, 5],
        errors=[np.array([0.3, 0.4, 9.0]), np.array([4.0, 0.0, 0.0])], asked=8,
    )  # fmt: skip
    assert calibrate.figures(samples, Calibration()) == {
        "objects": 8, "recall": 0.25, "precision": 0.6667, "colour_right": 0.6667,
        "position_error_m": 0.5,
    }  # fmt: skip


def test_the_ellipse_holds_what_it_says_when_errors_are_not_normal() -> None:
    """Heavy tails that meet on both axes at once: each axis alone would promise too much."""
    rng = np.random.default_rng(1)
    samples = calibrate.Samples(
        logits=[2.0, -2.0], right=[True, False],
        colour_logits=[np.zeros(9, np.float32)], colours=[0],
    )  # fmt: skip
    for _ in range(4000):
        heavy = rng.standard_gamma(0.6)
        samples.errors.append(rng.normal(0.0, 0.2 * heavy, 3))
        samples.sigmas.append(np.full(3, 0.1))
        samples.assigned_logits.append(2.0)
    scale = np.array(calibrate.fit(samples).variance_scale)
    squared = (np.stack(samples.errors) / 0.1) ** 2 / scale
    assert (squared[:, :2].sum(axis=1) <= 4.605).mean() == pytest.approx(0.9, abs=0.002)
