"""Objects keep their identity from tick to tick, and get a velocity over ground.

Each track is a constant-velocity Kalman filter in the odometry frame, where the robot's own motion
does not move what stands still. Detections are given to tracks by global nearest neighbour: the
assignment of least total cost, of Mahalanobis distance and of how well the classes agree.

A filter that takes each detection's error for new noise becomes too sure of itself: a box fitted
to one visible side is off by the same amount from tick to tick. So the covariance that is handed
out never falls below half of the newest detection's, which is what looking longer cannot mend.

So it is with what an object is: ticks of one view are no independent evidence, and multiplied they
would be sure of anything. A track keeps the mean of what it was told, in which a word counts by its
weight of evidence. What fewer sensors say later is hardly a word against what more of them said
before, of whom they were some: a ball that a camera saw is remembered as one where only the lidar
sees it, which hardly tells it from other small things.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from mm_fusion_ros.config import TrackingConfig
from mm_fusion_ros.geometry import inverse, wrap_angle, yaw_of
from mm_fusion_ros.outputs import CLASSES, COLOURS, RESTING_MPS, UNKNOWN_COLOUR, FusedObject
from mm_fusion_ros.samples import Float

# Per class: how hard it accelerates [m/s^2], and how fast it may be when first seen [m/s].
ACCELERATION = {"car": 2.0, "truck": 1.5, "cyclist": 1.2, "pedestrian": 0.6}
SPEED = {"car": 8.0, "truck": 6.0, "cyclist": 4.0, "pedestrian": 1.5}
STANDING_ACCELERATION = 0.2
STANDING_SPEED = 0.3
# Heights change slowly, for everything.
VERTICAL = 0.1

# The part of a detection's variance that is taken to stay the same from tick to tick.
PERSISTENT = 0.5
# Detections are never surer than this, per axis [m], nor vaguer.
SIGMA_RANGE_M = (0.03, 20.0)

# Chi-square, two degrees of freedom: 9,999 in 10,000 right pairs are nearer. A narrower gate would
# lose an id among twenty objects every few seconds.
GATE = 18.4
# What detectors confuse, one with the other.
ALIKE = (
    frozenset({"car", "truck"}),
    frozenset({"pedestrian", "cyclist"}),
    frozenset({"cone", "barrel", "box", "ball"}),
)
# Cost of a class that the track has never shown, half of it for a class like its own; and the
# greatest cost of a pair in all.
STRANGE_CLASS = 15.0
MAX_COST = 20.0
LIKENESS = np.array(
    [
        [
            1.0 if a == b else 0.5 if any({a, b} <= group for group in ALIKE) else 0.0
            for b in CLASSES
        ]
        for a in CLASSES
    ]
)
# Weight of the newest size and heading once a track is old.
NEWEST = 0.4
# In this time [s] a word's weight falls to 37 % of what a new one has, by whether the object rests:
# for what moves, another may be taken.
MEMORY_RESTING_S, MEMORY_MOVING_S = 20.0, 4.0
# An object of which nothing is known is there this probably; telling the same is telling nothing.
PRIOR = 0.2
# No word is taken for surer than this.
SUREST = 0.99
# What a word that doubts an object counts, where fewer sensors speak than when it was believed; one
# that gives another class at least even odds is no doubt.
OF_FEWER = 0.01
EVEN = 0.5
# The least weight of a word on each of the parts, so that a memory fades where nothing is told: a
# colour that no camera sees but slowly, for it may only be another object's.
LEAST_WEIGHT = np.array([0.005, 0.0005, 0.0005])
# A colour less probable than this is "unknown".
UNKNOWN_BELOW = 0.2
# A belief in a row: that it is there; the classes, given that; the colours.
PARTS = (1, len(CLASSES), len(COLOURS))
EXISTS, CLASS, COLOUR = 0, slice(1, 1 + PARTS[1]), slice(1 + PARTS[1], sum(PARTS))
FORBIDDEN = 1e6
SMALLEST = 1e-6


@dataclass
class _Track:
    """One object over time; vectors in the odometry frame.

    Attributes:
        state: (6,) float64, position [m] and velocity [m/s].
        covariance: (6, 6) float64, of the state.
        noise: (3, 3) float64, covariance of the newest detection [m^2].
        yaw: heading in the odometry frame [rad].
        belief: (sum(PARTS),) float64, probabilities.
        weight: (3,) float64, of each of its parts.
        sources: the sensors that told of it, the last time that others did than before.
        last: the newest detection, in base_link of its tick.
    """

    track_id: int
    state: Float
    covariance: Float
    noise: Float
    yaw: float
    size: Float
    belief: Float
    weight: Float
    sources: frozenset[str]
    last: FusedObject
    seen_ns: int
    hits: int = 1

    @property
    def class_name(self) -> str:
        return CLASSES[int(self.belief[CLASS].argmax())]

    @property
    def rests(self) -> bool:
        return bool(np.hypot(self.state[3], self.state[4]) < RESTING_MPS)


def may_move(thing: FusedObject) -> bool:
    """Whether it moves, or is of a class that does when it likes."""
    return thing.class_name in ACCELERATION or not thing.rests


class Tracker:
    """Gives objects stable ids, velocities, and the memory of their class and colour.

    Args:
        config: gate and keeping time.
    """

    def __init__(self, config: TrackingConfig) -> None:
        self._gate_m = config.gate_m
        self._keep_ns = round(config.keep_s * 1e9)
        self._next_id = 0
        self.reset()

    def reset(self) -> None:
        """Forgets every track; ids go on where they were, so that none is used twice."""
        self._tracks: list[_Track] = []
        self._stamp_ns: int | None = None
        self._odom_from_base: Float | None = None

    def update(
        self, objects: Sequence[FusedObject], odom_from_base: Float | None, stamp_ns: int
    ) -> tuple[FusedObject, ...]:
        """The tick's objects with ids and velocities.

        Args:
            objects: detections in base_link at the tick. Those whose position or probability is
                not finite are left out.
            odom_from_base: (4, 4) float64, the robot's place in the odometry frame; None without
                odometry: then the last known place holds, and without any, velocities are
                relative to the robot.
            stamp_ns: the tick. A tick before the last one begins anew.

        Returns:
            The detected objects, most probable first. Velocities are over ground, in base_link
            axes. What is not detected in this tick is not among them; see `tracks`.
        """
        if self._stamp_ns is not None and stamp_ns < self._stamp_ns:
            self.reset()
        self._place(odom_from_base)
        self._predict(stamp_ns)
        objects = [
            each
            for each in objects
            if np.isfinite(each.centre).all() and np.isfinite(each.class_probability)
        ]
        positions, noises = self._measurements(objects)
        pairs = self._assign(objects, positions, noises)
        self._correct(pairs, positions, noises)
        told, weights = _told(objects)
        self._believe(pairs, objects, told, weights, stamp_ns)
        heading = yaw_of(self._odom)
        tracked: list[_Track] = []
        for index, detection in enumerate(objects):
            track = pairs.get(index)
            if track is None:
                turned = wrap_angle(detection.yaw + heading)
                track = self._begin(detection, positions[index], noises[index], turned, stamp_ns)
                track.belief, track.weight = told[index], weights[index]
            else:
                self._learn(track, detection, heading, stamp_ns)
            tracked.append(track)
        self._tracks = [t for t in self._tracks if stamp_ns - t.seen_ns <= self._keep_ns]
        return self._objects_of(tracked)

    def tracks(self) -> tuple[FusedObject, ...]:
        """Every track, also those not detected now, predicted to the last tick.

        The probability of one that was not detected falls to 0 over the keeping time.
        """
        return self._objects_of(self._tracks)

    @property
    def _odom(self) -> Float:
        return np.eye(4) if self._odom_from_base is None else self._odom_from_base

    def _place(self, odom_from_base: Float | None) -> None:
        """Takes the robot's place in; the first one moves what was tracked without any."""
        if odom_from_base is None:
            return
        if self._odom_from_base is None:
            rotation = odom_from_base[:3, :3]
            both = np.kron(np.eye(2), rotation)
            for track in self._tracks:
                track.state = both @ track.state
                track.state[:3] += odom_from_base[:3, 3]
                track.covariance = both @ track.covariance @ both.T
                track.noise = rotation @ track.noise @ rotation.T
                track.yaw = wrap_angle(track.yaw + yaw_of(odom_from_base))
        self._odom_from_base = odom_from_base

    def _predict(self, stamp_ns: int) -> None:
        """Moves every track to the tick, all at once."""
        seconds = 0.0 if self._stamp_ns is None else (stamp_ns - self._stamp_ns) * 1e-9
        self._stamp_ns = stamp_ns
        if not self._tracks or seconds == 0.0:
            return
        motion = np.eye(6)
        motion[:3, 3:] = np.eye(3) * seconds
        # White acceleration, constant within the step.
        gain = np.vstack([np.eye(3) * seconds**2 / 2.0, np.eye(3) * seconds])
        states = np.stack([track.state for track in self._tracks]) @ motion.T
        noise = np.stack([_acceleration(track.class_name) for track in self._tracks]) ** 2
        covariances = np.stack([track.covariance for track in self._tracks])
        covariances = motion @ covariances @ motion.T
        covariances += (gain * noise[:, None, :]) @ gain.T
        for track, state, covariance in zip(self._tracks, states, covariances, strict=True):
            track.state, track.covariance = state, covariance

    def _measurements(self, objects: Sequence[FusedObject]) -> tuple[Float, Float]:
        """Positions (N, 3) [m] and covariances (N, 3, 3) [m^2] in the odometry frame."""
        if not objects:
            return np.zeros((0, 3)), np.zeros((0, 3, 3))
        odom_from_base = self._odom
        centres = np.stack([each.centre for each in objects]).astype(np.float64)
        rotation = odom_from_base[:3, :3]
        noises = _believable(np.stack([each.position_covariance for each in objects]))
        positions = centres @ rotation.T + odom_from_base[:3, 3]
        return positions, rotation @ noises @ rotation.T

    def _assign(
        self, objects: Sequence[FusedObject], positions: Float, noises: Float
    ) -> dict[int, _Track]:
        """Detection index -> its track, by the assignment of least total cost."""
        if not objects or not self._tracks:
            return {}
        states = np.stack([track.state[:2] for track in self._tracks])
        spreads = np.stack([track.covariance[:2, :2] for track in self._tracks])
        offsets = positions[None, :, :2] - states[:, None, :]  # (T, N, 2)
        spread = spreads[:, None] + noises[None, :, :2, :2]  # (T, N, 2, 2)
        a, b, d = spread[..., 0, 0], spread[..., 0, 1], spread[..., 1, 1]
        x, y = offsets[..., 0], offsets[..., 1]
        distance2 = (d * x * x - 2.0 * b * x * y + a * y * y) / (a * d - b * b)
        cost = distance2 + _strangeness(self._tracks, objects)
        near = np.hypot(x, y) <= self._gate_m
        allowed = near & (distance2 <= GATE) & (cost <= MAX_COST)
        rows, columns = linear_sum_assignment(np.where(allowed, cost, FORBIDDEN))
        return {
            int(column): self._tracks[row]
            for row, column in zip(rows, columns, strict=True)
            if allowed[row, column]
        }

    def _correct(self, pairs: dict[int, _Track], positions: Float, noises: Float) -> None:
        """Kalman correction of every matched track, all at once."""
        if not pairs:
            return
        indices = list(pairs)
        tracks = list(pairs.values())
        states = np.stack([track.state for track in tracks])
        covariances = np.stack([track.covariance for track in tracks])
        noise = noises[indices]
        innovation = positions[indices] - states[:, :3]
        cross = covariances[:, :, :3]
        gain = cross @ np.linalg.inv(covariances[:, :3, :3] + noise)
        states = states + (gain @ innovation[:, :, None])[:, :, 0]
        # Joseph's form keeps the covariance symmetric and positive.
        keep = np.tile(np.eye(6), (len(tracks), 1, 1))
        keep[:, :, :3] -= gain
        covariances = keep @ covariances @ keep.transpose(0, 2, 1)
        covariances += gain @ noise @ gain.transpose(0, 2, 1)
        for index, track, state, covariance in zip(
            indices, tracks, states, covariances, strict=True
        ):
            track.state, track.covariance = state, covariance
            track.noise = noises[index]

    def _begin(
        self, detection: FusedObject, position: Float, noise: Float, yaw: float, stamp_ns: int
    ) -> _Track:
        covariance = np.zeros((6, 6))
        covariance[:3, :3] = noise
        speed = SPEED.get(detection.class_name, STANDING_SPEED)
        covariance[3:, 3:] = np.diag([speed, speed, VERTICAL]) ** 2
        track = _Track(
            track_id=self._next_id,
            state=np.concatenate([position, np.zeros(3)]),
            covariance=covariance,
            noise=noise,
            yaw=yaw,
            size=np.asarray(detection.size, dtype=np.float64),
            belief=np.zeros(sum(PARTS)),
            weight=np.zeros(len(PARTS)),
            sources=frozenset(detection.support),
            last=detection,
            seen_ns=stamp_ns,
        )
        self._next_id += 1
        self._tracks.append(track)
        return track

    def _believe(
        self, pairs: dict[int, _Track], objects: Sequence[FusedObject], told: Float,
        weights: Float, stamp_ns: int,
    ) -> None:  # fmt: skip
        """Takes in what is told of every matched track's class and colour, all at once.

        Args:
            pairs: detection index to its track.
            objects: the detections.
            told, weights: what they say, as `_told` gives it.
            stamp_ns: the tick.
        """
        if not pairs:
            return
        indices, tracks = list(pairs), list(pairs.values())
        words, new = told[indices], weights[indices]
        for row, (index, track) in enumerate(pairs.items()):
            sources = frozenset(objects[index].support)
            word, belief = words[row], track.belief
            kind = int(word[CLASS].argmax())
            clear = word[EXISTS] * word[CLASS][kind] >= EVEN and kind != belief[CLASS].argmax()
            if sources < track.sources and word[EXISTS] < belief[EXISTS] and not clear:
                new[row] = np.maximum(OF_FEWER * new[row], LEAST_WEIGHT)
            if not sources <= track.sources:
                track.sources = sources
        seconds = np.array([(stamp_ns - track.seen_ns) * 1e-9 for track in tracks])
        memory_s = np.array([MEMORY_RESTING_S if t.rests else MEMORY_MOVING_S for t in tracks])
        kept = np.stack([track.weight for track in tracks])
        kept *= np.exp(-np.maximum(seconds, 0.0) / memory_s)[:, None]
        total = kept + new
        old = np.repeat(kept / total, PARTS, axis=1) * np.stack([track.belief for track in tracks])
        beliefs = old + np.repeat(new / total, PARTS, axis=1) * words
        for track, belief, weight in zip(tracks, beliefs, total, strict=True):
            track.belief, track.weight = belief, weight

    def _learn(self, track: _Track, detection: FusedObject, heading: float, stamp_ns: int) -> None:
        """Takes in what a detection says of size and heading.

        Args:
            track: whose detection it is.
            detection: in base_link.
            heading: of base_link in the odometry frame [rad].
            stamp_ns: the tick.
        """
        track.hits += 1
        weight = max(NEWEST, 1.0 / track.hits)
        track.size = track.size + weight * (detection.size - track.size)
        yaw = wrap_angle(detection.yaw + heading)
        turned = wrap_angle(yaw - track.yaw)
        # Boxes are mistaken for turned by half: between two such answers there is no mean.
        track.yaw = wrap_angle(track.yaw + weight * turned) if abs(turned) < np.pi / 4 else yaw
        track.last, track.seen_ns = detection, stamp_ns

    def _objects_of(self, tracks: Sequence[_Track]) -> tuple[FusedObject, ...]:
        """The tracks in base_link at the last tick, most probable first."""
        if not tracks:
            return ()
        base_from_odom = inverse(self._odom)
        rotation, turned = base_from_odom[:3, :3], yaw_of(base_from_odom)
        states = np.stack([track.state for track in tracks])
        covariances = np.stack([track.covariance[:3, :3] for track in tracks])
        noises = np.stack([track.noise for track in tracks])
        surer = np.trace(covariances, axis1=1, axis2=2) < np.trace(noises, axis1=1, axis2=2)
        floor = PERSISTENT * noises + (1.0 - PERSISTENT) * covariances
        covariances = rotation @ np.where(surer[:, None, None], floor, covariances) @ rotation.T
        centres = states[:, :3] @ rotation.T + base_from_odom[:3, 3]
        velocities = states[:, 3:] @ rotation.T
        objects = [
            self._object_of(track, turned, *rows)
            for track, *rows in zip(tracks, centres, velocities, covariances, strict=True)
        ]
        return tuple(sorted(objects, key=lambda each: -each.class_probability))

    def _object_of(
        self, track: _Track, turned: float, centre: Float, velocity: Float, covariance: Float
    ) -> FusedObject:
        assert self._stamp_ns is not None
        unseen = min(1.0, (self._stamp_ns - track.seen_ns) / max(1, self._keep_ns))
        there = track.belief[EXISTS] * (1.0 - unseen)
        classes = dict(zip(CLASSES, (there * track.belief[CLASS]).tolist(), strict=True))
        colours = dict(zip(COLOURS, track.belief[COLOUR].tolist(), strict=True))
        name, colour = track.class_name, max(colours, key=lambda name: colours[name])
        clear = colours[colour] >= UNKNOWN_BELOW
        return FusedObject(
            track_id=track.track_id,
            class_name=name,
            class_probability=classes[name],
            colour=colour if clear else UNKNOWN_COLOUR,
            colour_probability=colours[colour] if clear else 0.0,
            centre=centre,
            size=track.size,
            yaw=wrap_angle(track.yaw + turned),
            velocity=velocity,
            position_covariance=covariance,
            support=track.last.support,
            classes=classes,
            colours=colours,
        )


