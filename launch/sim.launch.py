"""The simulated robot and the fusion node: `ros2 launch mm_fusion_ros sim.launch.py --show-args`.

Then: ros2 topic pub --once /command std_msgs/msg/String "data: go to the red box"
"""

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution, ThisLaunchFileDir
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription

PACKAGE = "mm_fusion_ros"

# Parameter, type, default, description.
SIMULATOR = (
    ("world", str, "demo", "the yard of the demo, or drawn"),
    ("seed", int, "1", "of world and noise"),
    ("lighting", str, "sun", "sun, shade or dusk"),
    ("speed", float, "1.0", "simulated seconds a second, at most"),
    ("image_width", int, "384", "of the camera [pixels]"),
    ("image_height", int, "288", "of the camera [pixels]"),
    ("beams", int, "32", "of the lidar"),
    ("camera_hz", int, "10", "rate of the camera; 0 switches it off"),
    ("lidar_hz", int, "10", "rate of the lidar; 0 switches it off"),
    ("gps_hz", int, "5", "rate of the receiver; 0 switches it off"),
    ("odometry_hz", int, "30", "rate of the odometry; 0 switches it off"),
    ("faults", str, "", "that strike the sensors, as 'camera.fog:3@10s-20s lidar.drop'"),
)
PASSED_ON = ("config", "namespace", "model", "log_level", "discovery")


def arguments() -> list[DeclareLaunchArgument]:
    """Everything that can be varied; what else the fusion takes is in bringup.launch.py."""
    return [
        DeclareLaunchArgument(
            "config",
            default_value=PathJoinSubstitution(
                [FindPackageShare(PACKAGE), "config", "sim.yaml"]
            ),
            description="the fusion's YAML file",
        ),
        DeclareLaunchArgument("namespace", default_value="", description="of both nodes"),
        DeclareLaunchArgument(
            "model", default_value="", description="model folder; empty takes the shipped weights"
        ),
        DeclareLaunchArgument("log_level", default_value="info", description="least level logged"),
        DeclareLaunchArgument(
            "discovery", default_value="LOCALHOST",
            choices=["LOCALHOST", "SUBNET", "OFF", "SYSTEM_DEFAULT"],
            description="who may find the nodes: this host, the subnet, nobody, or as the system "
            "is set up",
        ),
        *(
            DeclareLaunchArgument(name, default_value=default, description=description)
            for name, _, default, description in SIMULATOR
        ),
    ]  # fmt: skip


def fusion() -> IncludeLaunchDescription:
    """The fusion node on simulated time; first, because it also sets who may find the nodes."""
    passed = {name: LaunchConfiguration(name) for name in PASSED_ON}
    return IncludeLaunchDescription(
        PythonLaunchDescriptionSource(
            PathJoinSubstitution([ThisLaunchFileDir(), "bringup.launch.py"])
        ),
        launch_arguments={**passed, "use_sim_time": "true"}.items(),
    )


def simulator() -> Node:
    """The simulated robot, which drives to the fusion's target."""
    return Node(
        package=PACKAGE,
        executable="sim_node",
        name="sim",
        namespace=LaunchConfiguration("namespace"),
        parameters=[
            {
                name: ParameterValue(LaunchConfiguration(name), value_type=kind)
                for name, kind, _, _ in SIMULATOR
            }
        ],
        remappings=[
            ("target", "fusion/target"),
            ("target_state", "fusion/target_state"),
            ("obstacles", "fusion/obstacles"),
            ("believed_odometry", "fusion/odometry"),
        ],
        ros_arguments=["--log-level", LaunchConfiguration("log_level")],
        output="screen",
        emulate_tty=True,
    )


def generate_launch_description() -> LaunchDescription:
    """Called by `ros2 launch`."""
    return LaunchDescription([*arguments(), fusion(), simulator()])
