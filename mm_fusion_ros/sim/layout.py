"""Where ground, scenery and objects are put, and which ground is taken."""

from __future__ import annotations

import numpy as np

from mm_fusion_ros.geometry import wrap_angle
from mm_fusion_ros.outputs import COLOURS
from mm_fusion_ros.sim import scenery, shapes
from mm_fusion_ros.sim.lighting import Lighting
from mm_fusion_ros.sim.mesh import SLAB_M, Material, PartBuilder, object_extents
from mm_fusion_ros.sim.palette import Rgb, draw_colour, draw_earthy, linear
from mm_fusion_ros.sim.primitives import Primitive
from mm_fusion_ros.sim.world import World, WorldObject, WorldOptions

# Where an object of a class may start to move, at what speed [m/s] and how often.
_SPEED: dict[str, tuple[float, float, float]] = {
    "pedestrian": (0.5, 1.8, 0.5),
    "cyclist": (2.0, 5.0, 0.5),
    "car": (2.0, 8.0, 0.15),
    "truck": (2.0, 6.0, 0.1),
}
GROUND: dict[Material, tuple[float, float, float]] = {
    Material.ASPHALT: (0.38, 0.38, 0.39),
    Material.CONCRETE: (0.60, 0.59, 0.56),
    Material.PAVING: (0.52, 0.50, 0.47),
    Material.GRASS: (0.30, 0.40, 0.17),
    Material.DIRT: (0.50, 0.42, 0.32),
}


