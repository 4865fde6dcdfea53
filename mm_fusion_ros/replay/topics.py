"""Which topics of a bag are sensors, and what to expect of them.

Topics are found by their type; where several would do, by their name. What is not chosen is said,
and any topic can be named by hand.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mm_fusion_ros import config as configuration
from mm_fusion_ros.config import FusionConfig, SourceConfig
from mm_fusion_ros.samples import Modality

INFO_TYPE = "sensor_msgs/msg/CameraInfo"
TF_TYPE = "tf2_msgs/msg/TFMessage"
COMPRESSED_TYPE = "sensor_msgs/msg/CompressedImage"

MODALITY_OF_TYPE: dict[str, Modality] = {
    "sensor_msgs/msg/Image": Modality.CAMERA,
    COMPRESSED_TYPE: Modality.CAMERA,
    "sensor_msgs/msg/PointCloud2": Modality.LIDAR,
    "sensor_msgs/msg/NavSatFix": Modality.GPS,
    "nav_msgs/msg/Odometry": Modality.ODOMETRY,
    "sensor_msgs/msg/Imu": Modality.IMU,
    "std_msgs/msg/String": Modality.COMMAND,
}

NAMES: dict[Modality, str] = {
    Modality.CAMERA: "camera",
    Modality.LIDAR: "lidar",
    Modality.GPS: "gps",
    Modality.ODOMETRY: "odom",
    Modality.IMU: "imu",
    Modality.COMMAND: "command",
}

# Of these the pipeline has use for one: two odometries of one robot would be counted twice.
SINGLE = (Modality.GPS, Modality.ODOMETRY, Modality.IMU, Modality.COMMAND)

# Words in a topic's name that say it is derived from sensors, or is no picture of the scene.
DERIVED: dict[Modality, tuple[str, ...]] = {
    Modality.CAMERA: ("depth", "disparity", "theora", "mask", "debug", "overlay", "label"),
    Modality.LIDAR: ("depth", "map", "obstacle", "ground", "filtered", "segment", "cluster"),
    Modality.GPS: ("filtered",),
    Modality.ODOMETRY: ("filtered", "gps", "truth", "global", "gt", "map"),
    Modality.IMU: ("raw", "bias"),
    Modality.COMMAND: (),
}

# Of one camera's pictures, the first of these that is recorded.
PICTURES = ("image_raw", "image_color", "image", "image_rect_color", "image_rect", "image_mono")


class TopicError(ValueError):
    """A topic that cannot be used, or a bag without any: says what there is instead."""


@dataclass(frozen=True)
class Channel:
    """One topic of a bag: its name, message type and number of messages."""

    topic: str
    msgtype: str
    count: int


@dataclass(frozen=True)
class Choice:
    """A topic taken as a source; `info_topic` is a camera's CameraInfo, if it has one."""

    source: str
    modality: Modality
    topic: str
    msgtype: str
    count: int
    info_topic: str = ""


def choose(
    channels: Iterable[Channel], named: Mapping[str, str] | None = None
) -> tuple[tuple[Choice, ...], tuple[str, ...]]:
    """The sources of a bag.

    Args:
        channels: what the bag holds.
        named: source name to topic, for what shall not be found by type; `<camera>_info` names
            a camera's CameraInfo. A kind of sensor that is named is not searched for.

    Returns:
        The choices, and a remark on each topic of a usable type that was not taken.

    Raises:
        TopicError: a named topic is absent or of a type that is no source.
    """
    recorded = {item.topic: item for item in channels if item.count > 0}
    infos = {item.topic for item in recorded.values() if item.msgtype == INFO_TYPE}
    named = dict(named or {})
    given_infos = {
        name.removesuffix("_info"): topic
        for name, topic in named.items()
        if name.endswith("_info") and recorded.get(topic, Channel("", "", 0)).msgtype == INFO_TYPE
    }
    choices: list[Choice] = []
    for name, topic in named.items():
        if topic in given_infos.values() and name.endswith("_info"):
            continue
        choices.append(named_choice(name, topic, recorded))
    settled = {choice.modality for choice in choices}
    remarks: list[str] = []
    for modality, name in NAMES.items():
        if modality in settled:
            continue
        found, left = candidates(recorded.values(), modality)
        for index, item in enumerate(found):
            source = name if index == 0 else f"{name}_{index + 1}"
            choices.append(Choice(source, modality, item.topic, item.msgtype, item.count))
        remarks += [
            f"{topic} is left out: {why}; take it with --topic {name}={topic}"
            for topic, why in left
        ]
    return tuple(
        with_info(choice, infos, given_infos) if choice.modality is Modality.CAMERA else choice
        for choice in choices
    ), tuple(remarks)


