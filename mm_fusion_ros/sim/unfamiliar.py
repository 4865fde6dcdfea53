"""What no training scene shows: other surfaces, a lidar that does not spin, things of no class.

For the exam alone, which asks whether a network notices that it has never seen the like; nothing
else here may draw them.
"""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros.sim.mesh import Material, PartBuilder, PartTable
from mm_fusion_ros.sim.primitives import Primitive
from mm_fusion_ros.sim.sensors import LidarSpec
from mm_fusion_ros.sim.world import World

TEXTURE, PATTERN, THING = "texture", "pattern", "thing"
KINDS = (TEXTURE, PATTERN, THING)
CONE_DEG, CORE_DEG = 35.0, 10.0
"""Half the angle of the cone that a lidar sees which does not spin, and of its dense middle."""
DENSE_BEAMS, DENSE_COLUMNS = 160, 2400


def strange_world(world: World, kind: str, seed: int) -> tuple[World, tuple[int, ...]]:
    """A world of that seed, changed.

    Args:
        world: as it is drawn for training.
        kind: of `KINDS`; another lidar changes no world.
        seed: of the changes.

    Returns:
        world, and the `object_id` of what is strange in it.
    """
    rng = np.random.default_rng([seed, 9])
    if kind == TEXTURE:
        return replace(world, parts=_chequered(world, rng)), ()
    if kind == THING:
        return _with_things(world, rng)
    return world, ()


def strange_lidar(spec: LidarSpec, kind: str) -> LidarSpec:
    """The lidar of a rig, changed: dense all over, of which `thinned` leaves a rosette."""
    if kind != PATTERN:
        return spec
    elevation = np.linspace(CONE_DEG, -CONE_DEG, DENSE_BEAMS)
    return replace(
        spec, elevation_deg=elevation, columns=DENSE_COLUMNS, beam_bias_m=np.zeros(DENSE_BEAMS)
    )


def thinned(points: NDArray[np.float32], kind: str, seed: int) -> NDArray[np.bool_]:
    """Which points (N, 4) of the lidar frame stay: all, or those of a rosette.

    Lidars whose beam two prisms turn draw rosettes that fill a cone ahead, densest in its middle,
    and no rings.
    """
    if kind != PATTERN:
        return np.ones(len(points), bool)
    azimuth = np.arctan2(points[:, 1], points[:, 0])
    elevation = np.arctan2(points[:, 2], np.hypot(points[:, 0], points[:, 1]))
    away = np.degrees(np.hypot(azimuth, elevation))
    chance = np.random.default_rng([seed, 10]).random(len(points))
    return (away < CONE_DEG) & (chance < CORE_DEG / np.maximum(away, CORE_DEG))


def _chequered(world: World, rng: np.random.Generator) -> PartTable:
    """All scenery in squares of two loud colours; what has a class looks as ever."""
    parts = world.parts
    scenery = world.frames.object_id[parts.frame] == 0
    count = int(scenery.sum())
    colour, accent = parts.colour.copy(), parts.accent.copy()
    colour[scenery] = rng.uniform(0.0, 1.0, (count, 3)) ** 2
    accent[scenery] = 1.0 - colour[scenery]
    material = np.where(scenery, np.int32(Material.CHEQUERED), parts.material).astype(np.int32)
    return replace(parts, material=material, colour=colour, accent=accent)


def _with_things(world: World, rng: np.random.Generator) -> tuple[World, tuple[int, ...]]:
    """Every second object is an animal or a frame of poles."""
    builder, changed = PartBuilder(), []
    for index, thing in enumerate(world.objects[::2]):
        (frame,) = np.flatnonzero(world.frames.object_id == thing.object_id)
        (_animal if index % 2 else _poles)(builder, int(frame), rng)
        changed.append(thing.object_id)
    parts = world.parts
    if changed:
        kept = ~np.isin(world.frames.object_id[parts.frame], changed)
        added, _ = builder.tables()
        parts = PartTable(
            *[
                np.concatenate([getattr(parts, each.name)[kept], getattr(added, each.name)])
                for each in fields(PartTable)
            ]
        )
    return replace(world, parts=parts), tuple(changed)


def _animal(b: PartBuilder, f: int, rng: np.random.Generator) -> None:
    """Four legs, a barrel of a body, a neck and a head."""
    length, height = float(rng.uniform(1.2, 2.2)), float(rng.uniform(0.9, 1.6))
    shade = float(rng.uniform(0.05, 0.5))
    coat = (shade, shade * 0.7, shade * 0.45)
    belly = 0.45 * height
    b.add(f, Primitive.SPHERE, (0.0, 0.0, height - belly / 2), (length, 0.4 * length, belly),
          coat, Material.CLOTH)  # fmt: skip
    for x in (-0.32, 0.32):
        for y in (-0.11, 0.11):
            b.add(f, Primitive.CYLINDER, (x * length, y * length, 0.3 * height),
                  (0.1, 0.1, 0.6 * height), coat, Material.CLOTH)  # fmt: skip
    b.add(f, Primitive.CYLINDER, (0.5 * length, 0.0, height + 0.15), (0.18, 0.18, 0.6), coat,
          Material.CLOTH, pitch=0.7)  # fmt: skip
    b.add(f, Primitive.SPHERE, (0.72 * length, 0.0, height + 0.35), (0.5, 0.22, 0.26), coat,
          Material.CLOTH)  # fmt: skip


def _poles(b: PartBuilder, f: int, rng: np.random.Generator) -> None:
    """Leaning poles that meet above, with a ring about them."""
    height, spread = float(rng.uniform(1.2, 2.4)), float(rng.uniform(0.4, 0.8))
    for index in range(4):
        x, y = ((1, 1), (1, -1), (-1, 1), (-1, -1))[index]
        b.add(f, Primitive.CYLINDER, (x * spread / 2, y * spread / 2, height / 2),
              (0.07, 0.07, height), (0.55, 0.55, 0.6), Material.METAL,
              pitch=-x * spread / height, roll=y * spread / height)  # fmt: skip
    b.add(f, Primitive.CYLINDER, (0.0, 0.0, 0.6 * height), (1.3 * spread, 1.3 * spread, 0.08),
          (0.7, 0.5, 0.1), Material.PAINT)  # fmt: skip
