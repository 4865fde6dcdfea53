"""What goes wrong on the way, for samples of every kind."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, TypeVar

from mm_fusion_ros.faults.fault import Fault
from mm_fusion_ros.samples import Modality, Sample

T = TypeVar("T", bound=Sample)
MS = 1_000_000


class TimingFault(Fault[T]):
    """A fault that leaves the contents of samples alone.

    `modality` is a placeholder here: these faults are for every kind of sample.
    """

    modality: ClassVar[Modality] = Modality.CAMERA


class Absent(TimingFault[T]):
    """Nothing comes."""

    name, levels = "absent", (1.0,)

    def apply(self, sample: T) -> list[T]:
        """Nothing."""
        return []


class Frozen(TimingFault[T]):
    """The first sample, under ever new stamps."""

    name, levels = "frozen", (1.0,)

    def __init__(self, severity: int = 3, seed: int | list[int] = 0) -> None:
        super().__init__(severity, seed)
        self._first: T | None = None

    def apply(self, sample: T) -> list[T]:
        """The first one, restamped."""
        first = self._first = self._first or sample
        return [replace(first, stamp_ns=sample.stamp_ns)]


class Loss(TimingFault[T]):
    """This part of the samples never arrives, in bursts of three on average."""

    name, levels = "loss", (0.05, 0.15, 0.3, 0.5, 0.8)
    _burst: ClassVar[float] = 3.0

    def __init__(self, severity: int = 3, seed: int | list[int] = 0) -> None:
        super().__init__(severity, seed)
        self._losing = False

    def apply(self, sample: T) -> list[T]:
        """It or nothing: a chain of two states (Gilbert, 1960)."""
        leave = 1.0 / self._burst
        enter = leave * self.level / (1.0 - self.level)
        change = leave if self._losing else min(enter, 1.0)
        if self.rng.random() < change:
            self._losing = not self._losing
        return [] if self._losing else [sample]


class Duplicate(TimingFault[T]):
    """This part of the samples arrives twice."""

    name, levels = "duplicate", (0.1, 0.2, 0.4, 0.7, 1.0)

    def apply(self, sample: T) -> list[T]:
        """It, perhaps twice."""
        return [sample, sample] if self.rng.random() < self.level else [sample]


class Reorder(TimingFault[T]):
    """This part of the samples is overtaken by the next."""

    name, levels = "reorder", (0.05, 0.1, 0.2, 0.35, 0.5)

    def __init__(self, severity: int = 3, seed: int | list[int] = 0) -> None:
        super().__init__(severity, seed)
        self._held: T | None = None

    def apply(self, sample: T) -> list[T]:
        """It, it and the one before, or nothing yet."""
        if self._held is not None:
            held, self._held = self._held, None
            return [sample, held]
        if self.rng.random() < self.level:
            self._held = sample
            return []
        return [sample]


class Future(TimingFault[T]):
    """One sample in ten is stamped this many seconds ahead."""

    name, levels = "future", (0.5, 2.0, 10.0, 60.0, 3600.0)

    def apply(self, sample: T) -> list[T]:
        """It, perhaps under another stamp."""
        if self.rng.random() >= 0.1:
            return [sample]
        return [replace(sample, stamp_ns=sample.stamp_ns + round(self.level * 1000) * MS)]
