"""Images are lifted before their tick, and anew where the prediction was wrong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from mm_fusion_ros.geometry import planar
from mm_fusion_ros.perception.ahead import TOLERANCE_M, TOLERANCE_RAD, LiftAhead, is_near
from mm_fusion_ros.perception.features import CameraFeature, PlacedCameras
from mm_fusion_ros.perception.window import Window
from mm_fusion_ros.samples import Float
from mm_fusion_ros.scheduling import Inline
from mm_fusion_ros.sensors.camera import PreparedImage

EMPTY = np.zeros((1, 1, 1, 1), np.float32)
IMAGE = PreparedImage(np.zeros((4, 4, 3), np.uint8), np.eye(3), (0, 0, 4, 4), np.eye(4))


class Placer:
    """Stands in for the network: remembers what it was asked to lift."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def __call__(self, cameras: Sequence[CameraFeature]) -> PlacedCameras:
        self.asked.append([camera.source for camera in cameras])
        return PlacedCameras({}, Window(), EMPTY, EMPTY)


def feature(source: str, tick_from_base: Float | None = None) -> CameraFeature:
    pose = np.eye(4) if tick_from_base is None else tick_from_base
    return CameraFeature(source, EMPTY, IMAGE, tick_from_base=pose)


def offer(ahead: LiftAhead, source: str, stamp_ns: int, pose: Float | None = None) -> None:
    pending = Inline().submit(lambda: feature(source))
    ahead.offer(source, stamp_ns, pending, np.eye(4) if pose is None else pose)


@pytest.fixture
def placer() -> Placer:
    return Placer()


@pytest.fixture
def ahead(placer: Placer) -> LiftAhead:
    """After a tick that took both cameras."""
    ahead = LiftAhead(Inline(), placer)
    assert ahead.take([feature("left"), feature("right")], {"left": 1, "right": 1}) is None
    return ahead


def test_images_are_lifted_once_all_that_the_last_tick_took_are_there(
    ahead: LiftAhead, placer: Placer
) -> None:
    offer(ahead, "right", 5)
    assert placer.asked == []
    offer(ahead, "left", 6)
    assert placer.asked == [["left", "right"]]
    cameras = [feature("left"), feature("right")]
    assert ahead.take(cameras, {"left": 6, "right": 5, "lidar": 7}) is not None
    # What was taken is gone.
    assert ahead.take(cameras, {"left": 6, "right": 5}) is None


def test_a_newer_image_of_the_same_camera_replaces_the_older(
    ahead: LiftAhead, placer: Placer
) -> None:
    for stamp_ns in (5, 6):
        offer(ahead, "left", stamp_ns)
        offer(ahead, "right", stamp_ns)
    cameras = [feature("left"), feature("right")]
    assert ahead.take(cameras, {"left": 6, "right": 6}) is not None
    # The older pair, the newer left with the older right, the newer pair.
    assert len(placer.asked) == 3


def test_other_images_than_were_offered_are_not_answered_for(ahead: LiftAhead) -> None:
    offer(ahead, "left", 5)
    offer(ahead, "right", 5)
    cameras = [feature("left"), feature("right")]
    assert ahead.take(cameras, {"left": 5, "right": 6}) is None
    offer(ahead, "left", 7)
    offer(ahead, "right", 7)
    assert ahead.take(cameras[:1], {"left": 7}) is None
    # From now on one camera is enough.
    offer(ahead, "left", 8)
    assert ahead.take(cameras[:1], {"left": 8}) is not None


def test_a_motion_that_was_not_predicted_is_noticed(ahead: LiftAhead) -> None:
    for pose, same in ((planar(0.05, 0, 0.0), True), (planar(0.5, 0, 0.0), False)):
        ahead.take([feature("left")], {"left": 0})
        offer(ahead, "left", 5)
        placed = ahead.take([feature("left", pose)], {"left": 5})
        assert (placed is not None) == same


def test_motions_are_near_within_a_tenth_of_a_cell() -> None:
    there = planar(3.0, -2.0, 1.0)
    assert is_near(there, there)
    assert is_near(there, there @ planar(0.9 * TOLERANCE_M, 0, 0.9 * TOLERANCE_RAD))
    assert not is_near(there, there @ planar(1.1 * TOLERANCE_M, 0, 0))
    assert not is_near(there, there @ planar(0, 0, 1.1 * TOLERANCE_RAD))
    assert not is_near(there, there @ planar(0, 0, np.pi))


def test_what_went_wrong_while_lifting_is_raised_when_it_is_taken() -> None:
    def fails() -> CameraFeature:
        raise RuntimeError("out of memory")

    ahead = LiftAhead(Inline(), lambda cameras: PlacedCameras({}, Window(), EMPTY, EMPTY))
    ahead.take([feature("left")], {"left": 0})
    ahead.offer("left", 5, Inline().submit(fails), np.eye(4))
    with pytest.raises(RuntimeError, match="out of memory"):
        ahead.take([feature("left")], {"left": 5})
