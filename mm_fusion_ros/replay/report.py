"""One static page that says what a replay gave, and why each sensor was believed or not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape

import numpy as np

from mm_fusion_ros import geometry
from mm_fusion_ros.outputs import Reason
from mm_fusion_ros.replay import page
from mm_fusion_ros.replay.chart import Plot, upper_end
from mm_fusion_ros.replay.map_plot import LEAST_TICKS, map_svg
from mm_fusion_ros.replay.runner import ReplayResult, Step
from mm_fusion_ros.replay.scorecard import Scorecard, scorecard_part
from mm_fusion_ros.replay.shown import rectified
from mm_fusion_ros.replay.trace import SourceTrace
from mm_fusion_ros.samples import Modality
from mm_fusion_ros.sensors.rectification import Rectifier
from mm_fusion_ros.view import bev
from mm_fusion_ros.view.canvas import Picture
from mm_fusion_ros.view.overlay import overlay

MOST_TRACKS = 30
# About as wide as an overlay is shown: text is drawn larger on a picture that will be shrunk.
SHOWN_WIDTH_PX = 760.0
# Counters that are no drop: what came in, what was used, what a tick found nearer.
NOT_DROPS = ("accepted", "emitted", "passed_over", "missed", "late_anchor", "received")

REASON_COLOURS: dict[Reason, str] = {
    Reason.OK: "var(--ok)",
    Reason.MISSING: "var(--off)",
    Reason.STALE: "var(--off)",
    Reason.FROZEN: "var(--bad)",
    Reason.DARK: "var(--meh)",
    Reason.SATURATED: "var(--meh)",
    Reason.BLURRED: "var(--meh)",
    Reason.SPARSE: "var(--meh)",
    Reason.NOISY: "var(--meh)",
    Reason.MISALIGNED: "var(--bad)",
    Reason.JUMP: "var(--bad)",
    Reason.OUTLIER: "var(--bad)",
    Reason.OUT_OF_DISTRIBUTION: "var(--odd)",
}


def report(
    result: ReplayResult, remarks: Sequence[str] = (), model: str = "",
    card: Scorecard | None = None,
) -> str:  # fmt: skip
    """The page as HTML; it refers to nothing outside itself.

    Args:
        result: of the replay.
        remarks: what else must be known before the page is believed.
        model: the weights' name and version, and what they were trained on.
        card: the comparison with a clean replay, where faults struck.
    """
    name = result.path.name
    body = [
        f"<h1>Replay of {escape(name)}</h1>",
        f'<p class="faint">{escape(subtitle(result, model))}</p>',
        page.tiles(figures(result)),
        page.notes([*honest_notes(result), *remarks, *result.remarks]),
        page.section("Target", target_part(result)),
        "" if card is None else scorecard_part(card),
        examples_part(result),
        page.section("Trust and share", trust_part(result)),
        map_part(result),
        page.section("Sensors", page.card(sensors_table(result))),
        page.section("Drops", page.card(drops_table(result))),
        page.section("Latency", page.card(latency_table(result))),
        objects_part(result),
        page.section("To repeat it", page.card(repeat_part(result))),
    ]
    return page.page(f"Replay of {name}", body)


def subtitle(result: ReplayResult, model: str) -> str:
    """What was replayed, in a line."""
    parts = [f"{result.duration_s:.1f} s of recording"]
    if result.loops > 1:
        parts.append(f"{result.loops} loops, the clock jumping back each time")
    if result.command:
        parts.append(f'told "{result.command}" at 1 s')
    parts.append(model or "no detector: no objects are looked for")
    return " · ".join(parts)


def figures(result: ReplayResult) -> list[tuple[str, str]]:
    """The figures at the top."""
    trace = result.trace
    rate = max(result.ticks - 1, 0) / result.duration_s if result.duration_s > 0.0 else 0.0
    shown = [
        (f"{result.factor:.1f} x", "real time, reading and fusing"),
        (f"{result.ticks}", f"ticks, {rate:.1f} a second"),
        (f"{int(trace.by_deadline.sum())}", "of them by deadline, without the anchor"),
    ]
    if any(entry.modality in (Modality.CAMERA, Modality.LIDAR) for entry in trace.sources.values()):
        mean = float(trace.objects.mean()) if len(trace.objects) else 0.0
        shown.append((f"{mean:.1f}", "objects a tick"))
    go = float(trace.go.mean()) if len(trace.go) else 0.0
    shown.append((f"{100.0 * go:.0f} %", "of the ticks GO, the others HOLD"))
    return shown


def honest_notes(result: ReplayResult) -> list[str]:
    """What this page can not show."""
    truthless = (
        "A recording carries no ground truth: this page shows what was answered and why, not how "
        "right it was."
    )
    lines = [truthless]
    kinds = {entry.modality for entry in result.trace.sources.values()}
    missing = [
        word
        for modality, word in (
            (Modality.CAMERA, "no camera"),
            (Modality.LIDAR, "no lidar"),
            (Modality.GPS, "no GPS"),
            (Modality.ODOMETRY, "no odometry"),
        )
        if modality not in kinds
    ]
    if missing:
        lines.append(f"This replay had {', '.join(missing)}.")
    if not np.isfinite(result.trace.pose[:, 0]).any():
        lines.append(
            "The robot's pose was never known, so there is no map; and a target, which is a place "
            "in the map, can only be HOLD."
        )
    return lines


def percent(part: int, whole: int) -> str:
    """A share in words; what is there never reads as nothing."""
    share = 100.0 * part / whole
    return "under 1 %" if 0.0 < share < 1.0 else f"{share:.0f} %"


def time_range(result: ReplayResult) -> tuple[float, float]:
    """Left and right end of every chart [s]."""
    elapsed = result.trace.elapsed_s
    last = float(elapsed[-1]) if len(elapsed) else 0.0
    return 0.0, max(result.duration_s, last, 1e-3)


def target_part(result: ReplayResult) -> str:
    """GO or HOLD over time, with the reason."""
    trace = result.trace
    if not len(trace.elapsed_s):
        return page.card("<p>No tick.</p>")
    plot = Plot(time_range(result), height=52.0, unit="p")
    plot.line(trace.elapsed_s, trace.target_probability, "var(--lidar)")
    states = [state.replace("_", " ") for state in trace.target_state]
    colours = {state: "var(--ok)" if state.startswith("GO") else "var(--hold)" for state in states}
    plot.strip(trace.elapsed_s, states, colours)
    counts = Counter(states)
    said = ", ".join(
        f"{escape(state)} {percent(count, len(states))}" for state, count in counts.most_common()
    )
    return page.card(plot.svg("target over time"), f'<p class="small faint">{said}</p>')


def trust_part(result: ReplayResult) -> str:
    """For each source trust, share and reason over time."""
    trace = result.trace
    legend = page.key(
        [("var(--ink)", "line: trust, of this source alone"),
         ("var(--off)", "filled: share of the output")]
    )  # fmt: skip
    panels = []
    for entry in trace.sources.values():
        colour = f"var(--{entry.modality.value})"
        plot = Plot(time_range(result), height=64.0)
        plot.area(trace.elapsed_s, entry.share, colour)
        plot.line(trace.elapsed_s, entry.trust, colour)
        reasons = [reason.value.replace("_", " ") for reason in entry.reasons]
        colours = {r.value.replace("_", " "): REASON_COLOURS[r] for r in set(entry.reasons)}
        plot.strip(trace.elapsed_s, reasons, colours)
        summary = escape(trust_summary(entry))
        panels.append(
            f'<h3 style="color:{colour}">{escape(entry.source)} '
            f'<span class="faint small">{summary}</span></h3>{plot.svg(f"trust of {entry.source}")}'
        )
    return legend + page.card(*panels)


def trust_summary(entry: SourceTrace) -> str:
    """Median trust, mean share and how often which reason."""
    if not len(entry.trust):
        return ""
    parts = [f"median trust {np.median(entry.trust):.2f}"]
    if np.isfinite(entry.share).any():
        parts.append(f"mean share {np.nanmean(entry.share):.2f}")
    counts = Counter(reason.value.replace("_", " ") for reason in entry.reasons)
    parts += [f"{r} {percent(n, len(entry.reasons))}" for r, n in counts.most_common(4)]
    return " · ".join(parts)


def examples_part(result: ReplayResult) -> str:
    """Pictures of some ticks; empty where there is neither camera nor lidar."""
    if not result.examples:
        return ""
    rectifier = Rectifier()
    figures_shown = []
    for step in result.examples:
        overlays = [
            page.image(
                overlay(
                    frame.image, frame.intrinsics, frame.base_from_camera, step.output.objects,
                    step.output.target, step.output.reliability, step.output.pose,
                    text_growth=max(frame.image.shape[1] / SHOWN_WIDTH_PX, 1.0),
                ),
                f"{frame.source} with boxes",
            )
            for frame in rectified(step.frames, rectifier)
        ]  # fmt: skip
        above = page.image(bird_eye(step), "from above")
        count = len(step.output.objects)
        caption = f"{step.elapsed_ns / 1e9:.2f} s: {count} object{'' if count == 1 else 's'}"
        columns = f"grid-template-columns:{overlay_width(step):.2f}fr 1fr"
        pair = (
            f'<div class="pair" style="{columns}"><div>{"".join(overlays)}</div>'
            f"<div>{above}</div></div>"
        )
        figures_shown.append(
            f"<figure><figcaption>{caption}</figcaption>{pair if overlays else above}</figure>"
        )
    told = (
        '<p class="small faint">Boxes with class, probability, colour and track; bars are trust, '
        "the thin line below each is share. From above: forward is up, lidar by height, ellipses "
        "hold 90 % of a position, arrows are one second of motion.</p>"
    )
    return page.section("Example frames", page.card(told, *figures_shown))


def overlay_width(step: Step) -> float:
    """How wide the column of overlays is, so that it is about as tall as the square beside it."""
    tall = sum(frame.image.shape[0] / frame.image.shape[1] for frame in step.frames)
    return float(np.clip(1.0 / max(tall, 1e-3), 0.8, 2.8))


def bird_eye(step: Step) -> Picture:
    """A tick from above."""
    clouds = [geometry.apply(scan.base_from_lidar, scan.points[:, :3]) for scan in step.scans]
    output = step.output
    return bev.bird_eye(
        np.concatenate(clouds) if clouds else None,
        output.objects, output.pose, output.target, output.obstacles, fixes=step.fixes,
    )  # fmt: skip


def map_part(result: ReplayResult) -> str:
    """The map and how sure the position was; empty without a pose."""
    trace = result.trace
    drawing = map_svg(trace, result.fixes)
    if not drawing:
        return ""
    entries = [("var(--way)", "fused pose")]
    if result.fixes is not None:
        entries.append(("var(--gps)", "GPS fixes as received"))
    drawn = {t.class_name for t in trace.tracks if t.ticks >= LEAST_TICKS}
    entries += [(f"var(--{name})", name) for name in sorted(drawn)]
    top = upper_end(trace.pose[:, 3], 0.1)
    plot = Plot(time_range(result), (0.0, top), height=64.0, unit="m")
    plot.line(trace.elapsed_s, trace.pose[:, 3], "var(--way)")
    sigma = "<h3>Position sigma, the filter's own (larger axis)</h3>" + plot.svg("position sigma")
    if result.fixes is not None and np.isfinite(result.fixes.sigma_m).any():
        declared = float(np.nanmedian(result.fixes.sigma_m))
        sigma += (
            f'<p class="small faint">The receiver declares {declared:.2f} m (median of '
            f"{len(result.fixes.sigma_m)} fixes).</p>"
        )
    return page.section("Map", page.card(page.key(entries), drawing), page.card(sigma))


def sensors_table(result: ReplayResult) -> str:
    """What each source's topic is and how it came."""
    rows = []
    for topic in result.topics:
        got = result.received.get(topic.source, 0)
        rate = max(got - 1, 0) / result.duration_s if result.duration_s > 0.0 else 0.0
        rows.append(
            [
                f'<b style="color:var(--{topic.modality.value})">{escape(topic.source)}</b>',
                f"<code>{escape(topic.topic)}</code>",
                escape(topic.msgtype.rsplit("/", 1)[-1]),
                escape(topic.frame_id),
                f"{got}",
                f"{topic.rate_hz:.2f}",
                f"{rate:.2f}",
                f"{topic.delay_ns / 1e6:.1f}",
            ]
        )
    head = ["source", "topic", "type", "frame", "messages", "nominal Hz", "mean Hz", "delay ms"]
    anchor = escape(result.config.sync.anchor)
    return page.table(head, rows, (4, 5, 6, 7)) + (
        f'<p class="small faint">Ticks are made by <b>{anchor}</b>. Nominal rate: median interval '
        "of recording; delay: recording minus stamp, of the first message.</p>"
    )


