"""Where sensors are mounted (fault row 23: a transform that is missing)."""

from __future__ import annotations

import numpy as np
import pytest

from mm_fusion_ros import geometry
from mm_fusion_ros.ros.transform_tree import MAX_FRAMES, TransformTree, frame_name
from mm_fusion_ros.sensors.rejection import Rejected

BASE_FROM_MAST = geometry.from_euler(np.array([0.2, 0.0, 1.0]), 0.0, 0.1, 0.3)
MAST_FROM_CAMERA = geometry.from_euler(np.array([0.0, 0.1, 0.2]), -1.5, 0.0, -1.6)
MAST_FROM_LIDAR = geometry.from_euler(np.array([0.0, 0.0, 0.4]), 0.0, 0.0, 3.0)


@pytest.fixture
def tree() -> TransformTree:
    tree = TransformTree()
    tree.add("base_link", "mast", BASE_FROM_MAST)
    tree.add("mast", "camera_optical", MAST_FROM_CAMERA)
    tree.add("mast", "lidar", MAST_FROM_LIDAR)
    return tree


def test_a_chain_is_the_product_of_its_links(tree: TransformTree) -> None:
    expected = BASE_FROM_MAST @ MAST_FROM_CAMERA
    assert np.allclose(tree.lookup("base_link", "camera_optical"), expected)


def test_a_chain_may_go_up_and_down(tree: TransformTree) -> None:
    expected = np.linalg.inv(MAST_FROM_LIDAR) @ MAST_FROM_CAMERA
    assert np.allclose(tree.lookup("lidar", "camera_optical"), expected)
    assert np.allclose(tree.lookup("mast", "base_link"), np.linalg.inv(BASE_FROM_MAST))


def test_a_frame_is_itself_even_when_nobody_published_it(tree: TransformTree) -> None:
    assert np.array_equal(tree.lookup("lidar", "lidar"), np.eye(4))
    assert np.array_equal(tree.lookup("base_link", "base_link"), np.eye(4))
    assert np.array_equal(TransformTree().lookup("base_link", "base_link"), np.eye(4))


def test_leading_slashes_make_no_difference(tree: TransformTree) -> None:
    tree.add("/base_link", "/gps", np.eye(4))
    assert np.array_equal(tree.lookup("base_link", "gps"), np.eye(4))
    assert np.array_equal(tree.lookup("/base_link", "/gps"), np.eye(4))
    assert frame_name(" //gps") == "gps"


def test_a_frame_that_nobody_published_is_named(tree: TransformTree) -> None:
    with pytest.raises(KeyError, match="nobody published a transform with frame 'radar'"):
        tree.lookup("base_link", "radar")


def test_the_link_that_is_missing_is_named() -> None:
    tree = TransformTree()
    tree.add("base_link", "mast", BASE_FROM_MAST)
    tree.add("head", "camera_optical", MAST_FROM_CAMERA)
    with pytest.raises(KeyError, match="link between 'head'.*and 'base_link'.*is missing"):
        tree.lookup("mast", "camera_optical")


def test_a_frame_that_is_sent_again_is_moved(tree: TransformTree) -> None:
    tree.add("mast", "lidar", np.eye(4))
    assert np.allclose(tree.lookup("base_link", "lidar"), BASE_FROM_MAST)
    tree.add("base_link", "lidar", np.eye(4))
    assert np.allclose(tree.lookup("base_link", "lidar"), np.eye(4))


def test_frames_that_carry_each_other_are_refused(tree: TransformTree) -> None:
    for parent, child in [("lidar", "base_link"), ("lidar", "lidar")]:
        with pytest.raises(Rejected) as verdict:
            tree.add(parent, child, np.eye(4))
        assert verdict.value.reason == "transform"
    assert np.allclose(tree.lookup("base_link", "lidar"), BASE_FROM_MAST @ MAST_FROM_LIDAR)


def test_the_tree_is_bounded() -> None:
    tree = TransformTree()
    for index in range(MAX_FRAMES - 1):
        tree.add("base_link", f"frame_{index}", np.eye(4))
    with pytest.raises(Rejected) as verdict:
        tree.add("base_link", "one_too_many", np.eye(4))
    assert verdict.value.reason == "size"
    # Those that are there may still be moved.
    tree.add("base_link", "frame_0", BASE_FROM_MAST)


def test_what_was_added_may_be_changed_by_its_owner_afterwards(tree: TransformTree) -> None:
    matrix = np.eye(4)
    tree.add("base_link", "imu", matrix)
    matrix[0, 3] = 9.0
    assert np.array_equal(tree.lookup("base_link", "imu"), np.eye(4))
