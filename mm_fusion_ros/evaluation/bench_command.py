"""`mm-fusion bench`: latency, drops, memory and start, with the limits they are held to."""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mm_fusion_ros.config import FusionConfig, PerceptionConfig
from mm_fusion_ros.evaluation import bench_samples
from mm_fusion_ros.evaluation.latency import bench_pipeline, bench_synchronizer
from mm_fusion_ros.evaluation.machine import described, machine, speed
from mm_fusion_ros.sync.tick import Outcome, Verdict

PARTS = ("pipeline", "live", "sync", "startup")
STARTS = 5
# Counted by the node, but nothing lost: a camera is faster than the ticks, and sources that do not
# exist here are missed at every tick.
HARMLESS = frozenset(
    fate.value
    for fate in (
        Verdict.ACCEPTED, Outcome.EMITTED, Outcome.PASSED_OVER, Outcome.MISSED,
        Outcome.BY_ANCHOR, Outcome.BY_DEADLINE,
    )
)  # fmt: skip


@dataclass(frozen=True)
class Line:
    """One figure and the limit it is held to.

    Attributes:
        name: what was measured.
        value: in `unit`.
        limit: the most it may be; None where there is no limit.
    """

    name: str
    value: float
    unit: str
    limit: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the limit is kept; None without one. What was not measured keeps none."""
        return None if self.limit is None else bool(self.value <= self.limit)

    def __str__(self) -> str:
        value = f"{self.value:.3f}" if abs(self.value) < 10 else f"{self.value:.1f}"
        text = f"{self.name:52}{value:>12} {self.unit:6}"
        if self.limit is None:
            return text.rstrip()
        ratio = self.value / self.limit if self.limit else math.inf if self.value else 0.0
        verdict = "kept" if self.met else "NOT kept"
        return f"{text} limit {self.limit:g} ({verdict}, ratio {ratio:.2f})"


@dataclass(frozen=True)
class Bench:
    """Figures of one part, and all that stands behind them."""

    lines: list[Line]
    details: Mapping[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what `run` takes."""
    parser.add_argument(
        "part", nargs="?", choices=(*PARTS, "all"), default="all",
        help="pipeline: in one process, the work alone; live: the node over DDS, with drops and "
        "memory; sync: the synchronizer; startup: until the node is active",
    )  # fmt: skip
    parser.add_argument("--model", default="", help="model folder (default: the one that ships)")
    parser.add_argument("--seconds", type=float, default=30.0, help="measured, of each part")
    parser.add_argument("--no-odometry", action="store_true", help="live: camera and lidar only")
    parser.add_argument("--json", type=Path, default=None, help="also writes the figures here")


def run(args: argparse.Namespace) -> int:
    """Measures, prints a table; 0 when every limit is kept, 1 when not."""
    parts: dict[str, Callable[[argparse.Namespace], Bench]] = {
        "pipeline": run_pipeline, "live": run_live, "sync": run_sync, "startup": run_startup,
    }  # fmt: skip
    facts = machine() | {"gflops_now": f"{speed(time.perf_counter_ns):.0f}"}
    results: dict[str, Bench] = {}
    print(f"machine: {described(facts)}")
    print(f"its speed just now: {facts['gflops_now']} GFLOP/s (products of matrices, float32)")
    for name in PARTS if args.part == "all" else (args.part,):
        results[name] = parts[name](args)
        print(f"\n{name}")
        for line in results[name].lines:
            print(f"  {line}")
    if args.json is not None:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(plain(facts, results), indent=1) + "\n", encoding="utf-8")
    kept = [line.met for bench in results.values() for line in bench.lines]
    return 1 if False in kept else 0


def run_pipeline(args: argparse.Namespace) -> Bench:
    """The pipeline in one thread: the work of each stage, with nothing beside it."""
    from mm_fusion_ros.inference.model_folder import ModelFolder
    from mm_fusion_ros.perception.detector import Detector
    from mm_fusion_ros.pipeline import Pipeline
    from mm_fusion_ros.scheduling import Stopwatch

    config = FusionConfig()
    stopwatch = Stopwatch(time.perf_counter_ns)
    perception = PerceptionConfig(model=args.model)
    detector = Detector(ModelFolder.open(args.model), perception)
    pipeline = Pipeline(config, detector=detector, stopwatch=stopwatch)
    figures = bench_pipeline(pipeline, bench_samples.render(), args.seconds, time.perf_counter_ns)
    lines = [
        Line("scan in -> objects out, work alone, median", figures.latency.median_ms, "ms"),
        Line("scan in -> objects out, work alone, 99th percentile", figures.latency.p99_ms, "ms"),
        Line("sweeps without an answer", figures.sweeps - figures.answers, "", 0.0),
        Line("work / stream time, one thread", figures.load, "", 1.0),
    ]
    stages = stopwatch.summary()
    lines += [
        Line(f"stage {name}, median", stage["median_ms"], "ms") for name, stage in stages.items()
    ]
    details = {
        "latency": vars(figures.latency), "sweeps": figures.sweeps, "answers": figures.answers,
        "counters": {name: dict(counts) for name, counts in figures.counters.items()},
        "stages": {name: dict(stage) for name, stage in stages.items()},
        "threads": perception.threads,
    }  # fmt: skip
    return Bench(lines, details)


