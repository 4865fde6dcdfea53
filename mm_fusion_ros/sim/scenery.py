"""What stands around and is no object: buildings, walls, trees, poles and clutter.

Much of it is made to be mistaken: round bins and bollards for barrels, cabinets and planters for
boxes, clipped bushes and boulders for balls, small thujas for cones, containers for trucks, statues
for pedestrians, bicycles without a rider for cyclists. Posters carry every colour.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mm_fusion_ros.sim import shapes
from mm_fusion_ros.sim.mesh import Material, PartBuilder
from mm_fusion_ros.sim.palette import (
    Rgb,
    draw_any,
    draw_earthy,
    draw_foliage,
    draw_reflectivity,
    linear,
)
from mm_fusion_ros.sim.primitives import Primitive

Prop = Callable[[PartBuilder, int, np.random.Generator], None]


def tree(b: PartBuilder, f: int, rng: np.random.Generator) -> None:
    """A trunk under a few blobs of leaves, or a conifer."""
    height = rng.uniform(4.0, 11.0)
    girth = rng.uniform(0.18, 0.5)
    bark: Rgb = linear(*(np.array([0.42, 0.34, 0.27]) * rng.uniform(0.5, 1.2)))
    leaves, reflectivity = draw_foliage(rng), rng.uniform(0.15, 0.6)
    trunk = height * rng.uniform(0.25, 0.5)
    b.add(f, Primitive.POLE, (0, 0, trunk * 0.6), (girth, girth, trunk * 1.2), bark,
          Material.WOOD, taper=(0.7, 0.7, 0), reflectivity=rng.uniform(0.1, 0.4))  # fmt: skip
    if rng.random() < 0.2:
        spread = height * rng.uniform(0.3, 0.5)
        b.add(f, Primitive.CYLINDER, (0, 0, (height + trunk * 0.4) / 2),
              (spread, spread, height - trunk * 0.4), leaves, Material.FOLIAGE,
              taper=(0.05, 0.05, 0), reflectivity=reflectivity, phase=rng.random())  # fmt: skip
        return
    crown = height - trunk
    for _ in range(int(rng.integers(6, 12))):
        x, y = rng.normal(0, crown * 0.2, 2)
        size = crown * rng.uniform(0.4, 0.7)
        z = trunk + crown * rng.uniform(0.25, 0.8)
        b.add(f, Primitive.BLOB, (x, y, z), (size, size, size * 0.85), leaves, Material.FOLIAGE,
              lump=0.5, reflectivity=reflectivity, phase=rng.random())  # fmt: skip


def bush(b: PartBuilder, f: int, rng: np.random.Generator) -> None:
    """A ragged shrub."""
    leaves, reflectivity = draw_foliage(rng), rng.uniform(0.15, 0.6)
    size = rng.uniform(0.6, 1.8)
    for _ in range(int(rng.integers(1, 4))):
        x, y = rng.normal(0, size * 0.25, 2)
        each = size * rng.uniform(0.7, 1.0)
        b.add(f, Primitive.BLOB, (x, y, each * 0.4), (each, each, each * 0.9), leaves,
              Material.FOLIAGE, lump=0.5, reflectivity=reflectivity,
              phase=rng.random())  # fmt: skip


def clipped_bush(b: PartBuilder, f: int, rng: np.random.Generator) -> None:
    """A bush clipped to a ball: a ball's outline in leaves."""
    size = rng.uniform(0.45, 1.2)
    b.add(f, Primitive.SPHERE, (0, 0, size / 2), (size,) * 3, draw_foliage(rng), Material.FOLIAGE,
          lump=rng.uniform(0.0, 0.12), reflectivity=draw_reflectivity(rng),
          phase=rng.random())  # fmt: skip


def boulder(b: PartBuilder, f: int, rng: np.random.Generator) -> None:
    """A rounded stone."""
    size = rng.uniform(0.4, 1.1)
    b.add(f, Primitive.SPHERE, (0, 0, size * 0.42), (size, size * rng.uniform(0.8, 1), size * 0.9),
          draw_earthy(rng), Material.STONE, lump=rng.uniform(0.02, 0.25),
          reflectivity=draw_reflectivity(rng), phase=rng.random())  # fmt: skip


def thuja(b: PartBuilder, f: int, rng: np.random.Generator) -> None:
    """A small cone of leaves: a traffic cone's outline."""
    height = rng.uniform(0.5, 1.3)
    width = height * rng.uniform(0.35, 0.6)
    b.add(f, Primitive.CYLINDER, (0, 0, height / 2), (width, width, height), draw_foliage(rng),
          Material.FOLIAGE, taper=(0.15, 0.15, 0), reflectivity=draw_reflectivity(rng),
          phase=rng.random())  # fmt: skip