def drops_table(result: ReplayResult) -> str:
    """What was not used, by source and reason."""
    rows = []
    for source in dict.fromkeys([*result.received, *result.counters]):
        counts = result.counters.get(source, {})
        drops = {reason: n for reason, n in counts.items() if reason not in NOT_DROPS and n}
        said = ", ".join(f"{escape(r.replace('_', ' '))} {n}" for r, n in sorted(drops.items()))
        rows.append(
            [
                escape(source),
                str(result.received.get(source, 0)),
                str(counts.get("accepted", 0)),
                str(counts.get("passed_over", 0)),
                str(counts.get("missed", 0)),
                said or '<span class="faint">none</span>',
            ]
        )
    head = ["source", "received", "accepted", "passed over", "ticks without", "drops by reason"]
    told = (
        '<p class="small faint">Passed over: a nearer or newer sample served the tick. Ticks '
        "without: no sample within tolerance.</p>"
    )
    details = [
        f"<p class=small><b>{escape(cause)}</b>: {escape(detail)}</p>"
        for cause, detail in result.rejections.items()
    ]
    return page.table(head, rows, (1, 2, 3, 4)) + told + "".join(details)


def latency_table(result: ReplayResult) -> str:
    """Median and 99th percentile of each stage."""
    if not result.latencies:
        return "<p>Not measured.</p>"
    longest = max(stage["p99_ms"] for stage in result.latencies.values())
    rows = [
        [
            escape(name.replace("_", " ")),
            f"{stage['count']:.0f}",
            f"{stage['median_ms']:.2f}",
            f"{stage['p99_ms']:.2f}",
            page.meter(stage["median_ms"] / longest if longest > 0.0 else 0.0),
        ]
        for name, stage in result.latencies.items()
    ]
    told = (
        '<p class="small faint">Inline in one thread on the machine that made this page; stages '
        "nest: a push holds its encoder, a tick holds the fusion.</p>"
    )
    return page.table(["stage", "runs", "median ms", "p99 ms", "median"], rows, (1, 2, 3)) + told


