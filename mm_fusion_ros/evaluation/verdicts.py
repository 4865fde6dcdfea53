"""The exam's bars in one list: the figure, what is asked, and whether it is reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

import numpy as np

from mm_fusion_ros.evaluation.bootstrap import Estimate
from mm_fusion_ros.evaluation.drives import INTACT, DriveScore
from mm_fusion_ros.evaluation.protocol import Protocol
from mm_fusion_ros.evaluation.reactions import Reactions
from mm_fusion_ros.evaluation.report import bar_table, document, fact_list, with_interval
from mm_fusion_ros.evaluation.robustness import Robustness, claims
from mm_fusion_ros.evaluation.scoring import BOTH, Score

KEY = "verdicts"
"""Under which each part's JSON holds them."""


@dataclass(frozen=True)
class Verdict:
    """One bar.

    Attributes:
        name: of the figure.
        figure: its value, with its interval where it has one.
        bar: what is asked.
        reached: whether the figure itself reaches it.
    """

    name: str
    figure: str
    bar: str
    reached: bool


def of_clean(score: Score, protocol: Protocol) -> list[Verdict]:
    """Gains over each sensor alone, calibration, position and its uncertainty."""
    rule = protocol.clean
    found = [
        Verdict(
            f"both - {bar.over}, {protocol.figures['primary'].name}", str(bar.gain),
            f">= {bar.least:g}", bar.reached,
        )
        for bar in score.bars
    ]  # fmt: skip
    both = score.subsets[BOTH]
    ece, held = both.calibration.error, both.coverage
    low, high = rule.coverage
    return [
        *found,
        Verdict("ECE of the class probability", str(ece), f"<= {rule.ece:g}",
                ece.value <= rule.ece),
        Verdict("90 % ellipse holds the centre", str(held), f"{low:g} to {high:g}",
                low <= held.value <= high),
        _least("errors follow sigmas (Spearman)", both.follows, rule.follows),
    ]  # fmt: skip


def of_robustness(result: Robustness, protocol: Protocol) -> list[Verdict]:
    """Mean relative accuracy, what is missing, the floor, and what the gate notices."""
    found = [_least(bar.name, bar.value, bar.least) for bar in result.bars]
    count = len(result.cells)
    for key, cells in result.fallen.items():
        worst = f", worst {cells[0].condition.name}" if cells else ""
        found.append(
            Verdict(
                f"floor, {protocol.figures[key].name}",
                f"{count - len(cells)} of {count} cells hold{worst}", "all", not cells,
            )
        )  # fmt: skip
    if result.noticed:
        rule, first = protocol.robustness.gate, result.noticed[0]
        mean = float(np.mean([cell.detected for cell in result.noticed]))
        found += [
            Verdict("gate notices, mean AUROC", f"{mean:.3f}", f">= {rule.mean:g}",
                    mean >= rule.mean),
            Verdict("gate notices, least AUROC", f"{first.detected:.3f} ({first.condition.name})",
                    f">= {rule.least:g}", first.detected >= rule.least),
        ]  # fmt: skip
    for name, cells in claims(result, protocol).items():
        worst = f", worst {cells[0].condition.name}" if cells else ""
        held = f"{count - len(cells)} of {count} cells hold{worst}"
        found.append(Verdict(name, held, "all", not cells))
    return found


def of_reactions(result: Reactions, protocol: Protocol) -> list[Verdict]:
    """How fast the gate notices and forgets, and its false alarms."""
    rule = protocol.reactions
    part, count = f"in {rule.quantile:.0%} of the sequences", len(result.asked)
    quick = sum(each.notice <= rule.notice for each in result.asked)
    back = sum(each.recover <= rule.recover for each in result.asked)
    found = [
        Verdict(f"noticed within {rule.notice} frames {part}", f"{quick} of {count} faults", "all",
                quick == count),
        Verdict(f"recovered within {rule.recover} frames {part}", f"{back} of {count} faults",
                "all", back == count),
    ]  # fmt: skip
    return found + [
        Verdict(f"false alarms, {kind}", str(value), f"<= {rule.false_alarms:g}",
                value.value <= rule.false_alarms)
        for kind, value in result.false_alarms.items()
    ]  # fmt: skip


def of_unfamiliar(result: Mapping[str, Estimate], protocol: Protocol) -> list[Verdict]:
    """Whether what training never showed is noticed."""
    return [
        _least(f"unfamiliar: {question}, AUROC", value, protocol.unfamiliar.least)
        for question, value in result.items()
    ]


def of_red_cube(accuracy: Mapping[str, Mapping[str, float]], protocol: Protocol) -> list[Verdict]:
    """Both parts for the first strategy, and that nothing without interaction solves the first."""
    rule = protocol.red_cube
    first, alone = accuracy["gated"], max(accuracy[name]["a"] for name in rule.without)
    return [
        Verdict("red cube (a), gated", f"{first['a']:.3f}", f">= {rule.least:g}",
                first["a"] >= rule.least),
        Verdict("red cube (a), best without interaction", f"{alone:.3f}", f"<= {rule.chance:g}",
                alone <= rule.chance),
        Verdict("red cube (b), gated", f"{first['b']:.3f}", f">= {rule.least:g}",
                first["b"] >= rule.least),
    ]  # fmt: skip


def of_drives(result: Mapping[str, DriveScore], protocol: Protocol) -> list[Verdict]:
    """Commands carried out, with every sensor and with each one lost."""
    rule = protocol.drive
    return [
        _least("drive, every sensor", row.done, rule.least)
        if name == INTACT
        else _least(f"drive, {name} lost", row.done, rule.lost)
        for name, row in result.items()
    ]


def _least(name: str, value: Estimate, least: float) -> Verdict:
    return Verdict(name, str(value), f">= {least:g}", bool(value.value >= least))


def plain_verdicts(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """As plain values, for JSON."""
    return [asdict(each) for each in verdicts]


def table(verdicts: Sequence[Verdict]) -> str:
    """As an HTML table."""
    return bar_table((e.name, with_interval(e.figure), e.bar, e.reached) for e in verdicts)


def text(verdicts: Sequence[Verdict]) -> str:
    """As plain text, what is not reached first."""
    ordered = sorted(verdicts, key=lambda each: each.reached)
    lines = [
        f"{'reached' if each.reached else 'NOT reached':12} {each.name:56} {each.figure:>28}  "
        f"{each.bar}"
        for each in ordered
    ]
    return "\n".join([f"{sum(each.reached for each in verdicts)} of {len(verdicts)} bars", *lines])


def overview(
    parts: Mapping[str, Sequence[Verdict]], pages: Mapping[str, str], facts: Mapping[str, str],
    title: str,
) -> str:  # fmt: skip
    """The first page of a whole exam, as HTML.

    Args:
        parts: name of each part to its bars.
        pages: name of a part to its own page, as a link.
        facts: what a figure needs to be believed.
        title: heading.
    """
    everything = [each for verdicts in parts.values() for each in verdicts]
    reached = sum(each.reached for each in everything)
    sections = [
        f"<h1>{escape(title)}</h1>", fact_list(facts),
        f"<p><b>{reached} of {len(everything)} bars are reached.</b></p>",
    ]  # fmt: skip
    for name, verdicts in parts.items():
        link = f' <a class=soft href="{escape(pages[name])}">page</a>' if name in pages else ""
        ordered = sorted(verdicts, key=lambda each: each.reached)
        sections += [f"<h2>{escape(name)}{link}</h2>", table(ordered)]
    return document(title, sections)
