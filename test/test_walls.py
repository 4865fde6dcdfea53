"""The walls between the rooms, read from the source, and what a running node really loads."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = "mm_fusion_ros"
ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / PACKAGE
FILES = sorted(SOURCE.rglob("*.py"))
MAX_LINES = 500
MAX_NODE_LINES = 250

# Imports run from a later line to an earlier one, or stay within theirs.
LAYERS = (
    ("samples", "outputs", "config", "parameter", "geometry", "scheduling", "allocation"),
    (
        "sensors", "sync", "faults", "inference", "localization", "grounding", "reliability",
    ),
    ("perception", "view"),
    ("pipeline", "model"),
    ("sim", "replay", "evaluation", "training", "ros"),
    ("cli", "doctor"),
)  # fmt: skip
RANK = {room: rank for rank, layer in enumerate(LAYERS) for room in layer}
# Deterministic: time comes in as an argument, chance as a seeded generator.
CLOCKLESS = {room for layer in LAYERS[:4] for room in layer} - {"view"}

ROS_MODULE = re.compile(
    r"(rclpy|rcl_interfaces|builtin_interfaces|launch|launch_ros|ament_index_python|tf2_ros|"
    r"message_filters|std_srvs|\w+_msgs)(\.|$)"
)


def room_of(path: Path) -> str:
    """The first folder, or the file itself, below the package: "sensors", "pipeline"."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def name_of(path: Path) -> str:
    """The dotted name of a file."""
    parts = [PACKAGE, *path.relative_to(SOURCE).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def names(node: ast.AST, module: str) -> Iterator[str]:
    """The modules that one node imports, absolute."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            above = module.split(".")[: -node.level]
            base = ".".join([*above, base] if base else above)
        yield base
        yield from (f"{base}.{alias.name}" for alias in node.names)
    elif (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name | ast.Attribute)
        and (node.func.id if isinstance(node.func, ast.Name) else node.func.attr)
        in ("import_module", "__import__")
        and node.args
        and isinstance(node.args[0], ast.Constant)
    ):
        yield str(node.args[0].value)


def imports(path: Path) -> set[str]:
    """Everything that a file imports, anywhere in it."""
    return {name for node in ast.walk(tree_of(path)) for name in names(node, name_of(path))}


def loaded_with(path: Path) -> set[str]:
    """What a file imports as it is loaded: not inside functions, not for type checking only."""
    found: set[str] = set()
    waiting: list[ast.AST] = list(tree_of(path).body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
            continue
        found.update(names(node, name_of(path)))
        waiting += ast.iter_child_nodes(node)
    return found


def offenders(pattern: str, allowed: set[str]) -> dict[str, list[str]]:
    """Files outside the allowed rooms that import what matches."""
    found = {
        str(path.relative_to(ROOT)): sorted(n for n in imports(path) if re.match(pattern, n))
        for path in FILES
        if room_of(path) not in allowed
    }
    return {path: modules for path, modules in found.items() if modules}


def test_ros_is_imported_only_in_ros() -> None:
    assert offenders(ROS_MODULE.pattern, allowed={"ros"}) == {}


def test_conversions_import_no_ros_so_that_replay_can_use_them() -> None:
    path = SOURCE / "ros" / "conversions.py"
    if not path.is_file():
        pytest.skip("ros/conversions.py is not written yet")
    assert [name for name in imports(path) if ROS_MODULE.match(name)] == []


def test_torch_is_imported_only_in_model_and_training() -> None:
    assert offenders(r"(torch|torchvision)(\.|$)", allowed={"model", "training"}) == {}


def test_open3d_is_imported_only_in_sim() -> None:
    assert offenders(r"open3d(\.|$)", allowed={"sim"}) == {}


def test_every_room_has_its_layer() -> None:
    rooms = {room_of(path) for path in FILES} - {"__init__"}
    assert rooms - RANK.keys() == set()


def test_imports_run_one_way_through_the_layers() -> None:
    upward = []
    for path in FILES:
        room = room_of(path)
        for name in imports(path):
            parts = name.split(".")
            if parts[0] != PACKAGE or len(parts) < 2 or parts[1] not in RANK:
                continue
            if room in RANK and RANK[parts[1]] > RANK[room]:
                upward.append(f"{path.relative_to(ROOT)} imports {name}")
    assert upward == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    modules = {name_of(path): path for path in FILES}
    graph = {
        name: {target for target in loaded_with(path) if target in modules and target != name}
        for name, path in modules.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"circle of imports: {' -> '.join(error.args[1])}")


def test_the_core_reads_no_clock_and_rolls_no_global_dice() -> None:
    found = []
    for path in FILES:
        if room_of(path) not in CLOCKLESS:
            continue
        text = path.read_text(encoding="utf-8")
        if imports(path) & {"time", "random", "secrets", "uuid"}:
            found.append(f"{path.relative_to(ROOT)} imports a clock or dice")
        if re.search(r"datetime\.(now|utcnow|today)\(|np\.random\.(?!default_rng|Generator)", text):
            found.append(f"{path.relative_to(ROOT)} reads the date or numpy's global generator")
    assert found == []


def test_no_file_is_longer_than_500_lines() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for folder in (SOURCE, ROOT / "test", ROOT / "tools", ROOT / "launch")
        for path in folder.rglob("*.py")
    }
    assert {path: lines for path, lines in lengths.items() if lines > MAX_LINES} == {}


def test_nodes_are_wiring_of_under_250_lines() -> None:
    lengths = {
        path.name: len(path.read_text(encoding="utf-8").splitlines())
        for path in (SOURCE / "ros").glob("*_node.py")
    }
    assert {path: lines for path, lines in lengths.items() if lines > MAX_NODE_LINES} == {}


def test_no_file_is_a_drawer_for_homeless_functions() -> None:
    drawers = {"utils.py", "util.py", "helpers.py", "misc.py", "common.py"}
    assert [str(path) for path in FILES if path.name in drawers] == []


def test_the_library_is_clean_for_python_3_10() -> None:
    newer = re.compile(
        r"(tomllib|typing\.(Self|Never|LiteralString|override|assert_never|reveal_type)|"
        r"enum\.StrEnum|datetime\.UTC|itertools\.batched|asyncio\.(TaskGroup|timeout))$"
    )
    found = []
    for path in FILES:
        ast.parse(path.read_text(encoding="utf-8"), str(path), feature_version=(3, 10))
        found += [f"{path.relative_to(ROOT)}: {n}" for n in imports(path) if newer.match(n)]
    assert found == []


def test_every_folder_of_modules_is_a_package() -> None:
    folders = {path.parent for path in FILES}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []


def loaded_by(module: str) -> set[str]:
    """The top-level modules in a fresh interpreter after importing one."""
    program = (
        f"import sys, {module}\n"
        "print('loaded:', *sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rpartition("loaded:")[2].split())


def require(module: str, needs: str = "numpy") -> None:
    """Skips where the module is not written yet, or what it needs is not installed."""
    if not (ROOT / Path(*module.split("."))).with_suffix(".py").is_file():
        pytest.skip(f"{module} is not written yet")
    if importlib.util.find_spec(needs) is None:
        pytest.skip(f"{needs} is not installed; `make setup` installs it")


def test_the_pipeline_loads_neither_torch_nor_open3d_nor_ros() -> None:
    require("mm_fusion_ros.pipeline")
    assert loaded_by("mm_fusion_ros.pipeline") & {"torch", "open3d", "rclpy"} == set()


def test_the_fusion_node_loads_neither_torch_nor_open3d() -> None:
    require("mm_fusion_ros.ros.fusion_node", needs="rclpy")
    loaded = loaded_by("mm_fusion_ros.ros.fusion_node")
    assert "rclpy" in loaded
    assert loaded & {"torch", "open3d"} == set()
