"""`mm-fusion sim`: drives the simulated robot and writes what its sensors saw as a rosbag2."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from mm_fusion_ros import geometry
from mm_fusion_ros.samples import Float, LidarScan
from mm_fusion_ros.sim.bag_writer import STORAGES, BagWriter
from mm_fusion_ros.sim.demo_world import demo_world
from mm_fusion_ros.sim.lighting import LIGHTS
from mm_fusion_ros.sim.simulation import Simulation, SimulationOptions, Truth, demo_rig
from mm_fusion_ros.sim.world import World, WorldObject, WorldOptions, generate

STAND_OFF_M = 1.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("--out", type=Path, required=True, help="folder of the new bag")
    parser.add_argument("--seconds", type=float, default=10.0, help="length [s]")
    parser.add_argument("--seed", type=int, default=1, help="of the world and all noise")
    parser.add_argument("--storage", choices=sorted(STORAGES), default="mcap")
    parser.add_argument("--world", choices=("demo", "yard", "street"), default="demo")
    parser.add_argument("--lighting", choices=LIGHTS, default="sun")
    parser.add_argument(
        "--say", default="go to the red box", metavar="TEXT",
        help="what the robot is told after a second; it drives to the object of that colour and "
        "class, which the simulator knows",
    )  # fmt: skip
    parser.add_argument("--camera-hz", type=int, default=10)
    parser.add_argument("--lidar-hz", type=int, default=10)
    parser.add_argument("--beams", type=int, default=32, help="of the lidar")
    parser.add_argument("--columns", type=int, default=720, help="firings a turn of the lidar")
    parser.add_argument(
        "--image-size", default="384x288", metavar="WxH", help="of the camera [pixels]"
    )
    parser.add_argument(
        "--labels", type=Path, metavar="FILE",
        help="also write what was where at each sweep, for `mm-fusion scenes`",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Writes the bag; returns the exit code."""
    fault = _wrong_value(args)
    if fault:
        print(f"mm-fusion sim: {fault}", file=sys.stderr)
        return 2
    width, height = (int(n) for n in args.image_size.split("x"))
    simulation = Simulation(
        _world(args.world, args.seed, args.lighting),
        demo_rig((width, height), args.beams, args.columns),
        seed=args.seed,
        options=SimulationOptions(camera_hz=args.camera_hz, lidar_hz=args.lidar_hz),
    )
    try:
        writer = BagWriter(args.out, simulation.rig, simulation.base_from_antenna, args.storage)
    except FileExistsError as error:
        print(f"mm-fusion sim: {error}", file=sys.stderr)
        return 2
    labels: list[str] = []
    with writer:
        told = False
        while simulation.time_s < args.seconds:
            if not told and simulation.time_s >= 1.0:
                told = True
                _tell(simulation, args.say)
            samples = simulation.step()
            for sample in samples:
                writer.write(sample)
            if args.labels and any(isinstance(sample, LidarScan) for sample in samples):
                labels.append(label_line(simulation.truth()))
            _progress(simulation.time_s / args.seconds)
    if args.labels:
        args.labels.write_text("".join(labels), encoding="utf-8")
    size = sum(part.stat().st_size for part in args.out.iterdir())
    if sys.stderr.isatty():
        print(file=sys.stderr)
    print(f"{args.out}: {simulation.time_s:.1f} s, {size / 1e6:.1f} MB")
    for topic, count in sorted(writer.counts.items()):
        print(f"  {topic:34s} {count}")
    return 0


def label_line(truth: Truth) -> str:
    """The objects of an instant as a line of JSON."""
    objects = [
        {
            "class": label.class_name,
            "colour": label.colour,
            "centre": [round(float(value), 4) for value in label.centre],
            "size": [round(float(value), 4) for value in label.size],
            "yaw": round(float(label.yaw), 5),
        }
        for label in truth.labels
    ]
    return json.dumps({"stamp_ns": truth.stamp_ns, "objects": objects}) + "\n"


def find_named(world: World, text: str) -> WorldObject | None:
    """The first object whose colour and class are both words of a text; None without one."""
    words = set(text.lower().replace(",", " ").split())
    for thing in world.objects:
        if {thing.colour, thing.class_name} <= words:
            return thing
    return None


def stand_off(thing: WorldObject, map_from_base: Float, time_s: float) -> Float:
    """The pose (4, 4) in the map that looks at an object from `STAND_OFF_M` before its edge."""
    centre = thing.centre_at(time_s)
    towards = centre[:2] - map_from_base[:2, 3]
    away = float(np.hypot(*towards))
    back = float(np.hypot(thing.size[0], thing.size[1])) / 2 + STAND_OFF_M
    place = centre[:2] - towards / max(away, 1e-6) * back
    return geometry.planar(
        float(place[0]), float(place[1]), float(np.arctan2(towards[1], towards[0]))
    )


def _tell(simulation: Simulation, text: str) -> None:
    if not text:
        return
    simulation.command(text)
    thing = find_named(simulation.world, text)
    if thing is not None:
        place = stand_off(thing, simulation.state.map_from_base, simulation.time_s)
        simulation.set_target(place)


def _world(name: str, seed: int, lighting: str) -> World:
    if name == "demo":
        return demo_world(seed, lighting)
    return generate(seed, WorldOptions(kind=name, lighting=lighting))


def _wrong_value(args: argparse.Namespace) -> str:
    parts = args.image_size.split("x")
    if len(parts) != 2 or not all(part.isdecimal() and int(part) >= 32 for part in parts):
        return f"--image-size {args.image_size!r}: expected WIDTHxHEIGHT, each at least 32"
    limits = {
        "seconds": (0.1, 3600.0), "camera_hz": (0, 60), "lidar_hz": (1, 20), "beams": (2, 128),
        "columns": (90, 4096),
    }  # fmt: skip
    for name, (low, high) in limits.items():
        value = getattr(args, name)
        if not low <= value <= high:
            return f"--{name.replace('_', '-')} {value}: allowed is {low} to {high}"
    if args.seed < 0:
        return f"--seed {args.seed}: expected 0 or more"
    return ""


def _progress(share: float) -> None:
    if sys.stderr.isatty():
        filled = round(30 * min(share, 1.0))
        bar = "#" * filled + "." * (30 - filled)
        print(f"\r[{bar}] {100 * share:3.0f} %", end="", file=sys.stderr, flush=True)
