"""Every fault does what it says, the same way again, and leaves what it was given alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mm_fusion_ros.faults import camera, gps, held_out, language, lidar, timing
from mm_fusion_ros.faults.fault import Fault
from mm_fusion_ros.faults.injection import Injection, Injector, kinds, parse
from mm_fusion_ros.localization.enu import LocalPlane
from mm_fusion_ros.samples import CameraFrame, Command, GpsFix, LidarScan, Modality, Sample

MS = 1_000_000
START = 10_000_000 * MS
OPTICAL = np.array([[0, 0, 1, 0.0], [-1, 0, 0, 0.0], [0, -1, 0, 1.2], [0, 0, 0, 1.0]])
K = np.array([[320.0, 0, 319.5], [0, 320.0, 239.5], [0, 0, 1]])


def frame(index: int = 0) -> CameraFrame:
    """Rough ground with a grid on it under a sky, and a bright thing that moves."""
    v, u = np.mgrid[:480, :640]
    image = np.where(v[..., None] < 240, [150, 170, 200], [90, 90, 80]).astype(np.uint8)
    image += np.random.default_rng(0).integers(0, 40, (480, 640, 1), dtype=np.uint8)
    image[(u % 40 < 3) & (v > 240)] = 200
    image[200:280, 100 + 10 * index : 180 + 10 * index] = [200, 30, 30]
    return CameraFrame(START + index * 33 * MS, "optical", "front", image, K, OPTICAL)


def scan(index: int = 0, beams: int = 32) -> LidarScan:
    """A room of 12 m, seen by so many beams."""
    elevation = np.radians(np.linspace(-20, 10, beams))
    azimuth = np.linspace(-np.pi, np.pi, 360, endpoint=False)
    e, a = (g.ravel() for g in np.meshgrid(elevation, azimuth, indexing="ij"))
    ray = np.column_stack([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)])
    points = np.column_stack([12.0 * ray, np.full(len(ray), 0.5)]).astype(np.float32)
    offset = ((a - np.pi) / (2 * np.pi) * 1e8).astype(np.int64)
    return LidarScan(START + index * 100 * MS, "lidar", "top", points, np.eye(4), offset)


def fix(index: int = 0) -> GpsFix:
    stamp = START + index * 1000 * MS
    return GpsFix(stamp, "gps", "gps", 48.0 + 1e-6 * index, 11.0, 500.0, np.eye(3) * 4.0)


def command(index: int = 0) -> Command:
    return Command(START + index, "", "command", "go to the red box")


MAKE = {
    Modality.CAMERA: frame,
    Modality.LIDAR: scan,
    Modality.GPS: fix,
    Modality.COMMAND: command,
}
CASES = [
    pytest.param(modality, kind, id=f"{modality.value}.{name}")
    for modality in MAKE
    for name, kind in kinds(modality).items()
]


def content(sample: Sample) -> tuple[Any, ...]:
    values = (getattr(sample, field.name) for field in fields(sample))
    return tuple(v.tobytes() if isinstance(v, np.ndarray) else repr(v) for v in values)


def east_north(fault: Fault[GpsFix], count: int) -> np.ndarray:
    plane = LocalPlane(48.0, 11.0, 500.0)
    true = [plane.enu(fix(i))[:2] for i in range(count)]
    said = [plane.enu(one)[:2] for i in range(count) for one in fault.apply(fix(i))]
    return np.array(said) - np.array(true)


@pytest.mark.parametrize(("modality", "kind"), CASES)
@pytest.mark.parametrize("severity", [1, 5])
def test_the_same_seed_gives_the_same_and_the_sample_stays(
    modality: Modality, kind: type[Fault[Any]], severity: int
) -> None:
    samples = [MAKE[modality](i) for i in range(4)]
    before = [content(sample) for sample in samples]

    def run() -> list[tuple[Any, ...]]:
        fault = kind(severity, [7, 1])
        return [content(worse) for sample in samples for worse in fault.apply(sample)]

    assert run() == run()
    assert [content(sample) for sample in samples] == before


@pytest.mark.parametrize(("modality", "kind"), CASES)
def test_levels_are_five_or_one(modality: Modality, kind: type[Fault[Any]]) -> None:
    assert len(kind.levels) in (1, 5)
    for severity in (0, 6):
        with pytest.raises(ValueError, match=r"not within 1\.\.5"):
            kind(severity)


def picture_error(kind: type[camera.CameraFault], severity: int) -> float:
    errors = []
    for seed in range(3):
        fault = kind(severity, seed)
        (worse,) = fault.apply(frame())
        assert worse.image.shape == frame().image.shape and worse.image.dtype == np.uint8
        errors.append(np.abs(worse.image.astype(float) - frame().image).mean())
    return float(np.mean(errors))


@pytest.mark.parametrize(
    "kind",
    [
        camera.Dark, camera.Overexposed, camera.MotionBlur, camera.Noise, camera.Fog,
        camera.ColourCast, camera.Jpeg, held_out.Defocus, held_out.LensDirt, held_out.Rain,
    ],
)  # fmt: skip
def test_worse_severities_change_pictures_more(kind: type[camera.CameraFault]) -> None:
    errors = [picture_error(kind, severity) for severity in range(1, 6)]
    assert errors[0] > 0.1
    assert all(later > earlier for earlier, later in pairwise(errors)), errors


def test_fog_hides_the_horizon_and_not_the_ground_at_the_feet() -> None:
    (worse,) = camera.Fog(3).apply(frame())
    change = np.abs(worse.image.astype(float) - frame().image).mean(axis=(1, 2))
    assert change[250] > 2.5 * change[-1]
    # At 320 px focal length and 1.2 m, row 479 looks down 0.749 : 1, so 2.0 m along the ray.
    assert camera.ground_distance(frame())[479, 320] == pytest.approx(2.0, abs=0.01)


def test_lens_dirt_covers_its_part_and_stays() -> None:
    fault = held_out.LensDirt(4, 1)
    first, second = (fault.apply(frame(i))[0].image.astype(float) for i in (0, 3))
    changed = [np.abs(p - frame(i).image).max(axis=2) > 5 for p, i in ((first, 0), (second, 3))]
    assert changed[0].mean() == pytest.approx(0.36, abs=0.15)
    assert (changed[0] == changed[1]).mean() > 0.97


@pytest.mark.parametrize("beams", [16, 32, 64])
@pytest.mark.parametrize("severity", range(1, 6))
def test_the_beams_that_are_left_are_whole(beams: int, severity: int) -> None:
    (worse,) = lidar.Beams(severity).apply(scan(beams=beams))
    left = max(1, round(beams * lidar.Beams.levels[severity - 1] / 32))
    assert len(worse.points) == left * 360
    assert worse.time_offset_ns is not None and len(worse.time_offset_ns) == left * 360


def test_a_merged_cloud_loses_beams_by_bands() -> None:
    points = np.random.default_rng(0).uniform((-9, -9, -2, 0), (9, 9, 2, 1), (5000, 4))
    cloud = LidarScan(START, "lidar", "top", points.astype(np.float32), np.eye(4))
    (worse,) = lidar.Beams(2).apply(cloud)
    assert 0.2 < len(worse.points) / 5000 < 0.8


def test_lidar_faults_take_what_they_say() -> None:
    count = len(scan().points)
    for severity, part in enumerate(lidar.Drop.levels, start=1):
        (worse,) = lidar.Drop(severity).apply(scan())
        assert len(worse.points) / count == pytest.approx(1 - part, abs=0.02)
    (worse,) = lidar.Invalid(2).apply(scan())
    assert np.isnan(worse.points[:, 0]).mean() == pytest.approx(0.3, abs=0.02)
    (worse,) = lidar.Empty().apply(scan())
    assert worse.points.shape == (0, 4)
    (worse,) = lidar.FieldOfView(3).apply(scan())
    assert (worse.points[:, 0] > -1e-3).all()
    assert len(worse.points) == pytest.approx(count / 2, rel=0.02)
    (worse,) = lidar.Noise(4).apply(scan())
    assert (lidar.ranges(worse.points) - 12.0).std() == pytest.approx(0.25, rel=0.05)
    (worse,) = held_out.GhostPoints(4).apply(scan())
    assert len(worse.points) == count + int(count * 0.2)
    assert worse.time_offset_ns is not None and len(worse.time_offset_ns) == len(worse.points)


@pytest.mark.parametrize("kind", [lidar.Fog, lidar.Rain])
def test_thicker_air_leaves_fewer_true_echoes(kind: type[lidar.LidarFault]) -> None:
    true = []
    far = replace(scan(), points=scan().points * np.array([3, 3, 3, 1], np.float32))
    for severity in range(1, 6):
        (worse,) = kind(severity).apply(far)
        distance = lidar.ranges(worse.points)
        assert (distance < 36.01).all()
        true.append(int((distance > 35.99).sum()))
    assert all(later < earlier or later == 0 for earlier, later in pairwise(true)), true


def test_empty_and_invalid_sweeps_survive_every_lidar_fault() -> None:
    (empty,) = lidar.Empty().apply(scan())
    (invalid,) = lidar.Invalid(5).apply(scan())
    for kind in kinds(Modality.LIDAR).values():
        for sweep in (empty, invalid):
            for worse in kind(3).apply(sweep):
                assert worse.points.shape[1] == 4 and worse.points.dtype == np.float32


@pytest.mark.parametrize(
    ("kind", "given"),
    [(camera.Extrinsics, frame()), (lidar.Extrinsics, scan())],
    ids=["camera", "lidar"],
)
def test_wrong_mountings_are_off_by_their_angle(kind: type[Fault[Any]], given: Sample) -> None:
    (worse,) = kind(5).apply(given)
    name = "base_from_camera" if isinstance(given, CameraFrame) else "base_from_lidar"
    true, wrong = getattr(given, name), getattr(worse, name)
    cosine = (np.trace(true[:3, :3].T @ wrong[:3, :3]) - 1.0) / 2.0
    assert np.degrees(np.arccos(cosine)) == pytest.approx(5.0, abs=1e-6)
    assert wrong[:3, 3] == pytest.approx(true[:3, 3])


def test_a_sweep_is_bent_by_the_way_since_each_point() -> None:
    fault = held_out.MotionDistortion(3)  # 5 m/s
    (worse,) = fault.apply(scan())
    offset = scan().time_offset_ns
    assert offset is not None
    newest = np.argmax(offset)
    assert worse.points[newest, :3] == pytest.approx(scan().points[newest, :3], abs=0.05)
    # The first points were measured 0.1 s earlier: half a metre back along x, and 4 degrees.
    oldest = np.argmin(offset)
    x, y = scan().points[oldest, :2]
    angle = np.radians(40.0) * 0.1
    assert worse.points[oldest, :2] == pytest.approx(
        [np.cos(angle) * x - np.sin(angle) * y + 0.5, np.sin(angle) * x + np.cos(angle) * y],
        abs=0.01,
    )


def test_fixes_are_moved_by_what_they_say() -> None:
    step = east_north(gps.Step(3), 5)
    assert np.linalg.norm(step, axis=1) == pytest.approx(20.0, abs=0.01)
    assert step == pytest.approx(np.broadcast_to(step[0], step.shape), abs=0.01)
    drag = np.linalg.norm(east_north(gps.DragOff(5), 11), axis=1)
    assert drag == pytest.approx(2.0 * np.arange(11), abs=0.01)


def test_reflections_wander_over_twenty_seconds() -> None:
    error = np.concatenate([east_north(gps.Multipath(3, seed), 300) for seed in range(12)], axis=1)
    assert error.std() == pytest.approx(10.0, rel=0.15)
    both = error[:-20].ravel() @ error[20:].ravel() / error[:-20].size
    assert both / error.var() == pytest.approx(np.exp(-1.0), abs=0.12)
    (worse,) = gps.Multipath(3).apply(fix())
    assert worse.covariance is not None and np.array_equal(worse.covariance, np.eye(3))


def test_typing_errors_are_few_and_keep_it_a_text() -> None:
    for severity in range(1, 6):
        (worse,) = language.Typing(severity, 3).apply(command())
        slips = int(language.Typing.levels[severity - 1])
        assert abs(len(worse.text) - len(command().text)) <= slips
        assert sum(map(str.isalpha, worse.text)) >= 13 - slips
    (shouted,) = language.Punctuation(5).apply(command())
    letters = "".join(filter(str.isalpha, shouted.text)).lower()
    assert letters == "gototheredbox"


def stream(count: int) -> Iterator[LidarScan]:
    return (scan(i, beams=1) for i in range(count))


def test_faults_of_the_way() -> None:
    losing = timing.Loss(3, 1)
    lost = sum(not losing.apply(s) for s in stream(900))
    assert lost / 900 == pytest.approx(0.3, abs=0.07)
    twice = timing.Duplicate(5)
    assert [len(twice.apply(s)) for s in stream(3)] == [2, 2, 2]
    reorder = timing.Reorder(5, 2)
    stamps = [worse.stamp_ns for s in stream(101) for worse in reorder.apply(s)]
    assert stamps != sorted(stamps)
    assert len(set(stamps)) == len(stamps) >= 100
    ahead = timing.Future(2, 1)
    late = [w.stamp_ns - s.stamp_ns for s in stream(200) for w in ahead.apply(s)]
    assert set(late) == {0, 2000 * MS}
    frozen = timing.Frozen()
    shown = [frozen.apply(frame(i))[0] for i in range(3)]
    assert all(np.array_equal(one.image, frame(0).image) for one in shown)
    assert [one.stamp_ns for one in shown] == [frame(i).stamp_ns for i in range(3)]


def test_a_lag_shows_what_was_before() -> None:
    fault = held_out.Lag(4)  # 200 ms at 10 Hz: two sweeps
    shown = [(s, fault.apply(s)) for s in map(scan, range(6))]
    assert [len(worse) for _, worse in shown] == [0, 0, 1, 1, 1, 1]
    for index, (given, worse) in enumerate(shown[2:]):
        assert worse[0].stamp_ns == given.stamp_ns
        assert np.array_equal(worse[0].points, scan(index).points)


@pytest.mark.parametrize(
    ("text", "injection"),
    [
        ("camera.fog:3@10s-20s", Injection("camera", "fog", 3, 10.0, 20.0)),
        ("camera.fog", Injection("camera", "fog")),
        ("lidar.beams:5@2-", Injection("lidar", "beams", 5, 2.0)),
        ("front.dark:1@0.5s-1.5s", Injection("front", "dark", 1, 0.5, 1.5)),
        ("odometry.loss:2", Injection("odometry", "loss", 2)),
    ],
)
def test_injections_are_read_and_written(text: str, injection: Injection) -> None:
    sources = {"front": Modality.CAMERA}
    assert parse(text, sources) == injection
    assert parse(str(injection), sources) == injection


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("fog", "expected TARGET"),
        ("camera.sand", "fog"),
        ("sonar.fog", "no source 'sonar'"),
        ("camera.fog:9", "1 to 5"),
        ("camera.fog@9s-3s", "ends before"),
        ("gps.fog", "step"),
    ],
)
def test_what_cannot_be_is_refused_and_says_what_can(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse(text)


def test_an_injector_strikes_its_source_in_its_window() -> None:
    injector = Injector([parse("lidar.absent@0.2s-0.4s"), parse("camera.black")])
    for index in range(6):
        given = scan(index)
        struck = injector(given, given.stamp_ns)
        assert len(struck) == (0 if index in (2, 3) else 1), index
        active = injector.active("top", Modality.LIDAR, given.stamp_ns)
        assert bool(active) == (index in (2, 3))
    (worse,) = injector(frame(), START)
    assert isinstance(worse, CameraFrame) and worse.image.max() < 10
    (same,) = injector(fix(), START)
    assert content(same) == content(fix())


def test_sources_of_one_modality_are_struck_independently() -> None:
    injector = Injector([parse("lidar.drop:3")], seed=4)
    first = scan()
    other = LidarScan(first.stamp_ns, "lidar", "rear", first.points, first.base_from_lidar)
    (one,), (two,) = injector(first, START), injector(other, START)
    assert isinstance(one, LidarScan) and isinstance(two, LidarScan)
    assert len(one.points) != len(two.points) or not np.array_equal(one.points, two.points)


def test_training_never_sees_what_is_held_out() -> None:
    """Neither in kind nor in code: no file that training imports names it."""
    held = {kind.name for m in MAKE for kind in kinds(m).values() if kind.held_out}
    assert held == {
        "defocus", "lens_dirt", "rain", "ghost_points", "motion_distortion", "time_offset",
    }  # fmt: skip
    package = Path(held_out.__file__).parents[1]
    for path in (package / "training").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in getattr(node, "names", [])]
            module = getattr(node, "module", None) or ""
            assert "held_out" not in (*names, module), path
            assert not any("injection" in name for name in (*names, module)), path
