"""Yards: open ground with walls, buildings, parked cars and things left about."""

from __future__ import annotations

import numpy as np

from mm_fusion_ros.outputs import CLASSES
from mm_fusion_ros.sim.layout import GROUND, Layout, add_skyline, draw_name, draw_place


def lay_yard(layout: Layout, count: int) -> list[tuple[float, float, float]]:
    """Lays out a yard of so many objects; returns the starting place."""
    rng = layout.rng
    materials = list(GROUND)
    base = materials[int(rng.integers(len(materials)))]
    layout.ground(base, (0, 0), (600, 600))
    for _ in range(int(rng.integers(1, 5))):
        x, y = draw_place(rng, 0, 35)
        width, depth = rng.uniform(5, 35, 2)
        yaw = float(rng.choice([0.0, rng.uniform(0, np.pi)]))
        top = 0.004 + 0.004 * float(rng.random())
        layout.ground(
            materials[int(rng.integers(len(materials)))], (x, y), (width, depth), top, yaw
        )
    starts = [
        (float(x), float(y), float(yaw))
        for x, y, yaw in np.column_stack(
            [rng.uniform(-3, 3, (1, 2)), rng.uniform(-np.pi, np.pi, (1, 1))]
        )
    ]
    layout.start_at(*starts[0][:2])
    turn = _enclose(layout)
    if rng.random() < 0.5:  # a row of parked cars
        _parked_row(layout, draw_place(rng, 8, 25), turn + np.pi / 2, count)
    if rng.random() < 0.5:  # a line of cones or barrels
        _marker_line(layout, count)
    layout.scatter_objects(count, CLASSES, layout.options.radius_m - 1.0)
    layout.scatter_props(int(rng.integers(12, 45)), 2.5, 45.0)
    add_skyline(layout)
    return starts


def _enclose(layout: Layout) -> float:
    """Houses, walls and fences on some of the four sides; returns their direction [rad]."""
    rng = layout.rng
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
                layout.put_wall(
                    float(px), float(py), yaw, length, "wall" if draw < 0.6 else "fence"
                )
            at += length + float(rng.choice([0.0, rng.uniform(1, 8)]))
    return turn


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
