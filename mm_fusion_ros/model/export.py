"""The trained network as ONNX: five graphs, split where the pipeline needs to wait.

`camera_encoder` runs when an image arrives, `lidar_encoder` when a scan does; `camera_grid` and
`fusion` run at the tick, when the ego-motion between the two is known; `regions` when it is known
where the objects are.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from mm_fusion_ros.model.blocks import StandardizedConvolution
from mm_fusion_ros.model.density import Density
from mm_fusion_ros.model.encoders.camera import IMAGE_FEATURES, lift
from mm_fusion_ros.model.fusion_net import (
    CAMERA_FEATURES,
    LIDAR_FEATURES,
    PAINT,
    FusionNet,
    coverage,
    per_cell,
)
from mm_fusion_ros.perception import maps
from mm_fusion_ros.perception.grid import (
    FEATURE_CELLS,
    LIDAR_CHANNELS,
    LIFT_SHAPE,
    RASTER,
    STRIDE,
)
from mm_fusion_ros.perception.rays import RAY_CHANNELS
from mm_fusion_ros.perception.regions import ABOUT, CROP

OPSET = 17
CELLS = {2: "rows", 3: "columns"}
LIFTED = {0: "cameras", 1: "rows", 2: "columns"}
OBJECTS = {0: "objects"}
VARYING: Mapping[str, Mapping[str, Mapping[int, str]]] = {
    "camera_grid": {
        "features": {0: "cameras"}, "pixel": LIFTED, "log_depth": LIFTED, "valid": LIFTED,
        "grid": CELLS, "answer": CELLS,
    },
    "fusion": {
        "camera": CELLS, "lidar": CELLS, "trust": CELLS, "by_camera": CELLS, "by_lidar": CELLS,
        "output": CELLS, "share": CELLS,
    },
    "regions": dict.fromkeys(("crops", "about", "classes", "colours", "depth"), OBJECTS),
}  # fmt: skip
"""Axes that may have any length, by graph and by its inputs and outputs: any number of cameras and
of crops, and any rectangle of cells with even edges."""
IMAGE_HEIGHT, IMAGE_WIDTH = 288, 384


@dataclass(frozen=True)
class Densities:
    """What is familiar to each encoder."""

    camera: Density
    lidar: Density

    @classmethod
    def untrained(cls) -> Densities:
        """Those that take everything for familiar."""
        return cls(Density(IMAGE_FEATURES), Density(LIDAR_FEATURES))

    @staticmethod
    def seen(features: Tensor) -> Tensor:
        """The image features that are judged: all but the depth."""
        return features[:, :IMAGE_FEATURES]


def content(raster: Tensor) -> Tensor:
    """(B, 1, FEATURE_CELLS, FEATURE_CELLS), 1 where any lidar point lies, else 0."""
    pool = RASTER // FEATURE_CELLS
    return (nn.functional.max_pool2d(raster[:, -1:], pool) > 0).to(raster)


class CameraEncoderGraph(nn.Module):
    """image (1, 288, 384, 3) uint8 RGB, rays (1, R, 72, 96), picture -> features, unfamiliarity.

    The picture (1, 1, 72, 96) is 1 where the image holds any, and 0 beside it; the features are
    (1, F + 2, 72, 96), the unfamiliarity (1,).
    """

    def __init__(self, net: FusionNet, densities: Densities) -> None:
        super().__init__()
        self.encoder, self.density = net.camera_encoder, densities.camera

    def forward(self, image: Tensor, rays: Tensor, picture: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        features: Tensor = self.encoder(image.permute(0, 3, 1, 2).float(), rays)
        return features, self.density(Densities.seen(features), picture)


def total(images: Tensor) -> Tensor:
    """The sum over images, (n, ...) to (1, ...); as a product, which runtimes do faster."""
    ones = images.new_ones((1, images.shape[0]))
    return (ones @ images.flatten(1)).reshape(1, *images.shape[1:])


class CameraGridGraph(nn.Module):
    """Features and lift geometry of n images -> grid features, own answer."""

    def __init__(self, net: FusionNet) -> None:
        super().__init__()
        self.grid, self.head = net.camera_grid, net.camera_head

    def forward(
        self, features: Tensor, pixel: Tensor, log_depth: Tensor, valid: Tensor
    ) -> tuple[Tensor, Tensor]:
        """See the class."""
        lifted = total(lift(features, pixel, log_depth, valid))
        count = total(coverage(valid))
        grid = self.grid(lifted / per_cell(count))
        return grid, self.head(grid)


class LidarEncoderGraph(nn.Module):
    """raster (1, LIDAR_CHANNELS, RASTER, RASTER) -> grid features, own answer, unfamiliarity.

    The unfamiliarity is (1,).
    """

    def __init__(self, net: FusionNet, densities: Densities) -> None:
        super().__init__()
        self.encoder, self.head, self.density = net.lidar_encoder, net.lidar_head, densities.lidar

    def forward(self, raster: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See the class."""
        features = self.encoder(raster)
        return features, self.head(features), self.density(features, content(raster))


