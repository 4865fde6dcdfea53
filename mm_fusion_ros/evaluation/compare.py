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
from mm_fusion_ros.perception.grid import FEATURE_CELLS

FIGURES = ("primary", "secondary")
GROUPS = ("camera", "lidar", "all")
CONCAT = "concat"
WEIGHING = ("gated", "masked")
"""Strategies that weigh the modalities' own answers, and so need not run where one is alone."""
# Cells of the rectangle that one camera of middling width sees, and how often each graph is timed.
ROWS, COLUMNS = 34, 60
RUNS = 60
Figures = Mapping[str, Estimate]


@dataclass(frozen=True, eq=False)
class Contender:
    """One strategy, in one model or in several that were trained from different seeds.

    Attributes:
        name: of the strategy.
        versions: of the weights of each model.
        clean: figure's key to its value on clean scenes, the mean over the models.
        by_model: the primary figure on clean scenes of each model.
        ahead: figure's key to the paired difference to the first strategy; 0 for that itself.
        under: condition to figure's key to the accuracy under it, the mean over the models.
        relative: the same as a part of the model's own clean accuracy.
        fuse_ms: median duration of the fusion graph, one thread [ms]; NaN without one.
        whole_ms: the same on the whole grid, on which a strategy works that cannot leave out what
            no camera sees.
    """

    name: str
    versions: tuple[str, ...]
    clean: Figures
    by_model: tuple[float, ...]
    ahead: Figures
    under: Mapping[Condition, Figures]
    relative: Mapping[Condition, Figures]
    fuse_ms: float
    whole_ms: float = float("nan")

    def kept(self, group: str, protocol: Protocol) -> Estimate:
        """Mean relative accuracy over the faults of a group, or all, in each group's figure."""
        return mean_of([self.relative[c][figure_of(c, protocol)] for c in self._members(group)])

    def accuracy(self, group: str, protocol: Protocol) -> Estimate:
        """Mean accuracy under the same faults, of whatever the strategy has on clean scenes."""
        return mean_of([self.under[c][figure_of(c, protocol)] for c in self._members(group)])

    def _members(self, group: str) -> list[Condition]:
        return [each for each in self.relative if group in ("all", each.group)]


def figure_of(condition: Condition, protocol: Protocol) -> str:
    """The key of the figure that the bar of the condition's group is about."""
    bar = protocol.robustness.mean_relative.get(condition.group)
    return bar.figure if bar else FIGURES[0]


@dataclass(frozen=True, eq=False)
class Comparison:
    """All strategies, in the order in which they were first named."""

    scenes: int
    contenders: Sequence[Contender]

    @property
    def dearer(self) -> float:
        """How many times longer the first fuses than concatenation, on the same cells.

        NaN where that is not there.
        """
        return self.contenders[0].fuse_ms / self._concat("fuse_ms")

    @property
    def dearer_as_run(self) -> float:
        """The same as both run on a robot with one camera.

        Where no camera sees, a strategy that weighs gives the lidar's own answer and needs no
        network; concatenation has no other answer there than that of its network.
        """
        first = self.contenders[0]
        mine = first.fuse_ms if first.name in WEIGHING else first.whole_ms
        return mine / self._concat("whole_ms")

    def _concat(self, figure: str) -> float:
        by_name = {each.name: each for each in self.contenders}
        rival = by_name.get(CONCAT)
        return float(getattr(rival, figure)) if rival else float("nan")


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

    Models of one strategy count as that strategy trained from several seeds.

    Raises:
        ModelError, ConfigError, ValueError: as `run_faulted`.
    """
    opened = [ModelFolder.open(model) for model in models]
    by_strategy: dict[str, list[int]] = {}
    for index, folder in enumerate(opened):
        by_strategy.setdefault(strategy_of(folder), []).append(index)
    conditions = wanted(protocol)
    durations = fusion_ms([opened[indices[0]] for indices in by_strategy.values()])
    contenders: list[Contender] = []
    for name, indices in by_strategy.items():
        cells = []
        for number, index in enumerate(indices, start=1):
            place = out / (name if number == 1 else f"{name}-{number}")
            seeds = run_faulted(
                models[index], protocol, place, count=count, split=split, processes=processes,
                conditions=conditions,
            )  # fmt: skip
            records = [archive.read(place / SCENES, seed) for seed in seeds]
            shared: dict[float | None, Mapping[str, Mapping[str, Estimate]]] = {}
            cells.append([score_cell(records, protocol, each, shared) for each in conditions])
        versions = tuple(opened[index].manifest.version for index in indices)
        against = contenders[0].clean if contenders else None
        contenders.append(contender(name, versions, cells, against, *durations[name]))
    return Comparison(count, contenders)


def contender(
    name: str, versions: tuple[str, ...], cells: Sequence[Sequence[Cell]], against: Figures | None,
    fuse_ms: float, whole_ms: float,
) -> Contender:  # fmt: skip
    """One strategy's figures.

    Args:
        name: of the strategy.
        versions: of its models.
        cells: of each model, the clean one first.
        against: the first strategy's clean figures; None for itself.
        fuse_ms, whole_ms: see `Contender`.
    """
    cleans = [of_model[0].precision for of_model in cells]
    clean = {key: mean_of([each[key][BOTH] for each in cleans]) for key in FIGURES}
    under, relative = {}, {}
    for struck in zip(*[of_model[1:] for of_model in cells], strict=True):
        condition = struck[0].condition
        under[condition] = {
            key: mean_of([cell.precision[key][BOTH] for cell in struck]) for key in FIGURES
        }
        relative[condition] = {
            key: mean_of([cell.relative(key) for cell in struck]) for key in FIGURES
        }
    return Contender(
        name, versions, clean, tuple(each["primary"][BOTH].value for each in cleans),
        {key: clean[key].minus((against or clean)[key]) for key in FIGURES}, under, relative,
        fuse_ms, whole_ms,
    )  # fmt: skip


def strategy_of(folder: ModelFolder) -> str:
    """The last word of the model's name."""
    return folder.manifest.name.split()[-1]


