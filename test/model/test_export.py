"""The exported graphs compute what the trained network computes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from mm_fusion_ros.config import PerceptionConfig
from mm_fusion_ros.inference.model_folder import ModelFolder
from mm_fusion_ros.model.encoders.camera import IMAGE_FEATURES, lift, lift_seen
from mm_fusion_ros.model.export import bake
from mm_fusion_ros.model.fusion_net import (
    CAMERA_FEATURES,
    LIDAR_FEATURES,
    CameraBatch,
    FusionNet,
    trust_map,
)
from mm_fusion_ros.perception import maps
from mm_fusion_ros.perception.detector import GRAPHS, Detector
from mm_fusion_ros.perception.grid import FEATURE_CELLS, LIFT_SHAPE, lift_geometry, rasterize
from mm_fusion_ros.perception.rays import ray_planes
from mm_fusion_ros.perception.regions import ABOUT, CROP

OPTICAL = np.array([[0, 0, 1, 0.2], [-1, 0, 0, 0.1], [0, -1, 0, 1.2], [0, 0, 0, 1.0]])
K = np.array([[190.0, 0.0, 191.5], [0.0, 190.0, 143.5], [0.0, 0.0, 1.0]])
CAMERA = (1, CAMERA_FEATURES, FEATURE_CELLS, FEATURE_CELLS)
LIDAR = (1, LIDAR_FEATURES, FEATURE_CELLS, FEATURE_CELLS)


@pytest.fixture(scope="module")
def net() -> FusionNet:
    torch.manual_seed(0)  # the seed that the untrained model was made with
    return FusionNet().eval()


@pytest.fixture(scope="module")
def detector(untrained_model: Path) -> Iterator[Detector]:
    detector = Detector(ModelFolder.open(untrained_model), PerceptionConfig(threads=1))
    yield detector
    detector.close()


def test_the_graphs_agree_with_the_network_for_two_cameras_and_a_lidar(
    net: FusionNet, detector: Detector
) -> None:
    rng = np.random.default_rng(3)
    images = rng.integers(0, 255, (2, 288, 384, 3), dtype=np.uint8)
    turned = np.diag([-1.0, -1.0, 1.0, 1.0]) @ OPTICAL  # a second camera, looking back
    region = (0.0, 0.0, 384.0, 288.0)
    lifts = [lift_geometry(K, pose, region, (384, 288)) for pose in (OPTICAL, turned)]
    rays = np.stack([ray_planes(K, pose, (384, 288)) for pose in (OPTICAL, turned)])
    points = rng.uniform((-30, -30, 0, 0), (30, 30, 2, 1), (5000, 4)).astype(np.float32)
    raster = rasterize(points)[None]
    geometry = {
        name: np.stack([getattr(lift, name) for lift in lifts])
        for name in ("pixel", "log_depth", "valid")
    }
    with torch.no_grad():
        batch = CameraBatch(
            torch.from_numpy(images).permute(0, 3, 1, 2).float(),
            torch.from_numpy(rays),
            *[torch.from_numpy(geometry[n]) for n in ("pixel", "log_depth", "valid")],
            sample=torch.zeros(2, dtype=torch.int64),
            trust=torch.tensor([1.0, 0.4]),
            batch=1,
        )
        grid, trust_camera, features = net.camera(batch)
        lidar = net.lidar(torch.from_numpy(raster))
        trust = trust_map(trust_camera, torch.tensor([0.7]))
        output, share = net.fuse(grid, lidar, trust)

    graphs, whole = detector._graphs, np.ones((1, 1, *rays[0].shape[1:]), np.float32)
    encoded = [
        graphs["camera_encoder"].infer(
            {"image": image[None], "rays": looks[None], "picture": whole}
        )["features"]
        for image, looks in zip(images, rays, strict=True)
    ]
    assert np.concatenate(encoded) == pytest.approx(features.numpy(), abs=2e-4)
    camera = graphs["camera_grid"].infer({"features": np.concatenate(encoded), **geometry})
    assert camera["grid"] == pytest.approx(grid.numpy(), abs=2e-3)
    sees = np.stack([each.covered for each in lifts])
    mean = (sees[0] + 0.4 * sees[1]) / np.maximum(sees.sum(axis=0), 1)
    assert trust_camera.numpy()[0, 0] == pytest.approx(mean, abs=1e-6)
    scan = graphs["lidar_encoder"].infer({"raster": raster})
    assert scan["grid"] == pytest.approx(lidar.numpy(), abs=2e-3)
    fused = graphs["fusion"].infer(
        {
            "camera": camera["grid"],
            "lidar": scan["grid"],
            "trust": trust.numpy(),
            "by_camera": camera["answer"],
            "by_lidar": scan["answer"],
        }
    )
    assert fused["output"] == pytest.approx(output.numpy(), abs=5e-3)
    assert fused["share"] == pytest.approx(share.numpy(), abs=1e-3)


def test_crops_are_judged_alike_however_many_there_are(net: FusionNet, detector: Detector) -> None:
    rng = np.random.default_rng(4)
    crops = rng.integers(0, 255, (5, CROP, CROP, 3), dtype=np.uint8)
    about = rng.normal(size=(5, ABOUT)).astype(np.float32)
    said = detector._graphs["regions"].infer({"crops": crops, "about": about})
    with torch.no_grad():
        pixels = torch.from_numpy(crops).permute(0, 3, 1, 2).float()
        classes, colours, depth = net.region_head(pixels, torch.from_numpy(about))
    assert said["classes"] == pytest.approx(classes.numpy(), abs=1e-3)
    assert said["colours"] == pytest.approx(colours.numpy(), abs=1e-3)
    assert said["depth"] == pytest.approx(depth.numpy(), abs=1e-3)
    assert np.exp(said["classes"]).sum(axis=1) == pytest.approx(1.0, abs=1e-4)


def test_baking_keeps_what_a_module_computes(net: FusionNet) -> None:
    inputs = [torch.randn(CAMERA), torch.randn(LIDAR), torch.ones(1, 2, *CAMERA[2:])]
    inputs += [torch.randn(1, maps.PACKED, *CAMERA[2:]) for _ in range(2)]
    with torch.no_grad():
        assert torch.allclose(bake(net.fusion)(*inputs)[0], net.fusion(*inputs)[0], atol=1e-4)


def test_every_graph_is_exported(untrained_model: Path) -> None:
    assert set(ModelFolder.open(untrained_model).manifest.files) == {f"{n}.onnx" for n in GRAPHS}


def test_lifting_only_what_is_seen_gives_the_same_and_the_same_gradient() -> None:
    draw = torch.Generator().manual_seed(0)
    pixel = torch.randint(0, 72 * 96, (2, *LIFT_SHAPE), generator=draw)
    log_depth = 3.0 * torch.rand(2, *LIFT_SHAPE, generator=draw)
    valid = (torch.rand(2, *LIFT_SHAPE, generator=draw) < 0.25).float()
    given = torch.randn(2, IMAGE_FEATURES + 2, 72, 96, generator=draw)
    results = []
    for how in (lift, lift_seen):
        features = given.clone().requires_grad_()
        lifted = how(features, pixel, log_depth, valid)
        lifted.square().sum().backward()
        assert features.grad is not None
        results.append((lifted.detach(), features.grad))
    assert torch.equal(results[0][0], results[1][0])
    torch.testing.assert_close(results[0][1], results[1][1])
