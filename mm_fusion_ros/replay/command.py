"""`mm-fusion replay`: a rosbag2 through the pipeline, a page and a recording out."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mm_fusion_ros import config as configuration
from mm_fusion_ros.config import ConfigError, FusionConfig
from mm_fusion_ros.faults.injection import FaultError, Injection, parse
from mm_fusion_ros.inference.backend import BackendError
from mm_fusion_ros.inference.model_folder import ModelError, ModelFolder
from mm_fusion_ros.localization.odometry import LidarOdometry
from mm_fusion_ros.perception.detector import Detector
from mm_fusion_ros.pipeline import Pipeline
from mm_fusion_ros.replay.bag import BagError, BagSource
from mm_fusion_ros.replay.report import report
from mm_fusion_ros.replay.runner import OUTPUTS, ReplayResult, Step, replay
from mm_fusion_ros.replay.scorecard import Ledger, scorecard
from mm_fusion_ros.replay.shown import rectified
from mm_fusion_ros.samples import Modality
from mm_fusion_ros.scheduling import Stopwatch
from mm_fusion_ros.sensors.rectification import Rectifier
from mm_fusion_ros.view.recording import RerunRecording
from mm_fusion_ros.view.viewer_process import ViewerError

REPORT, RECORDING = "report.html", "recording.rrd"
# Folder of the replay without the faults, which the one with them is held against.
CLEAN = "clean"
UNUSABLE = 2
# Without camera and lidar the bird's-eye view changes little: so much bag time between pictures.
SPARSE_PICTURES_S = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `mm-fusion replay`."""
    parser.add_argument("bag", type=Path, help="rosbag2 folder, or a .mcap or .db3 file")
    parser.add_argument(
        "--out", type=Path, metavar="DIR",
        help="folder for report.html, outputs.jsonl and recording.rrd (default: replay-<bag>)",
    )  # fmt: skip
    parser.add_argument(
        "--topic", action="append", default=[], metavar="NAME=TOPIC", type=topic_option,
        help="take TOPIC as the source NAME instead of finding it by type (camera=/cam/image_raw, "
        "camera_info=/cam/info, lidar=..., gps=..., odom=..., imu=..., command=...); repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--command", default="", metavar="TEXT", help="tell the robot this, 1 s after the start"
    )
    parser.add_argument(
        "--fault", action="append", default=[], metavar="FAULT", dest="faults",
        help="make samples worse (the bag is then replayed twice, without first, for the "
        "scorecard), as camera.fog:3@10s-20s: a source or modality, the fault, its "
        "severity 1 to 5, and from when to when; repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--loops", type=positive, default=1, metavar="N",
        help="replay the bag N times, the clock jumping back each time",
    )  # fmt: skip
    parser.add_argument("--config", type=Path, metavar="YAML", help="parameters (config/*.yaml)")
    parser.add_argument(
        "--model", type=Path, metavar="DIR", help="folder of weights (default: those that ship)"
    )
    parser.add_argument(
        "--base-frame", default="base_link", metavar="FRAME", help="the robot's frame in the bag"
    )
    parser.add_argument(
        "--max-frames", type=positive, metavar="N", help="stop after N fused outputs"
    )
    parser.add_argument("--no-rerun", action="store_true", help="write no Rerun recording")


def topic_option(text: str) -> tuple[str, str]:
    """NAME=TOPIC as (name, topic).

    Raises:
        argparse.ArgumentTypeError: another form.
    """
    name, equals, topic = text.partition("=")
    if not (name and equals and topic.startswith("/")):
        raise argparse.ArgumentTypeError(
            f"{text!r}: expected NAME=/topic, as camera=/cam/image_raw"
        )
    return name, topic


def positive(text: str) -> int:
    """A whole number of at least 1.

    Raises:
        argparse.ArgumentTypeError: anything else.
    """
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number of at least 1")
    return number


def run(args: argparse.Namespace) -> int:
    """Replays a bag.

    Returns:
        0; or 2 for a bag, configuration or model that cannot be used.
    """
    try:
        result, out = replayed(args)
    except (BagError, ConfigError, ModelError, BackendError, OSError, FaultError) as error:
        print(f"mm-fusion replay: {error}", file=sys.stderr)
        return UNUSABLE
    print(summary(result, out))
    return 0


