"""Whether the robot does what it is told, also when it loses a sensor on the way.

    simulator -> samples, of one sensor none any more -> pipeline -> target and obstacles ->
    follower and planner -> simulator

All in one process and in simulated time, so a seed gives the same drive every time. The world is
the demonstration's yard; the seed changes how things look and how large they are, the light, and
all noise.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mm_fusion_ros.config import FusionConfig
from mm_fusion_ros.evaluation import archive
from mm_fusion_ros.evaluation.bootstrap import Estimate, draws, mean_estimate
from mm_fusion_ros.evaluation.exam import code_digest
from mm_fusion_ros.evaluation.faulted import make_missing
from mm_fusion_ros.evaluation.protocol import Protocol
from mm_fusion_ros.evaluation.table import plain
from mm_fusion_ros.inference.model_folder import ModelFolder
from mm_fusion_ros.localization.odometry import LidarOdometry
from mm_fusion_ros.outputs import ActionTarget, FusedOutput, HoldReason, Intent
from mm_fusion_ros.perception.detector import Detector
from mm_fusion_ros.pipeline import Pipeline
from mm_fusion_ros.replay.runner import due
from mm_fusion_ros.sim.demo_world import demo_world
from mm_fusion_ros.sim.follower import Follower
from mm_fusion_ros.sim.lighting import LIGHTS
from mm_fusion_ros.sim.mission import DriveState, Mission
from mm_fusion_ros.sim.simulation import Simulation

COMMANDS = ("go to the red box", "go to the blue ball", "go to the yellow box")
INTACT = "intact"
LOSSES = ("camera", "lidar", "gps", "odom")
LOST_AFTER_S = 1.0
SEEDS = "seeds"
DONE, HELD, FAILED = "done", "held", "failed"
NOT_YET = ActionTarget(False, Intent.NONE, reason=HoldReason.NO_COMMAND)


@dataclass(frozen=True)
class DriveResult:
    """What became of one command.

    Attributes:
        command: as it was said.
        outcome: "done", "held" (the robot stands and says why), or "failed".
        why: in words.
        seconds: simulated, that it took.
        distance_m: from the pose that it was sent to; None without one.
        collided: whether the robot touched anything meanwhile.
    """

    command: str
    outcome: str
    why: str
    seconds: float
    distance_m: float | None
    collided: bool


class ClosedLoop:
    """A simulated robot, the pipeline that it carries, and the commands that it is given."""

    def __init__(
        self, simulation: Simulation, pipeline: Pipeline, commands: Sequence[str],
        limit_s: float = 60.0, lost: str = "",
    ) -> None:  # fmt: skip
        """A drive that has not begun.

        Args:
            simulation: at its start.
            pipeline: new.
            commands: one after the other.
            limit_s: simulated time for each of them.
            lost: source of which nothing comes any more, `LOST_AFTER_S` after the first target.
        """
        self._simulation, self._pipeline = simulation, pipeline
        self._mission = Mission(commands, limit_s)
        self._follower = Follower()
        self._lost, self._target = lost, NOT_YET
        self._lost_from_ns: int | None = None

    def run(self) -> list[DriveResult]:
        """Drives to the end; what became of each command."""
        results: list[DriveResult] = []
        touched = False
        while len(results) < len(self._mission.legs):
            self._step()
            for leg in self._mission.legs[len(results) :]:
                if leg.outcome in ("not begun", "under way"):
                    break
                outcome = DONE if leg.done else FAILED if self._target.go else HELD
                collided = self._simulation.collided and not touched
                touched = self._simulation.collided
                results.append(
                    DriveResult(
                        leg.command, outcome, leg.outcome, leg.seconds, leg.distance_m, collided
                    )
                )
        return results

    def _step(self) -> None:
        """To the next instant at which anything is measured."""
        simulation, follower = self._simulation, self._follower
        simulation.set_target(follower.target(simulation.now_ns))
        samples = simulation.step()
        follower.be_at(simulation.now_ns, simulation.state.map_from_base)
        for sample in samples:
            if not (sample.source == self._lost and self._is_lost()):
                self._pipeline.push(sample, simulation.now_ns)
        for output in due(self._pipeline, simulation.now_ns, at_deadline=False):
            self._take(output)
        state = DriveState(
            simulation.time_s, self._target, simulation.distance_to_target(),
            abs(simulation.state.speed), simulation.collided,
        )  # fmt: skip
        said = self._mission.update(state)
        if said is not None:
            simulation.command(said)

    def _is_lost(self) -> bool:
        return self._lost_from_ns is not None and self._simulation.now_ns >= self._lost_from_ns

    def _take(self, output: FusedOutput) -> None:
        self._target = output.target
        if output.target.go and self._lost_from_ns is None:
            self._lost_from_ns = self._simulation.now_ns + round(LOST_AFTER_S * 1e9)
        if output.pose is not None:
            self._follower.believe(output.stamp_ns, output.pose.map_from_base)
        self._follower.obey(output.target)
        if output.target.map_from_target is not None:
            self._follower.aim(output.target.map_from_target)
        if output.obstacles is not None:
            seen_from = self._follower.was_at(output.stamp_ns)
            self._simulation.set_obstacles(output.obstacles, seen_from)


class DriveExaminer:
    """Drives of a seed: all commands with every sensor, and the first with each one lost."""

    def __init__(self, model: str, folder: Path) -> None:
        self._detector = Detector(ModelFolder.open(model), FusionConfig().perception)
        self._folder = folder

    def __call__(self, seed: int) -> int:
        """Drives, and keeps the record; gives the seed back."""
        record = {INTACT: self._drive(seed, COMMANDS)}
        record |= {lost: self._drive(seed, COMMANDS[:1], lost) for lost in LOSSES}
        archive.write_json(
            {"drives": _plain_results(record)}, archive.json_path(self._folder, seed)
        )
        return seed

    def _drive(self, seed: int, commands: Sequence[str], lost: str = "") -> list[DriveResult]:
        world = demo_world(seed, LIGHTS[seed % len(LIGHTS)])
        pipeline = Pipeline(FusionConfig(), detector=self._detector, lidar_odometry=LidarOdometry)
        with closing(pipeline):
            return ClosedLoop(Simulation(world, seed=seed), pipeline, commands, lost=lost).run()


Drives = Mapping[str, Sequence[DriveResult]]


def run_drives(
    model: str, protocol: Protocol, out: Path, *, count: int, split: str = "test",
    processes: int = 2,
) -> list[Drives]:  # fmt: skip
    """Drives the first seeds of a split; what is already in `out` is not driven again.

    Raises:
        ModelError: the model cannot be used.
        ConfigError: the split has fewer seeds.
        ValueError: the folder holds drives of another model or code.
    """
    seeds = list(protocol.chosen_seeds(split, count))
    folder = out / SEEDS
    make = partial(DriveExaminer, model, folder)
    print_of = fingerprint(ModelFolder.open(model))
    make_missing(make, seeds, folder, archive.json_path, print_of, processes)
    return [_read(archive.json_path(folder, seed)) for seed in seeds]


def fingerprint(folder: ModelFolder) -> dict[str, Any]:
    """What the drives depend on beside the seed."""
    rooms = ("sync", "localization", "grounding", "reliability", "pipeline.py")
    return {
        "model": dict(folder.manifest.files),
        "calibration": dict(folder.manifest.calibration),
        "code": code_digest(*rooms, "evaluation/drives.py"),
    }


def _plain_results(drives: Drives) -> dict[str, list[dict[str, Any]]]:
    return {name: [asdict(each) for each in rows] for name, rows in drives.items()}


def _read(path: Path) -> Drives:
    content = json.loads(path.read_text("utf-8"))["drives"]
    return {name: [DriveResult(**each) for each in rows] for name, rows in content.items()}


@dataclass(frozen=True)
class DriveScore:
    """Of one condition, over all seeds.

    Attributes:
        done: part of the commands that were carried out without touching anything.
        held: of those at whose end the robot stood and said why.
        collided: of those during which it touched anything.
    """

    done: Estimate
    held: Estimate
    collided: Estimate


def score(drives: Sequence[Drives], protocol: Protocol) -> dict[str, DriveScore]:
    """Of every condition, with the bootstrap over seeds."""
    rule = protocol.bootstrap
    drawn = draws(len(drives), rule.replicates, rule.seed)

    def part(name: str, is_so: Callable[[DriveResult], bool]) -> Estimate:
        rows = [(is_so(each), seed) for seed, of in enumerate(drives) for each in of[name]]
        values, seeds = np.array(rows, dtype=np.float64).T
        return mean_estimate(values, seeds.astype(np.int64), drawn)

    return {
        name: DriveScore(
            part(name, lambda each: each.outcome == DONE and not each.collided),
            part(name, lambda each: each.outcome == HELD and not each.collided),
            part(name, lambda each: each.collided),
        )
        for name in (INTACT, *LOSSES)
    }


def text(result: Mapping[str, DriveScore], title: str) -> str:
    """As plain text."""
    lines = [title, f"{'':<16}{'done':>24}{'held':>24}{'collided':>24}"]
    for name, row in result.items():
        label = "every sensor" if name == INTACT else f"{name} lost"
        lines.append(f"{label:<16}{row.done!s:>24}{row.held!s:>24}{row.collided!s:>24}")
    return "\n".join(lines)


def plain_drives(
    drives: Sequence[Drives], result: Mapping[str, DriveScore], seeds: Sequence[int]
) -> dict[str, Any]:
    """As plain values, for JSON."""
    return {
        "parts": {
            name: {key: plain(each) for key, each in vars(row).items()}
            for name, row in result.items()
        },
        "drives": {str(seed): _plain_results(of) for seed, of in zip(seeds, drives, strict=True)},
    }
