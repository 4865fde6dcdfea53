"""The red cube: a way of fusing must tell which colour belongs to which shape.

A controlled experiment on the grid, where the camera shows colours and no shapes and the lidar
shapes and no colours, so that neither alone, nor the sum of what each concludes for itself, can
know. (a) A scene holds {red cube, blue sphere} or {red sphere, blue cube}: which? (b) Of several
objects in eight colours and four shapes, the one that is named is to be chosen; four pairs of
colour and shape are named in the test only.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mm_fusion_ros.evaluation.archive import write_json
from mm_fusion_ros.evaluation.exam import digest_of_code, examined
from mm_fusion_ros.evaluation.faulted import FINGERPRINT, check_fingerprint
from mm_fusion_ros.model.fusion_net import STRATEGIES
from mm_fusion_ros.model.heads import DetectionHead
from mm_fusion_ros.perception import maps
from mm_fusion_ros.perception.grid import FEATURE_CELLS, RASTER

KEPT = "parts"
CODE = ("model", "perception/maps.py", "perception/grid.py", "training/red_cube.py")
CELLS = 8
CAMERA_CHANNELS, LIDAR_CHANNELS, FUSED_CHANNELS = 16, 24, 32
COLOURS, SHAPES = 8, 4
CANDIDATES = 5
LEFT_OUT = ((0, 0), (2, 1), (4, 2), (6, 3))
"""Pairs of colour and shape that training never names."""
NOISE = 0.3
UNIMODAL = ("camera alone", "lidar alone", "late (sum of logits)")
NAMES = (*UNIMODAL, *STRATEGIES)
TRUSTS = {"camera alone": (1.0, 0.0), "lidar alone": (0.0, 1.0)}


@dataclass(frozen=True)
class Budget:
    """The same for all."""

    steps: int = 400
    batch: int = 64
    learning_rate: float = 3e-3
    test: int = 1000


@dataclass(frozen=True)
class Scenes:
    """Made-up scenes on the grid.

    Attributes:
        camera, lidar: (B, channels, CELLS, CELLS), a colour's and a shape's code where an object
            stands, and noise everywhere.
        cells: (B, objects) where they stand, row by row.
        colours, shapes: (B, objects).
    """

    camera: Tensor
    lidar: Tensor
    cells: Tensor
    colours: Tensor
    shapes: Tensor


class World:
    """Draws scenes; the codes of colours and shapes are fixed by the seed."""

    def __init__(self, seed: int) -> None:
        codes = torch.Generator().manual_seed(seed)
        self.colour_codes = torch.randn(COLOURS, CAMERA_CHANNELS, generator=codes)
        self.shape_codes = torch.randn(SHAPES, LIDAR_CHANNELS, generator=codes)

    def draw(self, colours: Tensor, shapes: Tensor, draw: torch.Generator) -> Scenes:
        """Scenes with these objects (B, objects), each in a cell of its own."""
        batch, count = colours.shape
        places = torch.rand(batch, CELLS * CELLS, generator=draw).argsort(dim=1)[:, :count]
        camera = self._grid(self.colour_codes[colours], places, draw)
        lidar = self._grid(self.shape_codes[shapes], places, draw)
        return Scenes(camera, lidar, places, colours, shapes)

    @staticmethod
    def _grid(codes: Tensor, places: Tensor, draw: torch.Generator) -> Tensor:
        batch, _, channels = codes.shape
        grid = NOISE * torch.randn(batch, CELLS * CELLS, channels, generator=draw)
        grid = grid.scatter_add(1, places.unsqueeze(2).expand(-1, -1, channels), codes)
        return grid.transpose(1, 2).reshape(batch, channels, CELLS, CELLS)


class Judge(nn.Module):
    """One strategy, with an answer of each modality alone beside it."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.by_camera = DetectionHead(CAMERA_CHANNELS)
        self.by_lidar = DetectionHead(LIDAR_CHANNELS)
        strategy = STRATEGIES[name if name in STRATEGIES else "masked"]
        self.fusion = strategy(CAMERA_CHANNELS, LIDAR_CHANNELS, FUSED_CHANNELS)

    def forward(self, scenes: Scenes) -> Tensor:
        """(B, maps.PACKED, CELLS, CELLS), what is said of each cell."""
        by_camera, by_lidar = self.by_camera(scenes.camera), self.by_lidar(scenes.lidar)
        if self.name == UNIMODAL[2]:
            together: Tensor = by_camera + by_lidar
            return together
        trust = torch.tensor(TRUSTS.get(self.name, (1.0, 1.0))).view(1, 2, 1, 1)
        trust = trust.expand(len(scenes.camera), 2, CELLS, CELLS)
        camera, lidar = scenes.camera, scenes.lidar
        if self.fusion.reads_points:
            # Each cell holds points of one kind.
            finer = float(RASTER // FEATURE_CELLS)
            camera, lidar = (
                nn.functional.interpolate(each, scale_factor=finer) for each in (camera, lidar)
            )
        result: Tensor = self.fusion(camera, lidar, trust, by_camera, by_lidar)[0]
        return result


def conjunctions(count: int, draw: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Part (a): colours and shapes (count, 2) of scenes, and which kind each is."""
    kind = torch.randint(2, (count,), generator=draw)
    # Red is 0 and blue 1, a cube 0 and a sphere 1: the red one is a cube, or it is a sphere.
    colours = torch.tensor([0, 1]).expand(count, 2)
    shapes = torch.stack([kind, 1 - kind], dim=1)
    return colours, shapes, kind


def named(count: int, unseen: bool, draw: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Part (b): objects of which the first is named; decoys share its colour or its shape.

    Args:
        count: of scenes.
        unseen: whether the named pair is one that training leaves out.
        draw: of all.

    Returns:
        colours, shapes: (count, CANDIDATES); pairs: (count, 2), the named one.
    """
    left_out = torch.tensor(LEFT_OUT)
    everything = torch.cartesian_prod(torch.arange(COLOURS), torch.arange(SHAPES))
    known = torch.tensor(
        [pair for pair in everything.tolist() if tuple(pair) not in LEFT_OUT], dtype=torch.int64
    )
    pool = left_out if unseen else known
    pairs = pool[torch.randint(len(pool), (count,), generator=draw)]
    # Others, never the named pair: of its colour, of its shape, and of neither.
    other_shape = (pairs[:, 1:] + torch.randint(1, SHAPES, (count, 2), generator=draw)) % SHAPES
    other_colour = (pairs[:, :1] + torch.randint(1, COLOURS, (count, 2), generator=draw)) % COLOURS
    colours = torch.cat([pairs[:, :1], pairs[:, :1], other_colour, other_colour[:, :1]], dim=1)
    shapes = torch.cat(
        [pairs[:, 1:], other_shape[:, :1], pairs[:, 1:], pairs[:, 1:], other_shape[:, 1:]], dim=1
    )
    return colours, shapes, pairs


def at_cells(said: Tensor, cells: Tensor) -> Tensor:
    """(B, objects, channels) of maps (B, channels, CELLS, CELLS) at cells (B, objects)."""
    flat = said.flatten(2).transpose(1, 2)
    return flat.gather(1, cells.unsqueeze(2).expand(-1, -1, flat.shape[2]))


def part_a(name: str, budget: Budget, seed: int) -> float:
    """Accuracy on scenes of two objects."""
    torch.manual_seed(seed)
    world, judge, read = World(seed), Judge(name), nn.Linear(maps.PACKED, 1)

    def logits(count: int, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        colours, shapes, kind = conjunctions(count, draw)
        scenes = world.draw(colours, shapes, draw)
        return read(judge(scenes).mean(dim=(2, 3)) * CELLS)[:, 0], kind.float()

    def loss(draw: torch.Generator) -> Tensor:
        said, kind = logits(budget.batch, draw)
        return nn.functional.binary_cross_entropy_with_logits(said, kind)

    _train([judge, read], loss, budget, seed)
    with torch.no_grad():
        said, kind = logits(budget.test, torch.Generator().manual_seed(seed + 1_000_003))
    return float(((said > 0) == (kind > 0.5)).float().mean())


def part_b(name: str, budget: Budget, seed: int) -> float:
    """Accuracy in choosing what is named, of pairs that training never named."""
    torch.manual_seed(seed)
    world, judge = World(seed), Judge(name)
    words = nn.ModuleList([nn.Embedding(COLOURS, maps.PACKED), nn.Embedding(SHAPES, maps.PACKED)])

    def scores(count: int, unseen: bool, draw: torch.Generator) -> Tensor:
        colours, shapes, pairs = named(count, unseen, draw)
        scenes = world.draw(colours, shapes, draw)
        asked = words[0](pairs[:, 0]) + words[1](pairs[:, 1])
        # What each candidate is said to be, against what is asked for.
        there = at_cells(judge(scenes), scenes.cells)
        agreeing: Tensor = (there * asked.unsqueeze(1)).sum(dim=2)
        return agreeing / math.sqrt(maps.PACKED)

    def loss(draw: torch.Generator) -> Tensor:
        said = scores(budget.batch, False, draw)
        return nn.functional.cross_entropy(said, torch.zeros(len(said), dtype=torch.int64))

    _train([judge, words], loss, budget, seed)
    with torch.no_grad():
        said = scores(budget.test, True, torch.Generator().manual_seed(seed + 1_000_003))
    return float((said.argmax(dim=1) == 0).float().mean())


PARTS = {"a": part_a, "b": part_b}


def _train(
    modules: Sequence[nn.Module], loss: Callable[[torch.Generator], Tensor], budget: Budget,
    seed: int,
) -> None:  # fmt: skip
    parameters = [p for module in modules for p in module.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=budget.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, budget.learning_rate, total_steps=budget.steps
    )
    draw = torch.Generator().manual_seed(seed)
    for _ in range(budget.steps):
        optimizer.zero_grad(set_to_none=True)
        loss(draw).backward()
        optimizer.step()
        schedule.step()


def accuracy_of(budget: Budget, asked: tuple[str, str, int]) -> float:
    """Accuracy of (name, part, seed), where the part is "a" or "b"."""
    name, part, seed = asked
    return PARTS[part](name, budget, seed)


def _examiner(budget: Budget, alone: bool) -> Callable[[tuple[str, str, int]], float]:
    """Called once in each process."""
    if not alone:
        torch.set_num_threads(1)  # as many processes as there are processors do better
    return partial(accuracy_of, budget)


def run(
    names: Sequence[str] = NAMES, seeds: Sequence[int] = (0, 1, 2), budget: Budget | None = None,
    *, kept: Path | None = None, processes: int = 2,
) -> dict[str, dict[str, list[float]]]:  # fmt: skip
    """Both parts for each name and seed, with a progress bar.

    Args:
        names: of `NAMES`.
        seeds: of the worlds' codes, the weights' beginning and all draws.
        budget: of each.
        kept: folder of what is done; it is not done again.
        processes: how many at once.

    Returns:
        by name and part, "a" or "b": the accuracy of each seed; chance is 0.5 and 1 / CANDIDATES.

    Raises:
        ValueError: the folder holds accuracies of another budget or code.
    """
    budget = budget or Budget()
    asked = [(name, part, seed) for name in names for part in PARTS for seed in seeds]
    done: dict[tuple[str, str, int], float] = {}
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        how = {"budget": asdict(budget), "code": digest_of_code(CODE)}
        check_fingerprint(kept / FINGERPRINT, how)
        done = {each: _read(path) for each in asked if (path := _path(kept, each)).exists()}
    left = [each for each in asked if each not in done]
    if left:
        found = examined(partial(_examiner, budget, processes <= 1), left, processes, "red cube")
        for each, accuracy in zip(left, found, strict=True):
            done[each] = accuracy
            if kept is not None:
                write_json({"accuracy": accuracy}, _path(kept, each))
    return {
        name: {part: [done[name, part, seed] for seed in seeds] for part in PARTS} for name in names
    }


def _path(kept: Path, asked: tuple[str, str, int]) -> Path:
    name, part, seed = asked
    return kept / f"{name.replace(' ', '_')}-{part}-{seed}.json"


def _read(path: Path) -> float:
    return float(json.loads(path.read_text("utf-8"))["accuracy"])


def means(results: Mapping[str, Mapping[str, Sequence[float]]]) -> dict[str, dict[str, float]]:
    """Over the seeds."""
    return {
        name: {part: float(np.mean(each)) for part, each in row.items()}
        for name, row in results.items()
    }


def table(results: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """As text: the mean over the seeds, and the least."""
    lines = [f"{'':<24}{'(a) conjunction':>18}{'least':>8}{'(b) named, unseen':>20}{'least':>8}"]
    for name, row in results.items():
        figures = [float(f(row[part])) for part in PARTS for f in (np.mean, np.min)]
        lines.append(f"{name:<24}" + "{:>18.3f}{:>8.3f}{:>20.3f}{:>8.3f}".format(*figures))
    lines.append(f"{'chance':<24}{0.5:>18.3f}{'':>8}{1.0 / CANDIDATES:>20.3f}")
    return "\n".join(lines)
