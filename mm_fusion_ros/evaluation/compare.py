"""Fusion strategies side by side: the same scenes, faults and draws for each model."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from mm_fusion_ros.evaluation import archive
from mm_fusion_ros.evaluation.bootstrap import Estimate
from mm_fusion_ros.evaluation.conditions import CLEAN, Condition, conditions_of
from mm_fusion_ros.evaluation.faulted import SCENES, run_faulted
from mm_fusion_ros.evaluation.protocol import Protocol
from mm_fusion_ros.evaluation.report import document, fact_list, with_interval
from mm_fusion_ros.evaluation.robustness import Cell, mean_of, score_cell
from mm_fusion_ros.evaluation.scoring import BOTH
from mm_fusion_ros.evaluation.table import finite, plain
from mm_fusion_ros.inference.backend import Backend
from mm_fusion_ros.inference.backends import BACKENDS
from mm_fusion_ros.inference.model_folder import ModelFolder

FIGURES = ("primary", "secondary")
CONCAT = "concat"
# Cells of the rectangle that one camera of middling width sees, and how often each graph is timed.
ROWS, COLUMNS = 34, 60
RUNS = 60


@dataclass(frozen=True, eq=False)
class Contender:
    """One model.

    Attributes:
        name: of its strategy.
        version: of its weights.
        clean: figure's key to its value on clean scenes.
        ahead: figure's key to the paired difference to the first model; 0 for that itself.
        cells: one for each fault.
        relative: "camera" and "lidar", of the faults of each, and "all", to figure's key to the
            mean accuracy relative to clean.
        fuse_ms: median duration of the fusion graph, one thread [ms]; NaN without one.
    """

    name: str
    version: str
    clean: Mapping[str, Estimate]
    ahead: Mapping[str, Estimate]
    cells: Sequence[Cell]
    relative: Mapping[str, Mapping[str, Estimate]]
    fuse_ms: float


@dataclass(frozen=True, eq=False)
class Comparison:
    """All models, in the order in which they were named."""

    scenes: int
    contenders: Sequence[Contender]

    @property
    def dearer(self) -> float:
        """How many times longer the first fuses than concatenation; NaN where that is not there."""
        by_name = {each.name: each.fuse_ms for each in self.contenders}
        return self.contenders[0].fuse_ms / by_name.get(CONCAT, float("nan"))


def wanted(protocol: Protocol) -> list[Condition]:
    """The conditions of the comparison, the clean one first.

    Raises:
        ValueError: the protocol asks for one that is none of its cells.
    """
    by_name = {each.name: each for each in conditions_of(protocol)}
    if unknown := sorted(set(protocol.compare.faults) - by_name.keys()):
        raise ValueError(f"the comparison asks for {unknown}, which the protocol does not hold")
    return [CLEAN, *[by_name[name] for name in protocol.compare.faults]]


def compare(
    models: Sequence[str], protocol: Protocol, out: Path, *, count: int, split: str = "test",
    processes: int = 2,
) -> Comparison:  # fmt: skip
    """Examines each model and scores them against the first.

    Args:
        models: folders; an empty name takes the weights that ship.
        protocol: what is asked.
        out: folder for the records; scenes already in it are not examined again.
        count: how many scenes.
        split: "test" or "validation".
        processes: how many scenes at once.

    Raises:
        ModelError, ConfigError, ValueError: as `run_faulted`; two models of one name.
    """
    folders = [ModelFolder.open(model) for model in models]
    names = [folder.manifest.name.split()[-1] for folder in folders]
    if len(set(names)) < len(names):
        raise ValueError(f"strategies {names}: each can be compared once")
    conditions = wanted(protocol)
    cells = {}
    for name, model in zip(names, models, strict=True):
        place = out / name
        seeds = run_faulted(
            model, protocol, place, count=count, split=split, processes=processes,
            conditions=conditions,
        )  # fmt: skip
        records = [archive.read(place / SCENES, seed) for seed in seeds]
        shared: dict[float | None, Mapping[str, Mapping[str, Estimate]]] = {}
        cells[name] = [score_cell(records, protocol, each, shared) for each in conditions]
    durations = fusion_ms(folders)
    first = cells[names[0]][0]
    contenders = []
    for name, folder in zip(names, folders, strict=True):
        clean, *struck = cells[name]
        groups = {"all": struck} | {
            group: [cell for cell in struck if cell.condition.group == group]
            for group in ("camera", "lidar")
        }
        contenders.append(
            Contender(
                name,
                folder.manifest.version,
                {key: clean.precision[key][BOTH] for key in FIGURES},
                {
                    key: clean.precision[key][BOTH].minus(first.precision[key][BOTH])
                    for key in FIGURES
                },
                struck,
                {
                    group: {key: mean_of([cell.relative(key) for cell in of]) for key in FIGURES}
                    for group, of in groups.items()
                },
                durations[name],
            )
        )
    return Comparison(count, contenders)


def fusion_ms(folders: Sequence[ModelFolder]) -> dict[str, float]:
    """Median duration of each model's fusion graph [ms], by turns and one thread each."""
    graphs: dict[str, Backend] = {}
    for folder in folders:
        if "fusion.onnx" in folder.manifest.files:
            graph = BACKENDS["onnxruntime"](folder.path("fusion.onnx"), 1)
            graph.activate()
            graphs[folder.manifest.name.split()[-1]] = graph
    rng = np.random.default_rng(0)
    feeds = {
        name: {
            key: rng.random(_example(spec.shape), dtype=np.float32)
            for key, spec in graph.inputs.items()
        }
        for name, graph in graphs.items()
    }
    taken: dict[str, list[int]] = {name: [] for name in graphs}
    for _ in range(RUNS):
        for name, graph in graphs.items():
            began_ns = time.perf_counter_ns()
            graph.infer(feeds[name])
            taken[name].append(time.perf_counter_ns() - began_ns)
    for graph in graphs.values():
        graph.deactivate()
    result = {folder.manifest.name.split()[-1]: float("nan") for folder in folders}
    return result | {name: float(np.median(each)) / 1e6 for name, each in taken.items()}