def _told(objects: Sequence[FusedObject]) -> tuple[Float, Float]:
    """Beliefs (N, sum(PARTS)) that detections tell, and the weight (N, 3) of each part.

    That one is there has the weight of evidence against `PRIOR`: the difference of the log-odds
    (Good, "Probability and the Weighing of Evidence", 1950). Which class or colour it is, counts as
    far as one stands out.
    """
    if not objects:
        return np.zeros((0, sum(PARTS))), np.zeros((0, len(PARTS)))
    classes = _finite([[o.probability_of_class(name) for name in CLASSES] for o in objects])
    colours = _finite([[o.probability_of_colour(name) for name in COLOURS] for o in objects])
    exists = np.clip(classes.sum(axis=1), 0.0, 1.0)
    sure = np.clip(exists, 1.0 - SUREST, SUREST)
    which = classes / np.maximum(classes.sum(axis=1), SMALLEST)[:, None]
    colours /= np.maximum(colours.sum(axis=1), SMALLEST)[:, None]
    weights = np.column_stack(
        [
            np.abs(np.log(sure / (1.0 - sure)) - np.log(PRIOR / (1.0 - PRIOR))),
            exists * _sharpness(which),
            exists * _sharpness(colours),
        ]
    )
    return np.column_stack([exists, which, colours]), np.maximum(weights, LEAST_WEIGHT)


