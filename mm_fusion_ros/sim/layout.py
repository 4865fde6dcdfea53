"""Yards and streets: where ground, scenery and objects are put."""

from __future__ import annotations

import numpy as np

from mm_fusion_ros.geometry import wrap_angle
from mm_fusion_ros.outputs import CLASSES, COLOURS
from mm_fusion_ros.sim import scenery, shapes
from mm_fusion_ros.sim.lighting import Lighting
from mm_fusion_ros.sim.mesh import Material, PartBuilder, Primitive, frame_extents
from mm_fusion_ros.sim.palette import Rgb, draw_colour, draw_earthy, linear
from mm_fusion_ros.sim.world import World, WorldObject, WorldOptions

# Where an object of a class may start to move, at what speed [m/s] and how often.
_SPEED: dict[str, tuple[float, float, float]] = {
    "pedestrian": (0.5, 1.8, 0.5),
    "cyclist": (2.0, 5.0, 0.5),
    "car": (2.0, 8.0, 0.15),
    "truck": (2.0, 6.0, 0.1),
}
_GROUND: dict[Material, tuple[float, float, float]] = {
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
        for along in np.arange(-length / 2, length / 2 + 0.01, max(radius, 0.8)):
            self.keep(x + float(along * np.cos(yaw)), y + float(along * np.sin(yaw)), radius)

    def bar_is_free(self, x: float, y: float, yaw: float, length: float, width: float) -> bool:
        """Whether a bar [m] touches nothing that was put."""
        radius = max(width / 2, 0.2)
        along = np.linspace(-1, 1, max(2, int(length / radius))) * max(0.0, length / 2 - radius)
        return all(
            self.free(x + float(a * np.cos(yaw)), y + float(a * np.sin(yaw)), radius)
            for a in along
        )

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
        shade = np.array(_GROUND[material]) * self.rng.uniform(0.65, 1.3)
        shade = shade * self.rng.uniform(0.94, 1.06, 3)
        red, green, blue = np.clip(shade, 0.02, 0.95)
        self.builder.add(
            0, Primitive.BOX, (*centre, top - 0.25), (*size, 0.5), linear(red, green, blue),
            material, yaw=yaw, reflectivity=float(self.rng.uniform(0.08, 0.45)),
            phase=float(self.rng.random()), accent=linear(*np.array(draw_earthy(self.rng)) ** 0.45),
        )  # fmt: skip

    def marking(self, x: float, y: float, length: float, width: float, yaw: float) -> None:
        """Paints a line on the ground [m]."""
        colour: Rgb = linear(0.85, 0.85, 0.82) if self.rng.random() < 0.9 else linear(0.8, 0.65, 0.1)
        self.builder.add(
            0, Primitive.BOX, (x, y, 0.0), (length, width, 0.012), colour, Material.CONCRETE, yaw=yaw,
            reflectivity=float(self.rng.uniform(0.5, 0.95)),
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

    def world(self, lighting: Lighting, starts: list[tuple[float, float, float]], kind: str) -> World:
        """The finished world."""
        parts, frames = self.builder.tables()
        low, high = frame_extents(parts, len(frames.yaw))
        objects = []
        for index, (class_name, colour, frame, yaw) in enumerate(self._objects):
            middle = (low[frame] + high[frame]).astype(np.float64) / 2
            cosine, sine = np.cos(yaw), np.sin(yaw)
            centre = frames.position[frame].astype(np.float64) + [
                cosine * middle[0] - sine * middle[1],
                sine * middle[0] + cosine * middle[1],
                middle[2],
            ]
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


def lay_out(
    seed: int, options: WorldOptions, rng: np.random.Generator, lighting: Lighting
) -> World:
    """A yard or a street.

    Raises:
        ValueError: no such kind of world.
    """
    kind = options.kind if options.kind != "any" else str(rng.choice(["yard", "street"]))
    layout = Layout(seed, options, rng)
    count = int(rng.integers(options.min_objects, options.max_objects + 1))
    if kind == "yard":
        return layout.world(lighting, _yard(layout, count), kind)
    if kind == "street":
        return layout.world(lighting, _street(layout, count), kind)
    raise ValueError(f"world kind {kind!r}: expected 'yard', 'street' or 'any'")


def _yard(layout: Layout, count: int) -> list[tuple[float, float, float]]:
    rng = layout.rng
    materials = list(_GROUND)
    base = materials[int(rng.integers(len(materials)))]
    layout.ground(base, (0, 0), (600, 600))
    for _ in range(int(rng.integers(1, 5))):
        x, y = draw_place(rng, 0, 35)
        width, depth = rng.uniform(5, 35, 2)
        yaw = float(rng.choice([0.0, rng.uniform(0, np.pi)]))
        top = 0.004 + 0.004 * float(rng.random())
        layout.ground(materials[int(rng.integers(len(materials)))], (x, y), (width, depth), top, yaw)
    starts = [
        (float(x), float(y), float(yaw))
        for x, y, yaw in np.column_stack(
            [rng.uniform(-3, 3, (1, 2)), rng.uniform(-np.pi, np.pi, (1, 1))]
        )
    ]
    layout.start_at(*starts[0][:2])
    turn = float(rng.uniform(-np.pi, np.pi))
    for side in range(4):
        if rng.random() < 0.25:
            continue
        away = float(rng.uniform(14, 48))
        yaw = turn + side * np.pi / 2 - np.pi / 2
        x, y = away * np.cos(turn + side * np.pi / 2), away * np.sin(turn + side * np.pi / 2)
        at = -30.0
        while at < 30.0:
            length = float(rng.uniform(6, 20))
            px, py = x + (at + length / 2) * np.cos(yaw), y + (at + length / 2) * np.sin(yaw)
            draw = rng.random()
            if draw < 0.4:
                layout.put_building(float(px), float(py), yaw, length, float(rng.uniform(5, 14)))
            elif draw < 0.8:
                layout.put_wall(float(px), float(py), yaw, length, "wall" if draw < 0.6 else "fence")
            at += length + float(rng.choice([0.0, rng.uniform(1, 8)]))
    if rng.random() < 0.5:  # a row of parked cars
        _parked_row(layout, draw_place(rng, 8, 25), turn + np.pi / 2, count)
    if rng.random() < 0.5:  # a line of cones or barrels
        _marker_line(layout, count)
    layout.scatter_objects(count, CLASSES, layout.options.radius_m - 1.0)
    layout.scatter_props(int(rng.integers(12, 45)), 2.5, 45.0)
    _skyline(layout)
    return starts


def _street(layout: Layout, count: int) -> list[tuple[float, float, float]]:
    rng = layout.rng
    materials = list(_GROUND)
    layout.ground(materials[int(rng.integers(len(materials)))], (0, 0), (600, 600), -0.01)
    lane = float(rng.uniform(2.7, 3.8))
    lanes = int(rng.choice([1, 2, 2, 2, 3, 4]))
    parking = [float(rng.uniform(2.0, 2.5)) * (rng.random() < 0.7) for _ in range(2)]
    road = lane * lanes + sum(parking)
    right = -(lane * (0.5 if rng.random() < 0.7 else lanes - 0.5)) - parking[0]  # robot at y = 0
    left = right + road
    surface = Material.ASPHALT if rng.random() < 0.75 else Material.PAVING
    layout.ground(surface, (0, (left + right) / 2), (300, road))
    kerb = float(rng.choice([0.0, rng.uniform(0.06, 0.18)])) + 0.005
    walk = [float(rng.uniform(1.5, 5.0)) for _ in range(2)]
    pavement = Material.PAVING if rng.random() < 0.6 else Material.CONCRETE
    layout.ground(pavement, (0, left + walk[0] / 2), (300, walk[0]), kerb)
    layout.ground(pavement, (0, right - walk[1] / 2), (300, walk[1]), kerb)
    for line in range(1, lanes):
        y = right + parking[0] + line * lane
        dash, gap = float(rng.uniform(1.5, 4)), float(rng.uniform(2, 6))
        for x in np.arange(-60, 60, dash + gap):
            layout.marking(float(x), y, dash, 0.13, 0.0)
    if rng.random() < 0.3:  # a crossing
        x0 = float(rng.uniform(5, 25) * rng.choice([-1, 1]))
        for y in np.arange(right + 0.4, left - 0.2, 1.0):
            layout.marking(x0, float(y), 3.0, 0.5, 0.0)
    facing = 0.0 if rng.random() < 0.85 else float(rng.choice([np.pi, rng.uniform(-np.pi, np.pi)]))
    starts = [(0.0, float(rng.uniform(-0.4, 0.4)), facing + float(rng.normal(0, 0.12)))]
    layout.start_at(*starts[0][:2])
    for side, edge, yaw in ((1.0, left + walk[0], 0.0), (-1.0, right - walk[1], np.pi)):
        setback = float(rng.choice([0.0, 0.0, rng.uniform(1, 10)]))
        at = -70.0 + float(rng.uniform(0, 10))
        while at < 70.0:
            length = float(rng.uniform(6, 22))
            y = edge + side * (setback + 0.05)
            if rng.random() < 0.75:
                layout.put_building(at + length / 2, y, yaw, length, float(rng.uniform(6, 14)))
            elif rng.random() < 0.6:
                kind = "wall" if rng.random() < 0.5 else "fence"
                layout.put_wall(at + length / 2, y + side * 0.4, 0.0, length, kind)
            at += length + float(rng.choice([0.0, 0.0, rng.uniform(1, 9)]))
    # The queue ahead and behind, and the rows at the kerbs.
    for lane_index in range(lanes):
        y = right + parking[0] + (lane_index + 0.5) * lane
        heading = 0.0 if y < (right + left) / 2 + 0.5 else np.pi
        if rng.random() < 0.6:
            x = float(rng.uniform(-38, 0)) if rng.random() < 0.6 else float(rng.uniform(5, 12))
            spacing = float(rng.uniform(1.0, 9.0))
            for _ in range(int(rng.integers(1, 7))):
                name = str(rng.choice(["car", "car", "car", "car", "truck", "cyclist"]))
                x += shapes.FOOTPRINT[name][0] / 2
                if x > 38 or layout.object_count >= count:
                    break
                layout.put_object(name, x, y + float(rng.normal(0, 0.2)),
                                  heading + float(rng.normal(0, 0.04)))  # fmt: skip
                x += shapes.FOOTPRINT[name][0] / 2 + spacing * float(rng.uniform(0.6, 1.6))
    for side_index, y in ((0, right + parking[0] / 2), (1, left - parking[1] / 2)):
        if parking[side_index] > 0:
            _kerb_row(layout, y, 0.0 if side_index == 0 else np.pi, count)
    for _ in range(4 * count):
        if layout.object_count >= count:
            break
        name = str(rng.choice(CLASSES, p=[0.04, 0.04, 0.22, 0.14, 0.14, 0.14, 0.14, 0.14]))
        x = draw_place(rng, 3, 38)[0]
        on_walk = name in ("pedestrian", "barrel", "box", "ball") or rng.random() < 0.4
        if name in ("car", "truck"):
            y, yaw, z = float(rng.uniform(right + 1.3, left - 1.3)), 0.0, 0.0
            yaw = float(rng.choice([0.0, np.pi])) + float(rng.normal(0, 0.1))
        elif on_walk and rng.random() < 0.8:
            on_left = rng.random() < 0.5
            inner, outer = (left, left + walk[0]) if on_left else (right - walk[1], right)
            y, z = float(rng.uniform(inner + 0.5, max(outer - 0.5, inner + 0.6))), kerb
            yaw = float(rng.choice([0.0, np.pi])) + float(rng.normal(0, 0.5))
        else:
            y, z = float(rng.uniform(right + 0.6, left - 0.6)), 0.0
            yaw = float(rng.choice([0.0, np.pi, np.pi / 2])) + float(rng.normal(0, 0.3))
        layout.put_object(name, x, y, yaw, z=z)
    names = list(scenery.PROPS)
    names.remove("container")
    weight = np.array([scenery.PROPS[name][2] for name in names])
    for name in rng.choice(names, size=int(rng.integers(10, 40)), p=weight / weight.sum()):
        x = draw_place(rng, 2, 50)[0]
        y = left + float(rng.uniform(0.4, walk[0])) if rng.random() < 0.5 else (
            right - float(rng.uniform(0.4, walk[1]))
        )  # fmt: skip
        layout.put_prop(str(name), x, y, float(rng.choice([0, np.pi / 2, np.pi])), z=kerb)
    _skyline(layout)
    return starts


def _kerb_row(layout: Layout, y: float, heading: float, count: int) -> None:
    """Cars and now and then a truck, parked nose to tail along the kerb."""
    rng = layout.rng
    x = -38.0 + float(rng.uniform(0, 30))
    fill = float(rng.uniform(0.3, 1.0))
    while x < 36.0 and layout.object_count < count - 3:
        name = "truck" if rng.random() < 0.08 else "car"
        length = shapes.FOOTPRINT[name][0]
        if rng.random() < fill:
            yaw = heading + float(rng.normal(0, 0.03)) + float(np.pi * (rng.random() < 0.15))
            layout.put_object(name, x + length / 2, y + float(rng.normal(0, 0.08)), yaw,
                              velocity=(0.0, 0.0))  # fmt: skip
        x += length + float(rng.uniform(0.4, 2.0))


def _parked_row(layout: Layout, place: tuple[float, float], turn: float, count: int) -> None:
    """Cars side by side, as in a car park."""
    rng = layout.rng
    for index in range(int(rng.integers(2, 7))):
        if layout.object_count >= count:
            return
        step = index * float(rng.uniform(2.5, 3.0))
        x, y = place[0] + step * np.cos(turn), place[1] + step * np.sin(turn)
        if np.hypot(x, y) < layout.options.radius_m - 1:
            yaw = turn + np.pi / 2 + float(np.pi * (rng.random() < 0.3))
            layout.put_object("car", float(x), float(y), yaw, velocity=(0.0, 0.0))


def _marker_line(layout: Layout, count: int) -> None:
    """Cones, barrels, boxes or balls in a line, often of one colour."""
    rng = layout.rng
    name = str(rng.choice(["cone", "cone", "barrel", "box", "ball"]))
    colour = draw_name(name, rng) if rng.random() < 0.5 else None
    x, y = draw_place(rng, 4, 20)
    turn, step = float(rng.uniform(-np.pi, np.pi)), float(rng.uniform(1.2, 3.5))
    for index in range(int(rng.integers(3, 7))):
        if layout.object_count >= count:
            return
        layout.put_object(name, float(x + index * step * np.cos(turn)),
                          float(y + index * step * np.sin(turn)), turn, colour=colour)  # fmt: skip


def _skyline(layout: Layout) -> None:
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
