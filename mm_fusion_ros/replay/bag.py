"""A recorded rosbag2 as samples, in the order in which they were recorded. Needs no ROS."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from rosbags.interfaces import Connection

from mm_fusion_ros.config import FusionConfig, SourceConfig
from mm_fusion_ros.replay import topics as bag_topics
from mm_fusion_ros.replay.bag_reader import BagError, BagReader
from mm_fusion_ros.replay.mountings import STATIC_TOPIC, Mountings
from mm_fusion_ros.replay.topics import Choice, TopicError
from mm_fusion_ros.ros import conversions
from mm_fusion_ros.samples import Float, Modality, Sample
from mm_fusion_ros.sensors.rejection import Rejected

__all__ = ["BagError", "BagEvent", "BagSource", "BagTopic"]

# Rates are estimated from this much of the bag: a long one is not read twice.
RATE_WINDOW_NS = 30_000_000_000
# Clocks of sensor and recorder that differ by more than this are worth a warning.
SKEW_NS = 10_000_000_000

Converter = Callable[[Any, int, FusionConfig], Sample]


@dataclass(frozen=True)
class BagTopic:
    """One topic that is replayed.

    Attributes:
        rate_hz: estimated from the times of recording.
        delay_ns: time of recording minus stamp, of the first message [ns].
        frame_id: of the first message.
    """

    source: str
    modality: Modality
    topic: str
    msgtype: str
    count: int
    rate_hz: float
    delay_ns: int
    frame_id: str


@dataclass(frozen=True, eq=False)
class BagEvent:
    """One recorded message.

    Attributes:
        log_ns: when it was recorded [ns].
        sample: None where the message could not be converted.
        reason: why not; empty otherwise.
        detail: the same in words.
    """

    log_ns: int
    source: str
    sample: Sample | None
    reason: str = ""
    detail: str = ""


class BagSource:
    """A rosbag2 (sqlite3 or MCAP, a folder or a single file), opened by `with`.

    On entry the fixed transforms, the calibrations and a stretch of arrival times are read, so
    that what was latched at any time is known from the first message on.

    Attributes:
        topics: what is replayed, one for each source.
        remarks: what was left out or assumed, a line each.
        start_ns, end_ns: when the first and the last message of the bag were recorded [ns].
    """

    def __init__(
        self,
        path: str | Path,
        named: Mapping[str, str] | None = None,
        base_frame: str = "base_link",
    ) -> None:
        """Prepares; nothing is read before entry.

        Args:
            path: a bag's folder, or its .mcap or .db3 file.
            named: source name to topic, for what shall not be found by type; `<camera>_info`
                names a camera's CameraInfo.
            base_frame: the robot's frame, to which the sensors' mountings lead.
        """
        self.path = Path(path)
        self.topics: tuple[BagTopic, ...] = ()
        self.remarks: tuple[str, ...] = ()
        self.start_ns = 0
        self.end_ns = 0
        self._named = dict(named or {})
        self._base_frame = base_frame
        self._opened: BagReader | None = None
        self._converters: dict[str, Converter] = {}
        self._source_of: dict[str, str] = {}
        self._camera_of_info: dict[str, str] = {}
        self._infos: dict[str, Any] = {}
        self._first_infos: dict[str, Any] = {}
        self._remarks: list[str] = []

    def __enter__(self) -> BagSource:
        """Opens and surveys the bag.

        Raises:
            BagError: missing, not a rosbag2, damaged, or without a topic to fuse.
        """
        self._opened = BagReader(self.path)
        try:
            self._survey(self._opened)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the bag."""
        reader, self._opened = self._opened, None
        if reader is not None:
            reader.close()

    @property
    def duration_ns(self) -> int:
        """From the first to the last message [ns]."""
        return self.end_ns - self.start_ns

    @property
    def sources(self) -> tuple[SourceConfig, ...]:
        """What to expect of each source."""
        return tuple(bag_topics.source_config(t.source, t.modality, t.rate_hz) for t in self.topics)

    def config(self, base: FusionConfig, commanded: bool = False) -> FusionConfig:
        """`base` for this bag: its sources and anchor, unless `base` names its own sources.

        Args:
            base: everything else.
            commanded: commands will be given although the bag has none.

        Raises:
            BagError: no source can be the anchor.
            ConfigError: the result contradicts itself.
        """
        sources = self.sources
        command = bag_topics.NAMES[Modality.COMMAND]
        if commanded and command not in [source.name for source in sources]:
            sources = (*sources, bag_topics.source_config(command, Modality.COMMAND, 0.1))
        try:
            return bag_topics.with_sources(base, sources)
        except TopicError as error:
            raise BagError(f"{self.path}: {error}") from error

    def events(self, config: FusionConfig) -> Iterator[BagEvent]:
        """Every message of the replayed topics, in the order of recording.

        Args:
            config: limits of the conversions.

        Raises:
            BagError: the bag is damaged further on.
        """
        reader = self._reader()
        # Each pass begins with what was known before the first message.
        self._infos = dict(self._first_infos)
        wanted = [*self._converters, *self._camera_of_info]
        for connection, log_ns, data in reader.messages(wanted):
            camera = self._camera_of_info.get(connection.topic)
            if camera is not None:
                self._take_info(reader, camera, connection, data)
                continue
            source = self._source_of[connection.topic]
            try:
                message = reader.decode(connection, data)
                sample = self._converters[connection.topic](message, log_ns, config)
            except Rejected as rejection:
                yield BagEvent(log_ns, source, None, rejection.reason, rejection.detail)
            else:
                yield BagEvent(log_ns, source, sample)

    def _reader(self) -> BagReader:
        if self._opened is None:
            raise BagError(f"{self.path} is not open: use BagSource in a with statement")
        return self._opened

    def _take_info(
        self, reader: BagReader, camera: str, connection: Connection, data: bytes
    ) -> None:
        try:
            self._infos[camera] = reader.decode(connection, data)
        except Rejected:
            # The calibration that was known before stays in force.
            return

    def _survey(self, reader: BagReader) -> None:
        """Reads what must be known before the first message."""
        self.start_ns, self.end_ns = reader.start_ns, reader.end_ns
        try:
            choices, remarks = bag_topics.choose(reader.channels(), self._named)
        except TopicError as error:
            raise BagError(f"{self.path}: {error}") from error
        mountings = Mountings(reader, self._base_frame)
        self._remarks = [*remarks, *mountings.remarks]
        times: dict[str, list[int]] = {}
        window_ns = self.start_ns + RATE_WINDOW_NS
        for connection, log_ns, _ in reader.messages((c.topic for c in choices), window_ns):
            times.setdefault(connection.topic, []).append(log_ns)
        described = [
            self._describe(reader, choice, mountings, times.get(choice.topic, []))
            for choice in choices
        ]
        self.topics = tuple(item for item in described if item is not None)
        self.remarks = tuple(self._remarks)
        try:
            bag_topics.anchor_of(self.sources)
        except TopicError as error:
            raise BagError("\n  ".join([f"{self.path}: {error}", *self.remarks])) from error

    def _describe(
        self, reader: BagReader, choice: Choice, mountings: Mountings, times: list[int]
    ) -> BagTopic | None:
        """A topic that can be replayed; None, with a remark, for one that cannot."""
        first = reader.first(choice.topic)
        if first is None:
            self._remarks.append(f"{choice.topic} is left out: none of its messages can be read")
            return None
        log_ns, message = first
        frame, stamp_ns = "", log_ns
        if choice.modality is not Modality.COMMAND:
            frame = conversions.frame_name(message.header.frame_id)
            stamp = message.header.stamp
            stamp_ns = int(stamp.sec) * conversions.SECOND_NS + int(stamp.nanosec)
            if stamp_ns > 0 and abs(log_ns - stamp_ns) > SKEW_NS:
                self._remarks.append(
                    f"{choice.topic}: stamps differ from the time of recording by "
                    f"{(log_ns - stamp_ns) / 1e9:.1f} s; the recorder or the driver probably ran "
                    "on another clock (simulated time?), and such samples will be refused"
                )
        convert = self._converter(reader, choice, frame, mountings)
        if convert is None:
            return None
        self._converters[choice.topic] = convert
        self._source_of[choice.topic] = choice.source
        return BagTopic(
            source=choice.source,
            modality=choice.modality,
            topic=choice.topic,
            msgtype=choice.msgtype,
            count=choice.count,
            rate_hz=bag_topics.nominal_rate(times, choice.count, self.duration_ns),
            delay_ns=log_ns - stamp_ns,
            frame_id=frame,
        )

    def _converter(
        self, reader: BagReader, choice: Choice, frame: str, mountings: Mountings
    ) -> Converter | None:
        """The conversion of a topic's messages; None, with a remark, where it is impossible."""
        source = choice.source
        if choice.modality is Modality.COMMAND:
            return lambda message, log_ns, _: conversions.command(message, source, log_ns)
        if choice.modality is Modality.ODOMETRY:
            return lambda message, _, __: conversions.odometry(message, source)
        base_from_sensor = self._mounting(choice, frame, mountings)
        if choice.modality is Modality.GPS:
            antenna = np.zeros(3) if base_from_sensor is None else base_from_sensor[:3, 3].copy()
            return lambda message, _, __: conversions.gps_fix(message, source, antenna)
        if base_from_sensor is None:
            return None
        if choice.modality is Modality.IMU:
            return lambda message, _, __: conversions.imu(message, source, base_from_sensor)
        if choice.modality is Modality.LIDAR:
            return lambda message, _, config: conversions.lidar_scan(
                message, source, base_from_sensor, config.lidar
            )
        if not self._calibrate(reader, choice):
            return None
        return lambda message, _, config: conversions.camera_frame(
            message, self._infos[source], source, base_from_sensor, config.camera
        )

    def _mounting(self, choice: Choice, frame: str, mountings: Mountings) -> Float | None:
        """base_from_sensor of a topic's frame; None, with one remark, where it is unknown."""
        try:
            base_from_sensor, assumed = mountings.lookup(frame)
        except KeyError as missing:
            # Without its rotation an IMU, camera or lidar would tell falsehoods; an antenna only
            # errs by its lever arm.
            lost = (
                "its antenna is taken to be at the robot's origin"
                if choice.modality is Modality.GPS
                else "it is left out"
            )
            self._remarks.append(
                f"{choice.topic}: {missing.args[0]}; {lost}. Record {STATIC_TOPIC}, or name the "
                "robot's frame with --base-frame"
            )
            return None
        if assumed:
            self._remarks.append(f"{choice.topic}: {assumed}")
        return base_from_sensor

    def _calibrate(self, reader: BagReader, choice: Choice) -> bool:
        """Reads a camera's first CameraInfo; False, with a remark, where there is none."""
        first = reader.first(choice.info_topic) if choice.info_topic else None
        if first is None:
            self._remarks.append(
                f"{choice.topic} is left out: no CameraInfo beside it; record it, or name it with "
                f"--topic {choice.source}_info=/..."
            )
            return False
        self._infos[choice.source] = self._first_infos[choice.source] = first[1]
        self._camera_of_info[choice.info_topic] = choice.source
        return True
