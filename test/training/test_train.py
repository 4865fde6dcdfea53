"""Training learns, resumes, and calibrates."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scenes import made_up

from mm_fusion_ros import cli
from mm_fusion_ros.evaluation.protocol import load_protocol
from mm_fusion_ros.model.blocks import StandardizedConvolution
from mm_fusion_ros.outputs import CLASSES, COLOURS
from mm_fusion_ros.perception.decode import Calibration, Found
from mm_fusion_ros.perception.second_look import Looks, softmax
from mm_fusion_ros.training import cache, calibrate
from mm_fusion_ros.training.cases import NO_TRUTH, Case, owners
from mm_fusion_ros.training.command import steps_of
from mm_fusion_ros.training.positions import fit_depth, fit_slopes, position_errors
from mm_fusion_ros.training.sampling import CountingSampler
from mm_fusion_ros.training.train import STAGES, TrainConfig, Trainer, rate

SCENES = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    for seed in range(SCENES):
        cache.save(made_up(seed, cameras=1, objects=20), cache.path_of(folder, seed))
    return folder


def config(**steps: int) -> TrainConfig:
    every = dict.fromkeys(STAGES, 0) | steps
    return TrainConfig(scenes=SCENES, batch=2, steps=every, workers=0)


def test_every_stage_runs_and_changes_only_its_own_part(folder: Path, tmp_path: Path) -> None:
    trainer = Trainer(
        config(image=2, lidar=2, regions=2, camera=2, fusion=2, joint=1), folder, tmp_path
    )

    def state(prefix: str) -> torch.Tensor:
        state = trainer.net.state_dict()
        return torch.cat([v.flatten() for k, v in state.items() if k.startswith(prefix)]).clone()

    parts = ("image", "lidar", "region", "camera_encoder", "camera_grid", "fus")
    before = {p: state(p) for p in parts}
    trainer.run(["image"])
    assert not torch.equal(state("camera_encoder"), before["camera_encoder"])
    assert not torch.equal(state("image"), before["image"])
    assert torch.equal(state("camera_grid"), before["camera_grid"])
    trainer.run(["lidar"])
    assert not torch.equal(state("lidar"), before["lidar"])
    assert torch.equal(state("camera_grid"), before["camera_grid"])
    assert torch.equal(state("region"), before["region"])
    trainer.run(["regions"])
    assert not torch.equal(state("region"), before["region"])
    assert torch.equal(state("camera_grid"), before["camera_grid"])
    trainer.run(["camera"])
    assert not torch.equal(state("camera_grid"), before["camera_grid"])
    encoders = state("lidar"), state("camera")
    trainer.run(["fusion"])
    assert torch.equal(state("lidar"), encoders[0]) and torch.equal(state("camera"), encoders[1])
    assert not torch.equal(state("fus"), before["fus"])
    trainer.run(["joint"])
    assert not torch.equal(state("camera"), encoders[1])


@pytest.mark.parametrize("strategy", ["concat", "early"])
def test_other_strategies_are_trained_over_encoders_that_are_there(
    folder: Path, tmp_path: Path, strategy: str
) -> None:
    first = Trainer(config(lidar=1), folder, tmp_path / "first")
    first.run()
    other = replace(config(fusion=2), strategy=strategy)
    trainer = Trainer(other, folder, tmp_path / strategy)
    taken = trainer.start_from(first.checkpoint)
    assert "lidar_encoder" in taken and "fusion" not in taken
    before = {k: v.clone() for k, v in trainer.net.state_dict().items()}
    trainer.run(["fusion"])
    for name, value in trainer.net.state_dict().items():
        assert torch.equal(value, before[name]) != name.startswith("fusion."), name


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
    keys = [key for key, _ in CountingSampler(5, seed=1, start=0, total=15)]
    assert len(set(keys)) == 15
    for epoch in range(3):
        assert sorted(key % 5 for key in keys[epoch * 5 : epoch * 5 + 5]) == [0, 1, 2, 3, 4]
    later = list(CountingSampler(5, seed=1, start=7, total=15))
    assert [key for key, _ in later] == keys[7:]
    assert [place for _, place in later] == list(range(7, 15))


def test_weights_that_grew_learn_again_and_compute_the_same() -> None:
    torch.manual_seed(0)
    layer = StandardizedConvolution(8, 6)
    first = layer.weight.square().sum(dim=(1, 2, 3)).sqrt().mean()
    x = torch.randn(2, 8, 5, 5)
    with torch.no_grad():
        layer.weight.mul_(4.0).add_(0.3)
        before = layer(x)
        layer.renew()
        assert torch.allclose(layer(x), before, atol=2e-3)
        size = layer.weight.square().sum(dim=(1, 2, 3)).sqrt()
    assert size.mean() == pytest.approx(float(first), rel=0.1)


def test_the_rate_warms_up_and_cools_down() -> None:
    # 100 steps: 3 of warm-up, then a cosine to 1 %.
    assert [round(rate(step, 2000, 3.0), 6) for step in (0, 1, 59)] == [0.05, 0.1, 3.0]
    assert [round(rate(step, 8, 3.0), 6) for step in range(2)] == [1.5, 3.0]  # of few, a quarter
    assert rate(29, 200, 3.0) == pytest.approx(3.0) and rate(28, 200, 3.0) < 3.0
    assert rate(99, 100, 3.0) == pytest.approx(0.03, abs=0.01)


def test_steps_are_parsed_and_nonsense_is_refused() -> None:
    assert steps_of("camera=7", {"lidar": 1, "camera": 2}) == {"lidar": 1, "camera": 7}
    with pytest.raises(ValueError, match="radar"):
        steps_of("radar=1", {})


PROTOCOL = load_protocol()


def detection(
    x: float, *, logit: float = 2.0, name: str = "box", sigma: float = 0.1, y: float = 0.0,
    colour: int = 0,
) -> tuple[Found, Looks]:  # fmt: skip
    """One object on the grid, and an image that shows just such a one, in a colour."""
    raw = np.full((1, len(CLASSES)), -20.0, np.float32)
    raw[0, CLASSES.index(name)] = logit
    variances = np.full((1, 3), 2 * np.log(sigma), np.float32)
    found = Found(
        np.zeros((1, 2), np.int64), raw, np.array([[x, y, 0.5]]), np.ones((1, 3)), np.zeros(1),
        variances,
    )  # fmt: skip
    classes = np.zeros((1, len(CLASSES) + 1))
    classes[0, CLASSES.index(name)] = 1.0
    colours = softmax(3.0 * np.eye(len(COLOURS))[[colour]])
    return found, Looks(
        classes,
        colours,
        np.ones(1, bool),
        np.zeros(1, bool),
        np.array([[0.0, -2.0]]),
        np.zeros((1, 2)),
    )


def together(parts: list, kind: type) -> object:
    """The rows of several, as one."""
    names = kind.__dataclass_fields__
    return kind(*[np.concatenate([getattr(part, name) for part in parts]) for name in names])


def case(answers: list[tuple[Found, Looks]], *places: float, asked: bool = True) -> Case:
    """Red boxes on the x axis, and what was found."""
    scene = made_up(0, objects=len(places))
    scene.class_index[:] = CLASSES.index("box")
    scene.colour_index[:] = 0
    scene.boxes[:, :3] = [(x, 0.0, 0.5) for x in places]
    found, looks = (
        together([answer[i] for answer in answers], kind) for i, kind in enumerate((Found, Looks))
    )
    return Case(found, {"camera": looks}, scene, np.full(len(places), asked))


def test_calibration_finds_the_scale_that_was_put_in() -> None:
    """Logits twice too bold, colours too sure and sigmas half too small are found and undone."""
    rng = np.random.default_rng(0)
    cases = []
    for _ in range(4000):
        logit = rng.normal(0.0, 3.0)
        here = rng.random() < 1 / (1 + np.exp(-0.5 * logit))
        error = rng.normal(0.0, 0.2, 3)
        colour = int(rng.integers(len(COLOURS)))
        wrong = (colour + int(rng.integers(1, len(COLOURS)))) % len(COLOURS)
        item = detection(10.0, logit=logit, colour=colour if rng.random() < 0.5 else wrong)
        one = case([item], 10.0 if here else 30.0)
        one.scene.colour_index[:] = colour
        one.scene.boxes[0, :3] += error if here else 0.0
        cases.append(one)
    found = calibrate.fit(cases, False, PROTOCOL)
    assert found.class_scale == pytest.approx(0.5, abs=0.05)
    assert found.class_bias == pytest.approx(0.0, abs=0.1)
    # With one class on the grid and in the image, the second step has nothing left to mend.
    assert found.final_scale == pytest.approx(1.0, abs=0.1)
    # softmax(3 w) = 0.5 with w = ln 8 / 3 = 0.693
    assert found.colour_scale == pytest.approx(np.log(8.0) / 3.0, abs=0.07)
    # Errors that do not depend on anything: the covariance does not either.
    assert found.variance_slopes == pytest.approx((0.0, 0.0, 0.0), abs=0.05)
    assert found.variance_scale == pytest.approx((4.0, 4.0, 4.0), rel=0.15)


def test_sensors_that_find_nothing_alone_are_left_uncalibrated() -> None:
    """A strategy that reads points only is silent without a lidar."""
    nothing = case([detection(10.0)], 10.0)
    none = np.zeros(0, np.int64)
    looks = {name: type(each).blind(0) for name, each in nothing.looks.items()}
    silent = replace(nothing, found=nothing.found.take(none), looks=looks)
    found = calibrate.fit([silent] * 3, True, PROTOCOL, 0.5)
    assert found == Calibration(depth_weight=0.5)
    told = calibrate.figures([silent] * 3, found, True, PROTOCOL)
    assert told == {"objects": 3, "recall": 0.0, "precision": 0.0, "colour_right": 0.0}
    # One that finds things where nothing is has probabilities, and no errors of position.
    astray = case([detection(30.0)], 10.0)
    assert calibrate.fit([astray] * 3, False, PROTOCOL).variance_scale == (1.0, 1.0, 1.0)
    assert "position_error_m" not in calibrate.figures([astray] * 3, found, False, PROTOCOL)


def test_images_are_heard_on_distances_as_far_as_they_are_right() -> None:
    """The grid is off by a fifth along the ray; images tell by how much, or talk at random."""
    rng = np.random.default_rng(0)

    def weight(right: bool) -> float:
        cases = []
        for _ in range(200):
            error = rng.normal(0.0, 0.2)
            found, looks = detection(10.0 * np.exp(-error), sigma=1.0)
            looks.depth[0] = (error if right else rng.normal(0.0, 0.4), -3.0)
            cases.append(case([(found, looks)], 10.0))
        return fit_depth(cases, PROTOCOL)

    assert weight(True) >= 0.8
    assert weight(False) == 0.0


def test_slopes_follow_what_the_errors_follow() -> None:
    rng = np.random.default_rng(0)
    evidence = np.column_stack(
        [rng.normal(-3.0, 1.0, 4000), rng.normal(0.0, 2.0, 4000), rng.uniform(1.0, 3.5, 4000)]
    )
    said = np.exp(0.5 * (evidence[:, 0] + evidence @ [-0.4, -0.6, 0.8]))
    error = said * rng.exponential(1.0, 4000)
    assert fit_slopes(error, evidence) == pytest.approx([-0.4, -0.6, 0.8], abs=0.1)
    # Where nothing varies there is nothing to follow.
    assert fit_slopes(error, np.tile(evidence[:1], (4000, 1))) == pytest.approx(0.0)


def test_images_that_tell_nothing_lose_their_weight_and_good_ones_keep_it() -> None:
    rng = np.random.default_rng(1)

    def weight(right: float) -> float:
        cases = []
        for _ in range(600):
            said = "box" if rng.random() < right else "barrel"
            found, looks = detection(10.0, logit=0.0)
            found.class_logits[0, CLASSES.index("barrel")] = 0.0
            looks.classes[:] = 0.01
            looks.classes[0, CLASSES.index(said)] = 1.0 - 0.01 * len(CLASSES)
            cases.append(case([(found, looks)], 10.0))
        return calibrate.fit_looks(cases, Calibration(), 1.0).look_weight

    assert weight(0.5) < 0.1
    assert weight(0.98) > 0.5


def test_images_that_know_whether_anything_is_there_are_heard() -> None:
    rng = np.random.default_rng(2)

    def weights(knows: bool) -> list[float]:
        cases = []
        for _ in range(1500):
            here = rng.random() < 0.5
            found, looks = detection(10.0, logit=rng.normal(0.0, 1.0))
            shows = here if knows else rng.random() < 0.5
            looks.classes[:, -1] = 0.1 if shows else 0.9
            looks.classes[:, :-1] *= 1.0 - looks.classes[:, -1:]
            cases.append(case([(found, looks)], 10.0 if here else 30.0))
        first, _, against = calibrate.fit(cases, False, PROTOCOL).exists_weights
        return [first, against]

    assert min(weights(knows=True)) > 0.7
    assert max(weights(knows=False)) < 0.2


def test_matching_takes_the_nearest_free_object_and_spares_what_cannot_be_seen() -> None:
    found = [detection(10.3), detection(10.4, logit=1.0), detection(20.5, logit=0.0)]
    one = case(found, 10.0, 20.0)
    one.asked[1] = False
    scores = np.array([2.0, 1.0, 0.0])
    boxes = np.full(3, CLASSES.index("box"))
    # The first is right, the second finds its object taken, the third is on an unseen object.
    expected = [0, NO_TRUTH, calibrate.NOT_ASKED]
    assert owners(one, scores, boxes, 1.0).tolist() == expected
    cones = np.full(3, CLASSES.index("cone"))
    assert owners(one, scores, cones, 1.0)[0] == NO_TRUTH
    errors, _, _ = position_errors([one], Calibration(), False, PROTOCOL)
    # The first of them has the object; no other is within reach of the second.
    assert errors == pytest.approx(np.array([[-0.3, 0.0, 0.0]]), abs=1e-5)


def test_figures_count_sure_answers_against_what_was_asked_for() -> None:
    found = [
        detection(10.3, y=0.4, logit=3.0), detection(20.0, logit=2.0, colour=5),
        detection(30.0, logit=1.0), detection(15.0, logit=-3.0),
    ]  # fmt: skip
    one = case(found, 10.0, 20.0, 15.0, 5.0)
    # Two hits of three sure answers; the fourth is right, but not sure: so few errors are known
    # that it counts in their median, of 0.5, 0 and 0 m.
    assert calibrate.figures([one], Calibration(), False, PROTOCOL) == {
        "objects": 4, "recall": 0.5, "precision": 0.6667, "colour_right": 0.5,
        "position_error_m": 0.0,
    }  # fmt: skip


def test_the_ellipse_holds_what_it_says_when_errors_are_not_normal() -> None:
    """Heavy tails that meet on both axes at once: each axis alone would promise too much."""
    rng = np.random.default_rng(1)
    cases = [case([detection(12.0, logit=-2.0)], 30.0)]
    for _ in range(3000):
        error = rng.normal(0.0, 0.1 * rng.standard_gamma(0.6), 3)
        one = case([detection(10.0)], 10.0)
        one.scene.boxes[0, :3] += error
        cases.append(one)
    found = calibrate.fit(cases, False, PROTOCOL)
    errors, sigmas, evidence = position_errors(cases, found, False, PROTOCOL)
    sigmas = sigmas * np.exp(0.5 * (evidence @ found.variance_slopes))[:, None]
    squared = (errors / sigmas) ** 2 / np.array(found.variance_scale)
    assert (squared[:, :2].sum(axis=1) <= 4.605).mean() == pytest.approx(0.9, abs=0.003)


def test_an_untrained_fusion_begins_with_the_lidars_network_as_it_is_trained_by_then(
    folder: Path, tmp_path: Path
) -> None:
    trainer = Trainer(replace(config(lidar=2, fusion=1), strategy="early"), folder, tmp_path)
    trainer.run(["lidar"])
    trainer._begin_fusion()
    own, lidar = trainer.net.fusion.state_dict(), trainer.net.lidar_encoder.state_dict()
    for name, value in lidar.items():
        assert torch.equal(own[f"encoder.{name}"], value)
        assert torch.equal(trainer.average[f"fusion.encoder.{name}"], value)
    # Once it has begun, what it has learned stays.
    trainer.done["fusion"] = 1
    trainer.net.fusion.load_state_dict({k: v + 1.0 for k, v in own.items()})
    trainer._begin_fusion()
    for name, value in lidar.items():
        assert torch.equal(own[f"encoder.{name}"], value + 1.0)


def test_what_contrast_gains_refuses_stages_that_it_has_not(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", "--cache", str(folder), "--out", str(tmp_path), "--scenes", "4"]
    arguments += ["--validation", "0", "--contrast-gain", "lidar", "--steps", "fusion=3"]
    assert cli.main(arguments) == 2
    assert "--contrast-gain has" in capsys.readouterr().err
