"""Ids that stay and velocities over ground: one constant-velocity Kalman filter a track.

Tracks live in the odometry frame, which is smooth, so that the robot's own motion moves nothing.
Objects are assigned to tracks all at once (global nearest neighbour by the Hungarian method), by
Mahalanobis distance within a gate, and an unlikely change of class costs extra.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.optimize import linear_sum_assignment

from mm_fusion_ros.config import TrackingConfig
from mm_fusion_ros.geometry import inverse
from mm_fusion_ros.outputs import CLASSES, COLOURS, FusedObject
from mm_fusion_ros.samples import Float

ACCELERATION = 1.5
"""Sigma of the acceleration that a track may have [m/s^2]."""
START_SPEED = 2.0
"""Sigma of the velocity of a new track [m/s]."""
FARTHEST_SIGMAS = 4.0
CLASS_COST = 3.0
"""Added to the distance of an object of another class [sigmas]."""
MEMORY = 0.8
"""How much of the evidence for class and colour stays from tick to tick."""
FORBIDDEN = 1e6


@dataclass(eq=False)
class Track:
    """One object over time.

    Attributes:
        mean: (4,) x y vx vy in the odometry frame [m, m/s].
        covariance: (4, 4).
        seen_ns: stamp of the last object assigned to it.
        class_votes, colour_votes: decayed sums of probabilities.
    """

    track_id: int
    mean: Float
    covariance: Float
    stamp_ns: int
    seen_ns: int
    hits: int = 1
    class_votes: Float = field(default_factory=lambda: np.zeros(len(CLASSES)))
    colour_votes: Float = field(default_factory=lambda: np.zeros(len(COLOURS)))

    def predict(self, stamp_ns: int) -> None:
        """Moves the state to an instant."""
        dt = (stamp_ns - self.stamp_ns) / 1e9
        step = np.eye(4)
        step[0, 2] = step[1, 3] = dt
        push = np.array([[dt * dt / 2, 0], [0, dt * dt / 2], [dt, 0], [0, dt]]) * ACCELERATION
        self.mean = step @ self.mean
        self.covariance = step @ self.covariance @ step.T + push @ push.T
        self.stamp_ns = stamp_ns

    def correct(self, position: Float, variance: Float) -> None:
        """Takes a measured position (2,) [m] with covariance (2, 2) [m^2]; Joseph form."""
        innovation = self.covariance[:2, :2] + variance
        gain = np.linalg.solve(innovation, self.covariance[:2]).T
        self.mean = self.mean + gain @ (position - self.mean[:2])
        keep = np.eye(4)
        keep[:, :2] -= gain
        self.covariance = keep @ self.covariance @ keep.T + gain @ variance @ gain.T

    def vote(self, item: FusedObject) -> None:
        """Adds an object's class and colour to what was seen before."""
        self.class_votes *= MEMORY
        self.class_votes[CLASSES.index(item.class_name)] += item.class_probability
        self.colour_votes *= MEMORY
        if item.colour in COLOURS:
            self.colour_votes[COLOURS.index(item.colour)] += item.colour_probability


class Tracker:
    """Gives objects their ids and velocities."""

    def __init__(self, config: TrackingConfig) -> None:
        self._config = config
        self._next_id = 0
        self._tracks: list[Track] = []

    def reset(self) -> None:
        """Forgets all tracks; their ids are not used again."""
        self._tracks = []

    def tracks(self) -> Sequence[Track]:
        """All living tracks, those unseen at the moment among them."""
        return tuple(self._tracks)

    def update(
        self, objects: Sequence[FusedObject], odom_from_base: Float | None, stamp_ns: int
    ) -> tuple[FusedObject, ...]:
        """The same objects with ids, velocities, and class and colour as seen over time.

        Args:
            objects: of one tick, in base_link.
            odom_from_base: (4, 4) at the tick; None where no odometry is known, which takes the
                robot as standing.
            stamp_ns: the tick [ns], later than the one before.
        """
        pose = np.eye(4) if odom_from_base is None else odom_from_base
        keep_ns = round(self._config.keep_s * 1e9)
        self._tracks = [t for t in self._tracks if stamp_ns - t.seen_ns <= keep_ns]
        for track in self._tracks:
            track.predict(stamp_ns)
        positions = [(pose[:3, :3] @ item.centre + pose[:3, 3])[:2] for item in objects]
        turn = pose[:3, :3]
        variances = [(turn @ item.position_covariance @ turn.T)[:2, :2] for item in objects]
        assigned = self._assign(objects, positions, variances)
        result = []
        for index, item in enumerate(objects):
            track = assigned.get(index)
            if track is None:
                track = self._start(positions[index], variances[index], stamp_ns)
            else:
                track.correct(positions[index], variances[index])
                track.seen_ns = stamp_ns
                track.hits += 1
            track.vote(item)
            result.append(self._described(item, track, inverse(pose)[:2, :2]))
        return tuple(result)

    def _assign(
        self, objects: Sequence[FusedObject], positions: list[Float], variances: list[Float]
    ) -> dict[int, Track]:
        if not objects or not self._tracks:
            return {}
        cost = np.full((len(objects), len(self._tracks)), FORBIDDEN)
        for column, track in enumerate(self._tracks):
            kind = int(np.argmax(track.class_votes))
            for row, item in enumerate(objects):
                off = positions[row] - track.mean[:2]
                if off @ off > self._config.gate_m**2:
                    continue
                spread = track.covariance[:2, :2] + variances[row]
                sigmas = float(np.sqrt(off @ np.linalg.solve(spread, off)))
                if sigmas > FARTHEST_SIGMAS:
                    continue
                cost[row, column] = sigmas + CLASS_COST * (item.class_name != CLASSES[kind])
        rows, columns = linear_sum_assignment(cost)
        return {
            int(row): self._tracks[column]
            for row, column in zip(rows, columns)
            if cost[row, column] < FORBIDDEN
        }

    def _start(self, position: Float, variance: Float, stamp_ns: int) -> Track:
        covariance = np.zeros((4, 4))
        covariance[:2, :2] = variance
        covariance[2:, 2:] = np.eye(2) * START_SPEED**2
        mean = np.array([*position, 0.0, 0.0])
        track = Track(self._next_id, mean, covariance, stamp_ns, stamp_ns)
        self._next_id += 1
        self._tracks.append(track)
        return track

    @staticmethod
    def _described(item: FusedObject, track: Track, base_from_odom: Float) -> FusedObject:
        velocity = base_from_odom @ track.mean[2:]
        kind = int(np.argmax(track.class_votes))
        colour, colour_probability = item.colour, item.colour_probability
        if track.colour_votes.any():
            best = int(np.argmax(track.colour_votes))
            if COLOURS[best] != item.colour:
                # Seen as this before, as something else now: between the two.
                weight = track.colour_votes[best] / track.colour_votes.sum()
                colour, colour_probability = COLOURS[best], float(weight * 0.5)
        return replace(
            item,
            track_id=track.track_id,
            class_name=CLASSES[kind],
            colour=colour,
            colour_probability=colour_probability,
            velocity=np.array([velocity[0], velocity[1], 0.0]),
        )
