"""The demo's terminal: a panel that lives where there is a terminal, plain lines where not."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from diagnostic_msgs.msg import DiagnosticStatus
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from mm_fusion_ros.outputs import FusedOutput, Reliability
from mm_fusion_ros.ros.answers import label_of
from mm_fusion_ros.ros.listener import Health
from mm_fusion_ros.sim.mission import DriveState
from mm_fusion_ros.view import palette

BAR = 12
OBJECTS_SHOWN = 6
HINTS = '"go to the red box"   "follow the person"   "stop"   "quit"'


def plain_line(
    output: FusedOutput | None, drive: DriveState | None, health: Health, pace: float
) -> str:
    """The state in one line, for a log or a pipe."""
    if drive is None:
        return "waiting for the simulator"
    start = f"{drive.time_s:6.1f} s  x{pace:.2f}"
    if output is None:
        return f"{start}  waiting for the fusion node: {health.message}"
    trust = "  ".join(
        f"{name} {source.trust:.2f}"
        + ("" if source.share is None else f"/{source.share:.2f}")
        + ("" if source.reason.value == "ok" else f" {source.reason.value}")
        for name, source in output.reliability.items()
    )
    rate = health.figures.get("rate_hz", "-")
    distance = "" if drive.distance_m is None else f"  {drive.distance_m:.2f} m away"
    line = palette.target_line(drive.target)
    return f"{start}  {rate} Hz  {len(output.objects)} objects  {trust}  {line}{distance}"


def panel(
    output: FusedOutput | None,
    drive: DriveState | None,
    health: Health,
    pace: float,
    typed: str,
    note: str,
) -> RenderableType:
    """The whole panel."""
    if drive is None or output is None:
        waiting = "the simulator" if drive is None else f"the fusion node ({health.message})"
        return Panel(Text(f"waiting for {waiting} ..."), title="mm-fusion demo")
    parts: list[RenderableType] = [
        _head(drive, health, pace),
        _sources(output.reliability, health.rates),
        _objects(output),
        _target(drive),
        Text(f"> {typed}_", style="bold"),
        Text(note or HINTS, style="dim"),
    ]
    return Panel(Group(*parts), title="mm-fusion demo")


def _head(drive: DriveState, health: Health, pace: float) -> Text:
    latency = health.figures.get("latency.median_ms")
    text = Text(f"simulated {drive.time_s:.1f} s at {pace:.2f} of real time   ")
    text.append(health.message, style="red" if health.level == DiagnosticStatus.ERROR else "")
    if latency:
        text.append(f"   lidar to objects {latency} ms")
    if drive.collided:
        text.append("   COLLIDED", style="bold red")
    return text


def _sources(reliability: Mapping[str, Reliability], rates: Mapping[str, str]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("source", "Hz", "trust", "", "share", "age", "reason"):
        table.add_column(heading, no_wrap=True)
    for name, source in reliability.items():
        colour = palette.css(palette.trust_colour(source.trust))
        filled = round(BAR * min(max(source.trust, 0.0), 1.0))
        bar = Text("#" * filled, style=colour) + Text("." * (BAR - filled), style="dim")
        table.add_row(
            name,
            rates.get(name, ""),
            f"{source.trust:.2f}",
            bar,
            "" if source.share is None else f"{source.share:.2f}",
            "" if source.age_ns is None else f"{source.age_ns / 1e6:.0f} ms",
            palette.reason_text(source.reason),
        )
    return table


def _objects(output: FusedOutput) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("object", "p", "ahead", "left", "track"):
        table.add_column(heading, no_wrap=True)
    for found in output.objects[:OBJECTS_SHOWN]:
        table.add_row(
            label_of(found),
            f"{found.class_probability:.2f}",
            f"{found.centre[0]:.1f} m",
            f"{found.centre[1]:.1f} m",
            f"#{found.track_id}",
        )
    return table


def _target(drive: DriveState) -> Text:
    colour = palette.GO if drive.target.go else palette.HOLD
    text = Text(palette.target_line(drive.target), style=f"bold {palette.css(colour)}")
    if drive.distance_m is not None:
        text.append(f"   {drive.distance_m:.2f} m to go")
    return text


class LineEditor:
    """Characters to lines: the input line under a panel that redraws itself."""

    def __init__(self, longest: int = 256) -> None:
        self._longest = longest
        self.typed = ""

    def feed(self, characters: str) -> list[str]:
        """Takes what was typed; gives the lines that were finished."""
        lines = []
        for character in characters:
            if character in "\r\n":
                lines.append(self.typed.strip())
                self.typed = ""
            elif character in "\b\x7f":
                self.typed = self.typed[:-1]
            elif character == "\x15":  # Ctrl-U
                self.typed = ""
            elif character == "\x04":  # Ctrl-D
                lines.append("quit")
            elif character.isprintable() and len(self.typed) < self._longest:
                self.typed += character
        return [line for line in lines if line]


@contextmanager
def keyboard() -> Iterator[None]:
    """The terminal gives characters as they are typed, and is as before afterwards."""
    import termios
    import tty

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def typed_within(seconds: float) -> str:
    """What is typed within a time [s]; returns as soon as something is."""
    ready, _, _ = select.select([sys.stdin], [], [], seconds)
    return os.read(sys.stdin.fileno(), 1024).decode(errors="ignore") if ready else ""
