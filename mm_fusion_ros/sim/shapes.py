"""The eight object classes as parts: each builder fills one frame, x forward, z up from ground.

Every class has near twins among the scenery (`scenery.py`) with the same outline; what tells them
apart is pattern and colour, and that takes a camera.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from mm_fusion_ros.sim.mesh import Material, PartBuilder
from mm_fusion_ros.sim.palette import Rgb, draw_any, draw_reflectivity, linear
from mm_fusion_ros.sim.primitives import Primitive

Builder = Callable[[PartBuilder, int, np.random.Generator, Rgb], None]

_BLACK: Rgb = (0.015, 0.015, 0.016)
_GLASS: Rgb = (0.02, 0.025, 0.03)
_HALF_PI = float(np.pi / 2)

# Nominal footprint and height (length, width, height) [m], to keep room when placing.
FOOTPRINT: dict[str, tuple[float, float, float]] = {
    "car": (4.9, 2.1, 1.7),
    "truck": (8.5, 2.7, 3.4),
    "pedestrian": (0.9, 0.8, 1.8),
    "cyclist": (1.9, 0.8, 1.8),
    "cone": (0.5, 0.5, 0.7),
    "barrel": (0.7, 0.7, 1.0),
    "box": (1.0, 1.0, 1.0),
    "ball": (0.9, 0.9, 0.9),
}


def car(b: PartBuilder, f: int, rng: np.random.Generator, colour: Rgb) -> None:
    """Sedan, hatchback, van or sport-utility: painted body, dark glass, wheels, lamps, plates."""
    style = rng.choice(["sedan", "hatch", "van", "suv"], p=[0.35, 0.3, 0.15, 0.2])
    spans = {
        "sedan": (4.2, 5.0, 1.38, 1.52), "hatch": (3.5, 4.3, 1.42, 1.58),
        "van": (4.3, 5.2, 1.75, 2.05), "suv": (4.1, 4.9, 1.6, 1.8),
    }  # fmt: skip
    low_l, high_l, low_h, high_h = spans[style]
    length, height = rng.uniform(low_l, high_l), rng.uniform(low_h, high_h)
    width = rng.uniform(1.6, 1.9) + (0.08 if style in ("van", "suv") else 0.0)
    reflectivity = draw_reflectivity(rng)
    clearance = rng.uniform(0.16, 0.26)
    shoulder = height * rng.uniform(0.56, 0.63)
    painted = partial(b.add, reflectivity=reflectivity, phase=float(rng.random()))
    body = shoulder - clearance
    painted(f, Primitive.BOX, (0, 0, clearance + body * 0.3), (length, width, body * 0.6),
          colour, Material.PAINT)  # fmt: skip
    painted(f, Primitive.BOX, (0, 0, clearance + body * 0.8), (length * 0.985, width, body * 0.4),
          colour, Material.PAINT, taper=(0.94, 0.93, 0.0))  # fmt: skip
    cabins = {  # length of the cabin, its middle, top scale along x, shift of the top
        "sedan": (0.58, -0.06, 0.56, 0.0), "hatch": (0.64, -0.13, 0.68, -0.05),
        "van": (0.86, -0.05, 0.82, -0.06), "suv": (0.68, -0.12, 0.74, -0.06),
    }  # fmt: skip
    share, middle, top, shift = cabins[style]
    cabin, x = length * share * rng.uniform(0.95, 1.05), length * middle
    glass_height = height - shoulder - 0.05
    z = shoulder + glass_height / 2
    b.add(f, Primitive.BOX, (x, 0, z), (cabin, width * 0.91, glass_height), _GLASS,
          Material.GLASS, taper=(top, 0.84, shift), reflectivity=0.08)  # fmt: skip
    roof_x = x + shift * cabin
    painted(f, Primitive.BOX, (roof_x, 0, height - 0.035),
          (cabin * top * 1.03, width * 0.91 * 0.86, 0.07), colour, Material.PAINT,
          taper=(0.95, 0.93, 0.0))  # fmt: skip
    # Pillars follow the leaning sides as thin boxes across the cabin, a shade wider than it.
    for place, thick in ((rng.uniform(-0.02, 0.08), 0.09), (-0.42, 0.14)):
        painted(f, Primitive.BOX, (x + place * cabin * (0.5 + top / 2), 0, z),
              (thick, width * 0.925, glass_height), colour, Material.PAINT,
              taper=(1.0, 0.84, 0.3 * shift))  # fmt: skip
    radius = rng.uniform(0.29, 0.36)
    axle = length * rng.uniform(0.28, 0.31)
    rim = draw_any(rng) if rng.random() < 0.2 else linear(0.6, 0.6, 0.62)
    for sx in (-1.0, 1.0):
        for sy in (-1.0, 1.0):
            y = sy * (width / 2 - 0.10)
            b.add(f, Primitive.POLE, (sx * axle, y, radius), (2 * radius, 2 * radius, 0.2),
                  _BLACK, Material.RUBBER, roll=_HALF_PI, reflectivity=0.08)  # fmt: skip
            b.add(f, Primitive.POLE, (sx * axle, y + sy * 0.012, radius),
                  (1.2 * radius, 1.2 * radius, 0.2), rim, Material.METAL, roll=_HALF_PI,
                  reflectivity=0.3)  # fmt: skip
    lamp_z = clearance + body * rng.uniform(0.58, 0.75)
    for sy in (-1.0, 1.0):
        y = sy * width * 0.37
        b.add(f, Primitive.BOX, (length / 2 - 0.03, y, lamp_z), (0.08, width * 0.17, 0.13),
              linear(0.9, 0.9, 0.85), Material.LAMP, reflectivity=0.5)  # fmt: skip
        b.add(f, Primitive.BOX, (-length / 2 + 0.03, y, lamp_z + 0.06), (0.08, width * 0.15, 0.16),
              linear(0.7, 0.03, 0.03), Material.LAMP, reflectivity=0.7)  # fmt: skip
        painted(f, Primitive.BOX, (x + cabin * 0.34, sy * (width / 2 - 0.02), shoulder + 0.06),
              (0.14, 0.14, 0.12), colour, Material.PAINT)  # fmt: skip
    dark = rng.random() < 0.6
    for sx in (-1.0, 1.0):
        b.add(f, Primitive.BOX, (sx * (length / 2 - 0.02), 0, clearance + body * 0.2),
              (0.08, width * 0.96, body * 0.24), _BLACK if dark else colour, Material.PLAIN,
              reflectivity=0.15 if dark else reflectivity)  # fmt: skip
        b.add(f, Primitive.BOX, (sx * (length / 2 + 0.01), 0, clearance + body * 0.36),
              (0.04, 0.5, 0.12), linear(0.95, 0.95, 0.9), Material.PLAIN,
              reflectivity=0.98)  # fmt: skip


def truck(b: PartBuilder, f: int, rng: np.random.Generator, colour: Rgb) -> None:
    """A cab and a cargo box (or a tipper's low bed), both painted."""
    length, width = rng.uniform(5.5, 10.5), rng.uniform(2.1, 2.55)
    height = rng.uniform(2.6, 3.8)
    reflectivity = draw_reflectivity(rng)
    painted = partial(b.add, reflectivity=reflectivity, phase=float(rng.random()))
    cab_length = rng.uniform(1.7, 2.4)
    cab_height = min(height, rng.uniform(2.3, 3.0))
    floor = rng.uniform(0.55, 0.95)
    cab_x = length / 2 - cab_length / 2
    half = (cab_height - floor) * 0.5
    painted(f, Primitive.BOX, (cab_x, 0, floor + half / 2), (cab_length, width * 0.96, half),
          colour, Material.PAINT)  # fmt: skip
    painted(f, Primitive.BOX, (cab_x, 0, floor + half * 1.5), (cab_length, width * 0.96, half),
          colour, Material.PAINT, taper=(0.86, 0.95, -0.07))  # fmt: skip
    b.add(f, Primitive.BOX, (length / 2 - 0.07, 0, floor + half * 1.42),
          (0.12, width * 0.84, half * 0.66), _GLASS, Material.GLASS, taper=(1, 0.95, -0.6),
          reflectivity=0.08)  # fmt: skip
    b.add(f, Primitive.BOX, (cab_x + 0.1, 0, floor + half * 1.4),
          (cab_length * 0.5, width * 0.98, half * 0.5), _GLASS, Material.GLASS,
          reflectivity=0.08)  # fmt: skip
    bed = length - cab_length - 0.15
    bed_x = -length / 2 + bed / 2
    deck = floor + 0.2
    if rng.random() < 0.7:
        painted(f, Primitive.BOX, (bed_x, 0, (deck + height) / 2), (bed, width, height - deck),
              colour, Material.PAINT)  # fmt: skip
        if rng.random() < 0.5:
            b.add(f, Primitive.BOX, (bed_x, 0, (deck + height) / 2),
                  (bed * rng.uniform(0.3, 0.6), width + 0.02, (height - deck) * 0.25),
                  draw_any(rng), Material.POSTER, reflectivity=reflectivity,
                  accent=draw_any(rng), phase=float(rng.random()))  # fmt: skip
    else:
        rail = rng.uniform(0.5, 1.0)
        painted(f, Primitive.BOX, (bed_x, 0, deck + rail / 2), (bed, width, rail), colour,
              Material.PAINT)  # fmt: skip
        b.add(f, Primitive.BOX, (bed_x, 0, deck + rail), (bed * 0.9, width * 0.9, 0.3),
              linear(0.45, 0.38, 0.3), Material.DIRT, reflectivity=0.25,
              taper=(0.7, 0.6, 0))  # fmt: skip
    b.add(f, Primitive.BOX, (-0.1, 0, floor * 0.85), (length * 0.96, width * 0.5, 0.3), _BLACK,
          Material.PLAIN, reflectivity=0.12)  # fmt: skip
    radius = rng.uniform(0.42, 0.52)
    axles = [cab_x, -length * 0.30] + ([-length * 0.30 + 2.2 * radius + 0.1] * (length > 7.5))
    for x in axles:
        for sy in (-1.0, 1.0):
            b.add(f, Primitive.CYLINDER, (x, sy * (width / 2 - 0.17), radius),
                  (2 * radius, 2 * radius, 0.3), _BLACK, Material.RUBBER, roll=_HALF_PI,
                  reflectivity=0.08)  # fmt: skip
    for sy in (-1.0, 1.0):
        b.add(f, Primitive.BOX, (length / 2, sy * width * 0.36, floor + 0.2), (0.06, 0.3, 0.2),
              linear(0.9, 0.9, 0.85), Material.LAMP, reflectivity=0.5)  # fmt: skip
        b.add(f, Primitive.BOX, (-length / 2, sy * width * 0.4, floor + 0.15), (0.06, 0.2, 0.2),
              linear(0.7, 0.03, 0.03), Material.LAMP, reflectivity=0.8)  # fmt: skip
    b.add(f, Primitive.BOX, (length / 2, 0, floor * 0.8), (0.1, width * 0.94, 0.35), _BLACK,
          Material.PLAIN, reflectivity=0.15)  # fmt: skip


def _person(
    b: PartBuilder,
    f: int,
    rng: np.random.Generator,
    colour: Rgb,
    base: float,
    height: float,
    lean: float,
    sitting: bool,
) -> None:
    """Legs, torso, arms and head; `base` is where the feet (or the saddle's feet) are [m]."""
    cloth, trousers = draw_reflectivity(rng), draw_reflectivity(rng)
    legs: Rgb = linear(*(rng.uniform(0.05, 0.45, 3) if rng.random() < 0.8 else rng.random(3)))
    skin = linear(*(np.array([0.85, 0.65, 0.53]) * rng.uniform(0.35, 1.05)).clip(0, 1))
    build = rng.uniform(0.85, 1.2)
    leg, torso = height * 0.47, height * 0.34
    stride = rng.uniform(0.0, 0.5)
    swing = stride if rng.random() < 0.7 else 0.05
    hip = base + leg * np.cos(swing)
    for side, pitch in ((-1.0, swing), (1.0, -swing)):
        if sitting:
            pitch = -0.75 if side > 0 else -0.25
        middle = (-np.sin(pitch) * leg / 2, side * 0.09 * build, hip - np.cos(pitch) * leg / 2)
        b.add(f, Primitive.BOX, middle, (0.15 * build, 0.14 * build, leg), legs, Material.CLOTH,
              pitch=pitch, taper=(1.15, 1.15, 0), reflectivity=trousers)  # fmt: skip
    lift = hip + torso / 2 * np.cos(lean) - 0.02
    forward = np.sin(lean) * torso / 2
    b.add(f, Primitive.BOX, (forward, 0, lift), (0.23 * build, 0.36 * build, torso), colour,
          Material.CLOTH, pitch=lean, taper=(1.05, 1.2, 0), reflectivity=cloth,
          phase=float(rng.random()))  # fmt: skip
    shoulder_x, shoulder_z = 2 * forward, hip + torso * np.cos(lean) - 0.05
    arm = height * 0.33
    for side, pitch in ((-1.0, -swing), (1.0, swing)):
        pitch = -0.9 if sitting else pitch * 1.1
        middle = (
            shoulder_x - np.sin(pitch) * arm / 2,
            side * 0.25 * build,
            shoulder_z - np.cos(pitch) * arm / 2,
        )
        b.add(f, Primitive.BOX, middle, (0.1, 0.1, arm), colour, Material.CLOTH, pitch=pitch,
              reflectivity=cloth)  # fmt: skip
    head = height * 0.15
    top = shoulder_z + 0.04 + head / 2
    b.add(f, Primitive.BLOB, (shoulder_x + 0.03, 0, top), (0.19, 0.17, head), skin,
          Material.PLAIN, reflectivity=0.4)  # fmt: skip
    helmet = sitting and rng.random() < 0.6
    hair = draw_any(rng) if helmet else linear(*(rng.random() * np.array([0.5, 0.4, 0.3])))
    b.add(f, Primitive.BLOB, (shoulder_x + 0.01, 0, top + head * 0.18),
          (0.23, 0.2, head * (0.85 if helmet else 0.72)), hair, Material.PLAIN,
          reflectivity=0.2)  # fmt: skip
    if not sitting and rng.random() < 0.3:
        b.add(f, Primitive.BOX, (-0.2, 0, hip + torso * 0.55), (0.16, 0.28, torso * 0.7),
              draw_any(rng), Material.CLOTH, reflectivity=draw_reflectivity(rng))  # fmt: skip


def pedestrian(b: PartBuilder, f: int, rng: np.random.Generator, colour: Rgb) -> None:
    """A person standing or in stride; the colour is that of the upper clothes."""
    _person(b, f, rng, colour, 0.0, rng.uniform(1.5, 1.95), rng.uniform(0.0, 0.08), False)


def bicycle(b: PartBuilder, f: int, rng: np.random.Generator) -> None:
    """Two wheels, a frame and handlebars."""
    frame = draw_any(rng)
    radius = rng.uniform(0.31, 0.36)
    wheelbase = rng.uniform(1.0, 1.12)
    metallic = partial(b.add, reflectivity=draw_reflectivity(rng))
    for sx in (-1.0, 1.0):
        x = sx * wheelbase / 2
        b.add(f, Primitive.CYLINDER, (x, 0, radius), (2 * radius, 2 * radius, 0.045), _BLACK,
              Material.RUBBER, roll=_HALF_PI, reflectivity=0.1)  # fmt: skip
        b.add(f, Primitive.CYLINDER, (x, 0, radius), (1.7 * radius, 1.7 * radius, 0.05),
              linear(0.45, 0.45, 0.47), Material.METAL, roll=_HALF_PI,
              reflectivity=0.15)  # fmt: skip
    top = radius + 0.52
    metallic(f, Primitive.BOX, (0.05, 0, top - 0.1), (0.72, 0.05, 0.05), frame,
             Material.PAINT)  # fmt: skip
    metallic(f, Primitive.BOX, (-0.12, 0, radius + 0.25), (0.05, 0.05, 0.62), frame,
             Material.PAINT, pitch=-0.25)  # fmt: skip
    metallic(f, Primitive.BOX, (0.16, 0, radius + 0.18), (0.70, 0.05, 0.05), frame, Material.PAINT,
          pitch=-0.75)  # fmt: skip
    metallic(f, Primitive.BOX, (wheelbase / 2 - 0.1, 0, radius + 0.35), (0.05, 0.05, 0.8), frame,
          Material.PAINT, pitch=-0.28)  # fmt: skip
    metallic(f, Primitive.BOX, (wheelbase / 2 - 0.2, 0, top + 0.18), (0.05, 0.55, 0.05), _BLACK,
          Material.METAL)  # fmt: skip
    b.add(f, Primitive.BOX, (-0.22, 0, top + 0.06), (0.26, 0.13, 0.07), _BLACK,
          Material.PLAIN, reflectivity=0.2)  # fmt: skip


def cyclist(b: PartBuilder, f: int, rng: np.random.Generator, colour: Rgb) -> None:
    """A rider on a bicycle; the colour is that of the rider's top."""
    bicycle(b, f, rng)
    rider = rng.uniform(1.55, 1.85)
    _person(b, f, rng, colour, 0.92 - 0.47 * rider + 0.02, rider, rng.uniform(0.25, 0.7), True)


def cone(b: PartBuilder, f: int, rng: np.random.Generator, colour: Rgb) -> None:
    """A traffic cone with a bright stripe on a dark foot."""
    height = rng.uniform(0.45, 1.0)
    foot = height * rng.uniform(0.5, 0.62)
    stripe = _stripe_for(colour)
    b.add(f, Primitive.BOX, (0, 0, 0.025), (foot, foot, 0.05), _BLACK, Material.RUBBER,
          reflectivity=0.12)  # fmt: skip
    b.add(f, Primitive.CYLINDER, (0, 0, height / 2 + 0.02), (foot * 0.78, foot * 0.78, height),
          colour, Material.CONE, taper=(0.16, 0.16, 0), accent=stripe,
          reflectivity=draw_reflectivity(rng), phase=float(rng.random()))  # fmt: skip


def barrel(b: PartBuilder, f: int, rng: np.random.Generator, colour: Rgb) -> None:
    """A steel drum with ribs and a rim."""
    radius, height = rng.uniform(0.26, 0.36), rng.uniform(0.75, 1.1)
    reflectivity = draw_reflectivity(rng)
    phase = float(rng.random())
    b.add(f, Primitive.CYLINDER, (0, 0, height / 2), (2 * radius, 2 * radius, height), colour,
          Material.BARREL, reflectivity=reflectivity, phase=phase)  # fmt: skip
    for share in (0.34, 0.66, 0.98):
        b.add(f, Primitive.CYLINDER, (0, 0, height * share), (2 * radius + 0.03,) * 2 + (0.035,),
              colour, Material.METAL, reflectivity=reflectivity)  # fmt: skip


def box(b: PartBuilder, f: int, rng: np.random.Generator, colour: Rgb) -> None:
    """A crate, nearly a cube, with tape across and darker edges."""
    edge = rng.uniform(0.45, 1.15)
    size = tuple(float(edge * s) for s in rng.uniform(0.92, 1.08, 3))
    b.add(f, Primitive.BOX, (0, 0, size[2] / 2), (size[0], size[1], size[2]), colour,
          Material.CARTON, accent=_stripe_for(colour), reflectivity=draw_reflectivity(rng),
          phase=float(rng.random()))  # fmt: skip


def ball(b: PartBuilder, f: int, rng: np.random.Generator, colour: Rgb) -> None:
    """A glossy ball with panel seams."""
    diameter = rng.uniform(0.4, 1.15)
    b.add(f, Primitive.SPHERE, (0, 0, diameter / 2), (diameter,) * 3, colour, Material.BALL,
          accent=_stripe_for(colour), reflectivity=draw_reflectivity(rng),
          yaw=float(rng.uniform(0, 6.28)), roll=float(rng.uniform(0, 6.28)),
          phase=float(rng.random()))  # fmt: skip


def _stripe_for(colour: Rgb) -> Rgb:
    """White on what is coloured or dark, dark on what is white: the stripe names no colour."""
    return (0.03, 0.03, 0.03) if min(colour) > 0.5 else (0.75, 0.75, 0.75)


BUILDERS: dict[str, Builder] = {
    "car": car,
    "truck": truck,
    "pedestrian": pedestrian,
    "cyclist": cyclist,
    "cone": cone,
    "barrel": barrel,
    "box": box,
    "ball": ball,
}
