"""The live bench: fusion node, driver and listener, three processes over real DDS.

A cloud's stamp is the moment before it is published, and the objects carry the stamp of their
cloud. So the latency is from the whole cloud ready in the driver to the objects in a listener's
callback: both ways through DDS are in it.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from vision_msgs.msg import Detection3DArray

from mm_fusion_ros.evaluation.bench_samples import LIDAR
from mm_fusion_ros.evaluation.latency import SECOND_NS, Timing
from mm_fusion_ros.ros import answers, qos
from mm_fusion_ros.ros.execution import executor_of
from mm_fusion_ros.ros.network import ros_environment

NODE = "/fusion"
START_LIMIT_S, STOP_LIMIT_S = 60.0, 10.0
# Long enough for the last answer, and for diagnostics that know of it.
AFTER_S = 2.5
WARM_UP_S = 3.0
POLL_S = 0.02
ASK_AGAIN_S = 0.1


class BenchError(RuntimeError):
    """The bench could not be run."""


class Listener:
    """Hears the node's answers, and asks for its state."""

    def __init__(self, domain: int) -> None:
        self._context = Context()
        self._context.init(args=[], domain_id=domain)
        self.node = Node("bench_listener", context=self._context)
        self.received_ns: dict[int, int] = {}
        self.diagnostics: dict[str, dict[str, str]] = {}
        self._state = self.node.create_client(GetState, f"{NODE}/get_state")
        self.node.create_subscription(
            Detection3DArray, f"{NODE}/objects", self._on_objects, qos.reliable(50)
        )
        self.node.create_subscription(
            DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.reliable(10)
        )
        self._executor = executor_of("single", self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def active(self) -> bool:
        """Whether the node is there and active."""
        if not self._state.service_is_ready():
            return False
        future = self._state.call_async(GetState.Request())
        # An answer is lost while its way back is not set up yet: then it is asked for again.
        limit_s = time.monotonic() + ASK_AGAIN_S
        while not future.done() and time.monotonic() < limit_s:
            time.sleep(POLL_S / 10)
        result = future.result() if future.done() else None
        return result is not None and result.current_state.id == State.PRIMARY_STATE_ACTIVE

    def close(self) -> None:
        """Ends its thread."""
        self._context.try_shutdown()
        self._thread.join(2.0)

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            return

    def _on_objects(self, message: Detection3DArray) -> None:
        received_ns = time.time_ns()
        stamp = message.header.stamp
        self.received_ns.setdefault(stamp.sec * SECOND_NS + stamp.nanosec, received_ns)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self.diagnostics[status.name] = answers.values_of(status)


class Subject:
    """The fusion node in a process of its own."""

    def __init__(self, listener: Listener, model: str, environment: dict[str, str]) -> None:
        """Starts the node and waits until it is active.

        Raises:
            BenchError: it ended, or is not active in time.
        """
        parameters = ["-p", f"perception.model:={model}"] if model else []
        command = [sys.executable, "-m", "mm_fusion_ros.ros.fusion_node", "--ros-args", *parameters]
        began_s = time.monotonic()
        self._process = subprocess.Popen(command, env=environment)
        while not listener.active():
            if self._process.poll() is not None:
                raise BenchError(f"the fusion node ended with code {self._process.returncode}")
            if time.monotonic() - began_s > START_LIMIT_S:
                self.stop()
                raise BenchError(f"the fusion node was not active within {START_LIMIT_S:g} s")
            time.sleep(POLL_S)
        self.start_s = time.monotonic() - began_s

    def memory_mb(self) -> tuple[float, float]:
        """Resident memory now and at its highest [MB]."""
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="utf-8")
        lines = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        now, highest = (int(lines[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))
        return now, highest

    def worked_s(self) -> float:
        """Processor time so far, all threads [s]."""
        content = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="utf-8")
        # The name in brackets may hold spaces; user and system time are fields 14 and 15.
        fields = content.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> float:
        """Ends the node as Ctrl-C does; returns how long it took [s]."""
        began_s = time.monotonic()
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        return time.monotonic() - began_s


def measure(
    samples: Path, scratch: Path, seconds: float, model: str, with_odometry: bool
) -> dict[str, Any]:
    """Runs the bench once and returns its figures."""
    domain = 1 + os.getpid() % 100
    os.environ.update(ros_environment(domain))
    environment = dict(os.environ)
    listener = Listener(domain)
    subject: Subject | None = None
    try:
        subject = Subject(listener, model, environment)
        figures: dict[str, Any] = {"start_s": subject.start_s}
        if seconds > 0:
            sent_path = scratch / "sent.json"
            command = [sys.executable, "-m", "mm_fusion_ros.ros.bench_driver", str(samples)]
            command += [str(sent_path), "--seconds", str(WARM_UP_S + seconds)]
            command += [] if with_odometry else ["--no-odometry"]
            worked_s, began_s = subject.worked_s(), time.monotonic()
            subprocess.run(command, env=environment, check=True)
            time.sleep(AFTER_S)
            cores = (subject.worked_s() - worked_s) / (time.monotonic() - began_s)
            sent = json.loads(sent_path.read_text(encoding="utf-8"))
            figures |= answered(sent, listener.received_ns)
            figures |= {"cores": cores, "diagnostics": listener.diagnostics}
        figures["memory_mb"], figures["highest_memory_mb"] = subject.memory_mb()
        figures["stop_s"] = subject.stop()
        return figures
    finally:
        if subject is not None:
            subject.stop()
        listener.close()


def answered(sent: dict[str, Any], received_ns: dict[int, int]) -> dict[str, Any]:
    """Latency and losses of the clouds sent after the warm-up.

    Args:
        sent: what the driver wrote down.
        received_ns: stamp of each answer to when it was received, both ROS time [ns].
    """
    clouds = sent["sent"][LIDAR]
    from_ns = clouds[0] + round(WARM_UP_S * SECOND_NS) if clouds else 0
    counted = [stamp_ns for stamp_ns in clouds if stamp_ns >= from_ns]
    latencies = [
        received_ns[stamp_ns] - stamp_ns for stamp_ns in counted if stamp_ns in received_ns
    ]
    latency, late = Timing.of(latencies), Timing.of(sent["late_ns"])
    return {
        "latency": vars(latency),
        "sweeps": len(counted),
        "answers": len(latencies),
        "sent": {name: len(stamps) for name, stamps in sent["sent"].items()},
        "driver_late": vars(late),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Measures and writes the figures as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("samples", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=float, required=True, help="0: start and stop only")
    parser.add_argument("--model", default="")
    parser.add_argument("--no-odometry", action="store_true")
    args = parser.parse_args(argv)
    try:
        figures = measure(
            args.samples, args.out.parent, args.seconds, args.model, not args.no_odometry
        )
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    args.out.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
