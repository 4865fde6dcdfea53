"""The exam's page: one static file with tables, curves, and the scenes that went worst."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

import numpy as np

from mm_fusion_ros.evaluation.average_precision import (
    LEVELS,
    Ranking,
    precision_at,
)
from mm_fusion_ros.evaluation.charts import Line, unit_chart
from mm_fusion_ros.evaluation.pictures import Example
from mm_fusion_ros.evaluation.protocol import Protocol
from mm_fusion_ros.evaluation.scoring import Score
from mm_fusion_ros.evaluation.table import HEADINGS, gain_lines, rows
from mm_fusion_ros.outputs import CLASSES
from mm_fusion_ros.samples import Float

CURVE_RADIUS_M = 1.0
INTERVALS = (
    "In brackets the 95 % bootstrap interval over {} scenes; differences are paired. The mean is "
    "over classes of which at least one object was asked for."
)
BINS = "Bins of equal mass: each dot stands for as many answers as any other of its line."
LEGEND = (
    "<p>Answers of all sensors together with a probability of at least 0.3: "
    "<b class=hit>right</b>, <b class=wrong>wrong</b>, grey where nothing was asked; "
    "<b class=missed>missed</b> objects.</p>"
)
# Blue, orange and green that colour-blind readers can tell apart, after Okabe and Ito.
STYLE = """
:root { color-scheme: light dark; --ink: #1b1f27; --paper: #ffffff; --rule: #d9dde5;
  --both: #0072b2; --lidar: #d55e00; --camera: #009e73; --soft: #667085; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --paper: #12151b; --rule: #333a46;
  --both: #56b4e9; --lidar: #e69f00; --camera: #2fd0a0; --soft: #98a2b3; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 1180px; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
th, td { padding: .3rem .9rem; border-bottom: 1px solid var(--rule); text-align: right;
  font-variant-numeric: tabular-nums; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
td small, .soft { color: var(--soft); }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(300px, 1fr)); gap: 1rem; }
figure { margin: 0 0 1rem; } figcaption { font-size: 13px; }
svg { width: 100%; height: auto; font-size: 11px; fill: var(--soft); }
.grid { stroke: var(--rule); } .line { fill: none; stroke-width: 2; }
.both { stroke: var(--both); } .lidar { stroke: var(--lidar); } .camera { stroke: var(--camera); }
.ideal { stroke: var(--soft); stroke-dasharray: 4 4; }
.dot { fill: var(--paper); stroke-width: 2; }
.key { margin-right: .8em; white-space: nowrap; }
.key::before { content: ''; display: inline-block; width: 1.2em; margin-right: .4em;
  border-top: 3px solid currentColor; vertical-align: middle; }
