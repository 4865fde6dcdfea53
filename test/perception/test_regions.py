"""Pieces of an image around objects."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mm_fusion_ros.perception.regions import CROP, MARGIN, claimed, cut, squares

OPTICAL = np.array([[0, 0, 1, 0.0], [-1, 0, 0, 0.0], [0, -1, 0, 1.0], [0, 0, 0, 1.0]])
K = np.array([[200.0, 0.0, 191.5], [0.0, 200.0, 143.5], [0.0, 0.0, 1.0]])
WHOLE = (0, 0, 384, 288)


def box(x: float, y: float, z: float = 1.0, edge: float = 1.0) -> np.ndarray:
    return np.array([[x, y, z, edge, edge, edge, 0.0]])


def test_the_square_lies_around_the_projected_box() -> None:
    ((u, v, edge, metres),), seen = squares(box(10.5, 0.0), K, OPTICAL, WHOLE)
    assert seen.all()
    # The near face is at 10 m: 200 / 10 = 20 pixels wide.
    assert (u, v) == pytest.approx((191.5, 143.5))
    assert edge == pytest.approx(MARGIN * 20.0)
    assert metres == pytest.approx(edge * 10.5 / 200.0)


def test_what_is_behind_beside_or_too_near_is_not_cut() -> None:
    boxes = np.concatenate([box(-5.0, 0.0), box(5.0, 20.0), box(0.8, 0.0), box(8.0, 1.0)])
    regions = cut(np.zeros((288, 384, 3), np.uint8), K, OPTICAL, WHOLE, boxes)
    assert regions.rows.tolist() == [3]
    assert regions.crops.shape == (1, CROP, CROP, 3)
    # Nor is what falls into the padding around the picture.
    padded = cut(np.zeros((288, 384, 3), np.uint8), K, OPTICAL, (0, 0, 100, 288), boxes)
    assert not len(padded.rows)


@pytest.mark.parametrize("distance", [3.5, 6.0, 12.5, 20.0])
def test_the_object_fills_the_same_part_of_its_crop_at_any_distance(distance: float) -> None:
    """A white square, painted where a metre-wide face projects to, is found in the crop."""
    image = np.zeros((288, 384, 3), np.uint8)
    half = 100.0 / (distance - 0.5)
    rows, columns = np.arange(288)[:, None], np.arange(384)[None, :]
    image[(np.abs(rows - 143.5) < half) & (np.abs(columns - 191.5) < half)] = 255
    (crop,) = cut(image, K, OPTICAL, WHOLE, box(distance, 0.0)).crops
    white = (crop[..., 0] > 127).astype(float)
    assert white.mean() == pytest.approx(1.0 / MARGIN**2, abs=0.09)
    middle = np.argwhere(white).mean(axis=0)
    assert middle == pytest.approx([15.5, 15.5], abs=0.6)


def test_beyond_the_image_a_crop_is_black_and_the_light_is_the_pictures_alone() -> None:
    image = np.full((288, 384, 3), 92, np.uint8)
    image[:, 192:] = 0  # padding
    regions = cut(image, K, OPTICAL, (0, 0, 192, 288), box(4.0, 3.7))
    (crop,) = regions.crops
    assert not crop[:, 0].any() and (crop[:, -1] == 92).all()
    # Eight is added before the logarithm is taken.
    assert regions.about[0, :3] == pytest.approx(np.log(100.0) - 4.0, abs=1e-3)


def test_no_boxes_give_no_crops() -> None:
    regions = cut(np.zeros((288, 384, 3), np.uint8), K, OPTICAL, WHOLE, np.zeros((0, 7)))
    assert regions.crops.shape == (0, CROP, CROP, 3) and not len(regions.rows)


def test_a_picture_of_twice_the_size_gives_the_same_crop_but_sharper() -> None:
    rng = np.random.default_rng(0)
    small = cv2.resize(rng.integers(0, 255, (36, 48, 3), dtype=np.uint8), (384, 288))
    large = cv2.resize(small, (768, 576), interpolation=cv2.INTER_LINEAR)
    double = K.copy()
    double[:2, :2] *= 2.0
    double[:2, 2] = 2.0 * (K[:2, 2] + 0.5) - 0.5
    boxes = box(3.0, 0.2)
    one = cut(small, K, OPTICAL, WHOLE, boxes)
    two = cut(large, double, OPTICAL, (0, 0, 768, 576), boxes)
    assert np.abs(one.crops.astype(int) - two.crops.astype(int)).mean() < 4.0
    # Twice as many pixels, as many metres, the same light.
    assert two.about[0, 3] - one.about[0, 3] == pytest.approx(np.log(2.0), abs=1e-5)
    assert two.about[0, 4] == pytest.approx(one.about[0, 4], abs=1e-5)
    assert two.about[0, :3] == pytest.approx(one.about[0, :3], abs=0.01)


def test_of_two_on_one_ray_the_later_finds_its_piece_claimed() -> None:
    # Middle and edge: the same thing at 8 and at 6 m, one beside it, one far smaller before it.
    pieces = np.array([[100.0, 80.0, 40.0], [101.0, 81.0, 53.0], [150.0, 80.0, 40.0],
                       [100.0, 80.0, 12.0]])  # fmt: skip
    # Common with the first: 40^2 of 53^2 pixels, 0.57; 0; 12^2 of 40^2, 0.09.
    assert claimed(pieces).tolist() == [False, True, False, False]
    assert claimed(pieces[::-1]).tolist() == [False, False, False, True]
    assert claimed(pieces[:0]).tolist() == []
