"""Faults in training: what they change, and how far the sensors are then believed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scenes import made_up

from mm_fusion_ros.faults import held_out, injection
from mm_fusion_ros.faults.fault import Fault
from mm_fusion_ros.geometry import apply, inverse
from mm_fusion_ros.samples import Modality
from mm_fusion_ros.training import cache, struck
from mm_fusion_ros.training.dataset import (
    EVERYTHING,
    PLAIN,
    Augmentation,
    Faults,
    Needs,
    SceneDataset,
    augment,
    prepare,
)
from mm_fusion_ros.training.struck import CAMERA_KINDS, LIDAR_KINDS, Struck, strike


def only(monkeypatch: pytest.MonkeyPatch, name: str, who: tuple[bool, bool]) -> None:
    """Lets one kind strike, always."""
    kinds = {kind.__name__: kind for kind in (CAMERA_KINDS if who[0] else LIDAR_KINDS)}
    monkeypatch.setattr(struck, "CAMERA_KINDS" if who[0] else "LIDAR_KINDS", (kinds[name],))
    monkeypatch.setattr(struck, "WHO", (who,))
    monkeypatch.setattr(struck, "WHO_SHARES", (1.0,))


def test_no_kind_that_the_exam_holds_out_is_trained_on() -> None:
    trained = {*CAMERA_KINDS, *LIDAR_KINDS}
    assert not any(kind.held_out for kind in trained)
    assert not any(kind.__module__ == held_out.__name__ for kind in trained)
    # And every other fault of the picture or of the points is.
    for modality, kinds in ((Modality.CAMERA, CAMERA_KINDS), (Modality.LIDAR, LIDAR_KINDS)):
        known = injection._OF_MODALITY[modality]
        assert {kind for kind in known if not kind.held_out} == set(kinds)


def test_without_faults_the_points_come_through_and_good_sensors_are_believed() -> None:
    scene = made_up(0)
    same = strike(scene, 0.0, np.random.default_rng(0))
    assert np.array_equal(same.scene.images, scene.images)
    inside = np.linalg.norm(apply(inverse(scene.base_from_lidar), scene.points[:, :3]), axis=1) > 1
    assert np.allclose(same.scene.points, scene.points[inside], atol=1e-4)
    assert same.trust_lidar > 0.9


@pytest.mark.parametrize(
    ("name", "who"), [("Black", (True, False)), ("Empty", (False, True)), ("Drop", (False, True))]
)
def test_the_struck_sensor_is_believed_less_and_the_other_as_before(
    monkeypatch: pytest.MonkeyPatch, name: str, who: tuple[bool, bool]
) -> None:
    only(monkeypatch, name, who)
    scene = made_up(1, cameras=1)
    clean = strike(scene, 0.0, np.random.default_rng(0))
    trusts = [strike(scene, 1.0, np.random.default_rng(seed)) for seed in range(12)]
    of_camera = np.mean([each.trust_camera.mean() for each in trusts])
    of_lidar = np.mean([each.trust_lidar for each in trusts])
    if who[0]:
        assert of_camera < 0.1 and of_lidar == pytest.approx(clean.trust_lidar)
    else:
        assert of_lidar < 0.7 * clean.trust_lidar
        assert of_camera == pytest.approx(clean.trust_camera.mean())


def test_labels_stay_those_of_the_clean_scene(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "Extrinsics", (True, False))
    scene = made_up(2, cameras=1)
    worse = strike(scene, 1.0, np.random.default_rng(0))
    assert not np.allclose(worse.scene.base_from_camera, scene.base_from_camera)
    rng = np.random.default_rng(0)
    clean = prepare(scene, EVERYTHING, rng)
    item = prepare(scene, EVERYTHING, rng, worse)
    # The image shows what it showed, and is taken to lie elsewhere.
    assert np.array_equal(item.image_heat, clean.image_heat)
    assert np.array_equal(item.targets["both"].heat, clean.targets["both"].heat)
    assert not np.array_equal(item.pixel, clean.pixel)


def test_turning_and_mirroring_move_the_lidar_with_its_points() -> None:
    scene = made_up(3, cameras=1)
    before = apply(inverse(scene.base_from_lidar), scene.points[:, :3])
    options = replace(Augmentation(), gain=0.0, drop_points=0.0)
    seen = set()
    for seed in range(8):
        moved = augment(scene, options, np.random.default_rng(seed))
        after = apply(inverse(moved.base_from_lidar), moved.points[:, :3])
        mirrored = not np.allclose(after, before, atol=1e-3)
        assert np.allclose(after * (1.0, -1.0 if mirrored else 1.0, 1.0), before, atol=1e-3)
        assert np.linalg.det(moved.base_from_lidar[:3, :3]) == pytest.approx(1.0)
        seen.add(mirrored)
    assert seen == {True, False}


@pytest.mark.parametrize("kind", [*CAMERA_KINDS, *LIDAR_KINDS])
def test_every_kind_strikes_a_training_scene(
    monkeypatch: pytest.MonkeyPatch, kind: type[Fault[Any]]
) -> None:
    is_camera = kind in CAMERA_KINDS
    only(monkeypatch, kind.__name__, (is_camera, not is_camera))
    scene = augment(made_up(4, cameras=1), PLAIN, np.random.default_rng(0))
    clean = strike(scene, 0.0, np.random.default_rng(0))
    worse = strike(scene, 1.0, np.random.default_rng(0))
    names = ("images", "base_from_camera") if is_camera else ("points",)
    assert any(
        not np.array_equal(getattr(worse.scene, name), getattr(clean.scene, name)) for name in names
    )
    assert np.isfinite(worse.scene.points).all()
    assert Struck.untouched(scene).trust_camera.tolist() == [1.0]
    assert 0.0 < worse.trust_lidar <= 1.0 and 0.0 < worse.trust_camera.min() <= 1.0


def test_only_what_is_looked_at_is_struck() -> None:
    scene = made_up(5, cameras=1)
    for seed in range(20):
        worse = strike(scene, 1.0, np.random.default_rng(seed), (True, False))
        assert np.array_equal(worse.scene.points, scene.points) and worse.trust_lidar == 1.0
        worse = strike(scene, 1.0, np.random.default_rng(seed), (False, True))
        assert np.array_equal(worse.scene.images, scene.images)
        assert np.array_equal(worse.scene.base_from_camera, scene.base_from_camera)


def test_more_and_more_samples_are_struck(tmp_path: Path) -> None:
    cache.save(made_up(0, cameras=1), cache.path_of(tmp_path, 0))
    needs = Needs(grid=False, raster=False, subsets=())
    dataset = SceneDataset(tmp_path, [0], PLAIN, needs=needs, faults=Faults(0.8, ramp=200))
    clean = SceneDataset(tmp_path, [0], PLAIN, needs=needs)[0].images

    def struck_in(places: range) -> int:
        items = [dataset[(place, place)] for place in places]
        return sum(not np.array_equal(item.images, clean) for item in items)

    assert struck_in(range(20)) < 6 < struck_in(range(200, 220))
