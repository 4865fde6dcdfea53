"""The detector takes any subset of sensors and says whose the answer is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from mm_fusion_ros.config import PerceptionConfig
from mm_fusion_ros.geometry import planar
from mm_fusion_ros.inference.model_folder import ModelError, ModelFolder, write_manifest
from mm_fusion_ros.perception import maps
from mm_fusion_ros.perception.detector import NOTHING, Detector
from mm_fusion_ros.perception.features import CameraFeature, LidarFeature
from mm_fusion_ros.perception.grid import FEATURE_CELLS
from mm_fusion_ros.perception.window import Window
from mm_fusion_ros.sensors.camera import PreparedImage
from mm_fusion_ros.sensors.lidar import PreparedScan

OPTICAL = np.array([[0, 0, 1, 0.2], [-1, 0, 0, 0.1], [0, -1, 0, 1.2], [0, 0, 0, 1.0]])
K = np.array([[190.0, 0.0, 191.5], [0.0, 190.0, 143.5], [0.0, 0.0, 1.0]])


@pytest.fixture(scope="module")
def detector(untrained_model: Path) -> Iterator[Detector]:
    # Random weights find "objects" of low probability everywhere: enough to test the plumbing.
    config = PerceptionConfig(threads=1, score_threshold=0.001, max_objects=20)
    detector = Detector(ModelFolder.open(untrained_model), config)
    yield detector
    detector.close()


def camera(detector: Detector, source: str = "camera") -> CameraFeature:
    image = np.random.default_rng(1).integers(0, 255, (288, 384, 3), dtype=np.uint8)
    return detector.encode_camera(PreparedImage(image, K, (0, 0, 384, 288), OPTICAL), source)


def lidar(detector: Detector, source: str = "lidar", seed: int = 0) -> LidarFeature:
    rng = np.random.default_rng(seed)
    points = rng.uniform((-30, -30, 0, 0), (30, 30, 2, 1), (4000, 4)).astype(np.float32)
    return detector.encode_lidar(PreparedScan(points=points, invalid=0), source)


def test_nothing_in_gives_nothing_out(detector: Detector) -> None:
    assert detector.detect([], []) is NOTHING


@pytest.mark.parametrize("cameras", [0, 1, 3])
@pytest.mark.parametrize("lidars", [0, 1, 2])
def test_every_subset_gives_objects_whose_shares_sum_to_one(
    detector: Detector, cameras: int, lidars: int
) -> None:
    if cameras + lidars == 0:
        return
    found = detector.detect(
        [camera(detector, f"camera_{i}") for i in range(cameras)],
        [lidar(detector, f"lidar_{i}", i) for i in range(lidars)],
    )
    assert found.objects
    assert sum(found.share.values()) == pytest.approx(1.0)
    assert len(found.share) == cameras + lidars
    for item in found.objects:
        assert sum(item.support.values()) == pytest.approx(1.0, abs=1e-5)
        assert np.linalg.eigvalsh(item.position_covariance).min() > 0.0


@pytest.mark.parametrize("apart", [{"camera_0"}, {"camera_0", "camera_1"}])
def test_one_that_sees_the_world_elsewhere_is_not_fused_cell_by_cell(
    detector: Detector, monkeypatch: pytest.MonkeyPatch, apart: set[str]
) -> None:
    eyes, scan = [camera(detector, f"camera_{i}") for i in range(2)], lidar(detector)
    fused_with = []
    fuse = Detector._fuse

    def watched(
        self: Detector, cameras: list, placed: object, held: object, *more: object
    ) -> object:
        fused_with.append(({each.source for each in cameras}, held is not None))
        return fuse(self, cameras, placed, held, *more)

    monkeypatch.setattr(Detector, "_fuse", watched)
    found = detector.detect(eyes, [scan], trust={"camera_0": 0.2, "lidar": 0.5}, apart=apart)
    assert sorted(fused_with, key=str) == sorted(
        [({"camera_0", "camera_1"} - apart, True), (apart, False)], key=str
    )
    assert found.objects and sum(found.share.values()) == pytest.approx(1.0)
    assert set(found.aleatoric_m2) == {"camera_0", "camera_1", "lidar"}
    for item in found.objects:
        assert sum(item.support.values()) == pytest.approx(1.0, abs=1e-5)
    # Without a lidar there is nothing to be apart from.
    fused_with.clear()
    detector.detect(eyes, [], apart=apart)
    assert fused_with == [({"camera_0", "camera_1"}, False)]


def test_how_far_two_that_contradict_are_doubted_both_changes_nothing(detector: Detector) -> None:
    eye, scan = camera(detector), lidar(detector)
    answers = [
        detector.detect([eye], [scan], trust={"camera": 0.4 * x, "lidar": x}, apart={"camera"})
        for x in (1.0, 0.5)
    ]
    first, second = ([item.centre.tolist() for item in each.objects] for each in answers)
    assert first[:5] == second[:5]


def test_without_a_camera_no_object_stands_on_one(detector: Detector) -> None:
    found = detector.detect([], [lidar(detector)])
    assert found.share == {"lidar": pytest.approx(1.0)}
    assert all(set(item.support) == {"lidar"} for item in found.objects)


def test_a_camera_alone_finds_objects_only_where_it_looks(detector: Detector) -> None:
    found = detector.detect([camera(detector)], [])
    # The optical axis is x; the field of view is 2 atan(192 / 190), about 90 degrees. Shares are
    # taken in the cell of the peak, which may lie a cell beside the centre.
    for item in found.objects:
        if "camera" in item.support:
            assert item.centre[0] > abs(item.centre[1]) - 3.0


def test_beyond_the_margin_the_rest_of_the_grid_changes_nothing(
    detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    eye, scan = camera(detector), lidar(detector)
    believed = np.ones((2, FEATURE_CELLS, FEATURE_CELLS), np.float32)

    def answer() -> np.ndarray:
        placed = detector.place([eye])
        believed[0] = placed.covered
        output, share = detector._fuse([eye], placed, scan, believed)
        assert share.sum(axis=0) == pytest.approx(1.0, abs=1e-5)
        return 1.0 / (1.0 + np.exp(-output[maps.packed(maps.CLASS)]))

    assert detector.place([eye]).grid.shape[2] < FEATURE_CELLS
    small = answer()
    monkeypatch.setattr(Window, "around", classmethod(lambda cls, covered: cls()))
    assert detector.place([eye]).grid.shape[2] == FEATURE_CELLS
    assert np.abs(small - answer()).max() < 0.01


def test_alone_each_modality_says_what_the_fusion_would_make_of_it(detector: Detector) -> None:
    eye, scan = camera(detector), lidar(detector)
    placed = detector.place([eye])
    believed = np.zeros((2, FEATURE_CELLS, FEATURE_CELLS), np.float32)
    believed[0] = placed.covered
    by_camera, share = detector._fuse([eye], placed, None, believed)
    inside = placed.window.of_maps
    said = detector._graphs["fusion"].infer(
        {
            "camera": placed.grid,
            "by_camera": placed.answer,
            "lidar": np.zeros_like(scan.grid[inside]),
            "by_lidar": np.zeros_like(placed.answer),
            "trust": believed[None][inside],
        }
    )
    assert by_camera[inside] == pytest.approx(said["output"][0], abs=1e-4)
    assert np.array_equal(share[0], placed.covered) and not share[1].any()
    assert (by_camera[maps.packed(maps.CLASS)][:, ~placed.covered] == maps.UNSEEN).all()
    by_lidar, _ = detector._fuse([], None, scan, np.stack([believed[1], believed[1] + 1.0]))
    assert np.array_equal(by_lidar, scan.answer[0])


def test_a_scan_of_another_instant_is_moved_before_it_is_used(detector: Detector) -> None:
    from dataclasses import replace

    here = lidar(detector)
    moved_points = here.scan.points.copy()
    moved_points[:, 0] += 5.0
    shifted = detector.encode_lidar(PreparedScan(points=moved_points, invalid=0), "lidar")
    by_motion = detector.detect([], [replace(here, tick_from_base=planar(5.0, 0.0, 0.0))])
    directly = detector.detect([], [shifted])
    assert [item.centre.tolist() for item in by_motion.objects] == [
        item.centre.tolist() for item in directly.objects
    ]


@pytest.mark.parametrize("told", [True, False])
def test_images_say_how_far_things_are_where_nothing_else_measures_it(
    untrained_model: Path, monkeypatch: pytest.MonkeyPatch, told: bool
) -> None:
    """Only without a lidar, and only by a network that can tell."""
    config = PerceptionConfig(threads=1, score_threshold=0.001, max_objects=20)
    calibration = {"camera": {"depth_weight": 1e6, "exists_weights": [0.0, 0.0, 0.0]}}
    folder = ModelFolder.open(untrained_model)
    with closing(Detector(folder, config, calibration={})) as plain:
        seen, scanned = camera(plain), lidar(plain)
        alone, both, scan = (
            plain.detect(*given).found
            for given in (([seen], []), ([seen], [scanned]), ([], [scanned]))
        )
    with closing(Detector(folder, config, calibration=calibration)) as hearing:
        judged = hearing._graphs["regions"].infer

        def farther(feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            result = dict(judged(feeds))
            if told:
                said = np.array([[np.log(1.25), -6.0]], np.float32)
                result["depth"] = np.repeat(said, len(feeds["about"]), axis=0)
            else:
                del result["depth"]  # a model that was exported before it was told
            return result

        monkeypatch.setattr(hearing._graphs["regions"], "infer", farther)
        now = hearing.detect([seen], [])
        assert now.found is not None and alone is not None
        away, before = (
            np.linalg.norm(each.centre[:, :2] - OPTICAL[:2, 3], axis=1)
            for each in (now.found, alone)
        )
        in_view = now.looks["camera"].in_view
        assert in_view.any()
        assert np.array_equal(now.found.centre, alone.centre) == (not told)
        # Those that stay are moved by a quarter, or not at all.
        factor = away[:, None] / before
        wanted = np.where(in_view, 1.25 if told else 1.0, 1.0)
        assert (np.abs(factor - wanted[:, None]).min(axis=1) < 0.02).mean() > 0.8
        for given, expected in ((([seen], [scanned]), both), (([], [scanned]), scan)):
            same = hearing.detect(*given).found
            assert same is not None and expected is not None
            assert np.array_equal(same.centre, expected.centre)


def test_the_same_input_gives_the_same_bits(detector: Detector) -> None:
    first = detector.detect([camera(detector)], [lidar(detector)])
    second = detector.detect([camera(detector)], [lidar(detector)])
    assert [o.centre.tobytes() for o in first.objects] == [
        o.centre.tobytes() for o in second.objects
    ]


def test_a_folder_without_a_graph_is_refused_by_name(untrained_model: Path, tmp_path: Path) -> None:
    for name in ("camera_encoder", "camera_grid", "lidar_encoder"):
        (tmp_path / f"{name}.onnx").write_bytes((untrained_model / f"{name}.onnx").read_bytes())
    files = [path.name for path in tmp_path.iterdir()]
    write_manifest(
        tmp_path, name="x", version="0", files=files, inputs={}, provenance={}, calibration={}
    )
    with pytest.raises(ModelError, match="fusion"):
        Detector(ModelFolder.open(tmp_path), PerceptionConfig())
