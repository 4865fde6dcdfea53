"""The page of the gate's reactions: bars, and trust around each fault, the slowest first."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np

from mm_fusion_ros.evaluation.charts import Line, unit_chart
from mm_fusion_ros.evaluation.protocol import Protocol
from mm_fusion_ros.evaluation.reactions import Reaction, Reactions
from mm_fusion_ros.evaluation.report import bar_table, document, fact_list, with_interval
from mm_fusion_ros.evaluation.table import finite, plain

NOTE = (
    "A robot drives at {speed:g} m/s and turns at {turn:g} rad/s for {frames} frames, "
    "{period:g} s apart. The fault, of severity {severity}, holds between the dashed lines. "
    "Noticed: trust is at most {half:g} of its clean median. Recovered: it is at least {back:g} of "
    "what it is without a fault. Curves are means over {sequences} sequences."
)
SHARE_STYLE = """
.share { stroke: var(--ink); stroke-width: 1.5; stroke-dasharray: 1 3; stroke-linecap: round; }
.share.before { opacity: .45; } .key.share::before { color: var(--ink); border-top-style: dotted; }
"""


def page(result: Reactions, protocol: Protocol, *, title: str, facts: Mapping[str, str]) -> str:
    """The whole page as HTML.

    Args:
        result: of this part of the exam.
        protocol: that it was taken by.
        title: heading.
        facts: model, seeds, machine: what a figure needs to be believed.
    """
    rule, motion = protocol.reactions, protocol.motion
    note = NOTE.format(
        speed=motion.speed_mps, turn=motion.turn_radps, frames=rule.frames, period=rule.period_s,
        severity=rule.severity, half=rule.half, back=rule.back, sequences=result.sequences,
    )  # fmt: skip
    sections = [
        f"<h1>{escape(title)}</h1>", fact_list(facts), "<h2>Bars</h2>",
        bars_of(result, protocol), f"<p class=soft>{escape(note)}</p>",
        "<h2>Trust around each fault, the slowest first</h2><div class=charts>",
        *[trace_chart(each, protocol) for each in result.faults], "</div>",
    ]  # fmt: skip
    return document(title, sections, SHARE_STYLE)


def bars_of(result: Reactions, protocol: Protocol) -> str:
    """What must be reached, and how much of it is."""
    rule = protocol.reactions
    count = len(result.asked)
    quick = sum(each.notice <= rule.notice for each in result.asked)
    back = sum(each.recover <= rule.recover for each in result.asked)
    part = f"in {rule.quantile:.0%} of the sequences"
    rows = [
        (f"noticed within {rule.notice} frames {part}", f"{quick} of {count} faults", "all",
         quick == count),
        (f"recovered within {rule.recover} frames {part}", f"{back} of {count} faults", "all",
         back == count),
    ]  # fmt: skip
    rows += [
        (f"false alarms of the {kind}, of clean frames", with_interval(str(value)),
         f"{rule.false_alarms:g}", value.value <= rule.false_alarms)
        for kind, value in result.false_alarms.items()
    ]  # fmt: skip
    return bar_table(rows)


def trace_chart(each: Reaction, protocol: Protocol) -> str:
    """Mean trust over the frames, with and without the fault."""
    rule = protocol.reactions
    along = (np.arange(rule.frames) + 0.5) / rule.frames
    ends = [np.full(2, index / rule.frames) for index in (rule.onset, rule.end)]
    lines = [Line("", "ideal", end, np.array([0.0, 1.0])) for end in ends]
    lines += [
        Line("without", "ideal", along, np.array(each.clean)),
        Line("struck", each.condition.group, along, np.array(each.trace), dots=True),
        Line("", "share before", along, np.array(each.clean_share)),
        Line("share", "share", along, np.array(each.share)),
    ]
    title = (
        f"{each.condition.name}: {_frames(each.notice)} to half, {_frames(each.recover)} back"
        + (f", costs {each.cost:.0%}" if np.isfinite(each.cost) else "")
    )  # fmt: skip
    return unit_chart(title, f"part of {rule.frames} frames", "trust, share", lines)


def _frames(count: float) -> str:
    return f"{count:.0f} frames" if np.isfinite(count) else "never"


def plain_reactions(result: Reactions) -> dict[str, Any]:
    """Everything as plain values, for JSON."""
    asked = {each.condition.name for each in result.asked}
    return {
        "sequences": result.sequences,
        "false_alarms": {kind: plain(value) for kind, value in result.false_alarms.items()},
        "faults": {
            each.condition.name: {
                "frames_to_half": finite(each.notice),
                "frames_back": finite(each.recover),
                "noticed_in_time": plain(each.noticed),
                "recovered_in_time": plain(each.recovered),
                "trace": list(each.trace),
                "clean": list(each.clean),
                "share": list(each.share),
                "clean_share": list(each.clean_share),
                "cost": finite(each.cost),
                "asked": each.condition.name in asked,
            }
            for each in result.faults
        },
    }
