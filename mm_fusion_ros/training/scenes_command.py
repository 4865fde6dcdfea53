"""`mm-fusion scenes`: one's own labelled rosbag2 as scenes that `mm-fusion train` reads."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mm_fusion_ros.config import FusionConfig
from mm_fusion_ros.replay.bag import BagError, BagSource
from mm_fusion_ros.replay.command import topic_option
from mm_fusion_ros.training import cache
from mm_fusion_ros.training.labelled import Tally, read_labels, scenes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("bag", type=Path, help="rosbag2: a folder, or an .mcap or .db3 file")
    parser.add_argument(
        "labels", type=Path,
        help="JSON Lines as `mm-fusion replay` writes its answers: stamp_ns and objects with "
        "class, colour, centre, size and yaw in base_link",
    )  # fmt: skip
    parser.add_argument(
        "--cache", type=Path, default=Path("runs/own"),
        help="where the scenes go, after those that it holds",
    )  # fmt: skip
    parser.add_argument(
        "--topic", action="append", default=[], type=topic_option, metavar="NAME=TOPIC",
        help="names a source's topic instead of finding it by type; may be given again",
    )  # fmt: skip
    parser.add_argument("--base-frame", default="base_link", help="the robot's frame")


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit code."""
    labels = read_labels(args.labels)
    seed, tally = cache.first_free(args.cache), Tally()
    try:
        with BagSource(args.bag, dict(args.topic), args.base_frame) as bag:
            for remark in bag.remarks:
                print(remark)
            config = bag.config(FusionConfig())
            for scene in scenes(bag, labels, config, tally):
                cache.save(scene, cache.path_of(args.cache, seed + tally.made - 1))
    except BagError as error:
        print(f"mm-fusion scenes: {error}", file=sys.stderr)
        return 2
    for why, count in sorted(tally.skipped.items()):
        print(f"{count} left out: {why}")
    for why, count in sorted(tally.refused.items()):
        print(f"{count} messages could not be used: {why}")
    total = seed + tally.made
    print(f"{tally.made} scenes of {len(labels)} labels; {args.cache} holds {total}")
    if not tally.made:
        return 1
    print(
        f"next: mm-fusion train --cache {args.cache} --scenes {total} --validation 0 "
        "--start default --out runs/train-own"
    )
    return 0
