"""Messages to samples, with plain objects and with a bag reader's types as messages."""

from __future__ import annotations

import array
import ast
from pathlib import Path
from types import SimpleNamespace as Message

import numpy as np
import pytest
from rosbags.typesys import Stores, get_typestore
from scipy.spatial.transform import Rotation

from mm_fusion_ros import geometry
from mm_fusion_ros.config import CameraConfig, GpsConfig, LidarConfig
from mm_fusion_ros.ros import conversions
from mm_fusion_ros.samples import GpsStatus
from mm_fusion_ros.sensors.camera import CameraIntake
from mm_fusion_ros.sensors.gps import GpsIntake
from mm_fusion_ros.sensors.rejection import Rejected

STORE = get_typestore(Stores.ROS2_JAZZY)
TYPES = STORE.types
CAMERA, LIDAR = CameraConfig(), LidarConfig()


def header(frame: str = "sensor", sec: int = 12, nanosec: int = 345) -> Message:
    return Message(stamp=Message(sec=sec, nanosec=nanosec), frame_id=frame)


def vector(x: float, y: float, z: float) -> Message:
    return Message(x=x, y=y, z=z)


def quaternion(x: float, y: float, z: float, w: float) -> Message:
    return Message(x=x, y=y, z=z, w=w)


def image_message(image: np.ndarray, **changes: object) -> Message:
    height, width = image.shape[:2]
    message = Message(
        header=header(), height=height, width=width, encoding="rgb8", is_bigendian=0,
        step=3 * width, data=array.array("B", image.tobytes()),
    )  # fmt: skip
    vars(message).update(changes)
    return message


def info_message(width: int, height: int, **changes: object) -> Message:
    info = Message(
        header=header(), width=width, height=height, distortion_model="plumb_bob",
        d=array.array("d", [-0.1, 0.01, 0.0, 0.0, 0.0]),
        k=np.array([500.0, 0.0, 320.0, 0.0, 510.0, 240.0, 0.0, 0.0, 1.0]),
        p=np.array([400.0, 0.0, 300.0, 0.0, 0.0, 410.0, 200.0, 0.0, 0.0, 0.0, 1.0, 0.0]),
        binning_x=0, binning_y=0,
        roi=Message(x_offset=0, y_offset=0, width=0, height=0),
    )  # fmt: skip
    vars(info).update(changes)
    return info


def cloud_message(points: np.ndarray, **changes: object) -> Message:
    fields = [
        Message(name=name, offset=4 * index, datatype=7, count=1)
        for index, name in enumerate(("x", "y", "z", "intensity"))
    ]
    message = Message(
        header=header(), height=1, width=len(points), fields=fields, is_bigendian=False,
        point_step=16, row_step=16 * len(points), data=points.astype("<f4").tobytes(),
        is_dense=True,
    )  # fmt: skip
    vars(message).update(changes)
    return message


def fix_message(**changes: object) -> Message:
    message = Message(
        header=header("/gps"), status=Message(status=0, service=1),
        latitude=48.1, longitude=11.5, altitude=520.0,
        position_covariance=np.array([1.0, 0, 0, 0, 2.0, 0, 0, 0, 9.0]),
        position_covariance_type=2,
    )  # fmt: skip
    vars(message).update(changes)
    return message


def odometry_message(orientation: Message, **changes: object) -> Message:
    message = Message(
        header=header("odom"), child_frame_id="base_link",
        pose=Message(
            pose=Message(position=vector(1.0, 2.0, 3.0), orientation=orientation),
            covariance=np.arange(36.0),
        ),
        twist=Message(
            twist=Message(linear=vector(0.1, 0.2, 0.3), angular=vector(0.4, 0.5, 0.6)),
            covariance=array.array("d", np.eye(6).ravel()),
        ),
    )  # fmt: skip
    vars(message).update(changes)
    return message


def imu_message(**changes: object) -> Message:
    message = Message(
        header=header("imu"), orientation=quaternion(0.0, 0.0, 0.0, 1.0),
        orientation_covariance=np.zeros(9), angular_velocity=vector(0.1, 0.2, 0.3),
        linear_acceleration=vector(1.0, 0.0, 9.81),
    )  # fmt: skip
    vars(message).update(changes)
    return message


