"""One source as the synchronizer sees it: its limits, samples, rhythm and counts."""

from __future__ import annotations

from typing import Generic, TypeVar

from mm_fusion_ros.config import SourceConfig, SyncConfig
from mm_fusion_ros.samples import Modality
from mm_fusion_ros.sync.buffer import SampleBuffer
from mm_fusion_ros.sync.rhythm import Rhythm
from mm_fusion_ros.sync.tick import Outcome, Verdict

T = TypeVar("T")

# One picture or sweep is evidence once; these are states, and hold until the next one comes.
REUSABLE = frozenset({Modality.GPS, Modality.ODOMETRY, Modality.IMU, Modality.COMMAND})


def nanoseconds(milliseconds: float) -> int:
    """Milliseconds as integer nanoseconds."""
    return round(milliseconds * 1e6)


class Stream(Generic[T]):
    """The samples of one source between their arrival and their tick.

    Args:
        source: name, kind, rate, offset, tolerance and timeout.
        config: horizon and capacity.

    Attributes:
        oldest_ns: samples further behind the clock than this are refused on arrival.
        reusable: whether one sample may serve several ticks.
        counts: reason -> number, of verdicts and outcomes.
    """

    def __init__(self, source: SourceConfig, config: SyncConfig) -> None:
        horizon_ns = nanoseconds(config.horizon_ms)
        self.name = source.name
        self.offset_ns = nanoseconds(source.offset_ms)
        self.tolerance_ns = nanoseconds(source.tolerance_ms)
        # Late but not yet stale is still worth having, even beyond the horizon.
        self.oldest_ns = max(horizon_ns, nanoseconds(source.timeout_ms))
        self.reusable = Modality(source.modality) in REUSABLE
        self._rate_hz = source.rate_hz
        self.buffer: SampleBuffer[T] = SampleBuffer(
            config.capacity, max(horizon_ns, self.tolerance_ns), self.reusable
        )
        self.rhythm = Rhythm(source.rate_hz)
        self.counts: dict[str, int] = {}

    def count(self, reason: Verdict | Outcome, number: int = 1) -> None:
        """Counts what became of a sample or of this source in a tick."""
        if number:
            self.counts[reason.value] = self.counts.get(reason.value, 0) + number

    def reset(self) -> None:
        """Forgets samples and rhythm; what was held is counted as dropped by the clock."""
        self.count(Verdict.CLOCK_RESET, self.buffer.clear())
        self.rhythm = Rhythm(self._rate_hz)

    def all_counts(self) -> dict[str, int]:
        """The counts, with those that the buffer keeps."""
        result = dict(self.counts)
        for reason, number in (
            (Outcome.PASSED_OVER.value, self.buffer.passed_over),
            (Verdict.OVERFLOW.value, self.buffer.overflowed),
        ):
            if number:
                result[reason] = result.get(reason, 0) + number
        return result