def fusion_ms(folders: Sequence[ModelFolder]) -> dict[str, tuple[float, float]]:
    """By strategy, median duration of its fusion graph, by turns and one thread each [ms].

    Returns:
        on the rectangle that one camera sees, and on the whole grid; NaN without a graph.
    """
    graphs: dict[str, Backend] = {}
    for folder in folders:
        if "fusion.onnx" in folder.manifest.files:
            graph = BACKENDS["onnxruntime"](folder.path("fusion.onnx"), 1)
            graph.activate()
            graphs[strategy_of(folder)] = graph
    rng = np.random.default_rng(0)
    extents = ((ROWS, COLUMNS), (FEATURE_CELLS, FEATURE_CELLS))
    feeds = {
        (name, extent): {
            key: rng.random(_example(spec.shape, extent), dtype=np.float32)
            for key, spec in graph.inputs.items()
        }
        for name, graph in graphs.items()
        for extent in extents
    }
    taken: dict[tuple[str, tuple[int, int]], list[int]] = {key: [] for key in feeds}
    for _ in range(RUNS):
        for (name, extent), feed in feeds.items():
            began_ns = time.perf_counter_ns()
            graphs[name].infer(feed)
            taken[name, extent].append(time.perf_counter_ns() - began_ns)
    for graph in graphs.values():
        graph.deactivate()
    nothing = dict.fromkeys(map(strategy_of, folders), (float("nan"), float("nan")))
    return nothing | {
        name: (
            float(np.median(taken[name, extents[0]])) / 1e6,
            float(np.median(taken[name, extents[1]])) / 1e6,
        )
        for name in graphs
    }


def _example(shape: Sequence[int | str | None], extent: tuple[int, int]) -> tuple[int, ...]:
    """Lengths of the axes; those that may have any get those of the extent.

    Painted points come as a whole.
    """
    return tuple(
        length if isinstance(length, int) else any_length
        for length, any_length in zip(shape, (1, 1, *extent), strict=True)
    )


def verdicts(result: Comparison, protocol: Protocol) -> list[str]:
    """What must hold of the first, a line each."""
    rule = protocol.compare
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
        lines += [
            _best_of_all(f"{name} {group} faults", figure, group, result, protocol)
            for name, figure in (("mRA of", "kept"), ("accuracy under", "accuracy"))
            for group in GROUPS
        ]
    if np.isfinite(result.dearer):
        verdict = "reached" if result.dearer <= rule.cost else "NOT reached"
        lines.append(
            f"cost of fusing over {CONCAT}, same cells = {result.dearer:.2f}, bar {rule.cost:g}: "
            f"{verdict}"
        )
        lines.append(f"the same as both run with one camera = {result.dearer_as_run:.2f}")
    return lines


def _best_of_all(name: str, figure: str, group: str, result: Comparison, protocol: Protocol) -> str:
    """Whether the first is strictly the best in a figure of `Contender`."""
    values = [getattr(each, figure)(group, protocol) for each in result.contenders]
    which = max(
        range(1, len(values)), key=lambda i: float(np.nan_to_num(values[i].value, nan=-1.0))
    )
    mine, theirs = values[0], values[which]
    verdict = "reached" if mine.value > theirs.value else "NOT reached"
    return (
        f"{name}, the best of all: {result.contenders[0].name} {mine.value:.3f}, "
        f"{result.contenders[which].name} {theirs.value:.3f}, ahead by {mine.minus(theirs)!s}: "
        f"{verdict}"
    )


def heads(protocol: Protocol) -> list[str]:
    """Names of the columns."""
    primary, secondary = (protocol.figures[key].name for key in FIGURES)
    return [
        "strategy", "models", f"clean, {primary}", "ahead", f"clean, {secondary}",
        *[f"{what} {group}" for what in ("mRA", "under") for group in GROUPS],
        "fuse [ms]", "whole grid",
    ]  # fmt: skip


