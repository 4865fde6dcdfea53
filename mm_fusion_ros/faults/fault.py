"""What every fault is: samples in, worse samples out, with a severity and a seed.

The same verbs serve the simulator, training, the exam and any recording.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Generic, TypeVar

import numpy as np

from mm_fusion_ros.samples import Modality, Sample

S = TypeVar("S", bound=Sample)
SEVERITIES = 5


class Fault(ABC, Generic[S]):
    """One kind of fault at one severity, on the stream of one source.

    Whatever it draws comes from its own generator, so the same samples give the same bits. What a
    fault must remember (a frozen image, an error that wanders) it remembers between calls.

    Attributes:
        name: of the kind, "fog".
        modality: whose samples it takes.
        levels: what each severity means, mildest first; a fault of one severity has one.
        held_out: whether training never sees it, in kind or in code.
    """

    name: ClassVar[str]
    modality: ClassVar[Modality]
    levels: ClassVar[tuple[float, ...]]
    held_out: ClassVar[bool] = False

    def __init__(self, severity: int = 3, seed: int | list[int] = 0) -> None:
        """A fault that has seen nothing.

        Args:
            severity: 1 to 5; faults that have one level ignore it.
            seed: of all that it draws.

        Raises:
            ValueError: a severity out of range.
        """
        if not 1 <= severity <= SEVERITIES:
            raise ValueError(f"severity {severity} of {self.name!r} is not within 1..{SEVERITIES}")
        self.severity = severity
        self.level = self.levels[min(severity, len(self.levels)) - 1]
        self.rng = np.random.default_rng(seed)

    @abstractmethod
    def apply(self, sample: S) -> list[S]:
        """What arrives instead of the sample: nothing, it or another, or several.

        The sample and its arrays are left as they are.
        """
