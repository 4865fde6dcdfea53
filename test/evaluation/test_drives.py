"""The robot does what it is told, in one process; and what is counted when it does not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mm_fusion_ros import cli
from mm_fusion_ros.config import FusionConfig
from mm_fusion_ros.evaluation import drives, verdicts
from mm_fusion_ros.evaluation.drives import (
    DONE,
    FAILED,
    HELD,
    INTACT,
    LOSSES,
    ClosedLoop,
    DriveResult,
    Drives,
)
from mm_fusion_ros.evaluation.protocol import load_protocol
from mm_fusion_ros.inference.model_folder import ModelFolder
from mm_fusion_ros.localization.odometry import LidarOdometry
from mm_fusion_ros.outputs import FusedOutput, Intent
from mm_fusion_ros.perception.detector import Detector
from mm_fusion_ros.pipeline import Pipeline
from mm_fusion_ros.samples import Sample
from mm_fusion_ros.sim.demo_world import demo_world
from mm_fusion_ros.sim.simulation import Simulation, SimulationOptions, demo_rig

pytest.importorskip("open3d", reason="open3d is absent; `make setup` installs it")
PROTOCOL = load_protocol()


def test_the_demonstration_carries_out_two_commands_one_after_the_other() -> None:
    config = FusionConfig()
    detector = Detector(ModelFolder.open(""), config.perception)
    pipeline = Pipeline(config, detector=detector, lidar_odometry=LidarOdometry)
    with closing(pipeline), closing(detector):
        loop = ClosedLoop(Simulation(demo_world(1), seed=1), pipeline, drives.COMMANDS[:2])
        results = loop.run()
    assert [each.outcome for each in results] == [DONE, DONE], results
    assert not any(each.collided for each in results)
    assert all(each.distance_m is not None and each.distance_m < 0.5 for each in results)


class GoesAtOnce(Pipeline):
    """Without networks; says GO to where the robot stands as soon as it is told anything."""

    def __init__(self) -> None:
        super().__init__(FusionConfig())
        self.heard: list[tuple[str, int]] = []
        self.going_ns: int | None = None

    def push(self, sample: Sample, now_ns: int, *, ahead: bool = True) -> None:
        self.heard.append((sample.source, now_ns))
        super().push(sample, now_ns, ahead=ahead)

    def tick(self, now_ns: int) -> FusedOutput | None:
        output = super().tick(now_ns)
        if output is None or output.pose is None or output.target.intent is not Intent.GO_TO:
            return output
        self.going_ns = now_ns if self.going_ns is None else self.going_ns
        there = replace(
            output.target, go=True, reason=None, map_from_target=output.pose.map_from_base
        )
        return replace(output, target=there)


@pytest.mark.parametrize("lost", ["", "camera", "odom"])
def test_a_sensor_is_lost_once_there_is_a_target_and_not_before(lost: str) -> None:
    pipeline = GoesAtOnce()
    world = demo_world(1)
    rates = SimulationOptions(camera_hz=5)
    simulation = Simulation(world, demo_rig((64, 48), 4, 90), seed=1, options=rates)
    with closing(pipeline):
        commands = ["go to the red box", "stop"]
        results = ClosedLoop(simulation, pipeline, commands, 4.0, lost).run()
    assert [each.outcome for each in results] == [DONE, DONE]
    assert max(each.seconds for each in results) < 4.0
    assert pipeline.going_ns is not None
    lost_ns = pipeline.going_ns + round(drives.LOST_AFTER_S * 1e9)
    before = {source for source, stamp_ns in pipeline.heard if stamp_ns < lost_ns}
    after = {source for source, stamp_ns in pipeline.heard if stamp_ns >= lost_ns}
    every = {"camera", "lidar", "gps", "odom"}
    assert every <= before and every - after == ({lost} if lost else set())


def test_one_that_finds_nothing_holds_and_says_why() -> None:
    pipeline = Pipeline(FusionConfig())
    simulation = Simulation(demo_world(1), demo_rig((64, 48), 4, 90), seed=1)
    with closing(pipeline):
        results = ClosedLoop(simulation, pipeline, ["go to the red box", "stop"], 2.0).run()
    assert [each.outcome for each in results] == [HELD, DONE]
    assert "absent" in results[0].why


def result(outcome: str, collided: bool = False) -> DriveResult:
    return DriveResult("go", outcome, outcome, 1.0, None, collided)


def driven(*outcomes: str, lost: Sequence[DriveResult] = ()) -> Drives:
    each = list(lost) or [result(DONE)]
    return {INTACT: [result(o) for o in outcomes], **dict.fromkeys(LOSSES, each)}


def test_what_was_done_held_and_touched_is_counted_by_command() -> None:
    seen = [
        driven(DONE, DONE, HELD), driven(DONE, FAILED, DONE, lost=[result(DONE, collided=True)]),
    ]  # fmt: skip
    scores = drives.score(seen, PROTOCOL)
    assert scores[INTACT].done.value == pytest.approx(4 / 6)
    assert scores[INTACT].held.value == pytest.approx(1 / 6)
    assert scores[INTACT].collided.value == 0.0
    # What was touched on the way is not done.
    assert (scores["gps"].done.value, scores["gps"].collided.value) == (0.5, 0.5)
    assert scores["gps"].done.interval == (0.0, 1.0)
    text = drives.text(scores, "drives")
    assert "every sensor" in text and "camera lost" in text and "0.667" in text
    plain: dict[str, Any] = drives.plain_drives(seen, scores, [7, 9])
    assert json.loads(json.dumps(plain))["drives"]["9"]["gps"][0]["collided"] is True


def test_the_command_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[int] = []

    def drive(self: drives.DriveExaminer, seed: int, *_: Any) -> list[DriveResult]:
        made.append(seed)
        return [result(DONE)]

    monkeypatch.setattr(drives.DriveExaminer, "_drive", drive)
    arguments = ["eval", "--drive", "--split", "validation", "--processes", "1"]
    arguments += ["--out", str(tmp_path)]
    assert cli.main([*arguments, "--n", "1"]) == 0
    assert cli.main([*arguments, "--n", "2"]) == 0
    assert np.unique(made, return_counts=True)[1].tolist() == [1 + len(LOSSES)] * 2
    assert "every sensor" in capsys.readouterr().out
    bars = json.loads((tmp_path / "results.json").read_text())[verdicts.KEY]
    assert [each["reached"] for each in bars] == [True] * (1 + len(LOSSES))
