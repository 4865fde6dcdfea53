"""Seeded worlds: what stands where, how fast it moves, and the light that falls on it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mm_fusion_ros.geometry import wrap_angle
from mm_fusion_ros.samples import Float
from mm_fusion_ros.sim.lighting import Lighting, draw_lighting
from mm_fusion_ros.sim.mesh import FrameTable, PartTable, pace


@dataclass(frozen=True)
class WorldOptions:
    """What is drawn.

    Attributes:
        kind: "yard", "street", or "any" of the two.
        lighting: "sun", "shade", "dusk", or "any".
        min_objects, max_objects: how many objects within `radius_m`.
        radius_m: objects stand this near to the start [m].
        moving: whether some pedestrians, cyclists and cars move.
    """

    kind: str = "any"
    lighting: str = "any"
    min_objects: int = 5
    max_objects: int = 30
    radius_m: float = 40.0
    moving: bool = True


@dataclass(frozen=True, eq=False)
class WorldObject:
    """One object of the eight classes.

    Attributes:
        centre: (3,) float64, box centre in the map at time 0 [m].
        size: (3,) float64, length, width, height of the tight box [m].
        yaw: heading of the length in the map [rad].
        velocity: (3,) float64, map [m/s], at time 0.
        object_id: from 1; unique in the world.
        pivot: (3,) float64, box centre in the object's own axes, from the point that it turns
            about [m].
    """

    class_name: str
    colour: str
    centre: Float
    size: Float
    yaw: float
    velocity: Float
    object_id: int
    pivot: Float = field(default_factory=lambda: np.zeros(3))

    @property
    def moves(self) -> bool:
        """Whether it ever moves."""
        return bool(np.any(self.velocity))

    def centre_at(self, time_s: float) -> Float:
        """(3,) float64, the box centre in the map at an instant [m]."""
        if not self.moves:
            return self.centre
        walked, direction = pace(time_s)
        result: Float = self.centre + self.velocity * walked
        if direction < 0:
            cosine, sine = np.cos(self.yaw), np.sin(self.yaw)
            x, y, _ = self.pivot
            result = result - 2 * np.array([cosine * x - sine * y, sine * x + cosine * y, 0.0])
        return result

    def yaw_at(self, time_s: float) -> float:
        """The heading in the map at an instant [rad]."""
        turned = self.moves and pace(time_s)[1] < 0
        return wrap_angle(self.yaw + np.pi) if turned else self.yaw

    def velocity_at(self, time_s: float) -> Float:
        """(3,) float64, the velocity in the map at an instant [m/s]."""
        result: Float = self.velocity * pace(time_s)[1]
        return result


@dataclass(frozen=True, eq=False)
class World:
    """Everything that the sensors can meet.

    Attributes:
        objects: the labelled ones.
        parts, frames: the geometry, scenery included.
        starts: (S, 3) float64, x, y [m] and yaw [rad] in the map, free places for the robot.
        seed: what it was made from.
    """

    objects: tuple[WorldObject, ...]
    parts: PartTable
    frames: FrameTable
    lighting: Lighting
    starts: Float
    seed: int
    kind: str = field(default="yard")


def generate(seed: int, options: WorldOptions | None = None) -> World:
    """The world of a seed: the same seed and options give the same world, byte for byte.

    Raises:
        ValueError: an option that is not allowed.
    """
    # Late, because the layouts are written with the dataclasses of this file.
    from mm_fusion_ros.sim.layout import Layout
    from mm_fusion_ros.sim.street import lay_street
    from mm_fusion_ros.sim.yard import lay_yard

    kinds = {"yard": lay_yard, "street": lay_street}
    options = options or WorldOptions()
    if options.kind not in (*kinds, "any"):
        raise ValueError(f"world kind {options.kind!r}: expected 'yard', 'street' or 'any'")
    if not 0 < options.min_objects <= options.max_objects:
        raise ValueError(
            f"objects {options.min_objects} to {options.max_objects}: expected 0 < min <= max"
        )
    rng = np.random.default_rng([seed, 1])
    lighting = draw_lighting(options.lighting, rng)
    kind = options.kind if options.kind != "any" else str(rng.choice(list(kinds)))
    layout = Layout(seed, options, rng)
    count = int(rng.integers(options.min_objects, options.max_objects + 1))
    starts = kinds[kind](layout, count)
    return layout.world(lighting, starts, kind)
