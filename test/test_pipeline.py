"""The whole path without ROS: what comes out when sensors come, go, lie and die."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from mm_fusion_ros.config import FusionConfig, PerceptionConfig
from mm_fusion_ros.geometry import inverse, planar
from mm_fusion_ros.inference.model_folder import ModelFolder
from mm_fusion_ros.outputs import FusedOutput, HoldReason, Reason
from mm_fusion_ros.perception.detector import Detector
from mm_fusion_ros.perception.features import CameraFeature, LidarFeature
from mm_fusion_ros.pipeline import Pipeline
from mm_fusion_ros.reliability.alignment import REACH, Agreement
from mm_fusion_ros.reliability.gate import Gate
from mm_fusion_ros.samples import (
    CameraFrame,
    Command,
    GpsFix,
    LidarScan,
    OdometrySample,
    Sample,
)
from mm_fusion_ros.sensors.camera import CameraIntake

MS = 1_000_000
START = 1_000_000 * MS
OPTICAL = np.array([[0, 0, 1, 0.2], [-1, 0, 0, 0.1], [0, -1, 0, 1.2], [0, 0, 0, 1.0]])
K = np.array([[190.0, 0.0, 191.5], [0.0, 190.0, 143.5], [0.0, 0.0, 1.0]])

Arrival = tuple[int, Sample]


def frame(stamp_ns: int, seed: int = 0) -> CameraFrame:
    """Patches of one size with a little noise; pure noise would be no camera to trust."""
    rng = np.random.default_rng(seed)
    # Nine pixels each: eight would look like a compressed picture.
    patches = rng.integers(40, 220, (32, 43, 3)).repeat(9, axis=0).repeat(9, axis=1)[:, :384]
    image = np.clip(patches + rng.normal(0.0, 4.0, patches.shape), 0, 255).astype(np.uint8)
    return CameraFrame(stamp_ns, "camera_optical", "camera", image, K, OPTICAL)


def scan(stamp_ns: int, seed: int = 0) -> LidarScan:
    rng = np.random.default_rng(seed)
    points = rng.uniform((-30, -30, 0, 0), (30, 30, 2, 1), (6000, 4)).astype(np.float32)
    return LidarScan(stamp_ns, "lidar", "lidar", points, np.eye(4))


def odometry(stamp_ns: int, speed: float = 1.0) -> OdometrySample:
    x = speed * (stamp_ns - START) / 1e9
    twist = np.array([speed, 0, 0, 0, 0, 0.0])
    small = np.eye(6) * 1e-4
    return OdometrySample(stamp_ns, "odom", "odom", planar(x, 0, 0), twist, small, small)


def fix(stamp_ns: int) -> GpsFix:
    return GpsFix(stamp_ns, "gps", "gps", 48.0, 11.0, 500.0, np.eye(3))


def stream(seconds: float = 2.0, start: int = START) -> list[Arrival]:
    """Camera 30 Hz, lidar 10 Hz, odometry 50 Hz, GPS 5 Hz, each 5 to 20 ms on its way."""
    arrivals: list[Arrival] = []
    for index in range(int(seconds * 30)):
        stamp = start + index * 33 * MS
        arrivals.append((stamp + 5 * MS, frame(stamp, index)))
    for index in range(int(seconds * 10)):
        stamp = start + index * 100 * MS
        arrivals.append((stamp + 20 * MS, scan(stamp, index)))
    for index in range(int(seconds * 50)):
        stamp = start + index * 20 * MS
        arrivals.append((stamp + MS, odometry(stamp)))
    for index in range(int(seconds * 5)):
        stamp = start + index * 200 * MS
        arrivals.append((stamp + 30 * MS, fix(stamp)))
    return sorted(arrivals, key=lambda arrival: arrival[0])


def without(arrivals: Iterable[Arrival], *sources: str) -> list[Arrival]:
    return [arrival for arrival in arrivals if arrival[1].source not in sources]


def drive(pipeline: Pipeline, arrivals: Iterable[Arrival], until_ns: int = 0) -> list[FusedOutput]:
    """Ticks whenever one is due, as every owner of a pipeline does."""
    outputs = []

    def tick(now_ns: int) -> None:
        while (due := pipeline.next_deadline_ns()) is not None and due <= now_ns:
            output = pipeline.tick(max(due, last))
            if output is None:
                break
            outputs.append(output)

    last = 0
    for now_ns, sample in arrivals:
        tick(now_ns)
        pipeline.push(sample, now_ns)
        last = now_ns
        tick(now_ns)
    tick(until_ns)
    return outputs


def test_every_scan_makes_a_tick_with_the_nearest_frame() -> None:
    outputs = drive(Pipeline(FusionConfig()), stream())
    assert [o.stamp_ns for o in outputs] == [START + i * 100 * MS for i in range(20)]
    assert not any(o.by_deadline for o in outputs)
    # Frames lie 33 ms apart, so the nearest that has come is at most 33 ms off.
    ages = [o.reliability["camera"].age_ns for o in outputs[1:]]
    assert all(age is not None and abs(age) <= 33 * MS for age in ages)


def test_the_same_samples_and_ticks_give_the_same_answer() -> None:
    first, second = (drive(Pipeline(FusionConfig()), stream()) for _ in range(2))
    assert [repr(o) for o in first] == [repr(o) for o in second]


@pytest.mark.parametrize("dead", ["camera", "gps", "odom"])
def test_a_sensor_that_never_comes_costs_no_tick(dead: str) -> None:
    outputs = drive(Pipeline(FusionConfig()), without(stream(), dead))
    assert len(outputs) == 20
    assert outputs[-1].reliability[dead].reason is Reason.MISSING
    assert outputs[-1].reliability[dead].trust == 0.0
    # Its points are drawn anew for each scan, which looks a little rough.
    assert outputs[-1].reliability["lidar"].trust > 0.95


def test_without_the_lidar_ticks_come_at_its_rate_by_deadline() -> None:
    outputs = drive(Pipeline(FusionConfig()), without(stream(), "lidar"))
    assert 18 <= len(outputs) <= 20
    assert all(o.by_deadline for o in outputs)
    assert outputs[-1].reliability["camera"].trust > 0.5
    assert outputs[-1].obstacles is None


def test_when_all_sensors_are_lost_the_answer_is_empty_and_holds() -> None:
    pipeline = Pipeline(FusionConfig())
    pipeline.push(Command(START, "", "command", "go to the red box"), START)
    drive(pipeline, stream())
    after = drive(pipeline, [], until_ns=START + 7000 * MS)
    assert len(after) > 20
    for output in after[-10:]:
        assert output.objects == ()
        assert not output.target.go
        for name in ("camera", "lidar", "gps"):
            assert output.reliability[name].trust == 0.0
            assert output.reliability[name].reason is Reason.STALE
            assert output.reliability[name].share in (0.0, None) or name == "gps"


def test_a_bag_that_loops_resets_everything_and_resumes_within_two_ticks() -> None:
    pipeline = Pipeline(FusionConfig())
    for loop in range(3):
        outputs = drive(pipeline, stream())
        assert len(outputs) >= 18, f"loop {loop}"
        assert outputs[0].stamp_ns <= START + 100 * MS
        stamps = [o.stamp_ns for o in outputs]
        assert stamps == sorted(set(stamps))


def test_what_is_wrong_is_counted_by_reason_and_never_raises() -> None:
    pipeline = Pipeline(FusionConfig())
    now = START
    nan_fix = replace(fix(now), latitude_deg=float("nan"))
    pipeline.push(nan_fix, now)
    pipeline.push(replace(frame(now), image=np.zeros((4, 4), np.uint8)), now)
    pipeline.push(replace(scan(now), points=np.zeros((3, 3), np.float32)), now)
    pipeline.push(replace(scan(now), stamp_ns=0), now)
    pipeline.push(replace(scan(now), stamp_ns=now + 10_000 * MS), now)
    pipeline.push(Command(now, "", "command", "x" * 1000), now)
    pipeline.push(replace(scan(now), source="nobody"), now)
    counters = pipeline.counters()
    assert counters["gps"]["nan"] == 1
    assert sum(counters["camera"].values()) == 1
    assert counters["lidar"]["zero_stamp"] == counters["lidar"]["future"] == 1
    assert sum(counters["command"].values()) == 1
    assert sum(counters["nobody"].values()) == 1
    # And what comes after is not blocked by any of it.
    assert len(drive(pipeline, stream())) == 20


def test_an_empty_cloud_is_present_and_useless() -> None:
    empty = [
        (t, replace(s, points=np.zeros((0, 4), np.float32)) if isinstance(s, LidarScan) else s)
        for t, s in stream()
    ]
    output = drive(Pipeline(FusionConfig()), empty)[-1]
    assert output.reliability["lidar"].trust == 0.0
    assert output.reliability["lidar"].reason is Reason.SPARSE


def test_a_frozen_camera_is_noticed_within_three_frames_while_the_robot_moves() -> None:
    frozen = [(t, replace(s, image=frame(0).image) if isinstance(s, CameraFrame) else s)
              for t, s in stream()]  # fmt: skip
    outputs = drive(Pipeline(FusionConfig()), frozen)
    # Three 30 Hz frames have come by the second tick.
    assert all(o.reliability["camera"].reason is Reason.FROZEN for o in outputs[2:])
    assert all(o.reliability["camera"].trust == 0.0 for o in outputs[2:])


@pytest.fixture(scope="module")
def detector(untrained_model: Path) -> Detector:
    config = PerceptionConfig(threads=1, score_threshold=0.02, max_objects=10)
    return Detector(ModelFolder.open(untrained_model), config)


def test_with_networks_shares_of_cameras_and_lidars_sum_to_one(detector: Detector) -> None:
    outputs = drive(Pipeline(FusionConfig(), detector=detector), stream(0.5))
    for output in outputs[1:]:
        seen = output.reliability["camera"].share, output.reliability["lidar"].share
        assert sum(share or 0.0 for share in seen) == pytest.approx(1.0)
        on_pose = output.reliability["odom"].share, output.reliability["gps"].share
        assert sum(share or 0.0 for share in on_pose) == pytest.approx(1.0)


@pytest.mark.parametrize("broken", ["camera", "lidar"])
def test_a_sensor_that_sees_nothing_leaves_the_other_s_own_answer(
    detector: Detector, broken: str
) -> None:
    def spoilt(sample: Sample) -> Sample:
        if broken == "camera" and isinstance(sample, CameraFrame):
            return replace(sample, image=np.zeros_like(sample.image))
        if broken == "lidar" and isinstance(sample, LidarScan):
            return replace(sample, points=np.zeros((0, 4), np.float32))
        return sample

    arrivals = [(at, spoilt(sample)) for at, sample in stream(0.5)]
    bad = drive(Pipeline(FusionConfig(), detector=detector), arrivals)[-1]
    assert bad.reliability[broken].share == 0.0
    assert bad.reliability[broken].trust < 0.1
    other = {"camera": "lidar", "lidar": "camera"}[broken]
    assert bad.reliability[other].share == pytest.approx(1.0)
    assert all(set(item.support) <= {other} for item in bad.objects)


def test_where_every_sensor_is_bad_they_still_speak(detector: Detector) -> None:
    arrivals = [
        (at, replace(s, image=np.zeros_like(s.image)) if isinstance(s, CameraFrame) else s)
        for at, s in without(stream(0.5), "lidar")
    ]
    last = drive(Pipeline(FusionConfig(), detector=detector), arrivals)[-1]
    assert last.reliability["camera"].share == pytest.approx(1.0)
    assert last.reliability["camera"].trust < 0.1


def test_an_encoder_that_fails_takes_out_its_own_sensor_only(detector: Detector) -> None:
    class Broken:
        def __getattr__(self, name: str) -> object:
            return getattr(detector, name)

        def encode_camera(self, image: object, source: str) -> object:
            raise RuntimeError("out of memory")

    pipeline = Pipeline(FusionConfig(), detector=Broken())  # type: ignore[arg-type]
    outputs = drive(pipeline, stream(0.5))
    assert len(outputs) == 5
    assert pipeline.counters()["camera"]["encoder_failed"] == 5
    assert outputs[-1].reliability["lidar"].share == pytest.approx(1.0)
    assert outputs[-1].reliability["camera"].share == 0.0
    assert outputs[-1].reliability["camera"].trust == 0.0


def test_images_are_lifted_before_their_tick_also_while_the_robot_drives(
    detector: Detector,
) -> None:
    handed: list[bool] = []

    class Watched:
        def __getattr__(self, name: str) -> object:
            return getattr(detector, name)

        def detect(self, cameras: object, lidars: object, placed: object, *more: object) -> object:
            handed.append(placed is not None)
            return detector.detect(cameras, lidars, placed, *more)  # type: ignore[arg-type]

    drive(Pipeline(FusionConfig(), detector=Watched()), stream(1.5))  # type: ignore[arg-type]
    # The rhythm of the camera and of the lidar is learned in the first ticks.
    assert len(handed) == 15
    assert sum(handed) >= 12


def test_of_a_fast_camera_only_the_frames_that_a_tick_takes_are_prepared(
    detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared: list[int] = []
    prepare = CameraIntake.prepare

    def watched(self: CameraIntake, given: CameraFrame) -> object:
        prepared.append(given.stamp_ns)
        return prepare(self, given)

    monkeypatch.setattr(CameraIntake, "prepare", watched)
    outputs = drive(Pipeline(FusionConfig(), detector=detector), stream(2.0))
    # 60 frames and 20 ticks; the rhythm is learned in the first ones.
    assert len(outputs) == 20
    assert len(outputs) <= len(set(prepared)) == len(prepared) < 30
    assert outputs[-1].reliability["camera"].quality["brightness"] > 0.1


def test_a_frame_that_cannot_be_prepared_leaves_out_its_camera_alone(
    detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> object:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(CameraIntake, "prepare", fail)
    pipeline = Pipeline(FusionConfig(), detector=detector)
    outputs = []
    for now_ns, sample in stream(0.5):
        pipeline.push(sample, now_ns, ahead=False)
        outputs.append(pipeline.tick(now_ns))
    answers = [output for output in outputs if output is not None]
    assert len(answers) == 5
    assert pipeline.counters()["camera"]["exception"] == 5
    assert answers[-1].reliability["camera"].trust == 0.0
    assert answers[-1].reliability["lidar"].share == pytest.approx(1.0)


@pytest.mark.parametrize("ahead", [True, False])
def test_a_camera_gone_dark_is_known_at_the_tick_even_if_nothing_was_prepared_ahead(
    detector: Detector, ahead: bool
) -> None:
    pipeline = Pipeline(FusionConfig(), detector=detector)
    outputs = []
    for now_ns, sample in stream(1.5):
        if isinstance(sample, CameraFrame) and sample.stamp_ns > START + 1000 * MS:
            sample = replace(sample, image=sample.image // 64)
        pipeline.push(sample, now_ns, ahead=ahead)
        outputs.append(pipeline.tick(now_ns))
    answers = [output for output in outputs if output is not None]
    assert answers[8].reliability["camera"].reason is not Reason.DARK
    assert answers[-1].reliability["camera"].reason is Reason.DARK


def test_a_camera_that_agrees_no_longer_with_the_lidar_is_misaligned(
    untrained_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = iter([Agreement(3.5)] * 8 + [Agreement(0.1)] * 100)
    monkeypatch.setattr("mm_fusion_ros.pipeline.agreement", lambda *_: next(said))
    # The made-up images are noise, of which nothing could be told.
    monkeypatch.setattr(Gate, "is_comparable", lambda *_: True)
    detector = Detector(ModelFolder.open(untrained_model), PerceptionConfig(threads=1))
    outputs = drive(Pipeline(FusionConfig(), detector=detector), stream(1.5))
    detector.close()
    reasons = [output.reliability["camera"].reason for output in outputs]
    # What a tick compares counts from the next one on.
    assert Reason.MISALIGNED not in reasons[:9]
    assert reasons[-1] is Reason.MISALIGNED
    assert outputs[-1].reliability["camera"].trust < outputs[5].reliability["camera"].trust
    assert outputs[-1].reliability["camera"].epistemic is not None


def test_a_camera_that_was_knocked_is_used_as_it_must_stand_now(
    untrained_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shifted = np.full_like(Agreement(0.0).shifted, -1.0)
    shifted[REACH[0], REACH[1] + 4] = 4.0
    compared = []

    def said(camera: CameraFeature, _: LidarFeature) -> Agreement:
        compared.append(camera.image)
        return Agreement(-0.5, shifted, (0.01, 0.01))

    monkeypatch.setattr("mm_fusion_ros.pipeline.agreement", said)
    monkeypatch.setattr(Gate, "is_comparable", lambda *_: True)
    detector = Detector(ModelFolder.open(untrained_model), PerceptionConfig(threads=1))
    outputs = drive(Pipeline(FusionConfig(), detector=detector), stream(1.0))
    detector.close()
    first, last = compared[0], compared[-1]
    assert first.as_mounted is None
    # It is turned by 0.04 rad, and compared as it is mounted: or it would be turned on and on.
    assert last.as_mounted is not None
    np.testing.assert_allclose(last.as_mounted, first.base_from_camera)
    apart = inverse(last.as_mounted) @ last.base_from_camera
    assert np.arccos((np.trace(apart[:3, :3]) - 1.0) / 2.0) == pytest.approx(0.04, abs=1e-6)
    front = outputs[-1].reliability["camera"]
    assert front.reason is Reason.MISALIGNED and front.trust == pytest.approx(0.5)
    assert front.quality["turned_right_rad"] == pytest.approx(0.04)


def test_a_comparison_that_fails_is_counted_and_stops_nothing(
    untrained_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> float:
        raise RuntimeError("no edges today")

    monkeypatch.setattr("mm_fusion_ros.pipeline.agreement", fail)
    monkeypatch.setattr(Gate, "is_comparable", lambda *_: True)
    detector = Detector(ModelFolder.open(untrained_model), PerceptionConfig(threads=1))
    pipeline = Pipeline(FusionConfig(), detector=detector)
    outputs = drive(pipeline, stream(0.5))
    detector.close()
    assert len(outputs) == 5
    assert pipeline.counters()["camera"]["comparison_failed"] >= 3


def test_no_command_holds_with_that_reason() -> None:
    assert drive(Pipeline(FusionConfig()), stream(0.3))[-1].target.reason is HoldReason.NO_COMMAND


@pytest.mark.parametrize("scans", ["none", "empty"])
def test_without_a_lidar_that_meets_anything_the_obstacle_grid_is_made_of_the_images(
    untrained_model: Path, scans: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead = np.column_stack([np.linspace(1.0, 8.0, 60), np.zeros(60), np.zeros(60)])
    monkeypatch.setattr("mm_fusion_ros.perception.evidence.seen_points", lambda *_: ahead)
    detector = Detector(ModelFolder.open(untrained_model), PerceptionConfig(threads=1))
    arrivals = without(stream(0.5), "lidar")
    if scans == "empty":
        arrivals = [
            (at, replace(s, points=np.zeros((0, 4), np.float32)) if isinstance(s, LidarScan) else s)
            for at, s in stream(0.5)
        ]
    grid = drive(Pipeline(FusionConfig(), detector=detector), arrivals)[-1].obstacles
    detector.close()
    assert grid is not None
    middle = grid.cells.shape[0] // 2
    # The floor was seen 5 m ahead, and nothing at all behind.
    five_m = int(5.0 / grid.resolution_m)
    assert grid.cells[middle, middle + five_m] == 0
    assert grid.cells[middle, middle - five_m] == -1


def test_one_that_keeps_up_answers_the_newest_instant_and_passes_over_the_rest() -> None:
    arrivals = stream(1.0)
    slow, eager = Pipeline(FusionConfig()), Pipeline(FusionConfig(), keep_up=True)
    for pipeline in (slow, eager):
        for at, sample in arrivals:
            pipeline.push(sample, at)
    now_ns = START + 1000 * MS
    oldest, newest = slow.tick(now_ns), eager.tick(now_ns)
    assert oldest is not None and newest is not None
    assert oldest.stamp_ns == START and newest.stamp_ns == START + 900 * MS
    assert eager.tick(now_ns) is None


def test_what_was_kept_in_one_odometry_frame_is_forgotten_in_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pipeline = Pipeline(FusionConfig())
    forgotten: list[str] = []
    rooms = {"_tracker": "reset", "_obstacle_memory": "reset", "_keeper": "lose_place"}
    for name, forget in rooms.items():
        monkeypatch.setattr(getattr(pipeline, name), forget, partial(forgotten.append, name))
    first, second = stream(1.0), stream(1.0, START + 3000 * MS)
    drive(pipeline, first + second)
    assert forgotten == []
    # The driver begins somewhere else, after two seconds of silence.
    again = [
        (now_ns, replace(each, odom_from_base=planar(-40.0, 0.0, 0.0)))
        if isinstance(each, OdometrySample)
        else (now_ns, each)
        for now_ns, each in stream(1.0, START + 6000 * MS)
    ]
    drive(pipeline, again)
    assert forgotten == list(rooms)
