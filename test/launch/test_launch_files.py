"""The launch files, evaluated by a stand-in: what they would start, with which arguments."""

from __future__ import annotations

import dataclasses
import py_compile
import re
from pathlib import Path
from typing import Any

import launch_stand_in
import pytest

from mm_fusion_ros import config as configuration
from mm_fusion_ros.config import FusionConfig

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "launch").glob("*.launch.py"))
SHARES = {"mm_fusion_ros": ROOT}


def evaluate(name: str, environment: dict[str, str] | None = None, **arguments: str) -> Any:
    path = ROOT / "launch" / f"{name}.launch.py"
    return launch_stand_in.evaluate(path, SHARES, environment or {}, **arguments)


def node(context: Any, executable: str) -> Any:
    (found,) = [each for each in context.started if getattr(each, "executable", "") == executable]
    return found


def declared(context: Any) -> dict[str, Any]:
    return {argument.name: argument for each in context.declared.values() for argument in each}


def fields_of(*kinds: Any) -> dict[str, type]:
    return {f.name: type(f.default) for kind in kinds for f in dataclasses.fields(kind)}


@pytest.fixture(scope="module")
def fusion_parameters() -> dict[str, type]:
    """Name and type of each parameter of the fusion node."""
    pytest.importorskip("rclpy", reason="rclpy is absent; `make setup` installs it")
    from mm_fusion_ros.ros.parameters import NodeConfig

    named = {name: type(value) for name, value, _ in configuration.parameters(FusionConfig())}
    return {**named, **fields_of(NodeConfig), "config": str, "use_sim_time": bool}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_each_launch_file_compiles(path: Path, tmp_path: Path) -> None:
    py_compile.compile(str(path), cfile=str(tmp_path / "compiled"), doraise=True)


@pytest.mark.parametrize("name", ["bringup", "sim", "replay"])
def test_every_argument_has_a_description_and_an_allowed_default(name: str) -> None:
    context = evaluate(name, bag="/data/some_bag")
    for argument in declared(context).values():
        assert argument.description, argument.name
    assert len(context.started) >= 1


def test_bringup_starts_the_node_with_parameters_that_it_has(
    fusion_parameters: dict[str, type],
) -> None:
    fusion = node(evaluate("bringup"), "fusion_node")
    assert (fusion.package, fusion.name, fusion.namespace) == ("mm_fusion_ros", "fusion", "")
    for name, value in fusion.parameters.items():
        assert type(value) is fusion_parameters[name], name
    assert Path(fusion.parameters["config"]) == ROOT / "config" / "robot.yaml"
    assert fusion.files == [ROOT / "config" / "ros_parameters.yaml"]
    assert all(path.is_file() for path in fusion.files)


def test_the_simulators_parameters_are_those_of_its_node() -> None:
    pytest.importorskip("rclpy", reason="rclpy is absent; `make setup` installs it")
    pytest.importorskip("open3d", reason="open3d is absent; `make setup` installs it")
    from mm_fusion_ros.ros.sim_node import SimConfig

    known = fields_of(SimConfig)
    simulator = node(evaluate("sim"), "sim_node")
    for name, value in simulator.parameters.items():
        assert type(value) is known[name], name
    defaults = {f.name: f.default for f in dataclasses.fields(SimConfig)}
    assert all(defaults[name] == value for name, value in simulator.parameters.items())


def test_the_executables_are_those_that_the_package_installs() -> None:
    scripts = set(re.findall(r"f?\"(\w+) = ", (ROOT / "setup.py").read_text()))
    for name in ("bringup", "sim", "replay"):
        for started in evaluate(name, bag="b").started:
            assert getattr(started, "executable", "fusion_node") in scripts | {"fusion_node"}
    assert {"fusion_node", "sim_node"} <= scripts


