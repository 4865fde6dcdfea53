"""The fusion node on a robot: `ros2 launch mm_fusion_ros bringup.launch.py --show-args`."""

from launch.actions import DeclareLaunchArgument, SetEnvironmentVariable
from launch.conditions import IfCondition
from launch.substitutions import (
    EnvironmentVariable,
    LaunchConfiguration,
    PathJoinSubstitution,
    PythonExpression,
)
from launch_ros.actions import LifecycleNode
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription

PACKAGE = "mm_fusion_ros"

# Name, default, description. Every topic is relative: a namespace moves them all.
TOPICS = (
    ("camera_image", "camera/image_raw", "images of the source named camera"),
    ("camera_compressed", "camera/image_raw/compressed", "the same, compressed"),
    ("camera_info", "camera/camera_info", "calibration of the camera"),
    ("lidar_points", "lidar/points", "clouds of the source named lidar"),
    ("gps_fix", "gps/fix", "fixes of the source named gps"),
    ("odom", "odom", "wheel odometry of the source named odom"),
    ("command", "command", "texts: go to the red box"),
    ("target", "~/target", "where believed poses go; for Nav2, goal_pose"),
)
BOOLEAN = ["true", "false"]


def config_file(name: str) -> PathJoinSubstitution:
    """A file of the installed package's config folder."""
    return PathJoinSubstitution([FindPackageShare(PACKAGE), "config", name])


def arguments() -> list[DeclareLaunchArgument]:
    """Everything that can be varied."""
    return [
        DeclareLaunchArgument(
            "config", default_value=config_file("robot.yaml"),
            description="YAML file with the sensors and the sections of the configuration",
        ),
        DeclareLaunchArgument(
            "params_file", default_value=config_file("ros_parameters.yaml"),
            description="ROS parameter file, read over everything else",
        ),
        DeclareLaunchArgument("name", default_value="fusion", description="name of the node"),
        DeclareLaunchArgument("namespace", default_value="", description="namespace of the node"),
        DeclareLaunchArgument(
            "use_sim_time", default_value="false", choices=BOOLEAN,
            description="time from /clock, as simulators and bags give it",
        ),
        DeclareLaunchArgument(
            "autostart", default_value="true", choices=BOOLEAN,
            description="configure and activate at start; false leaves it to a lifecycle manager",
        ),
        DeclareLaunchArgument(
            "image_transport", default_value="raw", choices=["raw", "compressed"],
            description="how images come",
        ),
        DeclareLaunchArgument(
            "model", default_value="", description="model folder; empty takes the shipped weights"
        ),
        DeclareLaunchArgument(
            "publish_tf", default_value="true", choices=BOOLEAN,
            description="broadcast the transform from map to odom",
        ),
        DeclareLaunchArgument(
            "base_frame", default_value="base_link", description="frame of the robot's body"
        ),
        DeclareLaunchArgument("map_frame", default_value="map", description="frame of targets"),
        DeclareLaunchArgument(
            "odom_frame", default_value="odom", description="frame of the odometry"
        ),
        DeclareLaunchArgument(
            "log_level", default_value="info",
            choices=["debug", "info", "warn", "error", "fatal"], description="least level logged",
        ),
        DeclareLaunchArgument(
            "discovery", default_value="LOCALHOST",
            choices=["LOCALHOST", "SUBNET", "OFF", "SYSTEM_DEFAULT"],
            description="who may find the node: this host, the subnet, nobody, or as the system "
            "is set up",
        ),
        DeclareLaunchArgument(
            "dds_profile",
            default_value=EnvironmentVariable(
                "FASTRTPS_DEFAULT_PROFILES_FILE",
                default_value=config_file("fastdds_large_messages.xml"),
            ),
            description="profiles of Fast DDS; the default gives shared memory room for clouds",
        ),
        *(
            DeclareLaunchArgument(f"{name}_topic", default_value=topic, description=description)
            for name, topic, description in TOPICS
        ),
    ]  # fmt: skip


def network() -> list[SetEnvironmentVariable]:
    """Discovery stays on this host unless told otherwise; large messages have room."""
    distribution = EnvironmentVariable("ROS_DISTRO", default_value="")
    discovery = LaunchConfiguration("discovery")
    profile = LaunchConfiguration("dds_profile")
    return [
        # The name of old and of new versions of Fast DDS.
        SetEnvironmentVariable("FASTRTPS_DEFAULT_PROFILES_FILE", profile),
        SetEnvironmentVariable("FASTDDS_DEFAULT_PROFILES_FILE", profile),
        SetEnvironmentVariable("ROS_AUTOMATIC_DISCOVERY_RANGE", discovery),
        # Humble does not know the variable above.
        SetEnvironmentVariable(
            "ROS_LOCALHOST_ONLY", "1",
            condition=IfCondition(
                PythonExpression(
                    ["'", distribution, "' == 'humble' and '", discovery, "' == 'LOCALHOST'"]
                )
            ),
        ),
    ]  # fmt: skip


def fusion_node() -> LifecycleNode:
    """The node; it transitions by itself when autostart is true."""
    text = {"config": "config", "perception.model": "model"}
    text |= {name: name for name in ("base_frame", "map_frame", "odom_frame", "image_transport")}
    flags = ("use_sim_time", "autostart", "publish_tf")
    parameters = {
        name: ParameterValue(LaunchConfiguration(argument), value_type=str)
        for name, argument in text.items()
    }
    parameters |= {
        name: ParameterValue(LaunchConfiguration(name), value_type=bool) for name in flags
    }
    return LifecycleNode(
        package=PACKAGE,
        executable="fusion_node",
        name=LaunchConfiguration("name"),
        namespace=LaunchConfiguration("namespace"),
        parameters=[parameters, LaunchConfiguration("params_file")],
        remappings=[(topic, LaunchConfiguration(f"{name}_topic")) for name, topic, _ in TOPICS],
        ros_arguments=["--log-level", LaunchConfiguration("log_level")],
        output="screen",
        emulate_tty=True,
    )


def generate_launch_description() -> LaunchDescription:
    """Called by `ros2 launch`."""
    return LaunchDescription([*arguments(), *network(), fusion_node()])
