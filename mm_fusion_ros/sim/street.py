"""Streets: lanes with a queue, cars parked at the kerbs, pavements, and buildings on both sides."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mm_fusion_ros.outputs import CLASSES
from mm_fusion_ros.sim import scenery, shapes
from mm_fusion_ros.sim.layout import GROUND, Layout, add_skyline, draw_place
from mm_fusion_ros.sim.mesh import Material


@dataclass(frozen=True)
class _Profile:
    """Across the street, which runs along x with the robot's lane about y = 0.

    Attributes:
        right, left: y of the kerbs [m].
        lane: width of a lane [m].
        lanes: how many.
        parking, walk: widths of the parking lane and of the pavement, right and left (parking),
            left and right (walk) [m]; 0 without one.
        kerb: height of the pavements [m].
    """

    right: float
    left: float
    lane: float
    lanes: int
    parking: tuple[float, float]
    walk: tuple[float, float]
    kerb: float


def lay_street(layout: Layout, count: int) -> list[tuple[float, float, float]]:
    """Lays out a street of so many objects; returns the starting place."""
    rng = layout.rng
    street = _pave(layout)
    _mark(layout, street)
    facing = 0.0 if rng.random() < 0.85 else float(rng.choice([np.pi, rng.uniform(-np.pi, np.pi)]))
    starts = [(0.0, float(rng.uniform(-0.4, 0.4)), facing + float(rng.normal(0, 0.12)))]
    layout.start_at(*starts[0][:2])
    _build_up(layout, street)
    _queue(layout, street, count)
    right_row = street.right + street.parking[0] / 2
    left_row = street.left - street.parking[1] / 2
    for width, y, heading in (
        (street.parking[0], right_row, 0.0), (street.parking[1], left_row, float(np.pi)),
    ):  # fmt: skip
        if width > 0:
            _kerb_row(layout, y, heading, count)
    _scatter(layout, street, count)
    _furnish(layout, street)
    add_skyline(layout)
    return starts


def _pave(layout: Layout) -> _Profile:
    """Draws the widths and puts road and pavements."""
    rng = layout.rng
    materials = list(GROUND)
    layout.ground(materials[int(rng.integers(len(materials)))], (0, 0), (600, 600), -0.01)
    lane = float(rng.uniform(2.7, 3.8))
    lanes = int(rng.choice([1, 2, 2, 2, 3, 4]))
    parking = [float(rng.uniform(2.0, 2.5)) * (rng.random() < 0.7) for _ in range(2)]
    road = lane * lanes + sum(parking)
    right = -(lane * (0.5 if rng.random() < 0.7 else lanes - 0.5)) - parking[0]
    left = right + road
    surface = Material.ASPHALT if rng.random() < 0.75 else Material.PAVING
    layout.ground(surface, (0, (left + right) / 2), (300, road))
    kerb = float(rng.choice([0.0, rng.uniform(0.06, 0.18)])) + 0.005
    walk = [float(rng.uniform(1.5, 5.0)) for _ in range(2)]
    pavement = Material.PAVING if rng.random() < 0.6 else Material.CONCRETE
    layout.ground(pavement, (0, left + walk[0] / 2), (300, walk[0]), kerb)
    layout.ground(pavement, (0, right - walk[1] / 2), (300, walk[1]), kerb)
    return _Profile(right, left, lane, lanes, (parking[0], parking[1]), (walk[0], walk[1]), kerb)


def _mark(layout: Layout, street: _Profile) -> None:
    """Paints the lanes, and now and then a crossing."""
    rng = layout.rng
    for line in range(1, street.lanes):
        y = street.right + street.parking[0] + line * street.lane
        dash, gap = float(rng.uniform(1.5, 4)), float(rng.uniform(2, 6))
        for x in np.arange(-60, 60, dash + gap):
            layout.marking(float(x), y, dash, 0.13, 0.0)
    if rng.random() < 0.3:
        x0 = float(rng.uniform(5, 25) * rng.choice([-1, 1]))
        for y in np.arange(street.right + 0.4, street.left - 0.2, 1.0):
            layout.marking(x0, float(y), 3.0, 0.5, 0.0)


def _build_up(layout: Layout, street: _Profile) -> None:
    """Puts houses, walls and fences along both sides."""
    rng = layout.rng
    for side, edge, yaw in (
        (1.0, street.left + street.walk[0], 0.0), (-1.0, street.right - street.walk[1], np.pi),
    ):  # fmt: skip
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


def _queue(layout: Layout, street: _Profile, count: int) -> None:
    """Puts what drives or waits in the lanes, ahead and behind."""
    rng = layout.rng
    for lane in range(street.lanes):
        y = street.right + street.parking[0] + (lane + 0.5) * street.lane
        heading = 0.0 if y < (street.right + street.left) / 2 + 0.5 else np.pi
        if rng.random() >= 0.6:
            continue
        x = float(rng.uniform(-38, 0)) if rng.random() < 0.6 else float(rng.uniform(5, 12))
        spacing = float(rng.uniform(1.0, 9.0))
        for _ in range(int(rng.integers(1, 7))):
            name = str(rng.choice(["car", "car", "car", "car", "truck", "cyclist"]))
            x += shapes.FOOTPRINT[name][0] / 2
            if x > 38 or layout.object_count >= count:
                break
            layout.put_object(
                name, x, y + float(rng.normal(0, 0.2)), heading + float(rng.normal(0, 0.04))
            )
            x += shapes.FOOTPRINT[name][0] / 2 + spacing * float(rng.uniform(0.6, 1.6))


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


def _scatter(layout: Layout, street: _Profile, count: int) -> None:
    """Puts the other objects on road and pavements, where each is likely."""
    rng = layout.rng
    for _ in range(4 * count):
        if layout.object_count >= count:
            break
        name = str(rng.choice(CLASSES, p=[0.04, 0.04, 0.22, 0.14, 0.14, 0.14, 0.14, 0.14]))
        x = draw_place(rng, 3, 38)[0]
        on_walk = name in ("pedestrian", "barrel", "box", "ball") or rng.random() < 0.4
        z = 0.0
        if name in ("car", "truck"):
            y = float(rng.uniform(street.right + 1.3, street.left - 1.3))
            yaw = float(rng.choice([0.0, np.pi])) + float(rng.normal(0, 0.1))
        elif on_walk and rng.random() < 0.8:
            y, yaw, z = _on_pavement(layout, street)
        else:
            y = float(rng.uniform(street.right + 0.6, street.left - 0.6))
            yaw = float(rng.choice([0.0, np.pi, np.pi / 2])) + float(rng.normal(0, 0.3))
        layout.put_object(name, x, y, yaw, z=z)


def _on_pavement(layout: Layout, street: _Profile) -> tuple[float, float, float]:
    """A place on a pavement: y [m], heading [rad], height [m]."""
    rng = layout.rng
    on_left = rng.random() < 0.5
    inner = street.left if on_left else street.right - street.walk[1]
    outer = street.left + street.walk[0] if on_left else street.right
    y = float(rng.uniform(inner + 0.5, max(outer - 0.5, inner + 0.6)))
    return y, float(rng.choice([0.0, np.pi])) + float(rng.normal(0, 0.5)), street.kerb


def _furnish(layout: Layout, street: _Profile) -> None:
    """Puts scenery on the pavements."""
    rng = layout.rng
    names = list(scenery.PROPS)
    names.remove("container")
    weight = np.array([scenery.PROPS[name][2] for name in names])
    for name in rng.choice(names, size=int(rng.integers(10, 40)), p=weight / weight.sum()):
        x = draw_place(rng, 2, 50)[0]
        if rng.random() < 0.5:
            y = street.left + float(rng.uniform(0.4, street.walk[0]))
        else:
            y = street.right - float(rng.uniform(0.4, street.walk[1]))
        turn = float(rng.choice([0, np.pi / 2, np.pi]))
        layout.put_prop(str(name), x, y, turn, z=street.kerb)