def named_choice(name: str, topic: str, recorded: Mapping[str, Channel]) -> Choice:
    """The choice of a topic that was named by hand.

    Raises:
        TopicError: it is absent, or of a type that is no source.
    """
    usable = sorted(t for t, item in recorded.items() if item.msgtype in MODALITY_OF_TYPE)
    if topic not in recorded:
        raise TopicError(
            f"--topic {name}={topic}: the bag has no messages on {topic}; usable topics are: "
            f"{', '.join(usable) or 'none'}"
        )
    item = recorded[topic]
    if item.msgtype not in MODALITY_OF_TYPE:
        raise TopicError(
            f"--topic {name}={topic}: its type {item.msgtype} is no sensor's; "
            f"usable types are {', '.join(MODALITY_OF_TYPE)}"
        )
    return Choice(name, MODALITY_OF_TYPE[item.msgtype], topic, item.msgtype, item.count)


def candidates(
    channels: Iterable[Channel], modality: Modality
) -> tuple[list[Channel], list[tuple[str, str]]]:
    """Topics of a kind that are taken, in a fixed order, and those that are not, with why."""
    fitting = sorted(
        (item for item in channels if MODALITY_OF_TYPE.get(item.msgtype) is modality),
        key=lambda item: item.topic,
    )
    if modality is Modality.COMMAND:
        fitting = [item for item in fitting if posixpath.basename(item.topic) == "command"]
    left: list[tuple[str, str]] = []
    direct = [item for item in fitting if not is_derived(item.topic, modality)]
    # Where there is nothing but a derived topic, it is better than none.
    if not direct and modality in SINGLE:
        direct = fitting
    left += [(item.topic, "by its name it is derived") for item in fitting if item not in direct]
    taken = one_picture_each(direct) if modality is Modality.CAMERA else direct
    if modality in SINGLE:
        taken = taken[:1]
    left += [(item.topic, f"{taken[0].topic} was taken") for item in direct if item not in taken]
    return taken, left


def is_derived(topic: str, modality: Modality) -> bool:
    """Whether the words of a topic's name say that it is not the sensor itself."""
    words = topic.lower().replace("/", "_").split("_")
    return any(
        word == mark or (len(mark) > 3 and mark in word)
        for word in words
        for mark in DERIVED[modality]
    )


def one_picture_each(channels: Sequence[Channel]) -> list[Channel]:
    """Of each camera (a namespace) one topic: unprocessed before processed, raw before JPEG."""
    cameras: dict[str, list[Channel]] = {}
    for item in channels:
        cameras.setdefault(posixpath.dirname(picture_of(item)), []).append(item)

    def rank(item: Channel) -> tuple[int, bool, str]:
        name = posixpath.basename(picture_of(item))
        order = PICTURES.index(name) if name in PICTURES else len(PICTURES)
        return order, item.msgtype == COMPRESSED_TYPE, item.topic

    return [min(group, key=rank) for _, group in sorted(cameras.items())]


def picture_of(item: Channel | Choice) -> str:
    """The topic of the picture itself, without what image transport adds."""
    if item.msgtype == COMPRESSED_TYPE:
        return item.topic.removesuffix("/compressed")
    return item.topic


