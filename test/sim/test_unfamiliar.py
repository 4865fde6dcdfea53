"""What no training scene shows."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import mm_fusion_ros
from mm_fusion_ros.sim.drive import scene
from mm_fusion_ros.sim.mesh import Material
from mm_fusion_ros.sim.unfamiliar import CONE_DEG, PATTERN, TEXTURE, THING, strange_world, thinned
from mm_fusion_ros.sim.world import generate

SEED = 100_003
SIZE = (96, 72)


def test_other_surfaces_change_what_is_seen_and_nothing_that_is_measured_or_labelled() -> None:
    usual, strange = (scene(SEED, image_size=SIZE, strange=kind) for kind in ("", TEXTURE))
    assert np.array_equal(usual.object_ids[0], strange.object_ids[0])
    scenery = usual.object_ids[0] == 0
    changed = np.abs(usual.cameras[0].image.astype(int) - strange.cameras[0].image).max(axis=2)
    assert changed[scenery].mean() > 20.0
    assert [a.class_name for a in usual.labels] == [b.class_name for b in strange.labels]
    world, things = strange_world(generate(SEED), TEXTURE, SEED)
    of_objects = world.frames.object_id[world.parts.frame] > 0
    assert not (world.parts.material[of_objects] == Material.CHEQUERED).any()
    assert (world.parts.material[~of_objects] == Material.CHEQUERED).all() and not things


def test_a_lidar_that_does_not_spin_sees_a_cone_densest_in_its_middle() -> None:
    sample = scene(SEED, image_size=SIZE, strange=PATTERN)
    points = sample.lidar.points
    azimuth = np.arctan2(points[:, 1], points[:, 0])
    elevation = np.arctan2(points[:, 2], np.hypot(points[:, 0], points[:, 1]))
    away = np.degrees(np.hypot(azimuth, elevation))
    assert len(points) > 1000 and away.max() < CONE_DEG
    offsets = sample.lidar.time_offset_ns
    assert offsets is not None and len(offsets) == len(points)
    # Directions, evenly: those of the middle stay more often.
    even = np.column_stack([np.full(2000, 10.0), np.linspace(-7, 7, 2000), np.zeros((2000, 2))])
    kept = thinned(even.astype(np.float32), PATTERN, 0)
    middle = np.abs(even[:, 1]) < 1.5
    assert kept[middle].mean() > 1.5 * kept[~middle].mean() > 0.0


def test_every_second_object_is_a_thing_of_no_class() -> None:
    usual, strange = (scene(SEED, image_size=SIZE, strange=kind) for kind in ("", THING))
    count = len(usual.labels)
    assert len(strange.strange) == (count + 1) // 2 and not usual.strange
    ids = [label.object_id for label in strange.labels]
    assert set(strange.strange) <= set(ids)
    # They are seen and touched, where the objects stood.
    assert any(label.lidar_points for label in strange.labels if label.object_id in strange.strange)
    again = scene(SEED, image_size=SIZE, strange=THING)
    assert np.array_equal(again.cameras[0].image, strange.cameras[0].image)


@pytest.mark.parametrize("folder", ["training", "model", "faults"])
def test_training_never_draws_them(folder: str) -> None:
    for path in (Path(mm_fusion_ros.__file__).parent / folder).rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"unfamiliar import|sim import unfamiliar|strange=", text), path
