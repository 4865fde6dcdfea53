"""Set-up: does nothing when nothing changed, repairs what was interrupted, says what is missing."""

from __future__ import annotations

import importlib.util
import os
import shutil
import stat
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]
RUNS = "runs.txt"

# Stands in for the installing part: notes that it was called, and fails where it is told to.
STAND_IN = f"""
import pathlib, sys
runs = pathlib.Path({RUNS!r})
runs.write_text((runs.read_text() if runs.exists() else "") + " ".join(sys.argv[1:]) + "\\n")
pathlib.Path(".venv").mkdir(exist_ok=True)
sys.exit(pathlib.Path("fails").exists())
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with the real tools/setup.sh and a stand-in for what it calls."""
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools" / "setup.sh", tmp_path / "tools")
    (tmp_path / "tools" / "setup_venv.py").write_text(STAND_IN)
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "base.txt").write_text("numpy==1.0\n")
    (tmp_path / "interfaces").mkdir()
    (tmp_path / "interfaces" / "A.msg").write_text("string a\n")
    return tmp_path


def set_up(checkout: Path, profile: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs set-up as `make` does."""
    outer = {
        key: value
        for key, value in os.environ.items()
        if key not in ("AMENT_PREFIX_PATH", "PYTHON")
    }
    return subprocess.run(
        ["bash", str(checkout / "tools" / "setup.sh"), profile],
        capture_output=True,
        text=True,
        check=False,
        env=outer | environment,
    )


def runs(checkout: Path) -> list[str]:
    """The profiles that were installed, in order."""
    path = checkout / RUNS
    lines = path.read_text().splitlines() if path.exists() else []
    return [line.split()[0] for line in lines]


def test_a_second_set_up_does_nothing(checkout: Path) -> None:
    assert set_up(checkout, "run").returncode == 0
    second = set_up(checkout, "run")
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert runs(checkout) == ["run"]


@pytest.mark.parametrize("changed", ["requirements/base.txt", "interfaces/A.msg"])
def test_a_changed_pin_or_definition_is_installed(checkout: Path, changed: str) -> None:
    set_up(checkout, "run")
    (checkout / changed).write_text("another\n")
    assert set_up(checkout, "run").returncode == 0
    assert runs(checkout) == ["run", "run"]


def test_what_is_ready_for_development_is_ready_to_run(checkout: Path) -> None:
    set_up(checkout, "dev")
    set_up(checkout, "run")
    assert runs(checkout) == ["dev"]
    other = checkout / "requirements" / "base.txt"
    other.write_text("numpy==2.0\n")
    set_up(checkout, "run")
    set_up(checkout, "dev")
    assert runs(checkout) == ["dev", "run", "dev"]


def test_a_failed_set_up_is_tried_again(checkout: Path) -> None:
    (checkout / "fails").touch()
    assert set_up(checkout, "run").returncode != 0
    (checkout / "fails").unlink()
    assert set_up(checkout, "run").returncode == 0
    set_up(checkout, "run")
    assert runs(checkout) == ["run", "run"]


def test_a_moved_checkout_is_set_up_again(checkout: Path, tmp_path: Path) -> None:
    set_up(checkout, "run")
    moved = checkout.parent / f"{checkout.name}-moved"
    checkout.rename(moved)
    set_up(moved, "run")
    assert runs(moved) == ["run", "run"]


def test_without_a_new_enough_python_the_exact_line_is_printed(checkout: Path) -> None:
    tools = checkout / "only"
    tools.mkdir()
    for name in (
        "bash",
        "cat",
        "find",
        "sort",
        "xargs",
        "sha256sum",
        "cut",
        "dirname",
        "apt-cache",
    ):
        if found := shutil.which(name):
            (tools / name).symlink_to(found)
    old = tools / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(old.stat().st_mode | stat.S_IEXEC)
    done = set_up(checkout, "run", PATH=str(tools))
    assert done.returncode == 1
    assert "sudo apt-get install -y python3.1" in done.stderr
    assert "-venv" in done.stderr
    assert runs(checkout) == []


def test_an_unknown_profile_is_refused(checkout: Path) -> None:
    done = set_up(checkout, "everything")
    assert done.returncode == 2
    assert "known: run, dev" in done.stderr


def test_a_sourced_ros_without_its_python_is_said(checkout: Path) -> None:
    index = checkout / "ros" / "share" / "ament_index" / "resource_index" / "packages"
    index.mkdir(parents=True)
    (index / "rclpy").touch()
    only = checkout / "only"
    only.mkdir()
    (only / "python3").write_text("#!/bin/sh\nexit 1\n")
    (only / "python3").chmod(0o755)
    path = f"{only}{os.pathsep}{os.environ['PATH']}"
    done = set_up(
        checkout, "run", PATH=path, PYTHON=str(only / "python3"),
        AMENT_PREFIX_PATH=str(checkout / "ros"), PYTHONPATH="",
    )  # fmt: skip
    assert done.returncode == 1
    assert f"ROS is sourced from {checkout / 'ros'}" in done.stderr


def test_the_environment_of_another_checkout_is_no_sourced_ros(checkout: Path) -> None:
    index = checkout / "other" / ".venv" / "share" / "ament_index" / "resource_index" / "packages"
    index.mkdir(parents=True)
    (index / "rclpy").touch()
    (checkout / "other" / ".venv" / "pyvenv.cfg").touch()
    done = set_up(checkout, "run", AMENT_PREFIX_PATH=str(checkout / "other" / ".venv"))
    assert done.returncode == 0
    assert (checkout / RUNS).read_text() == "run --ros \n"


@pytest.fixture
def setup_venv(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The real installing part, pointed at an empty environment."""
    spec = importlib.util.spec_from_file_location("setup_venv", ROOT / "tools" / "setup_venv.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "VENV", tmp_path)
    monkeypatch.setattr(module, "SITE_PACKAGES", tmp_path)
    return module


def install(folder: Path, name: str, files: tuple[str, ...]) -> Path:
    """Lays down a package as pip does; its dist-info folder."""
    information = folder / f"{name}-1.0+cpu.dist-info"
    information.mkdir()
    record = [f"{information.name}/METADATA,,", f"{information.name}/RECORD,,"]
    (information / "METADATA").touch()
    for file in files:
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).touch()
        record.append(f"{file},sha256=x,0")
    (information / "RECORD").write_text("\n".join(record))
    return information


def test_whole_packages_are_left_alone(setup_venv: ModuleType, tmp_path: Path) -> None:
    install(tmp_path, "whole", ("whole/__init__.py", "whole/with,comma.txt"))
    assert setup_venv.half_installed() == []


def test_a_package_without_its_record_is_installed_again(
    setup_venv: ModuleType, tmp_path: Path
) -> None:
    install(tmp_path, "whole", ("whole/__init__.py",))
    (install(tmp_path, "half_done", ("half_done/__init__.py",)) / "RECORD").unlink()
    assert setup_venv.half_installed() == ["half-done==1.0"]


def test_a_package_without_one_of_its_files_is_installed_again(
    setup_venv: ModuleType, tmp_path: Path
) -> None:
    install(tmp_path, "half", ("half/__init__.py", "half/data.bin"))
    (tmp_path / "half" / "data.bin").unlink()
    assert setup_venv.half_installed() == ["half==1.0"]


def test_the_builders_folders_in_cmake_files_become_this_machines(
    setup_venv: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys
    import sysconfig

    import numpy as np

    folder = tmp_path / "share" / "std_msgs" / "cmake"
    folder.mkdir(parents=True)
    file = folder / "export_std_msgs__rosidl_generator_pyExport.cmake"
    file.write_text(
        'INTERFACE_INCLUDE_DIRECTORIES "/opt/python/cp311-cp311/include/python3.11;'
        '/opt/python/cp311-cp311/lib/python3.11/site-packages/numpy/_core/include"\n'
        'OTHER "${_IMPORT_PREFIX}/include/std_msgs"\n'
    )
    monkeypatch.setattr(setup_venv, "PYTHON", sys.executable)
    setup_venv.mend_cmake_exports()
    assert file.read_text() == (
        f'INTERFACE_INCLUDE_DIRECTORIES "{sysconfig.get_path("include")};{np.get_include()}"\n'
        'OTHER "${_IMPORT_PREFIX}/include/std_msgs"\n'
    )


def test_only_interfaces_that_the_ros_lacks_are_built(
    setup_venv: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = tmp_path / "ros"
    index = prefix / "share" / "ament_index" / "resource_index" / "packages"
    index.mkdir(parents=True)
    (index / "tf2_msgs").touch()
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(prefix))
    assert setup_venv.missing_interfaces(str(prefix)) == ("vision_msgs",)
    assert setup_venv.missing_interfaces("") == ("tf2_msgs", "vision_msgs")


def test_missing_system_packages_are_one_line_to_paste(
    setup_venv: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(setup_venv, "privilege", lambda: None)
    monkeypatch.setattr(setup_venv, "loads", lambda library: library != "libEGL.so.1")
    monkeypatch.setattr(setup_venv.shutil, "which", lambda name: f"/usr/bin/{name}")
    setup_venv.install_system_packages(build=False)
    said = capsys.readouterr().out
    assert "sudo apt-get update && sudo apt-get install -y libegl1" in said
    assert "The fusion node works without" in said

    monkeypatch.setattr(setup_venv, "loads", lambda library: True)
    monkeypatch.setattr(setup_venv.shutil, "which", lambda name: None)
    with pytest.raises(setup_venv.SetupError, match="sudo apt-get install -y .*cmake make g"):
        setup_venv.install_system_packages(build=True)
