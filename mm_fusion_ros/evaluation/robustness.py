"""Figures under faults: what is left of the accuracy, and whether the floor holds.

In every cell the fused answer is compared with what each sensor alone makes of the same samples:
the one that was struck, and the one that was not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from rich.progress import track

from mm_fusion_ros.evaluation import archive
from mm_fusion_ros.evaluation.archive import FaultedRecord
from mm_fusion_ros.evaluation.average_precision import mean_average_precision
from mm_fusion_ros.evaluation.bootstrap import Estimate, draws
from mm_fusion_ros.evaluation.conditions import (
    CLEAN,
    CLEAN_NAME,
    Condition,
    conditions_of,
    groups,
    limited,
)
from mm_fusion_ros.evaluation.metrics import area, ellipse_coverage
from mm_fusion_ros.evaluation.protocol import ClaimRule, FloorRule, Least, Protocol
from mm_fusion_ros.evaluation.records import Findings, Index, Truths
from mm_fusion_ros.evaluation.scoring import (
    BOTH,
    CAMERA,
    LIDAR,
    SUBSETS,
    calibrated_by,
    placed_by,
)

SPECIALISTS = (CAMERA, LIDAR)
# What does not come cannot be taken for anything else.
NOT_ASKED = ("absent",)
UNKNOWN = Estimate(float("nan"), np.full(1, np.nan), 0)
_records: Sequence[FaultedRecord] = ()
_clean: dict[float | None, Mapping[str, Mapping[str, Estimate]]] = {}


@dataclass(frozen=True, eq=False)
class Cell:
    """One condition.

    Attributes:
        precision: figure's key to subset to its mean average precision under the condition.
        clean: the same of the clean samples, scored in the same region.
        detected: area under the curve by which (1 - trust) tells struck from clean scenes.
        error: calibration error of the class probability of all sensors together.
        coverage: part of their 90 % ellipses that hold the true centre.
    """

    condition: Condition
    precision: Mapping[str, Mapping[str, Estimate]]
    clean: Mapping[str, Mapping[str, Estimate]]
    detected: float = float("nan")
    error: Estimate = UNKNOWN
    coverage: Estimate = UNKNOWN

    @property
    def struck(self) -> str:
        """The subset whose sensors the fault strikes."""
        return self.condition.modality.value

    def cost(self, figure: str) -> float:
        """What part of its clean accuracy the fault costs the sensor that it strikes."""
        return (
            1.0 - ratio(self.precision[figure][self.struck], self.clean[figure][self.struck]).value
        )

    def relative(self, figure: str) -> Estimate:
        """Fused accuracy under the fault / clean."""
        return ratio(self.precision[figure][BOTH], self.clean[figure][BOTH])

    def best(self, figure: str) -> str:
        """The specialist that does best under the fault."""
        values = {name: self.precision[figure][name].value for name in SPECIALISTS}
        return max(values, key=lambda name: np.nan_to_num(values[name], nan=-1.0))

    def above_floor(self, figure: str, rule: FloorRule) -> Estimate:
        """Fused less what must be kept of the best specialist, paired."""
        fused, best = self.precision[figure][BOTH], self.precision[figure][self.best(figure)]
        factor = 1.0 if best.value < rule.small else rule.factor
        kept = Estimate(factor * best.value, factor * best.replicates, best.scenes)
        return fused.minus(kept)


def worst_first(cells: Sequence[Cell], figure: str, rule: FloorRule) -> list[Cell]:
    """Cells by the lower end of the interval above the floor; what has none comes last."""
    ends = [np.nan_to_num(cell.above_floor(figure, rule).interval[0], nan=9.0) for cell in cells]
    return [cells[index] for index in np.argsort(ends, kind="stable")]


@dataclass(frozen=True, eq=False)
class Bar:
    """A figure that must be reached."""

    name: str
    value: Estimate
    least: float

    @property
    def reached(self) -> bool:
        """Whether the figure itself reaches it."""
        return self.value.value >= self.least


@dataclass(frozen=True, eq=False)
class Robustness:
    """The exam under faults.

    Attributes:
        cells: all but the clean one, in the protocol's order.
        bars: mean relative accuracy of the groups, and of what is missing.
        relative: group to figure's key to the mean relative accuracy; "all" for all cells.
        fallen: figure's key to the cells below the floor, worst first.
        noticed: cells whose fault the gate is asked to notice, the least noticed first.
    """

    scenes: int
    cells: Sequence[Cell]
    bars: Sequence[Bar]
    relative: Mapping[str, Mapping[str, Estimate]]
    fallen: Mapping[str, Sequence[Cell]]
    noticed: Sequence[Cell] = ()

    def miscalibrated(self, rule: ClaimRule) -> list[Cell]:
        """Cells whose calibration error is too large or unknown, the largest first."""
        over = [cell for cell in self.cells if not cell.error.value <= rule.ece]
        return sorted(over, key=lambda cell: -np.nan_to_num(cell.error.value, nan=1.0))

    def misplaced(self, rule: ClaimRule) -> list[Cell]:
        """Cells whose ellipses hold too few or too many of the centres, the farthest first."""
        low, high = rule.coverage
        outside = [cell for cell in self.cells if not low <= cell.coverage.value <= high]
        middle = 0.5 * (low + high)
        return sorted(
            outside, key=lambda cell: -np.nan_to_num(abs(cell.coverage.value - middle), nan=1.0)
        )


def ratio(value: Estimate, of: Estimate) -> Estimate:
    """One figure as part of another, replicate by replicate; NaN where that is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        replicates = np.where(of.replicates > 0.0, value.replicates / of.replicates, np.nan)
    whole = value.value / of.value if of.value > 0.0 else float("nan")
    return Estimate(whole, replicates, value.scenes)


