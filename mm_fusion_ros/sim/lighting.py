"""Sun, shade and dusk."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mm_fusion_ros.sim.palette import Rgb

LIGHTS = ("sun", "shade", "dusk")


@dataclass(frozen=True)
class Lighting:
    """The light of a world, in linear units where a sunlit white wall is about 1.

    Attributes:
        name: "sun", "shade" or "dusk".
        sun_direction: unit, map, towards the sun (in shade and dusk: where most light comes from).
        sun: radiance of the direct light; zero without shadows of a sun.
        ambient: light from the whole sky.
        zenith, horizon: colours of the sky.
        exposure: mean level that the camera's automatic exposure aims at, 0..1 linear.
        noise: sigma of the sensor noise at full gain, 0..1 of the tone-mapped image.
        haze_m: distance at which haze takes 63 % of the contrast [m].
        cloud: 0..1, how much cloud pattern the sky has.
        occlusion: 0..1, how much the sky's light is lost under and beside things.
    """

    name: str
    sun_direction: tuple[float, float, float]
    sun: Rgb
    ambient: Rgb
    zenith: Rgb
    horizon: Rgb
    exposure: float
    noise: float
    haze_m: float
    cloud: float
    occlusion: float


def draw_lighting(name: str, rng: np.random.Generator) -> Lighting:
    """The light of that name, or of any.

    Raises:
        ValueError: no such lighting.
    """
    if name == "any":
        name = str(rng.choice(LIGHTS, p=[0.5, 0.3, 0.2]))
    azimuth = rng.uniform(-np.pi, np.pi)
    warm = rng.uniform(0.0, 1.0)
    if name == "sun":
        elevation = np.radians(rng.uniform(18.0, 68.0))
        strength = rng.uniform(0.75, 1.15)
        sun = (strength, strength * (0.97 - 0.12 * warm), strength * (0.92 - 0.3 * warm))
        level = rng.uniform(0.16, 0.38)
        ambient = (level * 0.85, level * 0.97, level * 1.15)
        zenith, horizon = (0.22, 0.42, 0.85), (0.70, 0.80, 0.92)
        exposure, noise = rng.uniform(0.15, 0.46), rng.uniform(0.004, 0.015)
        haze, cloud, occlusion = rng.uniform(300.0, 2000.0), rng.uniform(0.0, 0.8), 0.0
    elif name == "shade":
        elevation = np.radians(rng.uniform(40.0, 75.0))
        sun = (0.0, 0.0, 0.0)
        level = rng.uniform(0.35, 0.6)
        ambient = (level * (0.92 + 0.1 * warm), level, level * (1.1 - 0.15 * warm))
        grey = rng.uniform(0.5, 0.9)
        zenith, horizon = (grey * 0.9, grey * 0.95, grey), (grey, grey, grey)
        exposure, noise = rng.uniform(0.13, 0.32), rng.uniform(0.006, 0.02)
        haze, cloud, occlusion = rng.uniform(120.0, 900.0), rng.uniform(0.2, 1.0), 0.75
    elif name == "dusk":
        elevation = np.radians(rng.uniform(25.0, 60.0))
        sun = (0.0, 0.0, 0.0)
        level = rng.uniform(0.06, 0.16)
        ambient = (
            level * (0.85 + 0.55 * warm), level * (0.9 + 0.05 * warm), level * (1.2 - 0.5 * warm)
        )  # fmt: skip
        glow = rng.uniform(0.15, 0.4)
        zenith = (glow * 0.3, glow * 0.4, glow * 0.8)
        horizon = (glow * (0.6 + 0.9 * warm), glow * (0.6 + 0.2 * warm), glow * 0.7)
        exposure, noise = rng.uniform(0.035, 0.13), rng.uniform(0.02, 0.045)
        haze, cloud, occlusion = rng.uniform(150.0, 900.0), rng.uniform(0.2, 1.0), 0.7
    else:
        raise ValueError(f"lighting {name!r}: expected 'sun', 'shade', 'dusk' or 'any'")
    cosine = np.cos(elevation)
    direction = (
        float(cosine * np.cos(azimuth)), float(cosine * np.sin(azimuth)), float(np.sin(elevation))
    )  # fmt: skip
    return Lighting(
        name, direction, sun, ambient, zenith, horizon, float(exposure), float(noise), float(haze),
        float(cloud), float(occlusion),
    )  # fmt: skip
