"""How far the word of doubted sensors counts is fitted, and never the wrong way round."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scenes import made_up

from mm_fusion_ros.perception.decode import Calibration, Found
from mm_fusion_ros.training.cases import Case
from mm_fusion_ros.training.doubts import fit_doubts, heard, struck

EVEN = 0.0
"""Logit of a half."""


def case(trust: float, right: bool) -> Case:
    """The lidar says with a probability of a half that there is a box at one place."""
    scene = made_up(0, cameras=1, objects=1)
    place = scene.boxes[:, :3].astype(float) + (0.0 if right else 9.0)
    logits = np.full((1, 8), -30.0, np.float32)
    logits[0, scene.class_index[0]] = EVEN
    found = Found(
        np.zeros((1, 2), np.int64), logits, place, np.ones((1, 3)), np.zeros(1),
        np.zeros((1, 3), np.float32),
    )  # fmt: skip
    return Case(found, {}, scene, np.array([True]), {"lidar": trust})


def test_doubt_counts_as_much_as_it_was_justified() -> None:
    # Of those believed by e^-2, one in five is right: log-odds of -1.386, half of the doubt of 2.
    doubted = [case(float(np.exp(-2.0)), right) for right in (True, False, False, False, False)]
    believed = [case(1.0, right) for right in (True, False)]
    cameras, lidars = fit_doubts([*doubted, *believed], Calibration(), 1.0)
    assert cameras == 0.0
    assert lidars == pytest.approx(np.log(4.0) / 2.0, abs=1e-3)


def test_doubt_never_speaks_for_an_object() -> None:
    doubted = [case(0.1, right) for right in (True, True, True, False)]
    assert fit_doubts(doubted, Calibration(), 1.0) == (0.0, 0.0)
    assert fit_doubts([case(1.0, True)], Calibration(), 1.0) == (0.0, 0.0)


def test_who_is_hardly_believed_has_no_say_beside_others() -> None:
    trust = {"camera_0": 0.04, "camera_1": 0.9, "lidar": 0.2}
    assert heard(trust, "both") == {"camera_1", "lidar"}
    assert heard(trust, "camera") == {"camera_0", "camera_1"}
    assert heard(trust | {"lidar": 0.01}, "both") == set()
    assert heard({"camera_0": 0.04, "lidar": 1.0}, "both") == set()


def test_struck_scenes_come_with_their_trust() -> None:
    scene = made_up(1, cameras=2)
    trusts, silent = [], 0
    for seed in range(16):
        images, scan, trust = struck(scene, np.random.default_rng(seed))
        # A scan that met nothing has no say.
        speaking = {"lidar"} if len(scan.points) else set()
        silent += not speaking
        assert len(images) == 2 and set(trust) == {"camera_0", "camera_1"} | speaking
        assert images[0].image.shape == (288, 384, 3)
        assert scan.viewpoint == pytest.approx(scene.base_from_lidar[:3, 3])
        trusts += trust.values()
    assert min(trusts) < 0.7 and max(trusts) == 1.0
    assert 0 < silent < 16
    assert heard({"camera_0": 1.0}, "both") == set()
    blind = replace(
        scene,
        images=scene.images[:0],
        intrinsics=scene.intrinsics[:0],
        base_from_camera=scene.base_from_camera[:0],
    )
    assert set(struck(blind, np.random.default_rng(0))[2]) == {"lidar"}