def picture(height: int = 480, width: int = 640) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_nothing_of_ros_is_imported() -> None:
    for name in ("conversions.py", "transform_tree.py"):
        source = Path(conversions.__file__).with_name(name).read_text(encoding="utf-8")
        imported = set()
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom):
                imported.add(str(node.module).split(".")[0])
            elif isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
        assert imported <= {"__future__", "functools", "math", "typing", "numpy", "mm_fusion_ros"}


def test_a_stamp_is_integer_nanoseconds() -> None:
    # A float64 of this many seconds would be off by up to 119 ns.
    assert conversions.stamp_ns(header(sec=1_700_000_000, nanosec=123_456_789)) == (
        1_700_000_000_123_456_789
    )
    assert conversions.stamp_ns(header(sec=0, nanosec=0)) == 0


@pytest.mark.parametrize(("sec", "nanosec"), [(-1, 0), (0, 1_000_000_000), (0, -1)])
def test_a_stamp_that_is_no_time_is_refused(sec: int, nanosec: int) -> None:
    with pytest.raises(Rejected) as verdict:
        conversions.stamp_ns(header(sec=sec, nanosec=nanosec))
    assert verdict.value.reason == "stamp"


@pytest.mark.parametrize("frame", ["", "/", "  "])
def test_an_empty_frame_is_refused_for_every_sensor(frame: str) -> None:
    head = header(frame)
    points = np.ones((3, 4))
    for convert in (
        lambda: conversions.camera_frame(
            image_message(picture(), header=head), info_message(640, 480), "c", np.eye(4), CAMERA
        ),
        lambda: conversions.lidar_scan(cloud_message(points, header=head), "l", np.eye(4), LIDAR),
        lambda: conversions.gps_fix(fix_message(header=head), "g"),
        lambda: conversions.odometry(odometry_message(quaternion(0, 0, 0, 1), header=head), "o"),
        lambda: conversions.imu(imu_message(header=head), "i"),
    ):
        with pytest.raises(Rejected, match="frame_id is empty") as verdict:
            convert()
        assert verdict.value.reason == "frame"


def test_an_unexpected_frame_is_refused_with_both_named() -> None:
    with pytest.raises(Rejected, match=r"'sensor'.*'lidar_top'") as verdict:
        conversions.lidar_scan(
            cloud_message(np.ones((3, 4))), "l", np.eye(4), LIDAR, required_frame="lidar_top"
        )
    assert verdict.value.reason == "frame"
    scan = conversions.lidar_scan(
        cloud_message(np.ones((3, 4))), "l", np.eye(4), LIDAR, required_frame="/sensor"
    )
    assert scan.frame_id == "sensor"


def test_a_raw_image_becomes_a_frame_that_views_it() -> None:
    image = picture()
    message = image_message(image)
    mounting = geometry.planar(1.0, 2.0, 3.0)
    frame = conversions.camera_frame(message, info_message(640, 480), "front", mounting, CAMERA)
    assert (frame.stamp_ns, frame.frame_id, frame.source) == (12_000_000_345, "sensor", "front")
    assert np.array_equal(frame.image, image)
    assert np.shares_memory(frame.image, np.frombuffer(message.data, np.uint8))
    assert np.array_equal(frame.intrinsics, [[500, 0, 320], [0, 510, 240], [0, 0, 1]])
    assert frame.distortion_model == "plumb_bob"
    assert frame.distortion.tolist() == [-0.1, 0.01, 0.0, 0.0, 0.0]
    assert frame.base_from_camera is mounting


def test_a_rectified_topic_takes_p_and_no_distortion() -> None:
    frame = conversions.camera_frame(
        image_message(picture()), info_message(640, 480), "front", np.eye(4),
        CameraConfig(rectified=True),
    )  # fmt: skip
    assert np.array_equal(frame.intrinsics, [[400, 0, 300], [0, 410, 200], [0, 0, 1]])
    assert frame.distortion_model == "" and frame.distortion.size == 0


def test_a_region_of_interest_moves_the_principal_point() -> None:
    roi = Message(x_offset=100, y_offset=40, width=320, height=200)
    frame = conversions.camera_frame(
        image_message(picture(200, 320)), info_message(640, 480, roi=roi), "c", np.eye(4), CAMERA
    )
    assert np.array_equal(frame.intrinsics, [[500, 0, 220], [0, 510, 200], [0, 0, 1]])


