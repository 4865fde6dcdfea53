"""`mm-fusion demo`: simulator, fusion node and a robot that drives to what it is told, over ROS 2.

With a terminal it is talked to; without one, or with `--command`, it carries out a script and its
exit code says whether the robot did.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import rclpy
from rclpy.context import Context
from rich.live import Live

from mm_fusion_ros.ros import terminal
from mm_fusion_ros.ros.children import Child, Children, tail
from mm_fusion_ros.ros.execution import executor_of, spin
from mm_fusion_ros.ros.listener import Listener
from mm_fusion_ros.ros.network import ros_environment
from mm_fusion_ros.ros.places import config_file
from mm_fusion_ros.sim.lighting import LIGHTS
from mm_fusion_ros.sim.mission import Mission

if TYPE_CHECKING:
    from mm_fusion_ros.view.recording import RerunRecording

SCRIPT = ("go to the red box", "go to the blue ball", "stop")
READY_S = 60.0
# Real time without any simulated time after which the simulator is taken to be stuck.
STUCK_S = 60.0
TERMINATED = 128 + int(signal.SIGTERM)
REDRAW_S = 0.2
RECORD_S = 0.2
LINE_S = 2.0
REMAPPED = {
    "target": "fusion/target",
    "target_state": "fusion/target_state",
    "obstacles": "fusion/obstacles",
    "believed_odometry": "fusion/odometry",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `mm-fusion demo`."""
    parser.add_argument(
        "--command", action="append", default=[], metavar="TEXT",
        help="carry out this command and end; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--seconds", type=float, default=60.0, metavar="N",
        help="simulated time allowed for each command of a script (default 60)",
    )  # fmt: skip
    parser.add_argument(
        "--view", choices=("auto", "window", "page", "file", "none"), default="auto",
        help="Rerun's window, a page on loopback, or a recording; auto takes what works",
    )  # fmt: skip
    parser.add_argument(
        "--record", type=Path, default=None, metavar="FILE", help="where a recording is written"
    )
    parser.add_argument("--model", default="", metavar="DIR", help="model folder")
    parser.add_argument("--speed", type=float, default=1.0, help="simulated seconds a second")
    parser.add_argument("--seed", type=int, default=1, help="of the simulated world and its noise")
    parser.add_argument("--lighting", choices=LIGHTS, default="sun", help="of the world")
    parser.add_argument(
        "--fault", action="append", default=[], metavar="FAULT",
        help="strikes a sensor, as camera.black@20s-30s of simulated time; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--domain", type=int, default=None, help="ROS domain (default: one of the demo's own)"
    )


def run(args: argparse.Namespace) -> int:
    """Runs the demo; 0 when the script was carried out, or the user quit."""
    scripted = bool(args.command) or not (sys.stdin.isatty() and sys.stdout.isatty())
    domain = 1 + os.getpid() % 100 if args.domain is None else args.domain
    environment = ros_environment(domain)
    # This process is a part of it; set before anything of ROS starts.
    os.environ.update(environment)
    # Python would end here and now, and leave the children behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    logs = Path(tempfile.mkdtemp(prefix="mm_fusion_demo_"))
    # A terminated demo unwinds like an interrupted one, and takes its children along.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with ExitStack() as stack:
        children = stack.enter_context(Children(logs, environment))
        children.start("sim", "mm_fusion_ros.ros.sim_node", sim_arguments(args))
        children.start("fusion", "mm_fusion_ros.ros.fusion_node", fusion_arguments(args))
        listener = stack.enter_context(listening(sensors=args.view != "none"))
        # While the children start; it takes as long as they do.
        recording = open_view(args, scripted, logs)
        if recording is not None:
            stack.callback(recording.close)
        if not wait_until_ready(listener, children):
            return 1
        keep = recorder(listener, recording)
        if scripted:
            return run_script(args, listener, children, keep)
        return run_terminal(listener, children, keep, recording)


def sim_arguments(args: argparse.Namespace) -> list[str]:
    """Command line of the simulator's process."""
    arguments = ["--ros-args"]
    for topic, remapped in REMAPPED.items():
        arguments += ["-r", f"{topic}:={remapped}"]
    for name in ("speed", "seed", "lighting"):
        arguments += ["-p", f"{name}:={getattr(args, name)}"]
    if args.fault:
        arguments += ["-p", f"faults:='{' '.join(args.fault)}'"]
    return arguments


def fusion_arguments(args: argparse.Namespace) -> list[str]:
    """Command line of the fusion's process."""
    # The watchdog runs on real time, and the simulation may be slower than that.
    arguments = ["--ros-args", "-p", "use_sim_time:=true", "-p", "watchdog_s:=5.0"]
    arguments += ["-p", f"config:={config_file('sim.yaml')}"]
    if args.model:
        arguments += ["-p", f"perception.model:={args.model}"]
    return arguments