@pytest.mark.parametrize("name", ["robot", "sim", "replay"])
def test_the_configurations_that_ship_are_valid(name: str) -> None:
    loaded = configuration.load(ROOT / "config" / f"{name}.yaml")
    assert {source.modality for source in loaded.sources} >= {"camera", "lidar", "command"}


def test_topics_are_remapped_by_arguments_and_otherwise_as_they_are() -> None:
    remappings = node(evaluate("bringup"), "fusion_node").remappings
    assert all(source == target for source, target in remappings.items())
    varied = evaluate("bringup", lidar_points_topic="/velodyne/points", target_topic="/goal_pose")
    remappings = node(varied, "fusion_node").remappings
    assert remappings["lidar/points"] == "/velodyne/points"
    assert remappings["~/target"] == "/goal_pose"


@pytest.mark.parametrize("name", ["bringup", "sim", "replay"])
def test_discovery_stays_on_this_host_unless_told_otherwise(name: str) -> None:
    variable = "ROS_AUTOMATIC_DISCOVERY_RANGE"
    for started in evaluate(name, bag="b").started:
        assert started.environment[variable] == "LOCALHOST"
    for started in evaluate(name, bag="b", discovery="SUBNET").started:
        assert started.environment[variable] == "SUBNET"
    with pytest.raises(RuntimeError, match="discovery"):
        evaluate(name, bag="b", discovery="everybody")


def test_the_middleware_has_room_for_clouds_unless_the_user_has_a_profile_of_the_own() -> None:
    variable = "FASTRTPS_DEFAULT_PROFILES_FILE"
    for started in evaluate("sim").started:
        assert Path(started.environment[variable]).is_file()
    kept = evaluate("sim", {variable: "/etc/own.xml"})
    assert {started.environment[variable] for started in kept.started} == {"/etc/own.xml"}


def test_a_distribution_that_does_not_know_that_variable_gets_the_older_one() -> None:
    older = evaluate("bringup", {"ROS_DISTRO": "humble"})
    assert node(older, "fusion_node").environment["ROS_LOCALHOST_ONLY"] == "1"
    opened = evaluate("bringup", {"ROS_DISTRO": "humble"}, discovery="SUBNET")
    assert "ROS_LOCALHOST_ONLY" not in node(opened, "fusion_node").environment
    newer = evaluate("bringup", {"ROS_DISTRO": "jazzy"})
    assert "ROS_LOCALHOST_ONLY" not in node(newer, "fusion_node").environment


def test_the_simulation_runs_on_its_own_time_and_drives_by_the_fusions_target() -> None:
    context = evaluate("sim", seed="7")
    fusion, simulator = node(context, "fusion_node"), node(context, "sim_node")
    assert fusion.parameters["use_sim_time"] is True
    assert Path(fusion.parameters["config"]) == ROOT / "config" / "sim.yaml"
    assert simulator.parameters["seed"] == 7
    assert simulator.remappings["target"] == "fusion/target"


def test_a_namespace_moves_both_nodes() -> None:
    context = evaluate("sim", namespace="robot1")
    assert {started.namespace for started in context.started} == {"robot1"}


def test_replay_needs_a_bag_and_plays_it_with_its_clock() -> None:
    with pytest.raises(RuntimeError, match="'bag'"):
        evaluate("replay")
    context = evaluate("replay", bag="/data/drive", rate="0.5")
    player = next(each for each in context.started if hasattr(each, "command"))
    assert player.command == [
        "ros2", "bag", "play", "/data/drive", "--clock", "100", "--rate", "0.5",
        "--start-offset", "0.0",
    ]  # fmt: skip
    assert node(context, "fusion_node").parameters["use_sim_time"] is True
    (handler,) = context.handlers
    assert handler.target_action is player


def test_replay_loops_and_stays_when_told() -> None:
    context = evaluate("replay", bag="b", loop="true", exit_with_bag="false")
    player = next(each for each in context.started if hasattr(each, "command"))
    assert player.command[-1] == "--loop"
    assert context.handlers == []
