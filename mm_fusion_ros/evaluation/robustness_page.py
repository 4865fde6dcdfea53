"""The page of the exam under faults: bars, a map of the floor, and every cell's figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from mm_fusion_ros.evaluation.conditions import groups
from mm_fusion_ros.evaluation.pictures import Example
from mm_fusion_ros.evaluation.protocol import Protocol
from mm_fusion_ros.evaluation.report import (
    LEGEND,
    bar_table,
    document,
    fact_list,
    picture,
    with_interval,
)
from mm_fusion_ros.evaluation.robustness import Cell, Robustness, claims, worst_first
from mm_fusion_ros.evaluation.scoring import BOTH, CAMERA, LIDAR
from mm_fusion_ros.evaluation.table import HEADINGS, finite, plain

FIGURES = ("primary", "secondary")
SCALE = 0.1
"""A difference of this much has the full colour."""
FLOOR_NOTE = (
    "Fused less {:g} times the best sensor under the same fault, in small print that sensor. "
    "Green: fused is better; orange: worse. Framed: the lower end of the paired 95 % interval is "
    "not above {:g}."
)
MAP_STYLE = """
.map td { text-align: center; padding: .35rem .6rem; min-width: 4.6em; }
.map td.fallen { outline: 2px solid var(--lidar); outline-offset: -2px; }
.map td small { display: block; }
"""


def page(
    result: Robustness, protocol: Protocol, *, title: str, facts: Mapping[str, str],
    pictures: Sequence[Example] = (),
) -> str:  # fmt: skip
    """The whole page as HTML.

    Args:
        result: of the exam under faults.
        protocol: that it was taken by.
        title: heading.
        facts: model, seeds, machine: what a figure needs to be believed.
        pictures: of the worst cells.
    """
    sections = [f"<h1>{escape(title)}</h1>", fact_list(facts), "<h2>Bars</h2>", bars_of(result)]
    rule = protocol.robustness.floor
    for key in FIGURES:
        name = escape(protocol.figures[key].name)
        held = len(result.cells) - len(result.fallen[key])
        sections += [
            f"<h2>The floor, {name}: {held} of {len(result.cells)} cells hold</h2>",
            f"<p class=soft>{FLOOR_NOTE.format(rule.factor, rule.least)}</p>",
            floor_map(result, protocol, key),
        ]
    sections += ["<h2>What the gate notices, the least first</h2>", gate_table(result, protocol)]
    sections += ["<h2>Mean relative accuracy</h2>", relative_table(result, protocol)]
    for key in FIGURES:
        sections += [
            f"<h2>Every cell, {escape(protocol.figures[key].name)}, the worst first</h2>",
            cell_table(result, protocol, key),
        ]
    for name, cells in claims(result, protocol).items():
        held = len(result.cells) - len(cells)
        sections.append(f"<h2>{escape(name)}: {held} of {len(result.cells)} cells hold</h2>")
        sections += [claim_table(cells)] if cells else []
    if pictures:
        sections += ["<h2>Examples, the worst cells first</h2>", LEGEND, *map(picture, pictures)]
    return document(title, sections, MAP_STYLE)


def bars_of(result: Robustness) -> str:
    """What must be reached, and whether it is."""
    return bar_table(
        (bar.name, with_interval(str(bar.value)), f"{bar.least:.2f}", bar.reached)
        for bar in result.bars
    )


def floor_map(result: Robustness, protocol: Protocol, key: str) -> str:
    """Kinds of fault by severity."""
    by_name = {cell.condition.name: cell for cell in result.cells}
    fallen = {cell.condition.name for cell in result.fallen[key]}
    rows = []
    for group, conditions in groups([cell.condition for cell in result.cells]).items():
        kinds: dict[str, list[str]] = {}
        for condition in conditions:
            kinds.setdefault(condition.kind, []).append(condition.name)
        for kind, names in kinds.items():
            cells = "".join(
                map_cell(by_name[name], protocol, key, name in fallen) for name in names
            )
            rows.append(f"<tr><td>{escape(group)}: {escape(kind)}</td>{cells}</tr>")
    heads = "".join(f"<th>{severity}</th>" for severity in range(1, 6))
    return f"<table class=map><tr><th></th>{heads}</tr>{''.join(rows)}</table>"


def map_cell(cell: Cell, protocol: Protocol, key: str, fallen: bool) -> str:
    """One cell of the map."""
    above = cell.above_floor(key, protocol.robustness.floor).value
    if not np.isfinite(above):
        return "<td>-</td>"
    strength = 70.0 * min(abs(above) / SCALE, 1.0)
    hue = "#00a374" if above >= 0.0 else "#e2570f"
    best = cell.best(key)
    return (
        f"<td{' class=fallen' if fallen else ''} style='background:color-mix(in srgb, {hue} "
        f"{strength:.0f}%, transparent)'>{above:+.3f}<small>{escape(best)} "
        f"{cell.precision[key][best].value:.3f}</small></td>"
    )


def gate_table(result: Robustness, protocol: Protocol) -> str:
    """The faults that the gate is asked to notice, and how well it does."""
    rule = protocol.robustness.gate
    mean = np.mean([cell.detected for cell in result.noticed]) if result.noticed else float("nan")
    body = "".join(
        f"<tr><td>{escape(cell.condition.name)}</td><td>{cell.cost('secondary'):.2f}</td>"
        f"<td class={'hit' if cell.detected >= rule.least else 'wrong'}>{cell.detected:.3f}"
        "</td></tr>"
        for cell in result.noticed
    )
    return (
        "<p class=soft>Area under the curve by which 1 - trust tells struck from clean scenes: "
        f"mean {mean:.3f}, bar {rule.mean:g}; none under {rule.least:g}.</p>"
        f"<table><tr><th>fault</th><th>costs its sensor</th><th>noticed</th></tr>{body}</table>"
    )


def relative_table(result: Robustness, protocol: Protocol) -> str:
    """Groups by figure."""
    heads = "".join(f"<th>{escape(figure.name)}</th>" for figure in protocol.figures.values())
    body = "".join(
        f"<tr><td>{escape(group)}</td>"
        + "".join(f"<td>{with_interval(str(values[key]))}</td>" for key in protocol.figures)
        + "</tr>"
        for group, values in result.relative.items()
    )
    return f"<table><tr><th>faults</th>{heads}</tr>{body}</table>"


def cell_table(result: Robustness, protocol: Protocol, key: str) -> str:
    """All cells, those that fall farthest below the floor first."""
    floor = protocol.robustness.floor
    order = worst_first(result.cells, key, floor)
    heads = "".join(f"<th>{escape(HEADINGS[name])}</th>" for name in (BOTH, CAMERA, LIDAR))
    body = "".join(
        f"<tr><td>{escape(cell.condition.name)}</td>"
        + "".join(
            f"<td>{with_interval(str(cell.precision[key][name]))}</td>"
            for name in (BOTH, CAMERA, LIDAR)
        )
        + f"<td>{with_interval(str(cell.above_floor(key, floor)))}</td>"
        f"<td>{with_interval(str(cell.relative(key)))}</td></tr>"
        for cell in order
    )
    return (
        f"<table><tr><th>condition</th>{heads}<th>above the floor</th><th>of clean</th></tr>"
        f"{body}</table>"
    )


def claim_table(cells: Sequence[Cell]) -> str:
    """What is claimed in those cells, and how far it holds."""
    body = "".join(
        f"<tr><td>{escape(cell.condition.name)}</td><td>{with_interval(str(cell.error))}</td>"
        f"<td>{with_interval(str(cell.coverage))}</td></tr>"
        for cell in cells
    )
    return f"<table><tr><th></th><th>ECE</th><th>90 % ellipse</th></tr>{body}</table>"


def plain_robustness(result: Robustness, protocol: Protocol) -> dict[str, Any]:
    """Everything as plain values, for JSON."""
    floor = protocol.robustness.floor
    return {
        "scenes": result.scenes,
        "bars": [
            {"name": bar.name, "least": bar.least, **plain(bar.value), "reached": bar.reached}
            for bar in result.bars
        ],
        "relative": {
            group: {key: plain(value) for key, value in values.items()}
            for group, values in result.relative.items()
        },
        "below_floor": {
            key: [cell.condition.name for cell in cells] for key, cells in result.fallen.items()
        },
        "calibration": {
            cell.condition.name: {"ece": plain(cell.error), "coverage": plain(cell.coverage)}
            for cell in result.cells
        },
        "costs": {cell.condition.name: finite(cell.cost("secondary")) for cell in result.cells},
        "gate": {cell.condition.name: finite(cell.detected) for cell in result.noticed},
        "cells": {
            cell.condition.name: {
                key: {
                    **{subset: plain(value) for subset, value in of_subset.items()},
                    "best": cell.best(key),
                    "above_floor": plain(cell.above_floor(key, floor)),
                    "relative": plain(cell.relative(key)),
                }
                for key, of_subset in cell.precision.items()
            }
            for cell in result.cells
        },
    }
