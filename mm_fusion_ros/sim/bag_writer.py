"""Samples into a rosbag2 folder, with the topics, types and QoS of real drivers; no ROS needed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from mm_fusion_ros import geometry
from mm_fusion_ros.samples import (
    CameraFrame,
    Command,
    Float,
    GpsFix,
    LidarScan,
    OdometrySample,
    Sample,
)
from mm_fusion_ros.sim.sensors import LidarSpec, Rig

_NS = 1_000_000_000
_JPEG_QUALITY = 90
# Ranges of real lidars come in steps of this; coarser numbers also take less room on disk.
_GRID_M = 1.0 / 256.0

# Byte layout of a point, as the drivers of common spinning lidars have it.
_POINT = np.dtype(
    {
        "names": ["x", "y", "z", "intensity", "ring", "time"],
        "formats": ["<f4", "<f4", "<f4", "<f4", "<u2", "<f4"],
        "offsets": [0, 4, 8, 12, 16, 18],
        "itemsize": 22,
    }
)
_DATATYPE = {"<f4": 7, "<u2": 4}

STORAGES: dict[str, tuple[StoragePlugin, CompressionMode]] = {
    "mcap": (StoragePlugin.MCAP, CompressionMode.STORAGE),
    "sqlite3": (StoragePlugin.SQLITE3, CompressionMode.MESSAGE),
}


@dataclass(frozen=True)
class _Topic:
    name: str
    msgtype: str
    reliable: bool = False
    latched: bool = False


class BagWriter:
    """A context manager that writes one robot's samples.

    Topics: `/<camera>/image_raw/compressed` and `/<camera>/camera_info` for each camera,
    `/lidar/points`, `/gps/fix`, `/odom`, `/tf` (odom -> base_link), `/tf_static` and `/command`.
    """

    def __init__(
        self, path: Path, rig: Rig, base_from_antenna: Float, storage: str = "mcap"
    ) -> None:
        """Prepares; nothing is written before the context is entered.

        Args:
            path: the bag's folder, which must not exist.
            rig: for the mounts.
            base_from_antenna: (3,) the GPS antenna in base_link [m].
            storage: "mcap" or "sqlite3", both compressed with zstd.

        Raises:
            ValueError: no such storage.
            FileExistsError: the folder is there already.
        """
        if storage not in STORAGES:
            raise ValueError(f"storage {storage!r}: expected one of {', '.join(STORAGES)}")
        if path.exists():
            raise FileExistsError(f"{path} exists already: remove it or name another folder")
        plugin, mode = STORAGES[storage]
        path.parent.mkdir(parents=True, exist_ok=True)
        self._rig = rig
        self._base_from_antenna = base_from_antenna
        self._store = get_typestore(Stores.ROS2_JAZZY)
        self._writer = Writer(path, version=9, storage_plugin=plugin)
        self._writer.set_compression(mode, CompressionFormat.ZSTD)
        self._connections: dict[str, Connection] = {}
        self._latched = False
        self.counts: dict[str, int] = {}

    def __enter__(self) -> BagWriter:
        self._writer.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.close()

    def write(self, sample: Sample) -> None:
        """Writes a sample at its own stamp; mounts go before the first.

        Raises:
            TypeError: a kind of sample that has no topic here.
        """
        stamp = sample.stamp_ns
        if not self._latched:
            self._latched = True
            message = self._transforms(stamp, self._mounts())
            self._put(_Topic("/tf_static", "tf2_msgs/msg/TFMessage", True, True), stamp, message)
        if isinstance(sample, CameraFrame):
            self._write_camera(sample)
        elif isinstance(sample, LidarScan):
            self._put(
                _Topic("/lidar/points", "sensor_msgs/msg/PointCloud2"), stamp, self._cloud(sample)
            )
        elif isinstance(sample, GpsFix):
            self._put(_Topic("/gps/fix", "sensor_msgs/msg/NavSatFix"), stamp, self._fix(sample))
        elif isinstance(sample, OdometrySample):
            topic = _Topic("/odom", "nav_msgs/msg/Odometry", True)
            self._put(topic, stamp, self._odometry(sample))
            edges = [("odom", "base_link", sample.odom_from_base)]
            message = self._transforms(stamp, edges)
            self._put(_Topic("/tf", "tf2_msgs/msg/TFMessage", True), stamp, message)
        elif isinstance(sample, Command):
            text = self._make("std_msgs/msg/String", data=sample.text)
            self._put(_Topic("/command", "std_msgs/msg/String", True), stamp, text)
        else:
            raise TypeError(f"{type(sample).__name__} has no topic in this bag")

    def _put(self, topic: _Topic, stamp_ns: int, message: Any) -> None:
        if topic.name not in self._connections:
            self._connections[topic.name] = self._writer.add_connection(
                topic.name, topic.msgtype, typestore=self._store,
                offered_qos_profiles=[_qos(topic)],
            )  # fmt: skip
        data = self._store.serialize_cdr(message, topic.msgtype)
        self._writer.write(self._connections[topic.name], stamp_ns, data)
        self.counts[topic.name] = self.counts.get(topic.name, 0) + 1

    def _make(self, msgtype: str, **fields: Any) -> Any:
        return self._store.types[msgtype](**fields)

    def _header(self, stamp_ns: int, frame_id: str) -> Any:
        stamp = self._make(
            "builtin_interfaces/msg/Time", sec=stamp_ns // _NS, nanosec=stamp_ns % _NS
        )
        return self._make("std_msgs/msg/Header", stamp=stamp, frame_id=frame_id)

    def _mounts(self) -> list[tuple[str, str, Float]]:
        antenna = geometry.transform(np.eye(3), self._base_from_antenna)
        edges = [("base_link", "gps_antenna", antenna)]
        edges.append(("base_link", "lidar", self._rig.lidar.base_from_lidar))
        edges.extend(
            ("base_link", f"{camera.name}_optical", camera.base_from_camera)
            for camera in self._rig.cameras
        )
        return edges

    def _transforms(self, stamp_ns: int, edges: list[tuple[str, str, Float]]) -> Any:
        transforms = [
            self._make(
                "geometry_msgs/msg/TransformStamped",
                header=self._header(stamp_ns, parent),
                child_frame_id=child,
                transform=self._make(
                    "geometry_msgs/msg/Transform",
                    translation=self._vector(matrix[:3, 3]),
                    rotation=self._quaternion(matrix),
                ),
            )
            for parent, child, matrix in edges
        ]
        return self._make("tf2_msgs/msg/TFMessage", transforms=transforms)

    def _vector(self, value: Float) -> Any:
        x, y, z = (float(v) for v in value)
        return self._make("geometry_msgs/msg/Vector3", x=x, y=y, z=z)

    def _quaternion(self, matrix: Float) -> Any:
        x, y, z, w = (float(v) for v in geometry.quaternion_of(matrix))
        return self._make("geometry_msgs/msg/Quaternion", x=x, y=y, z=z, w=w)

    def _write_camera(self, frame: CameraFrame) -> None:
        done, coded = cv2.imencode(
            ".jpg", cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR),
            [int(cv2.IMWRITE_JPEG_QUALITY), _JPEG_QUALITY],
        )  # fmt: skip
        if not done:
            raise RuntimeError("the image could not be encoded as JPEG")
        header = self._header(frame.stamp_ns, frame.frame_id)
        picture = self._make(
            "sensor_msgs/msg/CompressedImage", header=header, format="rgb8; jpeg compressed bgr8",
            data=np.asarray(coded, np.uint8).ravel(),
        )  # fmt: skip
        self._put(
            _Topic(f"/{frame.source}/image_raw/compressed", "sensor_msgs/msg/CompressedImage"),
            frame.stamp_ns, picture,
        )  # fmt: skip
        height, width = frame.image.shape[:2]
        projection = np.zeros((3, 4))
        projection[:, :3] = frame.intrinsics
        info = self._make(
            "sensor_msgs/msg/CameraInfo", header=header, height=height, width=width,
            distortion_model="plumb_bob", d=np.zeros(5), k=frame.intrinsics.ravel(),
            r=np.eye(3).ravel(), p=projection.ravel(), binning_x=0, binning_y=0,
            roi=self._make(
                "sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0,
                do_rectify=False,
            ),
        )  # fmt: skip
        topic = _Topic(f"/{frame.source}/camera_info", "sensor_msgs/msg/CameraInfo")
        self._put(topic, frame.stamp_ns, info)

    def _cloud(self, scan: LidarScan) -> Any:
        points = np.zeros(len(scan.points), _POINT)
        place = np.round(scan.points[:, :3] / _GRID_M) * _GRID_M
        points["x"], points["y"], points["z"] = place.T
        points["intensity"] = np.round(scan.points[:, 3] * 255.0) / 255.0
        points["ring"] = rings(scan.points, self._rig.lidar)
        if scan.time_offset_ns is not None:
            points["time"] = scan.time_offset_ns * 1e-9
        fields = [
            self._make(
                "sensor_msgs/msg/PointField", name=name, offset=int(_POINT.fields[name][1]),
                datatype=_DATATYPE[_POINT.fields[name][0].str], count=1,
            )
            for name in _POINT.names or ()
            if _POINT.fields is not None
        ]  # fmt: skip
        return self._make(
            "sensor_msgs/msg/PointCloud2", header=self._header(scan.stamp_ns, scan.frame_id),
            height=1, width=len(points), fields=fields, is_bigendian=False,
            point_step=_POINT.itemsize, row_step=_POINT.itemsize * len(points),
            data=points.view(np.uint8), is_dense=True,
        )  # fmt: skip

    def _fix(self, fix: GpsFix) -> Any:
        known = fix.covariance is not None
        covariance = np.zeros(9) if fix.covariance is None else fix.covariance.ravel()
        return self._make(
            "sensor_msgs/msg/NavSatFix", header=self._header(fix.stamp_ns, fix.frame_id),
            status=self._make(
                "sensor_msgs/msg/NavSatStatus", status=int(fix.status.value), service=1
            ),
            latitude=fix.latitude_deg, longitude=fix.longitude_deg, altitude=fix.altitude_m,
            position_covariance=covariance, position_covariance_type=2 if known else 0,
        )  # fmt: skip

    def _odometry(self, sample: OdometrySample) -> Any:
        matrix = sample.odom_from_base
        x, y, z = (float(v) for v in matrix[:3, 3])
        pose = self._make(
            "geometry_msgs/msg/Pose",
            position=self._make("geometry_msgs/msg/Point", x=x, y=y, z=z),
            orientation=self._quaternion(matrix),
        )
        twist = self._make(
            "geometry_msgs/msg/Twist",
            linear=self._vector(sample.twist[:3]), angular=self._vector(sample.twist[3:]),
        )  # fmt: skip
        return self._make(
            "nav_msgs/msg/Odometry", header=self._header(sample.stamp_ns, sample.frame_id),
            child_frame_id="base_link",
            pose=self._make(
                "geometry_msgs/msg/PoseWithCovariance", pose=pose,
                covariance=sample.pose_covariance.ravel(),
            ),
            twist=self._make(
                "geometry_msgs/msg/TwistWithCovariance", twist=twist,
                covariance=sample.twist_covariance.ravel(),
            ),
        )  # fmt: skip


def rings(points: NDArray[np.float32], spec: LidarSpec) -> NDArray[np.uint16]:
    """(N,) uint16, the beam of each point (N, 4) [m], counted from the lowest as drivers do."""
    elevation = np.degrees(np.arctan2(points[:, 2], np.hypot(points[:, 0], points[:, 1])))
    beams = np.sort(spec.elevation_deg)
    return np.searchsorted((beams[1:] + beams[:-1]) / 2, elevation).astype(np.uint16)


def _qos(topic: _Topic) -> Qos:
    """Sensor data best effort, the rest reliable, mounts latched."""
    forever = QosTime(sec=0x7FFFFFFF, nsec=0xFFFFFFFF)
    return Qos(
        history=QosHistory.KEEP_LAST,
        depth=1 if topic.latched else 10,
        reliability=QosReliability.RELIABLE if topic.reliable else QosReliability.BEST_EFFORT,
        durability=QosDurability.TRANSIENT_LOCAL if topic.latched else QosDurability.VOLATILE,
        deadline=forever,
        lifespan=forever,
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=forever,
        avoid_ros_namespace_conventions=False,
    )