def replayed(args: argparse.Namespace) -> tuple[ReplayResult, Path]:
    """Opens everything, replays, and writes the page.

    Raises:
        BagError, ConfigError, ModelError, BackendError, FaultError, OSError: something cannot be
            used.
    """
    remarks: list[str] = []
    with ExitStack() as stack:
        bag = stack.enter_context(BagSource(args.bag, dict(args.topic), args.base_frame))
        config = bag.config(configured(args), commanded=bool(args.command))
        modalities = {source.name: Modality(source.modality) for source in config.sources}
        faults = [parse(text, modalities) for text in args.faults]
        if faults:
            remarks.append(f"Faults were injected: {', '.join(map(str, faults))}.")
        for remark in bag.remarks:
            print(f"note: {remark}", file=sys.stderr)
        out = args.out or Path(f"replay-{args.bag.resolve().stem}")
        out.mkdir(parents=True, exist_ok=True)
        detector, model = load_detector(config, remarks)
        if detector is not None:
            stack.callback(detector.close)
        clean, struck = Ledger(), Ledger()
        if faults:
            replay_with(args, bag, config, detector, out / CLEAN, clean.add)
        recording = None if args.no_rerun else open_recording(out / RECORDING, config, remarks)
        if recording is not None:
            stack.callback(recording.close)
        shows = [] if recording is None else [recorder(recording)]
        shows += [struck.add] if faults else []
        result = replay_with(args, bag, config, detector, out, *shows, faults=faults)
    card = scorecard(clean, struck, faults) if faults else None
    text = report(result, remarks, model, card)
    (out / REPORT).write_text(text, encoding="utf-8", newline="\n")
    return result, out


def replay_with(
    args: argparse.Namespace,
    bag: BagSource,
    config: FusionConfig,
    detector: Detector | None,
    out: Path,
    *shows: Callable[[Step], None],
    faults: Sequence[Injection] = (),
) -> ReplayResult:
    """One replay through a pipeline of its own.

    Args:
        args: of the command line.
        bag: opened.
        config: the bag's.
        detector: the networks; None without cameras and lidars.
        out: folder for `outputs.jsonl`.
        shows: each gets every step.
        faults: that strike.

    Raises:
        BagError, OSError: see `replay`.
    """
    out.mkdir(parents=True, exist_ok=True)
    stopwatch = Stopwatch(time.perf_counter_ns)
    pipeline = Pipeline(
        config,
        detector=detector,
        stopwatch=stopwatch,
        # Inside the push, not in a thread: two replays give the same bytes.
        lidar_odometry=partial(LidarOdometry, threaded=False),
    )

    def each(step: Step) -> None:
        for show in shows:
            show(step)

    name = args.bag.name if out.name != CLEAN else f"{args.bag.name}, clean"
    with closing(pipeline), progress_bar(name) as progress:
        return replay(
            bag, config, pipeline, out, time.perf_counter_ns,
            command=args.command, faults=faults, loops=args.loops, max_ticks=args.max_frames,
            show=each,
            progress=progress, latencies=stopwatch.summary,
        )  # fmt: skip


def configured(args: argparse.Namespace) -> FusionConfig:
    """The configuration of the command line.

    Raises:
        ConfigError: the file holds something that cannot be used.
        OSError: it cannot be read.
    """
    base = FusionConfig() if args.config is None else configuration.load(args.config)
    if args.model is None:
        return base
    return replace(base, perception=replace(base.perception, model=str(args.model)))