class Layout:
    """The builder with the memory of which ground is taken."""

    def __init__(self, seed: int, options: WorldOptions, rng: np.random.Generator) -> None:
        self.seed = seed
        self.options = options
        self.rng = rng
        self.builder = PartBuilder()
        self._circles = np.zeros((1024, 3))
        self._taken = 0
        self._start = (0.0, 0.0)
        self._objects: list[tuple[str, str, int, float]] = []

    def free(self, x: float, y: float, radius: float) -> bool:
        """Whether a disc [m] touches nothing that was put."""
        taken = self._circles[: self._taken]
        return not bool(
            (((taken[:, 0] - x) ** 2 + (taken[:, 1] - y) ** 2) <= (taken[:, 2] + radius) ** 2).any()
        )

    def keep(self, x: float, y: float, radius: float) -> None:
        """Takes a disc [m]."""
        if self._taken == len(self._circles):
            self._circles = np.concatenate([self._circles, np.zeros_like(self._circles)])
        self._circles[self._taken] = (x, y, radius)
        self._taken += 1

    def keep_bar(self, x: float, y: float, yaw: float, length: float, width: float) -> None:
        """Takes a bar [m] as a row of discs."""
        radius = max(width / 2, 0.3)
        along = np.arange(-length / 2, length / 2 + 0.01, max(radius, 0.8))
        for px, py in zip(x + along * np.cos(yaw), y + along * np.sin(yaw), strict=True):
            self.keep(float(px), float(py), radius)

    def bar_is_free(self, x: float, y: float, yaw: float, length: float, width: float) -> bool:
        """Whether a bar [m] touches nothing that was put."""
        radius = max(width / 2, 0.2)
        along = np.linspace(-1, 1, max(2, int(length / radius))) * max(0.0, length / 2 - radius)
        taken = self._circles[: self._taken]
        across = (x + along * np.cos(yaw))[:, None] - taken[:, 0]
        upward = (y + along * np.sin(yaw))[:, None] - taken[:, 1]
        return not bool((across**2 + upward**2 <= (taken[:, 2] + radius) ** 2).any())

    def start_at(self, x: float, y: float) -> None:
        """Keeps the robot's starting place clear [m]; objects are counted from there."""
        self._start = (x, y)
        self.keep(x, y, 1.6)

    @property
    def object_count(self) -> int:
        """How many objects stand."""
        return len(self._objects)

    def put_object(
        self,
        class_name: str,
        x: float,
        y: float,
        yaw: float,
        *,
        colour: str | None = None,
        z: float = 0.0,
        velocity: tuple[float, float] | None = None,
    ) -> bool:
        """Puts an object where there is room; says whether there was."""
        length, width, _ = shapes.FOOTPRINT[class_name]
        if np.hypot(x - self._start[0], y - self._start[1]) > self.options.radius_m - 0.5:
            return False
        if not self.bar_is_free(x, y, yaw, length, width):
            return False
        rng = self.rng
        colour = colour or draw_name(class_name, rng)
        if velocity is None:
            velocity = self._draw_velocity(class_name, yaw)
        object_id = len(self._objects) + 1
        frame = self.builder.frame(x, y, yaw, z=z, velocity=velocity, object_id=object_id)
        shapes.BUILDERS[class_name](self.builder, frame, rng, draw_colour(colour, rng))
        self._objects.append((class_name, colour, frame, yaw))
        self.keep_bar(x, y, yaw, length, width)
        return True

    def put_prop(self, name: str, x: float, y: float, yaw: float, z: float = 0.0) -> bool:
        """Puts scenery where there is room; says whether there was."""
        build, radius, _ = scenery.PROPS[name]
        if not self.free(x, y, radius):
            return False
        frame = self.builder.frame(x, y, yaw, z=z)
        build(self.builder, frame, self.rng)
        self.keep(x, y, radius)
        return True

    def put_building(self, x: float, y: float, yaw: float, length: float, depth: float) -> None:
        """Puts a house; its front's middle is at x, y [m] and its body to the left of yaw."""
        frame = self.builder.frame(x, y, yaw)
        scenery.building(self.builder, frame, self.rng, length, depth)
        middle = (x - depth / 2 * np.sin(yaw), y + depth / 2 * np.cos(yaw))
        self.keep_bar(float(middle[0]), float(middle[1]), yaw, length, depth + 0.6)

    def put_wall(self, x: float, y: float, yaw: float, length: float, kind: str) -> None:
        """Puts a wall or a fence along yaw."""
        frame = self.builder.frame(x, y, yaw)
        if kind == "wall":
            height = float(self.rng.uniform(0.8, 3.2))
            scenery.wall(self.builder, frame, self.rng, length, height)
        else:
            scenery.fence(self.builder, frame, self.rng, length)
        self.keep_bar(x, y, yaw, length, 0.8)

    def ground(
        self,
        material: Material,
        centre: tuple[float, float],
        size: tuple[float, float],
        top: float = 0.0,
        yaw: float = 0.0,
    ) -> None:
        """Puts a slab whose surface is at `top` [m]."""
        shade = np.array(GROUND[material]) * self.rng.uniform(0.65, 1.3)
        shade = shade * self.rng.uniform(0.94, 1.06, 3)
        red, green, blue = np.clip(shade, 0.02, 0.95)
        self.builder.add(
            0, Primitive.BOX, (*centre, top - SLAB_M / 2), (*size, SLAB_M),
            linear(red, green, blue), material, yaw=yaw,
            reflectivity=float(self.rng.uniform(0.08, 0.45)),
            phase=float(self.rng.random()),
            accent=linear(*np.array(draw_earthy(self.rng)) ** 0.45),
        )  # fmt: skip

    def marking(self, x: float, y: float, length: float, width: float, yaw: float) -> None:
        """Paints a line on the ground [m]."""
        colour: Rgb = (
            linear(0.85, 0.85, 0.82) if self.rng.random() < 0.9 else linear(0.8, 0.65, 0.1)
        )
        self.builder.add(
            0, Primitive.BOX, (x, y, 0.0), (length, width, 0.012), colour, Material.CONCRETE,
            yaw=yaw, reflectivity=float(self.rng.uniform(0.5, 0.95)),
        )  # fmt: skip

    def scatter_props(self, count: int, low: float, high: float) -> None:
        """Scatters scenery between two distances from the origin [m], thinner farther out."""
        names = list(scenery.PROPS)
        weight = np.array([scenery.PROPS[name][2] for name in names])
        for name in self.rng.choice(names, size=count, p=weight / weight.sum()):
            x, y = draw_place(self.rng, low, high)
            self.put_prop(str(name), x, y, float(self.rng.uniform(-np.pi, np.pi)))

    def scatter_objects(self, count: int, classes: tuple[str, ...], high: float) -> None:
        """Scatters objects until `count` stand in all, or no room is found."""
        for _ in range(6 * count):
            if self.object_count >= count:
                return
            name = str(self.rng.choice(classes))
            x, y = draw_place(self.rng, 2.5, high)
            self.put_object(name, x, y, float(self.rng.uniform(-np.pi, np.pi)))

    def world(
        self, lighting: Lighting, starts: list[tuple[float, float, float]], kind: str
    ) -> World:
        """The finished world."""
        parts, frames = self.builder.tables()
        low, high = object_extents(parts, frames)
        objects = []
        for index, (class_name, colour, frame, yaw) in enumerate(self._objects):
            middle = (low[frame] + high[frame]).astype(np.float64) / 2
            cosine, sine = np.cos(yaw), np.sin(yaw)
            turned = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
            centre = frames.position[frame].astype(np.float64) + turned @ middle
            objects.append(
                WorldObject(
                    class_name, colour, centre, (high[frame] - low[frame]).astype(np.float64),
                    wrap_angle(yaw), frames.velocity[frame].astype(np.float64), index + 1, middle,
                )
            )  # fmt: skip
        return World(
            tuple(objects), parts, frames, lighting, np.array(starts, np.float64), self.seed, kind
        )

    def _draw_velocity(self, class_name: str, yaw: float) -> tuple[float, float]:
        low, high, often = _SPEED.get(class_name, (0.0, 0.0, 0.0))
        if not self.options.moving or self.rng.random() >= often:
            return (0.0, 0.0)
        speed = self.rng.uniform(low, high)
        return (float(speed * np.cos(yaw)), float(speed * np.sin(yaw)))


def draw_name(class_name: str, rng: np.random.Generator) -> str:
    """A colour's name; vehicles are more often white, grey or black, as they are."""
    if class_name in ("car", "truck") and rng.random() < 0.35:
        return str(rng.choice(["white", "grey", "black"]))
    return str(rng.choice(COLOURS))


def draw_place(rng: np.random.Generator, low: float, high: float) -> tuple[float, float]:
    """A point between two distances from the origin [m], denser near than far."""
    distance = low + (high - low) * rng.random() ** 1.5
    angle = rng.uniform(-np.pi, np.pi)
    return float(distance * np.cos(angle)), float(distance * np.sin(angle))


def add_skyline(layout: Layout) -> None:
    """Far houses and trees, so that the horizon is not empty."""
    rng = layout.rng
    for _ in range(int(rng.integers(4, 16))):
        angle, away = float(rng.uniform(-np.pi, np.pi)), float(rng.uniform(70, 140))
        x, y = away * np.cos(angle), away * np.sin(angle)
        frame = layout.builder.frame(float(x), float(y), angle - np.pi / 2)
        if rng.random() < 0.5:
            scenery.building(layout.builder, frame, rng, float(rng.uniform(10, 40)), 12.0)
        else:
            scenery.tree(layout.builder, frame, rng)
