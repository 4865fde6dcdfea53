"""The package as others get it: built by colcon, its dependencies declared, everything pinned."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

import mm_fusion_ros

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "mm_fusion_ros"
COLCON = Path(sys.executable).parent / "colcon"
COMMANDS = {"mm-fusion", "fusion_node", "sim_node"}
ROS_PACKAGE = re.compile(
    r"rclpy|rcl_interfaces|builtin_interfaces|launch|launch_ros|tf2_ros|std_srvs|\w+_msgs"
)
SYSTEM_PACKAGES = {
    "numpy": "python3-numpy",
    "scipy": "python3-scipy",
    "cv2": "python3-opencv",
    "yaml": "python3-yaml",
}


def files_below(folder: Path) -> set[str]:
    """Relative paths of the files in a folder, without what Python leaves."""
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    }


def colcon_build(folder: Path, *options: str) -> Path:
    """Builds the package as `colcon build` in a workspace does; the install prefix."""
    if not COLCON.is_file():
        pytest.skip("colcon is not installed beside this Python; `make setup` installs it")
    done = subprocess.run(
        [
            *(str(COLCON), "--log-base", str(folder / "log"), "build", "--base-paths", str(ROOT)),
            *("--packages-select", "mm_fusion_ros"),
            *("--build-base", str(folder / "build"), "--install-base", str(folder / "install")),
            *options,
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=folder,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "install" / "mm_fusion_ros"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prefix of a colcon build."""
    return colcon_build(tmp_path_factory.mktemp("workspace"))


def library(prefix: Path) -> Path:
    """The installed package's folder."""
    (found,) = prefix.glob("lib/python3*/*-packages/mm_fusion_ros")
    return found


def test_colcon_installs_every_subpackage(installed: Path) -> None:
    expected = {path for path in files_below(SOURCE) if path.endswith(".py")}
    assert expected - files_below(library(installed)) == set()


def test_colcon_installs_the_models_whole(installed: Path) -> None:
    expected = files_below(SOURCE / "models")
    assert files_below(library(installed) / "models") == expected


@pytest.mark.parametrize("folder", ["launch", "config"])
def test_colcon_installs_launch_and_config_files(installed: Path, folder: str) -> None:
    if not files_below(ROOT / folder):
        pytest.skip(f"{folder}/ is empty")
    shared = installed / "share" / "mm_fusion_ros" / folder
    assert files_below(shared) == files_below(ROOT / folder)


def test_colcon_installs_the_commands_where_ros2_run_looks(installed: Path) -> None:
    folder = installed / "lib" / "mm_fusion_ros"
    assert {path.name for path in folder.iterdir()} == COMMANDS
    assert all(os.access(path, os.X_OK) for path in folder.iterdir())


def test_colcon_registers_the_package(installed: Path) -> None:
    shared = installed / "share"
    assert (shared / "ament_index/resource_index/packages/mm_fusion_ros").is_file()
    assert (shared / "mm_fusion_ros" / "package.xml").is_file()


def test_the_installed_command_runs_the_installed_package(installed: Path, tmp_path: Path) -> None:
    prefix = library(installed).parent
    done = subprocess.run(
        [str(installed / "lib" / "mm_fusion_ros" / "mm-fusion"), "doctor", "--help"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(prefix)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: mm-fusion doctor")


def test_colcon_builds_with_symlinks_too(tmp_path: Path) -> None:
    prefix = colcon_build(tmp_path, "--symlink-install")
    assert {path.name for path in (prefix / "lib" / "mm_fusion_ros").iterdir()} == COMMANDS
    linked = prefix / "share" / "mm_fusion_ros" / "package.xml"
    assert linked.resolve().read_text() == (ROOT / "package.xml").read_text()


def imported(folder: Path) -> Iterator[str]:
    """Top-level modules that the files of a folder import."""
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module.partition(".")[0]


def test_package_xml_declares_every_dependency() -> None:
    tree = ET.parse(ROOT / "package.xml").getroot()
    declared = {
        str(element.text) for kind in ("depend", "exec_depend") for element in tree.iter(kind)
    }
    modules = {*imported(SOURCE), *imported(ROOT / "launch")}
    needed = {module for module in modules if ROS_PACKAGE.fullmatch(module)}
    needed |= {package for module, package in SYSTEM_PACKAGES.items() if module in modules}
    assert "sensor_msgs" in needed
    assert needed - declared == set()


def test_all_places_say_the_same_version() -> None:
    xml = ET.parse(ROOT / "package.xml").getroot().findtext("version")
    script = re.search(r'version="([^"]+)"', (ROOT / "setup.py").read_text(encoding="utf-8"))
    assert script is not None
    assert {xml, script[1]} == {mm_fusion_ros.__version__}


def pins(path: Path) -> dict[str, str]:
    """Package to exact version; anything that is not pinned exactly fails."""
    result = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            match = re.fullmatch(r"([\w.-]+)==([\w.]+)(?:; .*)?", line)
            assert match is not None, f"{path.name}: {line!r} is not pinned with =="
            result[match[1].lower()] = match[2]
    return result


def test_every_requirement_is_pinned_and_the_lock_agrees() -> None:
    locked = pins(ROOT / "requirements" / "constraints.txt")
    for path in (ROOT / "requirements").glob("*.txt"):
        # A sourced ROS has its own numpy, and its own choice of versions.
        if path.name != "sourced-ros.txt":
            wanted = pins(path)
            assert {name: locked.get(name) for name in wanted} == wanted


def test_built_interfaces_have_the_published_type_hashes(ros_domain: int) -> None:
    rclpy = pytest.importorskip("rclpy")
    from rclpy.context import Context
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore
    from tf2_msgs.msg import TFMessage
    from vision_msgs.msg import Detection3DArray

    # rosbags holds the published tf2_msgs, and hashes by its own code.
    store = get_typestore(Stores.ROS2_JAZZY)
    for path in (ROOT / "interfaces" / "vision_msgs" / "msg").glob("*.msg"):
        store.register(get_types_from_msg(path.read_text(), f"vision_msgs/msg/{path.stem}"))
    # vision_msgs 4.1.1 as released.
    published = "RIHS01_793f5eab9595ac1c0da07873cc859db42eae51f0ee76056db8562515d830e018"
    assert store.hash_rihs01("vision_msgs/msg/Detection3DArray") == published

    context = Context()
    context.init(args=[], domain_id=ros_domain)
    node = rclpy.create_node("type_hashes", context=context)
    try:
        for kind in (TFMessage, Detection3DArray):
            name = f"{kind.__module__.partition('.')[0]}/msg/{kind.__name__}"
            node.create_publisher(kind, kind.__name__, 1)
            (endpoint,) = node.get_publishers_info_by_topic(kind.__name__)
            spoken = f"RIHS01_{bytes(endpoint.topic_type_hash.value).hex()}"
            assert spoken == store.hash_rihs01(name)
    finally:
        node.destroy_node()
        context.try_shutdown()
