"""All parameters: frozen dataclasses, loaded from YAML, checked, never silently repaired.

Each field carries its description, unit and allowed range in its metadata, so that the ROS
parameters, the YAML files and the documentation are made from this one place.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mm_fusion_ros.parameter import ConfigError, build, checked_value, param
from mm_fusion_ros.samples import Modality

# Who reads or declares parameters needs these beside them.
__all__ = ["ConfigError", "build", "checked_value", "param"]


@dataclass(frozen=True)
class SourceConfig:
    """One sensor: its name, its kind, and when its samples are expected."""

    name: str = param("", "name of the sensor, unique in one robot")
    modality: str = param(
        "camera", "kind of evidence", choices=tuple(modality.value for modality in Modality)
    )
    rate_hz: float = param(10.0, "nominal rate", low=0.01, high=1000.0, unit="Hz")
    offset_ms: float = param(
        0.0, "added to every stamp: known constant delay", low=-1000.0, high=1000.0, unit="ms"
    )
    tolerance_ms: float = param(
        60.0, "farthest from the tick a sample may lie", low=0.0, high=10_000.0, unit="ms"
    )
    timeout_ms: float = param(
        500.0, "after this age the source is stale", low=1.0, high=600_000.0, unit="ms"
    )
    required_frame: str = param("", "expected frame_id; empty accepts any")
    noisy: bool = param(
        False, "no two samples are ever equal, so equal ones mean a frozen sensor even at rest"
    )


def default_sources() -> tuple[SourceConfig, ...]:
    """One camera, one lidar, GPS, odometry and commands."""
    return (
        SourceConfig("camera", "camera", rate_hz=30.0, tolerance_ms=60.0, timeout_ms=500.0),
        SourceConfig("lidar", "lidar", rate_hz=10.0, tolerance_ms=60.0, timeout_ms=500.0),
        SourceConfig("gps", "gps", rate_hz=5.0, tolerance_ms=1000.0, timeout_ms=3000.0),
        SourceConfig("odom", "odometry", rate_hz=30.0, tolerance_ms=200.0, timeout_ms=1000.0),
        SourceConfig("command", "command", rate_hz=0.1, tolerance_ms=10_000.0, timeout_ms=60_000.0),
    )


@dataclass(frozen=True)
class SyncConfig:
    """The deadline synchronizer."""

    anchor: str = param("lidar", "source whose arrival makes a tick")
    deadline_ms: float = param(
        40.0, "how long past its predicted time the anchor is waited for", low=0.0, high=1000.0,
        unit="ms",
    )  # fmt: skip
    horizon_ms: float = param(
        1000.0, "how far out of order a sample may come", low=0.0, high=60_000.0, unit="ms"
    )
    future_ms: float = param(
        100.0, "how far ahead of the clock a stamp may lie", low=0.0, high=10_000.0, unit="ms"
    )
    jump_ms: float = param(
        1000.0, "a clock that goes back by more than this resets everything", low=1.0,
        high=60_000.0, unit="ms",
    )  # fmt: skip
    capacity: int = param(64, "samples kept for each source", low=2, high=10_000)
    zero_stamp: str = param("reject", "what a stamp of 0 gets", choices=("reject", "arrival_time"))


@dataclass(frozen=True)
class CameraConfig:
    """Camera input."""

    max_pixels: int = param(
        16_000_000, "larger images are refused before allocation", low=1, high=200_000_000
    )
    min_height: int = param(32, "smaller images are refused", low=1, high=10_000, unit="px")
    rectified: bool = param(
        False, "images come rectified: take P of CameraInfo and no distortion, instead of K and D"
    )


@dataclass(frozen=True)
class LidarConfig:
    """Lidar input."""

    max_points: int = param(
        1_000_000, "larger clouds are refused before allocation", low=1, high=20_000_000
    )
    min_range_m: float = param(0.5, "nearer points are dropped", low=0.0, high=10.0, unit="m")
    max_range_m: float = param(60.0, "farther points are dropped", low=1.0, high=500.0, unit="m")
    intensity_scale: float = param(
        0.0, "divides intensities; 0 finds 1, 255 or 65535 from the data", low=0.0, high=100_000.0
    )
    time_unit: str = param(
        "auto", "unit of a per-point time field; auto finds it from the data",
        choices=("auto", "s", "ms", "us", "ns", "ignore"),
    )  # fmt: skip


@dataclass(frozen=True)
class GpsConfig:
    """GPS input."""

    default_sigma_m: float = param(
        2.5, "sigma where the receiver declares none or zero", low=0.01, high=1000.0, unit="m"
    )


@dataclass(frozen=True)
class OdometryConfig:
    """Odometry input: sigmas of the axes for which a message declares zero."""

    default_position_sigma_m: float = param(
        0.1, "sigma of an undeclared position axis", low=0.0001, high=1000.0, unit="m"
    )
    default_angle_sigma_rad: float = param(
        0.05, "sigma of an undeclared angle", low=0.0001, high=4.0, unit="rad"
    )
    default_velocity_sigma_mps: float = param(
        0.1, "sigma of an undeclared velocity axis", low=0.0001, high=100.0, unit="m/s"
    )
    default_rate_sigma_radps: float = param(
        0.05, "sigma of an undeclared rotation rate", low=0.0001, high=10.0, unit="rad/s"
    )


@dataclass(frozen=True)
class CommandConfig:
    """Command input."""

    max_length: int = param(256, "longer texts are refused", low=1, high=4096)
    time_to_live_s: float = param(
        120.0, "a command is forgotten after this", low=1.0, high=86_400.0, unit="s"
    )
    max_per_second: int = param(5, "more commands within a second are refused", low=1, high=1000)


@dataclass(frozen=True)
class PerceptionConfig:
    """Detector and its runtime."""

    model: str = param("", "model folder; empty takes the weights that ship")
    backend: str = param("onnxruntime", "inference backend", choices=("onnxruntime",))
    threads: int = param(2, "threads of one network run", low=1, high=64)
    score_threshold: float = param(0.1, "objects less probable are not output", low=0.0, high=1.0)
    max_objects: int = param(64, "objects of one tick", low=1, high=1000)


@dataclass(frozen=True)
class TrackingConfig:
    """Ids and velocities."""

    gate_m: float = param(
        2.5, "farthest an object may be from its track", low=0.1, high=20.0, unit="m"
    )
    keep_s: float = param(
        1.0, "a track unseen for this long is dropped", low=0.0, high=60.0, unit="s"
    )


@dataclass(frozen=True)
class ReliabilityConfig:
    """What counts as a bad sample; trust falls smoothly from 1 as a figure passes its limit."""

    dark_brightness: float = param(
        0.08, "mean grey (0..1) below which an image is dark", low=0.001, high=1.0
    )
    dark_fraction: float = param(
        0.85, "fraction of black pixels above which an image is dark", low=0.0, high=0.99
    )
    saturated_fraction: float = param(
        0.25, "fraction of white pixels above which an image is saturated", low=0.0, high=0.89
    )
    blurred_sharpness: float = param(
        0.0006, "sharpness (0..1) below which an image is blurred", low=1e-6, high=1.0
    )
    low_contrast: float = param(
        0.1, "standard deviation over mean of grey below which an image is washed out", low=1e-3,
        high=1.0,
    )  # fmt: skip
    noise_sigma: float = param(
        0.035, "sigma of pixel noise (0..1) above which an image is noisy", low=0.001, high=1.0
    )
    blockiness: float = param(
        1.6, "steps between the blocks of a compressed image, over those elsewhere, above which it "
        "is blurred", low=1.05, high=100.0,
    )  # fmt: skip
    range_noise: float = param(
        0.08, "standard deviation of a range above which a scan is noisy", low=0.001, high=10.0,
        unit="m",
    )  # fmt: skip
    sparse_points: float = param(
        2000.0, "points below which a scan is sparse", low=1.0, high=1_000_000.0
    )
    sparse_coverage: float = param(
        0.25, "fraction of azimuth covered below which a scan is sparse", low=0.01, high=1.0
    )
    invalid_fraction: float = param(
        0.5, "fraction of invalid points above which a scan is noisy", low=0.0, high=0.99
    )
    tilted_rad: float = param(
        0.03, "tilt of the ground against base_link above which a lidar is misaligned", low=0.001,
        high=1.0, unit="rad",
    )  # fmt: skip
    misaligned: float = param(
        0.5, "part of its usual agreement with the lidar below which a camera is misaligned",
        low=0.01, high=1.0,
    )  # fmt: skip
    unfamiliar: float = param(
        2.0, "unfamiliarity of a sample above which a sensor is out of distribution; 1 is as high "
        "as one in a hundred familiar samples", low=0.1, high=1000.0,
    )  # fmt: skip
    health_step: float = param(
        0.2, "how fast refused messages cost trust: weight of the newest", low=0.01, high=1.0
    )
    fuse_above: float = param(
        0.05, "a camera or lidar trusted less is left out of the objects, while another is trusted",
        low=0.0, high=1.0,
    )  # fmt: skip
    healthy: float = param(
        0.7, "fraction of accepted messages above which trust is whole", low=0.01, high=1.0
    )


@dataclass(frozen=True)
class LocalizationConfig:
    """Error-state filter over odometry and GPS."""

    gate_probability: float = param(
        0.997, "chi-square gate on fixes: probability mass inside", low=0.5, high=0.999999
    )
    lidar_odometry: str = param(
        "auto", "kiss-icp odometry: where no odometry comes, always, or never",
        choices=("auto", "always", "never"),
    )  # fmt: skip
    gps_sigma_m: float = param(
        1.5, "usual sigma of the receiver's slow error, each axis", low=0.005, high=100.0, unit="m"
    )
    gps_correlation_s: float = param(
        40.0, "time over which that error wanders", low=1.0, high=3600.0, unit="s"
    )
    gps_timeout_s: float = param(
        3.0, "without a fix for this long GPS is stale", low=0.1, high=600.0, unit="s"
    )
    dwell_s: float = param(
        60.0, "how long GPS and odometry usually stay as good as they are", low=1.0, high=3600.0,
        unit="s",
    )  # fmt: skip
    drift_position: float = param(
        0.03, "odometry drift in place, m per root metre travelled", low=0.0, high=1.0
    )
    drift_heading: float = param(
        0.005, "odometry drift in heading, rad per root metre travelled", low=0.0, high=1.0
    )
    drift_turning: float = param(
        0.03, "odometry drift in heading, rad per root radian turned", low=0.0, high=1.0
    )
    unknown_speed_mps: float = param(
        1.0, "speed the robot may have while odometry is silent", low=0.0, high=60.0, unit="m/s"
    )
    align_sigma_deg: float = param(
        20.0, "heading sigma at which odometry is laid into the map", low=0.5, high=45.0,
        unit="deg",
    )  # fmt: skip
    replay_s: float = param(
        2.0, "fixes late by up to this are applied at their own instant", low=0.0, high=60.0,
        unit="s",
    )  # fmt: skip


@dataclass(frozen=True)
class GroundingConfig:
    """From command to target."""

    stand_off_m: float = param(
        1.5, "distance kept from the object's edge", low=0.1, high=20.0, unit="m"
    )
    min_probability: float = param(0.5, "less probable objects are no target", low=0.0, high=1.0)
    resend_m: float = param(
        0.25, "a target is sent again when it moved by more", low=0.0, high=10.0, unit="m"
    )
    lost_s: float = param(
        2.0, "a locked object may go unseen this long", low=0.0, high=600.0, unit="s"
    )
    expiry_s: float = param(1.0, "a target is valid this long", low=0.1, high=60.0, unit="s")
    remember_s: float = param(
        60.0, "a locked object at rest is remembered this long where it cannot be seen", low=0.0,
        high=3600.0, unit="s",
    )  # fmt: skip
    reacquire_m: float = param(
        1.5, "an object this near to where the locked one was may be the same", low=0.0, high=20.0,
        unit="m",
    )  # fmt: skip
    blind_m: float = param(
        3.0, "nearer than this a locked object at rest may leave the sensors' view", low=0.0,
        high=50.0, unit="m",
    )  # fmt: skip
    min_trust: float = param(
        0.05, "with every camera and lidar trusted less, nothing is seen", low=0.0, high=1.0
    )
    unknown_colour: float = param(
        0.4, "probability that an object of unknown colour has the one asked for", low=0.0,
        high=1.0,
    )  # fmt: skip


@dataclass(frozen=True)
class ObstaclesConfig:
    """The occupancy grid."""

    size_m: float = param(40.0, "edge of the square grid", low=2.0, high=200.0, unit="m")
    resolution_m: float = param(0.25, "edge of a cell", low=0.02, high=2.0, unit="m")
    min_height_m: float = param(0.25, "lower returns are ground", low=-1.0, high=5.0, unit="m")
    max_height_m: float = param(2.2, "higher returns pass overhead", low=0.1, high=20.0, unit="m")
    max_slope: float = param(
        0.2, "steepest ground, rise over run; what rises faster stands on the ground", low=0.0,
        high=2.0,
    )  # fmt: skip
    min_points: int = param(2, "returns that make a cell occupied", low=1, high=1000)
    footprint_length_m: float = param(
        1.0, "the robot's own length about base_link: always free", low=0.0, high=20.0, unit="m"
    )
    footprint_width_m: float = param(
        0.8, "the robot's own width about base_link: always free", low=0.0, high=20.0, unit="m"
    )
    remember_s: float = param(
        60.0, "near the robot, what no ray reaches any more is remembered this long; 0: not at all",
        low=0.0, high=3600.0, unit="s",
    )  # fmt: skip


@dataclass(frozen=True)
class FusionConfig:
    """Everything, one section for each room."""

    sources: tuple[SourceConfig, ...] = field(default_factory=default_sources)
    sync: SyncConfig = field(default_factory=SyncConfig)
    camera: CameraConfig = field(default_factory=CameraConfig)
    lidar: LidarConfig = field(default_factory=LidarConfig)
    gps: GpsConfig = field(default_factory=GpsConfig)
    odometry: OdometryConfig = field(default_factory=OdometryConfig)
    command: CommandConfig = field(default_factory=CommandConfig)
    perception: PerceptionConfig = field(default_factory=PerceptionConfig)
    reliability: ReliabilityConfig = field(default_factory=ReliabilityConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    localization: LocalizationConfig = field(default_factory=LocalizationConfig)
    grounding: GroundingConfig = field(default_factory=GroundingConfig)
    obstacles: ObstaclesConfig = field(default_factory=ObstaclesConfig)

    def source(self, name: str) -> SourceConfig:
        """The source of that name.

        Raises:
            KeyError: no such source is configured.
        """
        for source in self.sources:
            if source.name == name:
                return source
        raise KeyError(f"no source {name!r}; configured: {[s.name for s in self.sources]}")


def load(path: str | Path) -> FusionConfig:
    """Reads a YAML file whose section names are the field names of `FusionConfig`.

    Raises:
        ConfigError: unknown section or field, wrong type, or value out of range.
        OSError: the file cannot be read.
    """
    with open(path, encoding="utf-8") as stream:
        content = yaml.safe_load(stream) or {}
    if not isinstance(content, Mapping):
        raise ConfigError(f"{path}: expected sections, got {type(content).__name__}")
    return from_dict(content)


def from_dict(content: Mapping[str, Any]) -> FusionConfig:
    """A checked configuration from nested dictionaries; what is absent keeps its default.

    Raises:
        ConfigError: unknown section or field, wrong type, or value out of range.
    """
    sections = {f.name: f for f in dataclasses.fields(FusionConfig)}
    values: dict[str, Any] = {}
    for name, section in content.items():
        if name not in sections:
            raise ConfigError(f"unknown section {name!r}; known: {', '.join(sections)}")
        if name == "sources":
            if not isinstance(section, list):
                raise ConfigError("sources: expected a list of sensors")
            values[name] = tuple(
                build(SourceConfig, item, f"sources[{index}]") for index, item in enumerate(section)
            )
        else:
            kind = typing.get_type_hints(FusionConfig)[name]
            values[name] = build(kind, section or {}, name)
    return check(FusionConfig(**values))


def check(config: FusionConfig) -> FusionConfig:
    """What no single field can say: unique names, an anchor that exists.

    Raises:
        ConfigError: the sections contradict each other.
    """
    names = [source.name for source in config.sources]
    for name in names:
        if not name:
            raise ConfigError("sources: a source has no name")
        if names.count(name) > 1:
            raise ConfigError(f"sources: the name {name!r} is used twice; names must be unique")
    anchor = config.sync.anchor
    if anchor not in names:
        raise ConfigError(f"sync.anchor = {anchor!r}: no such source; configured: {names}")
    if config.obstacles.min_height_m >= config.obstacles.max_height_m:
        raise ConfigError(
            f"obstacles.min_height_m = {config.obstacles.min_height_m}: "
            f"allowed is below obstacles.max_height_m = {config.obstacles.max_height_m}"
        )
    if config.obstacles.size_m / config.obstacles.resolution_m > 2000.0:
        raise ConfigError(
            f"obstacles.resolution_m = {config.obstacles.resolution_m}: allowed is at least "
            f"obstacles.size_m / 2000 = {config.obstacles.size_m / 2000.0}"
        )
    return config


def parameters(config: FusionConfig) -> Iterator[tuple[str, Any, Any]]:
    """Every scalar parameter as (dotted name, value, dataclass field); sources not included."""
    for section in dataclasses.fields(config):
        if section.name == "sources":
            continue
        value = getattr(config, section.name)
        for entry in dataclasses.fields(value):
            yield f"{section.name}.{entry.name}", getattr(value, entry.name), entry