def mean_of(values: Sequence[Estimate]) -> Estimate:
    """The mean of figures of the same scenes; those that could not be measured do not enter."""
    known = [value for value in values if np.isfinite(value.value)]
    if not known:
        size, scenes = (len(values[0].replicates), values[0].scenes) if values else (1, 0)
        return Estimate(float("nan"), np.full(size, np.nan), scenes)
    replicates = np.nanmean(np.stack([value.replicates for value in known]), axis=0)
    return Estimate(float(np.mean([v.value for v in known])), replicates, known[0].scenes)


def score_cell(
    records: Sequence[FaultedRecord],
    protocol: Protocol,
    condition: Condition,
    clean: dict[float | None, Mapping[str, Mapping[str, Estimate]]] | None = None,
) -> Cell:
    """Scores one condition; every cell shares the scenes and the bootstrap's draws.

    Args:
        clean: figures of the clean samples by the sector they are scored in; looked up and added
            to, since most conditions share them.
    """
    clean = {} if clean is None else clean
    drawn = draws(len(records), protocol.bootstrap.replicates, protocol.bootstrap.seed)
    # Where a subset's sensors are not struck its clean answer stands.
    worse = [{**r.found[CLEAN_NAME], **r.found[condition.name]} for r in records]
    sector = condition.sector_rad
    if sector not in clean:
        asked, said = _limited(
            records, [record.found[CLEAN_NAME] for record in records], protocol, condition
        )
        clean[sector] = _precision(asked, said, protocol, drawn)
    truths, answers = _limited(records, worse, protocol, condition)
    together = [each[BOTH] for each in answers]
    return Cell(
        condition, _precision(truths, answers, protocol, drawn), clean[sector],
        detection(records, condition), calibrated_by(protocol, truths, together, drawn).error,
        ellipse_coverage(placed_by(protocol, truths, together, BOTH), drawn),
    )  # fmt: skip


def detection(records: Sequence[FaultedRecord], condition: Condition) -> float:
    """How well trust tells struck from clean scenes: 0.5 is chance; NaN where none was recorded."""
    struck = np.array([record.trust.get(condition.name, np.nan) for record in records])
    key = CLEAN_NAME + archive.SEPARATOR + condition.modality.value
    clean = np.array([record.trust.get(key, np.nan) for record in records])
    if not (np.isfinite(struck).all() and np.isfinite(clean).all()) or not len(struck):
        return float("nan")
    return area(-clean, -struck)


def _precision(
    truths: Sequence[Truths],
    scored: Sequence[Mapping[str, Findings]],
    protocol: Protocol,
    drawn: Index,
) -> dict[str, dict[str, Estimate]]:
    """Figure's key to subset to its mean average precision."""
    return {
        key: {
            subset: mean_average_precision(
                truths, [answers[subset] for answers in scored], drawn,
                region=protocol.regions[figure.region], with_colour=figure.with_colour,
                rule=protocol.precision,
            ).overall
            for subset in SUBSETS
        }
        for key, figure in protocol.figures.items()
    }  # fmt: skip


def _limited(
    records: Sequence[FaultedRecord],
    found: Sequence[Mapping[str, Findings]],
    protocol: Protocol,
    condition: Condition,
) -> tuple[list[Truths], list[dict[str, Findings]]]:
    """Truths and answers as the condition scores them."""
    radius_m = max(protocol.precision.radii_m)
    scored = [
        limited(record.truths, answers, condition, radius_m)
        for record, answers in zip(records, found, strict=True)
    ]
    return [truths for truths, _ in scored], [answers for _, answers in scored]


def score_all(
    folder: Path, seeds: Sequence[int], protocol: Protocol, processes: int = 2
) -> Robustness:
    """Scores all cells of records that `faulted.run_faulted` made."""
    conditions = [condition for condition in conditions_of(protocol) if condition != CLEAN]
    cells = list(_cells(folder, seeds, protocol, conditions, processes))
    return summed_up(cells, protocol, len(seeds))


def _cells(
    folder: Path, seeds: Sequence[int], protocol: Protocol, conditions: Sequence[Condition],
    processes: int,
) -> Iterator[Cell]:  # fmt: skip
    context = get_context("spawn")
    with ProcessPoolExecutor(processes, context, _load, (folder, list(seeds))) as pool:
        work = pool.map(partial(_score, protocol), conditions)
        yield from track(work, description="scoring", total=len(conditions))