def test_binning_scales_the_intrinsics_about_pixel_centres() -> None:
    frame = conversions.camera_frame(
        image_message(picture(240, 320)), info_message(640, 480, binning_x=2, binning_y=2),
        "c", np.eye(4), CAMERA,
    )  # fmt: skip
    # (320 + 0.5) / 2 - 0.5 = 159.75 and (240 + 0.5) / 2 - 0.5 = 119.75.
    assert np.array_equal(frame.intrinsics, [[250, 0, 159.75], [0, 255, 119.75], [0, 0, 1]])


def test_a_calibration_of_another_resolution_is_refused_with_both_named() -> None:
    with pytest.raises(Rejected, match=r"640 x 480 pixels.*1280 x 720") as verdict:
        conversions.camera_frame(
            image_message(picture()), info_message(1280, 720), "c", np.eye(4), CAMERA
        )
    assert verdict.value.reason == "calibration"


def test_an_uncalibrated_camera_is_refused_by_its_intake() -> None:
    info = info_message(640, 480, k=np.zeros(9), d=np.zeros(0), distortion_model="")
    frame = conversions.camera_frame(image_message(picture()), info, "c", np.eye(4), CAMERA)
    with pytest.raises(Rejected, match="calibrate") as verdict:
        CameraIntake(CAMERA).accept(frame)
    assert verdict.value.reason == "calibration"


def test_another_camera_s_info_is_refused() -> None:
    with pytest.raises(Rejected, match=r"'sensor'.*'rear'") as verdict:
        conversions.camera_frame(
            image_message(picture()), info_message(640, 480, header=header("rear")),
            "c", np.eye(4), CAMERA,
        )  # fmt: skip
    assert verdict.value.reason == "frame"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"encoding": "32FC1"}, "encoding"),
        ({"step": 100}, "encoding"),
        ({"data": b"\x00" * 100}, "truncated"),
        ({"height": 2**32 - 1, "width": 2**32 - 1}, "size"),
        ({"data": [0] * 10}, "field"),
    ],
)
def test_a_broken_image_is_refused(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(Rejected) as verdict:
        conversions.camera_frame(
            image_message(picture(), **changes), info_message(640, 480), "c", np.eye(4), CAMERA
        )
    assert verdict.value.reason == reason


def test_a_cloud_becomes_a_scan_that_views_it() -> None:
    points = np.random.default_rng(0).random((50, 4)).astype(np.float32)
    message = cloud_message(points, data=points.view(np.uint8).reshape(-1))
    scan = conversions.lidar_scan(message, "top", np.eye(4), LIDAR)
    assert (scan.stamp_ns, scan.frame_id, scan.source) == (12_000_000_345, "sensor", "top")
    assert np.array_equal(scan.points, points) and np.shares_memory(scan.points, points)
    assert scan.time_offset_ns is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"data": b""}, "truncated"),
        ({"row_step": 1}, "size"),
        ({"fields": []}, "field"),
        ({"width": 2**32 - 1}, "size"),
    ],
)
def test_a_broken_cloud_is_refused(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(Rejected) as verdict:
        conversions.lidar_scan(cloud_message(np.ones((3, 4)), **changes), "l", np.eye(4), LIDAR)
    assert verdict.value.reason == reason


def test_a_fix_keeps_its_declared_covariance_in_rows() -> None:
    covariance = np.arange(9.0)
    antenna = np.array([0.1, 0.2, 0.3])
    fix = conversions.gps_fix(fix_message(position_covariance=covariance), "gps", antenna)
    assert (fix.latitude_deg, fix.longitude_deg, fix.altitude_m) == (48.1, 11.5, 520.0)
    assert np.array_equal(fix.covariance, [[0, 1, 2], [3, 4, 5], [6, 7, 8]])
    assert fix.status is GpsStatus.FIX and fix.frame_id == "gps"
    assert fix.base_from_antenna is antenna


def test_a_fix_of_unknown_covariance_has_none_and_gets_the_configured_sigma() -> None:
    fix = conversions.gps_fix(fix_message(position_covariance_type=0), "gps")
    assert fix.covariance is None
    accepted, _ = GpsIntake(GpsConfig(default_sigma_m=3.0)).accept(fix)
    assert np.array_equal(accepted.covariance, np.eye(3) * 9.0)


@pytest.mark.parametrize(
    ("number", "status"),
    [(-2, GpsStatus.FIX), (-1, GpsStatus.NO_FIX), (0, GpsStatus.FIX), (2, GpsStatus.GBAS)],
)
def test_the_status_of_a_fix_is_that_of_the_message(number: int, status: GpsStatus) -> None:
    assert conversions.gps_fix(fix_message(status=Message(status=number)), "g").status is status


def test_a_status_that_does_not_exist_is_refused() -> None:
    with pytest.raises(Rejected) as verdict:
        conversions.gps_fix(fix_message(status=Message(status=7)), "g")
    assert verdict.value.reason == "status"


def test_odometry_becomes_a_pose_a_twist_and_two_covariances() -> None:
    rotation = Rotation.from_euler("xyz", [0.1, -0.2, 2.0])
    sample = conversions.odometry(odometry_message(quaternion(*rotation.as_quat())), "wheels")
    assert np.allclose(sample.odom_from_base[:3, :3], rotation.as_matrix())
    assert sample.odom_from_base[:3, 3].tolist() == [1.0, 2.0, 3.0]
    assert sample.twist.tolist() == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    assert sample.pose_covariance[1].tolist() == [6.0, 7.0, 8.0, 9.0, 10.0, 11.0]
    assert np.array_equal(sample.twist_covariance, np.eye(6))
    assert sample.frame_id == "odom" and sample.source == "wheels"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ((0.0, 0.0, 0.0, 0.0), "quaternion"),
        ((0.0, 0.0, 0.0, 2.0), "quaternion"),
        ((np.nan, 0.0, 0.0, 1.0), "nan"),
    ],
)
def test_a_quaternion_that_is_no_rotation_is_refused(value, reason: str) -> None:
    with pytest.raises(Rejected) as verdict:
        conversions.odometry(odometry_message(quaternion(*value)), "o")
    assert verdict.value.reason == reason