def _example(shape: Sequence[int | str | None]) -> tuple[int, ...]:
    """Lengths of the axes; those that may have any get those of the rectangle.

    Painted points come as a whole.
    """
    given = (1, 1, ROWS, COLUMNS)
    return tuple(
        length if isinstance(length, int) else any_length
        for length, any_length in zip(shape, given, strict=True)
    )


def verdicts(result: Comparison, protocol: Protocol) -> list[str]:
    """What must hold of the first, a line each."""
    rule, first = protocol.compare, result.contenders[0]
    rivals = result.contenders[1:]
    lines = []
    if rivals:
        best = max(rivals, key=lambda each: each.ahead["primary"].value)
        gain = best.ahead["primary"]
        verdict = "reached" if gain.value <= rule.clean else "NOT reached"
        lines.append(
            f"clean: best of the others is {best.name}, ahead by {gain!s}, bar {rule.clean:g}: "
            f"{verdict}"
        )
        for group in ("camera", "lidar", "all"):
            most = max(rivals, key=lambda each: each.relative[group]["primary"].value)
            mine, theirs = (e.relative[group]["primary"].value for e in (first, most))
            verdict = "reached" if mine > theirs else "NOT reached"
            lines.append(
                f"mRA of {group} faults, the best of all: {first.name} {mine:.3f}, {most.name} "
                f"{theirs:.3f}: {verdict}"
            )
    if np.isfinite(result.dearer):
        verdict = "reached" if result.dearer <= rule.cost else "NOT reached"
        lines.append(
            f"cost of fusing over {CONCAT} = {result.dearer:.2f}, bar {rule.cost:g}: {verdict}"
        )
    return lines


def heads(protocol: Protocol) -> list[str]:
    """Names of the columns."""
    primary, secondary = (protocol.figures[key].name for key in FIGURES)
    return [
        "strategy", f"clean, {primary}", "ahead", f"clean, {secondary}", "mRA camera",
        "mRA lidar", "mRA all", "fuse [ms]",
    ]  # fmt: skip


def rows(result: Comparison) -> list[list[str]]:
    """One for each model."""
    return [
        [
            each.name,
            str(each.clean["primary"]),
            "-" if each is result.contenders[0] else str(each.ahead["primary"]),
            str(each.clean["secondary"]),
            *[str(each.relative[group]["primary"]) for group in ("camera", "lidar", "all")],
            f"{each.fuse_ms:.1f}" if np.isfinite(each.fuse_ms) else "-",
        ]
        for each in result.contenders
    ]


def text(result: Comparison, protocol: Protocol, title: str) -> str:
    """The whole as plain text."""
    lines = [title, "", *verdicts(result, protocol), ""]
    table = [heads(protocol), *rows(result)]
    widths = [max(len(row[column]) for row in table) + 2 for column in range(len(table[0]))]
    lines += ["".join(f"{c:>{w}}" for c, w in zip(row, widths, strict=True)) for row in table]
    lines += ["", "relative to clean, " + protocol.figures["primary"].name]
    lines.append(f"{'':24}" + "".join(f"{each.name:>18}" for each in result.contenders))
    for index, cell in enumerate(result.contenders[0].cells):
        values = [each.cells[index].relative("primary").value for each in result.contenders]
        lines.append(f"{cell.condition.name:24}" + "".join(f"{v:18.3f}" for v in values))
    return "\n".join(lines)


def page(result: Comparison, protocol: Protocol, *, title: str, facts: Mapping[str, str]) -> str:
    """The whole page as HTML."""
    top = "".join(f"<th>{escape(name)}</th>" for name in heads(protocol))
    body = "".join(
        "<tr>" + "".join(f"<td>{with_interval(value)}</td>" for value in row) + "</tr>"
        for row in rows(result)
    )
    names = "".join(f"<th>{escape(each.name)}</th>" for each in result.contenders)
    struck = "".join(
        f"<tr><td>{escape(cell.condition.name)}</td>"
        + "".join(
            f"<td>{with_interval(str(each.cells[index].relative('primary')))}</td>"
            for each in result.contenders
        )
        + "</tr>"
        for index, cell in enumerate(result.contenders[0].cells)
    )
    said = "".join(f"<li>{escape(line)}</li>" for line in verdicts(result, protocol))
    return document(
        title,
        [
            f"<h1>{escape(title)}</h1>{fact_list(facts)}<h2>Bars</h2><ul>{said}</ul>",
            f"<h2>Strategies</h2><table><tr>{top}</tr>{body}</table>",
            f"<h2>Accuracy relative to clean</h2><table><tr><th></th>{names}</tr>{struck}</table>",
        ],
    )


def plain_comparison(result: Comparison) -> dict[str, Any]:
    """Everything as plain values, for JSON."""
    return {
        "scenes": result.scenes,
        "cost_over_concat": finite(result.dearer),
        "strategies": {
            each.name: {
                "version": each.version,
                "clean": {key: plain(value) for key, value in each.clean.items()},
                "ahead": {key: plain(value) for key, value in each.ahead.items()},
                "relative": {
                    group: {key: plain(value) for key, value in values.items()}
                    for group, values in each.relative.items()
                },
                "faults": {
                    cell.condition.name: {key: plain(cell.relative(key)) for key in FIGURES}
                    for cell in each.cells
                },
                "fuse_ms": finite(each.fuse_ms),
            }
            for each in result.contenders
        },
    }
