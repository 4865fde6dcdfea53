"""The log of a training run as a page with a chart for each stage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from mm_fusion_ros.replay import page
from mm_fusion_ros.replay.chart import Plot

LOG, PAGE = "log.jsonl", "curves.html"
OTHER = ("stage", "step", "samples_per_s")
COLOURS = ("--camera", "--lidar", "--gps", "--odometry", "--imu", "--command")
WIDEST = (-1.0, 6.0)
"""What lies beyond is drawn at the edge: the first steps would flatten all others."""


def read(path: Path) -> dict[str, list[dict[str, Any]]]:
    """The entries of a log, by stage. Of a step that was done twice the later stands."""
    stages: dict[str, dict[int, dict[str, Any]]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        stages.setdefault(entry["stage"], {})[entry["step"]] = entry
    return {name: [steps[step] for step in sorted(steps)] for name, steps in stages.items()}


def chart(entries: list[dict[str, Any]]) -> str:
    """The losses of one stage over its steps, each term a line, the total bold."""
    steps = np.array([entry["step"] for entry in entries], np.float64)
    terms = [name for name in entries[-1] if name not in OTHER]
    curves = {
        name: np.clip([entry.get(name, np.nan) for entry in entries], *WIDEST) for name in terms
    }
    values = np.concatenate(list(curves.values()))
    low, high = np.floor(np.nanmin(values)), np.ceil(np.nanmax(values))
    plot = Plot((0.0, float(steps[-1])), (float(min(low, 0.0)), float(high)), 220.0, x_unit="")
    keys: list[tuple[str, str]] = []
    for index, (name, curve) in enumerate(curves.items()):
        last = name == "total"
        colour = "var(--ink)" if last else f"var({COLOURS[index % len(COLOURS)]})"
        plot.line(steps, curve, colour, 2.4 if last else 1.5)
        keys.append((colour, f"{name} {entries[-1][name]:.3f}"))
    return plot.svg("losses over steps") + page.key(keys)


def write(folder: Path) -> Path:
    """Draws the log of a run's folder; returns the page's path."""
    parts = []
    for name, entries in read(folder / LOG).items():
        last = entries[-1]
        told = (
            f'<p class="small faint">{last["step"]} steps, {last["samples_per_s"]:g} samples/s; '
            "each point is the mean of 50 steps</p>"
        )
        parts.append(page.section(name, told, page.card(chart(entries))))
    path = folder / PAGE
    path.write_text(page.page("Training", ["<h1>Training</h1>", *parts]), encoding="utf-8")
    return path