def with_info(choice: Choice, infos: Iterable[str], given: Mapping[str, str]) -> Choice:
    """The choice of a camera with its CameraInfo: the one named, or the one beside it."""
    picture = picture_of(choice)
    beside = (
        given.get(choice.source, ""),
        posixpath.join(posixpath.dirname(picture), "camera_info"),
        posixpath.join(picture, "camera_info"),
    )
    available = set(infos)
    info = next((topic for topic in beside if topic in available), "")
    return Choice(choice.source, choice.modality, choice.topic, choice.msgtype, choice.count, info)


def nominal_rate(log_times_ns: Sequence[int], count: int, duration_ns: int) -> float:
    """The rate of a topic [Hz] from a stretch of its arrival times.

    The median interval is not lowered by an outage. Where messages come in bursts it is far too
    short: long intervals are then no exception, and the mean is taken. Too few messages give the
    mean over the bag.
    """
    if len(log_times_ns) >= 5:
        intervals = np.sort(np.diff(np.asarray(log_times_ns, dtype=np.int64)))
        usual = float(intervals[: -(-9 * len(intervals) // 10)].mean())
        interval = float(np.median(intervals))
        if interval < 0.5 * usual:
            interval = float(intervals.mean())
        if interval > 0.0:
            return 1e9 / interval
    return max(count - 1, 1) / max(duration_ns / 1e9, 1.0)


def source_config(name: str, modality: Modality, rate_hz: float) -> SourceConfig:
    """What to expect of a source that comes at this rate: tolerances of some periods.

    Raises:
        ConfigError: the rate lies outside what is allowed.
    """
    default = next(
        (s for s in configuration.default_sources() if s.modality == modality.value),
        SourceConfig(),
    )
    if modality is Modality.COMMAND:
        return configuration.build(SourceConfig, {**vars(default), "name": name}, name)
    period_ms = 1000.0 / rate_hz
    # A picture or sweep may be half a period from the tick; a pose or fix is carried forward.
    periods = 0.6 if modality in (Modality.CAMERA, Modality.LIDAR) else 2.0
    return configuration.build(
        SourceConfig,
        {
            "name": name,
            "modality": modality.value,
            "rate_hz": float(np.clip(rate_hz, 0.01, 1000.0)),
            "tolerance_ms": min(max(default.tolerance_ms, periods * period_ms), 10_000.0),
            "timeout_ms": min(max(default.timeout_ms, 5.0 * period_ms), 600_000.0),
        },
        name,
    )


def anchor_of(sources: Sequence[SourceConfig]) -> str:
    """The source that makes the ticks: a lidar, else a camera, else odometry, else GPS.

    Raises:
        TopicError: none of them is there.
    """
    for modality in (Modality.LIDAR, Modality.CAMERA, Modality.ODOMETRY, Modality.GPS):
        for source in sources:
            if source.modality == modality.value:
                return source.name
    raise TopicError(
        "the bag has no topic to fuse: expected images with CameraInfo, point clouds, odometry or "
        "fixes; name topics with --topic camera=/..., lidar=/..., odom=/..., gps=/..."
    )


def with_sources(base: FusionConfig, sources: Sequence[SourceConfig]) -> FusionConfig:
    """The configuration for a bag.

    A configuration that names its own sources keeps them: a sensor of the robot that the bag
    lacks is then rightly reported as missing. Else the bag's sources are taken, with their anchor.

    Raises:
        TopicError: no source can be the anchor.
        ConfigError: the result contradicts itself.
    """
    if base.sources != configuration.default_sources():
        return configuration.check(base)
    sync = configuration.build(
        configuration.SyncConfig, {**vars(base.sync), "anchor": anchor_of(sources)}, "sync"
    )
    values = {**vars(base), "sources": tuple(sources), "sync": sync}
    return configuration.check(FusionConfig(**values))
