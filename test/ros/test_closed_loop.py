"""The simulator's process and the fusion node over real DDS: commands in, the robot drives.

The pipeline is scripted, so that what is tested is everything around it: clock, drivers,
transforms, conversions, targets, follower, and the mission that judges the drive.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rclpy.context import Context
from rclpy.parameter import Parameter
from ros_client import Running
from scripted_pipeline import ScriptedPipeline

from mm_fusion_ros import geometry
from mm_fusion_ros.config import FusionConfig, ObstaclesConfig
from mm_fusion_ros.outputs import ActionTarget, FusedOutput, Intent, PoseEstimate
from mm_fusion_ros.perception.obstacles import obstacle_grid
from mm_fusion_ros.ros.assembly import Assembly
from mm_fusion_ros.ros.children import Children
from mm_fusion_ros.ros.demo import REMAPPED
from mm_fusion_ros.ros.fusion_node import FusionNode
from mm_fusion_ros.ros.listener import Listener
from mm_fusion_ros.samples import Command, Float, LidarScan, OdometrySample
from mm_fusion_ros.sim.mission import Mission

pytest.importorskip("open3d", reason="open3d is absent; `make setup` installs it")

# Behind the robot's start and to its left, where the yard is free.
MAP_FROM_TARGET = geometry.planar(-3.0, 2.5, 2.0)
GO = "go to the red box"


class DrivingPipeline(ScriptedPipeline):
    """Believes the odometry, sees the lidar's obstacles, and sends the robot to one pose."""

    def push(self, sample: Any, now_ns: int, *, ahead: bool = True) -> None:
        super().push(sample, now_ns, ahead=ahead)
        del self.samples[:-1]

    def tick(self, now_ns: int) -> FusedOutput | None:
        output = super().tick(now_ns)
        assert output is not None
        odometry, scan, told = (self._last.get(n) for n in ("odom", "lidar", "command"))
        pose, grid = None, None
        if isinstance(odometry, OdometrySample):
            map_from_base: Float = odometry.odom_from_base
            pose = PoseEstimate(
                odometry.stamp_ns, map_from_base, np.eye(4), np.eye(6), odometry.twist
            )
        if isinstance(scan, LidarScan):
            points = scan.points.copy()
            points[:, :3] = geometry.apply(scan.base_from_lidar, points[:, :3])
            grid = obstacle_grid(points, ObstaclesConfig())
        text = told.text if isinstance(told, Command) else ""
        go = text == GO
        target = ActionTarget(
            go=go, intent=Intent.GO_TO if go else Intent.STOP if text else Intent.NONE, text=text,
            map_from_target=MAP_FROM_TARGET if go else None, reason=None,
            expires_ns=now_ns + 2_000_000_000 if go else None,
        )  # fmt: skip
        return FusedOutput(
            scan.stamp_ns if isinstance(scan, LidarScan) else now_ns, output.objects,
            output.reliability, pose, target, grid, False,
        )  # fmt: skip


@pytest.fixture
def simulator(ros_domain: int, tmp_path: Path) -> Iterator[Children]:
    arguments = ["--ros-args", "-p", "camera_hz:=2", "-p", "image_width:=64", "-p"]
    arguments += ["image_height:=64", "-p", "speed:=8.0", "-p", "beams:=16"]
    for topic, remapped in REMAPPED.items():
        arguments += ["-r", f"{topic}:={remapped}"]
    with Children(tmp_path, {}) as children:
        children.start("sim", "mm_fusion_ros.ros.sim_node", arguments)
        yield children


def test_the_robot_drives_to_its_target_and_stops_when_told(
    simulator: Children, context: Context, run: Callable[..., Running]
) -> None:
    overrides = [Parameter("use_sim_time", value=True), Parameter("watchdog_s", value=30.0)]
    node = FusionNode(
        lambda config: Assembly(DrivingPipeline(config)),
        context=context, parameter_overrides=overrides,
    )  # fmt: skip
    run(node)
    listener = Listener(True, context=context)
    run(listener)
    mission = Mission((GO, "stop"), limit_s=60.0)
    seen = threading.Event()
    deadline = time.monotonic() + 240.0
    while mission.current is not None:
        assert time.monotonic() < deadline, mission.report()
        assert simulator.dead() is None
        drive = listener.drive()
        if drive is not None and listener.output() is not None and listener.listened_to:
            said = mission.update(drive)
            if said is not None:
                listener.say(said)
            frames, scans = listener.samples()
            if frames and scans:
                seen.set()
        time.sleep(0.02)
    assert mission.succeeded, mission.report()
    distance_m = mission.legs[0].distance_m
    assert distance_m is not None and distance_m < 0.5
    assert seen.is_set()
    # The fused picture comes back whole through the listener.
    output = listener.output()
    assert output is not None and output.pose is not None and output.obstacles is not None
    assert FusionConfig().obstacles.resolution_m == pytest.approx(output.obstacles.resolution_m)
