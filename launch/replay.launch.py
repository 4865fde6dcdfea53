"""A bag played into the fusion node: `ros2 launch mm_fusion_ros replay.launch.py bag:=PATH`.

Live, at the bag's pace. `mm-fusion replay` does the same without ROS, faster and repeatably.
"""

from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
    Shutdown,
)
from launch.event_handlers import OnProcessExit
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution, ThisLaunchFileDir
from launch_ros.substitutions import FindPackageShare

from launch import LaunchContext, LaunchDescription

PACKAGE = "mm_fusion_ros"
BOOLEAN = ["true", "false"]
# The topics as the recording has them; their meaning is described in bringup.launch.py.
TOPICS = (
    ("camera_image_topic", "camera/image_raw"),
    ("camera_compressed_topic", "camera/image_raw/compressed"),
    ("camera_info_topic", "camera/camera_info"),
    ("lidar_points_topic", "lidar/points"),
    ("gps_fix_topic", "gps/fix"),
    ("odom_topic", "odom"),
)
PASSED_ON = (
    "config", "model", "image_transport", "base_frame", "log_level", "discovery",
    *(name for name, _ in TOPICS),
)  # fmt: skip


def arguments() -> list[DeclareLaunchArgument]:
    """Everything that can be varied; what else the fusion takes is in bringup.launch.py."""
    return [
        DeclareLaunchArgument("bag", description="the rosbag2 to play: a folder or a file"),
        DeclareLaunchArgument(
            "config",
            default_value=PathJoinSubstitution(
                [FindPackageShare(PACKAGE), "config", "replay.yaml"]
            ),
            description="the fusion's YAML file",
        ),
        DeclareLaunchArgument(
            "model", default_value="", description="model folder; empty takes the shipped weights"
        ),
        DeclareLaunchArgument("rate", default_value="1.0", description="playing speed"),
        DeclareLaunchArgument(
            "start_offset", default_value="0.0", description="seconds of the bag to skip"
        ),
        DeclareLaunchArgument(
            "loop", default_value="false", choices=BOOLEAN, description="play again and again"
        ),
        DeclareLaunchArgument(
            "exit_with_bag", default_value="true", choices=BOOLEAN,
            description="end everything when the bag has ended",
        ),
        DeclareLaunchArgument(
            "image_transport", default_value="raw", choices=["raw", "compressed"],
            description="how images were recorded",
        ),
        DeclareLaunchArgument(
            "base_frame", default_value="base_link", description="frame of the robot's body"
        ),
        DeclareLaunchArgument("log_level", default_value="info", description="least level logged"),
        DeclareLaunchArgument(
            "discovery", default_value="LOCALHOST",
            choices=["LOCALHOST", "SUBNET", "OFF", "SYSTEM_DEFAULT"],
            description="who may find the nodes: this host, the subnet, nobody, or as the system "
            "is set up",
        ),
        *(
            DeclareLaunchArgument(name, default_value=topic, description="as recorded")
            for name, topic in TOPICS
        ),
    ]  # fmt: skip


def fusion() -> IncludeLaunchDescription:
    """The fusion node on the bag's time; first, because it also sets who may find the nodes."""
    passed = {name: LaunchConfiguration(name) for name in PASSED_ON}
    return IncludeLaunchDescription(
        PythonLaunchDescriptionSource(
            PathJoinSubstitution([ThisLaunchFileDir(), "bringup.launch.py"])
        ),
        launch_arguments={**passed, "use_sim_time": "true"}.items(),
    )


def player(context: LaunchContext) -> list[ExecuteProcess | RegisterEventHandler]:
    """`ros2 bag play`, and the end of everything with it."""

    def value(name: str) -> str:
        return str(LaunchConfiguration(name).perform(context))

    command = ["ros2", "bag", "play", value("bag"), "--clock", "100", "--rate", value("rate")]
    command += ["--start-offset", value("start_offset")]
    if value("loop") == "true":
        command.append("--loop")
    play = ExecuteProcess(cmd=command, output="screen")
    if value("exit_with_bag") != "true":
        return [play]
    end = OnProcessExit(target_action=play, on_exit=[Shutdown(reason="the bag has ended")])
    return [play, RegisterEventHandler(end)]


def generate_launch_description() -> LaunchDescription:
    """Called by `ros2 launch`."""
    return LaunchDescription([*arguments(), fusion(), OpaqueFunction(function=player)])