def round_bin(b: PartBuilder, f: int, rng: np.random.Generator) -> None:
    """A litter bin of upright slats: a barrel's outline."""
    radius, height = rng.uniform(0.22, 0.36), rng.uniform(0.7, 1.1)
    colour = draw_any(rng)
    b.add(f, Primitive.CYLINDER, (0, 0, height / 2), (2 * radius, 2 * radius, height), colour,
          Material.SLATS, reflectivity=draw_reflectivity(rng), phase=rng.random())  # fmt: skip
    b.add(f, Primitive.CYLINDER, (0, 0, height), (2 * radius + 0.04,) * 2 + (0.06,),
          (0.02, 0.02, 0.02), Material.PLAIN, reflectivity=draw_reflectivity(rng))  # fmt: skip


def bollard(b: PartBuilder, f: int, rng: np.random.Generator) -> None:
    """A short post, sometimes as thick as a barrel."""
    radius = rng.uniform(0.07, 0.3)
    height = rng.uniform(0.6, 1.1)
    b.add(f, Primitive.CYLINDER, (0, 0, height / 2), (2 * radius, 2 * radius, height),
          draw_any(rng) if rng.random() < 0.4 else draw_earthy(rng),
          Material.CONCRETE if rng.random() < 0.6 else Material.METAL,
          taper=(rng.uniform(0.8, 1.0),) * 2 + (0.0,), reflectivity=draw_reflectivity(rng),
          phase=rng.random())  # fmt: skip


def wheelie_bin(b: PartBuilder, f: int, rng: np.random.Generator) -> None:
    """A bin on two wheels with a lid."""
    colour = draw_any(rng)
    reflectivity = draw_reflectivity(rng)
    b.add(f, Primitive.BOX, (0, 0, 0.5), (0.5, 0.48, 0.95), colour, Material.PLAIN,
          taper=(1.2, 1.15, 0), reflectivity=reflectivity)  # fmt: skip
    b.add(f, Primitive.BOX, (0, 0, 1.02), (0.66, 0.6, 0.07), draw_any(rng), Material.PLAIN,
          reflectivity=reflectivity)  # fmt: skip
    b.add(f, Primitive.POLE, (-0.22, 0, 0.12), (0.24, 0.24, 0.56), (0.02, 0.02, 0.02),
          Material.RUBBER, roll=float(np.pi / 2), reflectivity=0.1)  # fmt: skip


def cabinet(b: PartBuilder, f: int, rng: np.random.Generator) -> None:
    """A street cabinet with a door and vents: a box's outline."""
    size = rng.uniform([0.45, 0.45, 0.5], [1.2, 1.2, 1.4])
    b.add(f, Primitive.BOX, (0, 0, size[2] / 2), tuple(size.tolist()), draw_any(rng),
          Material.CABINET, reflectivity=draw_reflectivity(rng), phase=rng.random())  # fmt: skip


def planter(b: PartBuilder, f: int, rng: np.random.Generator) -> None:
    """A wooden or stone trough with plants."""
    edge, height = rng.uniform(0.5, 1.1), rng.uniform(0.4, 0.7)
    wood = rng.random() < 0.5
    b.add(f, Primitive.BOX, (0, 0, height / 2), (edge, edge * rng.uniform(0.6, 1), height),
          draw_earthy(rng), Material.WOOD if wood else Material.STONE,
          reflectivity=draw_reflectivity(rng), phase=rng.random())  # fmt: skip
    b.add(f, Primitive.BLOB, (0, 0, height + 0.1), (edge, edge * 0.8, 0.6), draw_foliage(rng),
          Material.FOLIAGE, lump=0.4, reflectivity=0.4, phase=rng.random())  # fmt: skip


def pallets(b: PartBuilder, f: int, rng: np.random.Generator) -> None:
    """A stack of pallets."""
    for level in range(int(rng.integers(1, 8))):
        z = 0.145 * level
        b.add(f, Primitive.BOX, (0, 0, z + 0.11), (1.2, 0.8, 0.05), linear(0.7, 0.58, 0.42),
              Material.WOOD, reflectivity=0.45, phase=rng.random())  # fmt: skip
        for y in (-0.35, 0.0, 0.35):
            b.add(f, Primitive.BOX, (0, y, z + 0.045), (1.2, 0.1, 0.09), linear(0.55, 0.45, 0.33),
                  Material.WOOD, reflectivity=0.45)  # fmt: skip


def planks(b: PartBuilder, f: int, rng: np.random.Generator) -> None:
    """Boards lying about."""
    for index in range(int(rng.integers(2, 6))):
        b.add(f, Primitive.BOX, (rng.normal(0, 0.2), 0.22 * index - 0.4, 0.03 + 0.02 * index),
              (rng.uniform(1.0, 3.0), 0.2, 0.04), linear(0.72, 0.58, 0.4), Material.WOOD,
              yaw=rng.normal(0, 0.2), reflectivity=0.45, phase=rng.random())  # fmt: skip


