"""Line charts as inline SVG: the report is one file that needs nothing to be seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from mm_fusion_ros.samples import Float

WIDTH, HEIGHT, MARGIN = 340.0, 260.0, 44.0
TICKS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True, eq=False)
class Line:
    """One line of a chart.

    Attributes:
        name: in the legend; an empty one is not.
        style: CSS class, which gives the colour.
        x, y: (N,) float64, each in 0..1.
        dots: marks the points as well.
    """

    name: str
    style: str
    x: Float
    y: Float
    dots: bool = False


def unit_chart(title: str, x_label: str, y_label: str, lines: Sequence[Line]) -> str:
    """A chart of lines over the unit square."""
    label = escape(title, quote=True)
    parts = [f'<figure><svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-label="{label}">']
    for tick in TICKS:
        x, y = place(tick, tick)
        left, bottom = place(0.0, 0.0)
        right, top = place(1.0, 1.0)
        parts.append(
            f'<line class="grid" x1="{x:.1f}" y1="{bottom:.1f}" x2="{x:.1f}" y2="{top:.1f}"/>'
            f'<line class="grid" x1="{left:.1f}" y1="{y:.1f}" x2="{right:.1f}" y2="{y:.1f}"/>'
            f'<text x="{x:.1f}" y="{bottom + 14:.1f}" text-anchor="middle">{tick:g}</text>'
            f'<text x="{left - 6:.1f}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>'
        )
    for line in lines:
        points = [place(float(x), float(y)) for x, y in zip(line.x, line.y, strict=True)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline class="line {line.style}" points="{path}"/>')
        if line.dots:
            parts += [
                f'<circle class="dot {line.style}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>'
                for x, y in points
            ]
    middle_x, _ = place(0.5, 0.0)
    _, middle_y = place(0.0, 0.5)
    parts.append(
        f'<text x="{middle_x:.1f}" y="{HEIGHT - 6:.1f}" text-anchor="middle">'
        f"{escape(x_label)}</text>"
        f'<text transform="translate(12 {middle_y:.1f}) rotate(-90)" text-anchor="middle">'
        f"{escape(y_label)}</text></svg>"
    )
    keys = "".join(
        f'<span class="key {line.style}">{escape(line.name)}</span>' for line in lines if line.name
    )
    parts.append(f"<figcaption><b>{escape(title)}</b> {keys}</figcaption></figure>")
    return "".join(parts)


def place(x: float, y: float) -> tuple[float, float]:
    """Where a point of the unit square lies in the drawing."""
    across = MARGIN + x * (WIDTH - MARGIN - 12.0)
    down = HEIGHT - MARGIN + 6.0 - y * (HEIGHT - MARGIN - 12.0)
    return across, down
