"""The node's ears: a subscription for each source, and the way from its messages to samples.

Topics are relative and start with the source's name: a camera "front" is heard on
`front/image_raw` and `front/camera_info`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, Imu, NavSatFix, PointCloud2
from std_msgs.msg import String
from tf2_msgs.msg import TFMessage

from mm_fusion_ros.config import FusionConfig
from mm_fusion_ros.ros import conversions, qos
from mm_fusion_ros.ros.parameters import NodeConfig
from mm_fusion_ros.ros.transforms import TransformBuffer, TransformMissing
from mm_fusion_ros.ros.worker import Arrival, Pending
from mm_fusion_ros.samples import Float, Modality, Sample
from mm_fusion_ros.sensors.rejection import Rejected

IMAGE_TOPICS: dict[str, tuple[type, str]] = {
    "raw": (Image, "image_raw"),
    "compressed": (CompressedImage, "image_raw/compressed"),
}


def topic_of(source: str, modality: Modality, transport: str = "raw") -> tuple[type, str]:
    """Message type and relative topic of a source."""
    if modality is Modality.CAMERA:
        kind, name = IMAGE_TOPICS[transport]
        return kind, f"{source}/{name}"
    kind, suffix = {
        Modality.LIDAR: (PointCloud2, "/points"),
        Modality.GPS: (NavSatFix, "/fix"),
        Modality.ODOMETRY: (Odometry, ""),
        Modality.IMU: (Imu, "/data"),
        Modality.COMMAND: (String, ""),
    }[modality]
    return kind, source + suffix


class Inputs:
    """Subscriptions, and what is needed beside a message to make a sample of it.

    Args:
        node: subscriptions are made on it.
        config: names the sources.
        node_config: frames, transport.
        offer: takes (source, message); called by the executor's thread, must return at once.
        on_change: told that a transform or a `CameraInfo` came.
        warn: takes (source, reason, detail) of what is no drop but should be known.
    """

    def __init__(
        self,
        node: Node,
        config: FusionConfig,
        node_config: NodeConfig,
        *,
        offer: Callable[[str, Any], None],
        on_change: Callable[[], None],
        warn: Callable[[str, str, str], None],
    ) -> None:
        self._node = node
        self._config = config
        self._base_frame = node_config.base_frame
        self._offer = offer
        self._on_change = on_change
        self._warn = warn
        self._infos: dict[str, CameraInfo] = {}
        self._subscriptions: list[Subscription] = []
        self._converters: dict[str, Callable[[Arrival, bool], Sample | None]] = {}
        self.arrivals: dict[str, int] = {}
        self.topics: dict[str, str] = {}
        self.transforms = TransformBuffer()
        by_modality: dict[Modality, Callable[[Arrival, bool], Sample | None]] = {
            Modality.CAMERA: self._camera,
            Modality.LIDAR: self._lidar,
            Modality.GPS: self._gps,
            Modality.ODOMETRY: self._odometry,
            Modality.IMU: self._imu,
            Modality.COMMAND: self._command,
        }
        # Transforms first: with a latched /tf_static the first scan then seldom has to wait.
        self._subscribe(TFMessage, "/tf_static", self._on_static, qos.latched(depth=100))
        self._subscribe(TFMessage, "/tf", self._on_moving, qos.reliable(depth=100))
        for source in config.sources:
            modality = Modality(source.modality)
            self._converters[source.name] = by_modality[modality]
            self.arrivals[source.name] = 0
            if modality is Modality.CAMERA:
                self._subscribe(
                    CameraInfo, f"{source.name}/camera_info", self._remember_info(source.name),
                    qos.sensor_data(),
                )  # fmt: skip
            kind, topic = topic_of(source.name, modality, node_config.image_transport)
            profile = qos.reliable() if modality is Modality.COMMAND else qos.sensor_data()
            self.topics[source.name] = self._subscribe(
                kind, topic, self._enqueue(source.name), profile
            )

    def close(self) -> None:
        """Gives the subscriptions back."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []

    def convert(self, arrival: Arrival, patient: bool) -> Sample | None:
        """The sample of a message; by the worker's thread.

        Raises:
            Pending: a transform or a `CameraInfo` is missing, and there is still patience.
            Rejected: the message cannot be used.
        """
        return self._converters[arrival.source](arrival, patient)

    def _subscribe(
        self, kind: type, topic: str, callback: Callable[[Any], None], profile: QoSProfile
    ) -> str:
        subscription = self._node.create_subscription(
            kind, topic, callback, profile, qos_overriding_options=qos.overridable()
        )
        self._subscriptions.append(subscription)
        return str(subscription.topic_name)

    def _enqueue(self, source: str) -> Callable[[Any], None]:
        def callback(message: Any) -> None:
            self.arrivals[source] += 1
            self._offer(source, message)

        return callback

    def _remember_info(self, source: str) -> Callable[[CameraInfo], None]:
        def callback(message: CameraInfo) -> None:
            first = source not in self._infos
            self._infos[source] = message
            if first:
                self._on_change()

        return callback

    def _on_static(self, message: TFMessage) -> None:
        for verdict in self.transforms.add_fixed(message):
            self._warn("tf_static", verdict.reason, verdict.detail)
        self._on_change()

    def _on_moving(self, message: TFMessage) -> None:
        self.transforms.add_moving(message)

    def _base_from(self, arrival: Arrival, patient: bool) -> Float:
        """Where the sensor of a message is mounted."""
        head = arrival.message.header
        frame = conversions.frame_of(head, self._required_frame(arrival.source))
        try:
            return self.transforms.lookup(self._base_frame, frame, conversions.stamp_ns(head))
        except TransformMissing as missing:
            if patient:
                raise Pending(str(missing)) from missing
            raise Rejected("transform", str(missing)) from missing

    def _base_from_or_origin(self, arrival: Arrival, patient: bool) -> Float:
        """The mounting, or none: for a GPS or an IMU it is a metre, not the whole measurement."""
        try:
            return self._base_from(arrival, patient)
        except Rejected as rejected:
            if rejected.reason != "transform":
                raise
            self._warn(arrival.source, "lever_arm", f"{rejected.detail}; taken as base_link's")
            return np.eye(4)

    def _required_frame(self, source: str) -> str:
        return self._config.source(source).required_frame

    def _camera(self, arrival: Arrival, patient: bool) -> Sample:
        info = self._infos.get(arrival.source)
        if info is None:
            missing = f"no CameraInfo has come on {arrival.source}/camera_info"
            if patient:
                raise Pending(missing)
            raise Rejected("calibration", missing)
        base_from_camera = self._base_from(arrival, patient)
        return conversions.camera_frame(
            arrival.message, info, arrival.source, base_from_camera, self._config.camera
        )

    def _lidar(self, arrival: Arrival, patient: bool) -> Sample:
        base_from_lidar = self._base_from(arrival, patient)
        return conversions.lidar_scan(
            arrival.message, arrival.source, base_from_lidar, self._config.lidar
        )

    def _gps(self, arrival: Arrival, patient: bool) -> Sample:
        base_from_antenna = self._base_from_or_origin(arrival, patient)[:3, 3]
        return conversions.gps_fix(arrival.message, arrival.source, base_from_antenna)

    def _odometry(self, arrival: Arrival, _patient: bool) -> Sample:
        required = self._required_frame(arrival.source)
        return conversions.odometry(arrival.message, arrival.source, required)

    def _imu(self, arrival: Arrival, patient: bool) -> Sample:
        base_from_imu = self._base_from_or_origin(arrival, patient)
        return conversions.imu(arrival.message, arrival.source, base_from_imu)

    def _command(self, arrival: Arrival, _patient: bool) -> Sample:
        return conversions.command(arrival.message, arrival.source, arrival.stamp_ns)
