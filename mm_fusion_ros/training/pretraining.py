"""What pretraining by contrast gains where labels are few: the experiment, and its table.

Each sensor's specialist is trained with 1 %, 10 % and all of the labels, from random weights and
from those that contrast gave without labels, with the same number of steps, and measured on
validation scenes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader

from mm_fusion_ros.evaluation.average_precision import mean_average_precision
from mm_fusion_ros.evaluation.bootstrap import draws
from mm_fusion_ros.evaluation.matching import Region
from mm_fusion_ros.evaluation.protocol import load_protocol
from mm_fusion_ros.evaluation.records import Findings, Truths
from mm_fusion_ros.model.fusion_net import FusionNet
from mm_fusion_ros.perception.decode import Calibration, decode
from mm_fusion_ros.training import cache
from mm_fusion_ros.training.cases import findings_of, truths_of
from mm_fusion_ros.training.contrast import Contrast
from mm_fusion_ros.training.dataset import PLAIN, Batch, SceneDataset, collate
from mm_fusion_ros.training.train import (
    NEEDS,
    STAGES,
    TrainConfig,
    Trainer,
    stage_loss,
    to_device,
)

RESULTS = "results.json"
SHARES = (0.01, 0.1, 1.0)
STARTS = ("random", "contrast")
BATCH = 8
LEAST_PROBABILITY, MOST_OBJECTS = 0.01, 60
REPLICATES = 1000
LEARNS = {"lidar": ("lidar",), "camera": ("image", "camera")}


@dataclass(frozen=True)
class Budget:
    """Steps of each stage, the same for all; and scenes that are measured on."""

    contrast: int = 600
    lidar: int = 400
    image: int = 300
    camera: int = 200
    validation: int = 200

    def steps(self, *stages: str) -> dict[str, int]:
        """For those stages; none for the others."""
        return {stage: getattr(self, stage) for stage in stages if hasattr(self, stage)}


@torch.no_grad()
def specialist_precision(
    net: FusionNet, folder: Path, seeds: Sequence[int], who: str
) -> dict[str, float]:
    """MAP (class right, full circle) of one sensor's own answers, uncalibrated, and their loss.

    The loss tells two networks apart before either finds anything.

    Args:
        net: of which one encoder and its head are asked.
        folder: cached scenes.
        seeds: of the scenes.
        who: "lidar" or "camera"; each is asked for what it gets enough of.

    Returns:
        "map", "low" and "high" of its 95 % bootstrap interval, and "loss", the mean of the stage.
    """
    net = net.eval()
    loader: DataLoader[Batch] = DataLoader(
        SceneDataset(folder, seeds, PLAIN, needs=NEEDS[who]),  # type: ignore[arg-type]
        BATCH, collate_fn=collate,
    )  # fmt: skip
    findings: list[Findings] = []
    losses: list[float] = []
    contrast, draw = Contrast(), torch.Generator()  # neither is used by these stages
    for loaded in loader:
        batch = to_device(loaded, torch.device("cpu"))
        if who == "lidar":
            answers = net.lidar_head(net.lidar(batch.raster))
        else:
            answers = net.camera_head(net.camera(batch.cameras)[0])
        findings += [_findings(answer) for answer in answers.numpy()]
        loss = stage_loss(net, contrast, batch, who, draw)["total"]
        losses += [float(loss)] * len(answers)
    truths = [_truths(cache.load(cache.path_of(folder, seed)), who) for seed in seeds]
    protocol = load_protocol()
    estimate = mean_average_precision(
        truths, findings, draws(len(seeds), REPLICATES, protocol.bootstrap.seed),
        region=Region(in_view=False, max_range_m=40.0), with_colour=False,
        rule=protocol.precision,
    ).overall  # fmt: skip
    low, high = estimate.interval
    return {"map": estimate.value, "low": low, "high": high, "loss": float(np.mean(losses))}


def _findings(answer: np.ndarray) -> Findings:
    found = decode(answer, Calibration(), LEAST_PROBABILITY, MOST_OBJECTS)
    logits = found.class_logits.astype(np.float64)
    probability = 1.0 / (1.0 + np.exp(-logits.max(axis=1, initial=-30.0)))
    return findings_of(found, logits.argmax(axis=1), probability)


def _truths(scene: cache.Scene, who: str) -> Truths:
    by_lidar = scene.lidar_points >= cache.LIDAR_MIN_POINTS
    return truths_of(scene, by_lidar if who == "lidar" else np.asarray(scene.seen.any(axis=1)))


def run(
    folder: Path, out: Path, who: Sequence[str] = ("lidar", "camera"),
    budget: Budget | None = None, base: TrainConfig | None = None, device: str = "cpu",
) -> dict[str, dict[str, float]]:  # fmt: skip
    """The whole experiment; what is there already is not done again.

    Args:
        folder: cached scenes, training and validation.
        out: checkpoints, and the results as they come.
        who: sensors.
        budget: steps and scenes.
        base: seed, scenes, batch and workers of the runs.
        device: that they are trained on.

    Returns:
        by "sensor, share of labels, start" what `specialist_precision` gives.
    """
    budget, base = budget or Budget(), base or TrainConfig()
    clean = dict.fromkeys(STAGES, 0.0)
    first = Trainer(_like(base, budget.steps("contrast"), clean), folder, out / "contrast", device)
    first.resume()
    first.run(["contrast"])
    path = out / RESULTS
    results: dict[str, dict[str, float]] = json.loads(path.read_text()) if path.exists() else {}
    seeds = cache.VALIDATION_SEEDS[: budget.validation]
    for sensor in who:
        for share in SHARES:
            for start in STARTS:
                name = f"{sensor}, {share:g}, {start}"
                if "loss" in results.get(name, {}):
                    continue
                config = _like(base, budget.steps(*LEARNS[sensor]), clean, share)
                trainer = Trainer(config, folder, out / name.replace(", ", "_"), device)
                if start == "contrast":
                    trainer.start_from(first.checkpoint)
                trainer.resume()
                trainer.run(LEARNS[sensor])
                results[name] = specialist_precision(trainer.averaged(), folder, seeds, sensor)
                path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return results


def _like(
    base: TrainConfig, steps: dict[str, int], faults: dict[str, float], labels: float = 1.0
) -> TrainConfig:
    return TrainConfig(
        seed=base.seed, scenes=base.scenes, batch=base.batch, workers=base.workers, steps=steps,
        faults=faults, labels=labels,
    )  # fmt: skip


def table(results: Mapping[str, Mapping[str, float]]) -> str:
    """As text: mAP with its interval and loss, a line for each sensor and share of the labels."""
    lines = [f"{'mAP, class right':<18}" + "".join(f"{start + ', loss':>32}" for start in STARTS)]
    for name in dict.fromkeys(key.rpartition(", ")[0] for key in results):
        sensor, share = name.split(", ")
        cells = []
        for start in STARTS:
            row = results.get(f"{name}, {start}")
            cells.append(
                f"{row['map']:.3f} [{row['low']:.3f}, {row['high']:.3f}], {row['loss']:.3f}"
                if row
                else "not run"
            )
        label = f"{sensor}, {100 * float(share):g} %"
        lines.append(f"{label:<18}" + "".join(f"{cell:>32}" for cell in cells))
    return "\n".join(lines)
