"""The real recordings go through the whole pipeline, twice with the same bytes."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path

import numpy as np
import pytest

from mm_fusion_ros.config import FusionConfig
from mm_fusion_ros.inference.model_folder import DEFAULT_FOLDER, MANIFEST, ModelFolder
from mm_fusion_ros.perception.detector import Detector
from mm_fusion_ros.pipeline import Pipeline
from mm_fusion_ros.replay.bag import BagSource
from mm_fusion_ros.replay.runner import OUTPUTS, ReplayResult, replay
from mm_fusion_ros.samples import CameraFrame, LidarScan


def recording(name: str) -> Path:
    beside = Path(__file__).resolve().parents[2].parent / "shared" / "data"
    folder = Path(os.environ.get("MM_FUSION_DATA", beside)) / name
    if not folder.exists():
        pytest.skip(f"{folder} is not there; MM_FUSION_DATA names the folder of recordings")
    return folder


def run(name: str, out: Path, *, detect: bool = False, **options: object) -> ReplayResult:
    out.mkdir(exist_ok=True)
    clock = itertools.count()
    with BagSource(recording(name)) as bag:
        config = bag.config(FusionConfig(), commanded=bool(options.get("command")))
        detector = Detector(ModelFolder.open(), config.perception) if detect else None
        pipeline = Pipeline(config, detector=detector)
        return replay(bag, config, pipeline, out, lambda: next(clock), **options)  # type: ignore[arg-type]


def test_the_street_is_read_whole_and_calibrated() -> None:
    with BagSource(recording("kitti_street")) as bag:
        samples = [event.sample for event in bag.events(bag.config(FusionConfig()))]
        assert not bag.remarks
    frames = [sample for sample in samples if isinstance(sample, CameraFrame)]
    scans = [sample for sample in samples if isinstance(sample, LidarScan)]
    assert (len(frames), len(scans), len(samples)) == (30, 30, 60)
    assert frames[0].image.shape == (375, 1242, 3)
    assert frames[0].intrinsics[0, 0] == pytest.approx(721.5377)
    # Mounted where it is, the lidar sees the ground at height 0: the most frequent height of its
    # low returns, in steps of 0.1 m.
    heights = scans[0].points[:, 2] + scans[0].base_from_lidar[2, 3]
    counts, edges = np.histogram(heights[heights < 0.6], bins=np.arange(-1.05, 0.6, 0.1))
    assert edges[counts.argmax()] + 0.05 == pytest.approx(0.0, abs=0.15)


def test_every_sweep_of_the_street_makes_a_tick_and_nothing_is_dropped(tmp_path: Path) -> None:
    result = run("kitti_street", tmp_path / "a")
    assert result.ticks == 30
    assert not result.trace.by_deadline.any()
    assert not result.rejections
    run("kitti_street", tmp_path / "b", max_ticks=8)
    first, second = ((tmp_path / name / OUTPUTS).read_bytes() for name in ("a", "b"))
    assert second
    assert first.startswith(second)


def test_the_husky_is_localized_from_odometry_and_fixes_alone(tmp_path: Path) -> None:
    result = run("husky_gps", tmp_path / "a", max_ticks=300)
    assert [topic.source for topic in result.topics] == ["gps", "odom"]
    assert set(result.trace.sources) == {"gps", "odom"}
    assert np.isfinite(result.trace.pose[20:]).all()
    assert result.fixes is not None
    # Thirty seconds on a map whose origin is the first fix: where the fixes say, to a few metres.
    assert np.hypot(*(result.trace.pose[-1, :2] - result.fixes.place[-1])) < 10.0
    run("husky_gps", tmp_path / "b", max_ticks=60)
    first, second = ((tmp_path / name / OUTPUTS).read_bytes() for name in ("a", "b"))
    assert second
    assert first.startswith(second)


def test_a_command_on_the_street_gives_a_target_or_the_true_reason(tmp_path: Path) -> None:
    if not (DEFAULT_FOLDER / MANIFEST).exists():
        pytest.skip("no trained weights ship yet")
    run("kitti_street", tmp_path, detect=True, command="go to the nearest car")
    lines = (tmp_path / OUTPUTS).read_text(encoding="utf-8").splitlines()
    for line in lines[12:]:
        target = json.loads(line)["target"]
        assert target["go"] or target["reason"] not in ("no_command", "unknown_command")
        if target["go"]:
            assert target["map_from_target"] is not None
