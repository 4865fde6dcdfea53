"""The bird's-eye grid."""

from __future__ import annotations

import numpy as np
import pytest

from mm_fusion_ros.geometry import planar, transform
from mm_fusion_ros.perception import grid

OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
K = np.array([[190.0, 0.0, 191.5], [0.0, 190.0, 143.5], [0.0, 0.0, 1.0]])
WHOLE = (0.0, 0.0, 384.0, 288.0)


def points(*rows: tuple[float, float, float, float]) -> np.ndarray:
    return np.array(rows, np.float32).reshape(-1, 4)


def test_a_point_lands_in_the_cell_and_slice_it_lies_in() -> None:
    # Cells of 0.3125 m: x = 10 is number floor(50 / 0.3125) = 160, y = -5 floor(35 / 0.3125) = 112.
    raster = grid.rasterize(points((10.0, -5.0, 0.8, 0.5)))
    slices = len(grid.HEIGHT_EDGES_M) - 1
    # 0.8 m lies between the edges 0.7 and 1.0, the fourth slice.
    assert np.argwhere(raster[:slices]).tolist() == [[3, 160, 112]]
    # One point counts log(2) / log(64) = 1 / 6.
    assert raster[3, 160, 112] == pytest.approx(1 / 6)
    assert raster[slices, 160, 112] == pytest.approx(0.2)  # highest, 0.8 m / 4
    assert raster[slices + 1, 160, 112] == pytest.approx(0.2)  # lowest
    assert raster[slices + 2, 160, 112] == pytest.approx(0.5)  # intensity


def test_highest_lowest_and_mean_are_taken_over_a_cell() -> None:
    raster = grid.rasterize(points((1.0, 1.0, 0.2, 0.0), (1.01, 1.01, 1.6, 1.0)))
    slices = len(grid.HEIGHT_EDGES_M) - 1
    cell = tuple(np.argwhere(raster[slices])[0])
    assert raster[(slices, *cell)] == pytest.approx(0.4)
    assert raster[(slices + 1, *cell)] == pytest.approx(0.05)
    assert raster[(slices + 2, *cell)] == pytest.approx(0.5)


def test_no_points_and_points_outside_give_an_empty_raster() -> None:
    assert not grid.rasterize(points()).any()
    outside = points((40.0, 0.0, 1.0, 1.0), (0.0, -40.01, 1.0, 1.0), (0.0, 0.0, 4.0, 1.0))
    assert not grid.rasterize(outside).any()


def test_a_cell_straight_ahead_projects_onto_the_image_centre_column() -> None:
    lift = grid.lift_geometry(K, transform(OPTICAL, np.array([0.0, 0.0, 0.4])), WHOLE, (384, 288))
    centres = grid.cell_centres(grid.FEATURE_CELLS)
    # The cell's centre is at y = -0.625; its first point lies 0.3125 m nearer and farther right.
    ix, iy = int(np.argmin(np.abs(centres - 10.3))), grid.FEATURE_CELLS // 2 - 1
    cell = ix, iy, 0
    row, column = divmod(int(lift.pixel[cell]), 384 // grid.STRIDE)
    x, y = centres[ix] - 0.3125, -0.9375
    # By the pinhole u is 191.5 - 190 y / x; at the camera's own height v is in the middle.
    assert column == int((191.5 - 190.0 * y / x + 0.5) / grid.STRIDE)
    assert row == 144 // grid.STRIDE
    assert lift.valid[cell] == 1.0
    assert lift.log_depth[cell] == pytest.approx(np.log(x))


def test_cells_behind_the_camera_or_in_the_padding_are_not_seen() -> None:
    camera = transform(OPTICAL, np.array([0.0, 0.0, 0.3]))
    lift = grid.lift_geometry(K, camera, WHOLE, (384, 288))
    behind = grid.cell_centres(grid.FEATURE_CELLS) < 0
    assert lift.covered[~behind].any() and not lift.covered[behind].any()
    # Only the lower half of the image is picture: what lies above the horizon is not seen.
    padded = grid.lift_geometry(K, camera, (0.0, 150.0, 384.0, 288.0), (384, 288))
    assert not padded.valid[..., -1].any()  # 1.2 m is above a camera at 0.3 m
    assert (padded.pixel[padded.valid == 0] == 0).all()
    # Rows 150 and below, of four pixels each, are 37 and below.
    assert (padded.pixel[padded.valid == 1] >= 37 * (384 // grid.STRIDE)).all()


def test_turning_the_base_under_a_camera_turns_what_it_sees() -> None:
    camera = transform(OPTICAL, np.array([0.0, 0.0, 1.0]))
    ahead = grid.lift_geometry(K, camera, WHOLE, (384, 288)).valid
    left = grid.lift_geometry(K, planar(0.0, 0.0, np.pi / 2) @ camera, WHOLE, (384, 288)).valid
    # A quarter turn to the left takes (x, y) to (-y, x), and the points of a cell with it.
    turned = ahead.transpose(1, 0, 2)[::-1]
    order = [
        grid.LIFT_POINTS_M.index((y, -x, z)) if z < 1.0 else number
        for number, (x, y, z) in enumerate(grid.LIFT_POINTS_M)
    ]
    assert (left != turned[:, :, order]).mean() < 1e-3
