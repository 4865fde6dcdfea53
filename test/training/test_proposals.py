"""What the region head is shown, and what the lidar's own errors are called."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scenes import OPTICAL, made_up

from mm_fusion_ros.model.fusion_net import FusionNet
from mm_fusion_ros.training import cache, mining
from mm_fusion_ros.training.cache import Scene
from mm_fusion_ros.training.dataset import Augmentation, augment
from mm_fusion_ros.training.proposals import NOTHING, propose


def before_the_camera(*places: float) -> np.ndarray:
    """Boxes of one metre on the axis of the camera, so many metres before it."""
    boxes = np.zeros((len(places), 7), np.float32)
    boxes[:, 0], boxes[:, 2], boxes[:, 3:6] = places, 1.0, 1.0
    return boxes


def scene_with(true: np.ndarray, proposed: np.ndarray) -> Scene:
    scene = made_up(0, cameras=1, objects=len(true))
    return replace(
        scene, boxes=true, proposed=proposed, base_from_camera=OPTICAL[None],
        under=np.full((1, 72, 96), -1, np.int16), seen=np.ones((len(true), 1), bool),
    )  # fmt: skip


def test_what_the_lidar_finds_where_nothing_stands_is_shown_as_nothing() -> None:
    scene = scene_with(before_the_camera(8.0), before_the_camera(8.3, 20.0, 10.6))
    shown = propose(scene, np.random.default_rng(0))
    wrong = (shown.class_index == NOTHING).sum()
    right = (shown.class_index == scene.class_index[0]).sum()
    # The object itself, twice, and what was found 0.3 m beside it; of the proposal 2.6 m away
    # nobody can say whether it is about the object. The one on nothing comes with two at random.
    assert right == 3
    without = replace(scene, proposed=np.zeros((0, 7), np.float32))
    assert wrong == 1 + (propose(without, np.random.default_rng(0)).class_index == NOTHING).sum()
    assert (shown.colour_index[shown.class_index == NOTHING] == -1).all()


def test_it_is_told_how_much_farther_the_object_stands_than_a_camera_would_place_it() -> None:
    scene = scene_with(before_the_camera(8.0), before_the_camera(7.6, 20.0))
    told, edges = [], []
    for seed in range(40):
        shown = propose(scene, np.random.default_rng(seed))
        known = np.isfinite(shown.depth)
        # The object is shown three times: as a camera errs, as a lidar does, and as it was found.
        assert known.sum() == 1 and (shown.class_index != NOTHING).sum() == 3
        assert shown.class_index[known] == scene.class_index[0]
        told.append(float(shown.depth[known][0]))
        edges.append(float(shown.about[known, 3][0]))
    assert 0.1 < np.std(told) < 0.35 and abs(np.mean(told)) < 0.12
    # What is said to be farther was cut out larger than it is.
    assert np.corrcoef(told, edges)[0, 1] > 0.7


def test_a_wrong_box_before_which_something_stands_is_not_shown() -> None:
    scene = scene_with(before_the_camera(8.0), before_the_camera(20.0))
    hidden = replace(scene, under=np.zeros((1, 72, 96), np.int16))
    assert (propose(hidden, np.random.default_rng(0)).class_index != NOTHING).all()


def test_proposals_are_turned_and_mirrored_with_the_scene() -> None:
    scene = made_up(3)
    scene = replace(scene, proposed=scene.boxes.copy())
    for seed in range(4):
        turned = augment(scene, Augmentation(), np.random.default_rng(seed))
        assert turned.proposed == pytest.approx(turned.boxes)
        assert not np.allclose(turned.boxes, scene.boxes)


def test_mined_boxes_come_back_scene_by_scene(tmp_path: Path) -> None:
    for seed in range(3):
        cache.save(made_up(seed), cache.path_of(tmp_path, seed))
    boxes = mining.mine(FusionNet(), tmp_path, range(3), workers=0)
    assert [each.shape[1] for each in boxes] == [7, 7, 7]
    assert max(len(each) for each in boxes) <= mining.MOST_BOXES
    path = tmp_path / "proposed.npz"
    given = [boxes[0], np.zeros((0, 7), np.float32), made_up(1).boxes]
    mining.save(given, path)
    assert all(np.array_equal(a, b) for a, b in zip(mining.load(path), given, strict=True))
