"""Training: each modality alone, then the fusion over frozen encoders, then all together.

The curriculum is what a small budget allows: a specialist that was trained alone is not taught
laziness by a stronger neighbour, and the fusion learns from features that hold still. Images are
learned from first where they are sharp and cheap, before any of them is lifted onto the grid; then
encoder and grid learn together, since what tells a place on the grid is not all that tells a pixel.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mm_fusion_ros.config import ConfigError
from mm_fusion_ros.model.blocks import StandardizedConvolution
from mm_fusion_ros.model.encoders.camera import IMAGE_FEATURES
from mm_fusion_ros.model.fusion_net import DEFAULT, FusionNet, trust_map
from mm_fusion_ros.training import curves, mining, weights
from mm_fusion_ros.training.contrast import Contrast, at, places
from mm_fusion_ros.training.dataset import (
    EVERYTHING,
    SUBSETS,
    Augmentation,
    Batch,
    Faults,
    Needs,
    SceneDataset,
    collate,
)
from mm_fusion_ros.training.losses import (
    TargetBatch,
    depth_loss,
    detection_loss,
    image_losses,
    region_losses,
)
from mm_fusion_ros.training.precision import mixed
from mm_fusion_ros.training.processes import Processes
from mm_fusion_ros.training.sampling import CountingSampler

STAGES = ("contrast", "image", "lidar", "regions", "camera", "fusion", "joint")
NEEDS = {
    "contrast": Needs(taught=False, subsets=()),
    "image": Needs(grid=False, raster=False, subsets=()),
    "lidar": Needs(images=False, grid=False, subsets=("lidar",)),
    "regions": Needs(images=False, regions=True, grid=False, raster=False, subsets=()),
    "camera": Needs(raster=False, subsets=("camera",)),
    "fusion": Needs(taught=False),
    "joint": EVERYTHING,
}
ALWAYS_BOTH = (0.0, 0.0, 1.0)
DEPTH_WEIGHT = 0.2
IMAGE_WEIGHT = 0.5
ASIDE_WEIGHT = 0.5  # of terms beside the one that a stage is about


@dataclass(frozen=True)
class TrainConfig:
    """One training run; it is written into the checkpoint and the manifest."""

    seed: int = 0
    strategy: str = DEFAULT
    scenes: int = 7000
    batch: int = 8
    steps: dict[str, int] = field(
        default_factory=lambda: {
            "contrast": 0,
            "image": 1800,
            "lidar": 3200,
            "regions": 2000,
            "camera": 1000,
            "fusion": 800,
            "joint": 0,
        }
    )
    learning_rate: dict[str, float] = field(
        default_factory=lambda: {
            "contrast": 1e-3,
            "image": 2e-3,
            "lidar": 2e-3,
            "regions": 2e-3,
            "camera": 2e-3,
            "fusion": 2e-3,
            "joint": 5e-4,
        }
    )
    faults: dict[str, float] = field(
        default_factory=lambda: {
            "image": 0.3,
            "lidar": 0.3,
            "regions": 0.4,
            "camera": 0.3,
            "fusion": 0.5,
            "joint": 0.5,
        }
    )
    """Share of a stage's samples that faults strike, once a third of it is over."""
    labels: float = 1.0
    """Share of the scenes whose labels may be read; `contrast` reads none, and all scenes."""
    precision: str = "auto"
    """Of `precision.PRECISIONS`."""
    weight_decay: float = 1e-2
    ema: float = 0.998
    workers: int = 1
    checkpoint_s: float = 120.0


def trained_modules(net: FusionNet, contrast: Contrast, stage: str) -> list[nn.Module]:
    """What a stage changes; everything else is frozen."""
    parts: dict[str, list[nn.Module]] = {
        "contrast": [net.camera_encoder, net.camera_grid, net.lidar_encoder, contrast],
        "image": [net.camera_encoder, net.image_head],
        "lidar": [net.lidar_encoder, net.lidar_head],
        "regions": [net.region_head],
        "camera": [net.camera_encoder, net.image_head, net.camera_grid, net.camera_head],
        "fusion": [net.fusion],
        "joint": [net],
    }
    return parts[stage]


