"""The frame of a report: one HTML file that needs nothing else, light and dark."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape

from mm_fusion_ros.view import canvas, palette
from mm_fusion_ros.view.canvas import Picture

STYLE = """
:root { color-scheme: light dark;
  --paper: #f6f7f9; --card: #ffffff; --ink: #1a1e27; --faint: #667085; --line: #e2e5eb;
  --grid: #e9ebf0; --way: #2558c9; --warn: #9a5b00; --warn-paper: #fff6e5; --bar: #2f6fdb;
  --camera: #2563d4; --lidar: #0b8a66; --gps: #c23d78; --odometry: #b36b00; --imu: #7049c4;
  --command: #5b6677; --on: #10131a;
  --ok: #a8dbbd; --bad: #e79a94; --meh: #f0cf8a; --off: #c9ced8; --odd: #c7b6ec; --hold: #f1d9a7; }
@media (prefers-color-scheme: dark) { :root {
  --paper: #11141a; --card: #1a1e26; --ink: #e8ebf1; --faint: #98a2b3; --line: #2b313c;
  --grid: #272d38; --way: #7fa8ff; --warn: #f0c372; --warn-paper: #2b2415; --bar: #6c9ff5;
  --camera: #6fa4ff; --lidar: #45c79d; --gps: #f287b3; --odometry: #edb04f; --imu: #b195f2;
  --command: #a3afc2; --on: #0d1015;
  --ok: #5fae80; --bad: #cf706a; --meh: #cfa14c; --off: #6d7687; --odd: #9a82d6;
  --hold: #c59a48; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 28px 20px 64px; }
h1 { font-size: 26px; margin: 0 0 2px; letter-spacing: -0.01em; overflow-wrap: anywhere; }
h2 { font-size: 17px; margin: 34px 0 10px; }
h3 { font-size: 14px; margin: 10px 0 2px; } h3 .faint { font-weight: 400; }
p { margin: 6px 0; } .faint { color: var(--faint); } .small { font-size: 13px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 14px 16px; margin: 10px 0; overflow-x: auto; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 10px;
  margin: 16px 0; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 10px 14px; }
.tile b { display: block; font-size: 22px; font-weight: 600; font-variant-numeric: tabular-nums; }
.tile span { color: var(--faint); font-size: 12.5px; }
.note { background: var(--warn-paper); border-left: 3px solid var(--warn); border-radius: 6px;
  padding: 8px 14px; margin: 10px 0; }
.note ul { margin: 4px 0; padding-left: 18px; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; }
th { text-align: left; color: var(--faint); font-weight: 500; }
th, td { padding: 5px 18px 5px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
tr:last-child td { border-bottom: none; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
code { font: 12.5px ui-monospace, "SF Mono", Menlo, Consolas, monospace; overflow-wrap: anywhere; }
svg { display: block; width: 100%; height: auto; }
svg .grid { stroke: var(--grid); stroke-width: 1; }
svg text { font: 11px system-ui, sans-serif; } svg .tick { fill: var(--faint); }
svg .mid { text-anchor: middle; } svg .end { text-anchor: end; } svg .on { fill: var(--on); }
.key { display: inline-flex; align-items: center; gap: 6px; margin-right: 14px; font-size: 13px;
  color: var(--faint); }
.key i { width: 12px; height: 12px; border-radius: 3px; display: inline-block; }
figure { margin: 0 0 18px; }
figcaption { color: var(--faint); font-size: 13px; margin-bottom: 6px; }
.pair { display: grid; gap: 10px; align-items: start; }
.pair img { width: 100%; border-radius: 8px; display: block; margin-bottom: 8px; }
.meter { background: var(--grid); border-radius: 3px; height: 8px; min-width: 90px; }
.meter i { display: block; height: 8px; border-radius: 3px; background: var(--bar); }
@media (max-width: 720px) { .pair { grid-template-columns: 1fr !important; } }
"""


def page(title: str, body: Iterable[str]) -> str:
    """A whole HTML document."""
    classes = ";".join(f"--{name}:{palette.css(c)}" for name, c in palette.CLASS_COLOURS.items())
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}:root{{{classes}}}</style></head>"
        f"<body><main>{''.join(body)}</main></body></html>\n"
    )


def section(title: str, *content: str) -> str:
    """A heading and what belongs under it."""
    return f"<h2>{escape(title)}</h2>{''.join(content)}"


def card(*content: str) -> str:
    """A framed part."""
    return f'<div class="card">{"".join(content)}</div>'


def tiles(figures: Iterable[tuple[str, str]]) -> str:
    """Figures with what they are."""
    shown = "".join(
        f'<div class="tile"><b>{escape(figure)}</b><span>{escape(what)}</span></div>'
        for figure, what in figures
    )
    return f'<div class="tiles">{shown}</div>'


def notes(lines: Sequence[str]) -> str:
    """What a reader must know before believing anything."""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<div class="note"><ul>{items}</ul></div>' if lines else ""


def table(head: Sequence[str], rows: Iterable[Sequence[str]], numeric: Sequence[int] = ()) -> str:
    """A table.

    Args:
        head: column names.
        rows: cells as HTML, already escaped.
        numeric: columns that are aligned to the right.
    """

    def cell(kind: str, column: int, content: str) -> str:
        mark = ' class="n"' if column in numeric else ""
        return f"<{kind}{mark}>{content}</{kind}>"

    top = "".join(cell("th", column, escape(name)) for column, name in enumerate(head))
    body = "".join(
        f"<tr>{''.join(cell('td', column, item) for column, item in enumerate(row))}</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def key(entries: Iterable[tuple[str, str]]) -> str:
    """What the colours mean: (CSS colour, name)."""
    return "<p>{}</p>".format(
        "".join(
            f'<span class="key"><i style="background:{colour}"></i>{escape(name)}</span>'
            for colour, name in entries
        )
    )


def meter(share: float) -> str:
    """A bar filled to a share of 0..1."""
    filled = 100.0 * min(max(share, 0.0), 1.0)
    return f'<div class="meter"><i style="width:{filled:.1f}%"></i></div>'


def image(picture: Picture, said: str) -> str:
    """A picture inside the page."""
    data = base64.b64encode(canvas.jpeg(picture)).decode("ascii")
    return f'<img alt="{escape(said)}" src="data:image/jpeg;base64,{data}">'