class FusionGraph(nn.Module):
    """Features, trust and own answers of both modalities -> output maps, shares."""

    def __init__(self, net: FusionNet) -> None:
        super().__init__()
        self.fusion = net.fusion

    def forward(
        self, camera: Tensor, lidar: Tensor, trust: Tensor, by_camera: Tensor, by_lidar: Tensor
    ) -> tuple[Tensor, Tensor]:
        """See the class."""
        output, share = self.fusion(camera, lidar, trust, by_camera, by_lidar)
        return output, share


class RegionsGraph(nn.Module):
    """crops (n, CROP, CROP, 3) uint8 RGB, about (n, A) -> log-probabilities, depth of each."""

    def __init__(self, net: FusionNet) -> None:
        super().__init__()
        self.head = net.region_head

    def forward(self, crops: Tensor, about: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See the class."""
        classes, colours, depth = self.head(crops.permute(0, 3, 1, 2).float(), about)
        return classes, colours, depth


def bake(module: nn.Module) -> nn.Module:
    """A copy in which standardised convolutions are plain ones with the weights they act with."""
    module = copy.deepcopy(module)
    for name, child in list(module.named_modules()):
        if not isinstance(child, StandardizedConvolution):
            continue
        plain = nn.Conv2d(
            child.in_channels,
            child.out_channels,
            child.kernel_size,  # type: ignore[arg-type]
            child.stride,  # type: ignore[arg-type]
            child.padding,  # type: ignore[arg-type]
        )
        with torch.no_grad():
            plain.weight.copy_(child.effective_weight())
            assert plain.bias is not None and child.bias is not None
            plain.bias.copy_(child.bias)
        parent = module.get_submodule(name.rpartition(".")[0])
        setattr(parent, name.rpartition(".")[2], plain)
    return module


def graphs(
    net: FusionNet, densities: Densities
) -> dict[str, tuple[nn.Module, dict[str, Tensor], list[str]]]:
    """Each graph's module, example inputs by name, and output names."""
    cells = FEATURE_CELLS
    shape = (IMAGE_HEIGHT // STRIDE, IMAGE_WIDTH // STRIDE)
    features = torch.zeros(1, IMAGE_FEATURES + 2, *shape)
    camera = torch.zeros(1, CAMERA_FEATURES, cells, cells)
    lidar = torch.zeros(1, LIDAR_FEATURES, cells, cells)
    raster = torch.zeros(1, LIDAR_CHANNELS, RASTER, RASTER)
    fused = {"camera": camera, "lidar": lidar}
    if net.fusion.reads_points:
        fused = {"paint": torch.zeros(1, PAINT, RASTER, RASTER), "raster": raster}
    fused["trust"] = torch.ones(1, 2, cells, cells)
    fused |= {name: torch.zeros(1, maps.PACKED, cells, cells) for name in ("by_camera", "by_lidar")}
    return {
        "camera_encoder": (
            CameraEncoderGraph(net, densities),
            {
                "image": torch.zeros(1, IMAGE_HEIGHT, IMAGE_WIDTH, 3, dtype=torch.uint8),
                "rays": torch.zeros(1, RAY_CHANNELS, *shape),
                "picture": torch.ones(1, 1, *shape),
            },
            ["features", "unfamiliar"],
        ),
        "camera_grid": (
            CameraGridGraph(net),
            {
                "features": features,
                "pixel": torch.zeros(1, *LIFT_SHAPE, dtype=torch.int64),
                "log_depth": torch.zeros(1, *LIFT_SHAPE),
                "valid": torch.zeros(1, *LIFT_SHAPE),
            },
            ["grid", "answer"],
        ),
        "lidar_encoder": (
            LidarEncoderGraph(net, densities),
            {"raster": raster},
            ["grid", "answer", "unfamiliar"],
        ),
        "fusion": (FusionGraph(net), fused, ["output", "share"]),
        "regions": (
            RegionsGraph(net),
            {
                "crops": torch.zeros(1, CROP, CROP, 3, dtype=torch.uint8),
                "about": torch.zeros(1, ABOUT),
            },
            ["classes", "colours", "depth"],
        ),
    }


def export(
    net: FusionNet, folder: Path, densities: Densities | None = None, *, late: bool = False
) -> list[Path]:
    """Writes the graphs and returns their paths.

    Args:
        net: trained.
        folder: for the files.
        densities: what is familiar; everything by default.
        late: leaves out the fusion on the grid; the detector then combines what each finds.
    """
    densities = densities or Densities.untrained()
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, (module, inputs, outputs) in graphs(net.eval(), densities).items():
        if late and name == "fusion":
            continue
        path = folder / f"{name}.onnx"
        varying = {} if "paint" in inputs else VARYING.get(name, {})
        axes = {key: dict(each) for key, each in varying.items()}
        torch.onnx.export(
            bake(module).eval(),
            tuple(inputs.values()),
            str(path),
            input_names=list(inputs),
            output_names=outputs,
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
        written.append(path)
    return written
