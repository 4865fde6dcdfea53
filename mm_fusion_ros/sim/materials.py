"""Procedural surfaces: what a camera sees of a material, and what a laser gets back.

Patterns are functions of the place on the part, so that they stay on the thing as it moves and
need no texture files. Each fades out where a pixel covers more than its period, as an image's
own optics would have it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros.sim.mesh import Material
from mm_fusion_ros.sim.primitives import Array

_ATLAS = 512

# Texture cells per metre, contrast of the coarse and of the fine noise, gloss 0..1.
_LOOK: dict[Material, tuple[float, float, float, float]] = {
    Material.PLAIN: (40.0, 0.08, 0.06, 0.1),
    Material.PAINT: (20.0, 0.05, 0.01, 0.6),
    Material.GLASS: (20.0, 0.05, 0.0, 1.0),
    Material.RUBBER: (60.0, 0.10, 0.10, 0.0),
    Material.CLOTH: (60.0, 0.20, 0.14, 0.0),
    Material.ASPHALT: (30.0, 0.12, 0.22, 0.0),
    Material.GRASS: (40.0, 0.45, 0.45, 0.0),
    Material.CONCRETE: (24.0, 0.18, 0.10, 0.0),
    Material.PAVING: (30.0, 0.18, 0.12, 0.0),
    Material.BRICK: (30.0, 0.20, 0.15, 0.0),
    Material.PLASTER: (20.0, 0.12, 0.08, 0.0),
    Material.FACADE: (16.0, 0.12, 0.06, 0.0),
    Material.WOOD: (30.0, 0.30, 0.20, 0.0),
    Material.FOLIAGE: (50.0, 0.75, 0.60, 0.0),
    Material.METAL: (40.0, 0.12, 0.05, 0.5),
    Material.CONE: (50.0, 0.06, 0.03, 0.1),
    Material.BARREL: (40.0, 0.15, 0.06, 0.3),
    Material.CARTON: (50.0, 0.14, 0.08, 0.0),
    Material.BALL: (40.0, 0.05, 0.02, 0.7),
    Material.POSTER: (40.0, 0.05, 0.03, 0.1),
    Material.DIRT: (30.0, 0.28, 0.30, 0.0),
    Material.SLATS: (40.0, 0.14, 0.06, 0.1),
    Material.LAMP: (20.0, 0.02, 0.0, 0.8),
    Material.CABINET: (40.0, 0.10, 0.05, 0.1),
    Material.STONE: (50.0, 0.45, 0.30, 0.0),
    Material.CHEQUERED: (40.0, 0.08, 0.04, 0.1),
}
LOOK = np.array([_LOOK[material] for material in Material], np.float32)

# Share of pulses that a surface swallows or lets through, whatever the range.
DROPOUT = np.zeros(len(Material), np.float32)
DROPOUT[Material.GLASS] = 0.8
DROPOUT[Material.FOLIAGE] = 0.12
DROPOUT[Material.METAL] = 0.05
DROPOUT[Material.PAINT] = 0.03
DROPOUT[Material.RUBBER] = 0.05


@dataclass(frozen=True, eq=False)
class Hits:
    """Where rays met surfaces; the last axis is the ray, so that every row is contiguous.

    Attributes:
        place: (3, N) float32, in the part [m].
        plane: (2, N) float32, along the face in the part [m].
        axis: (N,) int8, the part's axis that the face looks along.
        footprint: (N,) float32, what a pixel covers there [m].
        noise: (3, N) float32, about -1..1: coarse, fine, blotches.
        size: (3, N or 1) float32, of the part [m].
        phase: (N or 1,) float32, 0..1, of the part.
        accent: (3, N or 1) float32, linear.
    """

    place: Array
    plane: Array
    axis: NDArray[np.int8]
    footprint: Array
    noise: Array
    size: Array
    phase: Array
    accent: Array


@lru_cache(maxsize=1)
def noise_atlas() -> Array:
    """(512, 512, 3) float32, seamless noise of about unit range: coarse, fine, blotches."""
    rng = np.random.default_rng(7)
    layers = []
    for weights in (
        ((64, 0.35), (24, 0.35), (8, 0.3)), ((3, 0.6), (1, 0.4)), ((90, 0.6), (40, 0.4)),
    ):  # fmt: skip
        total = np.zeros((_ATLAS, _ATLAS), np.float32)
        for blur, weight in weights:
            white = rng.standard_normal((_ATLAS, _ATLAS)).astype(np.float32)
            spectrum = np.fft.rfft2(white)
            fy, fx = np.fft.fftfreq(_ATLAS)[:, None], np.fft.rfftfreq(_ATLAS)[None]
            spectrum *= np.exp(-2 * (np.pi * blur / 2.5) ** 2 * (fx**2 + fy**2))
            smooth = np.fft.irfft2(spectrum, s=white.shape)
            total += weight * (smooth / smooth.std()).astype(np.float32)
        layers.append(np.clip(total / total.std() / 2.0, -1.2, 1.2))
    return np.ascontiguousarray(np.stack(layers, axis=-1), dtype=np.float32)


def noise_at(plane: Array, scale: np.float32, phase: Array) -> Array:
    """Noise (3, N) at places on faces.

    Args:
        plane: (2, N) float32 [m]; N below 32768.
        scale: cells a metre.
        phase: (N,) or (1,) float32, shifts the pattern.
    """
    u = plane[0] * scale + phase * np.float32(373.0)
    v = plane[1] * scale + phase * np.float32(211.0)
    u -= np.floor(u * np.float32(1 / _ATLAS)) * np.float32(_ATLAS)
    v -= np.floor(v * np.float32(1 / _ATLAS)) * np.float32(_ATLAS)
    sampled = cv2.remap(
        noise_atlas(), u[None], v[None], cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP
    )
    return np.concatenate(cv2.split(sampled))


def _fade(hits: Hits, period: float) -> Array:
    """1 where a pattern of that period [m] is resolved, 0 where a pixel covers it."""
    result: Array = np.clip(period / (2.0 * hits.footprint + 1e-6) - 0.4, 0.0, 1.0)
    return result


def _scaled(albedo: Array, factor: NDArray[Any]) -> Array:
    result: Array = albedo * factor
    return result


def _mix(albedo: Array, other: Array, weight: NDArray[Any]) -> Array:
    """From one colour (3, N) towards another, (3, N) or (3, 1)."""
    result: Array = albedo + (other - albedo) * weight
    return result


def _lines(values: Array, period: float, width: float) -> Array:
    """1 on lines of a width [m] that repeat with a period [m]."""
    result: Array = ((values % period) < width).astype(np.float32)
    return result


def _paving(albedo: Array, hits: Hits) -> Array:
    period = 0.4
    rows = np.floor(hits.plane[1] / period)
    joint = np.maximum(
        _lines(hits.plane[0] + rows * 0.5 * period, 2 * period, 0.025),
        _lines(hits.plane[1], period, 0.025),
    )
    return _scaled(albedo, 1 - 0.45 * joint * _fade(hits, period * 0.5))


def _brick(albedo: Array, hits: Hits) -> Array:
    course = 0.075 * 2
    rows = np.floor(hits.plane[1] / course)
    joint = np.maximum(
        _lines(hits.plane[0] + rows * 0.15, 0.3, 0.02), _lines(hits.plane[1], course, 0.02)
    )
    tone = np.sin(rows * 12.9 + np.floor((hits.plane[0] + rows * 0.15) / 0.3) * 78.2)
    shaded = _scaled(albedo, 1 + 0.18 * tone * _fade(hits, course))
    return _mix(shaded, np.full((3, 1), 0.38, np.float32), 0.6 * joint * _fade(hits, course))


def _facade(albedo: Array, hits: Hits) -> Array:
    period = 1.8 + 1.8 * hits.phase
    floor = 2.7 + 0.6 * hits.phase
    across = (hits.plane[0] / period + 0.5) % 1.0
    up = ((hits.place[2] + hits.size[2] / 2) / floor) % 1.0
    half = 0.16 + 0.14 * ((hits.phase * 7.0) % 1.0)
    frame = (np.abs(across - 0.5) < half + 0.03) & (np.abs(up - 0.55) < 0.27)
    window = (np.abs(across - 0.5) < half) & (np.abs(up - 0.55) < 0.24)
    side = (hits.axis != 2).astype(np.float32)
    lit = _mix(albedo, hits.accent, frame * side)
    return _mix(lit, np.array([[0.03], [0.035], [0.045]], np.float32), window * side)


def _wood(albedo: Array, hits: Hits) -> Array:
    joint = _lines(hits.place[1] + hits.place[2], 0.14, 0.012)
    return _scaled(albedo, 1 - 0.5 * joint * _fade(hits, 0.07))


def _slats(albedo: Array, hits: Hits) -> Array:
    around = np.where(hits.axis == 0, hits.place[1], hits.place[0])
    period = 0.09
    slot = _lines(around, period, 0.03) * (hits.axis != 2)
    # Beyond sight of the slots, their mean darkness stays.
    fade = _fade(hits, period)
    return _scaled(albedo, 1 - 0.7 * (slot * fade + (1 - fade) / 3))


def _foliage(albedo: Array, hits: Hits) -> Array:
    tone = hits.noise[2]
    tint = np.stack([0.16 * tone, 0.05 * tone, -0.1 * tone])
    result: Array = albedo * (1 + tint)
    return result


def _cone(albedo: Array, hits: Hits) -> Array:
    share = hits.place[2] / hits.size[2] + 0.5
    stripe = np.abs(share - 0.55) < 0.10
    second = (np.abs(share - 0.25) < 0.05) & (hits.phase > 0.5)
    return _mix(albedo, hits.accent, (stripe | second).astype(np.float32))


def _barrel(albedo: Array, hits: Hits) -> Array:
    share = hits.place[2] / hits.size[2] + 0.5
    groove = np.cos(share * 2 * np.pi * 9) > 0.75
    lid = (hits.axis == 2) & (hits.place[2] > 0)
    darker = 0.28 * groove * _fade(hits, 0.1) + 0.25 * lid
    return _scaled(albedo, 1 - darker)


def _carton(albedo: Array, hits: Hits) -> Array:
    reach = np.abs(hits.place) / hits.size  # 0 in the middle, 0.5 at a face
    edge = (np.sort(reach, axis=0)[1] > 0.46).astype(np.float32)
    tape = (np.abs(hits.place[1] / hits.size[1]) < 0.055) & (hits.axis != 1)
    cross = (np.abs(hits.place[2] / hits.size[2]) < 0.05) & (hits.axis != 2)
    band = np.where(hits.phase < 0.5, tape, tape | cross)
    banded = _mix(albedo, hits.accent, band.astype(np.float32))
    return _scaled(banded, 1 - 0.55 * edge)


def _ball(albedo: Array, hits: Hits) -> Array:
    unit = hits.place / hits.size * 2.0
    seam = np.min(np.abs(unit), axis=0) < 0.045
    patch = (np.max(np.abs(unit), axis=0) > 0.94) & (hits.phase > 0.5)
    shown = _mix(albedo, hits.accent, 0.9 * patch.astype(np.float32))
    return _scaled(shown, 1 - 0.6 * seam)


def _poster(albedo: Array, hits: Hits) -> Array:
    u = hits.plane[0] * (1.5 + 2 * hits.phase)
    v = hits.plane[1] * (1.5 + 3 * ((hits.phase * 5) % 1))
    bars = np.sin(v * 6.0 + hits.phase * 40) > 0.6
    disc = (np.hypot(u - 0.1, v) < 0.35) & (hits.phase > 0.4)
    return _mix(albedo, hits.accent, (bars ^ disc).astype(np.float32))


def _cabinet(albedo: Array, hits: Hits) -> Array:
    share = hits.place / hits.size
    vent = _lines(hits.place[2], 0.06, 0.02) * (share[2] > 0.2) * (np.abs(share[1]) < 0.3)
    door = (np.abs(share[1]) < 0.012) & (hits.axis == 0)
    return _scaled(albedo, 1 - 0.55 * np.maximum(vent * _fade(hits, 0.06), door))


def _chequered(albedo: Array, hits: Hits) -> Array:
    edge = 0.15 + 0.35 * hits.phase
    odd = (np.floor(hits.place / edge).sum(axis=0) % 2.0).astype(np.float32)
    return _mix(albedo, hits.accent, odd * _fade(hits, 0.3))


_PATTERNS: dict[Material, Callable[[Array, Hits], Array]] = {
    Material.PAVING: _paving,
    Material.BRICK: _brick,
    Material.FACADE: _facade,
    Material.WOOD: _wood,
    Material.SLATS: _slats,
    Material.FOLIAGE: _foliage,
    Material.CONE: _cone,
    Material.BARREL: _barrel,
    Material.CARTON: _carton,
    Material.BALL: _ball,
    Material.POSTER: _poster,
    Material.CABINET: _cabinet,
    Material.CHEQUERED: _chequered,
}


def albedo(material: Material, colour: Array, hits: Hits) -> Array:
    """Linear reflectance (3, N) of places on parts of one material.

    Args:
        material: of all of them.
        colour: (3, N or 1) float32, linear, of each part.
        hits: where; its noise is that of `noise_at` with the material's scale.
    """
    scale, coarse, fine, _ = LOOK[material]
    resolved = np.minimum(np.float32(1.6) / (hits.footprint * scale + np.float32(1e-6)), 1)
    level = hits.noise[0] + np.float32(0.4) * hits.noise[2]
    level *= coarse * (np.float32(0.35) + np.float32(0.65) * resolved)
    level += fine * hits.noise[1] * resolved
    result: Array = colour * np.maximum(level + 1, np.float32(0.15))
    pattern = _PATTERNS.get(material)
    return result if pattern is None else pattern(result, hits)
