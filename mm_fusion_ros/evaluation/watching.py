"""How far the monitors would believe a sensor some frames after a fault set in.

The exam's scenes are single instants; monitors watch a stream. So each scene stands for a short
one: healthy frames with the figures of the clean sample, then frames with those of the struck one.
"""

from __future__ import annotations

from collections.abc import Mapping

from mm_fusion_ros.config import ReliabilityConfig, SourceConfig
from mm_fusion_ros.evaluation.scoring import LIDAR
from mm_fusion_ros.reliability.alignment import Agreement
from mm_fusion_ros.reliability.gate import Gate

Figures = Mapping[str, float]
PERIOD_NS = 100_000_000
HEALTHY_FRAMES, STRUCK_FRAMES = 10, 4
CHECKSUM = "checksum"


def watched(
    clean: Mapping[str, Figures],
    struck: Mapping[str, Figures | None],
    modalities: Mapping[str, str],
    frozen: bool,
    agreement: tuple[Mapping[str, Agreement], Mapping[str, Agreement]] = ({}, {}),
    epistemic: tuple[Mapping[str, float], Mapping[str, float]] = ({}, {}),
) -> tuple[Gate, int]:
    """A gate that has seen a fault set in.

    Args:
        clean: source to the quality figures of its clean sample.
        struck: the same under the fault; None where nothing comes or what comes is refused.
        modalities: source to "camera" or "lidar".
        frozen: whether the struck sensors repeat one sample.
        agreement: by camera, how well it agrees with the lidar, before and under the fault.
        epistemic: by source, how unfamiliar its sample is, before and under the fault.

    Returns:
        the gate, and the instant at which to ask it [ns].
    """
    sources = [SourceConfig(name, modality, rate_hz=10.0) for name, modality in modalities.items()]
    gate = Gate(sources, ReliabilityConfig())
    stamp_ns = 0
    for frame in range(HEALTHY_FRAMES + STRUCK_FRAMES):
        stamp_ns += PERIOD_NS
        late = frame >= HEALTHY_FRAMES
        for name in modalities:
            figures = struck.get(name, clean[name]) if late else clean[name]
            if figures is None:
                gate.reject(name)
                continue
            # No two frames of a living sensor are equal.
            repeated = late and frozen and name in struck
            fresh = {**figures, CHECKSUM: -1.0 if repeated else float(frame)}
            gate.observe(name, stamp_ns, fresh, moving=True)
            if name in epistemic[late]:
                gate.note_epistemic(name, epistemic[late][name])
        for lidar in [name for name, kind in modalities.items() if kind == LIDAR][:1]:
            for camera, value in agreement[late].items():
                if gate.is_comparable(camera, lidar, stamp_ns):
                    gate.note_alignment(camera, value, stamp_ns)
    return gate, stamp_ns
