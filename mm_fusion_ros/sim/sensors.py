"""What the robot carries: cameras, a lidar, a GPS receiver and wheel odometry, as specifications.

Specifications are drawn widely around what real robots and cars carry, so that no calibration
is learned by heart.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros.geometry import from_euler, transform
from mm_fusion_ros.samples import Float


@dataclass(frozen=True, eq=False)
class CameraSpec:
    """A pinhole camera without distortion.

    Attributes:
        fov_deg: horizontal field of view [degrees].
        base_from_camera: (4, 4) float64, optical frame to base_link.
        blur_px: sigma of the optics' blur [pixels].
        vignetting: share of light lost in the corners.
        gamma: of the tone curve; 2.2 shows reflectances as they are, less is harsher.
        white_balance: gains of red and blue.
    """

    name: str
    width: int
    height: int
    fov_deg: float
    base_from_camera: Float
    blur_px: float = 0.45
    vignetting: float = 0.25
    gamma: float = 2.2
    white_balance: tuple[float, float] = (1.0, 1.0)

    @property
    def intrinsics(self) -> Float:
        """(3, 3) float64, K [pixels]; pixel (0, 0) is centred on u = 0, v = 0."""
        focal = self.width / 2.0 / np.tan(np.radians(self.fov_deg) / 2.0)
        return np.array(
            [[focal, 0, (self.width - 1) / 2], [0, focal, (self.height - 1) / 2], [0, 0, 1.0]]
        )


@dataclass(frozen=True, eq=False)
class LidarSpec:
    """A spinning lidar.

    Attributes:
        elevation_deg: (B,) float64, of each beam, from the top.
        columns: firings a turn.
        base_from_lidar: (4, 4) float64, lidar frame to base_link.
        range_noise_m: sigma of a single range [m].
        beam_bias_m: (B,) float64, constant range error of each beam [m].
        dropout: share of pulses lost whatever they meet.
        max_range_m: nothing returns from farther [m].
        gain, gamma, black: intensity is gain * power ** gamma - black, clipped to 0..1.
        reach_m: at this range a surface of reflectivity 0.1 returns half of the pulses [m].
        spurious: share of pulses that return from nowhere.
        turn_s: time of a turn [s].
    """

    name: str
    elevation_deg: NDArray[np.float64]
    columns: int
    base_from_lidar: Float
    range_noise_m: float = 0.02
    beam_bias_m: NDArray[np.float64] = field(default_factory=lambda: np.zeros(1))
    dropout: float = 0.01
    min_range_m: float = 0.5
    max_range_m: float = 100.0
    gain: float = 1.0
    gamma: float = 1.0
    black: float = 0.0
    reach_m: float = 60.0
    spurious: float = 1e-4
    turn_s: float = 0.1

    @property
    def beams(self) -> int:
        """How many beams."""
        return len(self.elevation_deg)


@dataclass(frozen=True, eq=False)
class Rig:
    """All exteroceptive sensors of one robot."""

    cameras: tuple[CameraSpec, ...]
    lidar: LidarSpec


def base_from_optical(position: Float, yaw: float, pitch: float, roll: float = 0.0) -> Float:
    """The (4, 4) mount of a camera.

    Args:
        position: (3,) in base_link [m].
        yaw: to the left [rad].
        pitch: upwards [rad]; a camera that looks down has a negative one.
        roll: about the optical axis [rad].
    """
    body = from_euler(position, roll, -pitch, yaw)
    optical = transform(np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]]), np.zeros(3))
    return body @ optical


def random_rig(
    rng: np.random.Generator,
    image_size: tuple[int, int] = (384, 288),
    cameras: int | None = None,
    beams: int | None = None,
) -> Rig:
    """A robot's sensors, drawn widely.

    Args:
        rng: source of all choices.
        image_size: width and height [pixels].
        cameras: how many; None draws 1 to 4.
        beams: of the lidar; None draws 16, 32 or 64.
    """
    count = cameras or int(rng.choice([1, 2, 3, 4], p=[0.6, 0.18, 0.12, 0.1]))
    beam_count = beams or int(rng.choice([16, 32, 64], p=[0.25, 0.4, 0.35]))
    height = float(rng.uniform(0.5, 2.0))
    fov = float(rng.uniform(70.0, 110.0))
    pitch = np.radians(rng.uniform(-15.0, 5.0) if height > 0.9 else rng.uniform(-10.0, 5.0))
    forward = 0.0 if rng.random() < 0.85 else float(rng.uniform(-np.pi, np.pi))
    blur, vignetting = float(rng.uniform(0.3, 0.75)), float(rng.uniform(0.0, 0.4))
    gamma = float(rng.uniform(1.7, 2.5))
    balance = (float(rng.uniform(0.92, 1.08)), float(rng.uniform(0.92, 1.08)))
    specs = []
    for index in range(count):
        yaw = forward + index * 2 * np.pi / count + float(rng.normal(0, 0.05))
        reach = float(rng.uniform(0.0, 0.5))
        position = np.array([reach * np.cos(yaw), reach * np.sin(yaw), height])
        position = position + rng.normal(0, 0.05, 3)
        mount = base_from_optical(
            position, yaw, pitch + float(rng.normal(0, 0.02)), float(rng.normal(0, 0.012))
        )
        specs.append(
            CameraSpec(
                ("front", "left", "rear", "right")[index] if count > 1 else "camera",
                image_size[0], image_size[1], fov, mount, blur, vignetting,
                gamma, balance,
            )
        )  # fmt: skip
    return Rig(tuple(specs), random_lidar(rng, beam_count))


def random_lidar(rng: np.random.Generator, beams: int) -> LidarSpec:
    """A lidar of so many beams, its pattern drawn around those that are sold."""
    height = float(rng.uniform(0.5, 2.2))
    style = rng.random()
    if style < 0.5:  # even about the horizon
        top, bottom = rng.uniform(8.0, 23.0), -rng.uniform(12.0, 25.0)
        elevation = np.linspace(top, bottom, beams)
    elif style < 0.8:  # mostly downwards, as on a car's roof
        top, bottom = rng.uniform(1.0, 5.0), -rng.uniform(18.0, 27.0)
        elevation = np.linspace(top, bottom, beams)
    else:  # dense about the horizon
        top, bottom = rng.uniform(5.0, 15.0), -rng.uniform(15.0, 25.0)
        spread = np.linspace(-1, 1, beams)
        elevation = -4.0 - np.where(spread < 0, spread**3 * (top + 4), spread**3 * (-bottom - 4))
        elevation = np.minimum.accumulate(elevation - np.arange(beams) * 0.12)
    elevation = elevation + rng.normal(0, 0.02, beams)
    choices = {16: (900, 1024, 1800), 32: (720, 1024, 1024, 1800), 64: (512, 1024, 1024, 1900)}
    columns = int(rng.choice(choices[beams])) if beams in choices else 1024
    mount = from_euler(
        np.array([rng.uniform(-0.4, 0.4), rng.normal(0, 0.05), height]),
        float(rng.normal(0, 0.012)), float(rng.normal(0, 0.015)), float(rng.normal(0, 0.3)),
    )  # fmt: skip
    return LidarSpec(
        "lidar", elevation, columns, mount,
        range_noise_m=float(rng.uniform(0.01, 0.04)),
        beam_bias_m=rng.normal(0, 0.012, beams),
        dropout=float(rng.choice([0.002, rng.uniform(0.0, 0.06)])),
        max_range_m=float(rng.uniform(60.0, 120.0)),
        gain=float(rng.uniform(0.6, 1.3)),
        gamma=float(rng.uniform(0.6, 1.3)),
        black=float(rng.choice([0.0, rng.uniform(0.0, 0.12)])),
        reach_m=float(rng.uniform(40.0, 110.0)),
        spurious=float(rng.uniform(0.0, 4e-4)),
    )  # fmt: skip
