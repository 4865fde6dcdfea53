"""The map of a replay as SVG: the robot's way, fixes, objects and targets. East right, north up."""

from __future__ import annotations

import numpy as np

from mm_fusion_ros import geometry
from mm_fusion_ros.replay.chart import ticks
from mm_fusion_ros.replay.runner import FixTrace
from mm_fusion_ros.replay.trace import Trace, TrackTrace
from mm_fusion_ros.samples import Float
from mm_fusion_ros.view import palette

WIDTH, TALLEST, MARGIN = 1000.0, 760.0, 46.0
LEAST_SPAN_M = 10.0
# Tracks seen in fewer ticks are passing guesses; they are listed, and not drawn.
LEAST_TICKS = 3
MOST_TARGETS = 40
# No robot moves so far from one tick to the next; a line there would show a way not driven.
JUMP_M = 4.0


class MapPlot:
    """Metres of `map` on paper, equal scale on both axes."""

    def __init__(self, places: Float) -> None:
        """A map that holds all (N, 2) places [m]."""
        finite = places[np.isfinite(places).all(axis=1)]
        low, high = finite.min(axis=0), finite.max(axis=0)
        middle = (low + high) / 2.0
        half = np.maximum((high - low) / 2.0 * 1.06 + 1.0, LEAST_SPAN_M / 2.0)
        inner = WIDTH - 2.0 * MARGIN
        # Wider than it is tall on paper, whatever the way's shape: the page is read downwards.
        half[0] = max(half[0], half[1] * inner / (TALLEST - 2.0 * MARGIN))
        half[1] = max(half[1], half[0] * 0.3)
        self._low, self._high = middle - half, middle + half
        self._scale = inner / (2.0 * half[0])
        self._height = 2.0 * half[1] * self._scale + 2.0 * MARGIN
        self._parts: list[str] = []

    def at(self, x: float, y: float) -> tuple[float, float]:
        """A place on paper."""
        return (
            MARGIN + (x - self._low[0]) * self._scale,
            self._height - MARGIN - (y - self._low[1]) * self._scale,
        )

    def way(self, places: Float, colour: str, width: float, opacity: float = 1.0) -> None:
        """A line through (N, 2) places [m]; NaN leaves a gap."""
        known = np.asarray(np.isfinite(places).all(axis=1), dtype=np.int8)
        for part in np.split(np.arange(len(places)), np.flatnonzero(np.diff(known)) + 1):
            if len(part) < 2 or not known[part[0]]:
                continue
            kept = part[:: max(1, len(part) // 3000)]
            path = " ".join("{:.1f},{:.1f}".format(*self.at(x, y)) for x, y in places[kept])
            self._parts.append(
                f'<polyline points="{path}" fill="none" style="stroke:{colour}" '
                f'stroke-width="{width}" stroke-linejoin="round" opacity="{opacity}"/>'
            )

    def dot(self, place: Float, colour: str, radius: float, title: str, ring: bool = False) -> None:
        """A dot or ring at (2,) x y [m]."""
        if not np.isfinite(place).all():
            return
        x, y = self.at(float(place[0]), float(place[1]))
        paint = f"fill:none;stroke:{colour};stroke-width:2" if ring else f"fill:{colour}"
        self._parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" style="{paint}">'
            f"<title>{title}</title></circle>"
        )

    def box(self, track: TrackTrace) -> None:
        """An object where it was last seen."""
        centre = np.array([track.place[0], track.place[1], 0.0])
        corners = geometry.box_corners(centre, track.size, float(track.place[2]))[:4]
        path = " ".join("{:.1f},{:.1f}".format(*self.at(x, y)) for x, y, _ in corners)
        colour = f"var(--{track.class_name}, var(--faint))"
        self._parts.append(
            f'<polygon points="{path}" style="fill:{colour};stroke:{colour}" fill-opacity="0.25" '
            f'stroke-width="1.5"><title>{track.class_name} #{track.track_id}, {track.ticks} ticks, '
            f"p {track.probability:.2f}</title></polygon>"
        )

    def text(self, place: Float, said: str) -> None:
        """A word beside (2,) x y [m]."""
        x, y = self.at(float(place[0]), float(place[1]))
        self._parts.append(f'<text x="{x + 7:.1f}" y="{y - 6:.1f}" class="tick">{said}</text>')

    def svg(self) -> str:
        """The finished map with its grid in metres."""
        grid = []
        for value in ticks(self._low[0], self._high[0]):
            x, _ = self.at(value, self._low[1])
            grid.append(
                f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{MARGIN}" y2="{self._height - MARGIN:.1f}" '
                f'class="grid"/><text x="{x:.1f}" y="{self._height - MARGIN + 16:.1f}" '
                f'class="tick mid">{value:g}</text>'
            )
        for value in ticks(self._low[1], self._high[1]):
            _, y = self.at(self._low[0], value)
            grid.append(
                f'<line y1="{y:.1f}" y2="{y:.1f}" x1="{MARGIN}" x2="{WIDTH - MARGIN}" '
                f'class="grid"/><text x="{MARGIN - 6}" y="{y + 4:.1f}" class="tick end">'
                f"{value:g}</text>"
            )
        axes = (
            f'<text x="{WIDTH - MARGIN}" y="{self._height - 8:.1f}" class="tick end">x of map [m]'
            f'</text><text x="{MARGIN}" y="{MARGIN - 14}" class="tick">y of map [m]</text>'
        )
        return (
            f'<svg viewBox="0 0 {WIDTH:.0f} {self._height:.0f}" role="img" aria-label="map">'
            f"{''.join(grid)}{axes}{''.join(self._parts)}</svg>"
        )


def map_svg(trace: Trace, fixes: FixTrace | None) -> str:
    """The map of the last loop; empty when there is no pose to draw."""
    last = trace.loop == (trace.loop.max() if len(trace.loop) else 0)
    way = trace.pose[last, :2]
    if not np.isfinite(way).all(axis=1).any():
        return ""
    tracks = [t for t in trace.tracks if t.loop == trace.loop.max() and t.ticks >= LEAST_TICKS]
    seen = [track for track in tracks if np.isfinite(track.place).all()]
    places = [way, *(track.place[None, :2] for track in seen)]
    if fixes is not None:
        places.append(fixes.place)
    plot = MapPlot(np.concatenate(places))
    if fixes is not None:
        for seconds, place in zip(fixes.elapsed_s, fixes.place, strict=True):
            plot.dot(place, "var(--gps)", 2.0, f"fix at {seconds:.1f} s")
    for track in seen:
        plot.way(track.way, f"var(--{track.class_name}, var(--faint))", 1.0, 0.5)
        plot.box(track)
    plot.way(without_jumps(way), "var(--way)", 2.2)
    targets = trace.target_place[last]
    reached = targets[np.isfinite(targets).all(axis=1)]
    # A target that moves with its object is drawn as a few rings, not as a caterpillar.
    apart = np.unique(reached.round(), axis=0)
    for place in apart[:: -(-len(apart) // MOST_TARGETS) or 1]:
        plot.dot(place, palette.css(palette.GO), 6.0, "target", ring=True)
    known = way[np.isfinite(way).all(axis=1)]
    plot.dot(known[0], "var(--ink)", 4.0, "start")
    plot.text(known[0], "start")
    if float(np.linalg.norm(known[-1] - known[0])) * plot_scale(plot) > 40.0:
        plot.dot(known[-1], "var(--ink)", 4.0, "end")
        plot.text(known[-1], "end")
    return plot.svg()


def without_jumps(way: Float, farthest_m: float = JUMP_M) -> Float:
    """The way with a gap where the pose jumped, as where the first fix makes odometry a map.

    Args:
        way: (N, 2) x y [m].
        farthest_m: that the robot moves from one tick to the next [m].

    Returns:
        (M, 2) with NaN between what does not belong together.
    """
    steps = np.linalg.norm(np.diff(way, axis=0), axis=1)
    after = np.flatnonzero(steps > farthest_m) + 1
    return np.insert(way, after, np.nan, axis=0)


def plot_scale(plot: MapPlot) -> float:
    """Units of paper for a metre."""
    return plot.at(1.0, 0.0)[0] - plot.at(0.0, 0.0)[0]
