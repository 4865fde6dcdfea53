"""A friendly yard to drive in: few things, well apart, each easy to name."""

from __future__ import annotations

import numpy as np

from mm_fusion_ros.sim.layout import Layout
from mm_fusion_ros.sim.lighting import draw_lighting
from mm_fusion_ros.sim.mesh import Material
from mm_fusion_ros.sim.world import World, WorldOptions

# class, colour, x, y [m], yaw [rad]; the robot starts at the origin and looks along x.
_THINGS: tuple[tuple[str, str, float, float, float], ...] = (
    ("box", "red", 8.5, 2.6, 0.3),
    ("box", "yellow", 6.0, -7.0, 0.8),
    ("ball", "blue", 7.5, -2.8, 0.0),
    ("pedestrian", "green", 12.0, 0.8, 2.6),
    ("barrel", "green", 5.0, 6.0, 0.0),
    ("barrel", "blue", -5.0, -4.0, 0.0),
    ("cone", "orange", 10.5, -6.5, 0.0),
    ("cone", "orange", 12.5, -7.5, 0.0),
    ("cone", "orange", 14.5, -8.5, 0.0),
    ("car", "blue", 15.0, 9.5, 0.35),
    ("car", "white", 3.0, 13.5, 0.1),
    ("truck", "yellow", 22.0, -3.0, 1.4),
    ("cyclist", "red", -8.0, 7.0, 0.4),
    ("ball", "orange", -6.5, 2.0, 0.0),
)
# scenery, x, y [m], yaw [rad].
_PROPS: tuple[tuple[str, float, float, float], ...] = (
    ("tree", 20.0, 14.0, 0.0), ("tree", -12.0, -9.0, 0.0), ("tree", 20.0, -13.0, 0.0),
    ("bush", 9.5, 9.5, 0.0), ("bush", -9.0, -1.0, 0.0), ("lamp_post", 18.0, 1.5, 0.0),
    ("bench", 1.0, -10.5, 3.1), ("cabinet", 11.0, 14.5, 0.0), ("pallets", -3.0, 10.5, 0.4),
    ("round_bin", 15.5, -3.5, 0.0), ("sign_post", 8.0, -11.0, 2.0), ("planter", -7.0, -9.5, 0.0),
)  # fmt: skip


def demo_world(seed: int = 1, lighting: str = "sun") -> World:
    """The yard of the demonstration.

    Args:
        seed: of looks and sizes; the places are always the same.
        lighting: "sun", "shade" or "dusk".
    """
    rng = np.random.default_rng([seed, 3])
    layout = Layout(seed, WorldOptions(kind="yard", moving=False), rng)
    light = draw_lighting(lighting, rng)
    layout.ground(Material.GRASS, (0, 0), (600, 600), -0.01)
    layout.ground(Material.ASPHALT, (4, 0), (44, 36), 0.0)
    layout.start_at(0.0, 0.0)
    for x, y, yaw, length, kind in (
        (4.0, 19.0, 0.0, 44.0, "wall"), (4.0, -19.0, 0.0, 44.0, "fence"),
        (-18.5, 0.0, float(np.pi / 2), 36.0, "wall"),
    ):  # fmt: skip
        layout.put_wall(x, y, yaw, length, kind)
    layout.put_building(30.0, 0.0, -float(np.pi / 2), 26.0, 10.0)
    for name, colour, x, y, yaw in _THINGS:
        velocity = (-0.5, 0.9) if name == "pedestrian" else (0.0, 0.0)
        heading = float(np.arctan2(0.9, -0.5)) if name == "pedestrian" else yaw
        if not layout.put_object(name, x, y, heading, colour=colour, velocity=velocity):
            raise RuntimeError(f"no room for the {colour} {name} at {x}, {y}")
    for prop, x, y, yaw in _PROPS:
        layout.put_prop(prop, x, y, yaw)
    return layout.world(light, [(0.0, 0.0, 0.0)], "yard")
