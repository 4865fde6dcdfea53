"""What goes out: the one answer of a tick, and why each sensor was believed or not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros.samples import Float, Modality

CLASSES: tuple[str, ...] = (
    "car", "truck", "pedestrian", "cyclist", "cone", "barrel", "box", "ball",
)  # fmt: skip
COLOURS: tuple[str, ...] = (
    "red", "orange", "yellow", "green", "blue", "purple", "white", "black", "grey",
)  # fmt: skip
UNKNOWN_COLOUR = "unknown"
RESTING_MPS = 0.4
"""What is slower than this over ground rests."""


class Reason(str, Enum):
    """Why a source is believed or not."""

    OK = "ok"
    MISSING = "missing"
    STALE = "stale"
    FROZEN = "frozen"
    DARK = "dark"
    SATURATED = "saturated"
    BLURRED = "blurred"
    SPARSE = "sparse"
    NOISY = "noisy"
    MISALIGNED = "misaligned"
    JUMP = "jump"
    OUTLIER = "outlier"
    OUT_OF_DISTRIBUTION = "out_of_distribution"


class HoldReason(str, Enum):
    """Why there is no target to go to."""

    NO_COMMAND = "no_command"
    UNKNOWN_COMMAND = "unknown_command"
    ABSENT = "absent"
    AMBIGUOUS = "ambiguous"
    UNRELIABLE = "unreliable"
    EXPIRED = "expired"


class Intent(str, Enum):
    """What a command asks for."""

    NONE = "none"
    GO_TO = "go_to"
    FOLLOW = "follow"
    STOP = "stop"


@dataclass(frozen=True, eq=False)
class FusedObject:
    """One object, as all sensors together see it.

    Attributes:
        track_id: stable from tick to tick, never reused within a run; -1 before tracking.
        class_name: one of `CLASSES`.
        class_probability: calibrated probability that the object is there and is of this class.
        colour: one of `COLOURS`, or "unknown".
        colour_probability: probability of that colour, given the object; 0 for "unknown".
        centre: (3,) float64, box centre in base_link at the tick [m].
        size: (3,) float64, length (x), width (y), height (z) of the box [m].
        yaw: heading of the box's length about z in base_link [rad], in (-pi, pi].
        velocity: (3,) float64, over ground, in base_link axes [m/s].
        position_covariance: (3, 3) float64, of `centre` [m^2].
        support: source name to its share of this object; shares sum to 1.
        classes: classes to the probability that the object is there and is of each; empty where
            only `class_name` is known. A class that is not named has next to none.
        colours: the same of colours, given the object; empty where only `colour` is known.
    """

    track_id: int
    class_name: str
    class_probability: float
    colour: str
    colour_probability: float
    centre: Float
    size: Float
    yaw: float
    velocity: Float
    position_covariance: Float
    support: Mapping[str, float] = field(default_factory=dict)
    classes: Mapping[str, float] = field(default_factory=dict)
    colours: Mapping[str, float] = field(default_factory=dict)

    @property
    def rests(self) -> bool:
        """Whether it stands still on the ground."""
        return bool(np.hypot(self.velocity[0], self.velocity[1]) < RESTING_MPS)

    @property
    def probability(self) -> float:
        """That it is there, whatever it is."""
        return sum(self.classes.values()) if self.classes else self.class_probability

    def probability_of_class(self, name: str) -> float:
        """That the object is there and is of this class; 0 where nothing is known of it."""
        known = self.classes or {self.class_name: self.class_probability}
        return known.get(name, 0.0)

    def probability_of_colour(self, name: str) -> float:
        """Given the object; where only the most probable is known, the rest is shared evenly."""
        if self.colours:
            return self.colours.get(name, 0.0)
        if name == self.colour:
            return self.colour_probability
        others = len(COLOURS) - (self.colour != UNKNOWN_COLOUR)
        return (1.0 - self.colour_probability) / others


@dataclass(frozen=True)
class Reliability:
    """How far one source is believed at this tick.

    Attributes:
        trust: 0..1, absolute, of this source alone.
        share: how much of this output came from it. Cameras and lidars sum to 1 over the objects,
            GPS and odometry sum to 1 over the pose; None for a command.
        aleatoric_m2: predicted position variance of this source alone [m^2], mean over its
            objects (or of the fix); None where there is nothing to take it from.
        epistemic: unfamiliarity of the input, 0 (as in training) and up; None where not estimated.
        age_ns: age of the sample used at the tick [ns]; None when none was used.
        reason: the strongest cause for a trust below 1, or `ok`.
        quality: the figures behind the trust, by name.
    """

    source: str
    modality: Modality
    trust: float
    share: float | None
    reason: Reason
    age_ns: int | None = None
    aleatoric_m2: float | None = None
    epistemic: float | None = None
    quality: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class PoseEstimate:
    """Where the robot is.

    Attributes:
        map_from_base: (4, 4) float64; `map` is ENU about the first accepted fix, and equals the
            odometry frame before it.
        map_from_odom: (4, 4) float64, the correction that TF publishes; identity before a fix.
        covariance: (6, 6) float64, of map_from_base: x y z [m^2] roll pitch yaw [rad^2].
        twist: (6,) float64, vx vy vz [m/s] wx wy wz [rad/s] in base_link.
    """

    stamp_ns: int
    map_from_base: Float
    map_from_odom: Float
    covariance: Float
    twist: Float


@dataclass(frozen=True, eq=False)
class ActionTarget:
    """One thing to do next: GO to a pose, or HOLD and why.

    Attributes:
        go: True only for a pose that is believed.
        intent: what was asked for.
        text: the command as understood.
        map_from_target: (4, 4) float64, pose to reach in `map` (stand-off kept, facing the
            object); None on HOLD.
        probability: that this is the object meant and that it is there.
        expires_ns: after this instant the target is no longer valid; None on HOLD.
        reason: why it holds; None on GO and for an obeyed "stop".
        track_id: the object it is locked on, or -1.
    """

    go: bool
    intent: Intent
    text: str = ""
    map_from_target: Float | None = None
    probability: float = 0.0
    expires_ns: int | None = None
    reason: HoldReason | None = HoldReason.NO_COMMAND
    track_id: int = -1


@dataclass(frozen=True, eq=False)
class ObstacleGrid:
    """What to steer around, in base_link at the tick.

    Attributes:
        cells: (H, W) int8, row = y, column = x; 0 free, 100 occupied, -1 unknown.
        resolution_m: edge of a cell [m].
        origin_xy: (2,) float64, the outer corner of cell [0, 0] in base_link [m].
        doubtful: (H, W) bool, unknown cells in which something was met, too little for an obstacle;
            None where nobody asked.
        passed_over: (H, W) bool, cells nearer than any floor that is seen: rays pass over what is
            low there, free as they say it is; None where nobody asked.
    """

    cells: NDArray[np.int8]
    resolution_m: float
    origin_xy: Float
    doubtful: NDArray[np.bool_] | None = None
    passed_over: NDArray[np.bool_] | None = None


@dataclass(frozen=True, eq=False)
class FusedOutput:
    """The answer of one tick.

    Attributes:
        stamp_ns: the tick's instant; everything below is at this instant.
        objects: most probable first.
        reliability: one entry for each configured source, by its name.
        pose: None before any odometry or fix.
        obstacles: None when neither lidar nor camera gives one.
        by_deadline: True when the anchor did not come and the deadline fired the tick.
    """

    stamp_ns: int
    objects: tuple[FusedObject, ...]
    reliability: Mapping[str, Reliability]
    pose: PoseEstimate | None
    target: ActionTarget
    obstacles: ObstacleGrid | None
    by_deadline: bool