def choose(targets: dict[str, TargetBatch], subset: Tensor) -> TargetBatch:
    """For each sample the targets of its subset; `subset` (B,) indexes `SUBSETS`.

    Where targets of one subset only were drawn, it is everybody's.
    """
    if len(targets) == 1:
        return next(iter(targets.values()))
    rows = torch.arange(len(subset))

    def pick(name: str) -> Tensor:
        return torch.stack([getattr(targets[s], name) for s in SUBSETS])[subset, rows]

    return TargetBatch(*[pick(name) for name in ("heat", "care", "weight", "box")])


def stage_loss(
    net: FusionNet, contrast: Contrast, batch: Batch, stage: str, draw: torch.Generator
) -> dict[str, Tensor]:
    """Loss terms of one step; "total" is what is minimised."""
    if stage == "contrast":
        where = places(batch, draw)
        grid, _, _ = net.camera(batch.cameras)
        alike: dict[str, Tensor] = contrast(at(grid, *where), at(net.lidar(batch.raster), *where))
        return alike
    if stage == "lidar":
        return detection_loss(net.lidar_head(net.lidar(batch.raster)), batch.targets["lidar"])
    if stage == "image":
        features = net.camera_encoder(batch.cameras.image, batch.cameras.rays)
        terms = image_terms(net, features, batch)
        terms["total"] = terms["in_image"]
        return terms
    if stage == "regions":
        regions = batch.regions
        said = net.region_head(regions.crops, regions.about)
        return region_losses(said, regions.class_index, regions.colour_index, regions.depth)
    if stage == "camera":
        grid, _, features = net.camera(batch.cameras)
        terms = detection_loss(net.camera_head(grid), batch.targets["camera"])
        terms |= image_terms(net, features, batch)
        terms["total"] = terms["total"] + ASIDE_WEIGHT * terms["in_image"]
        return terms

    with torch.set_grad_enabled(stage == "joint"):
        camera, trust_camera, features = net.camera(batch.cameras)
        lidar = net.lidar(batch.raster)
    subset = torch.full((len(lidar),), SUBSETS.index("both"))
    if net.fusion.subset_shares != ALWAYS_BOTH:
        shares = torch.tensor(net.fusion.subset_shares)
        subset = torch.multinomial(shares, len(lidar), replacement=True, generator=draw)
    by_name = {name: subset == index for index, name in enumerate(SUBSETS)}
    has_camera, has_lidar = (~by_name[other].to(lidar.device) for other in ("lidar", "camera"))
    trust = trust_map(trust_camera * has_camera.view(-1, 1, 1, 1), batch.trust_lidar * has_lidar)
    points = None
    if net.fusion.reads_points:
        points = batch.paint.paint(features, len(lidar)), batch.raster
    output, _ = net.fuse(camera, lidar, trust, points)
    terms = detection_loss(output, choose(batch.targets, subset))
    if stage == "joint":
        alone = detection_loss(net.lidar_head(lidar), batch.targets["lidar"])["total"]
        alone = alone + detection_loss(net.camera_head(camera), batch.targets["camera"])["total"]
        terms["alone"] = alone + image_terms(net, features, batch)["in_image"]
        terms["total"] = terms["total"] + ASIDE_WEIGHT * terms["alone"]
    return terms


def image_terms(net: FusionNet, features: Tensor, batch: Batch) -> dict[str, Tensor]:
    """What the image features are taught before they are lifted; "in_image" is the weighted sum."""
    depth = depth_loss(features, batch.image_depth, batch.image_weight)
    said = net.image_head(features[:, :IMAGE_FEATURES])
    heat, shown = image_losses(said, batch.image_heat, batch.image_shown, batch.image_weight)
    in_image = DEPTH_WEIGHT * depth + IMAGE_WEIGHT * (heat + shown)
    return {"depth": depth, "image_heat": heat, "image_shown": shown, "in_image": in_image}


