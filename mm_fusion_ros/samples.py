"""What comes in: one frozen dataclass for each kind of evidence.

Every way in (ROS topics, a bag, the simulator) makes these, and the pipeline takes nothing else.

Conventions, here and everywhere:

* time is an integer number of nanoseconds, ROS time of the sensor's header (`stamp_ns`);
* frames follow REP-103 and REP-105: `base_link` is x forward, y left, z up; optical frames are
  x right, y down, z forward;
* transforms are 4x4 homogeneous float64 matrices named `target_from_source`;
* `source` is the sensor's name, unique in one robot ("front", "top"): features, trust and counters
  are keyed by it, so six cameras need no new contract;
* arrays are not copied on construction and must not be written to afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Union

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]


class Modality(str, Enum):
    """The kinds of evidence."""

    CAMERA = "camera"
    LIDAR = "lidar"
    GPS = "gps"
    ODOMETRY = "odometry"
    IMU = "imu"
    COMMAND = "command"


class GpsStatus(int, Enum):
    """Quality of a satellite fix, with the values of `sensor_msgs/NavSatStatus`."""

    NO_FIX = -1
    FIX = 0
    SBAS = 1
    GBAS = 2


@dataclass(frozen=True, eq=False)
class CameraFrame:
    """One image.

    Attributes:
        image: (H, W, 3) uint8, RGB.
        intrinsics: (3, 3) float64, the pinhole matrix K [pixels] of the image as it stands.
        distortion_model: "" or "none" for a rectified image, else the name in `CameraInfo`
            ("plumb_bob", "rational_polynomial", "equidistant").
        distortion: (D,) float64, coefficients of that model; empty when rectified.
        base_from_camera: (4, 4) float64, camera optical frame to base_link.
    """

    stamp_ns: int
    frame_id: str
    source: str
    image: NDArray[np.uint8]
    intrinsics: Float
    base_from_camera: Float
    distortion_model: str = ""
    distortion: Float = field(default_factory=lambda: np.zeros(0))


@dataclass(frozen=True, eq=False)
class LidarScan:
    """One sweep.

    Attributes:
        points: (N, 4) float32, x y z [m] in the lidar frame, intensity [0..1]. May hold
            non-finite values on entry; `sensors.lidar` masks and counts them.
        base_from_lidar: (4, 4) float64, lidar frame to base_link.
        time_offset_ns: (N,) int64 or None, when each point was measured, relative to `stamp_ns`.
    """

    stamp_ns: int
    frame_id: str
    source: str
    points: NDArray[np.float32]
    base_from_lidar: Float
    time_offset_ns: NDArray[np.int64] | None = None


@dataclass(frozen=True, eq=False)
class GpsFix:
    """One satellite fix (WGS-84).

    Attributes:
        latitude_deg, longitude_deg: degrees.
        altitude_m: metres above the ellipsoid.
        covariance: (3, 3) float64, east north up [m^2]; None where the receiver declares none.
        base_from_antenna: (3,) float64, the antenna's place in base_link [m].
    """

    stamp_ns: int
    frame_id: str
    source: str
    latitude_deg: float
    longitude_deg: float
    altitude_m: float
    covariance: Float | None
    status: GpsStatus = GpsStatus.FIX
    base_from_antenna: Float = field(default_factory=lambda: np.zeros(3))


@dataclass(frozen=True, eq=False)
class OdometrySample:
    """One odometry message: smooth, drifting, never jumping.

    Attributes:
        frame_id: the odometry frame ("odom").
        odom_from_base: (4, 4) float64.
        twist: (6,) float64, vx vy vz [m/s] wx wy wz [rad/s] in base_link.
        pose_covariance: (6, 6) float64, x y z [m^2] roll pitch yaw [rad^2], odometry frame.
        twist_covariance: (6, 6) float64, base_link; all zero when unknown.
    """

    stamp_ns: int
    frame_id: str
    source: str
    odom_from_base: Float
    twist: Float
    pose_covariance: Float
    twist_covariance: Float


@dataclass(frozen=True, eq=False)
class ImuSample:
    """One inertial measurement, in base_link.

    Attributes:
        angular_velocity: (3,) float64 [rad/s].
        linear_acceleration: (3,) float64 [m/s^2], gravity included.
        orientation: (4,) float64 quaternion x y z w, world from base; None when not estimated.
    """

    stamp_ns: int
    frame_id: str
    source: str
    angular_velocity: Float
    linear_acceleration: Float
    orientation: Float | None = None


@dataclass(frozen=True, eq=False)
class Command:
    """What the robot was told.

    Attributes:
        text: as received; `sensors.language` normalises or refuses it.
    """

    stamp_ns: int
    frame_id: str
    source: str
    text: str


Sample = Union[CameraFrame, LidarScan, GpsFix, OdometrySample, ImuSample, Command]

MODALITY_OF: dict[type, Modality] = {
    CameraFrame: Modality.CAMERA,
    LidarScan: Modality.LIDAR,
    GpsFix: Modality.GPS,
    OdometrySample: Modality.ODOMETRY,
    ImuSample: Modality.IMU,
    Command: Modality.COMMAND,
}


def modality_of(sample: Sample) -> Modality:
    """The kind of evidence a sample is."""
    return MODALITY_OF[type(sample)]
