"""Cached scenes to network inputs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scenes import made_up

from mm_fusion_ros.config import CameraConfig
from mm_fusion_ros.geometry import apply, inverse, project
from mm_fusion_ros.outputs import CLASSES
from mm_fusion_ros.samples import CameraFrame
from mm_fusion_ros.sensors.camera import CameraIntake
from mm_fusion_ros.sim.labels import Label
from mm_fusion_ros.training import cache
from mm_fusion_ros.training.dataset import (
    EVERYTHING,
    PLAIN,
    Augmentation,
    SceneDataset,
    as_network_takes,
    augment,
    image_depth,
    known_depth,
    prepare,
    shown_classes,
    without_images,
)
from mm_fusion_ros.training.train import NEEDS


def test_a_scene_survives_the_cache(tmp_path: Path) -> None:
    scene = made_up(1)
    cache.save(scene, cache.path_of(tmp_path, 1))
    loaded = cache.load(cache.path_of(tmp_path, 1))
    assert np.array_equal(loaded.boxes, scene.boxes)
    assert np.array_equal(loaded.seen, scene.seen)
    # float16 keeps 11 bits: at 30 m a step is 30 / 2048 = 0.015 m.
    assert np.abs(loaded.points - scene.points).max() < 0.02
    assert loaded.images.shape == scene.images.shape


def test_scenes_of_another_size_are_made_anew(tmp_path: Path) -> None:
    path = cache.path_of(tmp_path, 1)
    cache.save(made_up(1), path)
    assert cache.is_whole(path)
    with np.load(path) as data:
        older = {name: data[name] for name in data.files if name != "image_size"}
    np.savez(path, **older)
    assert not cache.is_whole(path)


def test_the_network_takes_the_image_as_at_run_time() -> None:
    scene = made_up(1, cameras=1)
    taken = as_network_takes(scene)
    frame = CameraFrame(
        1, "", "front", scene.images[0], scene.intrinsics[0], scene.base_from_camera[0]
    )
    prepared, _ = CameraIntake(CameraConfig()).accept(frame)
    assert np.array_equal(taken.images[0], prepared.image)
    assert taken.intrinsics[0] == pytest.approx(prepared.intrinsics)
    assert as_network_takes(without_images(scene)).images.shape == (0, 288, 384, 3)
    with pytest.raises(ValueError, match="images of 640 x 400"):
        as_network_takes(replace(scene, images=scene.images[:, :400]))


def test_each_cell_of_the_features_knows_the_object_in_its_middle() -> None:
    # A cell is 4 pixels of the network's image and 20 / 3 of one of 640 x 480: the middle of the
    # tenth column, 38.5 from the network's edge, is 64.2 from the other's: within pixel 64.
    ids = np.zeros((480, 640), np.int32)
    ids[:, 64] = 7
    row = cache.rows_of(ids, [label(3), label(7)])
    assert row.shape == (72, 96)
    assert (row[:, 9] == 1).all() and (np.delete(row, 9, axis=1) == -1).all()


def label(object_id: int) -> Label:
    return Label(
        "box", "red", np.zeros(3), np.ones(3), 0.0, np.zeros(3), object_id, 10, {}, {}, True, True
    )


@pytest.mark.parametrize("seed", range(6))
def test_turning_and_mirroring_keep_boxes_where_the_cameras_see_them(seed: int) -> None:
    scene = made_up(seed, cameras=1)
    options = Augmentation(gain=0.0, drop_points=0.0)
    other = augment(scene, options, np.random.default_rng(seed))
    mirrored = not np.array_equal(other.images, scene.images)

    def seen_at(one: cache.Scene) -> np.ndarray:
        camera = apply(inverse(one.base_from_camera[0]), one.boxes[:, :3].astype(float))
        pixels, depth = project(camera, one.intrinsics[0])
        return np.column_stack([pixels, depth])

    before, after = seen_at(scene), seen_at(other)
    if mirrored:
        # Column u of a 640 pixel wide image becomes 639 - u.
        before[:, 0] = 639.0 - before[:, 0]
    assert after == pytest.approx(before, abs=1e-2)
    # The points moved with the boxes.
    assert np.linalg.norm(other.points[:, :2], axis=1) == pytest.approx(
        np.linalg.norm(scene.points[:, :2], axis=1), abs=1e-3
    )


def test_only_so_many_cameras_are_read_and_their_columns_with_them(tmp_path: Path) -> None:
    scene = made_up(2, cameras=4)
    scene.seen[:] = np.arange(4) >= 2
    cache.save(scene, cache.path_of(tmp_path, 2))
    some = cache.load(cache.path_of(tmp_path, 2), lambda _: np.array([1, 3]))
    assert len(some.images) == len(some.intrinsics) == len(some.base_from_camera) == 2
    assert np.array_equal(some.under, scene.under[[1, 3]])
    assert np.array_equal(some.seen[0], [False, True])
    item = SceneDataset(tmp_path, [2], replace(PLAIN, max_cameras=2))[0]
    assert len(item.images) == 2


def test_image_depth_holds_the_nearest_point() -> None:
    # Straight ahead at 10 m and, on the same ray, at 20 m.
    points = np.array([[20.0, 0, 1.2, 0], [10.0, 0, 1.2, 0]], np.float32)
    scene = as_network_takes(made_up(0))
    depth = image_depth(points, scene.intrinsics[0], scene.base_from_camera[0], (384, 288))
    assert depth.shape == (72, 96)
    # u = 191.5, v = 143.5: feature cell floor(192 / 4), floor(144 / 4) = 48, 36.
    assert np.argwhere(depth).tolist() == [[36, 48]]
    assert depth[36, 48] == pytest.approx(np.log(10.0))


def test_a_subset_is_asked_only_for_what_it_can_see() -> None:
    scene = made_up(3)
    scene.seen[:] = False
    scene.seen[0] = True
    scene.lidar_points[:] = 0
    scene.lidar_points[1] = 9
    rng = np.random.default_rng(0)
    targets = prepare(augment(scene, PLAIN, rng), EVERYTHING, rng).targets
    assert {name: t.count for name, t in targets.items()} == {"camera": 1, "lidar": 1, "both": 2}


def test_each_object_counts_by_the_root_of_its_area_in_the_image() -> None:
    scene = made_up(4, cameras=1)
    scene.under[:] = -1
    scene.under[0, :10, :10] = 2
    scene.under[0, 20, 20] = 5
    shown, weight = shown_classes(scene)
    assert weight[0, 3, 3] == pytest.approx(0.1) and weight[0, 20, 20] == 1.0
    objects = scene.under[0] >= 0
    assert weight[0, objects].sum() == pytest.approx(100 * 0.1 + 1.0)
    assert shown[0, 3, 3] == scene.class_index[2] and shown[0, 20, 20] == scene.class_index[5]
    # All that shows none counts as much as all that does.
    assert (shown[0, ~objects] == len(CLASSES)).all()
    assert weight[0, ~objects].sum() == pytest.approx(weight[0, objects].sum())


def test_what_is_not_needed_is_not_prepared(tmp_path: Path) -> None:
    cache.save(made_up(5, objects=20), cache.path_of(tmp_path, 5))
    for stage, needs in NEEDS.items():
        item = SceneDataset(tmp_path, [5], PLAIN, needs=needs)[0]
        assert bool(item.images.size) == needs.images, stage
        assert bool(item.rays.size) == needs.images, stage
        assert bool(item.regions.crops.size) == needs.regions, stage
        assert bool(item.pixel.size) == needs.grid, stage
        assert bool(item.raster.size) == needs.raster, stage
        assert tuple(item.targets) == needs.subsets, stage


def test_test_seeds_never_reach_the_cache(tmp_path: Path) -> None:
    for seed in (200_000, 200_999, 101_000):
        with pytest.raises(ValueError, match="neither a training nor a validation seed"):
            cache.fill(tmp_path, [seed], 1)


def test_the_depth_of_objects_is_where_rays_enter_their_boxes() -> None:
    scene = as_network_takes(made_up(0))
    intrinsics, base_from_camera = scene.intrinsics[0], scene.base_from_camera[0]
    height = float(base_from_camera[2, 3])
    x = float(base_from_camera[0, 3])
    # Straight ahead, 10 m to its front face; turned by a quarter, so its width is along the ray.
    boxes = np.array([[x + 11.0, 0, height, 4.0, 2.0, 2.0, np.pi / 2]], np.float32)
    under = np.full((72, 96), -1, np.int16)
    under[36, 48] = 0
    under[0, 0] = 0  # this ray misses the box
    scene = replace(scene, boxes=boxes, points=np.array([[x + 30.0, 0, height, 0]], np.float32))
    known = known_depth(scene, under, intrinsics, base_from_camera)
    assert np.argwhere(known).tolist() == [[36, 48]]
    assert known[36, 48] == pytest.approx(np.log(10.0), abs=1e-3)
    # Where no object is, the lidar tells.
    under[36, 48] = -1
    known = known_depth(scene, under, intrinsics, base_from_camera)
    assert known[36, 48] == pytest.approx(np.log(30.0), abs=1e-3)