def statue(b: PartBuilder, f: int, rng: np.random.Generator) -> None:
    """A stone figure or a post-box: a pedestrian's outline without one."""
    height = rng.uniform(1.4, 1.9)
    colour = draw_earthy(rng) if rng.random() < 0.6 else draw_any(rng)
    reflectivity = draw_reflectivity(rng)
    b.add(f, Primitive.BOX, (0, 0, height * 0.4), (0.35, 0.42, height * 0.8), colour,
          Material.STONE, taper=(0.8, 1.05, 0), reflectivity=reflectivity)  # fmt: skip
    b.add(f, Primitive.BLOB, (0, 0, height * 0.9), (0.24, 0.24, height * 0.2), colour,
          Material.STONE, reflectivity=reflectivity)  # fmt: skip


def container(b: PartBuilder, f: int, rng: np.random.Generator) -> None:
    """A shipping container or a skip."""
    length, height = rng.uniform(4.0, 8.0), rng.uniform(1.4, 2.7)
    b.add(f, Primitive.BOX, (0, 0, height / 2), (length, 2.4, height), draw_any(rng),
          Material.SLATS, reflectivity=draw_reflectivity(rng), phase=rng.random())  # fmt: skip


def parked_bicycle(b: PartBuilder, f: int, rng: np.random.Generator) -> None:
    """A bicycle that nobody rides."""
    shapes.bicycle(b, f, rng)


def bench(b: PartBuilder, f: int, rng: np.random.Generator) -> None:  # noqa: ARG001
    """A park bench; all are alike."""
    colour = linear(0.5, 0.38, 0.25)
    b.add(f, Primitive.BOX, (0, 0, 0.45), (1.6, 0.45, 0.06), colour, Material.WOOD)
    b.add(f, Primitive.BOX, (0, 0.22, 0.75), (1.6, 0.05, 0.4), colour, Material.WOOD)
    for x in (-0.6, 0.6):
        b.add(f, Primitive.BOX, (x, 0.05, 0.22), (0.08, 0.4, 0.44), (0.03,) * 3, Material.METAL)


def lamp_post(b: PartBuilder, f: int, rng: np.random.Generator) -> None:
    """A tall pole with an arm."""
    height, girth = rng.uniform(4.0, 8.0), rng.uniform(0.1, 0.22)
    level = rng.uniform(0.1, 0.6)
    colour = linear(level, level, level)
    b.add(f, Primitive.POLE, (0, 0, height / 2), (girth, girth, height), colour, Material.METAL,
          taper=(0.6, 0.6, 0), reflectivity=draw_reflectivity(rng))  # fmt: skip
    b.add(f, Primitive.BOX, (0.6, 0, height), (1.4, 0.12, 0.1), colour, Material.METAL)


def sign_post(b: PartBuilder, f: int, rng: np.random.Generator) -> None:
    """A pole with a traffic sign or a notice, retro-reflecting."""
    height = rng.uniform(1.8, 3.0)
    b.add(f, Primitive.POLE, (0, 0, height / 2), (0.07, 0.07, height), linear(0.5, 0.5, 0.5),
          Material.METAL)  # fmt: skip
    wide = rng.uniform(0.4, 0.9)
    kind, roll = (Primitive.BOX, 0.0) if rng.random() < 0.5 else (Primitive.CYLINDER, 0.0)
    pitch = float(np.pi / 2) if kind is Primitive.CYLINDER else 0.0
    size = (wide, wide, 0.03) if kind is Primitive.CYLINDER else (0.03, wide, wide)
    b.add(f, kind, (0.05, 0, height - wide / 2), size, draw_any(rng), Material.POSTER, pitch=pitch,
          roll=roll, accent=draw_any(rng), reflectivity=rng.uniform(0.5, 1.0),
          phase=rng.random())  # fmt: skip


def wall(b: PartBuilder, f: int, rng: np.random.Generator, length: float, height: float) -> None:
    """A free-standing wall along x, with posters on it."""
    brick = rng.random() < 0.5
    colour = linear(*(np.array([0.62, 0.33, 0.25]) * rng.uniform(0.7, 1.2))) if brick else (
        draw_earthy(rng)
    )  # fmt: skip
    material = Material.BRICK if brick else rng.choice([Material.CONCRETE, Material.PLASTER])
    b.add(f, Primitive.BOX, (0, 0, height / 2), (length, 0.25, height), colour, Material(material),
          reflectivity=rng.uniform(0.1, 0.6), phase=rng.random())  # fmt: skip
    posters(b, f, rng, length, height, 0.13)


