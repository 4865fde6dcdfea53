"""What a replay gave, tick by tick: the curves and tracks of its report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros import geometry
from mm_fusion_ros.outputs import FusedOutput, Reason
from mm_fusion_ros.samples import Float, Modality


@dataclass(frozen=True, eq=False)
class SourceTrace:
    """One source over T ticks.

    Attributes:
        trust: (T,) 0..1.
        share: (T,) 0..1, NaN where it has none.
        age_s: (T,) [s], NaN where no sample was used.
        reasons: T reason codes.
    """

    source: str
    modality: Modality
    trust: Float
    share: Float
    age_s: Float
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, eq=False)
class TrackTrace:
    """One tracked object.

    Attributes:
        class_name, colour: as last seen.
        ticks: in how many it was seen.
        probability: mean over those ticks.
        first_s, last_s: since the start of the replay [s].
        place: (3,) x y [m] yaw [rad] in `map` as last seen, NaN without a pose.
        size: (3,) [m].
        way: (ticks, 2) x y [m] in `map`, NaN without a pose.
    """

    loop: int
    track_id: int
    class_name: str
    colour: str
    ticks: int
    probability: float
    first_s: float
    last_s: float
    place: Float
    size: Float
    way: Float


@dataclass(frozen=True, eq=False)
class Trace:
    """A replay of T ticks.

    Attributes:
        elapsed_s: (T,) since the start of the replay; a further loop goes on counting [s].
        loop: (T,) int, which loop of the bag.
        by_deadline: (T,) bool.
        objects: (T,) int, how many.
        pose: (T, 4) x y [m] yaw [rad] in `map` and the position's larger sigma [m]; NaN before
            any pose.
        sources: by name.
        tracks: each track of each loop.
        go: (T,) bool.
        target_probability: (T,), NaN on HOLD.
        target_state: T short texts, GO or HOLD with the reason.
        target_place: (T, 2) x y [m] in `map`, NaN on HOLD.
    """

    elapsed_s: Float
    loop: NDArray[np.int64]
    by_deadline: NDArray[np.bool_]
    objects: NDArray[np.int64]
    pose: Float
    sources: dict[str, SourceTrace]
    tracks: tuple[TrackTrace, ...]
    go: NDArray[np.bool_]
    target_probability: Float
    target_state: tuple[str, ...]
    target_place: Float


@dataclass
class _Track:
    seen_s: list[float] = field(default_factory=list)
    probabilities: list[float] = field(default_factory=list)
    places: list[tuple[float, float, float]] = field(default_factory=list)
    class_name: str = ""
    colour: str = ""
    size: Float = field(default_factory=lambda: np.zeros(3))


class TraceBuilder:
    """Collects outputs one by one; keeps numbers, no images and no grids."""

    def __init__(self) -> None:
        self._ticks: list[tuple[float, int, bool, int]] = []
        self._poses: list[tuple[float, float, float, float]] = []
        self._targets: list[tuple[bool, float, str, float, float]] = []
        self._sources: dict[str, list[tuple[int, float, float, float, Reason]]] = {}
        self._modalities: dict[str, Modality] = {}
        self._tracks: dict[tuple[int, int], _Track] = {}

    def add(self, output: FusedOutput, elapsed_s: float, loop: int) -> None:
        """Takes the output of the next tick."""
        tick = len(self._ticks)
        self._ticks.append((elapsed_s, loop, output.by_deadline, len(output.objects)))
        for name, entry in output.reliability.items():
            self._modalities[name] = entry.modality
            self._sources.setdefault(name, []).append(
                (
                    tick,
                    entry.trust,
                    np.nan if entry.share is None else entry.share,
                    np.nan if entry.age_ns is None else entry.age_ns / 1e9,
                    entry.reason,
                )
            )
        self._add_pose(output)
        self._add_target(output)
        self._add_tracks(output, elapsed_s, loop)

    def _add_pose(self, output: FusedOutput) -> None:
        if output.pose is None:
            self._poses.append((np.nan, np.nan, np.nan, np.nan))
            return
        matrix = output.pose.map_from_base
        largest = float(np.linalg.eigvalsh(output.pose.covariance[:2, :2])[-1])
        sigma = float(np.sqrt(max(largest, 0.0)))
        self._poses.append((matrix[0, 3], matrix[1, 3], geometry.yaw_of(matrix), sigma))

    def _add_target(self, output: FusedOutput) -> None:
        target = output.target
        x, y = np.nan, np.nan
        if target.go and target.map_from_target is not None:
            x, y = target.map_from_target[0, 3], target.map_from_target[1, 3]
        if target.go:
            state = f"GO {target.intent.value}"
        else:
            state = f"HOLD {target.intent.value if target.reason is None else target.reason.value}"
        probability = target.probability if target.go else np.nan
        self._targets.append((target.go, probability, state, x, y))

    def _add_tracks(self, output: FusedOutput, elapsed_s: float, loop: int) -> None:
        for item in output.objects:
            track = self._tracks.setdefault((loop, item.track_id), _Track())
            track.seen_s.append(elapsed_s)
            track.probabilities.append(item.class_probability)
            track.class_name, track.colour, track.size = item.class_name, item.colour, item.size
            place = (np.nan, np.nan, np.nan)
            if output.pose is not None:
                map_from_object = output.pose.map_from_base @ geometry.planar(
                    item.centre[0], item.centre[1], item.yaw
                )
                place = (
                    map_from_object[0, 3], map_from_object[1, 3], geometry.yaw_of(map_from_object)
                )  # fmt: skip
            track.places.append(place)

    def build(self) -> Trace:
        """All that was collected."""
        count = len(self._ticks)
        ticks = np.array(self._ticks, dtype=np.float64).reshape(count, 4)
        return Trace(
            elapsed_s=ticks[:, 0],
            loop=ticks[:, 1].astype(np.int64),
            by_deadline=ticks[:, 2].astype(np.bool_),
            objects=ticks[:, 3].astype(np.int64),
            pose=np.array(self._poses, dtype=np.float64).reshape(count, 4),
            sources={name: self._source(name, rows, count) for name, rows in self._sources.items()},
            tracks=tuple(built_track(key, track) for key, track in self._tracks.items()),
            go=np.array([row[0] for row in self._targets], dtype=np.bool_),
            target_probability=np.array([row[1] for row in self._targets], dtype=np.float64),
            target_state=tuple(row[2] for row in self._targets),
            target_place=np.array([row[3:] for row in self._targets]).reshape(count, 2),
        )

    def _source(
        self, name: str, rows: Sequence[tuple[int, float, float, float, Reason]], count: int
    ) -> SourceTrace:
        """One source; ticks that did not name it count as missing."""
        values = np.full((count, 3), np.nan)
        values[:, 0] = 0.0
        reasons = [Reason.MISSING] * count
        for tick, trust, share, age_s, reason in rows:
            values[tick] = trust, share, age_s
            reasons[tick] = reason
        return SourceTrace(
            name, self._modalities[name], values[:, 0], values[:, 1], values[:, 2], tuple(reasons)
        )


def built_track(key: tuple[int, int], track: _Track) -> TrackTrace:
    """A finished track."""
    return TrackTrace(
        loop=key[0],
        track_id=key[1],
        class_name=track.class_name,
        colour=track.colour,
        ticks=len(track.seen_s),
        probability=float(np.mean(track.probabilities)),
        first_s=track.seen_s[0],
        last_s=track.seen_s[-1],
        place=np.array(track.places[-1], dtype=np.float64),
        size=np.asarray(track.size, dtype=np.float64),
        way=np.array(track.places, dtype=np.float64)[:, :2],
    )
