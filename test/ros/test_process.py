"""The node as a process: how it ends, what it loads, and that it answers with the real pipeline."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
# What the contract gives: a clean exit within this long.
EXIT_S = 2.0


def slowdown() -> float:
    """How many times longer than alone this machine takes for work right now, at least 1."""
    wall, own = time.monotonic(), time.process_time()
    while time.process_time() - own < 0.2:
        pass
    return max(1.0, (time.monotonic() - wall) / 0.2)


class Process:
    """A child process whose output is read line by line."""

    def __init__(self, *arguments: str) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True,
        )  # fmt: skip
        self.lines: list[str] = []

    def read_until(self, words: str) -> str:
        assert self.popen.stdout is not None
        for line in self.popen.stdout:
            self.lines.append(line)
            if words in line:
                return line
        pytest.fail(f"ended without {words!r}:\n{''.join(self.lines[-30:])}")

    def end(self, sign: signal.Signals) -> tuple[int, float]:
        """Exit code, and how long it took [s], as on a machine that does nothing else."""
        share = slowdown()
        began = time.monotonic()
        self.popen.send_signal(sign)
        output, _ = self.popen.communicate(timeout=30.0)
        self.lines.append(output)
        return self.popen.returncode, (time.monotonic() - began) / share


@pytest.fixture
def processes(ros_domain: int) -> Iterator[list[Process]]:
    started: list[Process] = []
    yield started
    for process in started:
        if process.popen.poll() is None:
            process.popen.kill()
            process.popen.communicate()


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("executor", ["events", "single"])
def test_a_signal_in_the_middle_of_inference_ends_the_node_cleanly_within_two_seconds(
    processes: list[Process], sign: signal.Signals, executor: str
) -> None:
    process = Process(
        str(HERE / "node_process.py"), "0.4", "--ros-args", "-p", f"executor:={executor}"
    )
    processes.append(process)
    process.read_until("ticking")
    code, seconds = process.end(sign)
    assert code == 0, "".join(process.lines[-30:])
    assert seconds < EXIT_S
    assert "Traceback" not in "".join(process.lines)


def test_without_a_model_the_process_says_which_file_is_missing_and_lives(
    processes: list[Process], tmp_path: Path
) -> None:
    process = Process(
        "-m", "mm_fusion_ros.ros.fusion_node", "--ros-args", "-p",
        f"perception.model:={tmp_path}",
    )  # fmt: skip
    processes.append(process)
    line = process.read_until("not configured")
    assert "manifest.json" in line and str(tmp_path) in line
    assert process.popen.poll() is None
    code, seconds = process.end(signal.SIGINT)
    assert (code, seconds < EXIT_S) == (0, True)


REAL = """
import sys, time
import numpy as np
import rclpy
from rclpy.parameter import Parameter
from mm_fusion_ros.ros.execution import executor_of, spin
from mm_fusion_ros.ros.fusion_node import FusionNode
from mm_fusion_ros.ros import answers, drivers, qos
from mm_fusion_ros.samples import CameraFrame, LidarScan
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection3DArray

rclpy.init()
node = FusionNode(parameter_overrides=[Parameter("perception.model", value=sys.argv[1])])
robot = rclpy.create_node("robot")
publishers = {
    topic: robot.create_publisher(kind, topic, qos.sensor_data())
    for topic, kind in (("lidar/points", PointCloud2), ("camera/image_raw", Image),
                        ("camera/camera_info", CameraInfo))
}
static = robot.create_publisher(TFMessage, "/tf_static", qos.latched())
static.publish(answers.tf_message(
    answers.transform(np.eye(4), 0, "base_link", "lidar"),
    answers.transform(np.eye(4), 0, "base_link", "camera_optical"),
))
heard = []
robot.create_subscription(Detection3DArray, "fusion/objects", heard.append, qos.reliable())
K = np.array([[200.0, 0, 191.5], [0, 200.0, 143.5], [0, 0, 1]])
rng = np.random.default_rng(0)
image = rng.integers(0, 255, (288, 384, 3), dtype=np.uint8)
points = rng.uniform(-20, 20, (20000, 4)).astype(np.float32)

def send():
    now = robot.get_clock().now().nanoseconds
    frame = CameraFrame(now, "camera_optical", "camera", image, K, np.eye(4))
    publishers["camera/camera_info"].publish(drivers.camera_info(frame))
    publishers["camera/image_raw"].publish(drivers.image(frame))
    publishers["lidar/points"].publish(
        drivers.cloud(LidarScan(now, "lidar", "lidar", np.clip(points, -20, 20), np.eye(4))))

executor = executor_of("events")
executor.add_node(node)
executor.add_node(robot)
robot.create_timer(0.1, send)
began = time.monotonic()
while len(heard) < 5 and time.monotonic() - began < 60:
    executor.spin_once(0.2)
node.close()
with open("/proc/self/status") as status:
    kilobytes = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
loaded = sorted(name for name in ("torch", "open3d", "rerun", "matplotlib") if name in sys.modules)
print("result", len(heard) >= 5, kilobytes // 1024, loaded, flush=True)
"""


def test_a_running_node_loads_neither_torch_nor_open3d_and_stays_small(
    processes: list[Process], untrained_model: Any
) -> None:
    process = Process("-c", REAL, str(untrained_model))
    processes.append(process)
    _, answered, megabytes, loaded = process.read_until("result").split(maxsplit=3)
    assert answered == "True", "".join(process.lines)
    assert loaded.strip() == "[]"
    assert int(megabytes) < 500
    process.popen.communicate(timeout=30.0)


BROKEN = """
import sys
from mm_fusion_ros.ros import sim_node

def broken(self):
    raise RuntimeError("the renderer broke")

sim_node.Simulation.step = broken
sim_node.main(sys.argv)
"""


def test_a_simulator_that_breaks_says_why_and_ends_as_failed(processes: list[Process]) -> None:
    pytest.importorskip("open3d", reason="open3d is absent; `make setup` installs it")
    process = Process("-c", BROKEN)
    processes.append(process)
    process.read_until("the renderer broke")
    process.popen.communicate(timeout=60.0)
    assert process.popen.returncode == 1