@contextmanager
def listening(sensors: bool) -> Iterator[Listener]:
    """A listener that spins in a thread."""
    context = Context()
    rclpy.init(args=[], context=context)
    listener = Listener(sensors, context=context)
    thread = threading.Thread(
        target=spin, args=(listener, executor_of("auto", context)), name="listener", daemon=True
    )
    thread.start()
    try:
        yield listener
    finally:
        context.try_shutdown()
        thread.join(2.0)


def wait_until_ready(listener: Listener, children: Children) -> bool:
    """Waits for the first answer; says why when it does not come."""
    began_s = time.monotonic()
    while time.monotonic() - began_s < READY_S:
        if listener.output() is not None and listener.drive() and listener.listened_to:
            print(f"ready after {time.monotonic() - began_s:.1f} s", flush=True)
            return True
        dead = children.dead()
        if dead is not None:
            print(explain(dead), file=sys.stderr)
            return False
        if "not configured" in listener.health().message:
            print(f"fusion node: {listener.health().message}", file=sys.stderr)
            return False
        time.sleep(0.05)
    print(f"no answer within {READY_S:.0f} s: {listener.health().message}", file=sys.stderr)
    return False


def explain(dead: Child) -> str:
    """Why a child ended, as far as its log says."""
    code = dead.process.returncode
    return f"the {dead.name} process ended with code {code}; {dead.log} says:\n{tail(dead.log)}"


def open_view(args: argparse.Namespace, scripted: bool, logs: Path) -> RerunRecording | None:
    """The first of window, page and file that works, or what was asked for."""
    from mm_fusion_ros.view.recording import RerunRecording
    from mm_fusion_ros.view.viewer_process import ViewerError

    display = bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    file = str(args.record or logs / "demo.rrd")
    wanted = {"window": ["spawn"], "page": ["serve"], "file": [file], "none": []}.get(args.view)
    if wanted is None:
        live = [] if scripted else [*(["spawn"] if display else []), "serve"]
        wanted = [*live, file]
    for destination in wanted:
        try:
            recording = RerunRecording(destination)
        except (ViewerError, OSError) as error:
            print(f"view: {error}", file=sys.stderr)
            continue
        print(f"view: {recording.page_url or destination}", flush=True)
        return recording
    return None


def recorder(listener: Listener, recording: RerunRecording | None) -> Callable[[], None]:
    """A function that records the last answer, at most a few times a second."""
    last_s, last_ns = 0.0, -1

    def keep() -> None:
        nonlocal last_s, last_ns
        output = listener.output()
        if recording is None or output is None or output.stamp_ns == last_ns:
            return
        if time.monotonic() - last_s >= RECORD_S:
            last_s, last_ns = time.monotonic(), output.stamp_ns
            recording.log(output, *listener.samples())

    return keep


def run_script(
    args: argparse.Namespace, listener: Listener, children: Children, keep: Callable[[], None]
) -> int:
    """Carries out the commands; 0 when the robot did all of them and touched nothing."""
    mission = Mission(tuple(args.command) or SCRIPT, args.seconds)
    line_s, moved_s, time_s = 0.0, time.monotonic(), -1.0
    while mission.current is not None:
        drive = listener.drive()
        dead = children.dead()
        if dead is not None or drive is None:
            print("the simulator is gone" if dead is None else explain(dead), file=sys.stderr)
            return 1
        if drive.time_s != time_s:
            moved_s, time_s = time.monotonic(), drive.time_s
        elif time.monotonic() - moved_s > STUCK_S:
            print(f"simulated time stands still at {time_s:.1f} s", file=sys.stderr)
            return 1
        said = mission.update(drive)
        if said is not None:
            print(f'saying "{said}"', flush=True)
            listener.say(said)
        if time.monotonic() - line_s >= LINE_S:
            line_s = time.monotonic()
            line = terminal.plain_line(
                listener.output(), drive, listener.health(), listener.pace()
            )  # fmt: skip
            print(line, flush=True)
        keep()
        time.sleep(0.05)
    print("\n".join(mission.report()))
    return 0 if mission.succeeded else 1


def run_terminal(
    listener: Listener,
    children: Children,
    keep: Callable[[], None],
    recording: RerunRecording | None,
) -> int:
    """Shows the panel and takes commands until "quit"."""
    editor = terminal.LineEditor()
    where = "" if recording is None or not recording.page_url else f"view: {recording.page_url}"
    with terminal.keyboard(), Live(refresh_per_second=8) as live:
        while True:
            for line in editor.feed(terminal.typed_within(REDRAW_S)):
                if line.lower() in ("quit", "exit"):
                    return 0
                listener.say(line)
            dead = children.dead()
            if dead is not None:
                live.stop()
                print(explain(dead), file=sys.stderr)
                return 1
            keep()
            shown = listener.output(), listener.drive(), listener.health(), listener.pace()
            live.update(terminal.panel(*shown, editor.typed, where))