def objects_part(result: ReplayResult) -> str:
    """The tracks, longest first; empty where nothing was looked for."""
    tracks = sorted(result.trace.tracks, key=lambda track: (-track.ticks, track.track_id))
    if not tracks:
        return ""
    rows = [
        [
            f"#{track.track_id}",
            escape(track.class_name),
            escape(track.colour),
            f"{track.probability:.2f}",
            f"{track.ticks}",
            f"{track.first_s:.1f} to {track.last_s:.1f}",
            " x ".join(f"{edge:.1f}" for edge in track.size),
        ]
        for track in tracks[:MOST_TRACKS]
    ]
    head = ["track", "class", "colour", "mean p", "ticks", "seen s", "size m"]
    more = len(tracks) - MOST_TRACKS
    rest = f'<p class="small faint">and {more} shorter tracks</p>' if more > 0 else ""
    return page.section("Objects", page.card(page.table(head, rows, (3, 4)), rest))


def repeat_part(result: ReplayResult) -> str:
    """What makes two runs comparable."""
    return (
        f"<p>SHA-256 of <code>outputs.jsonl</code>: <code>{result.digest}</code></p>"
        '<p class="small faint">The same bag, configuration, weights and machine give the same '
        f"bytes. Reading and fusing took {result.fusion_s:.2f} s, writing outputs and recording "
        f"{result.showing_s:.2f} s.</p>"
    )