def _load(folder: Path, seeds: Sequence[int]) -> None:
    """Prepares a process for `_score`."""
    global _records  # noqa: PLW0603 - read once for each process is the point
    _records = [archive.read(folder, seed) for seed in seeds]


def _score(protocol: Protocol, condition: Condition) -> Cell:
    return score_cell(_records, protocol, condition, _clean)


def summed_up(cells: Sequence[Cell], protocol: Protocol, scenes: int) -> Robustness:
    """Means over groups, bars, and the cells below the floor."""
    rule = protocol.robustness
    by_name = {cell.condition.name: cell for cell in cells}
    of_group: dict[str, list[Cell]] = {
        group: [by_name[condition.name] for condition in conditions]
        for group, conditions in groups([cell.condition for cell in cells]).items()
    }
    relative = {
        group: {key: mean_of([cell.relative(key) for cell in members]) for key in protocol.figures}
        for group, members in {**of_group, "all": list(cells)}.items()
    }
    bars = [
        Bar(f"mRA of {group} faults, {_figure(protocol, bar)}", relative[group][bar.figure],
            bar.least)
        for group, bar in rule.mean_relative.items()
    ]  # fmt: skip
    bars += [
        Bar(f"{name}: RA, {_figure(protocol, bar)}", by_name[name].relative(bar.figure), bar.least)
        for name, bar in rule.missing.items()
    ]  # fmt: skip
    fallen = {}
    for key in ("primary", "secondary"):
        fallen[key] = [
            cell for cell in worst_first(cells, key, rule.floor)
            if not cell.above_floor(key, rule.floor).interval[0] > rule.floor.least
        ]  # fmt: skip
    return Robustness(scenes, cells, bars, relative, fallen, asked_of_gate(cells, protocol))


def asked_of_gate(cells: Sequence[Cell], protocol: Protocol) -> list[Cell]:
    """Cells bad enough to be noticed: severe, and costly to the sensor that is struck."""
    rule = protocol.robustness.gate
    severe = [
        cell for cell in cells
        if cell.condition.kind not in NOT_ASKED and np.isfinite(cell.detected)
        and (cell.condition.severity >= rule.severity or ":" not in cell.condition.name)
        and cell.cost("secondary") >= rule.cost
    ]  # fmt: skip
    return sorted(severe, key=lambda cell: cell.detected)


def claims(result: Robustness, protocol: Protocol) -> dict[str, list[Cell]]:
    """What must hold of what is claimed under faults, and the cells where it does not."""
    rule = protocol.robustness.calibration
    if rule is None:
        return {}
    low, high = rule.coverage
    return {
        f"ECE under fault, at most {rule.ece:g}": result.miscalibrated(rule),
        f"90 % ellipse under fault, {low:g} to {high:g}": result.misplaced(rule),
    }


def _figure(protocol: Protocol, bar: Least) -> str:
    return protocol.figures[bar.figure].name


def text(result: Robustness, protocol: Protocol, title: str) -> str:
    """The whole as plain text: bars, floor with the worst cells first, and every cell."""
    floor = protocol.robustness.floor
    lines = [title, ""]
    for bar in result.bars:
        verdict = "reached" if bar.reached else "NOT reached"
        lines.append(f"{bar.name} = {bar.value!s}, bar {bar.least:.2f}: {verdict}")
    for group, figures in result.relative.items():
        said = ", ".join(
            f"{protocol.figures[k].name} {figures[k]!s}" for k in ("primary", "secondary")
        )
        lines.append(f"mRA, {group}: {said}")
    for key, cells in result.fallen.items():
        lines.append(
            f"floor, {protocol.figures[key].name}: {len(result.cells) - len(cells)} of "
            f"{len(result.cells)} cells hold"
        )
        lines += [
            f"  {cell.condition.name}: {cell.above_floor(key, floor)!s} (best: {cell.best(key)})"
            for cell in cells[:10]
        ]
    if result.noticed:
        mean, least = np.mean([cell.detected for cell in result.noticed]), result.noticed[0]
        rule = protocol.robustness.gate
        lines.append(
            f"gate notices ({len(result.noticed)} cells): mean AUROC {mean:.3f}, "
            f"bar {rule.mean:g}; least {least.detected:.3f} ({least.condition.name}), "
            f"bar {rule.least:g}"
        )
        lines += [f"  {c.condition.name}: {c.detected:.3f}" for c in result.noticed[1:12]]
    for name, cells in claims(result, protocol).items():
        lines.append(f"{name}: {len(result.cells) - len(cells)} of {len(result.cells)} cells hold")
        lines += [
            f"  {c.condition.name}: ECE {c.error!s}, ellipse {c.coverage!s}" for c in cells[:10]
        ]
    for key in ("primary", "secondary"):
        lines += ["", f"{protocol.figures[key].name:32}{'both':>24}{'camera':>24}{'lidar':>24}"]
        lines += [
            f"{cell.condition.name:32}"
            + "".join(f"{cell.precision[key][subset]!s:>24}" for subset in (BOTH, CAMERA, LIDAR))
            for cell in result.cells
        ]
    return "\n".join(lines)
