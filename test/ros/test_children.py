"""The demo's child processes: started with a log, ended by their own ids."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from mm_fusion_ros.ros.children import Children, tail

STUBBORN = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
print("up", flush=True)
time.sleep(60)
"""


def module(folder: Path, name: str, text: str) -> None:
    (folder / f"{name}.py").write_text(text)


def wait_for(log: Path, words: str) -> None:
    deadline = time.monotonic() + 30.0
    while words not in tail(log):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_child_that_ends_is_found_with_the_end_of_its_log(tmp_path: Path) -> None:
    module(tmp_path, "short_lived", "print('one'); print('two'); raise SystemExit(3)")
    with Children(tmp_path, {"PYTHONPATH": str(tmp_path)}) as children:
        child = children.start("short", "short_lived", [])
        child.process.wait(30.0)
        assert children.dead() is child
        assert child.process.returncode == 3
        assert tail(child.log) == "one\ntwo"
        assert tail(child.log, 1) == "two"


def test_children_end_with_the_block_even_one_that_ignores_the_first_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mm_fusion_ros.ros.children.GRACE_S", 0.3)
    module(tmp_path, "stubborn", STUBBORN)
    with Children(tmp_path, {"PYTHONPATH": str(tmp_path)}) as children:
        child = children.start("stubborn", "stubborn", [])
        wait_for(child.log, "up")
        assert children.dead() is None
    # SIGINT is ignored, SIGTERM is not.
    assert child.process.returncode == -15


def test_the_environment_is_passed_on(tmp_path: Path) -> None:
    module(tmp_path, "telling", "import os; print(os.environ['ROS_DOMAIN_ID'])")
    environment = {"PYTHONPATH": str(tmp_path), "ROS_DOMAIN_ID": "42"}
    with Children(tmp_path, environment) as children:
        child = children.start("telling", "telling", [])
        child.process.wait(30.0)
    assert tail(child.log) == "42"
    assert Path(child.process.args[0]) == Path(sys.executable)  # type: ignore[index]
