"""A bag is driven through the pipeline as the robot would have been, twice with the same bytes."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import synthetic_bag as made
from fake_fusion import FakeFusion

from mm_fusion_ros.config import FusionConfig
from mm_fusion_ros.faults.injection import parse
from mm_fusion_ros.outputs import FusedOutput
from mm_fusion_ros.pipeline import Pipeline
from mm_fusion_ros.replay.bag import BagError, BagSource
from mm_fusion_ros.replay.runner import OUTPUTS, ReplayResult, Step, drive, replay
from mm_fusion_ros.samples import Command, LidarScan


def stepping_clock(step_ns: int = 1_000_000) -> Callable[[], int]:
    """A clock that moves by a fixed step at each look."""
    ticks = itertools.count()
    return lambda: next(ticks) * step_ns


def run(
    path: Path, out: Path, fusion: type = FakeFusion, **options: object
) -> tuple[ReplayResult, FakeFusion]:
    out.mkdir(exist_ok=True)
    with BagSource(path) as bag:
        config = bag.config(FusionConfig(), commanded=bool(options.get("command")))
        made_fusion = fusion(config)
        result = replay(bag, config, made_fusion, out, stepping_clock(), **options)  # type: ignore[arg-type]
    return result, made_fusion


def test_two_replays_give_the_same_bytes(tmp_path: Path) -> None:
    path = made.write(tmp_path / "bag", made.robot(2.0))
    first, _ = run(path, tmp_path / "a", command="go to the nearest car")
    second, _ = run(path, tmp_path / "b", command="go to the nearest car")
    assert first.ticks == 20
    assert (tmp_path / "a" / OUTPUTS).read_bytes() == (tmp_path / "b" / OUTPUTS).read_bytes()
    assert first.digest == second.digest


def test_two_replays_through_the_real_pipeline_give_the_same_bytes(tmp_path: Path) -> None:
    path = made.write(tmp_path / "bag", made.robot(1.5))
    first, _ = run(path, tmp_path / "a", Pipeline, command="go to the red box")
    second, _ = run(path, tmp_path / "b", Pipeline, command="go to the red box")
    assert first.ticks >= 14
    assert first.digest == second.digest
    assert (tmp_path / "a" / OUTPUTS).read_bytes() == (tmp_path / "b" / OUTPUTS).read_bytes()


def test_faults_strike_the_same_samples_again_in_each_replay(tmp_path: Path) -> None:
    path = made.write(tmp_path / "bag", made.robot(1.5))
    faults = [parse("lidar.drop:4@0.5s-"), parse("camera.loss:5")]
    clean, _ = run(path, tmp_path / "clean", Pipeline)
    first, _ = run(path, tmp_path / "a", Pipeline, faults=faults)
    second, _ = run(path, tmp_path / "b", Pipeline, faults=faults)
    assert first.digest == second.digest != clean.digest
    assert first.received["camera"] < 0.8 * clean.received["camera"]
    assert first.received["lidar"] == clean.received["lidar"]


def test_other_input_gives_other_bytes(tmp_path: Path) -> None:
    one, _ = run(made.write(tmp_path / "one", made.robot(1.0)), tmp_path / "a")
    moved = [
        (at, topic, made.odometry(at, 7.0) if topic == "/odom" else message)
        for at, topic, message in made.robot(1.0)
    ]
    other, _ = run(made.write(tmp_path / "other", moved), tmp_path / "b")
    assert one.digest != other.digest


def test_the_clock_of_a_replay_is_the_time_of_recording(tmp_path: Path) -> None:
    delay_ns = 30_000_000
    late = [(at + delay_ns, topic, message) for at, topic, message in made.drive(1.0)]
    _, fusion = run(made.write(tmp_path / "bag", late), tmp_path / "out")
    assert {now - sample.stamp_ns for sample, now in fusion.pushed} == {delay_ns}


def test_deadlines_between_messages_fire_at_their_own_time(tmp_path: Path) -> None:
    # The lidar (10 Hz, anchor) is silent from the third to the seventh tick; odometry goes on.
    silent = range(3, 8)
    messages = [
        (at, topic, message)
        for at, topic, message in made.robot(1.2)
        if topic != "/lidar/points" or (at - made.START_NS) // made.PERIOD_NS not in silent
    ]
    result, fusion = run(made.write(tmp_path / "bag", messages), tmp_path / "out")
    # Twelve instants in all; five of them without the lidar, by deadline.
    assert result.ticks == 12
    assert result.trace.by_deadline.tolist() == [index in silent for index in range(12)]
    first_missed = made.START_NS + 3 * made.PERIOD_NS + FakeFusion.DEADLINE_NS
    assert first_missed in fusion.ticked_at


def test_a_command_is_given_one_second_after_the_start(tmp_path: Path) -> None:
    path = made.write(tmp_path / "bag", made.drive(2.0))
    result, fusion = run(path, tmp_path / "out", command="stop")
    (given,) = [sample for sample, _ in fusion.pushed if isinstance(sample, Command)]
    assert given.text == "stop"
    assert given.stamp_ns == made.START_NS + 1_000_000_000
    assert not result.trace.go[:10].any()
    assert result.trace.go[10:].all()


def test_a_command_is_given_even_when_the_bag_is_shorter(tmp_path: Path) -> None:
    path = made.write(tmp_path / "bag", made.drive(0.5))
    _, fusion = run(path, tmp_path / "out", command="stop")
    assert sum(isinstance(sample, Command) for sample, _ in fusion.pushed) == 1


def test_a_looping_bag_jumps_back_and_goes_on_counting_time(tmp_path: Path) -> None:
    path = made.write(tmp_path / "bag", made.drive(1.0))
    result, fusion = run(path, tmp_path / "out", loops=3)
    starts = [now for sample, now in fusion.pushed if now == made.START_NS]
    assert len(starts) == 3 * 2  # odometry and a fix at the start of each loop
    assert result.ticks == 30
    assert result.trace.loop.tolist() == [0] * 10 + [1] * 10 + [2] * 10
    assert (np.diff(result.trace.elapsed_s) >= 0.0).all()
    assert result.duration_s == pytest.approx(3 * 0.9)


def test_the_real_pipeline_resumes_within_two_ticks_of_every_jump_back(tmp_path: Path) -> None:
    path = made.write(tmp_path / "bag", made.drive(3.0))
    once, _ = run(path, tmp_path / "once", Pipeline)
    thrice, _ = run(path, tmp_path / "thrice", Pipeline, loops=3)
    for loop in range(3):
        ticks = int((thrice.trace.loop == loop).sum())
        assert ticks >= once.ticks - 2


def test_a_message_that_cannot_be_used_is_counted_and_explained(tmp_path: Path) -> None:
    messages = [
        (at, topic, made.odometry(at, float("nan")) if at == made.START_NS + 300_000_000
         and topic == "/odom" else message)
        for at, topic, message in made.drive(1.0)
    ]  # fmt: skip
    result, _ = run(made.write(tmp_path / "bag", messages), tmp_path / "out")
    assert result.counters["odom"] == {"accepted": 9, "nan": 1}
    assert "not finite" in result.rejections["odom: nan"]
    assert result.received["odom"] == 10


def test_the_factor_leaves_out_what_showing_costs(tmp_path: Path) -> None:
    path = made.write(tmp_path / "bag", made.drive(1.0))
    now_ns = 0

    def show(_: Step) -> None:
        nonlocal now_ns
        now_ns += 1_000_000_000

    def clock() -> int:
        nonlocal now_ns
        now_ns += 1_000_000
        return now_ns

    with BagSource(path) as bag:
        config = bag.config(FusionConfig())
        result = replay(bag, config, FakeFusion(config), tmp_path, clock, show=show)
    # Ten steps of one second and one step of the clock each are showing. What is left is one step
    # of the clock before each of them and one before the end: 11 ms, for 0.9 s of recording.
    assert result.showing_s == pytest.approx(10 * 1.001)
    assert result.fusion_s == pytest.approx(0.011)
    assert result.factor == pytest.approx(0.9 / 0.011)


def test_a_replay_stops_after_so_many_outputs(tmp_path: Path) -> None:
    path = made.write(tmp_path / "bag", made.drive(2.0))
    result, _ = run(path, tmp_path / "out", max_ticks=4)
    assert result.ticks == 4
    assert len((tmp_path / "out" / OUTPUTS).read_text(encoding="utf-8").splitlines()) == 4
    assert result.duration_s < 0.5


def test_progress_ends_at_one(tmp_path: Path) -> None:
    path = made.write(tmp_path / "bag", made.drive(1.0))
    seen: list[float] = []
    run(path, tmp_path / "out", progress=lambda fraction, _: seen.append(fraction))
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def test_steps_carry_the_frame_and_sweep_of_their_instant(tmp_path: Path) -> None:
    path = made.write(tmp_path / "bag", made.robot(1.0))
    steps: list[Step] = []
    run(path, tmp_path / "out", show=steps.append)
    assert all(step.scans[0].stamp_ns == step.output.stamp_ns for step in steps)
    assert isinstance(steps[0].scans[0], LidarScan)
    # The frame of the first instant is recorded just before the sweep that makes the tick.
    assert all(step.frames[0].stamp_ns == step.output.stamp_ns for step in steps)


def test_examples_are_spread_over_the_bag(tmp_path: Path) -> None:
    result, _ = run(made.write(tmp_path / "bag", made.robot(3.0)), tmp_path / "out")
    times = [step.elapsed_ns / 1e9 for step in result.examples]
    # Six stretches of 2.9 s / 6 = 0.483 s; of each the first tick past its middle.
    assert times == pytest.approx([0.3, 0.8, 1.3, 1.7, 2.2, 2.7])


def test_fixes_are_placed_in_the_map(tmp_path: Path) -> None:
    result, _ = run(made.write(tmp_path / "bag", made.drive(1.0)), tmp_path / "out")
    assert result.fixes is not None
    # Each fix is 2e-6 degrees north of the last: at 47 degrees a degree is 111.17 km (WGS-84).
    north = np.diff(result.fixes.place[:, 1])
    assert north == pytest.approx(np.full(4, 2e-6 * 111_170.0), rel=1e-3)
    assert result.fixes.sigma_m == pytest.approx(np.ones(5))


def test_a_bag_that_breaks_off_is_an_error_and_keeps_what_was_written(tmp_path: Path) -> None:
    path = made.write(tmp_path / "bag", made.drive(1.0))

    class Breaking(BagSource):
        def events(self, config: FusionConfig):  # type: ignore[no-untyped-def]
            yield from itertools.islice(super().events(config), 8)
            raise BagError("broken off")

    with Breaking(path) as bag:
        config = bag.config(FusionConfig())
        with pytest.raises(BagError, match="broken off"):
            replay(bag, config, FakeFusion(config), tmp_path, stepping_clock())
    lines = (tmp_path / OUTPUTS).read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["by_deadline"] for line in lines] == [False] * len(lines)
    assert lines


def test_a_pipeline_that_never_moves_on_is_found_out(tmp_path: Path) -> None:
    class Stuck(FakeFusion):
        def tick(self, now_ns: int) -> FusedOutput | None:
            self.ticked_at.append(now_ns)
            return None

    with BagSource(made.write(tmp_path / "bag", made.drive(1.0))) as bag:
        config = bag.config(FusionConfig())
        with pytest.raises(RuntimeError, match="asks for it again"):
            list(drive(bag.events(config), Stuck(config)))


def test_outputs_hold_every_configured_source(tmp_path: Path) -> None:
    result, _ = run(made.write(tmp_path / "bag", made.robot(1.0)), tmp_path / "out", Pipeline)
    for line in (tmp_path / "out" / OUTPUTS).read_text(encoding="utf-8").splitlines():
        assert set(json.loads(line)["reliability"]) == {"camera", "lidar", "gps", "odom"}
    assert dataclasses.is_dataclass(result)