def rate(step: int, steps: int, peak: float) -> float:
    """Linear warm-up over 3 %, at least 30 steps or a quarter, then a cosine down to 1 %."""
    warm = max(1, min(30, steps // 4), steps * 3 // 100)
    if step < warm:
        return peak * (step + 1) / warm
    progress = (step - warm) / max(1, steps - warm)
    return peak * (0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * progress)))


class Trainer:
    """Runs the stages in order, writes logs and checkpoints, and resumes where it was cut off."""

    def __init__(
        self, config: TrainConfig, cache: Path, out: Path, device: str = "cpu",
        processes: Processes | None = None,
    ) -> None:  # fmt: skip
        """Prepares an untrained network; with several `processes`, `config.batch` is each one's."""
        self.processes = processes or Processes()
        self.config, self.cache, self.out = config, cache, out
        self.device = torch.device(device)
        torch.manual_seed(config.seed)
        self.net = FusionNet(config.strategy).to(self.device)
        self.net = self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.contrast = Contrast().to(self.device)
        self._begin_average()
        self.done: dict[str, int] = dict.fromkeys(STAGES, 0)
        self.optimizer_state: dict[str, object] | None = None
        self.stage = ""
        """Whose optimizer state that is."""
        self.start: dict[str, object] = {}
        """The record of the run that this one started from; empty for none."""
        out.mkdir(parents=True, exist_ok=True)

    def start_from(self, start: str | Path) -> list[str]:
        """Takes over the averaged weights of another run, part by part.

        A part (of one first name) is taken over where all that was given of it has a place here, of
        the same shape; what it has grown since begins anew.

        Args:
            start: see `weights.load`.

        Returns:
            the parts that were taken over.
        """
        given, how = weights.load(start)
        own = self.net.state_dict()
        unfit = {
            k.split(".")[0] for k, v in given.items() if k not in own or own[k].shape != v.shape
        }
        if how.get("config", {}).get("strategy", self.config.strategy) != self.config.strategy:
            unfit.add("fusion")
        parts = sorted({name.split(".")[0] for name in given} - unfit)
        taken = {k: v for k, v in given.items() if k.split(".")[0] in parts}
        self.net.load_state_dict({**own, **taken})
        self._begin_average()
        self.start = {"parts": parts, **how}
        return parts

    @property
    def checkpoint(self) -> Path:
        """The file that a cut-off run is resumed from."""
        return self.out / "checkpoint.pt"

    def save(self, optimizer: torch.optim.Optimizer | None) -> None:
        """Writes the checkpoint; it is either whole or the one before."""
        if not self.processes.leads:
            return
        partial = self.checkpoint.with_suffix(".partial")
        state = {
            "config": asdict(self.config),
            "net": self.net.state_dict(),
            "contrast": self.contrast.state_dict(),
            "average": self.average,
            "done": self.done,
            "start": self.start,
            "stage": self.stage,
            "optimizer": optimizer.state_dict() if optimizer else None,
        }
        torch.save(state, partial)
        partial.replace(self.checkpoint)

    def resume(self) -> None:
        """Takes up the checkpoint, if the first process has one."""
        state: dict[str, Any] | None = None
        if self.processes.leads and self.checkpoint.exists():
            state = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        state = self.processes.shared(state)
        if state is None:
            return
        try:
            self.net.load_state_dict(state["net"])
        except RuntimeError as error:
            raise ConfigError(
                f"{self.checkpoint} is of another network than this version trains: "
                f"name another folder, and this file with --start ({error})"
            ) from error
        if "contrast" in state:
            self.contrast.load_state_dict(state["contrast"])
        self.average = {k: v.to(self.device) for k, v in state["average"].items()}
        self.done = {**self.done, **state["done"]}
        self.optimizer_state, self.stage = state["optimizer"], state["stage"]
        self.start = state.get("start", {})

    def averaged(self) -> FusionNet:
        """The network with its exponentially averaged weights, for evaluation and export."""
        net = FusionNet(self.config.strategy)
        net.load_state_dict(self.average)
        return net.eval()

    def run(self, stages: Sequence[str] = STAGES) -> None:
        """Trains every stage that still has steps to do."""
        for stage in stages:
            if self.done[stage] < self.config.steps.get(stage, 0):
                self._run_stage(stage)
                self.optimizer_state = None
                # The next stage builds on the averaged weights, which are what is shipped.
                self.net.load_state_dict(self.average)
                self.save(None)

    def _batches(self, stage: str) -> DataLoader[Batch]:
        config = self.config
        # Each stage has a stream of its own.
        seed = config.seed * 100 + STAGES.index(stage)
        labelled = max(1, round(config.scenes * config.labels))
        seeds = range(config.scenes if stage == "contrast" else labelled)
        processes = self.processes
        a_step = config.batch * processes.count
        start, total = self.done[stage] * a_step, config.steps[stage] * a_step
        faults = Faults(config.faults[stage], total // 3) if config.faults.get(stage) else None
        needs = NEEDS[stage]
        if stage == "fusion" and self.net.fusion.subset_shares == ALWAYS_BOTH:
            needs = replace(needs, subsets=("both",))
        if stage in {"fusion", "joint"} and self.net.fusion.reads_points:
            needs = replace(needs, paint=True)
        proposed = self._proposed(seeds) if needs.regions else None
        dataset = SceneDataset(self.cache, seeds, Augmentation(), seed, needs, faults, proposed)
        sampler = CountingSampler(len(dataset), seed, start, total, processes.rank, processes.count)
        return DataLoader(
            dataset,  # type: ignore[arg-type]
            config.batch,
            sampler=sampler,
            num_workers=config.workers,
            collate_fn=collate,
            drop_last=True,
            prefetch_factor=4 if config.workers else None,
        )

    def _proposed(self, seeds: Sequence[int]) -> list[mining.Boxes]:
        """What the lidar finds in those scenes; looked for once a run."""
        path = self.out / "proposed.npz"
        found: list[mining.Boxes] = []
        if self.processes.leads:
            if not path.exists():
                net = self.averaged()
                mining.save(
                    mining.mine(net, self.cache, seeds, self.config.workers, str(self.device)), path
                )
            found = mining.load(path)
        return self.processes.shared(found)

    def _begin_fusion(self) -> None:
        """A fusion that nobody trained yet takes over what it can of the lidar's network."""
        taken = self.start.get("parts", ())
        if self.done["fusion"] or (isinstance(taken, list) and "fusion" in taken):
            return
        self.net.fusion.start_from(self.net.lidar_encoder, self.net.lidar_head)
        self._begin_average()

    def _renew(self, modules: Sequence[nn.Module]) -> None:
        """What is trained on learns as fast as what is new."""
        for part in (each for module in modules for each in module.modules()):
            if isinstance(part, StandardizedConvolution):
                part.renew()
        self._begin_average()

    def _run_stage(self, stage: str) -> None:
        config, steps = self.config, self.config.steps[stage]
        if stage == "fusion":
            self._begin_fusion()
        for parameter in self.net.parameters():
            parameter.requires_grad_(False)
        modules = trained_modules(self.net, self.contrast, stage)
        if self.start and not self.done[stage]:
            self._renew(modules)
        parameters = [p for module in modules for p in module.parameters()]
        for parameter in parameters:
            parameter.requires_grad_(True)
        # Gains and biases are not decayed.
        groups: list[dict[str, Any]] = [
            {"params": [p for p in parameters if p.ndim > 1 and p[0].numel() > 1]},
            {"params": [p for p in parameters if not (p.ndim > 1 and p[0].numel() > 1)],
             "weight_decay": 0.0},
        ]  # fmt: skip
        optimizer = torch.optim.AdamW(groups, weight_decay=config.weight_decay)
        if self.optimizer_state and self.stage == stage:
            optimizer.load_state_dict(self.optimizer_state)
        self.stage = stage
        processes = self.processes
        draw = torch.Generator().manual_seed(
            config.seed + self.done[stage] + 1_000_003 * processes.rank
        )
        began = saved = time.monotonic()
        first, a_step = self.done[stage], config.batch * processes.count
        sums: dict[str, float] = {}
        with open(self.out / curves.LOG, "a", encoding="utf-8") as log:
            for step, loaded in enumerate(self._batches(stage), start=first):
                batch = to_device(loaded, self.device)
                for group in optimizer.param_groups:
                    group["lr"] = rate(step, steps, config.learning_rate[stage])
                # What contrast compares are small differences.
                precision = "float32" if stage == "contrast" else config.precision
                with mixed(precision, self.device):
                    terms = stage_loss(self.net, self.contrast, batch, stage, draw)
                optimizer.zero_grad(set_to_none=True)
                terms["total"].backward()
                processes.average_gradients(parameters)
                nn.utils.clip_grad_norm_(parameters, 10.0)
                optimizer.step()
                self._average(min(config.ema, (step + 1) / (step + 10)))
                self.done[stage] = step + 1
                for name, value in terms.items():
                    sums[name] = sums.get(name, 0.0) + float(value.detach())
                if (step + 1) % 50 == 0 and processes.leads:
                    elapsed = time.monotonic() - began
                    entry = {
                        "stage": stage,
                        "step": step + 1,
                        "samples_per_s": round((step + 1 - first) * a_step / elapsed, 2),
                        # After a resume, of as many as there were.
                        **{n: round(v / min(50, step + 1 - first), 4) for n, v in sums.items()},
                    }
                    line = json.dumps(entry)
                    print(line, flush=True)
                    log.write(line + "\n")
                    log.flush()
                    sums = {}
                if time.monotonic() - saved > config.checkpoint_s:
                    self.save(optimizer)
                    saved = time.monotonic()
        self.save(optimizer)
        if processes.leads and (self.out / curves.LOG).stat().st_size:
            curves.write(self.out)

    def _begin_average(self) -> None:
        """The average of the weights as they are."""
        self.average = {k: v.detach().clone() for k, v in self.net.state_dict().items()}

    @torch.no_grad()
    def _average(self, decay: float) -> None:
        for name, value in self.net.state_dict().items():
            self.average[name].lerp_(value, 1.0 - decay)


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch on the device, images as floats, convolution inputs with channels last."""
    last = torch.channels_last
    cameras = batch.cameras
    cameras.image = cameras.image.to(device).float().contiguous(memory_format=last)
    for name in ("rays", "pixel", "log_depth", "valid", "sample", "trust"):
        setattr(cameras, name, getattr(cameras, name).to(device))
    for name in ("image_depth", "image_heat", "image_shown", "image_weight", "trust_lidar"):
        setattr(batch, name, getattr(batch, name).to(device))
    for name in ("pixel", "cell"):
        setattr(batch.paint, name, getattr(batch.paint, name).to(device))
    regions = batch.regions
    regions.crops = (
        regions.crops.permute(0, 3, 1, 2).to(device).float().contiguous(memory_format=last)
    )
    for name in ("about", "class_index", "colour_index", "depth"):
        setattr(regions, name, getattr(regions, name).to(device))
    batch.raster = batch.raster.to(device).contiguous(memory_format=last)
    batch.targets = {
        subset: TargetBatch(*[getattr(t, n).to(device) for n in ("heat", "care", "weight", "box")])
        for subset, t in batch.targets.items()
    }
    return batch
