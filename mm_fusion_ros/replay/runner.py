"""A bag through the pipeline: the same bag and configuration give the same bytes.

The clock of a replay is the time of recording: the pipeline ticks whenever its deadline falls
before the next message, exactly as it would have on the robot.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from mm_fusion_ros.config import FusionConfig
from mm_fusion_ros.faults.injection import Injection, Injector
from mm_fusion_ros.localization.enu import LocalPlane, is_usable
from mm_fusion_ros.outputs import FusedOutput
from mm_fusion_ros.replay.bag import BagEvent, BagSource, BagTopic
from mm_fusion_ros.replay.canonical import output_line
from mm_fusion_ros.replay.shown import Shown
from mm_fusion_ros.replay.topics import NAMES
from mm_fusion_ros.replay.trace import Trace, TraceBuilder
from mm_fusion_ros.samples import (
    CameraFrame,
    Command,
    Float,
    GpsFix,
    GpsStatus,
    LidarScan,
    Modality,
    Sample,
)

OUTPUTS = "outputs.jsonl"
SECOND_NS = 1_000_000_000
# A command given by hand comes when the first samples have been seen.
COMMAND_AFTER_NS = SECOND_NS
# Ticks whose pictures go into the report, spread evenly over the bag.
EXAMPLES = 6
SHOWN_FIXES = 60


class Fusion(Protocol):
    """What a replay drives; `mm_fusion_ros.pipeline.Pipeline` is one."""

    def push(self, sample: Sample, now_ns: int) -> None:
        """Takes a sample in."""

    def next_deadline_ns(self) -> int | None:
        """When to tick next."""

    def tick(self, now_ns: int) -> FusedOutput | None:
        """The answer that is due."""

    def reject(self, source: str, reason: str) -> None:
        """Counts a message that could not be converted."""

    def counters(self) -> Mapping[str, Mapping[str, int]]:
        """Source to reason to number."""

    @property
    def plane(self) -> LocalPlane | None:
        """The `map` frame on earth; None before the first accepted fix."""


@dataclass(frozen=True, eq=False)
class Step:
    """One answer of a replay.

    Attributes:
        elapsed_ns: of bag time since the replay's start; a further loop goes on counting.
        frames: of each camera the frame nearest the tick, where there is one; as it came.
        scans: of each lidar the sweep nearest the tick, where there is one.
        fixes: (M, 2) east, north [m] in `map` of the last fixes, oldest first.
    """

    output: FusedOutput
    loop: int
    elapsed_ns: int
    frames: tuple[CameraFrame, ...]
    scans: tuple[LidarScan, ...]
    fixes: Float


@dataclass(frozen=True, eq=False)
class FixTrace:
    """The fixes of the last loop.

    Attributes:
        elapsed_s: (N,) [s].
        place: (N, 2) east, north in `map` [m].
        sigma_m: (N,) horizontal sigma as declared, NaN where none was.
    """

    elapsed_s: Float
    place: Float
    sigma_m: Float


@dataclass(frozen=True, eq=False)
class ReplayResult:
    """What a replay gave.

    Attributes:
        path: of the bag.
        duration_s: bag time that was replayed, all loops together [s].
        fusion_s: wall time of reading, converting and fusing [s].
        showing_s: wall time of writing outputs and recordings [s].
        factor: bag time over `fusion_s`: above 1 is faster than real time.
        digest: SHA-256 of `outputs.jsonl`.
        received: messages by source.
        counters: as the pipeline counts, by source and reason.
        rejections: why messages could not be converted, one example for each source and reason.
        latencies: by stage: count, median_ms, p99_ms.
        examples: steps whose pictures are worth showing.
        fixes: None without GPS or before the first accepted fix.
    """

    path: Path
    topics: tuple[BagTopic, ...]
    remarks: tuple[str, ...]
    config: FusionConfig
    command: str
    loops: int
    ticks: int
    duration_s: float
    fusion_s: float
    showing_s: float
    digest: str
    received: Mapping[str, int]
    counters: Mapping[str, Mapping[str, int]]
    rejections: Mapping[str, str]
    latencies: Mapping[str, Mapping[str, float]]
    trace: Trace
    examples: tuple[Step, ...]
    fixes: FixTrace | None

    @property
    def factor(self) -> float:
        """Bag time over the wall time of fusing it."""
        return self.duration_s / self.fusion_s if self.fusion_s > 0.0 else float("inf")


def with_command(events: Iterator[BagEvent], text: str, at_ns: int) -> Iterator[BagEvent]:
    """The events with a command given at an instant; without text they are unchanged."""
    given = not text
    for event in events:
        if not given and event.log_ns >= at_ns:
            given = True
            yield command_event(text, at_ns)
        yield event
    if not given:
        yield command_event(text, at_ns)


def command_event(text: str, at_ns: int) -> BagEvent:
    """A command as if it had been recorded."""
    source = NAMES[Modality.COMMAND]
    return BagEvent(at_ns, source, Command(at_ns, "", source, text))


def with_faults(events: Iterator[BagEvent], injections: Sequence[Injection]) -> Iterator[BagEvent]:
    """The events with what the faults make of their samples."""
    injector = Injector(injections)
    for event in events:
        if event.sample is None:
            yield event
            continue
        for worse in injector(event.sample, event.log_ns):
            yield replace(event, sample=worse)


def drive(
    events: Iterator[BagEvent], fusion: Fusion
) -> Iterator[tuple[BagEvent, FusedOutput | None]]:
    """Pushes events in order and ticks at every deadline between them.

    Yields:
        Each event once with None when it has been taken in, and with every output.

    Raises:
        RuntimeError: the pipeline asks for the same tick again and again.
    """
    for event in events:
        yield from ((event, output) for output in due(fusion, event.log_ns, at_deadline=True))
        if event.sample is None:
            fusion.reject(event.source, event.reason)
        else:
            fusion.push(event.sample, event.log_ns)
        yield event, None
        yield from ((event, output) for output in due(fusion, event.log_ns, at_deadline=False))


def due(fusion: Fusion, now_ns: int, at_deadline: bool) -> Iterator[FusedOutput]:
    """The outputs that are due by now.

    Args:
        fusion: the pipeline.
        now_ns: the time [ns].
        at_deadline: tick at the deadline's own time, as a timer would, else now.

    Raises:
        RuntimeError: a tick leaves the deadline where it was.
    """
    deadline_ns = fusion.next_deadline_ns()
    while deadline_ns is not None and deadline_ns <= now_ns:
        output = fusion.tick(deadline_ns if at_deadline else now_ns)
        if output is not None:
            yield output
        following_ns = fusion.next_deadline_ns()
        if output is None and following_ns == deadline_ns:
            raise RuntimeError(
                f"the pipeline gave nothing at its deadline {deadline_ns} ns and asks for it again"
            )
        deadline_ns = following_ns


def replay(
    bag: BagSource,
    config: FusionConfig,
    fusion: Fusion,
    out: Path,
    clock_ns: Callable[[], int],
    *,
    command: str = "",
    faults: Sequence[Injection] = (),
    loops: int = 1,
    max_ticks: int | None = None,
    show: Callable[[Step], None] | None = None,
    progress: Callable[[float, int], None] | None = None,
    latencies: Callable[[], Mapping[str, Mapping[str, float]]] | None = None,
) -> ReplayResult:
    """Replays an open bag and writes `outputs.jsonl`.

    Args:
        bag: opened.
        config: the bag's, from `BagSource.config`.
        fusion: new, made with `config`.
        out: an existing folder.
        clock_ns: steady time [ns], for the factor only: no output depends on it.
        command: given one second after the start of each loop.
        faults: that strike the bag's samples, anew in each loop.
        loops: how often the bag is replayed; the clock jumps back each time.
        max_ticks: stop after so many outputs.
        show: gets every step, as a recording does.
        progress: gets the fraction done and the number of ticks.
        latencies: the pipeline's own, asked for at the end.

    Raises:
        BagError: the bag is damaged.
        OSError: the outputs cannot be written.
    """
    run = _Run(bag, config, fusion, loops, faults)
    began_ns = clock_ns()
    showing_ns = 0
    with (out / OUTPUTS).open("w", encoding="utf-8", newline="\n") as stream:
        for step in run.steps(command, progress):
            paused_ns = clock_ns()
            line = output_line(step.output) + "\n"
            run.digest.update(line.encode("utf-8"))
            stream.write(line)
            if show is not None:
                show(step)
            showing_ns += clock_ns() - paused_ns
            if max_ticks is not None and run.ticks >= max_ticks:
                break
    wall_ns = clock_ns() - began_ns
    if progress is not None:
        progress(1.0, run.ticks)
    return ReplayResult(
        path=bag.path,
        topics=bag.topics,
        remarks=bag.remarks,
        config=config,
        command=command,
        loops=loops,
        ticks=run.ticks,
        duration_s=run.covered_ns / 1e9,
        fusion_s=(wall_ns - showing_ns) / 1e9,
        showing_s=showing_ns / 1e9,
        digest=run.digest.hexdigest(),
        received=dict(run.received),
        counters={source: dict(counts) for source, counts in fusion.counters().items()},
        rejections=dict(run.rejections),
        latencies={} if latencies is None else latencies(),
        trace=run.trace.build(),
        examples=tuple(run.examples),
        fixes=run.fix_trace(),
    )


class _Run:
    """The state of one replay."""

    def __init__(
        self, bag: BagSource, config: FusionConfig, fusion: Fusion, loops: int,
        faults: Sequence[Injection],
    ) -> None:  # fmt: skip
        self._bag, self._config, self._fusion, self._loops = bag, config, fusion, loops
        self._faults = faults
        self._fixes: list[tuple[float, float, float, float]] = []
        self._shown = Shown()
        self.trace = TraceBuilder()
        self.digest = hashlib.sha256()
        self.received: dict[str, int] = {}
        self.rejections: dict[str, str] = {}
        self.examples: list[Step] = []
        self.ticks = 0
        self.covered_ns = 0

    def steps(self, command: str, progress: Callable[[float, int], None] | None) -> Iterator[Step]:
        """All outputs of all loops."""
        bag = self._bag
        # The last message lasts until the next would have come; an instant would divide by zero.
        length_ns = max(bag.duration_ns, 1)
        for loop in range(self._loops):
            self._shown.clear()
            self._fixes = []
            recorded = with_faults(bag.events(self._config), self._faults)
            events = with_command(recorded, command, bag.start_ns + COMMAND_AFTER_NS)
            for event, output in drive(events, self._fusion):
                elapsed_ns = loop * length_ns + event.log_ns - bag.start_ns
                self.covered_ns = elapsed_ns
                if output is None:
                    self._note(event, elapsed_ns)
                    continue
                yield self._step(output, loop, loop * length_ns + output.stamp_ns - bag.start_ns)
                if progress is not None:
                    progress(min(elapsed_ns / (length_ns * self._loops), 1.0), self.ticks)

    def _note(self, event: BagEvent, elapsed_ns: int) -> None:
        """Counts an event and keeps what will be shown of it."""
        self.received[event.source] = self.received.get(event.source, 0) + 1
        if event.sample is None:
            self.rejections.setdefault(f"{event.source}: {event.reason}", event.detail)
            return
        self._shown.add(event.sample)
        if isinstance(event.sample, GpsFix):
            self._place(event.sample, elapsed_ns)

    def _step(self, output: FusedOutput, loop: int, elapsed_ns: int) -> Step:
        self.ticks += 1
        self.trace.add(output, elapsed_ns / 1e9, loop)
        frames = self._shown.frames(output.stamp_ns)
        scans = self._shown.scans(output.stamp_ns)
        recent = [row[1:3] for row in self._fixes[-SHOWN_FIXES:]]
        fixes = np.array(recent, dtype=np.float64).reshape(-1, 2)
        step = Step(output, loop, elapsed_ns, frames, scans, fixes)
        share = self._bag.duration_ns * self._loops / EXAMPLES
        if (frames or scans) and elapsed_ns >= (len(self.examples) + 0.5) * share:
            self.examples.append(step)
        return step

    def _place(self, fix: GpsFix, elapsed_ns: int) -> None:
        """Keeps where a fix lies in `map`, once there is one."""
        plane = self._fusion.plane
        if plane is not None and fix.status is not GpsStatus.NO_FIX and is_usable(fix):
            east, north = plane.enu(fix)[:2]
            self._fixes.append((elapsed_ns / 1e9, float(east), float(north), declared_sigma(fix)))

    def fix_trace(self) -> FixTrace | None:
        """The fixes of the last loop in `map`."""
        if not self._fixes:
            return None
        rows = np.array(self._fixes, dtype=np.float64)
        return FixTrace(elapsed_s=rows[:, 0], place=rows[:, 1:3], sigma_m=rows[:, 3])


def declared_sigma(fix: GpsFix) -> float:
    """The horizontal sigma that a receiver declares [m]; NaN where it declares none."""
    if fix.covariance is None:
        return float("nan")
    return float(np.sqrt(max((fix.covariance[0, 0] + fix.covariance[1, 1]) / 2.0, 0.0)))
