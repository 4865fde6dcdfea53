"""A seeded drive with a receiver and wheels that err as real ones do; numpy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros.geometry import inverse, planar, yaw_of
from mm_fusion_ros.localization.enu import LocalPlane
from mm_fusion_ros.localization.filter import GpsVerdict, PoseFilter
from mm_fusion_ros.outputs import PoseEstimate
from mm_fusion_ros.samples import GpsFix, OdometrySample

NS = 1_000_000_000
START_NS = 1_700_000_000 * NS
EARTH = LocalPlane(48.1, 11.6, 520.0)


@dataclass(frozen=True)
class DriveSettings:
    """How the robot drives and how its sensors err.

    Attributes:
        seconds: length of the drive [s].
        speed_mps: usual speed.
        heading: of the odometry frame in ENU [rad].
        slow_sigma_m, correlation_s: Gauss-Markov part of the GPS error, each axis.
        white_sigma_m: white part.
        declared_sigma_m: what the receiver says.
        gps_hz, odometry_hz: rates.
        position_drift, heading_drift, turning_drift: random walks of odometry, as in `DriftRates`.
        scale_error, curvature: systematic odometry errors: relative, and rad/m.
        antenna: base to antenna [m].
    """

    seconds: float = 240.0
    speed_mps: float = 1.0
    heading: float = 2.0
    slow_sigma_m: float = 1.5
    correlation_s: float = 40.0
    white_sigma_m: float = 0.4
    declared_sigma_m: float = 1.5
    gps_hz: float = 5.0
    odometry_hz: float = 20.0
    position_drift: float = 0.03
    heading_drift: float = 0.005
    turning_drift: float = 0.03
    scale_error: float = 0.0
    curvature: float = 0.0
    antenna: tuple[float, float, float] = (0.3, 0.1, 0.8)


@dataclass(frozen=True, eq=False)
class Drive:
    """Samples in the order of their stamps, and the truth.

    Attributes:
        truth: stamp to (4, 4) enu_from_base, ENU of `EARTH`.
        gps_error: (M, 2) error of each fix, slow and white together [m].
    """

    samples: list[OdometrySample | GpsFix]
    truth: dict[int, NDArray[np.float64]]
    gps_error: NDArray[np.float64]
    settings: DriveSettings


@dataclass(frozen=True, eq=False)
class Run:
    """What the filter said at each fix.

    Attributes:
        poses: estimates after each fix.
        verdicts: of each fix.
        error: (M, 3) x y [m] heading [rad] of the estimate minus truth.
    """

    poses: list[PoseEstimate]
    verdicts: list[GpsVerdict]
    error: NDArray[np.float64]
    aligned: NDArray[np.bool_]

    def nees(self) -> NDArray[np.float64]:
        """(M,) normalised estimation error squared of place; chi-square, 2 degrees of freedom."""
        return np.array(
            [
                error[:2] @ np.linalg.solve(pose.covariance[:2, :2], error[:2])
                for error, pose in zip(self.error, self.poses, strict=True)
            ]
        )

    def pose_nees(self) -> NDArray[np.float64]:
        """(M,) the same with the heading; 3 degrees of freedom."""
        index = np.ix_([0, 1, 5], [0, 1, 5])
        return np.array(
            [
                error @ np.linalg.solve(pose.covariance[index], error)
                for error, pose in zip(self.error, self.poses, strict=True)
            ]
        )


def odometry(stamp_ns: int, pose: NDArray[np.float64], speed: float, turn: float) -> OdometrySample:
    """An odometry message."""
    return OdometrySample(
        stamp_ns,
        "odom",
        "odom",
        pose,
        np.array([speed, 0.0, 0.0, 0.0, 0.0, turn]),
        np.eye(6) * 1e-3,
        np.zeros((6, 6)),
    )


def fix_at(
    stamp_ns: int,
    enu: NDArray[np.float64],
    declared_m: float | None = 1.5,
    antenna: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> GpsFix:
    """A fix at a place of `EARTH`'s plane."""
    latitude, longitude, altitude = EARTH.geodetic(enu)
    covariance = None if declared_m is None else np.diag([1.0, 1.0, 4.0]) * declared_m**2
    return GpsFix(
        stamp_ns, "gps", "gps", latitude, longitude, altitude, covariance,
        base_from_antenna=np.array(antenna),
    )  # fmt: skip


