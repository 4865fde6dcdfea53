"""Small rosbag2 recordings, made with numbers that a test can say beforehand."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

START_NS = 1_700_000_000_000_000_000
PERIOD_NS = 100_000_000
STORE = get_typestore(Stores.ROS2_HUMBLE)
TYPES: Any = STORE.types

Message = tuple[int, str, Any]


def stamp(stamp_ns: int) -> Any:
    """A header's stamp."""
    return TYPES["builtin_interfaces/msg/Time"](stamp_ns // 10**9, stamp_ns % 10**9)


def header(stamp_ns: int, frame: str) -> Any:
    """A header."""
    return TYPES["std_msgs/msg/Header"](stamp(stamp_ns), frame)


def picture(height: int = 60, width: int = 80) -> Any:
    """A (H, W, 3) uint8 picture with an edge in it."""
    image = np.full((height, width, 3), 90, np.uint8)
    image[:, width // 2 :] = 200
    return image


def compressed(stamp_ns: int, frame: str = "camera") -> Any:
    """A picture as JPEG."""
    data = cv2.imencode(".jpg", picture())[1]
    kind = TYPES["sensor_msgs/msg/CompressedImage"]
    return kind(header(stamp_ns, frame), "jpeg", np.asarray(data, np.uint8).ravel())


def raw(stamp_ns: int, frame: str = "camera") -> Any:
    """A picture as rgb8."""
    image = picture()
    height, width = image.shape[:2]
    kind = TYPES["sensor_msgs/msg/Image"]
    return kind(header(stamp_ns, frame), height, width, "rgb8", 0, width * 3, image.ravel())


def camera_info(stamp_ns: int, frame: str = "camera") -> Any:
    """A rectified pinhole of 80 by 60 pixels."""
    matrix = np.array([60.0, 0.0, 40.0, 0.0, 60.0, 30.0, 0.0, 0.0, 1.0])
    projection = np.array([60.0, 0.0, 40.0, 0.0, 0.0, 60.0, 30.0, 0.0, 0.0, 0.0, 1.0, 0.0])
    roi = TYPES["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
    kind = TYPES["sensor_msgs/msg/CameraInfo"]
    return kind(
        header(stamp_ns, frame), 60, 80, "plumb_bob", np.zeros(5), matrix, np.eye(3).ravel(),
        projection, 0, 0, roi,
    )  # fmt: skip


def cloud(stamp_ns: int, frame: str = "lidar", points: Any = None) -> Any:
    """Points x y z intensity, float32; by default four around the robot."""
    if points is None:
        points = [[5, 0, 0.5, 10], [0, 5, 0.5, 20], [-5, 0, 0.5, 30], [0, -5, 0.5, 40]]
    array = np.asarray(points, np.float32)
    field = TYPES["sensor_msgs/msg/PointField"]
    fields = [field(name, 4 * i, 7, 1) for i, name in enumerate(("x", "y", "z", "intensity"))]
    kind = TYPES["sensor_msgs/msg/PointCloud2"]
    return kind(
        header(stamp_ns, frame), 1, len(array), fields, False, 16, 16 * len(array),
        array.view(np.uint8).ravel(), True,
    )  # fmt: skip


def fix(stamp_ns: int, north_deg: float = 0.0, frame: str = "gps") -> Any:
    """A fix at 47 degrees north, so many degrees further north."""
    status = TYPES["sensor_msgs/msg/NavSatStatus"](0, 1)
    kind = TYPES["sensor_msgs/msg/NavSatFix"]
    covariance = np.diag([1.0, 1.0, 4.0]).ravel()
    return kind(header(stamp_ns, frame), status, 47.0 + north_deg, 8.0, 400.0, covariance, 2)


def odometry(stamp_ns: int, x: float = 0.0) -> Any:
    """A pose x metres ahead of the start."""
    point = TYPES["geometry_msgs/msg/Point"](x, 0.0, 0.0)
    turn = TYPES["geometry_msgs/msg/Quaternion"](0.0, 0.0, 0.0, 1.0)
    vector = TYPES["geometry_msgs/msg/Vector3"]
    small = (np.eye(6) * 0.01).ravel()
    pose = TYPES["geometry_msgs/msg/PoseWithCovariance"](
        TYPES["geometry_msgs/msg/Pose"](point, turn), small
    )
    twist = TYPES["geometry_msgs/msg/TwistWithCovariance"](
        TYPES["geometry_msgs/msg/Twist"](vector(1.0, 0.0, 0.0), vector(0.0, 0.0, 0.0)), small
    )
    kind = TYPES["nav_msgs/msg/Odometry"]
    return kind(header(stamp_ns, "odom"), "base_link", pose, twist)


def text(said: str) -> Any:
    """A string."""
    return TYPES["std_msgs/msg/String"](said)


def transforms(*edges: tuple[str, str, tuple[float, float, float]]) -> Any:
    """Transforms parent, child, translation; no rotation."""
    turn = TYPES["geometry_msgs/msg/Quaternion"](0.0, 0.0, 0.0, 1.0)
    vector = TYPES["geometry_msgs/msg/Vector3"]
    kind = TYPES["geometry_msgs/msg/TransformStamped"]
    items = [
        kind(
            header(START_NS, parent), child,
            TYPES["geometry_msgs/msg/Transform"](vector(*shift), turn),
        )
        for parent, child, shift in edges
    ]  # fmt: skip
    return TYPES["tf2_msgs/msg/TFMessage"](items)


MOUNTED = (
    ("base_link", "lidar", (0.0, 0.0, 1.8)),
    ("base_link", "camera", (0.5, 0.0, 1.2)),
    ("base_link", "gps", (-0.3, 0.0, 1.0)),
)


def robot(
    seconds: float = 1.0,
    tf_at_ns: int = START_NS,
    skip: Iterable[str] = (),
    raw_images: bool = False,
) -> list[Message]:
    """A robot with everything at 10 Hz, GPS at 5 Hz: (time of recording, topic, message)."""
    messages: list[Message] = [(tf_at_ns, "/tf_static", transforms(*MOUNTED))]
    for index in range(round(seconds * 10)):
        now = START_NS + index * PERIOD_NS
        image = ("/cam/image_raw", raw(now)) if raw_images else (
            "/cam/image_raw/compressed", compressed(now)
        )  # fmt: skip
        messages += [
            (now, *image),
            (now, "/cam/camera_info", camera_info(now)),
            (now, "/lidar/points", cloud(now)),
            (now, "/odom", odometry(now, 0.1 * index)),
        ]
        if index % 2 == 0:
            messages.append((now, "/fix", fix(now, 1e-6 * index)))
    left_out = set(skip)
    return [message for message in messages if message[1] not in left_out]


def drive(seconds: float = 2.0) -> list[Message]:
    """Odometry at 10 Hz and fixes at 5 Hz: what needs no network."""
    return robot(seconds, skip=["/cam/image_raw/compressed", "/cam/camera_info", "/lidar/points"])


def write(
    path: Path, messages: Iterable[Message], storage: StoragePlugin = StoragePlugin.MCAP
) -> Path:
    """Writes messages in the order of recording; returns the bag's folder."""
    with Writer(path, version=9, storage_plugin=storage) as writer:
        connections: dict[str, Any] = {}
        for log_ns, topic, message in sorted(messages, key=lambda item: item[0]):
            kind = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=STORE)
            writer.write(connections[topic], log_ns, STORE.serialize_cdr(message, kind))
    return path


def write_serialized(path: Path, rows: Iterable[tuple[int, str, str, bytes]]) -> Path:
    """Writes (time of recording, topic, type, bytes) as they are."""
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connections: dict[str, Any] = {}
        for log_ns, topic, kind, data in sorted(rows, key=lambda item: item[0]):
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=STORE)
            writer.write(connections[topic], log_ns, data)
    return path


def write_with_foreign_type(path: Path, messages: Iterable[Message]) -> Path:
    """Writes messages, and between them some of a type that nobody here knows."""
    store = get_typestore(Stores.ROS2_HUMBLE)
    store.register(get_types_from_msg("float64 secret\nstring name\n", "strange_msgs/msg/Thing"))
    thing = store.types["strange_msgs/msg/Thing"]
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        strange = writer.add_connection("/strange", "strange_msgs/msg/Thing", typestore=store)
        connections: dict[str, Any] = {}
        for log_ns, topic, message in sorted(messages, key=lambda item: item[0]):
            kind = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=store)
            data = store.serialize_cdr(thing(1.0, "x"), "strange_msgs/msg/Thing")
            writer.write(strange, log_ns, data)
            writer.write(connections[topic], log_ns, store.serialize_cdr(message, kind))
    return path
