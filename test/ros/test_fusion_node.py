"""The node over real DDS, around a scripted pipeline: what comes in, what goes out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry
from rclpy.context import Context
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, NavSatFix, PointCloud2
from std_msgs.msg import String
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection3DArray

from mm_fusion_ros import geometry
from mm_fusion_ros.ros import answers, drivers, hearing, qos
from mm_fusion_ros.ros.answers import values_of
from mm_fusion_ros.ros.fusion_node import FusionNode
from mm_fusion_ros.samples import CameraFrame, GpsFix, LidarScan, OdometrySample

BASE_FROM_LIDAR = geometry.from_euler(np.array([0.1, 0.0, 0.8]), 0.0, 0.0, 0.0)
BASE_FROM_CAMERA = geometry.from_euler(np.array([0.3, 0.0, 0.7]), -np.pi / 2, 0.0, -np.pi / 2)
SECOND = 1_000_000_000


class Sensors:
    """A robot's drivers: sends each message when told, stamped with the node's clock."""

    def __init__(self, client: Any, transforms: bool = True) -> None:
        self._client = client
        self._publishers: dict[str, Any] = {}
        self.static = client.node.create_publisher(TFMessage, "/tf_static", qos.latched())
        if transforms:
            self.mount()

    def mount(self) -> None:
        self.static.publish(
            answers.tf_message(
                answers.transform(BASE_FROM_LIDAR, 0, "base_link", "lidar"),
                answers.transform(BASE_FROM_CAMERA, 0, "base_link", "camera_optical"),
                answers.transform(np.eye(4), 0, "base_link", "gps"),
            )
        )

    def send(self, topic: str, message: Any) -> None:
        if topic not in self._publishers:
            self._publishers[topic] = self._client.publisher(
                topic, type(message), qos.sensor_data() if topic != "command" else qos.reliable()
            )
        self._publishers[topic].publish(message)

    def all(self) -> None:
        for each in (self.camera, self.gps, self.odometry, self.lidar):
            each()

    def now_ns(self) -> int:
        return int(self._client.node.get_clock().now().nanoseconds)

    def lidar(self, stamp_ns: int | None = None, frame_id: str = "lidar") -> None:
        points = np.tile(np.array([[5.0, 0.0, 0.0, 0.5]], np.float32), (100, 1))
        stamp_ns = self.now_ns() if stamp_ns is None else stamp_ns
        scan = LidarScan(stamp_ns, frame_id, "lidar", points, np.eye(4))
        self.send("lidar/points", drivers.cloud(scan))

    def camera(self) -> None:
        intrinsics = np.array([[50.0, 0, 32], [0, 50.0, 24], [0, 0, 1]])
        frame = CameraFrame(
            self.now_ns(), "camera_optical", "camera", np.full((48, 64, 3), 90, np.uint8),
            intrinsics, np.eye(4),
        )  # fmt: skip
        self.send("camera/camera_info", drivers.camera_info(frame))
        self.send("camera/image_raw", drivers.image(frame))

    def gps(self) -> None:
        fix = GpsFix(self.now_ns(), "gps", "gps", 48.0, 11.0, 500.0, np.eye(3))
        self.send("gps/fix", drivers.fix(fix))

    def odometry(self) -> None:
        sample = OdometrySample(
            self.now_ns(), "odom", "odom", geometry.planar(1.0, 2.0, 0.1), np.zeros(6),
            0.01 * np.eye(6), 0.01 * np.eye(6),
        )  # fmt: skip
        self.send("odom", drivers.odometry(sample))


@pytest.fixture
def start(
    context: Context, run: Callable[..., Any], scripted: Callable[..., Any]
) -> Callable[..., FusionNode]:
    def start(**parameters: Any) -> FusionNode:
        overrides = [Parameter(name.replace("__", "."), value=v) for name, v in parameters.items()]
        node = FusionNode(scripted, context=context, parameter_overrides=overrides)
        run(node)
        assert scripted.made.wait(10.0)
        return node

    return start


@pytest.fixture
def sensors(client: Any) -> Iterator[Sensors]:
    return Sensors(client)


def sources(message: DiagnosticArray) -> dict[str, DiagnosticStatus]:
    return {status.name: status for status in message.status}


def test_camera_lidar_gps_and_odometry_come_in_and_objects_and_trust_go_out(
    start: Callable[..., FusionNode], client: Any, sensors: Sensors, scripted: Any
) -> None:
    start()
    client.listen("/fusion/objects", Detection3DArray)
    client.listen("/fusion/reliability", DiagnosticArray)
    client.listen("/fusion/odometry", Odometry)
    client.listen("/tf", TFMessage)

    def trusted() -> set[str]:
        messages = client.heard["/fusion/reliability"][-1:]
        return {
            name
            for message in messages
            for name, source in hearing.reliability(message).items()
            if source.trust > 0
        }

    client.until(lambda: trusted() == {"camera", "lidar", "gps", "odom"}, sensors.all)
    heard = {type(sample).__name__ for sample in scripted.pipeline.samples}
    assert heard == {"CameraFrame", "LidarScan", "GpsFix", "OdometrySample"}
    objects = client.wait_for("/fusion/objects")[-1]
    assert objects.header.frame_id == "base_link"
    assert [detection.id for detection in objects.detections] == ["3"]
    (edge,) = client.wait_for("/tf")[0].transforms
    assert (edge.header.frame_id, edge.child_frame_id) == ("map", "odom")


def test_samples_carry_the_mounting_that_tf_static_says(
    start: Callable[..., FusionNode], client: Any, sensors: Sensors, scripted: Any
) -> None:
    start()
    client.listen("/fusion/objects", Detection3DArray)
    client.until(
        lambda: {"camera", "lidar"} <= {sample.source for sample in scripted.pipeline.samples},
        sensors.all,
    )
    by_source = {sample.source: sample for sample in scripted.pipeline.samples}
    np.testing.assert_allclose(by_source["lidar"].base_from_lidar, BASE_FROM_LIDAR, atol=1e-9)
    np.testing.assert_allclose(by_source["camera"].base_from_camera, BASE_FROM_CAMERA, atol=1e-9)
    assert by_source["camera"].intrinsics[0, 2] == 32.0


def test_a_sensor_that_never_comes_does_not_hold_up_the_rest(
    start: Callable[..., FusionNode], client: Any, sensors: Sensors
) -> None:
    start()
    client.listen("/fusion/reliability", DiagnosticArray)
    client.listen("/fusion/objects", Detection3DArray)
    # No lidar, no camera, ever: the deadline makes the ticks.
    client.until(lambda: len(client.heard["/fusion/reliability"]) >= 3, sensors.gps)
    camera = sources(client.heard["/fusion/reliability"][-1])["camera"]
    assert (camera.message, values_of(camera)["trust"]) == ("missing", "0.0000")
    assert client.heard["/fusion/objects"][-1].detections == []


def test_with_no_sensor_at_all_the_watchdog_says_hold_and_the_diagnostics_error(
    start: Callable[..., FusionNode], client: Any
) -> None:
    start(watchdog_s=0.4)
    client.listen("/fusion/target_state", DiagnosticStatus, qos.latched())
    client.listen("/fusion/objects", Detection3DArray)
    client.listen("/diagnostics", DiagnosticArray)
    (state, *_) = client.wait_for("/fusion/target_state")
    assert state.message == "HOLD: unreliable"
    assert client.wait(
        lambda: any(
            status.name == "fusion: fusion" and status.level == DiagnosticStatus.ERROR
            for message in client.heard["/diagnostics"]
            for status in message.status
        )
    )


def test_a_command_gives_a_target_and_a_late_listener_still_hears_the_state(
    start: Callable[..., FusionNode], client: Any, sensors: Sensors
) -> None:
    start()
    client.listen("/fusion/target", PoseStamped)
    client.listen("/fusion/objects", Detection3DArray)
    client.until(lambda: bool(client.heard["/fusion/objects"]), sensors.lidar)
    sensors.send("command", String(data="go to the red box"))
    client.until(lambda: bool(client.heard["/fusion/target"]), sensors.lidar)
    assert client.heard["/fusion/target"][0].header.frame_id == "map"
    client.listen("/fusion/target_state", DiagnosticStatus, qos.latched())
    (state, *_) = client.wait_for("/fusion/target_state")
    assert state.name == "target"


def test_a_missing_transform_leaves_the_lidar_out_with_its_reason_and_gps_goes_on(
    start: Callable[..., FusionNode], client: Any, scripted: Any
) -> None:
    start(transform_patience_ms=50.0)
    sensors = Sensors(client, transforms=False)

    def both() -> None:
        sensors.lidar()
        sensors.gps()

    def refused_and_heard() -> bool:
        fixes = [s for s in scripted.pipeline.samples if isinstance(s, GpsFix)]
        return scripted.pipeline.rejected["lidar", "transform"] >= 2 and len(fixes) >= 2

    client.until(refused_and_heard, both)
    heard = [type(sample).__name__ for sample in scripted.pipeline.samples]
    assert "GpsFix" in heard and "LidarScan" not in heard
    # A GPS without a mounting is taken to sit in the base.
    fix = next(s for s in scripted.pipeline.samples if isinstance(s, GpsFix))
    np.testing.assert_array_equal(fix.base_from_antenna, np.zeros(3))


def test_a_transform_that_is_late_is_waited_for(
    start: Callable[..., FusionNode], client: Any, scripted: Any
) -> None:
    start(transform_patience_ms=5000.0)
    sensors = Sensors(client, transforms=False)
    sensors.lidar()
    sensors.mount()
    client.until(lambda: bool(scripted.pipeline.samples), lambda: None)
    assert isinstance(scripted.pipeline.samples[0], LidarScan)


def test_a_bad_frame_is_rejected_message_by_message_and_logged_once(
    start: Callable[..., FusionNode],
    client: Any,
    sensors: Sensors,
    scripted: Any,
    capfd: pytest.CaptureFixture[str],
) -> None:
    start()
    client.listen("/diagnostics", DiagnosticArray)

    def counted() -> bool:
        return any(
            int(values_of(status).get("count.frame", 0)) >= 20
            for message in client.heard["/diagnostics"]
            for status in message.status
            if status.name == "fusion: lidar"
        )

    client.until(counted, lambda: sensors.lidar(frame_id=""))
    lines = [line for line in capfd.readouterr().err.splitlines() if "lidar: frame" in line]
    assert len(lines) == 1


def test_simulated_time_runs_the_node_and_a_loop_of_the_clock_does_not_stop_it(
    start: Callable[..., FusionNode], client: Any, sensors: Sensors
) -> None:
    start(use_sim_time=True)
    client.listen("/fusion/objects", Detection3DArray)
    clock = client.publisher("/clock", Clock)
    for _ in range(3):  # a bag of one second, looped
        for tenth in range(10):
            stamp_ns = 100 * SECOND + tenth * SECOND // 10

            def send(stamp_ns: int = stamp_ns) -> None:
                clock.publish(Clock(clock=answers.time_of(stamp_ns)))
                sensors.lidar(stamp_ns)

            def answered(stamp_ns: int = stamp_ns) -> bool:
                messages = client.heard["/fusion/objects"][-1:]
                return [hearing.stamp_ns(m.header) for m in messages] == [stamp_ns]

            client.until(answered, send)


def test_a_clock_that_stops_withdraws_the_target(
    start: Callable[..., FusionNode], client: Any, sensors: Sensors
) -> None:
    start(use_sim_time=True, watchdog_s=0.4)
    client.listen("/fusion/target_state", DiagnosticStatus, qos.latched())
    clock = client.publisher("/clock", Clock)
    clock.publish(Clock(clock=answers.time_of(100 * SECOND)))
    sensors.send("command", String(data="go"))
    client.until(
        lambda: "GO" in [message.message for message in client.heard["/fusion/target_state"]],
        lambda: sensors.lidar(100 * SECOND),
    )
    assert client.wait(
        lambda: client.heard["/fusion/target_state"][-1].message == "HOLD: unreliable"
    )


def test_the_overlay_and_the_view_from_above_are_published_for_who_listens(
    start: Callable[..., FusionNode], client: Any, sensors: Sensors
) -> None:
    start()
    client.listen("/fusion/overlay", Image)
    client.listen("/fusion/bird_eye", Image)
    client.until(
        lambda: all(client.heard[f"/fusion/{name}"] for name in ("overlay", "bird_eye")),
        sensors.all,
    )
    overlay = client.heard["/fusion/overlay"][0]
    assert (overlay.height, overlay.width, overlay.encoding) == (48, 64, "rgb8")


def test_several_cameras_are_heard_by_their_names(
    context: Context, run: Callable[..., Any], scripted: Any, client: Any, tmp_path: Any
) -> None:
    path = tmp_path / "robot.yaml"
    path.write_text(
        "sources:\n"
        "  - {name: front, modality: camera}\n"
        "  - {name: rear, modality: camera}\n"
        "  - {name: top, modality: lidar}\n"
        "sync: {anchor: top}\n"
    )
    node = FusionNode(
        scripted, context=context, parameter_overrides=[Parameter("config", value=str(path))]
    )
    run(node)
    for topic, kind in [
        ("front/image_raw", Image), ("rear/image_raw", Image), ("rear/camera_info", CameraInfo),
        ("top/points", PointCloud2),
    ]:  # fmt: skip
        client.publisher(topic, kind, qos.sensor_data())  # fails unless the node listens
    assert client.node.count_subscribers("gps/fix") == 0


def test_a_best_effort_driver_and_a_reliable_one_are_both_heard(
    start: Callable[..., FusionNode], client: Any, scripted: Any
) -> None:
    start()
    client.listen("/fusion/reliability", DiagnosticArray)
    fix = drivers.fix(GpsFix(0, "gps", "gps", 48.0, 11.0, 500.0, None))
    for profile in (qos.sensor_data(), qos.reliable()):
        before = len(scripted.pipeline.samples)
        publisher = client.publisher("gps/fix", NavSatFix, profile)
        fix.header.stamp = client.node.get_clock().now().to_msg()
        client.until(
            lambda before=before: len(scripted.pipeline.samples) > before,
            lambda publisher=publisher: publisher.publish(fix),
        )
        client.node.destroy_publisher(publisher)