def test_a_quaternion_of_few_digits_is_a_rotation() -> None:
    sample = conversions.odometry(odometry_message(quaternion(0.0, 0.0, 0.707, 0.707)), "o")
    assert geometry.yaw_of(sample.odom_from_base) == pytest.approx(np.pi / 2)


def test_a_position_that_is_not_finite_is_refused() -> None:
    message = odometry_message(quaternion(0, 0, 0, 1))
    message.pose.pose.position = vector(np.nan, 0.0, 0.0)
    with pytest.raises(Rejected) as verdict:
        conversions.odometry(message, "o")
    assert verdict.value.reason == "nan"


def test_a_covariance_of_the_wrong_length_is_refused_by_name() -> None:
    message = odometry_message(quaternion(0, 0, 0, 1))
    message.twist.covariance = np.zeros(9)
    with pytest.raises(Rejected, match="twist covariance") as verdict:
        conversions.odometry(message, "o")
    assert verdict.value.reason == "field"


def test_an_imu_is_turned_into_base_link() -> None:
    # Mounted a quarter turn to the left: its x is base_link's y, its y is base_link's -x.
    mounting = geometry.planar(0.5, 0.0, np.pi / 2)
    turned = Rotation.from_euler("z", 2.0)
    sample = conversions.imu(
        imu_message(orientation=quaternion(*turned.as_quat())), "imu", mounting
    )
    assert np.allclose(sample.angular_velocity, [-0.2, 0.1, 0.3])
    assert np.allclose(sample.linear_acceleration, [0.0, 1.0, 9.81])
    # The sensor heads for 2 rad and sits at 90 degrees to the base.
    heading = Rotation.from_quat(sample.orientation).as_euler("zyx")[0]
    assert heading == pytest.approx(2.0 - np.pi / 2)


@pytest.mark.parametrize(
    "changes",
    [
        {"orientation_covariance": np.array([-1.0, 0, 0, 0, 0, 0, 0, 0, 0])},
        {"orientation": quaternion(0.0, 0.0, 0.0, 0.0)},
    ],
)
def test_an_imu_without_orientation_has_none(changes: dict[str, object]) -> None:
    assert conversions.imu(imu_message(**changes), "imu").orientation is None


