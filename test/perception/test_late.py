"""Late fusion, on objects placed by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mm_fusion_ros.outputs import CLASSES
from mm_fusion_ros.perception import maps
from mm_fusion_ros.perception.decode import Calibration, Found
from mm_fusion_ros.perception.grid import FEATURE_CELLS
from mm_fusion_ros.perception.late import PRIOR_LOGIT, combine, found_by_both, matched

ONES = Calibration(), Calibration()


def found(
    *places: tuple[float, float], variance: tuple[float, float, float] = (1.0, 1.0, 1.0),
    logit: float = 0.0, kind: int = 0,
) -> Found:  # fmt: skip
    count = len(places)
    centre = np.column_stack([np.array(places).reshape(-1, 2), np.full(count, 0.5)])
    logits = np.full((count, len(CLASSES)), -6.0, np.float32)
    logits[:, kind] = logit
    cells = np.floor((centre[:, :2] + 40.0) / 0.625).astype(np.int64)
    return Found(
        cells, logits, centre, np.ones((count, 3)), np.zeros(count),
        np.tile(np.log(variance), (count, 1)).astype(np.float32),
    )  # fmt: skip


def fused(camera: Found, lidar: Found, trust: tuple[float, float] = (1.0, 1.0)):  # type: ignore[no-untyped-def]
    each = tuple(
        np.full(len(one), value) for one, value in zip((camera, lidar), trust, strict=True)
    )
    return combine(camera, lidar, ONES, each, 50)


def test_two_that_agree_are_one_object_at_the_mean_by_inverse_variance() -> None:
    # Ahead, so that x is along the ray. The camera errs along it, the lidar does not.
    camera = found((10.8, 0.3), variance=(4.0, 0.25, 1.0))
    lidar = found((10.0, 0.0), variance=(0.25, 0.25, 1.0))
    objects, share = fused(camera, lidar)
    assert len(objects) == 1
    # Weights of the camera: 0.25 / 4.25 along, a half across.
    assert objects.centre[0, :2] == pytest.approx([10.0 + 0.8 * 0.25 / 4.25, 0.15])
    assert np.exp(objects.log_variance[0]) == pytest.approx([1 / 4.25, 1 / 8, 0.5])
    assert share[0] == pytest.approx((0.25 / 4.25 + 0.5) / 2)


def test_two_independent_voices_are_surer_than_either() -> None:
    objects, _ = fused(found((10, 0), logit=0.0), found((10, 0), logit=1.0))
    assert objects.class_logits.max() == pytest.approx(1.0 - PRIOR_LOGIT)


def test_a_weak_second_voice_does_not_speak_against() -> None:
    objects, _ = fused(found((10, 0), logit=-4.0), found((10, 0), logit=1.0))
    assert objects.class_logits.max() == pytest.approx(1.0)


def test_what_one_alone_finds_is_as_probable_as_its_trust_allows() -> None:
    objects, _ = fused(found((10, 0), logit=1.0), found(), trust=(0.25, 1.0))
    expected = 0.25 / (1.0 + np.exp(-1.0))
    assert 1.0 / (1.0 + np.exp(-objects.class_logits.max())) == pytest.approx(expected)


def test_the_axes_are_those_of_the_ray() -> None:
    # To the left: the ray is y.
    camera = found((0.0, 12.0), variance=(4.0, 0.01, 1.0))
    lidar = found((0.4, 10.0), variance=(0.01, 4.0, 1.0))
    objects, _ = fused(camera, lidar)
    # Along the ray the lidar is right, across it the camera; their rays differ by 2 degrees.
    assert objects.centre[0, :2] == pytest.approx([0.0, 10.0], abs=0.1)


def test_what_only_one_finds_stays() -> None:
    objects, share = fused(found((10, 0), (20, 5)), found((10, 0), (-10, 0)))
    assert len(objects) == 3
    by_place = {tuple(np.round(c[:2])): s for c, s in zip(objects.centre, share, strict=True)}
    assert by_place[(20.0, 5.0)] == 1.0 and by_place[(-10.0, 0.0)] == 0.0
    assert 0.0 < by_place[(10.0, 0.0)] < 1.0
    for one in (fused(found(), found((10, 0))), fused(found((10, 0)), found())):
        assert len(one[0]) == 1
    assert len(fused(found(), found())[0]) == 0


def test_each_is_matched_once_and_by_the_least_sum_of_distances() -> None:
    # The nearest pair alone (0.9 apart) would leave 10 and 12.9 unmatched.
    camera, lidar = found((10, 0), (12, 0)), found((11.1, 0), (12.9, 0))
    rows, columns = matched(camera, lidar)
    assert rows.tolist() == [0, 1] and columns.tolist() == [0, 1]


def test_far_apart_for_their_covariances_they_are_two() -> None:
    narrow = (0.01, 0.01, 0.01)
    assert len(matched(found((10, 0), variance=narrow), found((10.9, 0), variance=narrow))[0]) == 0
    assert len(matched(found((10, 0)), found((10.9, 0)))[0]) == 1


def test_a_sensor_without_trust_says_next_to_nothing() -> None:
    camera, lidar = found((11, 0), logit=4.0, kind=1), found((10, 0), logit=1.0)
    objects, share = fused(camera, lidar, trust=(0.01, 1.0))
    assert objects.centre[0, 0] == pytest.approx(10.0, abs=0.02)
    assert objects.class_logits[0].argmax() == 0 and share[0] < 0.02


def test_shares_of_what_was_fused_before_are_kept() -> None:
    """A camera that was left out of a fusion of lidar and another camera is combined with it."""
    alone, fused_before = found((10, 0), (20, 5)), found((10, 0), (-10, 0))
    cells = maps.FINER * FEATURE_CELLS
    assert (fused_before.cells < cells).all()
    trust = np.ones((FEATURE_CELLS, FEATURE_CELLS))
    before = np.stack([np.full_like(trust, 0.25), np.full_like(trust, 0.75)]).astype(np.float32)
    objects, share = found_by_both((alone, fused_before), ONES, (trust, trust), before, 50)
    by_place = {
        tuple(np.round(centre[:2])): share[:, x, y]
        for centre, (x, y) in zip(objects.centre, objects.cells // maps.FINER, strict=True)
    }
    assert by_place[(20.0, 5.0)] == pytest.approx([1.0, 0.0])
    assert by_place[(-10.0, 0.0)] == pytest.approx([0.25, 0.75])
    # Half from the camera alone, and of the rest a quarter.
    assert by_place[(10.0, 0.0)] == pytest.approx([0.625, 0.375])
    assert share.sum() == pytest.approx(3.0)


def test_a_model_without_a_fusion_graph_fuses_late(untrained_model: Path, tmp_path: Path) -> None:
    import json
    import shutil

    from mm_fusion_ros.config import PerceptionConfig
    from mm_fusion_ros.inference.model_folder import ModelFolder
    from mm_fusion_ros.perception.detector import Detector

    folder = tmp_path / "late"
    shutil.copytree(untrained_model, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["files"]["fusion.onnx"]
    manifest["inputs"]["fusion"] = "late"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    detector = Detector(ModelFolder.open(folder), PerceptionConfig(score_threshold=0.001))
    camera, lidar = seen(detector)
    both = detector.detect([camera], [lidar])
    assert both.objects and sum(both.share.values()) == pytest.approx(1.0)
    # Alone, each says what it says in any other model.
    other = Detector(ModelFolder.open(untrained_model), PerceptionConfig(score_threshold=0.001))
    for cameras, lidars in (([camera], []), ([], [lidar])):
        mine, theirs = (d.detect(cameras, lidars).objects for d in (detector, other))
        assert [o.centre.tolist() for o in mine] == [o.centre.tolist() for o in theirs]


def seen(detector):  # type: ignore[no-untyped-def]
    from mm_fusion_ros.sensors.camera import PreparedImage
    from mm_fusion_ros.sensors.lidar import PreparedScan

    rng = np.random.default_rng(0)
    forward = np.array([[0.0, 0, 1, 0.2], [-1, 0, 0, 0], [0, -1, 0, 1.2], [0, 0, 0, 1]])
    image = PreparedImage(
        rng.integers(0, 255, (288, 384, 3), dtype=np.uint8),
        np.array([[250.0, 0, 191.5], [0, 250, 143.5], [0, 0, 1]]), (0, 0, 384, 288), forward,
    )  # fmt: skip
    points = rng.uniform(-20, 20, (3000, 4)).astype(np.float32)
    points[:, 2] = np.abs(points[:, 2]) * 0.1
    points[:, 3] = 0.3
    return detector.encode_camera(image), detector.encode_lidar(PreparedScan(points, 0))
