"""Faults as a parameter of the simulator node."""

from __future__ import annotations

import argparse

import numpy as np
import pytest

from mm_fusion_ros.config import ConfigError
from mm_fusion_ros.ros.sim_config import SimConfig, injector_of
from mm_fusion_ros.samples import CameraFrame

S = 1_000_000_000


def frame(now_ns: int) -> CameraFrame:
    image = np.full((48, 64, 3), 120, np.uint8)
    return CameraFrame(now_ns, "camera_optical", "camera", image, np.eye(3), np.eye(4))


def test_faults_strike_within_their_window_and_only_their_sensor() -> None:
    inject = injector_of(SimConfig(faults="camera.black@1s-2s lidar.drop:5"))
    for second, dark in ((0, False), (1, True), (3, False)):
        (sample,) = inject(frame(second * S), second * S)
        assert isinstance(sample, CameraFrame)
        assert (sample.image.mean() < 10) == dark, second


def test_without_faults_samples_come_as_they_are() -> None:
    sample = frame(S)
    assert injector_of(SimConfig())(sample, S) == [sample]


@pytest.mark.parametrize(
    "faults", ["camera.gone", "radar.black", "camera.fog:9", "nonsense", "imu.absent"]
)
def test_a_fault_that_there_is_not_is_refused_by_name(faults: str) -> None:
    with pytest.raises(ConfigError, match="faults: fault"):
        injector_of(SimConfig(faults=faults))


def test_the_demo_hands_its_faults_on() -> None:
    from mm_fusion_ros.ros import demo

    parser = argparse.ArgumentParser()
    demo.add_arguments(parser)
    args = parser.parse_args(["--fault", "camera.fog:3@5s-", "--fault", "lidar.drop"])
    assert "faults:='camera.fog:3@5s- lidar.drop'" in demo.sim_arguments(args)
    assert not any("faults" in word for word in demo.sim_arguments(parser.parse_args([])))