def _finite(probabilities: Sequence[Sequence[float]]) -> Float:
    """As an array, with 0 for what is none."""
    return np.clip(np.nan_to_num(np.array(probabilities, dtype=np.float64)), 0.0, 1.0)


def _sharpness(shares: Float) -> Float:
    """(N,) of probabilities (N, k): 0 where all are alike, nearly 1 for one that is certain."""
    result: Float = (shares**2).sum(axis=1) - 1.0 / shares.shape[1]
    return result


def _acceleration(class_name: str) -> Float:
    """Sigma of the acceleration of a class, x y z [m/s^2], (3,)."""
    level = ACCELERATION.get(class_name, STANDING_ACCELERATION)
    return np.array([level, level, VERTICAL])


def _believable(covariances: Float) -> Float:
    """Covariances (N, 3, 3) [m^2] with every sigma in `SIGMA_RANGE_M`; vague where one is none."""
    low, high = SIGMA_RANGE_M
    finite = np.isfinite(covariances).all(axis=(1, 2), keepdims=True)
    usable = np.where(finite, covariances, np.eye(3))
    values, vectors = np.linalg.eigh((usable + usable.transpose(0, 2, 1)) / 2.0)
    scaled = vectors * np.clip(values, low**2, high**2)[:, None, :]
    clipped: Float = scaled @ vectors.transpose(0, 2, 1)
    return clipped


def _strangeness(tracks: Sequence[_Track], objects: Sequence[FusedObject]) -> Float:
    """Cost of each detection's class to each track, (T, N): 0 where it always was of that class."""
    evidence = np.stack([track.belief[CLASS] for track in tracks])
    agreement = evidence @ LIKENESS[:, [CLASSES.index(each.class_name) for each in objects]]
    # A detection that is not sure itself is no strong argument against.
    sureness = np.array([0.5 + 0.5 * each.class_probability for each in objects])
    strangeness: Float = STRANGE_CLASS * (1.0 - agreement) * sureness
    return strangeness