def rows(result: Comparison, protocol: Protocol) -> list[list[str]]:
    """One for each strategy."""
    return [
        [
            each.name,
            str(len(each.versions)),
            str(each.clean["primary"]),
            "-" if each is result.contenders[0] else str(each.ahead["primary"]),
            str(each.clean["secondary"]),
            *[str(each.kept(group, protocol)) for group in GROUPS],
            *[str(each.accuracy(group, protocol)) for group in GROUPS],
            *[f"{v:.1f}" if np.isfinite(v) else "-" for v in (each.fuse_ms, each.whole_ms)],
        ]
        for each in result.contenders
    ]


NOTE = (
    "Camera faults by {camera}, lidar faults by {lidar}. What a strategy keeps of its own clean "
    "accuracy (mRA) rewards the one that never used the camera, which cannot lose what it did not "
    "gain; so what each has under the same faults stands beside it."
)


def text(result: Comparison, protocol: Protocol, title: str) -> str:
    """The whole as plain text."""
    lines = [title, "", *verdicts(result, protocol), ""]
    table = [heads(protocol), *rows(result, protocol)]
    # A strategy to a column: there are more figures than fit beside each other.
    widths = [max(map(len, row)) + 2 for row in table]
    lines += [
        f"{column[0]:<{max(map(len, table[0])) + 2}}"
        + "".join(f"{c:>{w}}" for c, w in zip(column[1:], widths[1:], strict=True))
        for column in zip(*table, strict=True)
    ]
    seeds = {each.name: each.by_model for each in result.contenders if len(each.by_model) > 1}
    for name, values in seeds.items():
        lines.append(
            f"{name}, clean, seed by seed: " + ", ".join(f"{value:.3f}" for value in values)
        )
    lines += ["", "under each fault: accuracy, and what part it is of the strategy's clean one"]
    lines.append(f"{'':24}" + "".join(f"{each.name:>18}" for each in result.contenders))
    for condition in result.contenders[0].relative:
        key = figure_of(condition, protocol)
        figures = [
            f"{each.under[condition][key].value:.3f} {each.relative[condition][key].value:6.3f}"
            for each in result.contenders
        ]
        lines.append(f"{condition.name:24}" + "".join(f"{v:>18}" for v in figures))
    return "\n".join(lines)


def page(result: Comparison, protocol: Protocol, *, title: str, facts: Mapping[str, str]) -> str:
    """The whole page as HTML."""
    columns = zip(heads(protocol), *rows(result, protocol), strict=True)
    body = "".join(
        f"<tr><th>{escape(head)}</th>"
        + "".join(f"<td>{with_interval(value)}</td>" for value in values)
        + "</tr>"
        for head, *values in columns
    )
    names = "".join(f"<th>{escape(each.name)}</th>" for each in result.contenders)
    struck = "".join(
        f"<tr><td>{escape(condition.name)}</td>"
        + "".join(
            f"<td>{with_interval(str(each.under[condition][key]))}</td>"
            f"<td>{with_interval(str(each.relative[condition][key]))}</td>"
            for each in result.contenders
        )
        + "</tr>"
        for condition in result.contenders[0].relative
        for key in [figure_of(condition, protocol)]
    )
    seeds = "".join(
        f"<li>{escape(each.name)}, clean, seed by seed: "
        + ", ".join(f"{value:.3f}" for value in each.by_model)
        + "</li>"
        for each in result.contenders
        if len(each.by_model) > 1
    )
    said = "".join(f"<li>{escape(line)}</li>" for line in verdicts(result, protocol))
    figures = {
        group: protocol.figures[figure_of(Condition(group), protocol)].name
        for group in ("camera", "lidar")
    }
    doubled = names.replace("<th>", "<th colspan=2>")
    return document(
        title,
        [
            f"<h1>{escape(title)}</h1>{fact_list(facts)}<h2>Bars</h2><ul>{said}{seeds}</ul>",
            f"<h2>Strategies</h2><p class=soft>{escape(NOTE.format(**figures))}</p>",
            f"<table>{body}</table>",
            "<h2>Accuracy under each fault, and its part of the strategy's clean one</h2>",
            f"<table><tr><th></th>{doubled}</tr>{struck}</table>",
        ],
    )


def plain_comparison(result: Comparison, protocol: Protocol) -> dict[str, Any]:
    """Everything as plain values, for JSON."""
    return {
        "scenes": result.scenes,
        "cost_over_concat": finite(result.dearer),
        "cost_over_concat_as_run": finite(result.dearer_as_run),
        "strategies": {
            each.name: {
                "versions": list(each.versions),
                "clean": {key: plain(value) for key, value in each.clean.items()},
                "clean_by_model": list(each.by_model),
                "ahead": {key: plain(value) for key, value in each.ahead.items()},
                "mean_relative": {g: plain(each.kept(g, protocol)) for g in GROUPS},
                "mean_accuracy": {g: plain(each.accuracy(g, protocol)) for g in GROUPS},
                "relative": _by_name(each.relative),
                "under": _by_name(each.under),
                "fuse_ms": finite(each.fuse_ms),
                "whole_ms": finite(each.whole_ms),
            }
            for each in result.contenders
        },
    }


def _by_name(figures: Mapping[Condition, Figures]) -> dict[str, Any]:
    return {
        condition.name: {key: plain(value) for key, value in of.items()}
        for condition, of in figures.items()
    }
