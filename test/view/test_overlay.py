"""Boxes lie where the pinhole says, and nothing that is fused can break the picture."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scene
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mm_fusion_ros.outputs import FusedObject, Reason
from mm_fusion_ros.view import canvas, palette
from mm_fusion_ros.view.overlay import clip_to_near, label_of, overlay

GREY = 90


def drawn(
    *objects: FusedObject, target: object = scene.HOLD, pose: object = None
) -> NDArray[np.uint8]:
    image = np.full((240, 320, 3), GREY, np.uint8)
    return overlay(image, scene.K, scene.BASE_FROM_CAMERA, objects, target, {}, pose)  # type: ignore[arg-type]


def pixels_of(picture: NDArray[np.uint8], colour: palette.Colour) -> NDArray[np.intp]:
    """(N, 2) column and row of the pixels of exactly this colour."""
    return np.argwhere((picture == np.array(colour)).all(axis=2))[:, ::-1]


def test_a_box_ahead_is_drawn_where_the_pinhole_says() -> None:
    found = pixels_of(drawn(scene.item((6.0, 0.0, 0.0))), palette.CLASS_COLOURS["car"])
    # A cube of 2 m at 6 m: its near face is at 5 m, so its corners are at
    # 160 +- 100 * 1 / 5 = 140, 180 and 120 +- 20 = 100, 140. Lines are two pixels wide; what lies
    # above row 98 is the label.
    found = found[found[:, 1] >= 98]
    low, high = found.min(axis=0), found.max(axis=0)
    assert low == pytest.approx([140, 100], abs=2)
    assert high == pytest.approx([180, 140], abs=2)


def test_left_of_the_robot_is_left_in_the_picture() -> None:
    found = pixels_of(drawn(scene.item((8.0, 4.0, 0.0))), palette.CLASS_COLOURS["car"])
    assert found[:, 0].max() < 160


def test_a_box_behind_the_camera_is_not_drawn() -> None:
    assert np.array_equal(drawn(scene.item((-6.0, 0.0, 0.0))), drawn())


def test_a_box_outside_the_view_gets_no_label() -> None:
    assert np.array_equal(drawn(scene.item((2.0, 50.0, 0.0))), drawn())


def test_a_box_around_the_camera_is_cut_at_the_near_plane() -> None:
    picture = drawn(scene.item((0.5, 0.0, -1.0), size=(6.0, 4.0, 1.0)))
    # The part ahead is seen, its far edge 0.5 m below and 3.5 m ahead, at row 134, the label above
    # it. The part behind, 2.5 m away, would lie mirrored at row 100.
    found = pixels_of(picture, palette.CLASS_COLOURS["car"])
    assert len(found) > 50
    assert found[:, 1].min() > 105


def test_segments_are_cut_where_they_cross_the_near_plane() -> None:
    crossing = np.array([[[0.0, 0.0, -1.0], [4.0, 0.0, 3.0]]])
    # From z = -1 to z = 3 the plane z = 1 lies half way: x is 2 there.
    assert clip_to_near(crossing, 1.0) == pytest.approx(
        np.array([[[2.0, 0.0, 1.0], [4.0, 0.0, 3.0]]])
    )
    behind = np.array([[[0.0, 0.0, -1.0], [4.0, 0.0, 0.5]]])
    assert clip_to_near(behind, 1.0).shape == (0, 2, 3)


def test_the_image_that_came_in_is_not_written_to() -> None:
    image = np.full((240, 320, 3), GREY, np.uint8)
    image.flags.writeable = False
    objects = [scene.item((6.0, 0.0, 0.0))]
    overlay(image, scene.K, scene.BASE_FROM_CAMERA, objects, scene.HOLD, scene.reliability())
    assert (image == GREY).all()


def test_the_label_names_class_colour_probabilities_and_track() -> None:
    assert label_of(scene.item((6.0, 0.0, 0.0), track_id=12)) == "car 0.80 red 0.70 #12"
    untracked = dataclasses.replace(scene.item((6.0, 0.0, 0.0), track_id=-1), colour="unknown")
    assert label_of(untracked) == "car 0.80"


def test_labels_do_not_lie_over_each_other() -> None:
    one, other = canvas.label_box("car", 0, 0, 0.4, False), (500, 0, 510, 10)
    assert canvas.overlaps(one, (1, 1, 3, 3))
    assert not canvas.overlaps(one, other)
    crowd = [scene.item((6.0 + 0.01 * i, 0.0, 0.0), track_id=i) for i in range(30)]
    assert drawn(*crowd).shape == (240, 320, 3)


def test_go_is_green_and_hold_is_orange() -> None:
    assert len(pixels_of(drawn(target=scene.go(5.0, 0.0)), palette.GO)) > 50
    assert len(pixels_of(drawn(target=scene.HOLD), palette.HOLD)) > 50
    assert len(pixels_of(drawn(target=scene.HOLD), palette.GO)) == 0


def test_the_target_is_drawn_where_the_pose_puts_it() -> None:
    # The robot is at x = 10 of map: a target at x = 15 is 5 m ahead, at the camera's height, so
    # its ring lies at the picture's middle.
    picture = drawn(target=scene.go(15.0, 0.0), pose=scene.pose(10.0))
    ring = pixels_of(picture[:200], palette.GO)
    assert ring[:, 0].mean() == pytest.approx(160, abs=6)
    assert 100 < ring[:, 1].mean() < 125


def test_a_bar_is_as_long_as_the_trust() -> None:
    image = np.full((240, 320, 3), GREY, np.uint8)
    lengths = []
    for trust in (1.0, 0.5):
        picture = overlay(
            image, scene.K, scene.BASE_FROM_CAMERA, [], scene.HOLD, scene.reliability(trust)
        )
        row = (picture == np.array(palette.trust_colour(trust))).all(axis=2)[:30]
        lengths.append(int(row.sum(axis=1).max()))
    # With trust 1 the bar spans 88 pixels at this size; with 0.5 half of them.
    assert lengths[1] == pytest.approx(lengths[0] / 2.0, abs=6)


def test_reasons_are_written_for_people() -> None:
    assert palette.reason_text(Reason.OUT_OF_DISTRIBUTION) == "out of distribution"
    assert palette.target_line(scene.HOLD) == 'HOLD  absent  "go to the car"'
    assert palette.target_line(scene.go(0.0, 0.0)).startswith("GO  go to #1  p 0.90")


def test_a_command_in_any_script_is_drawn() -> None:
    assert canvas.ascii_line("geh zum Würfel ☃") == "geh zum W?rfel ?"
    assert len(canvas.ascii_line("x" * 500)) == 100


NUMBER = st.one_of(
    st.floats(-100.0, 100.0), st.sampled_from([0.0, 1e-9, 1e9, float("nan"), float("inf")])
)


@settings(max_examples=60, deadline=None)
@given(centre=st.tuples(NUMBER, NUMBER, NUMBER), size=st.tuples(NUMBER, NUMBER, NUMBER), yaw=NUMBER)
def test_no_box_breaks_the_picture(
    centre: tuple[float, float, float], size: tuple[float, float, float], yaw: float
) -> None:
    picture = drawn(scene.item(centre, size, yaw))
    assert picture.shape == (240, 320, 3)
    assert picture.dtype == np.uint8


@pytest.mark.parametrize("shape", [(32, 32), (48, 640), (1, 1)])
def test_small_pictures_are_drawn_on(shape: tuple[int, int]) -> None:
    image = np.zeros((*shape, 3), np.uint8)
    picture = overlay(
        image, scene.K, scene.BASE_FROM_CAMERA, [scene.item((6.0, 0.0, 0.0))],
        scene.go(3.0, 0.0), scene.reliability(), scene.pose(),
    )  # fmt: skip
    assert picture.shape == image.shape