def posters(
    b: PartBuilder, f: int, rng: np.random.Generator, length: float, height: float, out: float
) -> None:
    """Coloured signs on both sides of a wall along x whose half thickness is `out` [m]."""
    for _ in range(int(rng.poisson(length * 0.12))):
        wide, tall = rng.uniform(0.4, 1.6, 2)
        tall = min(tall, height * 0.8)
        x = rng.uniform(-0.45, 0.45) * length
        side = 1.0 if rng.random() < 0.5 else -1.0
        z = rng.uniform(tall / 2, max(tall / 2, height - tall / 2))
        b.add(f, Primitive.BOX, (x, side * out, z), (wide, 0.04, tall), draw_any(rng),
              Material.POSTER, accent=draw_any(rng), reflectivity=draw_reflectivity(rng),
              phase=rng.random())  # fmt: skip


def fence(b: PartBuilder, f: int, rng: np.random.Generator, length: float) -> None:
    """Posts with rails, boards or a hedge, along x."""
    style = rng.random()
    height = rng.uniform(0.9, 1.9)
    if style < 0.3:
        b.add(f, Primitive.BOX, (0, 0, height / 2), (length, rng.uniform(0.4, 0.9), height),
              draw_foliage(rng), Material.FOLIAGE, reflectivity=rng.uniform(0.2, 0.6),
              phase=rng.random())  # fmt: skip
        return
    colour, reflectivity = draw_earthy(rng), draw_reflectivity(rng)
    for x in np.arange(-length / 2, length / 2 + 0.1, 2.5):
        b.add(f, Primitive.BOX, (float(x), 0, height / 2), (0.1, 0.1, height), colour,
              Material.WOOD, reflectivity=reflectivity)  # fmt: skip
    if style < 0.6:
        b.add(f, Primitive.BOX, (0, 0, height / 2 + 0.05), (length, 0.03, height - 0.15), colour,
              Material.SLATS, reflectivity=reflectivity, phase=rng.random())  # fmt: skip
        return
    for z in np.linspace(0.25, height - 0.1, int(rng.integers(2, 5))):
        b.add(f, Primitive.BOX, (0, 0, float(z)), (length, 0.05, 0.1), colour, Material.WOOD,
              reflectivity=reflectivity)  # fmt: skip


def building(b: PartBuilder, f: int, rng: np.random.Generator, length: float, depth: float) -> None:
    """A house along x whose front is at y = 0 and body at y > 0."""
    height = rng.uniform(3.0, 14.0)
    roll = rng.random()
    material = Material.FACADE if roll < 0.75 else Material.BRICK
    colour = draw_earthy(rng)
    b.add(f, Primitive.BOX, (0, depth / 2, height / 2), (length, depth, height), colour, material,
          accent=draw_earthy(rng), reflectivity=rng.uniform(0.1, 0.6),
          phase=rng.random())  # fmt: skip
    if rng.random() < 0.5:
        b.add(f, Primitive.BOX, (0, depth / 2, height + 1.2), (length * 1.02, depth * 1.05, 2.4),
              linear(*(np.array([0.5, 0.3, 0.25]) * rng.uniform(0.4, 1.2))), Material.PLAIN,
              taper=(0.9, 0.05, 0))  # fmt: skip
    if rng.random() < 0.5:
        b.add(f, Primitive.BOX, (rng.uniform(-0.3, 0.3) * length, 0, 1.05), (1.1, 0.1, 2.1),
              draw_any(rng), Material.CABINET, reflectivity=draw_reflectivity(rng))  # fmt: skip
    posters(b, f, rng, length, 3.0, 0.03)


# name -> (builder, room it takes as a radius [m], how often).
PROPS: dict[str, tuple[Prop, float, float]] = {
    "tree": (tree, 1.2, 1.0),
    "bush": (bush, 1.0, 1.2),
    "clipped_bush": (clipped_bush, 0.7, 1.3),
    "boulder": (boulder, 0.6, 1.0),
    "thuja": (thuja, 0.5, 0.9),
    "round_bin": (round_bin, 0.5, 1.3),
    "bollard": (bollard, 0.4, 1.3),
    "wheelie_bin": (wheelie_bin, 0.6, 0.8),
    "cabinet": (cabinet, 0.8, 1.5),
    "planter": (planter, 0.8, 0.8),
    "pallets": (pallets, 0.9, 0.6),
    "planks": (planks, 1.6, 0.5),
    "statue": (statue, 0.4, 0.8),
    "container": (container, 4.2, 0.4),
    "parked_bicycle": (parked_bicycle, 0.9, 0.6),
    "bench": (bench, 1.0, 0.4),
    "lamp_post": (lamp_post, 0.5, 0.8),
    "sign_post": (sign_post, 0.5, 1.0),
}
