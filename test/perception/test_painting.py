"""Points are painted with what the images show there, in training as at run time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mm_fusion_ros.config import PerceptionConfig
from mm_fusion_ros.inference.model_folder import ModelFolder, write_manifest
from mm_fusion_ros.model.encoders.camera import IMAGE_FEATURES
from mm_fusion_ros.model.export import export
from mm_fusion_ros.model.fusion.early import EarlyFusion
from mm_fusion_ros.model.fusion_net import PAINT, FusionNet, PaintBatch
from mm_fusion_ros.perception import maps
from mm_fusion_ros.perception.detector import Detector
from mm_fusion_ros.perception.features import CameraFeature
from mm_fusion_ros.perception.grid import RASTER, STRIDE, raster_cells
from mm_fusion_ros.perception.painting import paint, painted_points
from mm_fusion_ros.sensors.camera import PreparedImage
from mm_fusion_ros.sensors.lidar import PreparedScan

OPTICAL = np.array([[0, 0, 1, 0.0], [-1, 0, 0, 0.0], [0, -1, 0, 1.0], [0, 0, 0, 1.0]])
K = np.array([[190.0, 0.0, 191.5], [0.0, 190.0, 143.5], [0.0, 0.0, 1.0]])
WHOLE = (0.0, 0.0, 384.0, 288.0)
ROWS, COLUMNS = 288 // STRIDE, 384 // STRIDE


def seen_from(source: str, base_from_camera: np.ndarray, seed: int = 0) -> CameraFeature:
    shape = (1, IMAGE_FEATURES + 2, ROWS, COLUMNS)
    features = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    image = PreparedImage(np.zeros((288, 384, 3), np.uint8), K, (0, 0, 384, 288), base_from_camera)
    return CameraFeature(source, features, image)


def cloud(*points: tuple[float, float, float]) -> np.ndarray:
    return np.array([(*point, 0.5) for point in points], np.float32)


def at(painted: np.ndarray, point: tuple[float, float, float]) -> np.ndarray:
    _, cell = raster_cells(cloud(point))
    return painted.reshape(len(painted), -1)[:, int(cell[0])]


def test_a_point_has_the_features_of_the_pixel_that_shows_it() -> None:
    # Ahead at the camera's height: the middle of the image. Two metres to the left at ten: 38
    # pixels to the left of it.
    ahead, left = (10.0, 0.1, 1.0), (10.0, 2.0, 1.0)
    camera = seen_from("camera", OPTICAL)
    painted = paint(cloud(ahead, left), [camera])
    assert painted.shape == (PAINT, RASTER, RASTER)
    for point in (ahead, left):
        column = 191.5 - 190.0 * point[1] / point[0]
        pixel = camera.features[0, :-2, int(144 / STRIDE), int((column + 0.5) / STRIDE)]
        assert at(painted, point)[:-1] == pytest.approx(pixel)
        assert at(painted, point)[-1] == 1.0


def test_what_no_image_shows_and_cells_without_points_stay_bare() -> None:
    behind = (-10.0, 0.1, 1.0)
    painted = paint(cloud(behind, (10.0, 0.1, 1.0)), [seen_from("camera", OPTICAL)])
    assert not at(painted, behind).any()
    assert painted[-1].sum() == 1.0


def test_two_images_of_a_point_give_their_mean() -> None:
    point = (10.0, 0.1, 1.0)
    cameras = [seen_from("a", OPTICAL, 1), seen_from("b", OPTICAL, 2)]
    both = at(paint(cloud(point), cameras), point)
    alone = [at(paint(cloud(point), [camera]), point) for camera in cameras]
    assert both == pytest.approx(np.mean(alone, axis=0), abs=1e-6)


def test_training_paints_as_the_detector_does() -> None:
    rng = np.random.default_rng(3)
    points = rng.uniform((-30, -30, 0, 0), (30, 30, 2, 1), (3000, 4)).astype(np.float32)
    turned = OPTICAL @ np.diag([-1.0, 1.0, -1.0, 1.0])  # looks back
    cameras = [seen_from("front", OPTICAL, 1), seen_from("back", turned, 2)]
    pixels, cells = [], []
    for index, camera in enumerate(cameras):
        image = camera.image
        pixel, cell = painted_points(points, K, image.base_from_camera, WHOLE, (384, 288))
        pixels.append(index * ROWS * COLUMNS + pixel)
        cells.append(cell)
    batch = PaintBatch(*[torch.from_numpy(np.concatenate(each)) for each in (pixels, cells)])
    features = torch.from_numpy(np.concatenate([camera.features for camera in cameras]))
    assert batch.paint(features, 1)[0].numpy() == pytest.approx(paint(points, cameras), abs=1e-5)


def test_it_begins_as_the_lidars_own_network() -> None:
    torch.manual_seed(0)
    net = FusionNet("early")
    assert isinstance(net.fusion, EarlyFusion)
    net.fusion.start_from(net.lidar_encoder, net.lidar_head)
    raster = torch.rand(1, net.lidar_encoder.fine[0].in_channels, RASTER, RASTER)
    bare, trust = torch.zeros(1, PAINT, RASTER, RASTER), torch.ones(1, 2, 64, 64)
    with torch.no_grad():
        said, _ = net.fusion(bare, raster, trust, bare, bare)
        alone = net.lidar_head(net.lidar(raster))
    # The paint's layer has biases of 0 to begin with.
    assert torch.allclose(said, alone, atol=1e-5)


def test_without_points_a_camera_alone_says_nothing_and_paint_changes_the_answer(
    untrained_model: Path, tmp_path: Path
) -> None:
    torch.manual_seed(1)
    folder = tmp_path / "early"
    files = [path.name for path in export(FusionNet("early"), folder)]
    shipped = ModelFolder.open(untrained_model).manifest
    write_manifest(
        folder, name="early", version=shipped.version, files=files, inputs={}, provenance={},
        calibration={},
    )  # fmt: skip
    config = PerceptionConfig(threads=1, score_threshold=0.001, max_objects=20)
    detector = Detector(ModelFolder.open(folder), config)
    rng = np.random.default_rng(0)
    points = rng.uniform((-30, -30, 0, 0), (30, 30, 2, 1), (4000, 4)).astype(np.float32)
    lidar = detector.encode_lidar(PreparedScan(points=points, invalid=0))
    image = rng.integers(0, 255, (288, 384, 3), dtype=np.uint8)
    camera = detector.encode_camera(PreparedImage(image, K, (0, 0, 384, 288), OPTICAL))
    alone, both = detector.detect([], [lidar]), detector.detect([camera], [lidar])
    assert not detector.detect([camera], []).objects
    assert alone.objects and both.objects and alone.found and both.found
    assert not np.array_equal(alone.found.class_logits, both.found.class_logits)
    # What it says is of the points as they lie at the tick.
    moved = np.eye(4)
    moved[0, 3] = 5.0
    elsewhere = detector.detect([], [replace(lidar, tick_from_base=moved)])
    assert elsewhere.found and not np.array_equal(elsewhere.found.centre, alone.found.centre)
    detector.close()


def test_what_is_unseen_has_the_logit_of_nothing() -> None:
    fusion = FusionNet("early").fusion
    bare = torch.zeros(1, PAINT, RASTER, RASTER)
    raster = torch.zeros(1, 12, RASTER, RASTER)
    trust = torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1).expand(1, 2, 64, 64)
    with torch.no_grad():
        said, _ = fusion(bare, raster, trust, bare, bare)
    assert (said[:, maps.packed(maps.CLASS)] == maps.UNSEEN).all()
