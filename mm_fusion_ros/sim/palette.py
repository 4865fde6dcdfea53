"""Named colours and surface reflectances, in linear light.

Each name has a region of hue, saturation and value of its own and no two regions touch: what
makes a colour hard to name is the light that falls on it, not the paint. Laser reflectivity is
drawn here too, from a distribution that does not know the colour.
"""

from __future__ import annotations

import colorsys

import numpy as np

Rgb = tuple[float, float, float]

# name -> (hue low, high [degrees], saturation low, high, value low, high), of sRGB.
REGIONS: dict[str, tuple[float, float, float, float, float, float]] = {
    "red": (-8.0, 7.0, 0.78, 1.0, 0.45, 0.85),
    "orange": (20.0, 31.0, 0.82, 1.0, 0.82, 1.0),
    "yellow": (47.0, 60.0, 0.70, 1.0, 0.80, 1.0),
    "green": (95.0, 155.0, 0.50, 1.0, 0.30, 0.70),
    "blue": (203.0, 237.0, 0.60, 1.0, 0.35, 0.85),
    "purple": (268.0, 300.0, 0.45, 0.9, 0.35, 0.75),
    "white": (0.0, 360.0, 0.0, 0.05, 0.88, 0.98),
    "black": (0.0, 360.0, 0.0, 0.15, 0.04, 0.14),
    "grey": (0.0, 360.0, 0.0, 0.06, 0.38, 0.60),
}


def linear(red: float, green: float, blue: float) -> Rgb:
    """Linear reflectance of an sRGB colour, 0..1 each."""
    return (red**2.2, green**2.2, blue**2.2)


def draw_colour(name: str, rng: np.random.Generator) -> Rgb:
    """A linear reflectance inside the region of a named colour.

    Raises:
        KeyError: no such colour.
    """
    low_hue, high_hue, low_s, high_s, low_v, high_v = REGIONS[name]
    draw = rng.random(3)
    hue = (low_hue + draw[0] * (high_hue - low_hue)) % 360.0
    red, green, blue = colorsys.hsv_to_rgb(
        hue / 360.0, low_s + draw[1] * (high_s - low_s), low_v + draw[2] * (high_v - low_v)
    )
    floor = 0.006
    r, g, b = linear(red, green, blue)
    return (r + floor, g + floor, b + floor)


def draw_any(rng: np.random.Generator) -> Rgb:
    """A linear reflectance of any hue, for what is no object: signs, bins, clothes."""
    if rng.random() < 0.45:
        level = 0.1 + 0.8 * rng.random()
        return linear(level, level, level)
    hue, saturation, value = rng.random(), 0.3 + 0.7 * rng.random(), 0.25 + 0.7 * rng.random()
    return linear(*colorsys.hsv_to_rgb(hue, saturation, value))


def draw_earthy(rng: np.random.Generator) -> Rgb:
    """A linear reflectance of stone, plaster, brick or soil."""
    hue, saturation = rng.uniform(0.0, 0.14), rng.uniform(0.02, 0.45)
    return linear(*colorsys.hsv_to_rgb(hue, saturation, rng.uniform(0.35, 0.9)))


def draw_foliage(rng: np.random.Generator) -> Rgb:
    """A linear reflectance of leaves; now and then an autumn tree or a flowering bush."""
    if rng.random() < 0.15:
        hue = rng.choice([0.0, 0.08, 0.13, 0.8, 0.6])
        return linear(*colorsys.hsv_to_rgb(hue, rng.uniform(0.4, 0.8), rng.uniform(0.3, 0.7)))
    hue, saturation = rng.uniform(0.17, 0.36), rng.uniform(0.35, 0.8)
    return linear(*colorsys.hsv_to_rgb(hue, saturation, rng.uniform(0.2, 0.5)))


def draw_reflectivity(rng: np.random.Generator) -> float:
    """Laser reflectivity 0..1 of a coated or clothed thing: wide, and blind to colour."""
    return min(max(float(rng.beta(1.6, 2.6)), 0.04), 0.95)
