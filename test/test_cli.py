"""The command line: quick help, right exit codes, and one plain line where it cannot run."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from mm_fusion_ros import cli
from mm_fusion_ros.config import ConfigError

ROOT = Path(__file__).resolve().parents[1]


def command(monkeypatch: pytest.MonkeyPatch, run: object) -> None:
    """Makes `mm-fusion fake [--number N]` run the given function."""
    module = ModuleType("fake_command")

    def add_arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--number", type=int, default=0)

    module.add_arguments = add_arguments  # type: ignore[attr-defined]
    module.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fake_command", module)
    monkeypatch.setitem(cli.COMMANDS, "fake", cli.Command("fake_command", "a command for tests"))


def failing(error: BaseException) -> object:
    def run(args: argparse.Namespace) -> int:
        raise error

    return run


def test_the_exit_code_is_the_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    command(monkeypatch, lambda args: args.number)
    assert cli.main(["fake", "--number", "7"]) == 7


def test_interruption_is_quiet_and_exits_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command(monkeypatch, failing(KeyboardInterrupt()))
    assert cli.main(["fake"]) == 130
    assert capsys.readouterr() == ("", "")


def test_wrong_usage_exits_2(monkeypatch: pytest.MonkeyPatch) -> None:
    command(monkeypatch, lambda args: 0)
    for arguments in ([], ["nonsense"], ["fake", "--nonsense"], ["fake", "--number", "x"]):
        with pytest.raises(SystemExit) as ended:
            cli.main(arguments)
        assert ended.value.code == 2


@pytest.mark.parametrize("module", ["open3d", "rclpy", "torch", "vision_msgs.msg"])
def test_a_missing_library_is_one_line_that_mends_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], module: str
) -> None:
    monkeypatch.delenv("ROS_DISTRO", raising=False)
    command(monkeypatch, failing(ModuleNotFoundError(f"No module named {module!r}", name=module)))
    assert cli.main(["fake"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert f"needs {module}" in err
    assert "make" in err


def test_in_a_sourced_ros_a_missing_message_package_is_mended_with_apt(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ROS_DISTRO", "jazzy")
    command(monkeypatch, failing(ModuleNotFoundError("No module", name="vision_msgs")))
    assert cli.main(["fake"]) == 1
    assert "sudo apt-get install -y ros-jazzy-vision-msgs" in capsys.readouterr().err


def test_a_missing_shared_library_is_named_with_its_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error = OSError("libGL.so.1: cannot open shared object file: No such file or directory")
    command(monkeypatch, failing(error))
    assert cli.main(["fake"]) == 1
    assert "apt-get install -y libgl1" in capsys.readouterr().err


def test_a_wrong_configuration_exits_2_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command(monkeypatch, failing(ConfigError("sync.deadline_ms = -1: allowed is 0 to 1000 ms")))
    assert cli.main(["fake"]) == 2
    assert (
        capsys.readouterr().err
        == "mm-fusion fake: sync.deadline_ms = -1: allowed is 0 to 1000 ms\n"
    )


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a bug"),
        OSError("disk"),
        ImportError("cannot import name"),
        ModuleNotFoundError("No module named 'mm_fusion_ros.typo'", name="mm_fusion_ros.typo"),
    ],
)
def test_a_bug_is_not_dressed_up(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    command(monkeypatch, failing(error))
    with pytest.raises(type(error)):
        cli.main(["fake"])


def test_help_imports_none_of_the_commands_nor_numpy() -> None:
    program = (
        "import sys\nfrom mm_fusion_ros import cli\n"
        "try: cli.main(['--help'])\nexcept SystemExit as ended: assert ended.code == 0\n"
        "print(*[m for m in sys.modules if m == 'numpy' or m.startswith('mm_fusion_ros.')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert all(name in done.stdout for name in cli.COMMANDS)
    # Start-up is then Python's own, argparse's and that of ctypes.
    loaded = set(done.stdout.splitlines()[-1].split())
    assert loaded == {"mm_fusion_ros.allocation", "mm_fusion_ros.cli"}


def test_a_reader_that_leaves_early_sees_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "talkative.py").write_text(
        "def add_arguments(parser): pass\n"
        "def run(args):\n"
        "    while True: print('more than any pipe holds')\n"
    )
    program = (
        "import sys; from mm_fusion_ros import cli; "
        "cli.COMMANDS['fake'] = cli.Command('talkative', 'talks'); sys.exit(cli.main(['fake']))"
    )
    done = subprocess.run(
        ["bash", "-c", f'{sys.executable} -c "{program}" | head -n 1; echo ${{PIPESTATUS[0]}}'],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"},
    )
    assert done.stderr == ""
    assert done.stdout == "more than any pipe holds\n1\n"


@pytest.mark.parametrize("name", [name for name in cli.COMMANDS if name != "fake"])
def test_every_command_explains_its_options(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = ROOT.joinpath(*cli.COMMANDS[name].module.split(".")).with_suffix(".py")
    if not path.is_file():
        pytest.skip(f"{cli.COMMANDS[name].module} is not written yet")
    with pytest.raises(SystemExit) as ended:
        cli.main([name, "--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: mm-fusion {name}")