.key.both::before { color: var(--both); } .key.lidar::before { color: var(--lidar); }
.key.camera::before { color: var(--camera); } .key.ideal::before { color: var(--soft); }
img { max-width: 100%; height: auto; }
.hit { color: #00a374; } .wrong { color: #e2570f; } .missed { color: #b39700; }
"""


def page(
    score: Score,
    protocol: Protocol,
    *,
    title: str,
    facts: Mapping[str, str],
    pictures: Sequence[Example],
) -> str:
    """The whole page as HTML.

    Args:
        score: of the exam.
        protocol: that it was taken by.
        title: heading.
        facts: model, seeds, machine: what a figure needs to be believed.
        pictures: worst first.
    """
    primary = protocol.figures["primary"].name
    sections = [
        f"<h1>{escape(title)}</h1>",
        fact_list(facts),
        "<h2>Figures</h2>",
        main_table(score, protocol),
        "<ul>" + "".join(f"<li>{escape(line)}" for line in gain_lines(score, protocol)) + "</ul>",
        f"<p class=soft>{INTERVALS.format(score.scenes)}</p>",
        "<h2>By class</h2>",
        class_table(score, protocol, "primary"),
        class_table(score, protocol, "secondary"),
        "<h2>Calibration</h2><div class=charts>",
        reliability_chart(score),
        f"</div><p class=soft>{BINS}</p>",
        f"<h2>Precision and recall, {escape(primary)}, within {CURVE_RADIUS_M:g} m</h2>",
        "<div class=charts>",
        *precision_charts(score),
        "</div>",
        "<h2>Stages</h2>",
        stage_table(score),
        "<h2>Worst scenes first</h2>",
        LEGEND,
        *[picture(example) for example in pictures],
    ]
    return document(title, sections)


def document(title: str, sections: Sequence[str], style: str = "") -> str:
    """A page that stands alone.

    Args:
        title: as text.
        sections: as HTML.
        style: CSS beside that of all pages.
    """
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}{style}</style></head><body>\n"
        + "\n".join(sections)
        + "\n</body></html>\n"
    )


def bar_table(bars: Iterable[tuple[str, str, str, bool]]) -> str:
    """What must be reached, and whether it is: name, figure as HTML, bar, reached."""
    body = "".join(
        f"<tr><td>{escape(name)}</td><td>{figure}</td><td>{escape(bar)}</td>"
        f"<td class={'hit' if reached else 'wrong'}>{'reached' if reached else 'not reached'}</td>"
        "</tr>"
        for name, figure, bar, reached in bars
    )
    return f"<table><tr><th></th><th>figure</th><th>bar</th><th></th></tr>{body}</table>"


def fact_list(facts: Mapping[str, str]) -> str:
    """Names and values as a small table."""
    cells = "".join(
        f"<tr><td>{escape(name)}</td><td style='text-align:left;white-space:normal'>"
        f"{escape(value)}</td></tr>"
        for name, value in facts.items()
    )
    return f"<table class=soft>{cells}</table>"


def main_table(score: Score, protocol: Protocol) -> str:
    """Every figure for every subset of sensors."""
    heads = "".join(f"<th>{escape(HEADINGS.get(name, name))}</th>" for name in score.subsets)
    body = "".join(
        f"<tr><td>{escape(row.name)}</td>"
        + "".join(f"<td>{with_interval(str(figure))}</td>" for figure in row.figures)
        + "</tr>"
        for row in rows(score, protocol)
    )
    return f"<table><tr><th></th>{heads}</tr>{body}</table>"


def with_interval(text: str) -> str:
    """The value, its interval in small print."""
    value, _, interval = text.partition(" ")
    return f"{escape(value)} <small>{escape(interval)}</small>"


def class_table(score: Score, protocol: Protocol, key: str) -> str:
    """One figure by class."""
    heads = "".join(f"<th>{escape(HEADINGS.get(name, name))}</th>" for name in score.subsets)
    body = []
    for name in CLASSES:
        found = [subset.precision[key].by_class.get(name) for subset in score.subsets.values()]
        if any(found):
            cells = "".join(f"<td>{with_interval(str(e)) if e else '-'}</td>" for e in found)
            body.append(f"<tr><td>{escape(name)}</td>{cells}</tr>")
    caption = escape(protocol.figures[key].name.replace("mAP", "AP"))
    return f"<table><tr><th>{caption}</th>{heads}</tr>{''.join(body)}</table><br>"


def reliability_chart(score: Score) -> str:
    """How often answers of each probability are right."""
    ends = np.array([0.0, 1.0])
    lines = [Line("perfect", "ideal", ends, ends)]
    lines += [
        Line(
            HEADINGS.get(name, name), name,
            subset.calibration.confidence, subset.calibration.accuracy, dots=True,
        )
        for name, subset in score.subsets.items()
    ]  # fmt: skip
    return unit_chart("Reliability of the class probability", "probability", "part right", lines)


def precision_charts(score: Score) -> list[str]:
    """A chart for each class, a line for each subset of sensors."""
    charts = []
    for name in CLASSES:
        lines = []
        for subset, result in score.subsets.items():
            rankings = result.precision["primary"].rankings.get(name, {})
            if CURVE_RADIUS_M in rankings:
                recall, precision = curve(rankings[CURVE_RADIUS_M])
                lines.append(Line(HEADINGS.get(subset, subset), subset, recall, precision))
        if lines:
            charts.append(unit_chart(name, "recall", "precision", lines))
    return charts


def curve(ranking: Ranking) -> tuple[Float, Float]:
    """Recall levels that are reached, and the precision at each."""
    once = np.ones((1, len(ranking.asked)), dtype=np.int64)
    asked = int(ranking.asked.sum())
    levels = np.linspace(0.0, 1.0, LEVELS)
    reached = levels[levels <= (ranking.hit.sum() / asked if asked else 0.0)]
    return reached, precision_at(ranking, once, reached)[0]


def stage_table(score: Score) -> str:
    """What each stage took, while the exam's processes shared the machine."""
    body = "".join(
        f"<tr><td>{escape(stage)}</td><td>{figures['median_ms']:.2f}</td>"
        f"<td>{figures['p99_ms']:.2f}</td><td>{figures['count']:.0f}</td></tr>"
        for stage, figures in score.stages.items()
    )
    return (
        "<table><tr><th></th><th>median [ms]</th><th>99th percentile [ms]</th><th>runs</th></tr>"
        f"{body}</table><p class=soft>One thread a process, the exam's processes side by side; "
        "<code>mm-fusion bench</code> measures the live path.</p>"
    )


def picture(example: Example) -> str:
    """One scene."""
    return (
        f'<figure><img alt="{escape(example.caption, quote=True)}" loading="lazy" '
        f'src="data:image/jpeg;base64,{example.jpeg}">'
        f"<figcaption>{escape(example.caption)}</figcaption></figure>"
    )