def test_a_command_is_stamped_on_arrival() -> None:
    sample = conversions.command(Message(data="stop"), "command", 77)
    assert (sample.text, sample.stamp_ns, sample.source) == ("stop", 77, "command")
    with pytest.raises(Rejected):
        conversions.command(Message(data=b"stop"), "command", 77)


def transform_message(parent: str, child: str, rotation=(0.0, 0.0, 0.0, 1.0), x: float = 1.0):
    return Message(
        header=header(parent), child_frame_id=child,
        transform=Message(translation=vector(x, 0.0, 0.0), rotation=quaternion(*rotation)),
    )  # fmt: skip


def test_static_transforms_are_parent_child_and_matrix() -> None:
    message = Message(transforms=[transform_message("/base_link", "lidar", x=2.0)])
    [(parent, child, matrix)] = conversions.static_transforms(message)
    assert (parent, child) == ("base_link", "lidar")
    assert matrix[:3, 3].tolist() == [2.0, 0.0, 0.0]


def test_one_broken_transform_does_not_cost_the_others() -> None:
    message = Message(
        transforms=[
            transform_message("base_link", "a"),
            transform_message("base_link", "b", rotation=(0.0, 0.0, 0.0, 0.0)),
            transform_message("base_link", ""),
            transform_message("c", "c"),
            transform_message("base_link", "d", x=np.nan),
            transform_message("base_link", "e"),
        ]
    )
    refused: list[Rejected] = []
    good = conversions.static_transforms(message, refused)
    assert [child for _, child, _ in good] == ["a", "e"]
    assert [verdict.reason for verdict in refused] == ["quaternion", "frame", "frame", "nan"]
    assert "'b'" in refused[0].detail
    with pytest.raises(Rejected):
        conversions.static_transforms(message)


def through_cdr(message: object, name: str) -> object:
    """The message as it comes out of a bag."""
    return STORE.deserialize_cdr(STORE.serialize_cdr(message, name), name)


def typed_header(frame: str) -> object:
    stamp = TYPES["builtin_interfaces/msg/Time"](sec=5, nanosec=6)
    return TYPES["std_msgs/msg/Header"](stamp=stamp, frame_id=frame)


def test_a_bag_reader_s_image_and_cloud_are_read_like_any_other() -> None:
    image = picture(48, 64)
    message = TYPES["sensor_msgs/msg/Image"](
        header=typed_header("cam"), height=48, width=64, encoding="bgr8", is_bigendian=0,
        step=192, data=image[:, :, ::-1].reshape(-1),
    )  # fmt: skip
    roi = TYPES["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
    info = TYPES["sensor_msgs/msg/CameraInfo"](
        header=typed_header("cam"), height=48, width=64, distortion_model="plumb_bob",
        d=np.zeros(5), k=np.eye(3).ravel() * 50.0, r=np.eye(3).ravel(), p=np.zeros(12),
        binning_x=0, binning_y=0, roi=roi,
    )  # fmt: skip
    frame = conversions.camera_frame(
        through_cdr(message, "sensor_msgs/msg/Image"),
        through_cdr(info, "sensor_msgs/msg/CameraInfo"),
        "front", np.eye(4), CAMERA,
    )  # fmt: skip
    assert np.array_equal(frame.image, image)
    assert frame.stamp_ns == 5_000_000_006 and frame.intrinsics[0, 0] == 50.0

    points = np.random.default_rng(0).random((20, 4)).astype(np.float32)
    field = TYPES["sensor_msgs/msg/PointField"]
    cloud = TYPES["sensor_msgs/msg/PointCloud2"](
        header=typed_header("lidar"), height=1, width=20,
        fields=[field(n, 4 * i, 7, 1) for i, n in enumerate(("x", "y", "z", "intensity"))],
        is_bigendian=False, point_step=16, row_step=320, data=points.view(np.uint8).reshape(-1),
        is_dense=True,
    )  # fmt: skip
    scan = conversions.lidar_scan(
        through_cdr(cloud, "sensor_msgs/msg/PointCloud2"), "top", np.eye(4), LIDAR
    )
    assert np.array_equal(scan.points, points)


def test_a_bag_reader_s_command_is_read_like_any_other() -> None:
    message = TYPES["std_msgs/msg/String"](data="go to the red box")
    read = through_cdr(message, "std_msgs/msg/String")
    assert conversions.command(read, "command", 1).text == "go to the red box"