def simulate(settings: DriveSettings, seed: int) -> Drive:
    """A drive with turns, straights and stops."""
    rng = np.random.default_rng(seed)
    step = 1.0 / settings.odometry_hz
    count = round(settings.seconds * settings.odometry_hz)
    every = round(settings.odometry_hz / settings.gps_hz)
    truth_pose = planar(0.0, 0.0, settings.heading + 0.5)
    odom_pose = planar(3.0, -2.0, 0.5)
    slow = rng.normal(0.0, settings.slow_sigma_m, 2)
    keep = np.exp(-every * step / settings.correlation_s)
    samples: list[OdometrySample | GpsFix] = []
    truth: dict[int, NDArray[np.float64]] = {}
    gps_error = []
    speed, turn = settings.speed_mps, 0.0
    for index in range(count):
        stamp = START_NS + round(index * step * NS)
        if index % round(4.0 / step) == 0 and index:
            turn = float(rng.choice([0.0, 0.0, 0.15, -0.15, 0.4, -0.4]))
            speed = settings.speed_mps * float(rng.choice([1.0, 1.0, 1.0, 0.5, 0.0]))
        truth[stamp] = truth_pose
        samples.append(odometry(stamp, odom_pose, speed, turn))
        if index % every == 0:
            white = rng.normal(0.0, settings.white_sigma_m, 2)
            antenna = (truth_pose @ np.array([*settings.antenna, 1.0]))[:3]
            error = slow + white
            gps_error.append(error)
            up = rng.normal(0.0, 1.0)
            enu = antenna + np.array([*error, up])
            samples.append(fix_at(stamp, enu, settings.declared_sigma_m, settings.antenna))
            slow = keep * slow + rng.normal(0.0, settings.slow_sigma_m * np.sqrt(1.0 - keep**2), 2)
        metres, radians = speed * step, turn * step
        wander = rng.normal(size=3)
        truth_pose = truth_pose @ planar(metres, 0.0, radians)
        odom_pose = odom_pose @ planar(
            metres * (1.0 + settings.scale_error)
            + settings.position_drift * np.sqrt(abs(metres)) * wander[0],
            settings.position_drift * np.sqrt(abs(metres)) * wander[1],
            radians
            + settings.curvature * metres
            + wander[2]
            * np.hypot(
                settings.heading_drift * np.sqrt(abs(metres)),
                settings.turning_drift * np.sqrt(abs(radians)),
            ),
        )
    return Drive(samples, truth, np.array(gps_error), settings)


def drive_through(
    pose_filter: PoseFilter, drive: Drive, samples: list[OdometrySample | GpsFix] | None = None
) -> Run:
    """Feeds a drive (or a faulty copy of its samples) and compares with the truth at each fix."""
    poses, verdicts, errors, aligned = [], [], [], []
    map_from_enu = None
    for sample in samples if samples is not None else drive.samples:
        if isinstance(sample, OdometrySample):
            pose_filter.push_odometry(sample)
            continue
        verdicts.append(pose_filter.push_gps(sample))
        pose = pose_filter.estimate(sample.stamp_ns)
        assert pose is not None
        assert pose_filter.plane is not None
        origin = fix_at(0, np.zeros(3))
        map_from_enu = planar(*pose_filter.plane.enu(origin)[:2], 0.0)
        truth = map_from_enu @ drive.truth[sample.stamp_ns]
        apart = (pose.map_from_base - truth)[:2, 3]
        errors.append([*apart, yaw_of(inverse(truth) @ pose.map_from_base)])
        poses.append(pose)
        aligned.append(pose_filter.aligned)
    return Run(poses, verdicts, np.array(errors), np.array(aligned))
