"""Which faults strike which source, how badly, and when: "camera.fog:3@10s-20s"."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mm_fusion_ros.faults import camera, gps, held_out, language, lidar, timing
from mm_fusion_ros.faults.fault import SEVERITIES, Fault
from mm_fusion_ros.samples import Modality, Sample, modality_of

NS = 1_000_000_000
_OF_MODALITY: Mapping[Modality, Sequence[type[Fault[Any]]]] = {
    Modality.CAMERA: (
        camera.Black, camera.Dark, camera.Overexposed,
        camera.MotionBlur, held_out.Defocus, camera.Noise, camera.Fog, held_out.Rain,
        held_out.LensDirt, camera.ColourCast, camera.Jpeg, camera.Extrinsics,
    ),
    Modality.LIDAR: (
        lidar.Empty, lidar.Invalid, lidar.Beams, lidar.Drop,
        lidar.FieldOfView, lidar.Noise, held_out.GhostPoints, lidar.Fog, lidar.Rain,
        held_out.MotionDistortion, lidar.Extrinsics,
    ),
    Modality.GPS: (
        gps.NotANumber, gps.Step, gps.DragOff, gps.Multipath,
        gps.Covariance,
    ),
    Modality.COMMAND: (language.Typing, language.Punctuation),
}  # fmt: skip
_OF_ALL: Sequence[type[Fault[Any]]] = (
    timing.Absent, timing.Frozen, timing.Loss, timing.Duplicate, timing.Reorder, timing.Future,
    held_out.Lag,
)  # fmt: skip
_SPEC = re.compile(
    r"(?P<target>[\w/]+)\.(?P<name>\w+)(:(?P<severity>\d+))?"
    r"(@(?P<start>[\d.]+)s?-((?P<end>[\d.]+)s?)?)?"
)


class FaultError(ValueError):
    """A fault that cannot be: of another form, or of something that there is not."""


def kinds(modality: Modality) -> dict[str, type[Fault[Any]]]:
    """The faults that samples of a modality can have, by name."""
    return {kind.name: kind for kind in (*_OF_MODALITY.get(modality, ()), *_OF_ALL)}


@dataclass(frozen=True)
class Injection:
    """One fault of one source, or of all of a modality, for a while.

    Attributes:
        target: a source's name, or a modality ("camera") for all of its sources.
        name: of the fault.
        severity: 1 to 5.
        start_s, end_s: seconds after the first sample of the stream; end excluded.
    """

    target: str
    name: str
    severity: int = 3
    start_s: float = 0.0
    end_s: float = float("inf")

    def __str__(self) -> str:
        """As `parse` reads it."""
        window = "" if self.start_s <= 0 and self.end_s == float("inf") else (
            f"@{self.start_s:g}s-" + ("" if self.end_s == float("inf") else f"{self.end_s:g}s")
        )  # fmt: skip
        return f"{self.target}.{self.name}:{self.severity}{window}"

    def strikes(self, sample: Sample) -> bool:
        """Whether samples of this source are meant."""
        return self.target in (sample.source, modality_of(sample).value)


def parse(text: str, sources: Mapping[str, Modality] | None = None) -> Injection:
    """Reads "camera.fog:3@10s-20s"; severity (3) and window (always) may be left out.

    Args:
        text: TARGET.FAULT[:SEVERITY][@START-[END]].
        sources: those that there are, with their modality; None knows modalities only.

    Raises:
        FaultError: it is not of that form, or names what does not exist; says what does.
    """
    found = _SPEC.fullmatch(text.strip())
    if found is None:
        raise FaultError(f"fault {text!r}: expected TARGET.FAULT[:SEVERITY][@START-[END]]")
    target, name = found["target"], found["name"]
    known = {m.value: m for m in Modality} | dict(sources or {})
    if target not in known:
        raise FaultError(f"fault {text!r}: no source {target!r}; there are {', '.join(known)}")
    available = kinds(known[target])
    if name not in available:
        raise FaultError(f"fault {text!r}: no {name!r}; {target} has {', '.join(available)}")
    severity = int(found["severity"] or 3)
    if not 1 <= severity <= SEVERITIES:
        raise FaultError(f"fault {text!r}: the severity is 1 to {SEVERITIES}")
    start = float(found["start"] or 0.0)
    end = float(found["end"]) if found["end"] else float("inf")
    if end <= start:
        raise FaultError(f"fault {text!r}: it ends before it begins")
    return Injection(target, name, severity, start, end)


class Injector:
    """Applies injections to the samples of a stream, in their order.

    Each source has instances of its own, seeded by the seed, the injection and the source's name.
    """

    def __init__(self, injections: Iterable[Injection], seed: int = 0) -> None:
        self.injections = tuple(injections)
        self._seed = seed
        self._faults: dict[tuple[int, str], Fault[Any]] = {}
        self._began_ns: int | None = None

    def __call__(self, sample: Sample, now_ns: int) -> list[Sample]:
        """What arrives instead of the sample.

        Args:
            sample: as measured.
            now_ns: when it arrives [ns]; windows count from the first.
        """
        if self._began_ns is None:
            self._began_ns = now_ns
        seconds = (now_ns - self._began_ns) / NS
        samples: list[Sample] = [sample]
        for index, injection in enumerate(self.injections):
            if not injection.strikes(sample):
                continue
            if not injection.start_s <= seconds < injection.end_s:
                # A fault that strikes again strikes anew.
                self._faults.pop((index, sample.source), None)
                continue
            fault = self._fault(index, injection, sample)
            samples = [worse for each in samples for worse in fault.apply(each)]
        return samples

    def active(self, source: str, modality: Modality, now_ns: int) -> tuple[Injection, ...]:
        """The injections that strike a source at an instant [ns]."""
        if self._began_ns is None:
            return ()
        seconds = (now_ns - self._began_ns) / NS
        return tuple(
            injection
            for injection in self.injections
            if injection.target in (source, modality.value)
            and injection.start_s <= seconds < injection.end_s
        )

    def _fault(self, index: int, injection: Injection, sample: Sample) -> Fault[Any]:
        key = (index, sample.source)
        if key not in self._faults:
            kind = kinds(modality_of(sample))[injection.name]
            seed = [self._seed, index, zlib.crc32(sample.source.encode())]
            self._faults[key] = kind(injection.severity, seed)
        return self._faults[key]