def load_detector(config: FusionConfig, remarks: list[str]) -> tuple[Detector | None, str]:
    """The networks and their name; None where the bag has nothing to look at.

    Args:
        config: of the replay.
        remarks: gets what must be known of the weights.

    Raises:
        ModelError, BackendError: the weights cannot be used.
    """
    seeing = (Modality.CAMERA.value, Modality.LIDAR.value)
    if not any(source.modality in seeing for source in config.sources):
        return None, ""
    folder = ModelFolder.open(config.perception.model)
    manifest = folder.manifest
    training = manifest.provenance.get("training")
    remarks.append(
        f"Training of the weights: {training}. What is called an object here means nothing."
        if isinstance(training, str)
        else "The weights were trained on generated worlds; nothing of this recording was among "
        "them, so what is found here is a look at how far that carries."
    )
    return Detector(folder, config.perception), f"weights {manifest.name} {manifest.version}"


def open_recording(path: Path, config: FusionConfig, remarks: list[str]) -> RerunRecording | None:
    """A Rerun recording; None, with a remark, where Rerun is not installed."""
    names = {m: [s.name for s in config.sources if s.modality == m.value] for m in Modality}
    pictures = bool(names[Modality.CAMERA] or names[Modality.LIDAR])
    try:
        return RerunRecording(
            path, names[Modality.CAMERA],
            bird_eye_every_s=0.0 if pictures else SPARSE_PICTURES_S,
        )  # fmt: skip
    except ViewerError as error:
        remarks.append(f"No recording was written: {error}.")
        print(f"note: no recording: {error}", file=sys.stderr)
        return None


def recorder(recording: RerunRecording) -> Callable[[Step], None]:
    """What records each step of the first loop; later loops would lie on the same times."""
    rectifier = Rectifier()

    def record(step: Step) -> None:
        if step.loop == 0:
            frames = rectified(step.frames, rectifier)
            recording.log(step.output, frames, step.scans, step.fixes)

    return record


@contextmanager
def progress_bar(name: str) -> Iterator[Callable[[float, int], None] | None]:
    """A bar in the terminal; none where `rich` is not installed or nobody watches."""
    try:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
    except ImportError:
        yield None
        return
    columns: tuple[Any, ...] = (
        TextColumn("{task.description}"), BarColumn(),
        TextColumn("{task.percentage:>3.0f} %  {task.fields[ticks]} ticks"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, transient=True, disable=not sys.stdout.isatty()) as bar:
        task = bar.add_task(name, total=1.0, ticks=0)
        yield lambda fraction, ticks: bar.update(task, completed=fraction, ticks=ticks)


def summary(result: ReplayResult, out: Path) -> str:
    """A short table: what came, how far it was believed, what was to be done, where it is."""
    trace = result.trace
    lines = [
        headline(result),
        "",
        f"{'source':<12}{'received':>9}{'accepted':>9}{'trust':>7}{'share':>7}  reasons",
    ]
    for name, entry in trace.sources.items():
        counts = Counter(reason.value for reason in entry.reasons)
        reasons = ", ".join(
            f"{reason} {100.0 * n / len(entry.reasons):.0f} %"
            for reason, n in counts.most_common(3)
        )
        share = f"{np.nanmean(entry.share):.2f}" if np.isfinite(entry.share).any() else "-"
        lines.append(
            f"{name:<12}{result.received.get(name, 0):>9}"
            f"{result.counters.get(name, {}).get('accepted', 0):>9}"
            f"{np.median(entry.trust):>7.2f}{share:>7}  {reasons}"
        )
    states = Counter(trace.target_state)
    total = max(len(trace.target_state), 1)
    said = ", ".join(f"{state} {100.0 * n / total:.0f} %" for state, n in states.most_common())
    lines += ["", f"target: {said or 'no tick'}"]
    lines += [f"refused: {cause}: {detail}" for cause, detail in result.rejections.items()]
    lines += [f"{out / REPORT}", f"{out / OUTPUTS}  sha256 {result.digest[:16]}"]
    if (out / RECORDING).exists():
        lines.append(f"{out / RECORDING}  (rerun {out / RECORDING})")
    return "\n".join(lines)


def headline(result: ReplayResult) -> str:
    """How much was replayed, and how fast."""
    return (
        f"{result.path.name}: {result.duration_s:.1f} s in {result.fusion_s:.1f} s "
        f"({result.factor:.1f} x real time), {result.ticks} ticks, "
        f"{int(result.trace.by_deadline.sum())} by deadline"
    )
