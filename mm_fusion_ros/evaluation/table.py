"""The exam's table: rows of names and figures, for the terminal, the page and JSON alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mm_fusion_ros.evaluation.bootstrap import Estimate
from mm_fusion_ros.evaluation.protocol import Protocol
from mm_fusion_ros.evaluation.scoring import Score, SubsetScore

HEADINGS = {"both": "camera + lidar", "lidar": "lidar only", "camera": "camera only"}


@dataclass(frozen=True)
class Row:
    """One line: what it is, and a figure for each subset of sensors."""

    name: str
    figures: Sequence[Estimate]


def rows(score: Score, protocol: Protocol) -> list[Row]:
    """The table's lines, the primary figure first."""
    wanted: list[tuple[str, Callable[[SubsetScore], Estimate]]] = [
        ("ECE of the class probability", lambda subset: subset.calibration.error),
        ("90 % ellipse holds the centre", lambda subset: subset.coverage),
        ("errors follow sigmas (Spearman)", lambda subset: subset.follows),
        ("position error of hits [m]", lambda subset: subset.boxes.position_m),
        ("size error of hits (1 - IoU)", lambda subset: subset.boxes.size),
        ("heading error of hits [rad]", lambda subset: subset.boxes.yaw_rad),
        ("colour of hits right", lambda subset: subset.boxes.colour),
    ]
    subsets = list(score.subsets.values())
    precision = [
        Row(figure.name, [subset.precision[key].overall for subset in subsets])
        for key, figure in protocol.figures.items()
    ]
    return precision + [Row(name, [take(subset) for subset in subsets]) for name, take in wanted]


def gain_lines(score: Score, protocol: Protocol) -> list[str]:
    """The paired gains of all sensors over each alone, with the bars where there are any."""
    least = {bar.over: bar for bar in score.bars}
    lines = []
    for key, gains in score.gains.items():
        for other, gain in gains.items():
            low, high = gain.interval
            text = (
                f"{protocol.figures[key].name}: both - {other} = "
                f"{gain.value:+.3f} [{low:+.3f}, {high:+.3f}]"
            )
            if key == "primary" and other in least:
                bar = least[other]
                verdict = "reached" if bar.reached else "NOT reached"
                text += f", bar {bar.least:+.2f}: {verdict}"
            lines.append(text)
    return lines


def text_table(score: Score, protocol: Protocol, title: str) -> str:
    """The whole table as plain text."""
    headings = [HEADINGS.get(name, name) for name in score.subsets]
    lines = [title, "", f"{'':32}" + "".join(f"{heading:>24}" for heading in headings)]
    lines += [
        f"{row.name:32}" + "".join(f"{figure!s:>24}" for figure in row.figures)
        for row in rows(score, protocol)
    ]
    lines += ["", *gain_lines(score, protocol), ""]
    asked = ", ".join(f"{protocol.figures[key].name} {count}" for key, count in score.asked.items())
    lines.append(f"objects asked for: {asked}")
    for key, figure in protocol.figures.items():
        classes = [set(subset.precision[key].by_class) for subset in score.subsets.values()]
        names = sorted(set.union(*classes)) if classes else []
        lines.append(f"classes in the mean of {figure.name}: {len(names)} ({', '.join(names)})")
    lines += ["", f"{'stage':24}{'median ms':>12}{'p99 ms':>12}{'runs':>8}"]
    lines += [
        f"{stage:24}{figures['median_ms']:12.2f}{figures['p99_ms']:12.2f}{figures['count']:8.0f}"
        for stage, figures in score.stages.items()
    ]
    return "\n".join(lines)


def plain_score(score: Score, protocol: Protocol) -> dict[str, Any]:
    """The score as plain values, for JSON; what could not be measured is null."""
    return {
        "scenes": score.scenes,
        "asked": dict(score.asked),
        "subsets": {
            name: {
                "mAP": {
                    key: {
                        "name": protocol.figures[key].name,
                        **plain(figure.overall),
                        "classes": {c: plain(e) for c, e in figure.by_class.items()},
                    }
                    for key, figure in subset.precision.items()
                },
                "ece": {
                    **plain(subset.calibration.error),
                    "confidence": subset.calibration.confidence.tolist(),
                    "accuracy": subset.calibration.accuracy.tolist(),
                    "count": subset.calibration.count.tolist(),
                },
                "ellipse_90": plain(subset.coverage),
                "errors_follow_sigmas": plain(subset.follows),
                "position_error_m": plain(subset.boxes.position_m),
                "size_error": plain(subset.boxes.size),
                "yaw_error_rad": plain(subset.boxes.yaw_rad),
                "colour_right": plain(subset.boxes.colour),
            }
            for name, subset in score.subsets.items()
        },
        "gains": {
            key: {other: plain(gain) for other, gain in gains.items()}
            for key, gains in score.gains.items()
        },
        "bars": [
            {"over": bar.over, "least": bar.least, **plain(bar.gain), "reached": bar.reached}
            for bar in score.bars
        ],
        "stages": {stage: dict(figures) for stage, figures in score.stages.items()},
    }


def plain(estimate: Estimate) -> dict[str, Any]:
    """Value, interval and number of scenes."""
    low, high = estimate.interval
    return {
        "value": finite(estimate.value),
        "low": finite(low),
        "high": finite(high),
        "scenes": estimate.scenes,
    }


def finite(value: float) -> float | None:
    """The value, or None for what JSON has no word for."""
    return value if math.isfinite(value) else None
