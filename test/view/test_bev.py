"""From above, forward is up and left is left, and metres are where the scale says."""

from __future__ import annotations

import numpy as np
import pytest
import scene
from numpy.typing import NDArray

from mm_fusion_ros.outputs import FusedObject, ObstacleGrid
from mm_fusion_ros.view import palette
from mm_fusion_ros.view.bev import (
    HEIGHT_COLOURS,
    GroundView,
    bird_eye,
    covariance_ellipse,
    ring_step,
)

# 20 m to each side on 400 pixels: 10 pixels a metre, the robot at (200, 200).
EXTENT, SIZE = 20.0, 400


def drawn(*objects: FusedObject, **options: object) -> NDArray[np.uint8]:
    arguments: dict[str, object] = {
        "points": None, "pose": None, "target": scene.HOLD, "obstacles": None, **options,
    }  # fmt: skip
    return bird_eye(objects=objects, extent_m=EXTENT, size_px=SIZE, **arguments)  # type: ignore[arg-type]


def centre_of(picture: NDArray[np.uint8], colour: palette.Colour) -> tuple[float, float]:
    """Mean column and row of the pixels of exactly this colour."""
    rows, columns = np.nonzero((picture == np.array(colour)).all(axis=2))
    return float(columns.mean()), float(rows.mean())


@pytest.mark.parametrize(
    ("x", "y", "column", "row"),
    # Ahead is up; left is left: v = (20 - x) * 10, u = (20 - y) * 10.
    [(10.05, 0.05, 199, 99), (0.05, 10.05, 99, 199), (-10.05, -10.05, 300, 300)],
)
def test_a_point_is_one_pixel_where_the_scale_says(
    x: float, y: float, column: int, row: int
) -> None:
    empty, full = drawn(), drawn(points=np.array([[x, y, 2.0, 0.5]]))
    changed = np.argwhere((empty != full).any(axis=2))
    assert changed.tolist() == [[row, column]]


def test_of_points_in_one_pixel_the_highest_is_seen() -> None:
    points = np.array([[10.05, 0.05, 0.0], [10.05, 0.05, 2.9], [10.05, 0.05, 1.0]])
    both = drawn(points=points)[99, 199]
    # 2.9 m lies (2.9 + 0.3) / 3.3 = 0.97 of the way up the colours.
    assert np.array_equal(both, HEIGHT_COLOURS[int((2.9 + 0.3) / 3.3 * 255)])


def test_points_that_are_broken_or_outside_are_left_out() -> None:
    points = np.array([[np.nan, 0, 0], [0, np.inf, 0], [5, 5, np.nan], [500, 0, 0], [-20, 3, 1]])
    assert np.array_equal(drawn(points=points[:4]), drawn())
    assert drawn(points=points).shape == (SIZE, SIZE, 3)


def test_a_box_is_drawn_around_its_place_with_its_heading() -> None:
    turned = drawn(scene.item((10.0, 0.0, 0.0), size=(6.0, 2.0, 1.0), yaw=np.pi / 2))
    rows, columns = np.nonzero((turned == np.array(palette.CLASS_COLOURS["car"])).all(axis=2))
    # Six metres long and turned to the left: 60 pixels wide, 20 tall; its name stands to the right.
    box = columns < 235
    assert columns[box].max() - columns[box].min() == pytest.approx(60, abs=4)
    assert rows[box].max() - rows[box].min() == pytest.approx(20, abs=4)


def test_the_ellipse_holds_90_percent() -> None:
    covariance = np.array([[4.0, 1.5], [1.5, 1.0]])
    outline = covariance_ellipse(covariance)
    assert outline is not None
    # Every point of it lies at the squared Mahalanobis distance of 4.605 ...
    distances = np.einsum("ni,ij,nj->n", outline, np.linalg.inv(covariance), outline)
    assert distances == pytest.approx(np.full(33, 4.605))
    # ... within which 90 % of the samples fall.
    samples = np.random.default_rng(0).multivariate_normal([0.0, 0.0], covariance, 20_000)
    inside = np.einsum("ni,ij,nj->n", samples, np.linalg.inv(covariance), samples) < 4.605
    assert inside.mean() == pytest.approx(0.9, abs=0.01)


@pytest.mark.parametrize("variance", [np.nan, -1.0, 0.0])
def test_a_covariance_that_is_none_has_no_ellipse(variance: float) -> None:
    assert covariance_ellipse(np.diag([variance, 1.0])) is None


def test_obstacles_lie_where_their_cells_are() -> None:
    cells = np.zeros((40, 40), np.int8)
    cells[30, 20] = 100
    grid = ObstacleGrid(cells, 1.0, np.array([-20.0, -20.0]))
    # Row 30 is y = 10 to 11, column 20 is x = 0 to 1: columns 90 to 99, rows 190 to 199.
    picture = drawn(obstacles=grid)
    rows, columns = np.nonzero((picture == np.array([84, 40, 44])).all(axis=2))
    assert (columns.min(), columns.max()) == (90, 99)
    assert (rows.min(), rows.max()) == (190, 199)


def test_a_grid_smaller_than_the_picture_leaves_the_rest_unknown() -> None:
    grid = ObstacleGrid(np.zeros((4, 4), np.int8), 1.0, np.array([-2.0, -2.0]))
    picture = drawn(obstacles=grid)
    assert np.array_equal(picture[5, 5], drawn()[5, 5])


def test_target_and_fixes_are_placed_by_the_pose() -> None:
    # The robot stands at (5, 5) of map and looks along y. A target at (5, 15) is 10 m ahead.
    pose = scene.pose(5.0, 5.0, np.pi / 2)
    column, row = centre_of(drawn(pose=pose, target=scene.go(5.0, 15.0)), palette.GO)
    assert column == pytest.approx(200, abs=12)
    assert row < 150
    # A fix at (5, -3) is 8 m behind: row 280.
    with_fix = drawn(pose=pose, fixes=np.array([[5.0, -3.0]]))
    changed = np.argwhere((with_fix != drawn(pose=pose)).any(axis=2))
    assert changed.mean(axis=0) == pytest.approx([280, 200], abs=1)


def test_without_a_pose_nothing_of_the_map_is_drawn() -> None:
    fixes = np.zeros((3, 2))
    assert np.array_equal(drawn(target=scene.go(5.0, 5.0), fixes=fixes), drawn())


def test_objects_that_are_no_numbers_are_left_out() -> None:
    assert np.array_equal(drawn(scene.item((np.nan, 0.0, 0.0))), drawn())
    far = drawn(scene.item((1e12, -1e12, 0.0), velocity=(np.inf, 0.0, 0.0)))
    assert np.array_equal(far, drawn())


@pytest.mark.parametrize(
    ("extent", "step"), [(40.0, 10.0), (20.0, 5.0), (10.0, 2.0), (100.0, 20.0)]
)
def test_rings_are_at_round_metres(extent: float, step: float) -> None:
    assert ring_step(extent) == pytest.approx(step)


def test_the_view_keeps_what_is_far_away_drawable() -> None:
    path = GroundView(EXTENT, SIZE).path(np.array([[1e15, -1e15]]))
    assert np.abs(path).max() < 2**31
