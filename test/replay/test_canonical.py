"""The same answer is the same line, byte for byte."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
from fake_fusion import car

from mm_fusion_ros.outputs import (
    ActionTarget,
    FusedOutput,
    Intent,
    ObstacleGrid,
    PoseEstimate,
    Reason,
    Reliability,
)
from mm_fusion_ros.replay.canonical import number, numbers, output_line
from mm_fusion_ros.samples import Modality


def output(**changes: object) -> FusedOutput:
    whole = FusedOutput(
        stamp_ns=1_700_000_000_123_456_789,
        objects=(car(),),
        reliability={"lidar": Reliability("lidar", Modality.LIDAR, 1 / 3, None, Reason.OK, 5)},
        pose=PoseEstimate(1, np.eye(4), np.eye(4), np.eye(6), np.zeros(6)),
        target=ActionTarget(go=False, intent=Intent.NONE),
        obstacles=ObstacleGrid(np.zeros((2, 3), np.int8), 0.5, np.array([-1.0, -1.0])),
        by_deadline=False,
    )
    return dataclasses.replace(whole, **changes)  # type: ignore[arg-type]


def test_floats_are_rounded_and_stamps_are_kept_whole() -> None:
    content = json.loads(output_line(output()))
    assert content["reliability"]["lidar"]["trust"] == 0.333333
    assert content["stamp_ns"] == 1_700_000_000_123_456_789


def test_differences_below_a_micrometre_make_no_difference() -> None:
    near = car(x=8.0 + 1e-9)
    assert output_line(output(objects=(near,))) == output_line(output())


def test_differences_of_a_millimetre_do() -> None:
    assert output_line(output(objects=(car(x=8.001),))) != output_line(output())


def test_a_single_changed_obstacle_cell_changes_the_line() -> None:
    cells = np.zeros((2, 3), np.int8)
    cells[1, 2] = 100
    other = ObstacleGrid(cells, 0.5, np.array([-1.0, -1.0]))
    assert output_line(output(obstacles=other)) != output_line(output())


def test_numbers_that_are_not_finite_become_null_and_the_line_stays_json() -> None:
    broken = dataclasses.replace(car(), velocity=np.array([np.nan, np.inf, 1.0]))
    content = json.loads(output_line(output(objects=(broken,))))
    assert content["objects"][0]["velocity"] == [None, None, 1.0]


def test_minus_zero_is_zero() -> None:
    assert str(number(-0.0)) == "0.0"
    assert str(numbers(np.array([-1e-9, 1.0]))) == "[0.0, 1.0]"


def test_matrices_keep_their_shape_with_and_without_holes() -> None:
    matrix = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert numbers(matrix) == [[1.0, 2.0], [3.0, 4.0]]
    matrix[0, 1] = np.nan
    assert numbers(matrix) == [[1.0, None], [3.0, 4.0]]


def test_an_output_without_pose_and_obstacles_is_written() -> None:
    content = json.loads(output_line(output(pose=None, obstacles=None)))
    assert content["pose"] is None
    assert content["obstacles"] is None
