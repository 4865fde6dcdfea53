"""Small SVG charts for a page that stands alone: no script, light and dark by CSS variables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros.samples import Float

WIDTH = 1000.0
LEFT, RIGHT = 44.0, 8.0
# A line gets at most this many bins of two points: what a screen can show.
BINS = 700


@dataclass
class Plot:
    """A chart over time: curves in a frame, and strips of states below it.

    Attributes:
        x_range: left and right end [s].
        y_range: lower and upper end.
        height: of the frame, in units of which the chart is 1000 wide.
        unit: of y, written at its upper end.
        x_unit: written at every tick of x.
    """

    x_range: tuple[float, float]
    y_range: tuple[float, float] = (0.0, 1.0)
    height: float = 90.0
    unit: str = ""
    x_unit: str = "s"
    _parts: list[str] = field(default_factory=list)
    _below: float = 0.0

    def x(self, value: float) -> float:
        """Abscissa of a time [s]."""
        low, high = self.x_range
        return LEFT + (value - low) / max(high - low, 1e-9) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        """Ordinate of a value."""
        low, high = self.y_range
        return 6.0 + (1.0 - (value - low) / max(high - low, 1e-9)) * self.height

    def line(self, times: Float, values: Float, colour: str, width: float = 1.6) -> None:
        """A curve; NaN leaves a gap.

        Args:
            times: (N,) [s].
            values: (N,).
            colour: as CSS takes it.
            width: of the line.
        """
        for xs, ys in self._pieces(times, values):
            if len(xs) == 1:
                self._parts.append(
                    f'<circle cx="{self.x(xs[0]):.1f}" cy="{self.y(ys[0]):.1f}" r="{width:.1f}" '
                    f'style="fill:{colour}"/>'
                )
                continue
            path = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in zip(xs, ys, strict=True))
            self._parts.append(
                f'<polyline points="{path}" fill="none" style="stroke:{colour}" '
                f'stroke-width="{width}" stroke-linejoin="round"/>'
            )

    def area(self, times: Float, values: Float, colour: str) -> None:
        """The ground below a curve, faint; NaN leaves a gap."""
        foot = self.y(max(self.y_range[0], 0.0))
        for xs, ys in self._pieces(times, values):
            path = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in zip(xs, ys, strict=True))
            ends = f"{self.x(xs[-1]):.1f},{foot:.1f} {self.x(xs[0]):.1f},{foot:.1f}"
            self._parts.append(
                f'<polygon points="{path} {ends}" style="fill:{colour}" opacity="0.22"/>'
            )

    def strip(self, times: Float, states: Sequence[str], colours: dict[str, str]) -> None:
        """A band below the frame, coloured by state, named where there is room.

        Args:
            times: (N,) [s], when each state began; the last lasts to the right end.
            states: N names.
            colours: of each name, as CSS takes it.
        """
        top = self.height + 30.0 + self._below
        self._below += 20.0
        for start, end, state in runs(times, states, self.x_range[1]):
            left, right = self.x(start), self.x(end)
            width = max(right - left, 0.8)
            said = escape(state)
            self._parts.append(
                f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="15" '
                f'style="fill:{colours[state]}"><title>{said}: {start:.1f} to {end:.1f} s</title>'
                "</rect>"
            )
            if width > 7.0 * len(state) + 8.0:
                self._parts.append(
                    f'<text x="{left + 5:.1f}" y="{top + 11:.1f}" class="on">{said}</text>'
                )

    def svg(self, label: str) -> str:
        """The finished chart, named for who cannot see it."""
        total = self.height + 24.0 + (self._below + 8.0 if self._below else 0.0)
        return (
            f'<svg viewBox="0 0 {WIDTH:.0f} {total:.0f}" role="img" aria-label="{escape(label)}">'
            f"{self._frame()}{''.join(self._parts)}</svg>"
        )

    def _pieces(self, times: Float, values: Float) -> list[tuple[list[float], list[float]]]:
        """Runs of finite values, thinned to what can be seen."""
        known = np.isfinite(values) & np.isfinite(times)
        edges = np.flatnonzero(np.diff(known.astype(np.int8))) + 1
        pieces = []
        for part in np.split(np.arange(len(values)), edges):
            if len(part) and known[part[0]]:
                kept = part[thinned(values[part])]
                pieces.append((times[kept].tolist(), values[kept].tolist()))
        return pieces

    def _frame(self) -> str:
        parts = []
        low, high = self.y_range
        for value in (low, (low + high) / 2.0, high):
            y = self.y(value)
            unit = f" {self.unit}" if value == high and self.unit else ""
            parts.append(
                f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>'
                f'<text x="{LEFT - 6}" y="{y + 4:.1f}" class="tick end">{value:g}{unit}</text>'
            )
        for value in ticks(*self.x_range):
            x = self.x(value)
            anchor = " end" if x > WIDTH - 30.0 else " mid"
            parts.append(
                f'<line x1="{x:.1f}" x2="{x:.1f}" y1="6" y2="{6 + self.height}" class="grid"/>'
                f'<text x="{x:.1f}" y="{self.height + 21:.1f}" class="tick{anchor}">'
                f"{value:g} {self.x_unit}</text>"
            )
        return "".join(parts)


def runs(times: Float, states: Sequence[str], end: float) -> list[tuple[float, float, str]]:
    """Stretches of equal state as (start, end, state); each lasts until the next begins."""
    starts = [
        (float(times[next(iter(group))[0]]), state)
        for state, group in (
            (key, items) for key, items in groupby(enumerate(states), key=lambda item: item[1])
        )
    ]
    ends = [start for start, _ in starts[1:]] + [end]
    return [(start, stop, state) for (start, state), stop in zip(starts, ends, strict=True)]


def thinned(values: Float) -> NDArray[np.intp]:
    """Indices that keep the lowest and the highest value of each of `BINS` bins, in order."""
    count = len(values)
    if count <= 2 * BINS:
        return np.arange(count, dtype=np.intp)
    kept = [0, count - 1]
    for part in np.array_split(np.arange(count), BINS):
        kept += [int(part[values[part].argmin()]), int(part[values[part].argmax()])]
    return np.unique(np.array(kept, dtype=np.intp))


def ticks(low: float, high: float, about: int = 8) -> list[float]:
    """Round numbers within a range, about so many."""
    span = high - low
    if not np.isfinite(span) or span <= 0.0:
        return [low]
    rough = span / about
    power = 10.0 ** np.floor(np.log10(rough))
    step = power * next(step for step in (1.0, 2.0, 5.0, 10.0) if step * power >= rough)
    first = np.ceil(low / step - 1e-9)
    return [
        round(float(number * step), 9) + 0.0
        for number in np.arange(first, np.floor(high / step + 1e-9) + 1.0)
    ]


def upper_end(values: Float, least: float) -> float:
    """A round number at or above the largest finite value, at least `least`."""
    finite = values[np.isfinite(values)]
    top = max(float(finite.max()) if len(finite) else 0.0, least)
    power = 10.0 ** np.floor(np.log10(top))
    return float(
        power * next(step for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if step * power >= top)
    )
