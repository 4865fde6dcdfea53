"""What the robot carries: cameras, a lidar, a GPS receiver and wheel odometry, as specifications.

Specifications are drawn widely around what real robots and cars carry, so that no calibration
is learned by heart.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros.geometry import from_euler, planar, transform
from mm_fusion_ros.localization.enu import LocalPlane
from mm_fusion_ros.samples import Float, GpsFix, GpsStatus, OdometrySample


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


class GpsModel:
    """A receiver whose error wanders, as multipath and the ionosphere make it; not white.

    The horizontal error is a first-order Gauss-Markov process with a little white noise on top;
    the receiver declares roughly the size of the whole, as real ones do.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        plane: LocalPlane,
        *,
        sigma_m: float = 0.9,
        correlation_s: float = 60.0,
        white_m: float = 0.15,
        base_from_antenna: Float | None = None,
    ) -> None:
        """Draws the first error.

        Args:
            rng: of this receiver alone.
            plane: where the map's origin lies on the earth.
            sigma_m: standard deviation of the wandering error, each horizontal axis [m]; the
                vertical one is twice that.
            correlation_s: time after which 37 % of it is left [s].
            white_m: standard deviation of the rest [m].
            base_from_antenna: (3,) in base_link [m].
        """
        self._rng = rng
        self._plane = plane
        self._sigma = np.array([sigma_m, sigma_m, 2 * sigma_m])
        self._correlation_s = correlation_s
        self._white_m = white_m
        self._antenna = np.zeros(3) if base_from_antenna is None else base_from_antenna
        self._wander = rng.standard_normal(3) * self._sigma
        self._declared = float(rng.uniform(0.8, 1.4))
        self._last_ns: int | None = None

    def fix(self, stamp_ns: int, map_from_base: Float) -> GpsFix:
        """The fix of an instant; call it in the order of time."""
        if self._last_ns is not None:
            kept = float(np.exp(-(stamp_ns - self._last_ns) * 1e-9 / self._correlation_s))
            fresh = self._rng.standard_normal(3) * self._sigma
            self._wander = kept * self._wander + np.sqrt(1 - kept**2) * fresh
        self._last_ns = stamp_ns
        true = map_from_base[:3, :3] @ self._antenna + map_from_base[:3, 3]
        white = self._rng.standard_normal(3) * self._white_m * np.array([1.0, 1.0, 2.0])
        latitude, longitude, altitude = self._plane.geodetic(true + self._wander + white)
        # The declared figure breathes with the satellites in sight.
        self._declared = float(
            np.clip(self._declared + 0.02 * self._rng.standard_normal(), 0.7, 1.6)
        )
        variance = (self._sigma**2 + (self._white_m * np.array([1.0, 1.0, 2.0])) ** 2) * (
            self._declared**2
        )
        return GpsFix(
            stamp_ns, "gps_antenna", "gps", latitude, longitude, altitude, np.diag(variance),
            GpsStatus.FIX, self._antenna,
        )  # fmt: skip


class WheelOdometryModel:
    """Wheel odometry: smooth, with errors of scale and heading that add up without bound."""

    def __init__(
        self,
        rng: np.random.Generator,
        *,
        scale_sigma: float = 0.01,
        turn_scale_sigma: float = 0.015,
        speed_noise: float = 0.02,
        turn_noise: float = 0.01,
        turn_drift: float = 0.0004,
    ) -> None:
        """Draws this robot's constant errors.

        Args:
            rng: of this odometry alone.
            scale_sigma: of the error of wheel radius, relative.
            turn_scale_sigma: of the error of the track width, relative.
            speed_noise: of each sample, relative to the speed.
            turn_noise: of each sample, relative to the turn rate.
            turn_drift: heading error by wheels of different size [rad a metre].
        """
        self._rng = rng
        self._scale = 1.0 + scale_sigma * float(rng.standard_normal())
        self._turn_scale = 1.0 + turn_scale_sigma * float(rng.standard_normal())
        self._drift = turn_drift * float(rng.standard_normal())
        self._sigma = np.array([scale_sigma, turn_scale_sigma, turn_drift])
        self._noise = (speed_noise, turn_noise)
        self._pose = np.zeros(3)
        self._travelled_m = 0.0
        self._turned_rad = 0.0

    def advance(self, stamp_ns: int, speed: float, turn: float, elapsed_s: float) -> OdometrySample:
        """The sample after a step.

        Args:
            stamp_ns: the step's end.
            speed: true mean forward speed over the step [m/s].
            turn: true mean turn rate [rad/s].
            elapsed_s: the step's length [s].
        """
        draw = self._rng.standard_normal(2)
        speed_seen = speed * (self._scale + self._noise[0] * float(draw[0]))
        turn_seen = turn * (self._turn_scale + self._noise[1] * float(draw[1]))
        turn_seen += self._drift * speed
        middle = self._pose[2] + 0.5 * turn_seen * elapsed_s
        step = speed_seen * elapsed_s
        self._pose = self._pose + np.array(
            [step * np.cos(middle), step * np.sin(middle), turn_seen * elapsed_s]
        )
        self._travelled_m += abs(step)
        self._turned_rad += abs(turn_seen) * elapsed_s
        scale, turn_scale, drift = self._sigma
        yaw_sigma = turn_scale * self._turned_rad + drift * self._travelled_m + 1e-3
        along = scale * self._travelled_m + 5e-3
        across = along + 0.5 * yaw_sigma * self._travelled_m
        still = 1e-6
        return OdometrySample(
            stamp_ns, "odom", "odom",
            planar(float(self._pose[0]), float(self._pose[1]), float(self._pose[2])),
            np.array([speed_seen, 0.0, 0.0, 0.0, 0.0, turn_seen]),
            np.diag([across**2, across**2, still, still, still, yaw_sigma**2]),
            np.diag([
                (0.02 * abs(speed)) ** 2 + 1e-4, 1e-4, still, still, still,
                (0.02 * abs(turn)) ** 2 + 1e-5,
            ]),
        )  # fmt: skip