def run_live(args: argparse.Namespace) -> Bench:
    """The node over DDS, fed at 30 and 10 Hz by another process."""
    with tempfile.TemporaryDirectory() as scratch:
        samples = Path(scratch) / "samples.npz"
        bench_samples.save(bench_samples.render(), samples)
        figures = live_figures(samples, args.seconds, args.model, args.no_odometry)
    lines = [
        Line("cloud published -> objects received, median", figures["latency"]["median_ms"],
             "ms", 60.0),
        Line("cloud published -> objects received, 99th percentile",
             figures["latency"]["p99_ms"], "ms", 120.0),
        Line("clouds without an answer", figures["sweeps"] - figures["answers"], "", 0.0),
        Line("messages dropped by the node", sum(drops(figures["diagnostics"]).values()), "", 0.0),
        Line("messages lost before the node", sum(unheard(figures).values()), "", 0.0),
        Line("resident memory", figures["memory_mb"], "MB", 500.0),
        Line("resident memory, highest", figures["highest_memory_mb"], "MB", 500.0),
        Line("start until active", figures["start_s"], "s", 3.0),
        Line("end after SIGINT", figures["stop_s"], "s", 2.0),
        Line("processor cores used by the node", figures["cores"], ""),
        Line("driver behind its plan, 99th percentile", figures["driver_late"]["p99_ms"], "ms"),
    ]  # fmt: skip
    lines += [
        Line(f"stage {name}, median", float(value), "ms")
        for name, value in stage_medians(figures["diagnostics"]).items()
    ]
    return Bench(lines, figures)


def run_sync(_args: argparse.Namespace) -> Bench:
    """The synchronizer alone."""
    config = FusionConfig()
    push, tick = bench_synchronizer(config.sources, config.sync, time.perf_counter_ns)
    lines = [
        Line("push, median", push.median_ms * 1e3, "us", 20.0),
        Line("push, 99th percentile", push.p99_ms * 1e3, "us"),
        Line("tick, median", tick.median_ms * 1e3, "us"),
    ]
    return Bench(lines, {"push": vars(push), "tick": vars(tick)})


def run_startup(args: argparse.Namespace) -> Bench:
    """The node's start, several times: from the process begun until active."""
    starts, stops, memory = [], [], []
    for _ in range(STARTS):
        figures = live_figures(Path("unused"), 0.0, args.model, args.no_odometry)
        starts.append(figures["start_s"])
        stops.append(figures["stop_s"])
        memory.append(figures["memory_mb"])
    lines = [
        Line(f"start until active, median of {STARTS}", statistics.median(starts), "s", 3.0),
        Line(f"start until active, slowest of {STARTS}", max(starts), "s"),
        Line(f"end after SIGINT, slowest of {STARTS}", max(stops), "s", 2.0),
        Line("resident memory, nothing received", statistics.median(memory), "MB"),
    ]
    return Bench(lines, {"start_s": starts, "stop_s": stops, "memory_mb": memory})


def live_figures(samples: Path, seconds: float, model: str, no_odometry: bool) -> dict[str, Any]:
    """Figures of `ros.bench_node`, run in a process of its own: no ROS comes in here.

    Raises:
        RuntimeError: it failed; what it said is on the terminal.
    """
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "figures.json"
        command = [sys.executable, "-m", "mm_fusion_ros.ros.bench_node", str(samples), str(out)]
        command += ["--seconds", str(seconds)]
        command += ["--model", str(Path(model).resolve())] if model else []
        command += ["--no-odometry"] if no_odometry else []
        if subprocess.run(command, check=False).returncode != 0 or not out.exists():
            raise RuntimeError("the live bench failed; see above, and try `mm-fusion doctor`")
        figures: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return figures


def drops(diagnostics: Mapping[str, Mapping[str, str]]) -> dict[str, int]:
    """What the node lost, by "source reason", from its last diagnostics."""
    lost = {}
    for status, values in diagnostics.items():
        for key, value in values.items():
            reason = key.removeprefix("count.")
            if reason != key and reason not in HARMLESS and int(value):
                lost[f"{status.rpartition(' ')[2]} {reason}"] = int(value)
    return lost


def unheard(figures: Mapping[str, Any]) -> dict[str, int]:
    """Messages that were sent and never reached the node, by source."""
    # Outcomes are what became of messages that were counted as accepted before.
    outcomes = {f"count.{outcome.value}" for outcome in Outcome}
    taken = {
        status.rpartition(" ")[2]: sum(
            int(value)
            for key, value in values.items()
            if key.startswith("count.") and key not in outcomes
        )
        for status, values in figures["diagnostics"].items()
    }
    return {name: max(0, sent - taken.get(name, 0)) for name, sent in figures["sent"].items()}


def stage_medians(diagnostics: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Each stage's median as the node reports it [ms]."""
    return {
        key.removeprefix("stage.").removesuffix(".median_ms"): value
        for values in diagnostics.values()
        for key, value in values.items()
        if key.startswith("stage.") and key.endswith(".median_ms")
    }


def plain(facts: Mapping[str, str], results: Mapping[str, Bench]) -> dict[str, Any]:
    """Everything as plain values, for JSON."""
    return {
        "machine": dict(facts),
        **{
            name: {
                "figures": [
                    {**vars(line), "value": line.value if math.isfinite(line.value) else None,
                     "kept": line.met}
                    for line in bench.lines
                ],
                "details": dict(bench.details),
            }
            for name, bench in results.items()
        },
    }  # fmt: skip
