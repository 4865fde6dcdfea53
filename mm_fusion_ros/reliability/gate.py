"""How far each source is believed at a tick, and what part of the answer came from it.

Trust is absolute and each source's own; share is relative and sums to 1: over cameras and lidars
for the objects, over odometry and GPS for the pose. What was not used has a share of exactly 0.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from mm_fusion_ros.config import ReliabilityConfig, SourceConfig
from mm_fusion_ros.outputs import Reason, Reliability
from mm_fusion_ros.reliability.alignment import AS_MOUNTED, Agreement
from mm_fusion_ros.reliability.monitors import (
    LIDAR_BLAME,
    REASON_BELOW,
    SourceMonitor,
    strongest,
)
from mm_fusion_ros.samples import Modality

GpsJudgement = tuple[float, Reason, Mapping[str, float]]
SEEING = (Modality.CAMERA, Modality.LIDAR)
# Figures that serve the monitors and tell a reader nothing.
HIDDEN = frozenset({"checksum"})
# Agreement below which a camera and its lidar are not fused with each other.
APART_BELOW = 0.5
# Variance of a source that predicts none, where shares must be made up from variances [m^2].
UNKNOWN_VARIANCE_M2 = 1.0


class Gate:
    """One monitor for each source, and the shares that the networks and the filter report.

    Args:
        sources: all that are configured.
        limits: what counts as bad.
    """

    def __init__(self, sources: Sequence[SourceConfig], limits: ReliabilityConfig) -> None:
        self._modality = {source.name: Modality(source.modality) for source in sources}
        self._fuse_above = limits.fuse_above
        self._monitors = {source.name: SourceMonitor(source, limits) for source in sources}
        self._lidar_of: dict[str, str] = {}  # what each camera was last compared with

    def reset(self) -> None:
        """Forgets all that was seen."""
        self._lidar_of.clear()
        for monitor in self._monitors.values():
            monitor.reset()

    def observe(
        self, source: str, stamp_ns: int, quality: Mapping[str, float], moving: bool | None,
        *, more_follows: bool = False,
    ) -> None:  # fmt: skip
        """Takes the figures of an accepted sample; see `SourceMonitor.observe`."""
        self._monitors[source].observe(stamp_ns, quality, moving, more_follows=more_follows)

    def note_figures(self, source: str, quality: Mapping[str, float]) -> None:
        """Takes further figures of a sample; see `SourceMonitor.note_figures`."""
        self._monitors[source].note_figures(quality)

    def reject(self, source: str) -> None:
        """Takes note of a refused message; an unknown source is nobody's."""
        if source in self._monitors:
            self._monitors[source].reject()

    def note_epistemic(self, source: str, value: float) -> None:
        """Takes note of how unfamiliar a source's encoded sample is, 0 and up."""
        self._monitors[source].note_epistemic(value)

    def is_comparable(self, camera: str, lidar: str, now_ns: int) -> bool:
        """Whether it would tell anything how well the newest samples of these two agree.

        Where either is in doubt for another reason, that reason is enough: dark images have no
        edges, and where the lidar itself leans it is not the camera that is to blame. Nor was it
        before the lidar was seen to be frozen, or to lean: then what was found is forgotten.
        """
        seen, held = (self._monitors[name] for name in (camera, lidar))
        if min(held.factors(now_ns).values()) < REASON_BELOW or held.leans:
            seen.forget_alignment()
            return False
        self._lidar_of[camera] = lidar
        others = [f for r, f in seen.factors(now_ns).items() if r is not Reason.MISALIGNED]
        return min(others) >= REASON_BELOW

    def note_alignment(self, camera: str, newest: Agreement, now_ns: int) -> None:
        """Takes note of how well a camera agrees with a lidar; see `alignment.alignment`."""
        self._monitors[camera].note_alignment(newest, now_ns)

    def turn(self, camera: str, now_ns: int) -> tuple[float, float]:
        """How a camera must be turned to agree with its lidar; see `Agreement.best`."""
        return self._monitors[camera].turn(now_ns)

    def apart(self, cameras: Collection[str], now_ns: int) -> set[str]:
        """Which of these see the world in another place than the lidar they are compared with.

        Nothing of theirs can be fused with a lidar's place by place, whichever of them is right.
        """
        agree = {name: self._monitors[name].agrees(now_ns) for name in cameras}
        return {name for name, value in agree.items() if value is not None and value < APART_BELOW}

    def trust(self, source: str, now_ns: int) -> float:
        """How far a source is believed by what is known of it, 0..1."""
        return self._judged(source, now_ns)[0]

    def believed(self, seeing: Collection[str], now_ns: int) -> set[str]:
        """Which of these cameras and lidars may speak for the objects.

        One that is trusted less than `fuse_above` is left out, unless all are: then a bad sensor
        is better than none, and its trust says so.
        """
        trusted = {name for name in seeing if self.trust(name, now_ns) >= self._fuse_above}
        return trusted or set(seeing)

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
            object_shares: of cameras and lidars, from the detector; empty where it gave none.
            aleatoric_m2: position variance that each predicts alone [m^2].
            pose_shares: of odometry and GPS, from the filter.
            gps: trust, reason and figures, from the filter.
        """
        verdicts = {
            name: self._verdict(name, now_ns, name in used_age_ns, gps) for name in self._monitors
        }
        trust = {name: verdict[0] for name, verdict in verdicts.items()}
        shares: dict[str, float] = {}
        used = [n for n, m in self._modality.items() if m in SEEING and n in used_age_ns]
        shares.update(seeing_shares(used, object_shares, trust, aleatoric_m2))
        shares.update(self._divided(pose_shares[0], Modality.ODOMETRY, trust))
        shares.update(self._divided(pose_shares[1], Modality.GPS, trust))

        result = {}
        for name, monitor in self._monitors.items():
            modality = self._modality[name]
            quality = {k: v for k, v in monitor.quality.items() if k not in HIDDEN}
            if monitor.newest_ns is not None:
                quality["silent_s"] = max(0.0, (now_ns - monitor.newest_ns) * 1e-9)
            if monitor.rate_hz is not None:
                quality["rate_hz"] = monitor.rate_hz
            if (turn := self.turn(name, now_ns)) != AS_MOUNTED:
                quality |= {"turned_down_rad": turn[0], "turned_right_rad": turn[1]}
            variance = aleatoric_m2.get(name)
            if modality is Modality.GPS:
                quality.update(gps[2])
                variance = quality["sigma_m"] ** 2 if "sigma_m" in quality else None
            result[name] = Reliability(
                source=name,
                modality=modality,
                trust=trust[name],
                share=None if modality is Modality.COMMAND else shares.get(name, 0.0),
                reason=verdicts[name][1],
                age_ns=used_age_ns.get(name),
                aleatoric_m2=variance,
                epistemic=monitor.epistemic,
                quality=quality,
            )
        return result

    def _judged(self, name: str, now_ns: int) -> tuple[float, Reason]:
        """What its monitor says; of a lidar also, whether any camera agrees with it."""
        factors = self._monitors[name].factors(now_ns)
        cameras = [camera for camera, lidar in self._lidar_of.items() if lidar == name]
        agree = [self._monitors[camera].agrees(now_ns) for camera in cameras]
        if known := [value for value in agree if value is not None]:
            believed = 1.0 - LIDAR_BLAME * (1.0 - max(known))
            factors[Reason.MISALIGNED] = believed * factors.get(Reason.MISALIGNED, 1.0)
        return strongest(factors)

    def _verdict(
        self, name: str, now_ns: int, is_used: bool, gps: GpsJudgement
    ) -> tuple[float, Reason]:
        trust, reason = self._judged(name, now_ns)
        if self._modality[name] in SEEING and not is_used:
            # It may live, and yet gave this tick nothing: late, out of tolerance, or failed.
            return 0.0, Reason.MISSING if reason is Reason.OK else reason
        if self._modality[name] is Modality.GPS and reason is not Reason.MISSING:
            return min((trust, reason), gps[:2], key=lambda verdict: verdict[0])
        return trust, reason

    def _divided(
        self, share: float, modality: Modality, trust: Mapping[str, float]
    ) -> dict[str, float]:
        """A kind's share, divided by trust among its sources that have ever spoken."""
        heard = [
            name
            for name, monitor in self._monitors.items()
            if self._modality[name] is modality and monitor.newest_ns is not None
        ]
        return _portions({name: trust[name] for name in heard}, share)


def seeing_shares(
    used: Sequence[str],
    given: Mapping[str, float],
    trust: Mapping[str, float],
    variance_m2: Mapping[str, float],
) -> dict[str, float]:
    """Shares of the cameras and lidars that a tick used; they sum to 1, or there are none.

    Args:
        used: sources whose samples went into the tick.
        given: what the detector says that it took from each. Where it says nothing, shares are
            proportional to trust over variance.
        trust: of each source.
        variance_m2: position variance that each predicts alone [m^2].
    """
    weights = {name: given.get(name, 0.0) for name in used}
    if sum(weights.values()) <= 0.0:
        weights = {
            name: trust[name] / max(variance_m2.get(name, UNKNOWN_VARIANCE_M2), 1e-6)
            for name in used
        }
    return _portions(weights, 1.0)


def _portions(weights: Mapping[str, float], whole: float) -> dict[str, float]:
    """The whole, divided by weight; evenly where no one has any."""
    total = sum(weights.values())
    if total <= 0.0:
        return {name: whole / len(weights) for name in weights}
    return {name: whole * weight / total for name, weight in weights.items()}
