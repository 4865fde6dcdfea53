"""Objects and poses for the tests of this room."""

from __future__ import annotations

import numpy as np

from mm_fusion_ros.geometry import planar
from mm_fusion_ros.outputs import FusedObject, PoseEstimate
from mm_fusion_ros.samples import Command

NS = 1_000_000_000


def thing(
    class_name: str = "box",
    colour: str = "red",
    place: tuple[float, float] = (5.0, 0.0),
    *,
    track: int = 1,
    probability: float = 0.9,
    colour_probability: float = 0.95,
    size: tuple[float, float, float] = (1.0, 1.0, 1.0),
    yaw: float = 0.0,
    velocity: tuple[float, float] = (0.0, 0.0),
    sigma: float = 0.1,
) -> FusedObject:
    """An object in base_link."""
    return FusedObject(
        track,
        class_name,
        probability,
        colour,
        colour_probability,
        np.array([*place, size[2] / 2.0]),
        np.array(size),
        yaw,
        np.array([*velocity, 0.0]),
        np.eye(3) * sigma**2,
    )


def robot_at(
    x: float = 0.0, y: float = 0.0, yaw: float = 0.0, map_from_odom: np.ndarray | None = None
) -> PoseEstimate:
    """A robot at a place of the odometry frame."""
    correction = np.eye(4) if map_from_odom is None else map_from_odom
    return PoseEstimate(
        0, correction @ planar(x, y, yaw), correction, np.eye(6) * 0.01, np.zeros(6)
    )


def told(text: str, seconds: float = 0.0) -> Command:
    """A command."""
    return Command(round(seconds * NS), "", "command", text)
