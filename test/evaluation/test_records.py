"""Truth and answers as arrays."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from mm_fusion_ros.evaluation.records import (
    findings_of,
    from_plain,
    in_any_view,
    to_plain,
    truths_of,
)
from mm_fusion_ros.geometry import transform
from mm_fusion_ros.outputs import CLASSES, COLOURS, FusedObject
from mm_fusion_ros.samples import CameraFrame, Float

# Columns are where the camera's x (right), y (down), z (forward) point in base_link.
FORWARD = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])


def camera() -> CameraFrame:
    """At base_link's origin, looking ahead: 100 x 60 pixels, 90 degrees across."""
    intrinsics = np.array([[50.0, 0, 50], [0, 50.0, 30], [0, 0, 1]])
    image = np.zeros((60, 100, 3), dtype=np.uint8)
    return CameraFrame(0, "front", "front", image, intrinsics, transform(FORWARD, np.zeros(3)))


@dataclass(frozen=True, eq=False)
class Label:
    """A true object with no more than is asked of one."""

    class_name: str
    colour: str
    centre: Float
    size: Float
    yaw: float
    counts: bool


def test_in_view_is_inside_an_image_and_in_front() -> None:
    points = np.array(
        [
            [10.0, 0.0, 0.0],  # straight ahead
            [-10.0, 0.0, 0.0],  # behind
            [10.0, 10.05, 0.0],  # u = 50 - 50.25 = -0.25: on the outermost pixel
            [10.0, 10.2, 0.0],  # u = -1: outside
            [10.0, 0.0, 7.0],  # v = 30 - 35 = -5: above
        ]
    )
    assert in_any_view(points, [camera()]).tolist() == [True, False, True, False, False]
    assert not in_any_view(points, []).any()


def test_labels_become_arrays() -> None:
    truths = truths_of(
        [
            Label("barrel", "green", np.array([5.0, 0, 0]), np.array([1.0, 1, 2]), 0.5, True),
            Label("car", "pink", np.array([-5.0, 0, 0]), np.array([4.0, 2, 1]), 0.0, False),
        ],
        [camera()],
    )
    assert truths.kind.tolist() == [CLASSES.index("barrel"), CLASSES.index("car")]
    assert truths.colour.tolist() == [COLOURS.index("green"), -1]
    assert truths.in_view.tolist() == [True, False]
    assert truths.counts.tolist() == [True, False]


def fused() -> FusedObject:
    """One object with a covariance that differs by axis."""
    return FusedObject(
        track_id=-1, class_name="ball", class_probability=0.7, colour="unknown",
        colour_probability=0.0, centre=np.array([5.0, 1, 0]), size=np.ones(3), yaw=0.1,
        velocity=np.zeros(3), position_covariance=np.array([[4.0, 1, 0], [1, 9, 0], [0, 0, 2]]),
    )  # fmt: skip


def test_answers_keep_the_ground_part_of_their_covariance() -> None:
    found = findings_of([fused()], [camera()])
    np.testing.assert_array_equal(found.covariance, [[[4, 1], [1, 9]]])
    assert found.colour.tolist() == [-1]
    assert found.in_view.tolist() == [True]


def test_tables_survive_json_bit_for_bit_also_when_empty() -> None:
    for table in (
        findings_of([fused()], [camera()]), findings_of([], [camera()]), truths_of([], []),
    ):  # fmt: skip
        kind: Any = type(table)
        back = from_plain(kind, json.loads(json.dumps(to_plain(table))))
        for entry in fields(kind):
            before, after = getattr(table, entry.name), getattr(back, entry.name)
            assert before.dtype == after.dtype
            np.testing.assert_array_equal(before, after)
            assert before.shape == after.shape
