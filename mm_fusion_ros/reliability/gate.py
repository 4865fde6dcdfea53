"""How far each source is believed at a tick, and what part of the answer came from it.

Trust is absolute and each source's own; share is relative and sums to 1: over cameras and lidars
for the objects, over odometry and GPS for the pose. What was not used has a share of exactly 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mm_fusion_ros.config import ReliabilityConfig, SourceConfig
from mm_fusion_ros.outputs import Reason, Reliability
from mm_fusion_ros.reliability.monitors import SourceMonitor
from mm_fusion_ros.samples import Modality

GpsJudgement = tuple[float, Reason, Mapping[str, float]]
HIDDEN = frozenset({"checksum"})
"""Figures that serve the monitors and tell a reader nothing."""


class Gate:
    """One monitor for each source, and the shares that the networks and the filter report.

    Args:
        sources: all that are configured.
        limits: what counts as bad.
    """

    def __init__(self, sources: Sequence[SourceConfig], limits: ReliabilityConfig) -> None:
        self._modality = {source.name: Modality(source.modality) for source in sources}
        self._monitors = {source.name: SourceMonitor(source, limits) for source in sources}

    def reset(self) -> None:
        """Forgets all that was seen."""
        for monitor in self._monitors.values():
            monitor.reset()

    def observe(
        self, source: str, stamp_ns: int, quality: Mapping[str, float], moving: bool | None
    ) -> None:
        """Takes the figures of an accepted sample; see `SourceMonitor.observe`."""
        self._monitors[source].observe(stamp_ns, quality, moving)

    def reject(self, source: str) -> None:
        """Takes note of a refused message; an unknown source is nobody's."""
        if source in self._monitors:
            self._monitors[source].reject()

    def judge(
        self,
        now_ns: int,
        *,
        used_age_ns: Mapping[str, int],
        object_shares: Mapping[str, float],
        aleatoric_m2: Mapping[str, float],
        pose_shares: tuple[float, float],
        gps: GpsJudgement,
    ) -> dict[str, Reliability]:
        """One entry for each configured source.

        Args:
            now_ns: the time [ns].
            used_age_ns: age of each sample that this tick used [ns], by source.
            object_shares: of cameras and lidars, from the detector.
            aleatoric_m2: position variance that each predicts alone [m^2].
            pose_shares: of odometry and GPS, from the filter.
            gps: trust, reason and figures, from the filter.
        """
        result = {}
        for name, monitor in self._monitors.items():
            modality = self._modality[name]
            trust, reason = monitor.judge(now_ns)
            quality = {k: v for k, v in monitor.quality.items() if k not in HIDDEN}
            age_ns = used_age_ns.get(name)
            share: float | None = None
            if modality in (Modality.CAMERA, Modality.LIDAR):
                share = object_shares.get(name, 0.0)
                if age_ns is None:
                    # It gave this tick nothing: late, out of tolerance, or failed.
                    trust, reason = 0.0, Reason.STALE if reason is Reason.OK else reason
            elif modality is Modality.GPS:
                share = self._divided(pose_shares[1], name)
                if reason is not Reason.MISSING:
                    trust, reason = min((trust, reason), gps[:2], key=lambda pair: pair[0])
                    quality.update(gps[2])
            elif modality is Modality.ODOMETRY:
                share = self._divided(pose_shares[0], name)
            elif modality is Modality.IMU:
                share = 0.0
            result[name] = Reliability(
                source=name,
                modality=modality,
                trust=trust,
                share=share,
                reason=reason,
                age_ns=now_ns - monitor.newest_ns
                if age_ns is None and monitor.newest_ns is not None
                else age_ns,
                aleatoric_m2=quality.get("sigma_m", 0.0) ** 2 or None
                if modality is Modality.GPS
                else aleatoric_m2.get(name),
                quality=quality,
            )
        return result

    def _divided(self, share: float, name: str) -> float:
        """A kind's share, divided among its sources that have ever spoken."""
        heard = [
            other
            for other, modality in self._modality.items()
            if modality is self._modality[name] and self._monitors[other].newest_ns is not None
        ]
        return share / len(heard) if name in heard else 0.0
