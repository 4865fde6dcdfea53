"""A list of commands carried out one after the other, and whether the robot did what it was told.

Plain Python in simulated time, so that it can be tested without anything running.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mm_fusion_ros.grounding.command import parse, plain
from mm_fusion_ros.outputs import ActionTarget, Intent

# The robot is there when it is this near to the pose and stands, for this long.
ARRIVED_M = 0.5
STANDING_MPS = 0.05
SETTLED_S = 1.0
# A command for someone who walks counts as obeyed after so much following.
FOLLOWED_S = 10.0
# A command that was not taken up within this long is said again: one may be lost at start-up.
REPEAT_S = 3.0


@dataclass(frozen=True)
class DriveState:
    """What is known of the drive at an instant.

    Attributes:
        time_s: simulated time.
        target: as the fusion last said.
        distance_m: the robot's true distance to the pose it was given; None without one.
        speed_mps: the robot's true speed.
        collided: whether it touched anything.
    """

    time_s: float
    target: ActionTarget
    distance_m: float | None
    speed_mps: float
    collided: bool


@dataclass
class Leg:
    """One command and what came of it."""

    command: str
    done: bool = False
    said_s: float | None = None
    seconds: float = 0.0
    distance_m: float | None = None
    outcome: str = "not begun"


@dataclass
class Mission:
    """Says each command, and goes on when the robot has done it.

    Attributes:
        commands: in order.
        limit_s: simulated time for each of them.
    """

    commands: Sequence[str]
    limit_s: float = 60.0
    legs: list[Leg] = field(default_factory=list)
    collided: bool = False
    _since_s: float | None = None
    _repeat_s: float = 0.0

    def __post_init__(self) -> None:
        self.legs = [Leg(command) for command in self.commands]

    @property
    def current(self) -> Leg | None:
        """The command that is being carried out; None when the mission is over."""
        return next((leg for leg in self.legs if leg.outcome in ("not begun", "under way")), None)

    @property
    def succeeded(self) -> bool:
        """Whether every command was carried out without touching anything."""
        return all(leg.done for leg in self.legs) and not self.collided

    def update(self, state: DriveState) -> str | None:
        """Takes the state; gives what to say now, if anything."""
        self.collided = self.collided or state.collided
        leg = self.current
        if leg is None:
            return None
        if leg.said_s is None:
            leg.said_s = self._repeat_s = state.time_s
            leg.outcome = "under way"
            self._since_s = None
            return leg.command
        leg.seconds = state.time_s - leg.said_s
        taken_up = plain(state.target.text) == plain(leg.command)
        if taken_up:
            self._repeat_s = state.time_s
            self._judge(leg, state)
        if leg.outcome == "under way" and leg.seconds > self.limit_s:
            leg.outcome = f"not done within {self.limit_s:.0f} s: {_why(state.target)}"
        elif not taken_up and state.time_s - self._repeat_s > REPEAT_S:
            self._repeat_s = state.time_s
            return leg.command
        return None

    def _judge(self, leg: Leg, state: DriveState) -> None:
        intent = parse(leg.command).intent
        held = SETTLED_S
        if intent is Intent.STOP:
            there = state.target.intent is Intent.STOP and state.speed_mps < STANDING_MPS
        elif intent is Intent.FOLLOW:
            there, held = state.target.go, FOLLOWED_S
        else:
            near = state.distance_m is not None and state.distance_m < ARRIVED_M
            there = state.target.go and near and state.speed_mps < STANDING_MPS
            leg.distance_m = state.distance_m
        if not there:
            self._since_s = None
        elif self._since_s is None:
            self._since_s = state.time_s
        elif state.time_s - self._since_s >= held:
            leg.done, leg.outcome = True, "done"

    def report(self) -> list[str]:
        """One line a command, and one on collisions."""
        lines = []
        for leg in self.legs:
            distance = "" if leg.distance_m is None else f", {leg.distance_m:.2f} m from the pose"
            lines.append(f'"{leg.command}": {leg.outcome} after {leg.seconds:.1f} s{distance}')
        lines.append("collided" if self.collided else "no collision")
        return lines


def _why(target: ActionTarget) -> str:
    if target.go:
        return "still on the way"
    reason = target.intent.value if target.reason is None else target.reason.value
    return f"HOLD ({reason})"
