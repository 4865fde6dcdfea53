"""Two replays of one recording, clean and struck by faults, held against each other.

A recording has no ground truth, so the clean replay stands for it: what it was sure of should still
be found, the struck sensor should be believed less for as long as the fault lasts, and nothing
should be made up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np

from mm_fusion_ros.faults.injection import Injection
from mm_fusion_ros.outputs import FusedObject, FusedOutput
from mm_fusion_ros.replay import page
from mm_fusion_ros.replay.runner import Step
from mm_fusion_ros.samples import Modality

SURE = 0.5
"""Objects of the clean replay above this probability should be found under the fault, too."""
RADIUS_M = 1.0
"""They are, where one of their class is so near."""
HALF = 0.5


@dataclass(frozen=True)
class Found:
    """One object of one answer."""

    class_name: str
    probability: float
    x: float
    y: float


@dataclass(frozen=True)
class Line:
    """What one answer said; positions are in base_link at its instant.

    Attributes:
        elapsed_s: since the start of its loop [s].
        objects: most probable first.
        trust: by source.
        place: x y [m] in `map`; None without a pose.
    """

    elapsed_s: float
    objects: tuple[Found, ...]
    trust: dict[str, float]
    go: bool
    place: tuple[float, float] | None


@dataclass
class Ledger:
    """The answers of one replay, by loop and stamp."""

    lines: dict[tuple[int, int], Line] = field(default_factory=dict)
    began_s: dict[int, float] = field(default_factory=dict)
    modalities: dict[str, Modality] = field(default_factory=dict)

    def add(self, step: Step) -> None:
        """Takes the answer of a step."""
        output, elapsed_s = step.output, step.elapsed_ns / 1e9
        self.modalities |= {name: entry.modality for name, entry in output.reliability.items()}
        self.lines[step.loop, output.stamp_ns] = Line(
            # Faults strike anew in each loop, so time counts from its start.
            elapsed_s - self.began_s.setdefault(step.loop, elapsed_s),
            tuple(_found(item) for item in output.objects),
            {name: entry.trust for name, entry in output.reliability.items()},
            output.target.go,
            _place(output),
        )


@dataclass(frozen=True)
class Kept:
    """What a fault left of the clean answers, over some ticks.

    Attributes:
        ticks: of both replays.
        sure: objects that the clean replay was sure of.
        again: of those, how many the struck one found within `RADIUS_M`, of the same class.
        shift_m: median distance between the two; NaN where none was found.
        new: sure answers of the struck replay that the clean one has not, however unsure.
    """

    ticks: int
    sure: int
    again: int
    shift_m: float
    new: int


@dataclass(frozen=True)
class Noticed:
    """How a source was believed.

    Attributes:
        clean, struck: mean trust in the two replays while the fault lasts.
        notice_s: from its onset until the trust is half of what it was; None where it never is.
        recovery_s: from its end until the trust is more than that again; None where it never is.
    """

    source: str
    clean: float
    struck: float
    notice_s: float | None
    recovery_s: float | None


@dataclass(frozen=True)
class Scorecard:
    """The comparison.

    Attributes:
        during, apart: while any fault lasts, and for the rest.
        noticed: of each struck source, by fault.
        go: part of the ticks with a target, clean and struck.
        drift_m: mean distance of the two poses, and the largest; None without poses.
        silent: ticks of the clean replay to which the struck one has no answer.
    """

    during: Kept
    apart: Kept
    noticed: tuple[tuple[Injection, Noticed], ...]
    go: tuple[float, float]
    drift_m: tuple[float, float] | None
    silent: int


def _found(item: FusedObject) -> Found:
    return Found(item.class_name, item.class_probability, item.centre[0], item.centre[1])


def _place(output: FusedOutput) -> tuple[float, float] | None:
    if output.pose is None:
        return None
    matrix = output.pose.map_from_base
    return float(matrix[0, 3]), float(matrix[1, 3])


def scorecard(clean: Ledger, struck: Ledger, injections: Sequence[Injection]) -> Scorecard:
    """Compares two replays of the same recording.

    Args:
        clean, struck: without and with the faults.
        injections: the faults.
    """
    pairs = paired(clean, struck)
    during = [pair for pair in pairs if _is_struck(pair[0].elapsed_s, injections)]
    apart = [pair for pair in pairs if not _is_struck(pair[0].elapsed_s, injections)]
    drift = [
        float(np.hypot(a.place[0] - b.place[0], a.place[1] - b.place[1]))
        for a, b in pairs
        if a.place is not None and b.place is not None
    ]
    go = [(a.go, b.go) for a, b in pairs]
    return Scorecard(
        during=kept(during),
        apart=kept(apart),
        noticed=tuple(
            (injection, noticed(pairs, name, injection))
            for injection in injections
            for name, modality in clean.modalities.items()
            if injection.target in (name, modality.value)
        ),
        go=tuple(np.mean(go, axis=0).tolist()) if go else (0.0, 0.0),
        drift_m=(float(np.mean(drift)), float(np.max(drift))) if drift else None,
        silent=len(clean.lines) - len(pairs),
    )


def paired(clean: Ledger, struck: Ledger) -> list[tuple[Line, Line]]:
    """The answers of the same instants: without the anchor, stamps are predicted and differ."""
    pairs = []
    for loop in clean.began_s:
        rows = sorted(key for key in clean.lines if key[0] == loop)
        others = sorted(key for key in struck.lines if key[0] == loop)
        stamps = np.array([stamp for _, stamp in others], np.int64)
        gaps = np.diff([stamp for _, stamp in rows])
        reach = float(np.median(gaps)) / 2.0 if len(gaps) else 0.0
        taken: set[int] = set()
        for key in rows:
            if not len(stamps):
                break
            nearest = int(np.argmin(np.abs(stamps - key[1])))
            if nearest not in taken and abs(int(stamps[nearest]) - key[1]) <= reach:
                taken.add(nearest)
                pairs.append((clean.lines[key], struck.lines[others[nearest]]))
    return pairs


def _is_struck(elapsed_s: float, injections: Sequence[Injection]) -> bool:
    return any(each.start_s <= elapsed_s < each.end_s for each in injections)


def kept(pairs: Sequence[tuple[Line, Line]]) -> Kept:
    """What is left of the clean answers, over pairs of clean and struck."""
    sure = again = new = 0
    shifts: list[float] = []
    for clean, struck in pairs:
        wanted = [item for item in clean.objects if item.probability >= SURE]
        free = list(struck.objects)
        sure += len(wanted)
        for item in wanted:
            near = _nearest(item, free)
            if near is not None:
                free.remove(near)
                again += 1
                shifts.append(_apart(item, near))
        said = [item for item in struck.objects if item.probability >= SURE]
        new += sum(_nearest(item, clean.objects) is None for item in said)
    return Kept(len(pairs), sure, again, float(np.median(shifts)) if shifts else np.nan, new)


def _nearest(item: Found, others: Sequence[Found]) -> Found | None:
    near = [
        other
        for other in others
        if other.class_name == item.class_name and _apart(item, other) <= RADIUS_M
    ]
    return min(near, key=lambda other: _apart(item, other)) if near else None


def _apart(item: Found, other: Found) -> float:
    return float(np.hypot(item.x - other.x, item.y - other.y))


def noticed(pairs: Sequence[tuple[Line, Line]], source: str, injection: Injection) -> Noticed:
    """How a source was believed while a fault struck it, and about that time."""
    rows = [
        (clean.elapsed_s, clean.trust[source], struck.trust[source])
        for clean, struck in pairs
        if source in clean.trust and source in struck.trust
    ]
    within = [row for row in rows if injection.start_s <= row[0] < injection.end_s]
    after = [row for row in rows if row[0] >= injection.end_s]
    mean = np.mean([row[1:] for row in within], axis=0) if within else (np.nan, np.nan)
    low = [row[0] for row in within if row[2] <= HALF * row[1] and row[1] > 0.0]
    back = [row[0] for row in after if row[2] > HALF * row[1]] if low else []
    began_s = max(injection.start_s, rows[0][0]) if rows else injection.start_s
    return Noticed(
        source, float(mean[0]), float(mean[1]),
        low[0] - began_s if low else None, back[0] - injection.end_s if back else None,
    )  # fmt: skip


def scorecard_part(card: Scorecard) -> str:
    """Its section of the report."""
    rows = []
    for name, part in (("while a fault lasts", card.during), ("apart from that", card.apart)):
        found = f"{100.0 * part.again / part.sure:.0f} %" if part.sure else "-"
        shift = f"{part.shift_m:.2f}" if np.isfinite(part.shift_m) else "-"
        rows.append([name, str(part.ticks), str(part.sure), found, shift, str(part.new)])
    head = ["", "ticks", "sure objects, clean", "found again", "shift m", "new sure answers"]
    answers = page.table(head, rows, (1, 2, 3, 4, 5))

    rows = [
        [
            escape(str(injection)), escape(each.source), f"{each.clean:.2f}", f"{each.struck:.2f}",
            _seconds(each.notice_s), _seconds(each.recovery_s),
        ]
        for injection, each in card.noticed
    ]  # fmt: skip
    head = ["fault", "source", "trust, clean", "trust, struck", "noticed after s", "back after s"]
    trust = page.table(head, rows, (2, 3, 4, 5))
    lines = [f"GO in {100.0 * card.go[0]:.0f} % of the ticks, struck {100.0 * card.go[1]:.0f} %."]
    if card.drift_m is not None:
        lines.append(
            f"The poses differ by {card.drift_m[0]:.2f} m on average, {card.drift_m[1]:.2f} m at "
            "most."
        )
    if card.silent:
        lines.append(f"{card.silent} ticks of the clean replay have no answer in the struck one.")
    note = (
        f'<p class="small faint">The clean replay stands for the truth: objects that it gives a '
        f"probability of {SURE:g} or more, found again within {RADIUS_M:g} m with the same class. "
        f"Noticed: the trust is half of the clean one. {' '.join(lines)}</p>"
    )
    return page.section("Scorecard beside the clean replay", page.card(answers, trust, note))


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.1f}"
